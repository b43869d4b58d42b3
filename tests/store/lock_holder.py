"""Somebody who holds a lock, whichever kind of locks it is one of."""

import asyncio

from gateway.flights import Locks


class Holder:
    """A task that holds a lock until told to end, and leaves a failure where it has one."""

    def __init__(self, locks: Locks, key: str = "a", failure: str = "") -> None:
        self.holds = asyncio.Event()
        self.end = asyncio.Event()
        self.found: str | None = None
        self._failure = failure
        self.task = asyncio.create_task(self._hold(locks, key))

    async def _hold(self, locks: Locks, key: str) -> None:
        async with locks.hold(key) as hold:
            self.found = hold.failure
            self.holds.set()
            await self.end.wait()
            if self._failure:
                hold.leave(self._failure)
