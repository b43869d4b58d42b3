"""The database's connections: set as promised, each of them."""

from pathlib import Path
from typing import Literal

import pytest
from sqlalchemy import Engine

from gateway.store.engine import Engines, open_sqlite


def pragma(engine: Engine, name: str) -> object:
    with engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


@pytest.mark.parametrize(("synchronous", "number"), [("NORMAL", 1), ("FULL", 2)])
def test_every_connection_is_in_wal_with_foreign_keys_and_the_durability_asked_for(
    catalog_path: Path, synchronous: Literal["NORMAL", "FULL"], number: int
) -> None:
    engines = open_sqlite(catalog_path, synchronous=synchronous)
    for engine in (engines.reader, engines.writer):
        assert pragma(engine, "journal_mode") == "wal"
        assert pragma(engine, "synchronous") == number
        assert pragma(engine, "foreign_keys") == 1
    engines.dispose()


def test_a_reader_in_the_middle_of_its_read_holds_up_no_writer(sqlite_engines: Engines) -> None:
    with sqlite_engines.reader.connect() as reading:
        reading.exec_driver_sql("BEGIN")
        assert reading.exec_driver_sql("SELECT count(*) FROM blobs").scalar() == 0
        with sqlite_engines.writer.begin() as writing:
            writing.exec_driver_sql("INSERT INTO blobs VALUES ('sha256:a', 1, 1.0)")
        assert reading.exec_driver_sql("SELECT count(*) FROM blobs").scalar() == 0  # one snapshot
        reading.exec_driver_sql("COMMIT")
        assert reading.exec_driver_sql("SELECT count(*) FROM blobs").scalar() == 1
