"""At which of several targets a name's tag was first found, as functions of a connection."""

from sqlalchemy import ColumnElement, Connection, select, update

from gateway.oci.target import Target
from gateway.store.tables import tag_targets
from gateway.store.upsert import Value, insert_once


def find(connection: Connection, name: str, tag: str) -> Target | None:
    text = connection.execute(select(tag_targets.c.target).where(*_is((name, tag)))).scalar()
    return None if text is None else Target.parse(text)


def find_all(connection: Connection, name: str) -> dict[str, Target]:
    rows = connection.execute(
        select(tag_targets.c.tag, tag_targets.c.target).where(tag_targets.c.name == name)
    )
    return {row.tag: Target.parse(row.target) for row in rows}


def keep(
    connection: Connection, key: tuple[str, str], target: Target, found_at: float, replaces: Target | None
) -> Target:
    """Keep it for ``key``, a name and a tag; return the one that holds."""
    values: dict[str, Value] = {"target": str(target), "found_at": found_at}
    if insert_once(connection, tag_targets, {"name": key[0], "tag": key[1], **values}):
        return target
    if replaces is not None:
        gives_way = tag_targets.c.target == str(replaces)
        connection.execute(update(tag_targets).where(*_is(key), gives_way).values(**values))
    return Target.parse(connection.execute(select(tag_targets.c.target).where(*_is(key))).scalar_one())


def _is(key: tuple[str, str]) -> tuple[ColumnElement[bool], ...]:
    return (tag_targets.c.name == key[0], tag_targets.c.tag == key[1])
