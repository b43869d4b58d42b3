"""Targets whose content came by credentials once: whatever the rules say later, it is not for everybody."""

from sqlalchemy import Connection, func, select

from gateway.oci.target import Target
from gateway.store.tables import private_targets
from gateway.store.upsert import insert_once


def note(connection: Connection, target: Target, noted_at: float) -> bool:
    insert_once(connection, private_targets, {"target": str(target), "noted_at": noted_at})
    return False


def count(connection: Connection) -> int:
    """They become more, and never fewer."""
    return connection.execute(select(func.count()).select_from(private_targets)).scalar_one()


def names(connection: Connection) -> frozenset[str]:
    return frozenset(connection.execute(select(private_targets.c.target)).scalars())
