"""Brings the catalog's schema up to what this version of the program wants."""

import importlib.util
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, select
from sqlalchemy.exc import DatabaseError

from gateway.oci.postgres_url import PostgresUrl
from gateway.store.damage import DAMAGE_HINT, is_damage
from gateway.store.postgres import open_single

_MIGRATION_LOCK = 0x6368617274  # any number that is always the same: «chart»
_PATIENCE_SECONDS = 300.0
_PAUSE_SECONDS = 0.1


class SchemaError(Exception):
    """The catalog is none, or was written by a newer version of this program."""


def migrate_sqlite(path: Path) -> Sequence[str]:
    """Run the missing migrations, each in a transaction of its own; return the revisions that ran.

    The caller holds the data directory's lock.
    """
    with _sqlite(path, "BEGIN IMMEDIATE", _in_wal) as connection:
        return _migrate(connection, path)


def is_current(path: Path) -> bool:
    """Whether the catalog is there, with all migrations run; raise SchemaError where it is a newer one's."""
    if not path.exists():
        return False
    with _sqlite(path, "BEGIN", _say_begin_ourselves) as connection:  # reads: writers are not waited for
        return not _missing(connection, path, _config())


def migrate_postgres(url: PostgresUrl, sleep: Callable[[float], None] = time.sleep) -> Sequence[str]:
    """Run the missing migrations while nobody else does; wait for one that is at it."""
    with _told(url), _disposed(open_single(url)) as engine, engine.connect() as alone:
        _require_utf8(alone, url)
        if not _missing(alone, url, _config()):
            return []
        _wait_alone(alone, url, sleep)
        with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection:
            connection.exec_driver_sql(f"SET statement_timeout = '{_PATIENCE_SECONDS:.0f}s'")
            connection.commit()
            return _migrate(connection, url)  # the lock goes with its connection


def _migrate(connection: Connection, place: Path | PostgresUrl) -> Sequence[str]:
    config = _config()
    missing = _missing(connection, place, config)
    connection.rollback()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.commit()
    return missing


def _wait_alone(connection: Connection, url: PostgresUrl, sleep: Callable[[float], None]) -> None:
    waited_seconds = 0.0
    while not connection.execute(select(func.pg_try_advisory_lock(_MIGRATION_LOCK))).scalar():
        if waited_seconds >= _PATIENCE_SECONDS:
            raise SchemaError(
                f"the catalog {url} has been migrated by another process for {waited_seconds:.0f} s"
            )
        sleep(_PAUSE_SECONDS)
        waited_seconds += _PAUSE_SECONDS


def _require_utf8(connection: Connection, url: PostgresUrl) -> None:
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
    if encoding != "UTF8":
        raise SchemaError(f"the database {url} has the encoding {encoding}: make one that has UTF8")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_migrations_folder()).replace("%", "%%"))
    return config


@contextmanager
def _sqlite(
    path: Path, begin: str, prepare: Callable[[sqlite3.Connection, object], None]
) -> Iterator[Connection]:
    engine = create_engine(URL.create("sqlite", database=str(path)))
    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    with _told(path), _disposed(engine), engine.connect() as connection:
        yield connection


@contextmanager
def _disposed(engine: Engine) -> Iterator[Engine]:
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _told(place: Path | PostgresUrl) -> Iterator[None]:
    """Say what a database refuses by its place and in its own words, which know no password."""
    try:
        yield
    except DatabaseError as error:
        reason = " ".join(str(error.orig).split())  # libpq hints in a line of its own
        reason += DAMAGE_HINT if is_damage(error.orig) else ""
        raise SchemaError(f"the catalog {place} cannot be used: {reason}") from error


def _missing(connection: Connection, place: Path | PostgresUrl, config: Config) -> Sequence[str]:
    """The revisions that have yet to run, oldest first."""
    before = MigrationContext.configure(connection).get_current_revision()
    known = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()][::-1]
    if before is not None and before not in known:
        raise SchemaError(
            f"the catalog {place} has schema {before}, made by a newer gateway; "
            f"this one knows {known[-1]}: upgrade it, or restore a copy of the catalog"
        )
    return known[0 if before is None else known.index(before) + 1 :]


def _say_begin_ourselves(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None


def _in_wal(connection: sqlite3.Connection, record: object) -> None:
    """The file keeps the mode. Switching to it does not wait for others: so it is done here, by one alone."""
    _say_begin_ourselves(connection, record)
    connection.execute("PRAGMA journal_mode=WAL")


def _migrations_folder() -> Path:
    spec = importlib.util.find_spec("migrations")
    if spec is None or spec.origin is None:
        raise SchemaError("the package migrations is not installed beside gateway")
    return Path(spec.origin).parent
