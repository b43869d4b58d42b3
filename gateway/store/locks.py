"""Locks by key for all processes of a data directory: files with an flock, which dies with its holder."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

from gateway.store.disk import in_thread, is_at, make_folders, remove_if_orphan, try_lock

log = structlog.get_logger(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.005
_LONGEST_PAUSE_SECONDS: Final = 0.05
_MAX_FAILURE_BYTES: Final = 1 << 20
_OPENED_TO_LOCK: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not hold us


class FileLocks:
    """One file per key, removed by each holder before it lets go: whoever waited then holds a nameless file.

    A failure that is to be told stands in that nameless file alone, so whoever comes later cannot find it,
    and a holder that was killed leaves none.
    """

    def __init__(self, folder: Path, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._folder = folder
        self._sleep = sleep
        make_folders(folder)

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator["FileHold"]:
        """Wait for the lock; raise OSError where there can be none."""
        held = FileHold(self._folder / hashlib.sha256(key.encode()).hexdigest())
        try:
            await self._wait(held)
            yield held
        finally:
            await in_thread(held.release)

    @asynccontextmanager
    async def try_hold(self, key: str) -> AsyncIterator[bool]:
        """Hold the lock without waiting for it; False where somebody else does."""
        held = FileHold(self._folder / hashlib.sha256(key.encode()).hexdigest())
        try:
            yield await in_thread(held.take)
        finally:
            await in_thread(held.release)

    def sweep(self) -> int:
        """Remove what killed holders have left; return how many."""
        return sum(remove_if_orphan(path) for path in self._folder.iterdir())

    async def _wait(self, held: "FileHold") -> None:
        while True:
            await in_thread(held.open)
            pause = _FIRST_PAUSE_SECONDS
            while not held.try_lock():  # on the loop: 1 µs, where opening or removing may wait for a journal
                await self._sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            if held.settle():
                return


class FileHold:
    """The lock on a key, or on its way there; see gateway.flights.Hold."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._fd = -1
        self._is_owner = False
        self._left = b""
        self.failure: str | None = None

    def leave(self, text: str) -> None:
        self._left = text.encode()

    def open(self) -> None:
        self._close()
        self._fd = os.open(self._place, _OPENED_TO_LOCK | os.O_CREAT, 0o600)

    def take(self) -> bool:
        """Lock without waiting; a file that somebody let go of meanwhile has no name, and is opened anew."""
        self.open()
        while self.try_lock():
            self.settle()
            if self._is_owner:
                return True
            self.open()
        return False

    def try_lock(self) -> bool:
        return try_lock(self._fd)

    def settle(self) -> bool:
        """Whether the wait is over: the key is ours, or who held it has failed. Else open it anew."""
        self._is_owner = is_at(self._place, self._fd)
        if not self._is_owner:
            text = os.pread(self._fd, _MAX_FAILURE_BYTES, 0)
            self.failure = text.decode(errors="replace") or None
        return self._is_owner or self.failure is not None

    def release(self) -> None:
        """Remove the name, leave the failure, let go: in this order, whatever the disk says."""
        try:
            if self._is_owner:
                self._place.unlink(missing_ok=True)
                self._leave_failure()
        except OSError as error:
            log.warning("lock_not_cleared", reason=error.strerror)
        finally:
            self._close()

    def _leave_failure(self) -> None:
        if self._left and os.pwrite(self._fd, self._left, 0) < len(self._left):
            os.ftruncate(self._fd, 0)  # half a text says nothing

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
