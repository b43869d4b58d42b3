"""A catalog that is damaged or gone: moved aside, with the newest good copy put in its place."""

import errno
import json
import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from gateway.store.backups import CopyPlaces, CopyUnsound, sync_file
from gateway.store.conditions import Condition, Conditions
from gateway.store.damage import CheckUnfinished, find_damage
from gateway.store.disk import make_folders, sync_folder
from gateway.store.schema import SchemaError, migrate_sqlite

log = structlog.get_logger(__name__)

SHOWN_SECONDS: Final = 86_400.0
_CHECK_SECONDS: Final = 1.0  # 1 GB, where it is in memory; what is left is read when it is copied
_THOROUGH_SECONDS: Final = 15.0  # a sound one that is large must not be lost to a wrong report
_KEPT_ASIDE: Final = 3
_BESIDE: Final = ("-wal", "-shm", "-journal")
_EMPTY_BYTES: Final = 1  # SQLite takes such a file for an empty one
_FORMAT: Final = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class CatalogFiles:
    """Where the catalog lies, where the note of its restoration, and what is lost if there is no catalog."""

    catalog: Path
    note: Path
    blobs: Path

    @property
    def copies(self) -> CopyPlaces:
        return CopyPlaces(self.catalog)

    @property
    def aside(self) -> Path:
        """On the same disk: what lies there was renamed."""
        return self.catalog.parent / "damaged"

    @property
    def partial(self) -> Path:
        return self.catalog.with_name(f"{self.catalog.name}.partial")

    @property
    def are_ours(self) -> bool:
        """Else somebody named a file that may be anything."""
        return self.catalog.parent == self.note.parent or bool(self.copies.held())

    @property
    def is_expected(self) -> bool:
        """Whether there should be a catalog."""
        log = self.catalog.with_name(f"{self.catalog.name}-wal")
        return bool(self.copies.held()) or log.exists() or any(self.blobs.glob("sha*/*/*"))


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done, and when, in seconds since the epoch; ``copy`` is None where no copy was good."""

    at: float
    reason: str
    copy: str | None = None
    copied_at: float | None = None


def sweep(files: CatalogFiles) -> None:
    """Remove what was not finished; for who is alone."""
    for partial in (files.partial, files.copies.partial):
        for path in (partial, *_beside(partial)):
            path.unlink(missing_ok=True)


def recover(
    files: CatalogFiles, now: Callable[[], float] = time.time, *, is_reported: bool = False
) -> Restored | None:
    """Judge the catalog, and replace it where it is lost; None where it is not.

    For who is alone with it; others that have it open would go on in the file that was moved aside.
    ``is_reported``: somebody met damage, which is looked for more thoroughly. Raise SchemaError, OSError.
    """
    reason = _loss(files, is_reported=is_reported)
    if reason is not None:
        return _replace(files, reason, now)
    if is_reported:
        log.warning("catalog_sound", catalog=str(files.catalog), means="it was read through, and goes on")
    return None


def restored(note: Path) -> Restored | None:
    """What the note says, None where there is none that can be read."""
    try:
        told = json.loads(note.read_bytes())
        return Restored(**{**told, "at": float(told["at"])})
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def show_restored(note: Path, conditions: Conditions, now: float) -> float | None:
    """Have it shown that the catalog is not the one that it was; return for how many seconds from ``now``."""
    found = restored(note)
    if found is None or not 0 <= now - found.at < SHOWN_SECONDS:
        return None
    conditions.begin(
        Condition.CATALOG_RESTORED, f"{found.reason}; in its place: {found.copy or 'an empty one'}"
    )
    return found.at + SHOWN_SECONDS - now


def _loss(files: CatalogFiles, *, is_reported: bool) -> str | None:
    """Why there is no catalog that can be used, if so; ``are_ours``: nothing that somebody named is moved.

    Whoever reports damage had one, whatever is left that speaks of it.
    """
    is_expected = is_reported or files.is_expected
    try:
        status = files.catalog.stat()
    except FileNotFoundError:
        return "it is gone" if is_expected else None
    if not stat.S_ISREG(status.st_mode):
        return "it is no file" if files.are_ours else None
    if status.st_size <= _EMPTY_BYTES:
        return "it is empty" if is_expected else None
    damage = _damage(files.catalog, is_reported=is_reported)
    return damage if files.are_ours or _is_sqlite(files.catalog) else None


def _damage(catalog: Path, *, is_reported: bool) -> str | None:
    try:
        if is_reported:
            return find_damage(catalog, "integrity_check", _THOROUGH_SECONDS)
        return find_damage(catalog, "quick_check", _CHECK_SECONDS)
    except CheckUnfinished:
        if is_reported:
            return "damage was met, and it is too large to be read through at once"
        log.info("catalog_not_checked", after_seconds=_CHECK_SECONDS, until="it is copied")
        return None
    except sqlite3.Error as error:
        raise SchemaError(f"the catalog {catalog} cannot be used: {error}") from error


def _is_sqlite(catalog: Path) -> bool:
    with catalog.open("rb") as file:
        return file.read(len(_FORMAT)) == _FORMAT


def _replace(files: CatalogFiles, reason: str, now: Callable[[], float]) -> Restored:
    """A crash in between leaves a catalog that is lost as before, or gone: the next one begins anew."""
    sweep(files)
    copy = _prepare(files)
    made = (
        Restored(now(), reason) if copy is None else Restored(now(), reason, copy.name, copy.stat().st_mtime)
    )
    _write_note(files.note, made)
    lost_revision = _newest_revision(files.catalog)
    aside = _move_aside(files, made.at)
    files.partial.replace(files.catalog)
    sync_folder(files.catalog.parent)
    log.error(
        "catalog_restored",
        **asdict(made),
        moved_to=aside and str(aside),
        means="what is newer is fetched again; pins and revisions of the rules that are newer are lost",
        rule_revision=_newest_revision(files.catalog),
        lost_rule_revision=lost_revision,
    )
    return made


def _prepare(files: CatalogFiles) -> Path | None:
    """Make what is to be the catalog, of the newest copy that can be used; return which it was."""
    for path in files.copies.held():
        try:
            _take(path, files.partial)
            migrate_sqlite(files.partial)
        except (SchemaError, sqlite3.Error, CopyUnsound) as error:
            log.warning("catalog_copy_unusable", copy=str(path), reason=str(error))
            sweep(files)
        else:
            sync_file(files.partial)
            return path
    migrate_sqlite(files.partial)
    return None


def _take(copy: Path, partial: Path) -> None:
    with suppress(CheckUnfinished):
        damage = find_damage(copy, "quick_check", _CHECK_SECONDS, "immutable=1")
        if damage is not None:
            raise CopyUnsound(damage)
    try:
        shutil.copyfile(copy, partial)
    except OSError as error:
        if error.errno != errno.EIO:  # no room, no right: that is no fault of the copy
            raise
        raise CopyUnsound(str(error)) from error


def _move_aside(files: CatalogFiles, at: float) -> Path | None:
    """The file first: what it wrote ahead is worth nothing without it, and would ruin another one."""
    found = [path for path in (files.catalog, *_beside(files.catalog)) if os.path.lexists(path)]
    if not found:
        return None
    make_folders(files.aside)
    stamp = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    folder = Path(tempfile.mkdtemp(prefix=f"{stamp}-", dir=files.aside))
    for path in found:
        path.rename(folder / path.name)
    others = sorted(path for path in files.aside.iterdir() if path != folder)
    for old in others[: 1 - _KEPT_ASIDE]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def _write_note(note: Path, made: Restored) -> None:
    partial = note.with_name(f"{note.name}.partial")
    partial.write_text(json.dumps(asdict(made)) + "\n")
    sync_file(partial)
    partial.replace(note)
    sync_folder(note.parent)


def _newest_revision(catalog: Path) -> int | None:
    """As far as it can be read."""
    if not catalog.is_file():
        return None
    with suppress(sqlite3.Error), closing(_reading(catalog)) as connection:
        number: int | None = connection.execute("SELECT max(number) FROM rule_revisions").fetchone()[0]
        return number
    return None


def _reading(catalog: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{catalog.absolute().as_uri()}?immutable=1", uri=True)


def _beside(catalog: Path) -> Iterator[Path]:
    for suffix in _BESIDE:
        yield catalog.with_name(f"{catalog.name}{suffix}")
