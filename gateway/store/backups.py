"""Copies of the SQLite catalog, made while it is in use: two generations, each whole and sound."""

import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from anyio import to_thread

from gateway.store.damage import CatalogWatch, CheckUnfinished, find_damage, is_damage
from gateway.store.disk import make_folders, sync_folder, try_lock

log = structlog.get_logger(__name__)

COPY_SECONDS: Final = 900.0
_PAGES_A_STEP: Final = 1000
_PAUSE_SECONDS: Final = 0.005  # between steps: others want the disk too
_CHECK_SECONDS: Final = 600.0
_ROOM_LEFT_BYTES: Final = 64 << 20  # it is not a copy that fills the disk


class CopyUnsound(Exception):
    """What was read was not sound, or not written as it was read."""


@dataclass(frozen=True, slots=True)
class CopyPlaces:
    """Where copies of a catalog lie: in ``backups`` beside it, named after it."""

    catalog: Path

    @property
    def folder(self) -> Path:
        return self.catalog.parent / "backups"

    @property
    def newest(self) -> Path:
        return self._numbered("1")

    @property
    def before(self) -> Path:
        return self._numbered("2")

    @property
    def partial(self) -> Path:
        """What is not whole yet, or was not to be."""
        return self._numbered("partial")

    def held(self) -> Sequence[Path]:
        """The copies that are there, the newest first."""
        return [copy for copy in (self.newest, self.before) if copy.is_file()]

    def _numbered(self, number: str) -> Path:
        return self.folder / f"{self.catalog.stem}-{number}{self.catalog.suffix}"


class CatalogCopies:
    """Makes the copies; ``watch`` is told of damage that is met on the way."""

    def __init__(
        self, catalog: Path, watch: CatalogWatch, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._catalog = catalog
        self._places = CopyPlaces(catalog)
        self._watch = watch
        self._pause = pause
        self._copied: object = None

    async def keep_up(self) -> bool:
        """Copy where something was written since this last did."""
        return _marks(self._catalog) != self._copied and await self.make()

    async def make(self) -> bool:
        """Copy what it holds now. False where that failed, and the log says why: the older copies stay.

        Whoever is cancelled leaves the thread to itself: a large copy would hold up the end of a worker, and
        what is not whole has no name.
        """
        return await to_thread.run_sync(self._make, abandon_on_cancel=True)

    def _make(self) -> bool:
        marks = _marks(self._catalog)
        try:
            make_folders(self._places.folder)
            with _alone(self._places.folder) as is_our_turn:
                if is_our_turn:
                    self._copy(self._places.partial)
                    self._copied = marks
                return is_our_turn
        except (OSError, sqlite3.Error, CheckUnfinished, CopyUnsound) as error:
            log.warning("catalog_not_copied", reason=str(error), older_copies=len(self._places.held()))
            if is_damage(error) or isinstance(error, CopyUnsound):
                self._watch.note(str(error))
            return False

    def _copy(self, partial: Path) -> None:
        partial.unlink(missing_ok=True)
        try:
            self._require_room()
            self._read_into(partial)
            damage = find_damage(partial, "quick_check", _CHECK_SECONDS, "immutable=1")
            if damage is not None:
                raise CopyUnsound(f"a copy of it is damaged: {damage}")
            sync_file(partial)
            self._put_first(partial)
        finally:
            partial.unlink(missing_ok=True)

    def _put_first(self, partial: Path) -> None:
        if self._places.newest.exists():
            self._places.newest.replace(self._places.before)
        partial.replace(self._places.newest)
        sync_folder(self._places.folder)

    def _require_room(self) -> None:
        needed_bytes = self._catalog.stat().st_size + _ROOM_LEFT_BYTES
        if shutil.disk_usage(self._places.folder).free < needed_bytes:
            raise OSError(errno.ENOSPC, "there is no room for a copy")

    def _read_into(self, partial: Path) -> None:
        """In one snapshot: nobody who writes waits for it, and nothing they write has it begin anew."""
        with (
            closing(sqlite3.connect(f"{self._catalog.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(partial)) as copy,
        ):
            copy.execute("PRAGMA journal_mode=OFF")
            copy.execute("PRAGMA synchronous=OFF")
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            source.backup(copy, pages=_PAGES_A_STEP, progress=lambda *_: self._pause(_PAUSE_SECONDS))


def sync_file(path: Path) -> None:
    """For what SQLite has no open connection to: closing the file would take that one's locks."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _marks(catalog: Path) -> object:
    """What moves with every write; an empty log is one that nothing was written to."""
    found = [_status(place) for place in (catalog, catalog.with_name(f"{catalog.name}-wal"))]
    return [(status.st_mtime_ns, status.st_size) for status in found if status is not None and status.st_size]


def _status(place: Path) -> os.stat_result | None:
    try:
        return place.stat()
    except OSError:
        return None


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether nobody else copies, also no other process."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield try_lock(fd)
    finally:
        os.close(fd)
