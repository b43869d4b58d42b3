"""A catalog on PostgreSQL: what passes is tried again, the rest fails clearly, no secret shows."""

import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from sqlalchemy import Connection, text

from gateway.oci.postgres_url import PostgresUrl
from gateway.store.blobs import StorageFailed
from gateway.store.catalog import Catalog
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from gateway.store.postgres import open_postgres
from gateway.store.schema import SchemaError, migrate_postgres
from tests.postgres import Cluster
from tests.store.samples import NAME, TARGET, sample

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def engines(postgres_url: PostgresUrl, pauses: list[float]) -> Iterator[Engines]:
    opened = replace(open_postgres(postgres_url), pause=pauses.append)
    yield opened
    opened.dispose()


class Failing:
    """A command that fails with an SQLSTATE the first few times."""

    def __init__(self, state: str, times: int) -> None:
        self.runs = 0
        self._state = state
        self._times = times

    def __call__(self, connection: Connection) -> int:
        connection.execute(text("CREATE TABLE IF NOT EXISTS t (n int)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
        self.runs += 1
        if self.runs <= self._times:
            connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{self._state}'; END $$"))
        count: int = connection.execute(text("SELECT count(*) FROM t")).scalar_one()
        return count


@pytest.mark.parametrize("state", ["40001", "40P01", "57P01"])
async def test_a_transaction_that_gave_way_runs_again_from_the_start(
    engines: Engines, pauses: list[float], state: str
) -> None:
    failing = Failing(state, 2)
    assert engines.write(failing) == 1
    assert failing.runs == 3
    assert len(pauses) == 2


async def test_of_many_that_keep_one_tag_at_once_one_is_first_and_none_fails(
    engines: Engines, pauses: list[float]
) -> None:
    """Two connections that insert the same rows wait for each other; in one order, or one runs again."""
    catalog = Catalog(engines, LocalGeneration())
    made = [sample(content=str(number % 4).encode()) for number in range(40)]
    async with anyio.create_task_group() as group:
        for one in made:
            group.start_soon(catalog.keep, NAME, one.row, one.kept)
    (row,) = await catalog.find_tags(TARGET, "plain", "1.2.3")
    assert row.digest in {one.digest for one in made}
    for one in made:
        assert await catalog.find_manifest(TARGET, one.digest) == one.kept.manifest
    assert pauses == []


async def test_trying_again_has_an_end_and_another_failure_is_not_tried_again(
    engines: Engines, pauses: list[float]
) -> None:
    for_ever, broken = Failing("40001", 1000), Failing("22012", 1000)
    with pytest.raises(StorageFailed, match="written"):
        engines.write(for_ever)
    assert (for_ever.runs, len(pauses)) == (4, 3)
    with pytest.raises(StorageFailed):
        engines.write(broken)
    assert broken.runs == 1


async def test_a_connection_that_the_server_ended_is_replaced(engines: Engines, postgres: Cluster) -> None:
    catalog, made = Catalog(engines, LocalGeneration()), sample()
    await catalog.keep(NAME, made.row, made.kept)
    postgres.end_connections()
    assert await catalog.find_tags(TARGET, "plain", "1.2.3") == [made.row]
    postgres.end_connections()
    await catalog.confirm_tag(made.row, 2000.0, None)

    def end_oneself(connection: Connection) -> int:
        runs.append(1)
        if len(runs) == 1:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return len(runs)

    runs: list[int] = []
    assert engines.write(end_oneself) == 2


async def test_a_server_that_comes_back_is_used_again(engines: Engines, restarting: Cluster) -> None:
    catalog, made = Catalog(engines, LocalGeneration()), sample()
    await catalog.keep(NAME, made.row, made.kept)
    restarting.stop(signal.SIGQUIT)
    with pytest.raises(StorageFailed, match="read"):
        await catalog.find_tags(TARGET, "plain", "1.2.3")
    with pytest.raises(StorageFailed, match="written"):
        await catalog.confirm_tag(made.row, 2000.0, None)
    restarting.start()
    assert await catalog.find_tags(TARGET, "plain", "1.2.3") == [made.row]


@pytest.mark.parametrize(
    ("version", "why"),
    [("1.2.3\0", "NUL"), ("1." + "2" * 300, "too long"), ("1.2.3\ud800", "surrogates")],
)
async def test_text_that_the_server_cannot_hold_is_a_failure_of_storage_that_leaves_nothing(
    engines: Engines, version: str, why: str
) -> None:
    catalog, made = Catalog(engines, LocalGeneration()), sample()
    with pytest.raises(StorageFailed) as caught:
        await catalog.keep(NAME, replace(made.row, version=version), made.kept)
    assert why in str(caught.value.__cause__)
    assert await catalog.find_manifest(TARGET, made.digest) is None


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda url: replace(url, password="S3CR3T"), "password authentication failed"),
        (lambda url: replace(url, database="absent"), "does not exist"),
        (lambda url: replace(url, port=1), "refused"),
        (lambda url: replace(url, host="absent.invalid"), "absent.invalid"),
    ],
)
async def test_a_server_that_cannot_be_used_is_told_by_its_place_and_never_its_password(
    postgres_url: PostgresUrl, wrong: Callable[[PostgresUrl], PostgresUrl], reason: str
) -> None:
    url = wrong(postgres_url)
    with pytest.raises(SchemaError) as caught:
        migrate_postgres(url)
    assert str(url) in str(caught.value)
    assert reason in str(caught.value)
    engines = open_postgres(url)
    with pytest.raises(StorageFailed) as failed:
        await Catalog(engines, LocalGeneration()).names()
    told = "".join(traceback.format_exception(caught.value) + traceback.format_exception(failed.value))
    assert url.password is not None
    assert url.password not in told
    engines.dispose()


async def test_no_statement_waits_for_ever(engines: Engines) -> None:
    for engine in (engines.reader, engines.writer):
        with engine.connect() as connection:
            assert connection.execute(text("SHOW statement_timeout")).scalar() == "10s"
            assert connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar() == "30s"


_WITHOUT_DRIVER = """
import sys

sys.modules["psycopg"] = None
from gateway.cli import main

sys.argv[1:] = ["migrate", "--data-dir", sys.argv[1], "--database-url", "postgresql://u:S3CR3T@db.invalid/x"]
main()
"""


def test_without_the_driver_the_command_says_what_to_install(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WITHOUT_DRIVER, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "gateway: postgresql://u@db.invalid/x needs psycopg, which is not installed: "
        "pip install 'chart-gateway[postgres]'\n"
    )
