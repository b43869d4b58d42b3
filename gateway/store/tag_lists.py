"""What each source listed of a target, and since when each tag is known, as functions of a connection."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, select

from gateway.oci.target import Target
from gateway.store.rows import NewTagList, TagList
from gateway.store.tables import tag_lists
from gateway.store.upsert import Value, insert_or_update_all

_COLUMNS: Final = ("target", "variant", "source", "names", "confirmed_at", "times")


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


def keep(connection: Connection, kept: Sequence[NewTagList]) -> bool:
    """Make each the list of its source.

    A tag that upstream says nothing of keeps the time that it had; a new one gets that of the list.
    """
    before = _before(connection, {str(one.target) for one in kept})
    rows: list[Mapping[str, Value]] = []
    for one in kept:
        listed, key = one.listed, (str(one.target), one.variant, one.listed.source)
        known = {**before.get(key, {}), **one.created}
        times = [int(known.get(name, listed.confirmed_at)) for name in listed.names]
        told = (*key, json.dumps(listed.names), listed.confirmed_at, json.dumps(times))
        rows.append(dict(zip(_COLUMNS, told, strict=True)))
    insert_or_update_all(connection, tag_lists, rows)
    return False


def _before(connection: Connection, targets: Collection[str]) -> dict[tuple[str, str, str], dict[str, float]]:
    """Since when each tag is known, by target, variant and source."""
    rows = connection.execute(select(*tag_lists.c).where(tag_lists.c.target.in_(targets)))
    return {
        (row.target, row.variant, row.source): dict(_times(row.names, row.times, row.confirmed_at))
        for row in rows
    }


def _times(names: str, times: str | None, confirmed_at: float) -> Iterator[tuple[str, float]]:
    """Each name with its time; of a list that was kept before there were times, that of the list."""
    listed: Sequence[str] = json.loads(names)
    since: Sequence[float] = [confirmed_at] * len(listed) if times is None else json.loads(times)
    return zip(listed, since, strict=True)
