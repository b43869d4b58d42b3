"""Opens the catalog's database: one engine to read, one to write, both on the same database."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar, TypeVarTuple

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gateway.store.blobs import StorageFailed
from gateway.store.turns import Turns

CONNECTIONS = 4  # to read on, and to write on where the database lets several
_BUSY_SECONDS: Mapping[str, float] = {"NORMAL": 2.5, "FULL": 10.0}  # rows of the cache can wait in memory
_CLOSING_SECONDS = 2.0
_PAUSES_SECONDS = (0.02, 0.1, 0.5)
_PASSING = frozenset(
    {"40001", "40P01", "57P01", "57P02", "57P03"}
)  # gave way, deadlock, server stops or starts
_READ_ONLY = "25006"
_NO_ROOM = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
)  # of which the second is a quota that is used up

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class Engines:
    """``reader`` sees one snapshot a statement; ``writer`` writes whole transactions.

    On SQLite the write lock is taken as one begins. What passes by itself (on PostgreSQL: another was given
    way to, the server restarts) is tried again a few times; what finds no room on the disk once more, after
    ``make_room``.
    """

    reader: Engine
    writer: Engine
    pause: Callable[[float], None] = time.sleep
    make_room: Callable[[], None] | None = None
    read_turns: Turns = field(default_factory=lambda: Turns(CONNECTIONS))
    write_turns: Turns = field(default_factory=lambda: Turns(CONNECTIONS))
    is_part: bool = False  # rows that others refer to may be in another database

    def read(self, query: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        def run() -> T:
            with self.reading() as connection:
                return query(connection, *arguments)

        return self._patiently(run)

    def write(self, command: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        """Run a command in a transaction of its own; it may run again, from the start."""

        def run() -> T:
            with self.writing() as connection:
                return command(connection, *arguments)

        try:
            return self._patiently(run)
        except StorageFailed as error:
            if self.make_room is None or not _is_full(error.__cause__):
                raise
        self.make_room()
        return self._patiently(run)

    async def ask(self, query: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        """Read in a thread."""

        def run() -> T:
            return self.read(query, *arguments)

        return await self.read_turns.run(run)

    async def ask_written(self, query: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        """The same: no rows wait here."""
        return await self.ask(query, *arguments)

    @property
    def is_all_seen(self) -> bool:
        """Whether reads see all rows there are."""
        return True

    async def run(self, write: Callable[["Engines"], T], _size_bytes: int = 0) -> T:
        """Have ``write`` done on this database, in a thread."""
        return await self.write_turns.run(write, self)

    async def tell(self, command: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        """Write in a thread."""

        def run() -> T:
            return self.write(command, *arguments)

        return await self.write_turns.run(run)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read on; what the database refuses is StorageFailed."""
        try:
            with self.reader.connect() as connection:
                yield connection
        except (SQLAlchemyError, UnicodeError) as error:
            raise StorageFailed("the catalog cannot be read") from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction to write in; what the database refuses is StorageFailed, and nothing is written."""
        try:
            with self.writer.begin() as connection:
                yield connection
        except (SQLAlchemyError, UnicodeError) as error:
            raise StorageFailed("the catalog cannot be written") from error

    async def close(self) -> None:
        """Let what still runs come to its end, if that is soon, and end all connections."""
        await asyncio.gather(*(one.settle(_CLOSING_SECONDS) for one in (self.read_turns, self.write_turns)))
        self.dispose()

    def dispose(self) -> None:
        self.reader.dispose()
        self.writer.dispose()

    def _patiently(self, run: Callable[[], T]) -> T:
        for pause_seconds in _PAUSES_SECONDS:
            try:
                return run()
            except StorageFailed as error:
                if not _is_passing(error.__cause__):
                    raise
            self.pause(pause_seconds)
        return run()


def _is_passing(error: BaseException | None) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _PASSING


def is_refusal(error: StorageFailed) -> bool:
    """Whether the database took nothing just now, and not this very row: locked, full, read-only, away."""
    cause = error.__cause__
    if isinstance(cause, DBAPIError) and cause.connection_invalidated:
        return True
    if getattr(getattr(cause, "orig", None), "sqlstate", None) == _READ_ONLY:
        return True
    return cause is None or isinstance(cause, OperationalError | PoolTimeoutError | TimeoutError)


def _is_full(error: BaseException | None) -> bool:
    if not isinstance(error, DBAPIError) or not isinstance(error.orig, sqlite3.Error):
        return False
    return getattr(error.orig, "sqlite_errorcode", None) in _NO_ROOM


def open_sqlite(path: Path, *, synchronous: Literal["NORMAL", "FULL"] = "NORMAL") -> Engines:
    """Open a catalog that was migrated, which put it in WAL.

    There, NORMAL may lose the last rows at a power cut and stays consistent: a lost row is a cache miss.
    """
    reader = _sqlite_engine(path, synchronous, pool_size=CONNECTIONS)
    writer = _sqlite_engine(path, synchronous, pool_size=1)
    event.listen(writer, "begin", _begin_immediate)
    return Engines(reader, writer, write_turns=Turns(1))


def open_in_memory(limit_bytes: int) -> Engines:
    """A database of this process alone, empty, with one connection."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})

    def bound(connection: sqlite3.Connection, _record: object) -> None:
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count={limit_bytes // page_bytes}")

    event.listen(engine, "connect", bound)
    turns = Turns(1)
    return Engines(engine, engine, read_turns=turns, write_turns=turns, is_part=True)


def _sqlite_engine(path: Path, synchronous: str, pool_size: int) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        pool_size=pool_size,
        max_overflow=0,
        connect_args={"timeout": _BUSY_SECONDS[synchronous], "check_same_thread": False},
    )

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # BEGIN is ours to say
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA cache_size=-4096")

    event.listen(engine, "connect", prepare)
    return engine


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
