"""One running fetch per key: whoever asks meanwhile waits for the same result, or the same error."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from typing import Final, Generic, Protocol, TypeVar

import structlog

from gateway.oci.outcome_text import outcome_from_text, outcome_to_text
from gateway.oci.outcomes import Outcome

log = structlog.get_logger(__name__)

FLIGHT_SECONDS: Final = 600.0

T = TypeVar("T")


class Hold(Protocol):
    """A lock that is held."""

    @property
    def failure(self) -> str | None:
        """What the holder that was waited for left; None where nobody was, or it succeeded, or died."""

    def leave(self, text: str) -> None:
        """Leave a failure to those who wait for the lock by now; whoever comes later finds none."""


class Locks(Protocol):
    """One lock per key, across processes; that of a process that dies is free at once.

    Entering waits for as long as it takes, and raises OSError where there can be no lock; leaving never
    raises. Cancelling who waits or holds leaves nothing behind.
    """

    def hold(self, key: str) -> AbstractAsyncContextManager[Hold]: ...


class Turn(Protocol):
    """What somebody who wants a flight asks first, where not everybody may have one at once."""

    def begin(self) -> AbstractAsyncContextManager[None]:
        """For a flight that is not running yet: it goes inside; raise where it cannot even wait for that."""

    def join(self) -> None:
        """One more wants a flight that is running, or waits for its turn still."""


class Flights(Generic[T]):
    """Flights belong to the application: a client that leaves ends none, a client that comes joins.

    One that takes longer than ``limit_seconds`` ends in a TimeoutError.

    With ``locks`` there is one flight per name and key in all processes. One that has waited for another
    process then runs too: ``start`` must look first whether what it is to fetch is held by now. Where the
    other one failed with an outcome, it fails with the same and ``start`` is not called. The keys are then
    texts and numbers, or tuples of these. ``until_seen`` is what other processes wait for beyond the result,
    until they can see it too.
    """

    def __init__(
        self,
        name: str = "",
        locks: Locks | None = None,
        limit_seconds: float = FLIGHT_SECONDS,
        now: Callable[[], float] = time.monotonic,
        until_seen: Callable[[T], Awaitable[None]] | None = None,
    ) -> None:
        self._name = name
        self._until_seen = until_seen
        self._lingering: set[asyncio.Task[None]] = set()
        self._locks = locks
        self._limit_seconds = limit_seconds
        self._now = now
        self._running: dict[Hashable, asyncio.Task[T]] = {}
        self._started_at: dict[asyncio.Task[T], float] = {}

    def is_running(self, key: Hashable) -> bool:
        task = self._running.get(key)
        return task is not None and not task.done()

    def age_seconds(self, key: Hashable) -> float | None:
        """How long the flight of this key has been running; None where there is none."""
        task = self._running.get(key)
        return None if task is None or task.done() else self._now() - self._started_at[task]

    async def join(self, key: Hashable, start: Callable[[], Awaitable[T]], turn: Turn | None = None) -> T:
        """Wait for the flight of this key; start it if there is none. Its key is free once it ends."""
        return await asyncio.shield(self.launch(key, start, turn))

    def launch(
        self, key: Hashable, start: Callable[[], Awaitable[T]], turn: Turn | None = None
    ) -> asyncio.Task[T]:
        """The flight of this key as a task, which the caller must not cancel. Raise what ``turn`` does.

        It waits for its turn before it waits for other processes: who queues for long keeps none of them.
        """
        task = self._running.get(key)
        if task is not None and not task.done():  # one that has ended, and is not cleared away yet, is none
            if turn is not None:
                turn.join()
            return task
        admitted = nullcontext() if turn is None else turn.begin()
        lock = None if self._locks is None else self._locks.hold(_lock_key(self._name, key))
        task = asyncio.create_task(self._admitted(start, lock, admitted))
        self._running[key] = task
        self._started_at[task] = self._now()
        task.add_done_callback(lambda done: self._land(key, done))
        return task

    async def drain(self) -> None:
        """Cancel what still runs, and wait for its end."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._lingering, return_exceptions=True)

    async def settle(self, key: Hashable | None = None) -> None:
        """Wait for the end of what still runs, or of the flight of one key, whatever becomes of it."""
        if key is None:
            await asyncio.gather(*self._running.values(), *self._lingering, return_exceptions=True)
        elif key in self._running:
            await asyncio.wait((self._running[key],))

    def _land(self, key: Hashable, task: asyncio.Task[T]) -> None:
        del self._started_at[task]
        if self._running.get(key) is task:
            del self._running[key]
        error = None if task.cancelled() else task.exception()  # seen, also where every waiter has left
        if error is not None:
            log.debug("flight_failed", key=str(key), error=repr(error))

    async def _admitted(
        self,
        start: Callable[[], Awaitable[T]],
        lock: AbstractAsyncContextManager[Hold] | None,
        admitted: AbstractAsyncContextManager[None],
    ) -> T:
        async with admitted:
            return await self._run(start, lock)

    async def _run(
        self, start: Callable[[], Awaitable[T]], lock: AbstractAsyncContextManager[Hold] | None
    ) -> T:
        if lock is None:
            return await self._limited(start)
        async with AsyncExitStack() as stack:
            hold = await self._take(stack, lock)
            if hold is None:
                return await self._limited(start)
            _raise_left(hold)
            try:
                result = await self._limited(start)
            except Outcome as error:
                hold.leave(outcome_to_text(error))
                raise
            if self._until_seen is not None:
                self._linger(self._until_seen(result), stack.pop_all())
            return result

    def _linger(self, seen: Awaitable[None], locked: AsyncExitStack) -> None:
        """Let those in this process have the result at once, and go on holding the lock for the others."""

        async def hold() -> None:
            async with locked:
                try:
                    async with asyncio.timeout(self._limit_seconds):
                        await seen
                except Exception as error:  # the others find out for themselves
                    log.warning("flight_not_seen", flight=self._name, reason=repr(error))

        task = asyncio.create_task(hold())
        self._lingering.add(task)
        task.add_done_callback(self._lingering.discard)

    async def _limited(self, start: Callable[[], Awaitable[T]]) -> T:
        async with asyncio.timeout(self._limit_seconds):
            return await start()

    async def _take(self, stack: AsyncExitStack, lock: AbstractAsyncContextManager[Hold]) -> Hold | None:
        """Hold the lock; None where it cannot be had, or not in time: a second fetch is better than none."""
        try:
            async with asyncio.timeout(self._limit_seconds):
                return await stack.enter_async_context(lock)
        except OSError as error:  # a TimeoutError is one
            log.warning("flight_without_lock", flight=self._name, reason=str(error) or "held for too long")
            return None


def _raise_left(hold: Hold) -> None:
    if hold.failure is None:
        return
    try:
        left = outcome_from_text(hold.failure)
    except ValueError:  # of another version of ours, or damaged: find out anew
        return
    raise left


def _lock_key(name: str, key: Hashable) -> str:
    """The same text in every process, and another one for every other key."""
    parts = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, (str, int)) for part in parts):
        raise TypeError(f"no other process would know {key!r} again")
    return json.dumps([name, *parts])
