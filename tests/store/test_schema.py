"""The schema: migrations make just the tables that the code knows, once, and survive being killed."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, MetaData, create_engine, select

from gateway.store import admin_tables
from gateway.store.engine import open_sqlite
from gateway.store.schema import SchemaError, is_current, migrate_sqlite
from gateway.store.tables import metadata, tags
from tests.store.damaging import AS_OF_0003
from tests.store.tracing import require_strace

pytestmark = pytest.mark.slow  # real files, sockets and processes

ALL = ["0001", "0002", "0003", "0004", "0005", "0006"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.sqlite3"


def differences(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        both = MetaData()
        for table in (*metadata.tables.values(), *admin_tables.metadata.tables.values()):
            table.to_metadata(both)
        found: list[object] = list(compare_metadata(context, both))
    engine.dispose()
    return found


def dump(path: Path) -> str:
    connection = sqlite3.connect(path)
    lines = "\n".join(connection.iterdump())
    connection.close()
    return lines


def test_migrations_make_the_tables_that_the_code_knows(path: Path) -> None:
    assert list(migrate_sqlite(path)) == ALL
    assert differences(create_engine(f"sqlite:///{path}")) == []


def test_a_second_run_does_nothing(path: Path) -> None:
    migrate_sqlite(path)
    before = dump(path)
    assert list(migrate_sqlite(path)) == []
    assert dump(path) == before


def test_what_an_older_catalog_holds_came_from_helm(path: Path) -> None:
    migrate_sqlite(path)
    connection = sqlite3.connect(path)
    connection.executescript(AS_OF_0003)
    connection.executescript(
        """
        ALTER TABLE rights DROP COLUMN source;
        DROP TABLE tag_lists; DROP TABLE registries; DROP TABLE flight_failures;
        DROP TABLE rule_revisions; DROP TABLE rule_troubles; DROP TABLE tag_targets;
        DROP TABLE private_targets;
        UPDATE alembic_version SET version_num = '0001';
        INSERT INTO rights (target, variant, digest) VALUES ('a.example/b', 'plain', 'sha256:c');
        """
    )
    assert list(migrate_sqlite(path)) == ALL[1:]
    assert connection.execute("SELECT source FROM rights").fetchall() == [("helm",)]
    connection.close()


def test_a_catalog_is_current_once_all_migrations_ran_even_while_somebody_writes(path: Path) -> None:
    assert not is_current(path)
    assert not path.exists()
    path.touch()
    assert not is_current(path)
    migrate_sqlite(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    assert is_current(path)
    connection.close()


def test_a_path_with_what_urls_and_ini_files_make_much_of_is_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "50% of #1?"
    folder.mkdir()
    migrate_sqlite(folder / "catalog.sqlite3")
    engines = open_sqlite(folder / "catalog.sqlite3")
    with engines.reader.connect() as connection:
        assert connection.execute(select(tags.c.tag)).all() == []
    engines.dispose()
    assert {file.name for file in folder.iterdir()} == {"catalog.sqlite3"}
    assert [place.name for place in tmp_path.iterdir()] == [folder.name]


def test_a_file_that_is_no_catalog_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"a letter home\n" * 1000)
    with pytest.raises(SchemaError, match="not a database"):
        migrate_sqlite(path)
    assert path.read_bytes() == b"a letter home\n" * 1000


def test_a_newer_schema_is_refused_with_what_to_do_and_left_alone(path: Path) -> None:
    migrate_sqlite(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = dump(path)
    for look in (migrate_sqlite, is_current):
        with pytest.raises(SchemaError, match=r"schema 9999, made by a newer gateway; .*upgrade it"):
            look(path)
    assert dump(path) == before


_MIGRATION = """
import sys
from pathlib import Path

from gateway.store.schema import migrate_sqlite

migrate_sqlite(Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync", "unlink"])
def test_a_migration_killed_at_any_write_is_finished_by_the_next_run(tmp_path: Path, call: str) -> None:
    require_strace()
    codes: list[int] = []
    while not codes or codes[-1] != 0:
        path = tmp_path / str(len(codes)) / "catalog.sqlite3"
        path.parent.mkdir()
        inject = f"inject={call}:signal=SIGKILL:when={2 ** len(codes)}"
        strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject]
        child = subprocess.run(
            [*strace, sys.executable, "-c", _MIGRATION, str(path)], check=False, timeout=60
        )
        codes.append(child.returncode)
        migrate_sqlite(path)
        assert differences(create_engine(f"sqlite:///{path}")) == []
    assert set(codes[:-1]) <= {-signal.SIGKILL, 128 + signal.SIGKILL}
    assert len(codes) > 1
