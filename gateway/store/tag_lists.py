"""What each source listed of a target, and since when each tag is known, as functions of a connection."""

import json
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, select

from gateway.oci.target import Target
from gateway.store.rows import TagList
from gateway.store.tables import tag_lists
from gateway.store.upsert import Value, insert_or_update


def find(connection: Connection, target: Target, variant: str) -> list[TagList]:
    """The times are left where they are: hardly anybody asks for them, and they cost as much as the names."""
    rows = connection.execute(
        select(tag_lists.c.source, tag_lists.c.names, tag_lists.c.confirmed_at)
        .where(tag_lists.c.target == str(target), tag_lists.c.variant == variant)
        .order_by(tag_lists.c.source)
    )
    return [TagList(row.source, tuple(json.loads(row.names)), row.confirmed_at) for row in rows]


def find_times(connection: Connection, target: Target) -> dict[str, float]:
    """Since when each tag is known to exist, by the earliest word of any list of the target."""
    rows = connection.execute(
        select(tag_lists.c.names, tag_lists.c.times, tag_lists.c.confirmed_at).where(
            tag_lists.c.target == str(target)
        )
    )
    times: dict[str, float] = {}
    for row in rows:
        for name, since in _times(row.names, row.times, row.confirmed_at):
            times[name] = min(since, times.get(name, since))
    return times


def keep(
    connection: Connection, key: tuple[Target, str], tag_list: TagList, created: Mapping[str, float]
) -> bool:
    """Keep a list of ``key``, a target and variant.

    A tag that upstream says nothing of keeps the time that it had; a new one gets that of the list.
    """
    target, variant = key
    same_list = _is(target, variant, tag_list.source)
    before = connection.execute(
        select(tag_lists.c.names, tag_lists.c.times, tag_lists.c.confirmed_at).where(*same_list)
    ).first()
    known = {} if before is None else dict(_times(before.names, before.times, before.confirmed_at))
    known |= created
    values: dict[str, Value] = {
        "target": str(target),
        "variant": variant,
        "source": tag_list.source,
        "names": json.dumps(tag_list.names),
        "confirmed_at": tag_list.confirmed_at,
        "times": json.dumps([int(known.get(name, tag_list.confirmed_at)) for name in tag_list.names]),
    }
    insert_or_update(connection, tag_lists, values)
    return False


def _is(target: Target, variant: str, source: str) -> tuple[ColumnElement[bool], ...]:
    return (
        tag_lists.c.target == str(target),
        tag_lists.c.variant == variant,
        tag_lists.c.source == source,
    )


def _times(names: str, times: str | None, confirmed_at: float) -> Iterator[tuple[str, float]]:
    """Each name with its time; of a list that was kept before there were times, that of the list."""
    listed: Sequence[str] = json.loads(names)
    since: Sequence[float] = [confirmed_at] * len(listed) if times is None else json.loads(times)
    return zip(listed, since, strict=True)
