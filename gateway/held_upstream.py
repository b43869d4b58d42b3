"""Whether what is held could be had again: asked of upstream before it is evicted, as a pull would ask."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

import structlog
from anyio import to_thread
from cachetools import LRUCache, TTLCache

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.outcomes import MissingName, Outcome, Unavailable, UnknownHost
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.rules.model import RuleSet, SourceName
from gateway.rules.route import Route, Wanted, route
from gateway.sources.base import Source
from gateway.store.blobs import BlobStore
from gateway.store.catalog import Catalog
from gateway.store.rows import TagRow
from gateway.taken import chart_layer

log = structlog.get_logger(__name__)

_PATIENCE_SECONDS: Final = 15.0
_FAILURES: Final = 3  # in a row; after one, who fails now and then would keep the cache from being cleared
_MOST_OWNERS: Final = 50  # what so many share is in use somewhere
_MOST_HOSTS: Final = 100
_REMEMBERED: Final = 50_000
_REFUSED_SECONDS: Final = 6 * 3600.0
_DEPENDENCIES: Final = "@"  # in the variant of what was made here, see rules.route

_Place: TypeAlias = tuple[SourceName, str]


@dataclass(frozen=True, slots=True)
class _Held:
    """A layer at a target that has a right to it, as a route leads there, and the tags that name it."""

    digest: Digest
    route: Route
    rows: Sequence[TagRow]


class HeldUpstream:
    """Asks for as long as a process runs: a definite «no» is remembered for hours, an outage for one run."""

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        sources: Mapping[SourceName, Source],
        rule_set: Callable[[], RuleSet],
        is_still_there: Callable[[Route, str], Awaitable[bool]],
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._sources = sources
        self._rule_set = rule_set
        self._is_still_there = is_still_there
        self._refused: TTLCache[tuple[Target, Digest], None] = TTLCache(_REMEMBERED, _REFUSED_SECONDS)
        self._routes: LRUCache[Target, Sequence[Route]] = LRUCache(_REMEMBERED)
        self._given_up: set[_Place] = set()
        self._failures: Counter[_Place] = Counter()

    def begin(self) -> None:
        """Begin a run: rules may be others by now, and who was down may be back."""
        self._routes.clear()
        self._given_up.clear()
        self._failures.clear()

    async def has(self, layer: Digest) -> bool:
        """Whether every target that has the right to a layer could fetch it again. Raises no outcome."""
        owners = await self._catalog.find_owners(layer)
        if len(owners) > _MOST_OWNERS:
            return False
        for owner in sorted(owners):
            if not await self._is_had_at(owner, layer):
                return False
        return True

    async def _is_had_at(self, target: Target, layer: Digest) -> bool:
        if (target, layer) in self._refused:
            return False
        rows = await self._catalog.find_tags_naming(target, layer)
        answers: set[bool | None] = set()
        for led in await self._leading_to(target):
            held = _Held(layer, led.as_upstream, rows)
            if await self._could_be_made(held):
                return True
            answers |= {await self._ask(source, held) for source in self._asked(held.route)}
            if True in answers:
                return True
        if None not in answers:
            self._refused[target, layer] = None
        return False

    async def _could_be_made(self, held: _Held) -> bool:
        """Whether it is of a chart that was made here, of one that is here, or could be fetched."""
        for row in held.rows:
            if _DEPENDENCIES in row.variant and row.upstream_digest is not None:
                plain = await self._catalog.find_manifest(row.target, row.upstream_digest)
                archive = None if plain is None else chart_layer(plain)
                if archive is not None and archive != held.digest:
                    is_had = await self._is_had_at(row.target, archive)
                    return is_had or await self._blobs.size(archive) is not None
        return False

    def _asked(self, asked: Route) -> list[Source]:
        return [self._sources[name] for name in asked.chain if name in self._sources]

    async def _ask(self, source: Source, held: _Held) -> bool | None:
        """None where nobody can say just now: such a place is soon left alone for the rest of the run."""
        places = _places(source, held.route)
        if not self._given_up.isdisjoint(places):
            return None
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                is_offered = await self._offers(source, held)
        except MissingName as error:
            self._given_up.add(places[0] if isinstance(error, UnknownHost) else places[1])
            return None if isinstance(error, UnknownHost) else False
        except (Unavailable, TimeoutError) as error:
            self._failures[places[0]] += 1
            if isinstance(error, TimeoutError) or self._failures[places[0]] >= _FAILURES:
                log.info("not_evicted_from", place=places[0][1], reason=str(error) or "no answer in time")
                self._given_up.add(places[0])
            return None
        except Outcome:
            is_offered = False
        self._failures[places[0]] = 0
        return is_offered

    async def _offers(self, source: Source, held: _Held) -> bool:
        """As the archive of its tag in the index; else as a blob, where what names it came from there."""
        if source.name is SourceName.HELM:
            row = next((row for row in held.rows if row.variant == held.route.variant.value), None)
            return row is not None and await self._lists(source, held, row)
        named = await self._catalog.find_named(held.route.target, held.digest)
        given = next((one for one in named if one.source == source.name.value), None)
        return given is not None and await source.has_blob(held.route, given.descriptor)

    async def _lists(self, source: Source, held: _Held, row: TagRow) -> bool:
        """An index may go on naming what is gone: so the archive is asked for too, where it came from."""
        found = await source.find(held.route, row.tag)
        if found.failure is not None:  # it speaks from memory
            raise found.failure
        return found.upstream_digest == held.digest and await self._is_still_there(held.route, row.origin)

    async def _leading_to(self, target: Target) -> Sequence[Route]:
        """The ways to a target that differ in what is asked of whom, under any name that led there."""
        known = self._routes.get(target)
        if known is None:
            names = [*await self._catalog.names_at(target), str(target)]
            known = await to_thread.run_sync(_routes, self._rule_set(), names, target)
            self._routes[target] = known
        return known


def _places(source: Source, asked: Route) -> tuple[_Place, _Place]:
    """Whom an outage is of, and whom an absence."""
    host = asked.target.host
    if source.name is SourceName.CHARTPROXY and asked.chartproxy is not None:
        host = asked.chartproxy
    return (source.name, host), (source.name, str(asked.target))


def _routes(rule_set: RuleSet, names: Sequence[str], target: Target) -> Sequence[Route]:
    """Those that lead to the target, each way once; under hosts that rules spell out where none does else.

    Under which host a client asked is not kept.
    """
    looks = (rule.look.host for rule in rule_set.rules)
    spelt = (look.text for look in looks if look is not None and look.is_glob and not look.captures)
    hosts = sorted(set(islice(spelt, _MOST_HOSTS)))
    found = [*_under(rule_set, [""], names, target)] or _under(rule_set, hosts, names, target)
    return tuple({one.asking_key: one for one in found}.values())


def _under(rule_set: RuleSet, hosts: Sequence[str], names: Sequence[str], target: Target) -> Iterator[Route]:
    for host in hosts:
        for name in names:
            try:
                routing = route(rule_set, Wanted(Repository.parse(name), host))
            except OciError:
                continue
            yield from (one for one in routing.routes if one.target == target)
