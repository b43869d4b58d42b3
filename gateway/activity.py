"""What the desk reads of activity: what was served, pulled and met, and how upstreams and the storage are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gateway.activity_seen import Bar, Event, Served, Span, StorageUse, UpstreamState
from gateway.event_tap import SEVERITIES, Severity
from gateway.sources.upstream_check import CheckedUpstream
from gateway.storage_use import StorageDesk
from gateway.store.activity_book import ActivityBook
from gateway.store.activity_rows import (
    HOUR_SECONDS,
    MINUTE_SECONDS,
    SINCE_EVER,
    Counted,
    EventRow,
    RecentPull,
    RuleHits,
)
from gateway.upstream_states import UpstreamDesk

_MOST_REFERENCES: Final = 10_000
_TOGETHER_SECONDS: Final = 60.0
_STEPS: Final[Mapping[Span, tuple[int, int]]] = {  # how long each is, and how many there are
    Span.HOUR: (MINUTE_SECONDS, 60),
    Span.DAY: (HOUR_SECONDS, 24),
    Span.WEEK: (HOUR_SECONDS, 7 * 24),
}


class ActivityDesk:
    """What the desk reads. ``now`` gives seconds since the epoch; what cannot be read is StorageFailed."""

    def __init__(
        self, book: ActivityBook, upstreams: UpstreamDesk, storage: StorageDesk, now: Callable[[], float]
    ) -> None:
        self._book = book
        self._upstreams = upstreams
        self._storage = storage
        self._now = now

    async def served(self, span: Span) -> Served:
        """What was served over the span, up to the step that goes on."""
        step_seconds, count = _STEPS[span]
        last = int(self._now()) // step_seconds * step_seconds
        first = last - (count - 1) * step_seconds
        counted = await self._book.served(step_seconds, first)
        return _served(span, range(first, last + 1, step_seconds), counted)

    async def totals(self) -> Sequence[Counted]:
        """What was served since ever."""
        return await self._book.served(SINCE_EVER, 0)

    async def newest_pulls(self, limit: int = 20) -> Sequence[RecentPull]:
        """Newest first. Who asks by tag and then by the digest that it named pulled once."""
        found = await self._book.newest_pulls(4 * limit)
        return [one for one in found if not _follows_a_tag(one, found)][:limit]

    async def rule_hits(self, keys: Sequence[str]) -> Mapping[str, RuleHits]:
        """By rule key; rules that decided nothing so far are left out."""
        return await self._book.hits(keys)

    async def all_rule_hits(self) -> int:
        return await self._book.all_hits()

    async def last_pulls(self, target: str) -> Mapping[str, RecentPull]:
        """The newest pull of each reference of a target, by whatever name."""
        found = await self._book.pulls_of(target, _MOST_REFERENCES)
        return {one.reference: one for one in reversed(found)}

    async def events(
        self, kind: str = "", severity: str = "", before: int | None = None, limit: int = 50
    ) -> Sequence[Event]:
        """Newest first, with numbers below ``before``; of one kind or severity, where there is one."""
        kinds = {kind} if kind else None
        if severity:
            graver = {name for name, its in SEVERITIES.items() if its == severity}
            kinds = graver if kinds is None else graver & kinds
        return [_event(row) for row in await self._book.events(kinds, before, limit)]

    async def event_kinds(self, since: float = 0.0) -> Mapping[str, int]:
        """How often each kind was met in the events that are kept, and went on after ``since``."""
        return await self._book.event_counts(since)

    async def upstreams(self) -> Sequence[UpstreamState]:
        """Origins that were asked of late, and upstreams of the rules that were not; the worst first."""
        return await self._upstreams.states()

    async def test(self, place: str) -> CheckedUpstream:
        """Ask an upstream, ``host[:port][/path]``, as a pull by the rules in force would."""
        return await self._upstreams.test(place)

    async def storage(self) -> StorageUse:
        """As it was counted a minute ago at most, unless that takes longer."""
        return await self._storage.use(await self._upstreams.troubles())

    async def jobs(self) -> Mapping[str, int]:
        """How many jobs are in each state."""
        return await self._storage.jobs()


def _served(span: Span, steps: range, counted: Sequence[Counted]) -> Served:
    by_step: dict[int, dict[str, int]] = {begins_at: {} for begins_at in steps}
    sent: dict[int, int] = dict.fromkeys(steps, 0)
    by_outcome: dict[str, int] = {}
    by_source: dict[str, int] = {}
    for one in counted:
        bar = by_step.get(one.begins_at)
        if bar is None:  # a clock was ahead
            continue
        bar[one.outcome] = bar.get(one.outcome, 0) + one.requests
        sent[one.begins_at] += one.sent_bytes
        by_outcome[one.outcome] = by_outcome.get(one.outcome, 0) + one.requests
        if one.source:
            by_source[one.source] = by_source.get(one.source, 0) + one.requests
    rows = [Bar(begins_at, bar, sent[begins_at]) for begins_at, bar in by_step.items()]
    total, sent_bytes = sum(by_outcome.values()), sum(sent.values())
    return Served(span, steps.step, rows, by_outcome, by_source, total, sent_bytes)


def _follows_a_tag(one: RecentPull, found: Sequence[RecentPull]) -> bool:
    if ":" not in one.reference:
        return False
    return any(
        ":" not in other.reference
        and other.name == one.name
        and abs(other.last_at - one.last_at) <= _TOGETHER_SECONDS
        for other in found
    )


def _event(row: EventRow) -> Event:
    severity = SEVERITIES.get(row.kind, Severity.INFO)
    return Event(
        row.number, row.kind, severity, row.subject, row.detail, row.times, row.first_at, row.last_at
    )
