"""The tags of a repository: what upstream has, joined with what is held."""

import asyncio
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import structlog
from anyio import to_thread
from cachetools import LRUCache

from gateway.fetch import Fetcher
from gateway.flights import Flights, Turn
from gateway.helm.version import tag_of
from gateway.oci.errors import OciError, Situation
from gateway.oci.outcomes import Outcome
from gateway.oci.reference import is_tag
from gateway.parts import Parts
from gateway.pulled import Cache, Listed
from gateway.rules.freshness import Standing, in_force, standing
from gateway.rules.model import SourceName
from gateway.rules.route import Route
from gateway.sources.base import ManyTold, Source, Versions
from gateway.store.blobs import StorageFailed
from gateway.store.rows import NewTagList, TagList
from gateway.waiting import Pauses, Refusals

log = structlog.get_logger(__name__)

_REMEMBERED_NAMES: Final = 500_000  # of all lists together
_AT_ONCE: Final = 100  # lists kept in one transaction


class TagLists:
    """Lists are kept for ``fresh_for``, and served after that while nobody answers."""

    def __init__(self, parts: Parts, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._catalog = parts.catalog
        self._now = parts.now
        self._deadlines = parts.deadlines
        self._admission = parts.admission
        self._asks_nobody = parts.asks_nobody
        self._flights: Flights[TagList] = Flights("tags", parts.locks)
        self._generation = parts.memory.generation
        self._refusals = Refusals(parts.now, parts.memory.generation)
        self._pauses = Pauses(parts.now)
        self._memory: LRUCache[tuple[str, str, int], TagList] = LRUCache(
            _REMEMBERED_NAMES, getsizeof=lambda known: len(known.names) + 1
        )

    async def list(self, route: Route) -> Listed:
        """Return the tags upstream has and those held; only what is known while upstream is away."""
        held = {listed_tag(*one) for one in await self._catalog.versions_of(route.target)}
        if self._asks_nobody(route):
            return _offline(route, held)
        known = await self._known(route)
        state = None if known is None else self._standing(route, known)
        if state is Standing.EXPIRED:
            known = None
        if known is not None and state is Standing.FRESH:
            return _listed(known, held, Cache.HIT)
        if not held and known is None:
            return await self._cold(route)
        if self._pauses.is_on(route):
            return _stale(known, held)
        cache = self._cache(route, known)
        flight = self._launch(route)
        if known is not None and (
            state is Standing.JUST_STALE or self._fetcher.is_troubled(route, known.source)
        ):
            return _listed(known, held, Cache.STALE)
        return await self._briefly(route, flight, cache, known, held)

    async def refreshed(self, route: Route) -> TagList:
        """What upstream has, asked for whatever is known; ``route`` says since when that counts."""
        if self._asks_nobody(route):
            message = f"offline: nobody is asked for the tags of {route.name}"
            raise OciError(Situation.NOT_HELD_OFFLINE, message)
        known = self._remembered(route)
        if known is not None:
            return known
        try:
            async with self._deadlines.patience(f"the tags of {route.name}"):
                return await asyncio.shield(self._launch(route))
        except Outcome as error:
            raise self._refusals.remember(route, "", error, Situation.NAME_NOT_KNOWN) from error

    async def refresh_many(self, routes: Sequence[Route]) -> None:
        """Ask for the lists of many that one answer of upstream's tells; the others stay as they are."""
        by_source: dict[Source, list[Route]] = {}
        for route in routes:
            first = next(iter(self._fetcher.chain(route)), None)
            if first is not None and not self._asks_nobody(route) and self._remembered(route) is None:
                by_source.setdefault(first, []).append(route)
        for source, some in by_source.items():
            if isinstance(source, ManyTold):
                told = zip(some, await source.versions_of_many(some), strict=True)
                answers = [(route, versions) for route, versions in told if versions is not None]
                for batch in (answers[at : at + _AT_ONCE] for at in range(0, len(answers), _AT_ONCE)):
                    await self._keep(source, batch)

    async def held(self, route: Route) -> Sequence[str]:
        """What a list would show if nobody was asked."""
        return _tags(listed_tag(*one) for one in await self._catalog.versions_of(route.target))

    async def drain(self) -> None:
        await self._flights.drain()

    def _launch(self, route: Route, turn: Turn | None = None) -> asyncio.Task[TagList]:
        return self._flights.launch(route.asking_key, partial(self._refresh, route, self._now()), turn)

    def _cache(self, route: Route, known: TagList | None) -> Cache:
        if self._flights.is_running(route.asking_key):
            return Cache.JOINED
        return Cache.MISS if known is None else Cache.HIT

    async def _cold(self, route: Route) -> Listed:
        """Nothing is known and nothing held: upstream decides."""
        self._refusals.raise_remembered(route)
        cache = self._cache(route, None)
        try:
            async with self._deadlines.patience(f"the tags of {route.name}"):
                flight = self._launch(route, self._admission.turn("tags", route))
                return _listed(await asyncio.shield(flight), set(), cache)
        except Outcome as error:
            raise self._refusals.remember(route, "", error, Situation.NAME_NOT_KNOWN) from error

    async def _briefly(
        self,
        route: Route,
        flight: asyncio.Task[TagList],
        cache: Cache,
        known: TagList | None,
        held: set[str],
    ) -> Listed:
        """Upstream's word if it comes soon; else what is known."""
        try:
            async with asyncio.timeout(self._deadlines.stale_seconds):
                return _listed(await asyncio.shield(flight), held, cache)
        except (TimeoutError, StorageFailed, Outcome) as error:
            log.warning("tags_from_cache", target=str(route.target), reason=str(error) or "no answer in time")
        return _stale(known, held)

    async def _known(self, route: Route) -> TagList | None:
        """What was listed before, by a source that this route asks; while it is fresh, from memory."""
        remembered, generation = self._remembered(route), self._generation()
        if remembered is not None:
            return remembered
        known = await self._known_to_all(route)
        if known is not None:
            self._remember(route, known, generation)
        return known

    def _remembered(self, route: Route) -> TagList | None:
        known = self._memory.get((*route.cache_key, self._generation()))
        is_his = known is not None and known.source in route.chain and self._is_fresh(route, known)
        return known if is_his else None

    def _remember(self, route: Route, known: TagList, generation: int) -> None:
        if len(known.names) < _REMEMBERED_NAMES:
            self._memory[(*route.cache_key, generation)] = known

    async def _known_to_all(self, route: Route) -> TagList | None:
        lists = await self._catalog.find_tag_list(route.target, route.variant.value)
        mine = [one for one in lists if one.source in route.chain]
        return in_force(mine, route.chain, partial(self._is_fresh, route))

    def _is_fresh(self, route: Route, known: TagList) -> bool:
        return self._standing(route, known) is Standing.FRESH

    def _standing(self, route: Route, known: TagList) -> Standing:
        since = route.anew_since
        return standing(route.policy, known.confirmed_at, self._now(), is_exact=False, since=since)

    async def _refresh(self, route: Route, asked_at: float) -> TagList:
        """The flight. It looks again: another process may have asked since its client looked."""
        known = await self._known(route)
        if known is not None and self._needs_no_asking(route, known, asked_at):
            return known
        try:
            return await self._fetcher.ask(route, partial(self._ask, route))
        except Outcome as error:
            self._pauses.begin(route, "", error)
            raise

    def _needs_no_asking(self, route: Route, known: TagList, asked_at: float) -> bool:
        is_since = asked_at <= known.confirmed_at <= self._now()
        return is_since or self._is_fresh(route, known)

    async def _ask(self, route: Route, source: Source) -> TagList:
        versions = await source.versions(route)
        is_first = versions.failure is not None and await self._known(route) is None
        if versions.failure is not None and not is_first:
            raise versions.failure
        (listed,) = await self._keep(source, [(route, versions)])
        return listed

    async def _keep(self, source: Source, told: Sequence[tuple[Route, Versions]]) -> Sequence[TagList]:
        generation = self._generation()
        lists = await to_thread.run_sync(_read, source.name.value, told)
        await self._catalog.keep_tag_lists(lists)
        for (route, _), one in zip(told, lists, strict=True):
            self._remember(route, one.listed, generation)  # what was known may be fresh, and not the newest
        return [one.listed for one in lists]


def listed_tag(source: str, version: str) -> str:
    """A registry's tags as they are; of the others, whose versions they are, plainly."""
    return version if source == SourceName.REGISTRY else tag_of(version)


def created_times(source: str, versions: Versions) -> Mapping[str, float]:
    """When listed tags were created, as far as their list says; of 1.0.0 and v1.0.0 the first."""
    plain_last = sorted(versions.created.items(), key=lambda one: one[0].startswith("v"), reverse=True)
    return {listed_tag(source, version): seconds for version, seconds in plain_last}


def _read(source: str, told: Sequence[tuple[Route, Versions]]) -> Sequence[NewTagList]:
    lists = []
    for route, versions in told:
        names = _tags(listed_tag(source, version) for version in versions.names)
        listed = TagList(source, tuple(names), versions.confirmed_at)
        created = created_times(source, versions)
        lists.append(NewTagList(route.target, route.variant.value, listed, created))
    return lists


def _offline(route: Route, held: set[str]) -> Listed:
    if not held:
        raise OciError(Situation.NAME_NOT_KNOWN, f"offline, and nothing of {route.name} is held")
    return Listed(_tags(held), Cache.HIT)


def _listed(known: TagList, held: set[str], cache: Cache) -> Listed:
    """The known names are sorted: most often what is held is among them, and nothing has to be made."""
    missing = [tag for tag in held if not _has(known.names, tag) and is_tag(tag)]
    tags = sorted((*known.names, *missing)) if missing else list(known.names)
    return Listed(tags, cache, known.source, known.confirmed_at)


def _has(names: Sequence[str], tag: str) -> bool:
    place = bisect_left(names, tag)
    return place < len(names) and names[place] == tag


def _stale(known: TagList | None, held: set[str]) -> Listed:
    return Listed(_tags(held), Cache.STALE) if known is None else _listed(known, held, Cache.STALE)


def _tags(names: Iterable[str]) -> Sequence[str]:
    return sorted({name for name in names if is_tag(name)})
