"""Opens the catalog's database: one engine to read, one to write, both on the same file."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import URL, Connection, Engine, create_engine, event

_BUSY_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Engines:
    """``reader`` sees one snapshot a statement; ``writer`` takes the write lock as it begins."""

    reader: Engine
    writer: Engine

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
