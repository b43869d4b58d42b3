"""The index of a classic chart repository, for each prefix that a name may have: made of all it leads to."""

import asyncio
import gzip
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Final, TypeAlias

import structlog
from anyio import to_thread
from cachetools import LRUCache

from gateway.admission import note_own_account
from gateway.chart_names import ChartNames, HeldMark, Reached
from gateway.classic_listing import Body, Listings
from gateway.flights import Flights, Turn
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.outcomes import Corrupt, MissingName, Outcome, Unavailable
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.parts import Parts
from gateway.pull import Puller
from gateway.pulled import Cache
from gateway.rules.below import PROBE, below
from gateway.rules.freshness import Standing, standing
from gateway.rules.model import Policy, RuleSet
from gateway.rules.route import PLAIN, Route
from gateway.store.blobs import StorageFailed
from gateway.store.held_charts import HeldCharts
from gateway.waiting import Refusals, Span

log = structlog.get_logger(__name__)

_MEMORY_BYTES: Final = 64 << 20
_AGAIN_SECONDS: Final = 5.0  # so long an index that upstream does not stand by is served without asking
_CHECK_SECONDS: Final = 2.0
_GZIP_LEVEL: Final = 6

_Key: TypeAlias = tuple[str, str]  # prefix, host


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
        self._names = names
        self.rules = names.rules
        self._listings = Listings(parts, puller, held)
        self._flights: Flights[_Built] = Flights()
        self._packing: Flights[None] = Flights()
        self._refusals = Refusals(parts.now, parts.memory.generation)
        self._built: LRUCache[_Key, _Built] = LRUCache(_MEMORY_BYTES, getsizeof=lambda one: one.size_bytes)

    async def index(self, prefix: str, host: str) -> ClassicIndex:
        """Return the index of what lies just below ``prefix``, asked for under ``host``; raise OciError."""
        rule_set, now = self._names.rules(), self._parts.now()
        key = (prefix, await self._names.host_that_counts(rule_set, host))
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

    async def charts_at_hand(self, prefix: str, host: str) -> frozenset[str]:
        """The charts of an index that was made before."""
        built = self._built.get((prefix, await self._names.host_that_counts(self._names.rules(), host)))
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
        route = self._asked_for(key, rule_set)
        self._refusals.raise_remembered(route, _asked(key))
        turn = self._parts.admission.turn("charts", route, _asked(key))
        cache = Cache.JOINED if self._flights.is_running((*key, id(rule_set))) else Cache.MISS
        try:
            async with self._parts.deadlines.patience(f"the index of {_place(key)}"):
                built = await asyncio.shield(self._launch(key, rule_set, turn))
        except Outcome as error:
            raise self._refusal(key, rule_set, error) from error
        except _Refused as error:
            raise self._refusals.keep(route, _asked(key), error.refusal) from error
        return _told(built, Cache.STALE if built.has_failure else cache)

    async def _briefly(self, key: _Key, flight: asyncio.Task[_Built], built: _Built) -> ClassicIndex:
        """What it is by now if that is soon known; else what it was."""
        try:
            async with asyncio.timeout(self._parts.deadlines.stale_seconds):
                renewed = await asyncio.shield(flight)
        except (TimeoutError, StorageFailed, Unavailable, Corrupt) as error:
            log.warning("index_from_memory", prefix=key[0], reason=str(error) or "no answer in time")
            return _told(built, Cache.STALE)
        except Outcome as error:
            self._built.pop(key, None)  # upstream has it no more
            raise self._refusal(key, built.rule_set, error) from error
        except _Refused as error:
            self._built.pop(key, None)
            raise error.refusal from error
        return _told(renewed, Cache.STALE if renewed.has_failure else Cache.HIT)

    def _refusal(self, key: _Key, rule_set: RuleSet, error: Outcome) -> OciError:
        route = self._asked_for(key, rule_set)
        return self._refusals.remember(route, _asked(key), error, Situation.NAME_NOT_KNOWN)

    def _asked_for(self, key: _Key, rule_set: RuleSet) -> Route:
        """Where a chart that nobody has would be looked for; where that is nowhere, as if no rule was there.

        So who names prefixes that lead nowhere is one who names new hosts.
        """
        try:
            return self._names.probe(*key).first
        except OciError:
            name = Repository(below(key[0], PROBE))
            return Route(name, Target(name), PLAIN, None, rule_set.defaults, rules=rule_set)

    async def _build(self, key: _Key, rule_set: RuleSet) -> _Built:
        """The flight; where only what is held may have changed, and has not, the index stays."""
        note_own_account()
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
        listing = await self._listings.of(reached, key[1], now)
        plain = await self._listings.written(reached, listing)
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
            policy=self._policy(key, reached),
            rule_set=rule_set,
            generation=generation,
            mark=reached.mark,
            charts=frozenset(listing.charts),
            has_failure=listing.has_failure or _has_failure(reached),
        )

    def _policy(self, key: _Key, reached: Reached) -> Policy:
        """By which it is fresh: that of a chart which nobody has, else that of one which is there."""
        try:
            return self._names.probe(*key).first.policy
        except OciError:
            return next(iter(reached.charts.values())).first.policy

    def _nothing(self, key: _Key, reached: Reached) -> Exception:
        """Why there is no index: upstream is away, or the rules say no, or nothing is there."""
        for failure in reached.failures.values():
            return failure
        try:
            self._names.probe(*key)
        except OciError as error:
            return _Refused(error)
        return MissingName(f"there are no charts just below {_place(key)}")

    async def _pack(self, key: _Key, built: _Built) -> None:
        """Behind the first answer."""
        packed = await to_thread.run_sync(_packed, built.plain.content)
        current = self._built.get(key)
        if current is not None and current.plain is built.plain:
            with suppress(ValueError):  # too large to be kept
                self._built[key] = replace(current, gzipped=packed)


class _Refused(Exception):
    """By the rules: nothing is there for whoever asks."""

    def __init__(self, refusal: OciError) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


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


def _asked(key: _Key) -> str:
    """No two prefixes and hosts are the same text, though they may lead to the same place."""
    return " ".join(key)


def _place(key: _Key) -> str:
    return "/".join(filter(None, reversed(key)))
