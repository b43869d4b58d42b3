"""Turns at the database: so many at once, in threads of their own, and nobody waits for ever."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar, TypeVarTuple

from anyio import CapacityLimiter, to_thread

from gateway.store.blobs import StorageFailed

ANSWER_SECONDS: Final = 12.0  # longer than a server lets a statement run, or SQLite waits for a lock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Turns:
    """A database that stops answering takes no thread from others: blobs are still read and written.

    A call that got no answer in time keeps its turn until its thread is back.
    """

    def __init__(self, count: int, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._free = asyncio.Semaphore(count)
        self._threads = CapacityLimiter(count)
        self._answer_seconds = answer_seconds
        self._running = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    async def run(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Run it in a thread once there is a turn; raise StorageFailed where all that takes too long."""
        try:
            async with asyncio.timeout(self._answer_seconds):
                await self._free.acquire()
                running = asyncio.ensure_future(
                    to_thread.run_sync(function, *arguments, limiter=self._threads)
                )
                self._running += 1
                self._is_idle.clear()
                running.add_done_callback(self._end)
                return await asyncio.shield(running)
        except TimeoutError as error:
            raise StorageFailed("the catalog does not answer") from error

    async def settle(self, seconds: float) -> None:
        """Wait for what still runs, also where whoever asked has left, but not for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_idle.wait()

    def _end(self, running: asyncio.Future[T]) -> None:
        self._free.release()
        self._running -= 1
        if not self._running:
            self._is_idle.set()
        if not running.cancelled():
            running.exception()  # seen: whoever asked may have left
