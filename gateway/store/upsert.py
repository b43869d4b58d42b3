"""Rows that may be there already: ON CONFLICT, as each database's dialect has it."""

from collections.abc import Mapping, Sequence
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
    insert_or_update_all(connection, table, [values])


def insert_or_update_all(connection: Connection, table: Table, rows: Sequence[Mapping[str, Value]]) -> None:
    """The same for many rows, which all have the same columns."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    statement = _insert(connection, table)
    changes = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    differs = or_(*(table.c[name].is_distinct_from(new) for name, new in changes.items()))
    update = statement.on_conflict_do_update(index_elements=keys, set_=changes, where=differs)
    connection.execute(update, [dict(row) for row in rows])


def _insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
