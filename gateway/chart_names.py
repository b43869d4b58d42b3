"""Which charts lie just below a name: by the Helm indexes that it leads to, the rules, and what is held."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar, TypeVarTuple

import structlog
from anyio import CapacityLimiter, to_thread

from gateway.oci.errors import OciError, Situation
from gateway.oci.outcomes import Missing, Outcome
from gateway.oci.repository import Repository
from gateway.parts import Parts
from gateway.refusals import refusal
from gateway.rules.below import (
    PROBE,
    Way,
    below,
    hosts_that_count,
    is_just_below,
    names_of,
    synced_names,
    ways_of,
    written_names,
)
from gateway.rules.freshness import Standing, standing
from gateway.rules.match import Matcher
from gateway.rules.model import RuleSet, SourceName
from gateway.rules.route import Route, Routing, Wanted, route
from gateway.sources.helm_indexes import IndexView
from gateway.store.held_charts import HeldChart

log = structlog.get_logger(__name__)

_MOST_PLACES: Final = 100
_AT_ONCE: Final = 8
_ONE_AT_A_TIME: Final = CapacityLimiter(1)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Indexes(Protocol):
    """Gives whole indexes; raises outcomes, Missing where a place has none."""

    async def whole(self, route: Route) -> IndexView: ...


class Held(Protocol):
    """What the catalog says of charts that are held."""

    async def names(self, prefix: str, places: Sequence[str]) -> set[tuple[str, str]]: ...

    async def of(self, targets: Sequence[str]) -> list[HeldChart]: ...


@dataclass(frozen=True, slots=True)
class HeldMark:
    """What of the catalog an answer was made of: where it was looked for, and a number for what was found."""

    prefix: str
    places: Sequence[str]
    targets: Sequence[str]
    found: int


@dataclass(frozen=True, slots=True)
class Reached:
    """Charts by the last segment of their names, and where each leads.

    ``indexes`` and ``failures``, of those that could not be asked, are by place; ``held`` is by target.
    ``sure`` are the charts that an index lists, that are held, or that a ``sync:`` list names: the others
    only a rule speaks of.
    """

    charts: Mapping[str, Routing]
    sure: frozenset[str]
    indexes: Mapping[str, IndexView]
    failures: Mapping[str, Outcome]
    held: Mapping[str, Sequence[HeldChart]]
    mark: HeldMark

    def index_at(self, route: Route) -> IndexView | None:
        return _index_at(self.indexes, route)


@dataclass(frozen=True, slots=True)
class _Spoken:
    """Names that rules are about, and those in ``sync:`` lists."""

    written: frozenset[str]
    synced: frozenset[str]


class ChartNames:
    """``rules`` gives those in force at the moment; each question is answered by one rule set."""

    def __init__(self, parts: Parts, rules: Callable[[], RuleSet], indexes: Indexes, held: Held) -> None:
        self._parts = parts
        self.rules = rules
        self._indexes = indexes
        self._held = held
        self._hosts: tuple[RuleSet | None, Matcher] = (None, Matcher([]))

    async def under(self, prefix: str, host: str = "") -> Sequence[str]:
        """Return the names of the charts that ``<prefix>/*`` reaches; without a prefix, of one segment.

        Raise OciError where an index could not be asked, and nothing else is known.
        """
        reached = await self.reach(prefix, host, self.rules())
        if not reached.charts and reached.failures:
            raise refusal(next(iter(reached.failures.values())), Situation.NAME_NOT_KNOWN)
        return sorted(below(prefix, chart) for chart in reached.charts)

    def probe(self, prefix: str, host: str) -> Routing:
        """Where a chart that nobody has would be looked for; raise OciError where that is nowhere."""
        try:
            return self._routed(self.rules(), below(prefix, PROBE), host)
        except OciError as error:
            raise OciError(error.situation, error.message.replace(PROBE, "<chart>")) from error

    async def reach(self, prefix: str, host: str, rule_set: RuleSet) -> Reached:
        """Find the charts, with all that was learnt of them."""
        places = _Places(self._indexes, self._parts)
        ways, written = await compute(self._ways, rule_set, prefix, host)
        above = sorted({way.route.target.place for way in ways})
        held_names = await self._held.names(prefix, above)
        await places.load({way.route.target.place: way.route for way in ways})
        spoken = _Spoken(written, frozenset(synced_names(rule_set)))
        names = await compute(_names_below, prefix, ways, places, held_names, spoken)
        routings = await compute(self._all_routed, rule_set, names, host)
        await places.load(await compute(_by_place, routings))
        targets = await compute(_targets, routings)
        rows = await self._held.of(targets)
        mark = HeldMark(prefix, above, targets, await compute(_number, held_names, rows))
        return await compute(_reached, routings, places, rows, mark, spoken)

    async def host_that_counts(self, rule_set: RuleSet, host: str) -> str:
        """Empty where no rule says anything of that host: then a name leads where it does under none."""
        known_of, hosts = self._hosts
        if rule_set is not known_of:
            hosts = await compute(hosts_that_count, rule_set)
            self._hosts = (rule_set, hosts)
        return "" if hosts.first(host, "") is None else host

    async def is_as_marked(self, mark: HeldMark) -> bool:
        """Whether the same is held still."""
        names = await self._held.names(mark.prefix, mark.places)
        return await compute(_number, names, await self._held.of(mark.targets)) == mark.found

    def _ways(self, rule_set: RuleSet, prefix: str, host: str) -> tuple[list[Way], frozenset[str]]:
        """The ways to charts that nobody has written down, and the names that the rules have."""
        written = set(written_names(rule_set, prefix, host))
        ways: list[Way] = []
        for name in [below(prefix, PROBE), *sorted(name for name in written if PROBE in name)]:
            try:
                routing = self._routed(rule_set, name, host)
            except OciError:
                continue
            ways += ways_of(name, routing)
        return ways, frozenset(name for name in written if PROBE not in name)

    def _all_routed(self, rule_set: RuleSet, names: Iterable[str], host: str) -> dict[str, Routing]:
        """Those that are names, and lead somewhere."""
        routings: dict[str, Routing] = {}
        for name in names:
            try:
                routings[name] = self._routed(rule_set, name, host)
            except OciError:  # denied, or no name of ours: charts may be in upper case
                continue
        return routings

    def _routed(self, rule_set: RuleSet, name: str, host: str) -> Routing:
        return self._parts.admitted(route(rule_set, Wanted(Repository.parse_with_port(name), host)))


class _Places:
    """The indexes of places, each looked at once."""

    def __init__(self, indexes: Indexes, parts: Parts) -> None:
        self._source = indexes
        self._parts = parts
        self._asked: set[str] = set()
        self.indexes: dict[str, IndexView] = {}
        self.failures: dict[str, Outcome] = {}

    async def load(self, routes: Mapping[str, Route]) -> None:
        """Read the index of each place that may have one, and was not looked at before."""
        new = {
            place: route
            for place, route in routes.items()
            if SourceName.HELM in route.chain
            and place not in self._asked
            and not self._parts.asks_nobody(route)
        }
        chosen = sorted(new)[:_MOST_PLACES]
        if len(new) > len(chosen):
            log.warning("places_left_out", count=len(new) - len(chosen), last=chosen[-1])
        turns = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._ask(new[place], turns) for place in chosen))

    def index_at(self, route: Route) -> IndexView | None:
        return _index_at(self.indexes, route)

    def charts_at(self, route: Route) -> Iterable[str]:
        view = self.index_at(route)
        return () if view is None else view.whole.outline.charts

    async def _ask(self, route: Route, turns: asyncio.Semaphore) -> None:
        place = route.target.place
        self._asked.add(place)
        async with turns:
            try:
                view = await self._source.whole(route)
                if view.failure is not None and self._is_expired(route, view):
                    raise view.failure
                self.indexes[place] = view
            except Missing:
                log.debug("no_index", place=place)  # a registry, most often
            except Outcome as error:
                self.failures[place] = error

    def _is_expired(self, route: Route, view: IndexView) -> bool:
        stands = standing(route.policy, view.confirmed_at, self._parts.now(), is_exact=False)
        return stands is Standing.EXPIRED


def _reached(
    routings: Mapping[str, Routing],
    places: _Places,
    rows: Iterable[HeldChart],
    mark: HeldMark,
    spoken: _Spoken,
) -> Reached:
    """Of the names that may be those that are, as far as that can be told."""
    held: dict[str, list[HeldChart]] = {}
    for row in rows:
        held.setdefault(row.target, []).append(row)

    def is_there(routing: Routing) -> bool:
        return any(str(route.target) in held or _is_listed(places, route) for route in routing.routes)

    def may_be_there(routing: Routing) -> bool:
        return not any(places.index_at(route) for route in routing.routes)

    sure = {name for name, routing in routings.items() if name in spoken.synced or is_there(routing)}
    told = {name for name in spoken.written & routings.keys() if may_be_there(routings[name])}
    return Reached(
        charts={_last(name): routings[name] for name in sure | told},
        sure=frozenset(map(_last, sure)),
        indexes=places.indexes,
        failures=places.failures,
        held=held,
        mark=mark,
    )


def _is_listed(places: _Places, route: Route) -> bool:
    view = places.index_at(route)
    return view is not None and bool(view.whole.outline.charts.get(route.target.chart))


def _index_at(indexes: Mapping[str, IndexView], route: Route) -> IndexView | None:
    """What the route may know of it: another rule may lead to the same place by other sources."""
    return indexes.get(route.target.place) if SourceName.HELM in route.chain else None


def _names_below(
    prefix: str,
    ways: Sequence[Way],
    places: _Places,
    held_names: set[tuple[str, str]],
    spoken: _Spoken,
) -> set[str]:
    """Every name that there may be."""
    listed = {way.name_of(chart) for way in ways for chart in places.charts_at(way.route)}
    held = {name for name, _ in held_names}.union(names_of(ways, {target for _, target in held_names}))
    names = held.union(spoken.written, spoken.synced, filter(None, listed))
    return {name for name in names if is_just_below(prefix, name)}


def _number(names: set[tuple[str, str]], rows: Iterable[HeldChart]) -> int:
    return hash((frozenset(names), frozenset(rows)))


def _by_place(routings: Mapping[str, Routing]) -> dict[str, Route]:
    return {route.target.place: route for routing in routings.values() for route in routing.routes}


def _targets(routings: Mapping[str, Routing]) -> Sequence[str]:
    return tuple(sorted({str(route.target) for routing in routings.values() for route in routing.routes}))


def _last(name: str) -> str:
    return name.rpartition("/")[2]


async def compute(work: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """In a thread, one after another: several that compute keep the event loop from its turn for long."""
    return await to_thread.run_sync(work, *arguments, limiter=_ONE_AT_A_TIME)
