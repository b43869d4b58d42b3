"""The book of activity: what was served and met, added up over workers and restarts, bounded in size."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store.activity_rows import (
    DAY_SECONDS,
    HOUR_SECONDS,
    MINUTE_SECONDS,
    SILENT_SECONDS,
    SINCE_EVER,
    Counted,
    EventRow,
    Harvest,
    MinuteKey,
    Noted,
    RecentPull,
    RuleHits,
    Teller,
    ToldState,
)
from gateway.store.admin_tables import activity, events, recent_pulls, rule_hits, upstream_states
from gateway.store.engine import Engines
from gateway.store.upsert import Value

PRUNE_SECONDS: Final = 300.0
MAX_PULLS: Final = 100_000
MAX_EVENTS: Final = 10_000
_KEPT_SECONDS: Final[Mapping[int, int]] = {
    MINUTE_SECONDS: 2 * HOUR_SECONDS,
    HOUR_SECONDS: 8 * DAY_SECONDS,
    DAY_SECONDS: 400 * DAY_SECONDS,
}
_SAME_EVENT_SECONDS: Final = 3600.0
_LONGEST_EVENT_SECONDS: Final = float(DAY_SECONDS)  # what never ends shall not sink below all that is newer
_LOOKED_BACK: Final = 2_000
_FORGOTTEN_SECONDS: Final = float(DAY_SECONDS)
_AT_ONCE: Final = 2_000  # rows that are removed in one transaction
_MOST_KEYS: Final = 500  # asked for at once
_PullColumns: TypeAlias = tuple[str, str, str, str, int, float]
_PULLS: Final[Select[_PullColumns]] = select(*recent_pulls.c).order_by(
    recent_pulls.c.last_at.desc(), recent_pulls.c.name, recent_pulls.c.reference
)


class ActivityBook:
    """Errors of the database are StorageFailed. Times are seconds since the epoch."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def keep(self, teller: Teller, harvest: Harvest, now: float) -> None:
        """Add a harvest to what is there, all of it or nothing."""
        await self._engines.tell(keep, teller, harvest, now)

    async def begin(self, teller: Teller, workers: int) -> None:
        """Forget what the process before this one told, and workers that are no more: there are so many."""
        await self._engines.tell(_begin, teller, workers)

    async def prune(self, instance: str, now: float) -> None:
        """Forget what is too old, or too much; ``instance`` is this gateway's, whose processes live."""
        await self._engines.tell(_prune_activity, now)
        while await self._engines.tell(_prune_pulls):
            pass  # so many at a time: others want to write too
        await self._engines.tell(_prune_events)
        await self._engines.tell(_prune_states, instance, now)

    async def served(self, step_seconds: int, since: int) -> list[Counted]:
        return await self._engines.ask(_served, step_seconds, since)

    async def newest_pulls(self, limit: int) -> list[RecentPull]:
        return await self._engines.ask(_newest_pulls, limit)

    async def pulls_of(self, target: str, limit: int) -> list[RecentPull]:
        return await self._engines.ask(_pulls_of, target, limit)

    async def hits(self, keys: Collection[str]) -> dict[str, RuleHits]:
        return await self._engines.ask(_hits, sorted(set(keys)))

    async def all_hits(self) -> int:
        return await self._engines.ask(_all_hits)

    async def events(self, kinds: Collection[str] | None, before: int | None, limit: int) -> list[EventRow]:
        """Newest first; ``kinds`` None: of every kind."""
        return await self._engines.ask(_events, kinds, before, limit)

    async def event_counts(self, since: float = 0.0) -> dict[str, int]:
        """How often each kind was met in events that went on after ``since``."""
        return await self._engines.ask(_event_counts, since)

    async def states(self, instance: str, now: float) -> list[ToldState]:
        """What this gateway's processes told last, and those of others that are alive."""
        return await self._engines.ask(_states, instance, now)


def keep(connection: Connection, teller: Teller, harvest: Harvest, now: float) -> None:
    """Rows are written in the order of their keys: of two who write the same none waits for the other."""
    _add_served(connection, harvest.served)
    _add_hits(connection, harvest.hits)
    _add_pulls(connection, harvest.pulls)
    _add_events(connection, harvest.events)
    _put_states(connection, teller, harvest, now)


def _add_served(connection: Connection, served: Mapping[MinuteKey, tuple[int, int]]) -> None:
    sums: dict[tuple[int, int, str, str], list[int]] = {}
    for (minute, outcome, source), (requests, sent_bytes) in served.items():
        for step in (SINCE_EVER, MINUTE_SECONDS, HOUR_SECONDS, DAY_SECONDS):
            begins_at = minute // step * step if step else 0
            total = sums.setdefault((step, begins_at, outcome, source), [0, 0])
            total[0] += requests
            total[1] += sent_bytes
    rows: list[dict[str, Value]] = [
        {
            "step_seconds": step,
            "begins_at": begins_at,
            "outcome": outcome,
            "source": source,
            "requests": requests,
            "sent_bytes": sent_bytes,
        }
        for (step, begins_at, outcome, source), (requests, sent_bytes) in sorted(sums.items())
    ]
    _add(connection, activity, rows, added=("requests", "sent_bytes"), taken=())


def _add_hits(connection: Connection, hits: Mapping[str, RuleHits]) -> None:
    rows: list[dict[str, Value]] = [
        {"rule": key, "hits": one.hits, "last_at": one.last_at} for key, one in sorted(hits.items())
    ]
    _add(connection, rule_hits, rows, added=("hits",), taken=("last_at",))


def _add_pulls(connection: Connection, pulls: Sequence[RecentPull]) -> None:
    rows: list[dict[str, Value]] = [
        {
            "name": one.name,
            "reference": one.reference,
            "target": one.target,
            "outcome": one.outcome,
            "pulls": one.pulls,
            "last_at": one.last_at,
        }
        for one in sorted(pulls, key=lambda pull: (pull.name, pull.reference))
    ]
    _add(connection, recent_pulls, rows, added=("pulls",), taken=("target", "outcome", "last_at"))


def _add(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Value]],
    *,
    added: Sequence[str],
    taken: Sequence[str],
) -> None:
    """Insert rows, or add to those that have their keys: ``added`` are summed up, ``taken`` put in place."""
    if not rows:
        return
    made = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = made(table).values({name: bindparam(name) for name in rows[0]})
    changes = {name: table.c[name] + statement.excluded[name] for name in added}
    changes |= {name: statement.excluded[name] for name in taken}
    keys = [column.name for column in table.primary_key]
    connection.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=changes), [dict(row) for row in rows]
    )


def _add_events(connection: Connection, noted: Sequence[Noted]) -> None:
    """What goes on is one event as long as it comes again within an hour, for a day at most."""
    if not noted:
        return
    first_at = min(one.first_at for one in noted)
    since, begun = first_at - _SAME_EVENT_SECONDS, first_at - _LONGEST_EVENT_SECONDS
    kinds = sorted({one.kind for one in noted})
    wanted = (
        select(events.c.number, events.c.kind, events.c.subject)
        .where(events.c.last_at >= since, events.c.first_at >= begun, events.c.kind.in_(kinds))
        .order_by(events.c.last_at.desc())
        .limit(_LOOKED_BACK)
    )
    known = {(row.kind, row.subject): row.number for row in reversed(connection.execute(wanted).all())}
    for one in noted:
        number = known.get((one.kind, one.subject))
        if number is None:
            values = {"times": one.times, "first_at": one.first_at, "last_at": one.last_at}
            told = {"kind": one.kind, "subject": one.subject, "detail": one.detail}
            connection.execute(insert(events).values(**told, **values))
            continue
        more = 0 if one.is_everybodys else one.times
        connection.execute(
            update(events)
            .where(events.c.number == number)
            .values(times=events.c.times + more, last_at=one.last_at, detail=one.detail)
        )


def _put_states(connection: Connection, teller: Teller, harvest: Harvest, now: float) -> None:
    gone = [*harvest.forgotten, *harvest.states]
    ours = _of(teller)
    for start in range(0, len(gone), _MOST_KEYS):
        some = gone[start : start + _MOST_KEYS]
        connection.execute(delete(upstream_states).where(*ours, upstream_states.c.origin.in_(some)))
    if harvest.states:
        who = {"instance": teller.instance, "worker": teller.worker, "noted_at": now}
        rows = [{**who, "origin": origin, "facts": facts} for origin, facts in harvest.states.items()]
        connection.execute(insert(upstream_states), rows)


def _of(teller: Teller) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (upstream_states.c.instance == teller.instance, upstream_states.c.worker == teller.worker)


def _begin(connection: Connection, teller: Teller, workers: int) -> None:
    is_own = upstream_states.c.worker == teller.worker
    is_over = upstream_states.c.worker >= workers
    ours = upstream_states.c.instance == teller.instance
    connection.execute(delete(upstream_states).where(ours, is_own | is_over))


def _prune_activity(connection: Connection, now: float) -> None:
    for step, kept_seconds in _KEPT_SECONDS.items():
        is_old = activity.c.begins_at < now - kept_seconds
        connection.execute(delete(activity).where(activity.c.step_seconds == step, is_old))


def _prune_pulls(connection: Connection) -> bool:
    """Forget the oldest of those that are too many; whether more of them may be left."""
    last_at = recent_pulls.c.last_at
    too_old = connection.execute(select(last_at).order_by(last_at.desc()).offset(MAX_PULLS).limit(1)).scalar()
    if too_old is None:
        return False
    batch = connection.execute(select(last_at).order_by(last_at).offset(_AT_ONCE - 1).limit(1)).scalar()
    limit = too_old if batch is None else min(too_old, batch)
    connection.execute(delete(recent_pulls).where(last_at <= limit))
    return bool(limit < too_old)


def _prune_events(connection: Connection) -> None:
    newest = select(events.c.number).order_by(events.c.number.desc())
    limit = connection.execute(newest.offset(MAX_EVENTS).limit(1)).scalar()
    if limit is not None:
        connection.execute(delete(events).where(events.c.number <= limit))


def _prune_states(connection: Connection, instance: str, now: float) -> None:
    is_others = upstream_states.c.instance != instance
    is_old = upstream_states.c.noted_at < now - _FORGOTTEN_SECONDS
    connection.execute(delete(upstream_states).where(is_others, is_old))


def _served(connection: Connection, step_seconds: int, since: int) -> list[Counted]:
    wanted = select(activity).where(activity.c.step_seconds == step_seconds, activity.c.begins_at >= since)
    return [
        Counted(row.begins_at, row.outcome, row.source, row.requests, row.sent_bytes)
        for row in connection.execute(wanted.order_by(activity.c.begins_at))
    ]


def _newest_pulls(connection: Connection, limit: int) -> list[RecentPull]:
    return _pulls(connection, _PULLS.limit(limit))


def _pulls_of(connection: Connection, target: str, limit: int) -> list[RecentPull]:
    return _pulls(connection, _PULLS.where(recent_pulls.c.target == target).limit(limit))


def _pulls(connection: Connection, wanted: Select[_PullColumns]) -> list[RecentPull]:
    return [
        RecentPull(row.name, row.reference, row.target, row.outcome, row.pulls, row.last_at)
        for row in connection.execute(wanted)
    ]


def _hits(connection: Connection, keys: Sequence[str]) -> dict[str, RuleHits]:
    found: dict[str, RuleHits] = {}
    for start in range(0, len(keys), _MOST_KEYS):
        wanted = select(rule_hits).where(rule_hits.c.rule.in_(keys[start : start + _MOST_KEYS]))
        found |= {row.rule: RuleHits(row.hits, row.last_at) for row in connection.execute(wanted)}
    return found


def _all_hits(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.sum(rule_hits.c.hits), 0))).scalar_one())


def _events(
    connection: Connection, kinds: Collection[str] | None, before: int | None, limit: int
) -> list[EventRow]:
    wanted = select(events).order_by(events.c.number.desc()).limit(limit)
    if kinds is not None:
        wanted = wanted.where(events.c.kind.in_(kinds))
    if before is not None:
        wanted = wanted.where(events.c.number < before)
    return [EventRow(*row) for row in connection.execute(wanted)]


def _event_counts(connection: Connection, since: float) -> dict[str, int]:
    wanted = select(events.c.kind, func.sum(events.c.times)).where(events.c.last_at >= since)
    return {kind: int(times) for kind, times in connection.execute(wanted.group_by(events.c.kind))}


def _states(connection: Connection, instance: str, now: float) -> list[ToldState]:
    is_ours = upstream_states.c.instance == instance
    is_alive = upstream_states.c.noted_at >= now - SILENT_SECONDS
    wanted = select(upstream_states).where(is_ours | is_alive)
    return [
        ToldState(Teller(row.instance, row.worker), row.origin, row.facts, row.noted_at)
        for row in connection.execute(wanted.order_by(*upstream_states.primary_key))
    ]
