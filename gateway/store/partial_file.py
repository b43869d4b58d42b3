"""A blob on its way: hashed and written a MiB at a time by a thread, while the next MiB arrives."""

import asyncio
import errno
import hashlib
import os
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from gateway.oci.digest import Digest
from gateway.store.blobs import StorageFailed, TransferBroken, check_size
from gateway.store.disk import (
    duplicate,
    is_at,
    make_folders,
    on_disk,
    read_at,
    remove_if_orphan,
    settled,
    sync_folder,
    try_lock,
)
from gateway.store.pieces import Pieces

_FLUSH_BYTES: Final = 1 << 20
_AT_ONCE: Final = 512  # pieces; the system takes no more than 1024
_WRITE_BACK_BYTES: Final = 8 << 20
_MOST_BUFFERED: Final = 4 << 20  # where the disk is slower than the network, larger pieces cost less
LINGER_SECONDS: Final = 0.1
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class PartialFile:
    """Leaving its block drops the file, if it was not kept, and the lock on it.

    One that knows its digest has a name made of it, so that other processes find it, unless a living
    writer has that name. One task writes; others may read what was written.
    """

    def __init__(
        self,
        folder: Path,
        expected: Digest | None,
        limit_bytes: int | None,
        owner: str,
        linger_seconds: float,
    ) -> None:
        self._folder = folder
        self._expected = expected
        self._owner = owner
        self._limit_bytes = limit_bytes
        self._linger_seconds = linger_seconds
        self._algorithm = "sha256" if expected is None else expected.algorithm
        self._hasher = Digest(self._algorithm, "").hasher()
        self._hashed = 0
        self._handed_to_disk = 0
        self._hashing = threading.Lock()
        self._size = 0
        self._buffer = Pieces()
        self._leaving = Pieces()  # handed to the thread, which may be through with it or not
        self._append: asyncio.Task[None] | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._path = folder
        self._fd = -1
        self._is_kept = False

    async def __aenter__(self) -> Self:
        try:
            await on_disk(self._open)
        except BaseException:
            self._close()  # cancelled: the thread may have opened it
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
        try:
            if self._append is not None:
                await settled(self._append)  # its file must not be closed under the thread
        finally:
            await on_disk(self._close)

    @property
    def digest(self) -> Digest:
        """The digest of all that was written so far."""
        with self._hashing:
            hasher, hashed = self._hasher.copy(), self._hashed
        hasher.update(self._in_memory(hashed, self._size))
        return Digest(self._algorithm, hasher.hexdigest())

    @property
    def size(self) -> int:
        return self._size

    async def write(self, content: bytes) -> None:
        check_size(self._size + len(content), self._limit_bytes)
        if len(content) >= _FLUSH_BYTES:
            await self.flush()
            self._size += len(content)
            self._hand_over(Pieces(content))
            return
        self._size += len(content)
        self._buffer.append(content)
        if self._buffer.size >= (_MOST_BUFFERED if self._is_appending() else _FLUSH_BYTES):
            await self._settle()
            self._hand_over_buffer()
        else:
            self._linger()

    async def reread(self) -> BinaryIO:
        await self.flush()
        return await on_disk(_reopen, self._path)

    async def written(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self._size)
        in_file = self._size - self._buffer.size - self._leaving.size
        if offset >= in_file:
            return self._in_memory(offset, max(stop, offset))
        if self._fd < 0:
            raise TransferBroken("the blob is no longer being written")
        recent = self._in_memory(in_file, max(stop, in_file))
        wanted = min(stop, in_file) - offset
        fd = duplicate(self._fd)  # the writer may leave meanwhile
        try:
            content = await read_at(fd, offset, wanted)
        finally:
            os.close(fd)
        if len(content) < wanted:
            raise StorageFailed("the blob directory lost what was written")
        return content + recent

    async def flush(self) -> None:
        """Wait until all that was written is in the file."""
        await self._settle()
        if self._buffer.size:
            self._hand_over_buffer()
            await self._settle()

    async def keep_as(self, place: Path, make_way: Callable[[], object]) -> os.stat_result:
        """File first, then its name, then the folder that holds the name: durable in this order.

        ``make_way`` is called where a folder has the name. Return what the file is then.
        """
        return await on_disk(self._keep_as, place, make_way)

    def _linger(self) -> None:
        """Write what has arrived in a moment, also if nothing more arrives: others may follow."""
        if self._lingering is None:
            loop = asyncio.get_running_loop()
            self._lingering = loop.call_later(self._linger_seconds, self._end_linger)

    def _end_linger(self) -> None:
        self._lingering = None
        if self._is_appending():
            self._linger()
        elif self._buffer.size and (self._append is None or _is_well(self._append)):
            self._hand_over_buffer()

    def _is_appending(self) -> bool:
        return self._append is not None and not self._append.done()

    async def _settle(self) -> None:
        """Wait for the thread; raise what it met, each time."""
        while self._append is not None and not self._append.done():
            await settled(self._append)
        if self._append is not None:
            self._append.result()

    def _hand_over_buffer(self) -> None:
        content, self._buffer = self._buffer, Pieces()
        self._hand_over(content)

    def _hand_over(self, content: Pieces) -> None:
        self._leaving = content
        self._append = asyncio.create_task(self._append_all(content))

    async def _append_all(self, content: Pieces) -> None:
        await on_disk(self._append_in_thread, content)
        self._leaving = Pieces()

    def _append_in_thread(self, content: Pieces) -> None:
        for piece in content:
            with self._hashing:
                self._hasher.update(piece)
                self._hashed += len(piece)
        self._write_all(deque(memoryview(piece) for piece in content))
        self._begin_write_back()

    def _begin_write_back(self) -> None:
        """Have the disk work while the rest comes: else all of it is left to the fsync at the end."""
        if self._hashed - self._handed_to_disk >= _WRITE_BACK_BYTES:
            with suppress(OSError):  # advice: a file system may not take it
                os.posix_fadvise(
                    self._fd,
                    self._handed_to_disk,
                    self._hashed - self._handed_to_disk,
                    os.POSIX_FADV_DONTNEED,
                )
            self._handed_to_disk = self._hashed

    def _write_all(self, pieces: deque[memoryview]) -> None:
        while pieces:
            written = os.writev(self._fd, list(islice(pieces, _AT_ONCE)))
            while pieces and written >= len(pieces[0]):
                written -= len(pieces.popleft())
            if written:
                pieces[0] = pieces[0][written:]

    def _in_memory(self, start: int, stop: int) -> bytes:
        """A range that is not known to be in the file yet."""
        split = self._leaving.size
        base = self._size - self._buffer.size - split
        old = self._leaving.part(start - base, stop - base)
        new = self._buffer.part(start - base - split, stop - base - split)
        return old + new if old else new

    def _open(self) -> None:
        if not any(self._claim(path) for path in self._names()):
            raise FileExistsError(errno.EEXIST, "every name for a partial file is taken")

    def _names(self) -> Iterator[Path]:
        """Its own name twice: the first try may remove what a dead writer left under it."""
        if self._expected is not None:
            named = partial_path(self._folder, self._expected, self._owner)
            yield from (named, named)
        yield from (self._folder / secrets.token_hex(16) for _ in range(2))

    def _claim(self, path: Path) -> bool:
        """Make the file and lock it; between the two it looks like a dead writer's to others."""
        try:
            fd = os.open(path, _NEW, 0o600)
        except FileExistsError:
            remove_if_orphan(path)
            return False
        if not try_lock(fd) or not is_at(path, fd):
            os.close(fd)
            return False
        self._path, self._fd = path, fd
        return True

    def _keep_as(self, place: Path, make_way: Callable[[], object]) -> os.stat_result:
        os.fsync(self._fd)
        is_new_shard = not place.parent.is_dir()
        make_folders(place.parent.parent, place.parent)
        if not is_at(self._path, self._fd):  # what has our name now is nothing that we verified
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        try:
            os.rename(self._path, place)
        except IsADirectoryError:
            make_way()
            os.rename(self._path, place)
        self._is_kept = True
        sync_folder(place.parent)
        if is_new_shard:
            sync_folder(place.parent.parent)
            sync_folder(place.parent.parent.parent)
        return os.fstat(self._fd)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if not self._is_kept and is_at(self._path, fd):  # nobody takes the name of who holds the lock
                self._path.unlink(missing_ok=True)
        finally:
            os.close(fd)


def partial_path(folder: Path, digest: Digest, owner: str) -> Path:
    """Where a blob lies while it is being written for ``owner``, for those who know its digest."""
    suffix = f"-{hashlib.sha256(owner.encode()).hexdigest()[:16]}" if owner else ""
    return folder / f"{digest.algorithm}-{digest.hex}{suffix}"


def _is_well(ended: asyncio.Task[None]) -> bool:
    return not ended.cancelled() and ended.exception() is None


def _reopen(path: Path) -> BinaryIO:
    return path.open("rb")
