"""The names that clients asked for, in order, some at a time."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from gateway.store.tables import repositories


def page(connection: Connection, after: str, limit: int) -> Sequence[str]:
    name = repositories.c.name
    wanted = select(name).where(name > after).distinct().order_by(name).limit(limit)
    return connection.execute(wanted).scalars().all()
