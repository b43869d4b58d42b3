"""Brings the catalog's schema up to what this version of the program wants."""

import importlib.util
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DatabaseError


class SchemaError(Exception):
    """The catalog is none, or was written by a newer version of this program."""


def migrate_sqlite(path: Path) -> Sequence[str]:
    """Run the missing migrations, each in a transaction of its own; return the revisions that ran.

    The caller holds the data directory's lock.
    """
    config = _config()
    with _connected(path, "BEGIN IMMEDIATE", _in_wal) as connection:
        before, known = _before_and_known(path, connection, config)
        connection.rollback()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    return known[0 if before is None else known.index(before) + 1 :]


def is_current(path: Path) -> bool:
    """Whether the catalog is there, with all migrations run; raise SchemaError where it is a newer one's."""
    if not path.exists():
        return False
    with _connected(
        path, "BEGIN", _say_begin_ourselves
    ) as connection:  # reads: whoever writes there is not waited for
        before, known = _before_and_known(path, connection, _config())
    return before == known[-1]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_migrations_folder()).replace("%", "%%"))
    return config


@contextmanager
def _connected(
    path: Path, begin: str, prepare: Callable[[sqlite3.Connection, object], None]
) -> Iterator[Connection]:
    engine = create_engine(URL.create("sqlite", database=str(path)))
    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    try:
        with engine.connect() as connection:
            yield connection
    except DatabaseError as error:
        raise SchemaError(f"the catalog {path} cannot be used: {error.orig}") from error
    finally:
        engine.dispose()


def _before_and_known(path: Path, connection: Connection, config: Config) -> tuple[str | None, Sequence[str]]:
    """The catalog's revision, and all that there are, oldest first."""
    before = MigrationContext.configure(connection).get_current_revision()
    known = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()][::-1]
    if before is not None and before not in known:
        raise SchemaError(
            f"the catalog {path} has schema {before}, made by a newer gateway; "
            f"this one knows {known[-1]}: upgrade it, or restore a copy of the catalog"
        )
    return before, known


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
