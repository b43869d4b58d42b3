"""Values of the activity desk for tests of its pages: all is well, unless a test changes it."""

from collections import Counter
from collections.abc import Mapping, Sequence

from gateway.activity import ActivityDesk
from gateway.activity_seen import (
    Bar,
    Event,
    Outcome,
    Served,
    Span,
    StorageUse,
    UpstreamHealth,
    UpstreamState,
)
from gateway.event_tap import Severity
from gateway.sources.upstream_check import CheckedUpstream, CheckResult
from gateway.store.activity_rows import RecentPull

NOW = 1_795_435_200.0

STORAGE = StorageUse(
    blob_bytes=3 << 20,
    blob_count=3,
    is_exact=True,
    catalog_bytes=1 << 20,
    quarantine_bytes=0,
    dying_bytes=0,
    quota_bytes=None,
    disk_free_bytes=80 << 30,
    disk_total_bytes=100 << 30,
    tags=2,
    manifests=2,
    repositories=1,
    pins=0,
    counted_at=NOW,
    troubles={},
)
UPSTREAM = UpstreamState(
    "https://charts.example", "charts.example", (), UpstreamHealth.OK, requests=7, last_ok_at=NOW
)
DRIFT = Event(
    number=9,
    kind="drift",
    severity=Severity.WARNING,
    subject="charts.example/argo-cd:7.7.5",
    detail="kept what was held",
    times=3,
    first_at=NOW - 600,
    last_at=NOW,
)
PULL = RecentPull(
    name="argo/argo-cd",
    reference="7.7.5",
    target="charts.example/argo-cd",
    outcome="hit",
    pulls=12,
    last_at=NOW - 60,
)


class GivenActivity(ActivityDesk):
    """Tells what it was given, and notes which spans it was asked for, and which places to test."""

    def __init__(
        self,
        *,
        pulls: Sequence[RecentPull] = (PULL,),
        events: Sequence[Event] = (),
        upstreams: Sequence[UpstreamState] = (UPSTREAM,),
        storage: StorageUse = STORAGE,
    ) -> None:
        self._given_pulls = pulls
        self._given_events = events
        self._given_upstreams = upstreams
        self._given_storage = storage
        self.check = CheckedUpstream(CheckResult.OK, 34)
        self.spans: list[Span] = []
        self.tested: list[str] = []

    async def served(self, span: Span) -> Served:
        self.spans.append(span)
        counts: Mapping[str, int] = {Outcome.HIT: 7, Outcome.MISS: 1} if self._given_pulls else {}
        empty = [Bar(int(NOW) - 3600 * hour, {}, 0) for hour in range(23, 0, -1)]
        total = sum(counts.values())
        return Served(span, 3600, [*empty, Bar(int(NOW), counts, 4096)], counts, {"helm": total}, total, 4096)

    async def newest_pulls(self, limit: int = 20) -> Sequence[RecentPull]:
        return self._given_pulls[:limit]

    async def events(
        self, kind: str = "", severity: str = "", before: int | None = None, limit: int = 50
    ) -> Sequence[Event]:
        meant = (
            event
            for event in self._given_events
            if kind in ("", event.kind)
            and severity in ("", event.severity)
            and (before is None or event.number < before)
        )
        return list(meant)[:limit]

    async def event_kinds(self, since: float = 0.0) -> Mapping[str, int]:
        return Counter(event.kind for event in self._given_events if event.last_at >= since)

    async def upstreams(self) -> Sequence[UpstreamState]:
        return self._given_upstreams

    async def test(self, place: str) -> CheckedUpstream:
        self.tested.append(place)
        return self.check

    async def storage(self) -> StorageUse:
        return self._given_storage
