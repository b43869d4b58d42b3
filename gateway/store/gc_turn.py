"""The turn of garbage collection: one at a time for each data directory, with notes from one to the next."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from gateway.store.disk import try_lock

_MOST_BYTES: Final = 4096


class TurnTaken(Exception):
    """Another process collects just now."""


@dataclass(frozen=True, slots=True)
class Notes:
    """``catalog`` is the one that was there, ``since`` when; ``swept_at`` when files were last swept.

    Times are seconds since the epoch.
    """

    catalog: str
    since: float
    swept_at: float = 0.0


class Turn:
    """Holds the file of notes, for as long as it is open."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def notes(self, catalog: str, known_since: float, now: float) -> Notes:
        """What is known of the catalog that is there now; of one that took another's place, since when.

        Without notes its own word counts, which is ``known_since``; what cannot be read is as another's.
        """
        text = os.pread(self._fd, _MOST_BYTES, 0)
        if not text:
            return Notes(catalog, known_since)
        notes = _read(text)
        if notes is None or notes.catalog != catalog:
            return Notes(catalog, now, 0.0 if notes is None else notes.swept_at)
        return notes

    def leave(self, notes: Notes) -> None:
        """For the next turn. Where the disk takes nothing, it will do without."""
        text = json.dumps(asdict(notes)).encode()
        with suppress(OSError):
            os.pwrite(self._fd, text, 0)
            os.ftruncate(self._fd, len(text))


@contextmanager
def taken_turn(path: Path) -> Iterator[Turn]:
    """Take the turn for the length of the block, or raise TurnTaken; it ends with its process."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if not try_lock(fd):
            raise TurnTaken(f"garbage is collected in {path.parent} just now, by another process")
        yield Turn(fd)
    finally:
        os.close(fd)


def identity(database: str, file: Path | None) -> str:
    """Which catalog it is: another file in its place is another one. ``database`` is fit to be shown."""
    if file is None:
        return database
    with suppress(FileNotFoundError):
        return f"{database} {file.lstat().st_ino}"
    return database


def restored_at(data_dir: Path) -> float:
    """When the catalog was put back from a copy, in seconds since the epoch; 0 where it never was."""
    with suppress(FileNotFoundError):
        return (data_dir / "restored").lstat().st_mtime
    return 0.0


def _read(text: bytes) -> Notes | None:
    try:
        told = json.loads(text)
        return Notes(str(told["catalog"]), float(told["since"]), float(told["swept_at"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
