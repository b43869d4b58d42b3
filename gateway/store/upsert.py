"""Rows that may be there already: ON CONFLICT, as each database's dialect has it."""

from collections.abc import Mapping
from typing import TypeAlias

from sqlalchemy import Connection, Table, or_
from sqlalchemy.dialects import postgresql, sqlite

Value: TypeAlias = str | float | bool | None


def insert_once(connection: Connection, table: Table, values: Mapping[str, Value | bytes]) -> bool:
    """Insert a row, or leave the one that has its key; return whether it was inserted."""
    statement = _insert(connection, table).values(**values).on_conflict_do_nothing()
    done = connection.execute(statement.execution_options(preserve_rowcount=True))
    return done.rowcount == 1


def insert_or_update(connection: Connection, table: Table, values: Mapping[str, Value]) -> None:
    """Insert a row, or make the one that has its key equal to it; one that is equal is not written."""
    keys = [column.name for column in table.primary_key]
    changes = {name: value for name, value in values.items() if name not in keys}
    statement = _insert(connection, table).values(**values)
    differs = or_(*(table.c[name].is_distinct_from(statement.excluded[name]) for name in changes))
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes, where=differs))


def _insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
