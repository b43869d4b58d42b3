"""The disk: threads for what may block on it, folders for ourselves only, files that their holder locks."""

import asyncio
import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar, TypeVarTuple, runtime_checkable

from anyio import CapacityLimiter, to_thread

from gateway.store.blobs import StorageFailed, StorageFull

READ_ONLY = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not hold us
_MOST_AT_ONCE = 1 << 20  # a MiB from the page cache keeps the event loop for a fraction of a millisecond
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_NOW = getattr(os, "RWF_NOWAIT", None)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@runtime_checkable
class _Closable(Protocol):
    def close(self) -> None: ...


async def in_thread(
    function: Callable[[*Ts], T], *arguments: *Ts, limiter: CapacityLimiter | None = None
) -> T:
    """Run what may block on a disk away from the event loop; the disk's refusal is an OSError.

    Whoever is cancelled meanwhile waits for the thread: what it works on must not be closed under it.
    What was opened for them is closed then.
    """
    running = asyncio.ensure_future(to_thread.run_sync(function, *arguments, limiter=limiter))
    try:
        await settled(running)
    except asyncio.CancelledError:
        _close_unclaimed(running)
        raise
    return running.result()


def _close_unclaimed(running: asyncio.Future[T]) -> None:
    opened = None if running.cancelled() or running.exception() else running.result()
    if isinstance(opened, _Closable):
        opened.close()


async def looked_at(function: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Run what only reads, for however long: whoever is cancelled leaves the thread to itself."""
    return await to_thread.run_sync(function, *arguments, abandon_on_cancel=True)


def duplicate(fd: int) -> int:
    """The same open file once more, for whoever may go on with it longer; raise StorageFailed."""
    try:
        return os.dup(fd)
    except OSError as error:
        raise StorageFailed(f"no more files can be opened: {error.strerror}") from error


async def settled(running: asyncio.Future[T]) -> None:
    """Wait until it is done, however often whoever waits is cancelled; then raise that."""
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError as error:
            cancelled = error
    if not running.cancelled():
        running.exception()  # seen: asyncio would complain of it where nobody asks for the result
    try:
        if cancelled is not None:
            raise cancelled
    finally:
        del cancelled  # else it holds this frame, and the frame holds it


async def on_disk(function: Callable[[*Ts], T], *arguments: *Ts, limiter: CapacityLimiter | None = None) -> T:
    """The same, where the disk's refusal is StorageFailed."""
    try:
        return await in_thread(function, *arguments, limiter=limiter)
    except OSError as error:
        kind = StorageFull if error.errno in _NO_ROOM else StorageFailed
        raise kind(f"the blob directory refused: {error.strerror}") from error


async def read_at(fd: int, offset: int, length: int) -> bytes:
    """At most ``length`` bytes; from the page cache at once, where it is little and the kernel can tell."""
    content = _read_cached(fd, offset, length)
    return await on_disk(os.pread, fd, length, offset) if content is None else content


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


def make_folders(*folders: Path) -> None:
    """Each for ourselves only; what is above the first is made as usual."""
    folders[0].parent.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        folder.mkdir(mode=0o700, exist_ok=True)


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def is_at(place: Path, fd: int) -> bool:
    """Whether the open file is the one that has this name now."""
    try:
        named = os.lstat(place)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(fd))


def try_lock(fd: int) -> bool:
    """Hold the file alone, until it is closed."""
    return _try_lock(fd, fcntl.LOCK_EX)


def is_held(fd: int) -> bool:
    """Whether some other opener of the file holds it alone."""
    if not _try_lock(fd, fcntl.LOCK_SH):
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def remove_if_orphan(path: Path) -> bool:
    """Remove a file that nobody holds; whether it was one."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # nothing that we wrote
            return False
        fd = os.open(path, READ_ONLY)
    except FileNotFoundError:
        return False
    try:
        if not try_lock(fd) or not is_at(path, fd):
            return False
        path.unlink()
        return True
    finally:
        os.close(fd)


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
