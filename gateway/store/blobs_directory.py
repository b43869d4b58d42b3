"""Blobs as files: ``sha256/ab/<hex>``, written beside their place, synced, then renamed into it."""

import asyncio
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar, TypeVarTuple

from anyio import to_thread

from gateway.oci.digest import Digest
from gateway.store.blobs import BlobWriter, OpenBlob, StorageFailed, check_digest, check_size

_PARTIAL = "partial"
_FLUSH_BYTES = 1 << 20
_READ_ONLY = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not hold us
_MOST_AT_ONCE = 1 << 20  # a MiB from the page cache keeps the event loop for a fraction of a millisecond
_READ_NOW = getattr(os, "RWF_NOWAIT", None)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class DirectoryBlobs:
    """A blob store in a directory. A partial file is flocked by its writer; sweep() removes the orphans."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._partial = root / _PARTIAL
        _make_folders(root, self._partial)

    @asynccontextmanager
    async def create(
        self, expected: Digest | None = None, limit_bytes: int | None = None
    ) -> AsyncIterator[BlobWriter]:
        with _PartialFile(self._partial, expected, limit_bytes) as partial:
            await _in_thread(partial.open)
            yield partial
            await partial.flush()
            check_digest(expected, partial.digest)
            await _in_thread(partial.keep_as, self._path(partial.digest))

    async def open(self, digest: Digest) -> OpenBlob | None:
        return await _in_thread(_open_blob, self._path(digest))

    async def size(self, digest: Digest) -> int | None:
        return await _in_thread(_size_of, self._path(digest))

    async def delete(self, digest: Digest) -> None:
        await _in_thread(_unlink, self._path(digest))

    def sweep(self) -> int:
        """Remove partial files that no living writer holds; return how many."""
        return sum(_remove_if_orphan(path) for path in self._partial.iterdir())

    def _path(self, digest: Digest) -> Path:
        return self._root / digest.algorithm / digest.hex[:2] / digest.hex


class _PartialFile:
    """A blob on its way: hashed and written a MiB at a time, off the event loop.

    Leaving its block drops the file, if it still has its first name, and the lock on it.
    """

    def __init__(self, folder: Path, expected: Digest | None, limit_bytes: int | None) -> None:
        self._algorithm = "sha256" if expected is None else expected.algorithm
        self._hasher = Digest(self._algorithm, "").hasher()
        self._limit_bytes = limit_bytes
        self._size = 0
        self._buffer = bytearray()
        self._path = folder / secrets.token_hex(16)
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._fd)

    def open(self) -> None:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    @property
    def digest(self) -> Digest:
        """The digest of all that was written so far."""
        hasher = self._hasher.copy()
        hasher.update(self._buffer)
        return Digest(self._algorithm, hasher.hexdigest())

    @property
    def size(self) -> int:
        return self._size

    async def write(self, content: bytes) -> None:
        check_size(self._size + len(content), self._limit_bytes)
        self._size += len(content)
        if len(content) >= _FLUSH_BYTES:
            await self.flush()
            await _in_thread(self._append, content)
            return
        self._buffer += content
        if len(self._buffer) >= _FLUSH_BYTES:
            await self.flush()

    async def reread(self) -> BinaryIO:
        await self.flush()
        return await _in_thread(_reopen, self._path)

    async def flush(self) -> None:
        if self._buffer:
            content, self._buffer = self._buffer, bytearray()
            await _in_thread(self._append, content)

    def _append(self, content: bytes | bytearray) -> None:
        self._hasher.update(content)
        view = memoryview(content)
        while view:
            view = view[os.write(self._fd, view) :]

    def keep_as(self, place: Path) -> None:
        """File first, then its name, then the folder that holds the name: durable in this order."""
        os.fsync(self._fd)
        is_new_shard = not place.parent.is_dir()
        _make_folders(place.parent.parent, place.parent)
        os.rename(self._path, place)
        _sync_folder(place.parent)
        if is_new_shard:
            _sync_folder(place.parent.parent)
            _sync_folder(place.parent.parent.parent)


class _BlobFile:
    def __init__(self, file: FileIO, size: int) -> None:
        self._file = file
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    async def read(self, offset: int, length: int) -> bytes:
        """From the page cache at once, where it is little and the kernel can tell; else in a thread."""
        fd = self._file.fileno()
        content = _read_cached(fd, offset, min(length, self._size - offset))
        if content is not None:
            return content
        return await _in_thread(os.pread, fd, length, offset)

    def close(self) -> None:
        self._file.close()


def _read_cached(fd: int, offset: int, length: int) -> bytes | None:
    """The range, where the page cache holds all of it; None where a disk would have to be asked."""
    if _READ_NOW is None or not 0 < length <= _MOST_AT_ONCE:
        return None
    buffer = bytearray(length)
    try:
        count = os.preadv(fd, [buffer], offset, _READ_NOW)
    except OSError:  # not in memory, or no file system that can tell
        return None
    return bytes(buffer) if count == length else None


def _open_blob(path: Path) -> OpenBlob | None:
    try:
        fd = os.open(path, _READ_ONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a symlink is nothing that we wrote
            return None
        raise
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        return None
    return _BlobFile(FileIO(fd), status.st_size)


def _size_of(path: Path) -> int | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _remove_if_orphan(path: Path) -> bool:
    if not stat.S_ISREG(path.lstat().st_mode):  # nothing that we wrote
        return False
    fd = os.open(path, _READ_ONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(fd)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _reopen(path: Path) -> BinaryIO:
    return path.open("rb")


async def _in_thread(function: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Run what may block on a disk away from the event loop; the disk's refusal is StorageFailed.

    Whoever is cancelled meanwhile waits for the thread: what it works on must not be closed under it.
    """
    running = asyncio.ensure_future(to_thread.run_sync(function, *arguments))
    try:
        return await asyncio.shield(running)
    except OSError as error:
        raise StorageFailed(f"the blob directory refused: {error.strerror}") from error
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise


def _make_folders(*folders: Path) -> None:
    """Each for ourselves only; what is above the first is made as usual."""
    folders[0].parent.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        folder.mkdir(mode=0o700, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
