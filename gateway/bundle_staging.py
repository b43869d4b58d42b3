"""Blobs of an import on their way: hashed as they come, kept beside the store until all are judged."""

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Final, TypeVarTuple

from gateway.bundle_checks import BundleRefused, Entries, Entry
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
_AT_ONCE: Final = 8  # pieces between the thread that hashes and the one that writes
_SMALL_BYTES: Final = 256 << 10  # sooner written than handed to another thread
_WRITE_BACK_BYTES: Final = 8 << 20
_SYNCED_AT_ONCE: Final = 8
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

Ts = TypeVarTuple("Ts")


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
    _writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "import"))
    _pending: "deque[Future[object]]" = field(default_factory=deque)

    def take(self, entry: Entry, digest: Digest, entries: Entries, *, is_kept: bool) -> None:
        """Hash an entry, and write it unless the store has it, or it ``is_kept`` for nothing."""
        if self.blobs.use(digest) == entry.size_bytes:
            self.held.add(digest)
        else:
            self._require_room(entry)
        is_written = is_kept and digest not in self.held
        place = self.folder / digest.hex
        hasher = digest.hasher()
        for piece in self._written(place, entry, entries) if is_written else iter(entries.read, b""):
            hasher.update(piece)
            if self.stop.is_set():
                raise ImportStopped
        if hasher.hexdigest() == digest.hex:
            self.came[digest] = entry.size_bytes
        else:
            self.faults.append(f"{entry.name} has other content than its name says")

    def settle(self) -> None:
        """Wait until all of it is in the files; raise the OSError that was met."""
        while self._pending:
            self._pending.popleft().result()

    def read(self, digest: Digest, most_bytes: int = MAX_SIZE_BYTES, /) -> bytes | None:
        """What came and was written; raise BundleRefused where it is larger than what it is said to be."""
        self.settle()
        if self.came.get(digest, 0) > most_bytes:
            raise BundleRefused([f"{digest} is too large for what it is said to be"])
        try:
            return (self.folder / digest.hex).read_bytes() if digest in self.came else None
        except FileNotFoundError:
            return None

    def adopt(self, digests: Iterable[Digest]) -> None:
        """Make these the store's, durably: files first, then their names."""
        self.settle()
        wanted = list(digests)
        with ThreadPoolExecutor(_SYNCED_AT_ONCE, "import-sync") as pool:
            for _ in pool.map(lambda digest: _sync(self.folder / digest.hex), wanted):
                self._require_going_on()
        self.blobs.adopt(self.folder, wanted)

    def close(self) -> None:
        self._writer.shutdown()

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

    def _written(self, place: Path, entry: Entry, entries: Entries) -> Iterator[bytes]:
        """Each piece, once it is on its way to the file."""
        if entry.size_bytes <= _SMALL_BYTES:
            content = entries.read_all()
            _write_whole(place, content)
            yield content
            return
        fd = os.open(place, _OPEN, 0o600)
        try:
            before, offset = os.fstat(fd).st_size, 0
            while piece := entries.read():
                self._submit(_write_at, fd, offset, piece, before)
                offset += len(piece)
                yield piece
        finally:
            self._submit(_close_at, fd, entry.size_bytes)  # behind all that is written to it

    def _submit(self, work: Callable[[*Ts], object], *arguments: *Ts) -> None:
        self._pending.append(self._writer.submit(work, *arguments))
        while len(self._pending) > _AT_ONCE:
            self._pending.popleft().result()


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


def _write_whole(place: Path, content: bytes) -> None:
    fd = os.open(place, _OPEN, 0o600)
    try:
        _write_at(fd, 0, content, os.fstat(fd).st_size)
        os.ftruncate(fd, len(content))
    finally:
        os.close(fd)


def _write_at(fd: int, offset: int, content: bytes, before: int) -> None:
    """``before`` is the size that the file had: what a killed import wrote need not be written again."""
    if offset < before and os.pread(fd, len(content), offset) == content:
        return
    rest = memoryview(content)
    while rest:
        count = os.pwrite(fd, rest, offset)
        rest, offset = rest[count:], offset + count
    if offset % _WRITE_BACK_BYTES < len(content):
        with suppress(OSError):  # advice, to have the disk work while the rest comes
            os.posix_fadvise(fd, max(offset - 2 * _WRITE_BACK_BYTES, 0), 0, os.POSIX_FADV_DONTNEED)


def _close_at(fd: int, size_bytes: int) -> None:
    try:
        os.ftruncate(fd, size_bytes)
    finally:
        os.close(fd)


def _sync(place: Path) -> None:
    fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
