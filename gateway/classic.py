"""The index of a classic chart repository, for each prefix that a name may have: made of all it leads to."""

import asyncio
import gzip
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Final, TypeAlias

import structlog
from anyio import to_thread
from cachetools import LRUCache

from gateway.chart_names import ChartNames, HeldMark, Reached, compute
from gateway.classic_held import HeldMetadata, Judge, ListedChart, entries_of
from gateway.flights import Flights, Turn
from gateway.helm.classic_index import write_index
from gateway.helm.metadata import ChartMetadata
from gateway.helm.version import tag_of
from gateway.homes import home_name
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.outcomes import MissingName, Outcome, Unavailable
from gateway.oci.target import Target
from gateway.parts import Parts
from gateway.pull import Puller
from gateway.pulled import Cache
from gateway.refusals import refusal
from gateway.rules.freshness import Standing, standing
from gateway.rules.model import Policy, RuleSet
from gateway.rules.route import Route, Routing, Wanted
from gateway.store.blobs import StorageFailed
from gateway.store.held_charts import HeldChart, HeldCharts
from gateway.waiting import Refusals, Span

log = structlog.get_logger(__name__)

_MEMORY_BYTES: Final = 64 << 20
_AGAIN_SECONDS: Final = 5.0  # so long an index that upstream does not stand by is served without asking
_CHECK_SECONDS: Final = 2.0
_TAG_LISTS_AT_ONCE: Final = 8
_GZIP_LEVEL: Final = 6
_OUTAGES: Final = (Situation.SOURCES_DOWN, Situation.RATE_LIMITED)

_Key: TypeAlias = tuple[str, str]  # prefix, host


@dataclass(frozen=True, slots=True)
class Body:
    """An index as it is sent, under the digest of these very bytes."""

    content: bytes
    digest: Digest


@dataclass(frozen=True, slots=True)
class ClassicIndex:
    """``gzipped`` is None until it was made; times are seconds since the epoch."""

    plain: Body
    gzipped: Body | None
    made_at: float
    confirmed_at: float
    cache: Cache


@dataclass(frozen=True, slots=True)
class _Built:
    """An index, and what it was made of; until ``until`` nothing is shown that was hidden for its age.

    At ``checked_at`` it was last looked whether it is as it should be.
    """

    plain: Body
    gzipped: Body | None
    made_at: float
    confirmed_at: float
    checked_at: float
    until: float
    policy: Policy
    rule_set: RuleSet
    generation: int
    mark: HeldMark
    charts: frozenset[str]
    has_failure: bool

    @property
    def size_bytes(self) -> int:
        packed = 0 if self.gzipped is None else len(self.gzipped.content)
        return len(self.plain.content) + packed + 200 * len(self.mark.targets)


class ClassicIndexes:
    """One index for each prefix and host, built anew when anything that it was made of changes.

    It is as fresh as what it was made of, and served past that while upstream is away, as lists of tags are.
    """

    def __init__(self, parts: Parts, puller: Puller, names: ChartNames, held: HeldCharts) -> None:
        self._parts = parts
        self._puller = puller
        self._names = names
        self.rules = names.rules
        self._metadata = HeldMetadata(parts, held)
        self._flights: Flights[_Built] = Flights()
        self._packing: Flights[None] = Flights()
        self._refusals = Refusals(parts.now, parts.memory.generation)
        self._built: LRUCache[_Key, _Built] = LRUCache(_MEMORY_BYTES, getsizeof=lambda one: one.size_bytes)

    async def index(self, prefix: str, host: str) -> ClassicIndex:
        """Return the index of what lies just below ``prefix``, asked for under ``host``; raise OciError."""
        rule_set, now = self._names.rules(), self._parts.now()
        key = (prefix, self._names.host_that_counts(rule_set, host))
        built = self._built.get(key)
        if built is None or built.rule_set is not rule_set:
            return await self._cold(key, rule_set)
        is_same = built.generation == self._parts.memory.generation() and now < built.until
        state = standing(built.policy, built.confirmed_at, now, is_exact=False)
        if state is Standing.EXPIRED:
            return await self._cold(key, rule_set)
        if is_same and state is Standing.FRESH and not built.has_failure:
            self._look_behind(key, built, _CHECK_SECONDS)  # what came new moves no generation
            return _told(built, Cache.HIT)
        if is_same and (built.has_failure or state is Standing.JUST_STALE):
            self._look_behind(key, built, _AGAIN_SECONDS if built.has_failure else 0.0)
            return _told(built, Cache.STALE)
        return await self._briefly(key, self._launch(key, rule_set), built)

    def charts_at_hand(self, prefix: str, host: str) -> frozenset[str]:
        """The charts of an index that was made before."""
        built = self._built.get((prefix, self._names.host_that_counts(self._names.rules(), host)))
        return frozenset() if built is None else built.charts

    async def drain(self) -> None:
        """End what still runs."""
        await self._flights.drain()
        await self._packing.drain()

    def _launch(self, key: _Key, rule_set: RuleSet, turn: Turn | None = None) -> asyncio.Task[_Built]:
        return self._flights.launch((*key, id(rule_set)), partial(self._build, key, rule_set), turn)

    def _look_behind(self, key: _Key, built: _Built, pause_seconds: float) -> None:
        """Begin to look whether it is as it was, unless that was done just now."""
        if not Span(built.checked_at, pause_seconds).holds(self._parts.now()):
            self._launch(key, built.rule_set)

    async def _cold(self, key: _Key, rule_set: RuleSet) -> ClassicIndex:
        """Nothing is at hand that may be served."""
        route = self._probed(key)
        turn = None
        if route is not None:
            self._refusals.raise_remembered(route)
            turn = self._parts.admission.turn("charts", route)
        cache = Cache.JOINED if self._flights.is_running((*key, id(rule_set))) else Cache.MISS
        try:
            async with self._parts.deadlines.patience(f"the index of {_place(key)}"):
                built = await asyncio.shield(self._launch(key, rule_set, turn))
        except Outcome as error:
            raise self._refusal(key, error) from error
        return _told(built, Cache.STALE if built.has_failure else cache)

    async def _briefly(self, key: _Key, flight: asyncio.Task[_Built], built: _Built) -> ClassicIndex:
        """What it is by now if that is soon known; else what it was."""
        try:
            async with asyncio.timeout(self._parts.deadlines.stale_seconds):
                renewed = await asyncio.shield(flight)
        except (TimeoutError, StorageFailed, Unavailable) as error:
            log.warning("index_from_memory", prefix=key[0], reason=str(error) or "no answer in time")
            return _told(built, Cache.STALE)
        except Outcome as error:
            self._built.pop(key, None)  # upstream has it no more, or nothing that is one
            raise self._refusal(key, error) from error
        return _told(renewed, Cache.STALE if renewed.has_failure else Cache.HIT)

    def _refusal(self, key: _Key, error: Outcome) -> OciError:
        route = self._probed(key)
        if route is None:
            return refusal(error, Situation.NAME_NOT_KNOWN)
        return self._refusals.remember(route, "", error, Situation.NAME_NOT_KNOWN)

    def _probed(self, key: _Key) -> Route | None:
        """Where a chart of the repository that nobody has would be looked for."""
        try:
            return self._names.probe(*key).first
        except OciError:
            return None

    async def _build(self, key: _Key, rule_set: RuleSet) -> _Built:
        """The flight; where only what is held may have changed, and has not, the index stays."""
        generation, now = self._parts.memory.generation(), self._parts.now()
        known = self._built.get(key)
        if (
            known is not None
            and _is_good(known, rule_set, now)
            and await self._names.is_as_marked(known.mark)
        ):
            built = replace(known, generation=generation, checked_at=now)
        else:
            built = await self._make(key, rule_set, generation, known)
        if built.size_bytes <= _MEMORY_BYTES:
            self._built[key] = built
        if built.gzipped is None:
            self._packing.launch(key, partial(self._pack, key, built))
        return built

    async def _make(self, key: _Key, rule_set: RuleSet, generation: int, known: _Built | None) -> _Built:
        now = self._parts.now()
        reached = await self._names.reach(*key, rule_set)
        listing = await self._listing(reached, key[1], now)
        metadata = await self._metadata.of(await compute(_only_held, listing.charts))
        plain = await compute(_written, reached, listing.charts, metadata)
        if plain is None:
            raise self._nothing(key, reached)
        same = known if known is not None and known.plain.digest == plain.digest else None
        times = [view.confirmed_at for view in reached.indexes.values()] + listing.times
        return _Built(
            plain=plain if same is None else same.plain,
            gzipped=None if same is None else same.gzipped,
            made_at=now if same is None else same.made_at,
            confirmed_at=min(times, default=now),
            checked_at=now,
            until=min((chart.until for chart in listing.charts.values()), default=inf),
            policy=(self._probed(key) or next(iter(reached.charts.values())).first).policy,
            rule_set=rule_set,
            generation=generation,
            mark=reached.mark,
            charts=frozenset(listing.charts),
            has_failure=listing.has_failure or _has_failure(reached),
        )

    async def _listing(self, reached: Reached, host: str, now: float) -> "_Listing":
        """Judge every chart; where only a list of tags can tell, ask for that."""
        judge = Judge(self._parts, reached, now)
        homes: dict[str, Mapping[str, Target]] = {}
        for chart in await compute(_with_homes, reached):
            name = home_name(reached.charts[chart])
            homes[chart] = await self._parts.catalog.find_tag_targets(name)
        listing = _Listing(await compute(_judged, judge, reached, homes))
        turns = asyncio.Semaphore(_TAG_LISTS_AT_ONCE)

        async def ask(chart: str) -> None:
            routing = reached.charts[chart]
            async with turns:
                try:
                    listed = await self._puller.tags(Wanted(routing.first.name, host))
                except OciError as error:
                    log.info("tags_not_known", name=routing.first.name.name, reason=error.message)
                    listing.has_failure |= error.situation in _OUTAGES
                    return
            tags = {tag_of(tag): tag for tag in listed.tags}
            listing.charts[chart] = await compute(judge.listed, routing, homes.get(chart, {}), tags)
            listing.has_failure |= listed.cache is Cache.STALE
            if listed.confirmed_at is not None:
                listing.times.append(listed.confirmed_at)

        await asyncio.gather(*(ask(chart) for chart, one in list(listing.charts.items()) if one.needs_tags))
        return listing

    def _nothing(self, key: _Key, reached: Reached) -> Exception:
        """Why there is no index: upstream is away, or the rules say no, or nothing is there."""
        for failure in reached.failures.values():
            return failure
        try:
            self._names.probe(*key)
        except OciError as error:
            return error
        return MissingName(f"there are no charts just below {_place(key)}")

    async def _pack(self, key: _Key, built: _Built) -> None:
        """Behind the first answer."""
        packed = await to_thread.run_sync(_packed, built.plain.content)
        current = self._built.get(key)
        if current is not None and current.plain is built.plain:
            with suppress(ValueError):  # too large to be kept
                self._built[key] = replace(current, gzipped=packed)


@dataclass(slots=True)
class _Listing:
    """What every chart has; ``times`` are when lists of tags were confirmed."""

    charts: dict[str, ListedChart]
    times: list[float] = field(default_factory=list)
    has_failure: bool = False


def _with_homes(reached: Reached) -> Sequence[str]:
    """Charts of which a tag may stay at a later target: something is held there."""

    def may_stay_later(routing: Routing) -> bool:
        return any(str(route.target) in reached.held for route in routing.routes[1:])

    return [chart for chart in sorted(reached.sure) if may_stay_later(reached.charts[chart])]


def _judged(
    judge: Judge, reached: Reached, homes: Mapping[str, Mapping[str, Target]]
) -> dict[str, ListedChart]:
    return {
        chart: judge.listed(reached.charts[chart], homes.get(chart, {})) for chart in sorted(reached.sure)
    }


def _only_held(charts: Mapping[str, ListedChart]) -> Sequence[HeldChart]:
    """What stands in no index."""
    versions = (one for chart in charts.values() for one in chart.versions)
    return [one.held for one in versions if one.item is None and one.held is not None]


def _written(
    reached: Reached,
    charts: Mapping[str, ListedChart],
    metadata: Mapping[str, tuple[ChartMetadata, str | None]],
) -> Body | None:
    """None where no chart has any version."""
    entries = {chart: list(entries_of(chart, one.versions, metadata)) for chart, one in charts.items()}
    if not any(entries.values()):
        return None
    generated = [view.whole.outline.generated for view in reached.indexes.values()]
    content = write_index(entries, max(filter(None, generated), default=None))
    return Body(content, Digest.of(content))


def _packed(content: bytes) -> Body:
    packed = gzip.compress(content, _GZIP_LEVEL, mtime=0)
    return Body(packed, Digest.of(packed))


def _is_good(built: _Built, rule_set: RuleSet, now: float) -> bool:
    is_fresh = standing(built.policy, built.confirmed_at, now, is_exact=False) is Standing.FRESH
    return built.rule_set is rule_set and is_fresh and now < built.until and not built.has_failure


def _has_failure(reached: Reached) -> bool:
    return bool(reached.failures) or any(view.failure is not None for view in reached.indexes.values())


def _told(built: _Built, cache: Cache) -> ClassicIndex:
    return ClassicIndex(built.plain, built.gzipped, built.made_at, built.confirmed_at, cache)


def _place(key: _Key) -> str:
    return "/".join(filter(None, reversed(key)))
