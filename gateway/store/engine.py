"""Opens the catalog's database: one engine to read, one to write, both on the same file."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from gateway.store.blobs import StorageFailed

_BUSY_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Engines:
    """``reader`` sees one snapshot a statement; ``writer`` takes the write lock as it begins."""

    reader: Engine
    writer: Engine

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read on; what the database refuses is StorageFailed."""
        try:
            with self.reader.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StorageFailed("the catalog cannot be read") from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction to write in; what the database refuses is StorageFailed, and nothing is written."""
        try:
            with self.writer.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StorageFailed("the catalog cannot be written") from error

    def dispose(self) -> None:
        self.reader.dispose()
        self.writer.dispose()


def open_sqlite(path: Path, *, synchronous: Literal["NORMAL", "FULL"] = "NORMAL") -> Engines:
    """Open a catalog that was migrated, which put it in WAL.

    There, NORMAL may lose the last rows at a power cut and stays consistent: a lost row is a cache miss.
    """
    reader = _engine(path, synchronous, pool_size=4)
    writer = _engine(path, synchronous, pool_size=1)
    event.listen(writer, "begin", _begin_immediate)
    return Engines(reader, writer)


def _engine(path: Path, synchronous: str, pool_size: int) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        pool_size=pool_size,
        max_overflow=0,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
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
