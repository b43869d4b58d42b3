"""Rows that the catalog does not take just now: in a catalog of this worker's memory, until it takes them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar, TypeVarTuple

import structlog
from sqlalchemy import Connection

from gateway.oci.descriptor import Descriptor
from gateway.store.blobs import StorageFailed
from gateway.store.conditions import Condition, Conditions
from gateway.store.engine import Engines, is_refusal, open_in_memory
from gateway.store.notice import Notice
from gateway.store.rows import HeldRow, NamedBlob, TagList, TagRow
from gateway.store.tables import metadata

log = structlog.get_logger(__name__)

MEMORY_BYTES: Final = 32 << 20
_MOST_WAITING: Final = 20_000
_MOST_WAITING_BYTES: Final = 64 << 20  # of what the rows were made of, which many of them may share
_PAUSE_SECONDS: Final = 2.0
_CLOSING_SECONDS: Final = 2.0  # the server gives all of the ending five

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Unwritten:
    """Asks and tells the catalog as Engines do; what it refuses is run in memory, and again on it, in order.

    Until then reads see both. Nothing that is dropped meanwhile is missing before it was dropped there too.
    """

    def __init__(
        self,
        engines: Engines,
        conditions: Conditions | None = None,
        notice: Notice | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engines = engines
        self._conditions = conditions
        self._notice = notice
        self._sleep = sleep
        self._memory: Engines | None = None
        self._waiting: deque[Callable[[], object]] = deque()
        self._waiting_bytes = 0  # since they began to wait
        self._recovery: asyncio.Task[None] | None = None

    async def ask(self, query: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        if not self._waiting or self._memory is None:
            return await self._engines.ask(query, *arguments)
        mine = await self._memory.ask(query, *arguments)
        try:
            return _merged(mine, await self._engines.ask(query, *arguments))
        except StorageFailed:
            if not mine:
                raise
            return mine

    async def ask_written(self, query: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        """As the catalog itself has it: for who judges what nobody needs, and not what there is."""
        return await self._engines.ask(query, *arguments)

    async def tell(self, command: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        return await self.run(lambda engines: engines.write(command, *arguments))

    async def run(self, write: Callable[[Engines], T], size_bytes: int = 0) -> T:
        """Have ``write`` done on the catalog, or in memory and on the catalog later; it runs in a thread.

        ``size_bytes`` is about what it keeps in memory while it waits.
        """
        if self._waiting:
            return await self._note(write, _Known(), size_bytes)
        try:
            return await self._engines.write_turns.run(self._unless_waiting, write)
        except StorageFailed as error:
            if not is_refusal(error):
                raise
            return await self._note(write, error, size_bytes)

    async def close(self) -> None:
        """Try once more to write down what waits."""
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
            with suppress(TimeoutError, StorageFailed):
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await self._write_down()
        if self._waiting:
            log.error("rows_lost", count=len(self._waiting), means="what they tell of is fetched again")
        if self._memory is not None:
            await self._memory.close()
        if self._notice is not None:
            self._notice.close()

    @property
    def is_all_seen(self) -> bool:
        """Whether reads see all rows there are; not where some wait in the memory of another worker."""
        return self._notice is None or not self._notice.is_up()

    def _put_up(self) -> None:
        if self._notice is not None:
            self._notice.put_up()

    def _unless_waiting(self, write: Callable[[Engines], T]) -> T:
        """Asked once it is its turn: nobody waits for a refusal that others have met by now."""
        if self._waiting:
            raise _Known
        return write(self._engines)

    async def _note(self, write: Callable[[Engines], T], error: StorageFailed, size_bytes: int) -> T:
        waiting_bytes = size_bytes + (self._waiting_bytes if self._waiting else 0)
        if len(self._waiting) >= _MOST_WAITING or waiting_bytes > _MOST_WAITING_BYTES:
            raise error
        self._waiting_bytes = waiting_bytes
        if self._conditions is not None:
            self._conditions.begin(Condition.CATALOG_UNWRITABLE, _reason(error))
        memory, is_first = self._opened(), not self._waiting
        waiting = partial(write, self._engines)
        self._waiting.append(waiting)
        self._put_up()
        if self._recovery is None:
            self._recovery = asyncio.create_task(self._recover())
        try:
            if is_first:
                await memory.tell(_start_over)
            return await memory.write_turns.run(write, memory)
        except StorageFailed:
            with suppress(ValueError):
                self._waiting.remove(waiting)
            raise

    def _opened(self) -> Engines:
        self._memory = self._memory or open_in_memory(MEMORY_BYTES)
        return self._memory

    async def _recover(self) -> None:
        while self._waiting:
            self._put_up()
            await self._sleep(_PAUSE_SECONDS)
            with suppress(StorageFailed):
                await self._write_down()
        self._recovery = None
        if self._conditions is not None:
            self._conditions.end(Condition.CATALOG_UNWRITABLE)

    async def _write_down(self) -> None:
        while self._waiting:
            write = self._waiting[0]
            try:
                await self._engines.write_turns.run(write)
            except StorageFailed as error:
                if is_refusal(error):
                    raise
                log.warning("row_not_written", reason=_reason(error))
            except Exception:  # one that can never be written must not keep the others from it
                log.exception("row_not_written")
            if self._waiting and self._waiting[0] is write:
                self._waiting.popleft()


class _Known(StorageFailed):
    """Refused without being tried."""

    def __init__(self) -> None:
        super().__init__("the catalog takes nothing just now")


def _reason(error: StorageFailed) -> str:
    """What the database said, without the rows that it was given."""
    cause = error.__cause__
    return str(getattr(cause, "orig", None) or type(cause or error).__name__)


def _start_over(connection: Connection) -> None:
    metadata.drop_all(connection)
    metadata.create_all(connection)


def _merged(mine: T, theirs: T) -> T:
    """What waits comes first, and in place of what it is newer than."""
    if isinstance(mine, list) and isinstance(theirs, list):
        known = {_identity(row) for row in mine}
        mine.extend(row for row in theirs if _identity(row) not in known)
        return mine
    if isinstance(mine, set) and isinstance(theirs, set):
        mine.update(theirs)
        return mine
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key, value in theirs.items():
            mine.setdefault(key, value)
        return mine
    return theirs if mine is None else mine


def _identity(row: object) -> object:
    """What makes two rows the same one, whatever else they tell."""
    match row:
        case TagRow():
            return (row.target, row.variant, row.tag, row.source)
        case TagList():
            return row.source
        case NamedBlob():
            return row.manifest
        case Descriptor():
            return row.digest
        case HeldRow():
            return (row.name, _identity(row.row))
        case _:
            return row
