"""How old versions are: a name with a ``min_age`` hides those that are younger, and not held."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import Final, TypeAlias

import structlog
from anyio import to_thread
from cachetools import LRUCache

from gateway.fetch import Fetcher
from gateway.flights import Flights
from gateway.helm.version import resolve, tag_of
from gateway.homes import home_name
from gateway.oci.errors import OciError, Situation
from gateway.oci.outcomes import Outcome
from gateway.parts import Parts
from gateway.pulled import Listed
from gateway.rules.freshness import counts
from gateway.rules.model import SourceName
from gateway.rules.route import PLAIN, Route, Routing
from gateway.rules.visibility import digest_of_fallback_tag
from gateway.sources.base import Source
from gateway.store.rows import TagRow
from gateway.tag_lists import TagLists, created_times, listed_tag
from gateway.waiting import Refusals, Span

log = structlog.get_logger(__name__)

_REMEMBERED_TAGS: Final = 10_000
_REMEMBERED_TIMES: Final = 300_000  # of all lists together
LAST_SECOND: Final = 253_402_300_799.0  # of the year 9999: beyond, nothing can be told
_UNLISTED: Final = (Situation.NAME_NOT_KNOWN, Situation.DENIED)
_OUTAGES: Final = (Situation.SOURCES_DOWN, Situation.RATE_LIMITED)
_NOTHING: Final[frozenset[str]] = frozenset()

_ListKey: TypeAlias = tuple[tuple[str, str], tuple[SourceName, ...]]  # what is cached, and who is asked
_TagKey: TypeAlias = tuple[tuple[str, str], tuple[SourceName, ...], str]


@dataclass(frozen=True, slots=True)
class Judged:
    """A list without what is hidden, and what of it is too young, here and at the targets before.

    ``young`` is spelled plainly, as ``tag_of`` does.
    """

    listed: Listed
    young: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Found:
    """What a source says of a tag: its own spelling, when it was created; and when it said so."""

    source: SourceName
    version: str
    created_at: float | None
    learnt_at: float


@dataclass(frozen=True, slots=True)
class _Times:
    """Since when tags are known, as it stood with the list of this source and time."""

    source: str | None
    confirmed_at: float | None
    since: Mapping[str, float]


class Ages:
    """Judged on reading, by the policy of the name that was asked for; what is learnt holds for all names.

    A version is as old as upstream says: in its index, else in the manifest, also where that is a time to
    come. Where upstream does not say, it counts from when a list of tags first had it here.
    """

    def __init__(self, parts: Parts, fetcher: Fetcher, tag_lists: TagLists) -> None:
        self._fetcher = fetcher
        self._tag_lists = tag_lists
        self._catalog = parts.catalog
        self._memory = parts.memory
        self._now = parts.now
        self._deadlines = parts.deadlines
        self._admission = parts.admission
        self._asks_nobody = parts.asks_nobody
        self._flights: Flights[_Found] = Flights()
        self._index_flights: Flights[Mapping[str, float]] = Flights()
        self._refusals = Refusals(parts.now, parts.memory.generation)
        self._found: LRUCache[_TagKey, _Found] = LRUCache(_REMEMBERED_TAGS)
        self._times: LRUCache[_ListKey, _Times] = LRUCache(
            _REMEMBERED_TIMES, getsizeof=lambda times: len(times.since) + 1
        )

    async def require_old_enough(self, route: Route, tag: str) -> None:
        """Raise OciError HIDDEN for what is too young, or of an age that nobody knows yet.

        What a pull would be told of a tag that is not there, or cannot be asked for, is told here already.
        """
        if not self._judges(route) or await self._is_held(route, tag):
            return
        asked = route.as_upstream
        try:
            async with self._deadlines.patience(f"{route.name}:{tag}"):
                found = await self._find(asked, tag)
                since = await self._since(asked, found)
        except OciError as error:
            if error.situation in _OUTAGES and await self._has_other_spelling(route, tag):
                return
            raise
        limit_seconds = route.policy.visibility.min_age_seconds
        if since is not None and since <= self._now() - limit_seconds:
            return
        if not await self._is_version_held(route, found):
            raise OciError(Situation.HIDDEN, _told(route, tag, since))

    async def judge(self, routing: Routing, route: Route, listed: Listed, before: frozenset[str]) -> Judged:
        """Leave out of a target's list what is hidden.

        That is what is too young here; and what is so at a target ``before``, where a pull of it would end.
        """
        young = await self._young(route, listed) if self._judges(route) else _NOTHING
        hidden = young | await self._ends_before(routing, route, listed, before) if before else young
        if not hidden:
            return Judged(listed, before)
        tags = await to_thread.run_sync(_without, listed.tags, hidden)
        return Judged(replace(listed, tags=tags), before | set(map(tag_of, young)))

    async def drain(self) -> None:
        await self._flights.drain()
        await self._index_flights.drain()

    def _judges(self, route: Route) -> bool:
        """Not offline: what is there then is held."""
        return route.policy.visibility.min_age_seconds > 0 and not self._asks_nobody(route)

    async def _find(self, route: Route, tag: str) -> _Found:
        """What upstream says of a tag; asked once for all clients, and remembered for ``missing_for``."""
        key = (route.cache_key, route.chain, tag)
        known = self._found.get(key)
        lasts_seconds = route.policy.missing_for_seconds
        if known is not None and Span(known.learnt_at, lasts_seconds).holds(self._now()):
            return known
        self._refusals.raise_remembered(route, tag)
        try:
            turn = self._admission.turn("age", route, tag)
            return await self._flights.join(key, partial(self._ask, key, route, tag), turn)
        except Outcome as error:
            raise self._refusals.remember(route, tag, error, Situation.MANIFEST_NOT_KNOWN) from error

    async def _ask(self, key: _TagKey, route: Route, tag: str) -> _Found:
        """The flight: what it learns is known before it ends, so that nobody asks between the two."""
        found = await self._fetcher.ask(route, partial(self._ask_at, route, tag))
        self._found[key] = found
        return found

    async def _ask_at(self, route: Route, tag: str, source: Source) -> _Found:
        found = await source.find(route, tag)
        return _Found(source.name, found.version or tag, await found.created_at(), self._now())

    async def _since(self, route: Route, found: _Found) -> float | None:
        """When it was created, else since when it is listed; None where neither is known."""
        if found.created_at is not None:
            return found.created_at
        try:
            listed = await self._tag_lists.list(route)
        except OciError as error:
            if error.situation not in _UNLISTED:
                raise
            return None
        times = await self._times_with(route, listed)
        return times.get(listed_tag(found.source, found.version))

    async def _young(self, route: Route, listed: Listed) -> frozenset[str]:
        times = await self._times_with(route, listed)
        until = self._now() - route.policy.visibility.min_age_seconds
        young = await to_thread.run_sync(_since_later, listed.tags, times, until)
        return young - await self._held(route) if young else young

    async def _times_with(self, route: Route, listed: Listed) -> Mapping[str, float]:
        """Since when what is listed is known: read anew with each new list."""
        key = (route.cache_key, route.chain)
        times = self._times.get(key)
        if times is not None and (times.source, times.confirmed_at) == (listed.source, listed.confirmed_at):
            return times.since
        since: Mapping[str, float] = await self._catalog.find_tag_times(route.target)
        if listed.source == SourceName.CHARTPROXY and SourceName.HELM in route.chain:
            try:
                since = {**since, **await self._indexed(route)}
            except (Outcome, TimeoutError) as error:
                log.warning("ages_without_index", target=str(route.target), reason=str(error) or "no answer")
                return since
        if len(since) < _REMEMBERED_TIMES:
            self._times[key] = _Times(listed.source, listed.confirmed_at, since)
        return since

    async def _indexed(self, route: Route) -> Mapping[str, float]:
        """When versions were created by the index, which a chart proxy's list does not tell."""
        async with asyncio.timeout(self._deadlines.stale_seconds):
            return await self._index_flights.join(route.cache_key, partial(self._ask_index, route))

    async def _ask_index(self, route: Route) -> Mapping[str, float]:
        source = self._fetcher.chain(route, SourceName.HELM)[0]
        return created_times(source.name, await source.versions(route))

    async def _ends_before(
        self, routing: Routing, route: Route, listed: Listed, before: frozenset[str]
    ) -> frozenset[str]:
        """What is too young at a target before this one, and has not its home here."""
        young = frozenset(tag for tag in listed.tags if tag_of(tag) in before)
        if not young:
            return young
        homes = await self._catalog.find_tag_targets(home_name(routing))
        return frozenset(tag for tag in young if homes.get(tag) != route.target)

    async def _is_held(self, route: Route, tag: str) -> bool:
        for key in _cache_keys(route):
            remembered = self._memory.find_tag((*key, tag))
            if remembered is not None and counts(remembered.row, route.chain):
                return True
            rows = await self._catalog.find_tags(route.target, key[1], tag)
            if any(counts(row, route.chain) for row in rows):
                return True
        return False

    async def _is_version_held(self, route: Route, found: _Found) -> bool:
        """Under another spelling: then a pull serves that, whatever upstream has by now."""
        rows = await self._rows(route, found.version)
        return any(row.is_exact and row.source == found.source for row in rows)

    async def _has_other_spelling(self, route: Route, tag: str) -> bool:
        """Whether a pull has something to serve while upstream is away."""
        exact = [row.version for row in await self._rows(route) if row.is_exact]
        return resolve(tag, exact) is not None

    async def _held(self, route: Route) -> frozenset[str]:
        """What is held, as it is listed, and as it was asked for."""
        rows = await self._rows(route)
        return frozenset(
            spelling for row in rows for spelling in (row.tag, listed_tag(row.source, row.version))
        )

    async def _rows(self, route: Route, version: str | None = None) -> list[TagRow]:
        """The tags held, or those of one version, as far as they count for the route."""
        found: list[TagRow] = []
        for _, variant in _cache_keys(route):
            rows = await self._catalog.find_versions(route.target, variant, version)
            found += [row for row in rows if counts(row, route.chain)]
        return found


def _cache_keys(route: Route) -> Sequence[tuple[str, str]]:
    """In which variants a version is held for this route."""
    mine = route.cache_key
    return (mine, (mine[0], PLAIN.value)) if route.rewrites_dependencies else (mine,)


def _since_later(tags: Sequence[str], since: Mapping[str, float], until: float) -> frozenset[str]:
    """Which tags are known only since after ``until``, or not at all; fallback tags go with their digest."""
    later = (tag for tag in tags if since.get(tag, inf) > until)
    return frozenset(tag for tag in later if digest_of_fallback_tag(tag) is None)


def _without(tags: Sequence[str], hidden: frozenset[str]) -> Sequence[str]:
    return [tag for tag in tags if tag not in hidden]


def _told(route: Route, tag: str, since: float | None) -> str:
    limit_seconds = route.policy.visibility.min_age_seconds
    hidden = f"{route.name}:{tag} is hidden by min_age of {limit_seconds:g} s"
    if since is None:
        return f"{hidden}: upstream does not say how old it is; that counts from when it is first listed here"
    shown_from = datetime.fromtimestamp(min(since + limit_seconds, LAST_SECOND), UTC)
    return f"{hidden}: it is shown from {shown_from.isoformat(timespec='seconds')}"
