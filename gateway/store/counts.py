"""How much the catalog holds, counted: each takes a while where there is a million of them."""

from dataclasses import dataclass

from sqlalchemy import Connection, Table, func, select

from gateway.store.admin_tables import jobs
from gateway.store.tables import blobs, manifests, pins, repositories, tags


@dataclass(frozen=True, slots=True)
class Counts:
    """``blob_rows`` were kept at some time, not all of them are held still.

    ``database_bytes`` is None where the catalog is a file of ours.
    """

    tags: int
    manifests: int
    repositories: int
    pins: int
    blob_rows: int
    blob_row_bytes: int
    database_bytes: int | None


def counts(connection: Connection) -> Counts:
    size = func.coalesce(func.sum(blobs.c.size_bytes), 0)
    blob_rows, blob_row_bytes = connection.execute(select(func.count(), size).select_from(blobs)).one()
    return Counts(
        tags=_rows(connection, tags),
        manifests=_rows(connection, manifests),
        repositories=_rows(connection, repositories),
        pins=_rows(connection, pins),
        blob_rows=blob_rows,
        blob_row_bytes=int(blob_row_bytes),
        database_bytes=_database_bytes(connection),
    )


def jobs_by_state(connection: Connection) -> dict[str, int]:
    wanted = select(jobs.c.state, func.count()).group_by(jobs.c.state)
    return {row.state: row[1] for row in connection.execute(wanted)}


def _rows(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _database_bytes(connection: Connection) -> int | None:
    if connection.dialect.name != "postgresql":
        return None
    return int(connection.execute(select(func.pg_database_size(func.current_database()))).scalar_one())
