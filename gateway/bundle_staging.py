"""Blobs of an import on their way: hashed as they come, kept beside the store until all are judged."""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Event
from typing import Final

from gateway.bundle_checks import PIECE_BYTES, BundleRefused, Entries, Entry
from gateway.oci.digest import Digest
from gateway.oci.manifest import MAX_SIZE_BYTES
from gateway.store.blobs import StorageFull
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.disk import is_at, make_folders, try_lock
from gateway.store.reserve import RESERVE_BYTES

KEPT_SECONDS: Final = 24 * 3600.0  # what an import that was killed left, for the next one to go on from
_FOLDER: Final = "importing"  # among the blobs: what is whole is renamed to its place
_LOCK: Final = "lock"
_LARGEST_RESERVE_SHARE: Final = 20  # as of the reserve: of a small disk a twentieth
_MEMORY_BYTES: Final = 32 << 20  # of manifests; a file for each would cost more than all else
_AT_ONCE: Final = 16  # pieces that wait to be hashed
_SLICE_BYTES: Final = 128 << 10  # for larger ones the kernel takes large pages, at twice the cost
_WRITE_BACK_BYTES: Final = 8 << 20
_SYNCED_AT_ONCE: Final = 8
_SYNCED_IN_A_ROW: Final = 16
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class ImportRunning(Exception):
    """Somebody else imports into the same data directory."""

    def __init__(self) -> None:
        super().__init__("another import into this data directory is running: wait for its end")


class ImportStopped(Exception):
    """Nobody wants the import any more; what was staged stays, to go on from."""


@dataclass(slots=True)
class Staging:
    """What came, as its names say: ``came`` has the size of each blob, ``held`` are those that the store had.

    ``faults`` tells of others. No more than ``room_bytes`` are new. Everything here waits: for one thread.
    """

    folder: Path
    blobs: DirectoryBlobs
    room_bytes: int
    stop: Event
    came: dict[Digest, int] = field(default_factory=dict)
    held: set[Digest] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    _small: dict[Digest, bytes] = field(default_factory=dict)
    _memory_bytes: int = _MEMORY_BYTES
    _hasher: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "import-hash"))

    def take(
        self, entry: Entry, digest: Digest, entries: Entries, *, is_kept: bool, is_read: bool = False
    ) -> None:
        """Hash an entry, and write it unless the store has it, or it ``is_kept`` for nothing.

        One that ``is_read`` again is kept in memory, where there is room.
        """
        self._require_going_on()
        if self.blobs.use(digest) == entry.size_bytes:
            self.held.add(digest)
        else:
            self._require_room(entry)
        if is_read and entry.size_bytes <= min(PIECE_BYTES, self._memory_bytes):
            hashed = self._remembered(digest, entries.read_all())
        else:
            is_written = is_kept and digest not in self.held
            place = self.folder / digest.hex
            pieces = self._written(place, entries) if is_written else iter(entries.read, b"")
            is_small = entry.size_bytes <= PIECE_BYTES
            hashed = _hashed(digest, pieces) if is_small else self._hashed(digest, pieces)
        if hashed == digest.hex:
            self.came[digest] = entry.size_bytes
        else:
            self.faults.append(f"{entry.name} has other content than its name says")

    def read(self, digest: Digest, most_bytes: int = MAX_SIZE_BYTES, /) -> bytes | None:
        """What came and was written; raise BundleRefused where it is larger than what it is said to be."""
        if self.came.get(digest, 0) > most_bytes:
            raise BundleRefused([f"{digest} is too large for what it is said to be"])
        if digest not in self.came:
            return None
        try:
            return self._small.get(digest) or (self.folder / digest.hex).read_bytes()
        except FileNotFoundError:
            return None

    def adopt(self, digests: Iterable[Digest]) -> None:
        """Make these the store's, durably: files first, then their names."""
        wanted = list(digests)
        with ThreadPoolExecutor(_SYNCED_AT_ONCE, "import-sync") as pool:
            batches = (
                wanted[start : start + _SYNCED_IN_A_ROW] for start in range(0, len(wanted), _SYNCED_IN_A_ROW)
            )
            for _ in pool.map(self._sync, batches):
                self._require_going_on()
        self.blobs.adopt(self.folder, wanted)

    def close(self) -> None:
        self._hasher.shutdown()

    def _sync(self, digests: Sequence[Digest]) -> None:
        for digest in digests:
            _sync(self.folder / digest.hex)

    def _require_going_on(self) -> None:
        if self.stop.is_set():
            raise ImportStopped

    def _require_room(self, entry: Entry) -> None:
        if entry.size_bytes > self.room_bytes:
            raise StorageFull(
                f"{entry.name} has {entry.size_bytes} bytes, and there is room for "
                f"{max(self.room_bytes, 0)}: free some of the disk, or let more in (--max-bytes)"
            )
        self.room_bytes -= entry.size_bytes

    def _remembered(self, digest: Digest, content: bytes) -> str:
        self._memory_bytes -= len(content)
        self._small[digest] = content
        return _hashed(digest, iter((content,)))

    def _hashed(self, digest: Digest, pieces: Iterator[bytes]) -> str:
        """In a second thread, while this one reads and writes."""
        waiting: Queue[bytes] = Queue(_AT_ONCE)
        hashing = self._hasher.submit(_hashed, digest, iter(waiting.get, b""))
        try:
            for piece in pieces:
                waiting.put(piece)
                self._require_going_on()
        finally:
            waiting.put(b"")
        return hashing.result()

    def _written(self, place: Path, entries: Entries) -> Iterator[bytes]:
        """Each piece, before it is written."""
        fd = os.open(place, _OPEN, 0o600)
        try:
            before, offset = os.fstat(fd).st_size, 0
            while piece := entries.read():
                yield piece
                _write_at(fd, offset, piece, before)
                offset += len(piece)
            os.ftruncate(fd, offset)
        finally:
            os.close(fd)


@contextmanager
def open_staging(root: Path, blobs: DirectoryBlobs, max_bytes: int | None, stop: Event) -> Iterator[Staging]:
    """A place for one import at a time; ``root`` is that of the blobs. Raise ImportRunning.

    ``max_bytes`` is how much may be new, None for as much as the disk has room for. Nothing stays of it,
    unless the process is killed, or ``stop`` was set.
    """
    folder = root / _FOLDER
    with _alone(folder):
        staging = Staging(folder, blobs, _room(folder) if max_bytes is None else max_bytes, stop)
        try:
            yield staging
        except ImportStopped:
            staging.close()
            raise
        except BaseException:
            staging.close()
            _clear(folder)
            raise
        staging.close()
        _clear(folder)


def sweep_staging(root: Path, before: float) -> bool:
    """Remove what a dead import left, if nothing was written since; for threads. Whether something was."""
    folder = root / _FOLDER
    try:
        newest = max(path.lstat().st_mtime for path in (folder, *folder.iterdir()))
    except FileNotFoundError:
        return False
    if newest >= before:
        return False
    with suppress(ImportRunning), _alone(folder):
        _clear(folder)
        return True
    return False


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    make_folders(folder)
    place = folder / _LOCK
    fd = os.open(place, _OPEN, 0o600)
    try:
        if not try_lock(fd) or not is_at(place, fd):
            raise ImportRunning
        yield
    finally:
        os.close(fd)


def _room(folder: Path) -> int:
    """What the disk has free but for the reserve, and what is taken here already."""
    usage = shutil.disk_usage(folder)
    staged = sum(path.lstat().st_size for path in folder.iterdir())
    return usage.free + staged - min(RESERVE_BYTES, usage.total // _LARGEST_RESERVE_SHARE)


def _clear(folder: Path) -> None:
    """The lock goes last: whoever holds it knows by its name whether it still counts."""
    for path in folder.iterdir():
        if path.name != _LOCK:
            path.unlink(missing_ok=True)
    (folder / _LOCK).unlink(missing_ok=True)
    with suppress(OSError):  # somebody begins anew
        folder.rmdir()


def _write_at(fd: int, offset: int, content: bytes, before: int) -> None:
    """``before`` is the size that the file had: what a killed import wrote need not be written again."""
    if offset < before and os.pread(fd, len(content), offset) == content:
        return
    rest = memoryview(content)
    while rest:
        count = os.pwrite(fd, rest[:_SLICE_BYTES], offset)
        rest, offset = rest[count:], offset + count
    if offset % _WRITE_BACK_BYTES < len(content):
        with suppress(OSError):  # advice, to have the disk work while the rest comes
            os.posix_fadvise(fd, max(offset - 2 * _WRITE_BACK_BYTES, 0), 0, os.POSIX_FADV_DONTNEED)


def _hashed(digest: Digest, pieces: Iterator[bytes]) -> str:
    hasher = digest.hasher()
    for piece in pieces:
        hasher.update(piece)
    return hasher.hexdigest()


def _sync(place: Path) -> None:
    fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
