"""One running fetch per key: whoever asks meanwhile waits for the same result, or the same error."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

import structlog

log = structlog.get_logger(__name__)

FLIGHT_SECONDS: Final = 600.0

T = TypeVar("T")


class Flights(Generic[T]):
    """Flights belong to the application: a client that leaves ends none, a client that comes joins.

    One that takes longer than ``limit_seconds`` ends in a TimeoutError.
    """

    def __init__(self, limit_seconds: float = FLIGHT_SECONDS) -> None:
        self._limit_seconds = limit_seconds
        self._running: dict[Hashable, asyncio.Task[T]] = {}

    def is_running(self, key: Hashable) -> bool:
        task = self._running.get(key)
        return task is not None and not task.done()

    async def join(self, key: Hashable, start: Callable[[], Awaitable[T]]) -> T:
        """Wait for the flight of this key; start it if there is none. Its key is free once it ends."""
        return await asyncio.shield(self.launch(key, start))

    def launch(self, key: Hashable, start: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
        """The flight of this key as a task, which the caller must not cancel."""
        task = self._running.get(key)
        if task is None or task.done():  # one that has ended, and is not cleared away yet, is none
            task = asyncio.create_task(self._run(start))
            self._running[key] = task
            task.add_done_callback(lambda done: self._land(key, done))
        return task

    async def drain(self) -> None:
        """Cancel what still runs, and wait for its end."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def settle(self) -> None:
        """Wait for the end of what still runs."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _land(self, key: Hashable, task: asyncio.Task[T]) -> None:
        if self._running.get(key) is task:
            del self._running[key]
        error = None if task.cancelled() else task.exception()  # seen, also where every waiter has left
        if error is not None:
            log.debug("flight_failed", key=str(key), error=repr(error))

    async def _run(self, start: Callable[[], Awaitable[T]]) -> T:
        async with asyncio.timeout(self._limit_seconds):
            return await start()
