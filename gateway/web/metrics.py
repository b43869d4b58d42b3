"""/metrics of the admin listener, for Prometheus: what all workers of the gateway know together."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.activity import ActivityDesk
from gateway.activity_seen import StorageUse, UpstreamHealth, UpstreamState
from gateway.oci.errors import OciError, Situation
from gateway.store.activity_rows import DAY_SECONDS, Counted
from gateway.store.blobs import StorageFailed
from gateway.store.conditions import Condition
from gateway.store.sync_runs import RunState
from gateway.sync_desk import SeenList
from gateway.web.admin.app import Door
from gateway.web.health import RulesTold

PATH: Final = "/metrics"


@dataclass(frozen=True, slots=True)
class _Facts:
    """Everything that was asked for one answer."""

    served: Sequence[Counted]
    rule_hits: int
    upstreams: Sequence[UpstreamState]
    events: Mapping[str, int]
    storage: StorageUse
    jobs: Mapping[str, int]
    lists: Sequence[SeenList]


class Metrics:
    """``rules`` tells which are in force, ``lists`` their lists; ``now`` gives seconds since the epoch."""

    def __init__(
        self,
        activity: ActivityDesk,
        version: str,
        rules: Callable[[], RulesTold],
        lists: Callable[[], Awaitable[Sequence[SeenList]]],
        now: Callable[[], float],
    ) -> None:
        self._activity = activity
        self._version = version
        self._rules = rules
        self._lists = lists
        self._now = now

    def route(self, door: Door) -> Route:
        """For whoever is let in as a viewer."""

        async def metrics(request: Request) -> Response:
            if await door.asker(request) is None:
                raise OciError(Situation.NOT_SIGNED_IN, "sign in with Authorization: Bearer TOKEN")
            headers = {"Cache-Control": "no-store", "Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
            return Response(await self.text(), headers=headers)

        return Route(PATH, metrics)

    async def text(self) -> bytes:
        """All metrics; those of this process alone while the catalog cannot be read."""
        try:
            facts: _Facts | None = await self._facts()
        except StorageFailed:
            facts = None
        registry = CollectorRegistry(auto_describe=False)
        registry.register(
            _Given([*self._own(is_readable=facts is not None), *(_shared(facts) if facts else ())])
        )
        return generate_latest(registry)

    async def _facts(self) -> _Facts:
        activity = self._activity
        return _Facts(
            served=await activity.totals(),
            rule_hits=await activity.all_rule_hits(),
            upstreams=await activity.upstreams(),
            events=await activity.event_kinds(self._now() - DAY_SECONDS),
            storage=await activity.storage(),
            jobs=await activity.jobs(),
            lists=await self._lists(),
        )

    def _own(self, *, is_readable: bool) -> Iterator[Metric]:
        build = GaugeMetricFamily("gateway_build_info", "The version that runs.", labels=["version"])
        build.add_metric([self._version], 1)
        yield build
        rules = self._rules()
        yield _gauge("gateway_rules_revision", "The revision of the rules in force.", rules["revision"])
        is_refused = rules["trouble"] is not None
        yield _gauge(
            "gateway_rules_refused", "Whether newer rules are refused: /readyz says so too.", is_refused
        )
        yield _gauge("gateway_catalog_readable", "Whether the catalog can be read just now.", is_readable)


class _Given(Collector):
    """Metrics that are made already."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Sequence[Metric]:
        return self._metrics


def _shared(facts: _Facts) -> Iterator[Metric]:
    """What all workers know together, and what lies in the catalog."""
    yield from _served(facts)
    yield from _upstreams(facts.upstreams)
    yield from _storage(facts.storage)
    told = "How often each kind of event was met, in events that went on within a day."
    yield _by_name("gateway_events", told, "kind", facts.events)
    yield _by_name("gateway_jobs", "Jobs by what became of them.", "state", facts.jobs)
    yield from _syncs(facts.lists)


def _served(facts: _Facts) -> Iterator[Metric]:
    labels = ["outcome", "source"]
    told = "Requests for manifests, blobs and lists of tags since ever, by how they ended."
    requests = CounterMetricFamily("gateway_requests", told, labels=labels)
    sent = CounterMetricFamily("gateway_sent_bytes", "Bytes of what was answered since ever.", labels=labels)
    for one in facts.served:
        requests.add_metric([one.outcome, one.source], one.requests)
        sent.add_metric([one.outcome, one.source], one.sent_bytes)
    yield requests
    yield sent
    told = "Manifests asked for since ever that a rule decided on."
    yield CounterMetricFamily("gateway_rule_hits", told, value=facts.rule_hits)


def _upstreams(states: Sequence[UpstreamState]) -> Iterator[Metric]:
    """Of upstreams that the rules name, each; of others, which strangers may choose, how many."""
    counts = {health.value: sum(one.state is health for one in states) for health in UpstreamHealth}
    yield _by_name("gateway_upstreams", "Origins of upstreams by their state.", "state", counts)
    paused = {key: 0 for one in states for key in one.keys}
    paused |= {key: 1 for one in states for key in one.keys if one.state is UpstreamHealth.PAUSED}
    told = "Whether an upstream that the rules name is left alone just now."
    yield _by_name("gateway_upstream_paused", told, "upstream", paused)


def _storage(use: StorageUse) -> Iterator[Metric]:
    parts = {
        "blobs": use.blob_bytes,
        "catalog": use.catalog_bytes or 0,
        "quarantine": use.quarantine_bytes,
        "dying": use.dying_bytes,
    }
    yield _by_name("gateway_storage_bytes", "What the cache takes, counted within minutes.", "part", parts)
    held = {
        "blobs": use.blob_count,
        "tags": use.tags,
        "manifests": use.manifests,
        "repositories": use.repositories,
        "pins": use.pins,
    }
    yield _by_name("gateway_held", "How many the cache holds.", "what", held)
    if use.quota_bytes is not None:
        yield _gauge("gateway_quota_bytes", "MAX_CACHE_SIZE.", use.quota_bytes)
    yield _gauge("gateway_disk_free_bytes", "Room left where the blobs lie.", use.disk_free_bytes)
    yield _gauge("gateway_disk_bytes", "All the room where the blobs lie.", use.disk_total_bytes)
    troubles = {condition.value: condition.value in use.troubles for condition in Condition}
    yield _by_name("gateway_trouble", "Whether it is so for any worker just now.", "condition", troubles)


def _syncs(lists: Sequence[SeenList]) -> Iterator[Metric]:
    runs = [one.run for one in lists if one.run is not None]
    ended = {run.name: run.ended_at for run in runs if run.ended_at is not None}
    told = "When the last run of a mirror list ended, in seconds since the epoch."
    yield _by_name("gateway_sync_ended_timestamp_seconds", told, "list", ended)
    failed = {run.name: run.state in (RunState.FAILED, RunState.INTERRUPTED) for run in runs}
    told = "Whether the last run of a mirror list could not fetch all, or did not come to its end."
    yield _by_name("gateway_sync_failed", told, "list", failed)
    kept = {one.wanted.name: one.kept for one in lists}
    yield _by_name("gateway_sync_kept", "How many tags and digests a mirror list keeps.", "list", kept)


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(name, told, value=value)


def _by_name(name: str, told: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, told, labels=[label])
    for text, value in sorted(values.items()):
        family.add_metric([text], value)
    return family
