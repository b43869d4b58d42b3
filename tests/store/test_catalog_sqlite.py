"""The catalog on SQLite: several processes on one file, and files that cannot be used."""

import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from sqlalchemy import func, select

from gateway.store.blobs import StorageFailed
from gateway.store.catalog import Catalog
from gateway.store.engine import Engines, open_sqlite
from gateway.store.generation import LocalGeneration
from gateway.store.tables import manifests, tags
from tests.store.samples import NAME, TARGET, retagged, sample

pytestmark = pytest.mark.anyio


@pytest.fixture
def catalog(sqlite_engines: Engines) -> Catalog:
    return Catalog(sqlite_engines, LocalGeneration())


_WRITER = """
import sys
from pathlib import Path

import anyio

from gateway.store.catalog import Catalog
from gateway.store.engine import open_sqlite
from gateway.store.generation import LocalGeneration
from tests.store.samples import NAME, sample

async def main(path, prefix):
    catalog = Catalog(open_sqlite(Path(path)), LocalGeneration())
    for number in range(100):
        made = sample(f"{prefix}.0.{number}")
        await catalog.keep(NAME, made.row, made.kept)

anyio.run(main, *sys.argv[1:])
"""


@pytest.mark.slow
def test_two_processes_write_at_once_and_both_are_whole(catalog_path: Path) -> None:
    command = [sys.executable, "-c", _WRITER, str(catalog_path)]
    writers = [subprocess.Popen([*command, prefix], stderr=subprocess.PIPE) for prefix in ("1", "2")]
    failures = [writer.communicate(timeout=60)[1] for writer in writers]
    assert failures == [b"", b""]
    engines = open_sqlite(catalog_path)
    with engines.reading() as connection:
        for table in (tags, manifests):
            assert connection.execute(select(func.count()).select_from(table)).scalar() == 200
    engines.dispose()


async def test_a_writer_waits_for_another_process_and_readers_wait_for_nobody(
    catalog_path: Path, catalog: Catalog
) -> None:
    made, other = sample(), open_sqlite(catalog_path)
    async with anyio.create_task_group() as group:
        with other.writer.begin():
            group.start_soon(catalog.keep, NAME, made.row, made.kept)
            for _ in range(5):
                assert await catalog.find_tags(TARGET, "plain", "1.2.3") == []
    assert await catalog.find_tags(TARGET, "plain", "1.2.3") == [made.row]
    other.dispose()


async def test_a_database_that_is_gone_is_a_failure_of_storage(tmp_path: Path) -> None:
    engines = open_sqlite(tmp_path / "gone" / "catalog.sqlite3")
    catalog = Catalog(engines, LocalGeneration())
    made = sample()
    with pytest.raises(StorageFailed, match="read"):
        await catalog.find_tags(TARGET, "plain", "1.2.3")
    with pytest.raises(StorageFailed, match="written"):
        await catalog.keep(NAME, made.row, made.kept)
    engines.dispose()


async def test_a_damaged_database_is_a_failure_of_storage(catalog_path: Path, catalog: Catalog) -> None:
    _damage(catalog_path)
    with pytest.raises(StorageFailed):
        await catalog.names()


def _damage(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)


async def test_a_database_that_may_not_be_written_is_still_read(
    catalog_path: Path, catalog: Catalog, sqlite_engines: Engines
) -> None:
    made = sample()
    await catalog.keep(NAME, made.row, made.kept)
    with sqlite_engines.writer.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
    with pytest.raises(StorageFailed, match="written"):
        await catalog.keep_tag(NAME, retagged(made, "v1.2.3"))
    assert await catalog.find_tags(TARGET, "plain", "1.2.3") == [made.row]
