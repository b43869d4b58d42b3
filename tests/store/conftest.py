"""An empty catalog for each test, on each database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.oci.postgres_url import PostgresUrl
from gateway.store.engine import Engines, open_sqlite
from gateway.store.postgres import open_postgres
from gateway.store.schema import migrate_sqlite


@pytest.fixture(scope="session")
def empty_catalog(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Migrating costs a tenth of a second: once is enough."""
    path = tmp_path_factory.mktemp("empty") / "catalog.sqlite3"
    migrate_sqlite(path)
    return path.read_bytes()


@pytest.fixture
def catalog_path(tmp_path: Path, empty_catalog: bytes) -> Path:
    place = tmp_path / "catalog.sqlite3"
    place.write_bytes(empty_catalog)
    return place


@pytest.fixture
def engines(database: PostgresUrl | None, catalog_path: Path) -> Iterator[Engines]:
    opened = open_sqlite(catalog_path) if database is None else open_postgres(database)
    yield opened
    opened.dispose()


@pytest.fixture
def sqlite_engines(catalog_path: Path) -> Iterator[Engines]:
    opened = open_sqlite(catalog_path)
    yield opened
    opened.dispose()
