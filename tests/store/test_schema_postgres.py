"""The schema on PostgreSQL: one process migrates at a time, and what is killed in between is finished."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select, text

from gateway.oci.postgres_url import PostgresUrl
from gateway.store.postgres import open_single
from gateway.store.schema import SchemaError, migrate_postgres
from tests.postgres import Cluster
from tests.store.test_schema import ALL, differences
from tests.store.tracing import require_strace

pytestmark = pytest.mark.slow

_MIGRATION = """
import sys

from gateway.oci.postgres_url import parse_postgres_url
from gateway.store.schema import migrate_postgres

print(*migrate_postgres(parse_postgres_url(sys.argv[1])))
"""
_LOCK = 0x6368617274


@pytest.fixture
def url(postgres: Cluster) -> Iterator[PostgresUrl]:
    """A database without anything in it."""
    empty = postgres.create("template0")
    yield empty
    postgres.drop(empty)


def command(url: PostgresUrl) -> list[str]:
    return [
        sys.executable,
        "-c",
        _MIGRATION,
        f"postgresql://postgres:p%40ss%2Fw%3Ard@{url.host}:{url.port}/{url.database}",
    ]


def never(_seconds: float) -> None:
    raise AssertionError("nobody has to wait here")


def differences_at(url: PostgresUrl) -> list[object]:
    return differences(open_single(url))


def test_migrations_make_the_tables_that_the_code_knows_once(url: PostgresUrl) -> None:
    assert list(migrate_postgres(url, never)) == ALL
    assert differences_at(url) == []
    assert list(migrate_postgres(url, never)) == []


def test_five_at_once_migrate_once(url: PostgresUrl) -> None:
    started = [subprocess.Popen(command(url), stdout=subprocess.PIPE, text=True) for _ in range(5)]
    told = [process.communicate(timeout=60)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0] * 5
    assert sorted(told) == ["", "", "", "", " ".join(ALL)]
    assert differences_at(url) == []


def test_waiting_for_another_migration_has_an_end_and_says_for_what(url: PostgresUrl) -> None:
    waits: list[float] = []
    engine = open_single(url)
    with engine.connect() as other:
        assert other.execute(select(func.pg_try_advisory_lock(_LOCK))).scalar()
        with pytest.raises(SchemaError, match="has been migrated by another process for 300 s"):
            migrate_postgres(url, waits.append)
    assert sum(waits) == pytest.approx(300, abs=0.2)
    assert list(migrate_postgres(url, never)) == ALL  # who held it is gone, and the lock with it


def test_a_newer_schema_is_refused_with_what_to_do_and_left_alone(url: PostgresUrl) -> None:
    migrate_postgres(url)
    engine = open_single(url)
    with engine.connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(SchemaError, match=r"schema 9999, made by a newer gateway; .*upgrade it"):
            migrate_postgres(url)
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"


def test_a_database_that_cannot_hold_every_text_is_refused(postgres: Cluster) -> None:
    postgres.say("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(SchemaError, match="has the encoding LATIN1: make one that has UTF8"):
        migrate_postgres(PostgresUrl("latin", "127.0.0.1", postgres.port, "postgres", postgres.url.password))


def test_a_migration_killed_at_any_statement_is_finished_by_the_next_run(postgres: Cluster) -> None:
    require_strace()
    codes: list[int] = []
    while not codes or codes[-1] != 0:
        url = postgres.create("template0")
        inject = f"inject=sendto:signal=SIGKILL:when={10 + 8 * len(codes)}"
        strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject]
        codes.append(subprocess.run([*strace, *command(url)], check=False, timeout=60).returncode)
        migrate_postgres(url)
        assert differences_at(url) == []
        postgres.drop(url)
    assert set(codes[:-1]) <= {-signal.SIGKILL, 128 + signal.SIGKILL}
    assert len(codes) > 1
