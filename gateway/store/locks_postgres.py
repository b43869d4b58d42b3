"""Locks by key for all processes on one PostgreSQL database: advisory locks, which die with their session."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog
from anyio import CapacityLimiter
from sqlalchemy import Connection, CursorResult, TextClause, text
from sqlalchemy.exc import SQLAlchemyError

from gateway.oci.postgres_url import PostgresUrl
from gateway.store.disk import in_thread
from gateway.store.postgres import open_single
from gateway.store.upsert import Value

log = structlog.get_logger(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 0.1
_FAILURES_LAST_SECONDS: Final = 3600.0  # whoever waits does so for ten minutes at most

_TRY = text(
    "SELECT CASE WHEN :may_try THEN pg_try_advisory_lock(:number) ELSE false END AS is_locked,"
    " extract(epoch FROM clock_timestamp())::double precision AS now"
)
_FAILURE = text("SELECT failure FROM flight_failures WHERE key = :key AND left_at >= :since")
_LEAVE = text(
    "INSERT INTO flight_failures (key, failure, left_at)"
    " VALUES (:key, :failure, extract(epoch FROM clock_timestamp()))"
    " ON CONFLICT (key) DO UPDATE SET failure = excluded.failure, left_at = excluded.left_at"
)
_SWEEP = text(
    "DELETE FROM flight_failures WHERE left_at < extract(epoch FROM clock_timestamp()) - :lasts_seconds"
)
_UNLOCK = text("SELECT pg_advisory_unlock(:number)")


class PostgresLocks:
    """All locks of a process are its one connection's: a lock is gone where that breaks, and nobody hangs.

    A failure that is to be told stands in a table with the server's time: it is for those who had been
    waiting by then.
    """

    def __init__(self, url: PostgresUrl, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._engine = open_single(url)
        self._sleep = sleep
        self._connection: Connection | None = None
        self._mutex = threading.Lock()
        self._turn = asyncio.Lock()  # who waits does so here, and can be cancelled
        self._threads = CapacityLimiter(1)  # a server that is silent holds up nobody else's
        self._owners: dict[int, PostgresHold] = {}  # a session may lock what it has locked: we may not

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator["PostgresHold"]:
        """Wait for the lock; raise OSError where there can be none."""
        held = PostgresHold(key)
        try:
            await self._wait(held)
            yield held
        finally:
            await in_thread(self._release, held, limiter=self._threads)

    @asynccontextmanager
    async def try_hold(self, key: str) -> AsyncIterator[bool]:
        """Hold the lock without waiting for it; False where somebody else does."""
        held = PostgresHold(key)
        try:
            yield await self._has_ended(held)
        finally:
            await in_thread(self._release, held, limiter=self._threads)

    def close(self) -> None:
        """Let go of all."""
        with self._mutex:
            self._disconnect()
            self._engine.dispose()

    async def _wait(self, held: "PostgresHold") -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not await self._has_ended(held):
            await self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _has_ended(self, held: "PostgresHold") -> bool:
        async with self._turn:
            return await in_thread(self._try, held, limiter=self._threads)

    def _try(self, held: "PostgresHold") -> bool:
        """Whether the wait is over: the key is ours, or who held it has failed."""
        with self._mutex:
            may_try = held.number not in self._owners
            tried = self._ask(_TRY, may_try=may_try, number=held.number).one()
            if tried.is_locked:
                self._owners[held.number] = held
            if held.waits_since is None:
                held.waits_since = tried.now
            else:  # asked after the lock was: whoever let go of it has written by now
                held.failure = self._failure_since(held.waits_since, held.name)
            if held.failure is not None:
                self._unlock(held)
            return bool(tried.is_locked) or held.failure is not None

    def _failure_since(self, since: float, name: str) -> str | None:
        left = self._ask(_FAILURE, key=name, since=since).first()
        return None if left is None else str(left.failure)

    def _release(self, held: "PostgresHold") -> None:
        """Leave the failure, let go: in this order, whatever the server says."""
        with self._mutex:
            try:
                if held.left and self._is_owner(held):
                    self._ask(_LEAVE, key=held.name, failure=held.left)
                    self._ask(_SWEEP, lasts_seconds=_FAILURES_LAST_SECONDS)
                self._unlock(held)
            except OSError as error:
                log.warning("lock_not_cleared", reason=str(error))

    def _unlock(self, held: "PostgresHold") -> None:
        if self._is_owner(held):
            del self._owners[held.number]
            self._ask(_UNLOCK, number=held.number)

    def _is_owner(self, held: "PostgresHold") -> bool:
        return self._owners.get(held.number) is held

    def _ask(self, statement: TextClause, **parameters: Value) -> CursorResult[tuple[object, ...]]:
        """Run a statement, on a new connection where the old one is gone; raise OSError."""
        try:
            return self._connected().execute(statement, parameters)
        except SQLAlchemyError:
            self._disconnect()
        try:
            return self._connected().execute(statement, parameters)
        except SQLAlchemyError as error:
            self._disconnect()
            raise OSError("the database cannot be asked for a lock") from error

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _disconnect(self) -> None:
        """The server lets go of all that its session had locked."""
        self._owners.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


class PostgresHold:
    """The lock on a key, or on its way there; see gateway.flights.Hold."""

    def __init__(self, key: str) -> None:
        digest = hashlib.sha256(key.encode()).digest()
        self.name = digest.hex()
        self.number = int.from_bytes(digest[:8], signed=True)
        self.waits_since: float | None = None
        self.failure: str | None = None
        self.left: str | None = None

    def leave(self, failure: str) -> None:
        self.left = failure
