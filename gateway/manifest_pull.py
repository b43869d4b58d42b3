"""Manifests for clients, of one target: by tag under the clock's rules, by digest for good."""

import asyncio
from functools import partial

import structlog
from cachetools import LRUCache

from gateway.fetch import Fetcher
from gateway.flights import Flights, Turn
from gateway.helm.version import resolve
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.manifest import Manifest
from gateway.oci.outcomes import Outcome, Unavailable, is_deletion
from gateway.parts import Parts
from gateway.pulled import Cache, Pulled
from gateway.rules.freshness import Standing, counts
from gateway.rules.model import Deleted
from gateway.rules.route import Route
from gateway.search import Search
from gateway.store.blobs import StorageFailed
from gateway.store.memory import HeldManifest
from gateway.waiting import Pauses, Refusals

log = structlog.get_logger(__name__)

_LATE_PLACES = 10_000


class ManifestPuller:
    """Raises OciErrors."""

    def __init__(self, parts: Parts, fetcher: Fetcher) -> None:
        self._catalog = parts.catalog
        self._memory = parts.memory
        self._asks_nobody = parts.asks_nobody
        self._deadlines = parts.deadlines
        self._now = parts.now
        self._admission = parts.admission
        self._fetcher = fetcher
        self._search = Search(fetcher, parts.catalog, parts.now, parts.memory.generation)
        self._pulls: Flights[HeldManifest] = Flights("manifest", parts.locks)
        self._searches: Flights[None] = Flights("digest", parts.locks)
        self._refusals = Refusals(parts.now, parts.memory.generation)
        self._pauses = Pauses(parts.now)
        self._late: LRUCache[str, bool] = LRUCache(_LATE_PLACES)

    async def drain(self) -> None:
        """End what still runs."""
        for running in (self._pulls, self._searches, self._search):
            await running.drain()

    async def by_tag(self, route: Route, tag: str) -> Pulled:
        key = _key(route, tag)
        remembered = self._memory.find_tag(key)
        if remembered is not None and self._serves_at_once(route, remembered):
            return _pulled(remembered, Cache.HIT)
        generation = self._memory.generation()
        try:
            held = await self._held_tag(route, tag)
        except StorageFailed as error:
            if remembered is None or not self._may_serve_stale(route, remembered):
                raise
            _tell_stale(route, tag, error)
            return _pulled(remembered, Cache.STALE)
        if held is not None and (self._asks_nobody(route) or self._serves_at_once(route, held)):
            self._memory.keep_tag(key, held, generation)
            return _pulled(held, Cache.HIT)
        if self._asks_nobody(route):
            raise OciError(Situation.NOT_HELD_OFFLINE, f"offline, and {route.name}:{tag} is not held")
        if held is None or self._fetcher.standing(route, held.row) is Standing.EXPIRED:
            return await self._cold(route, tag, Cache.MISS if held is None else Cache.HIT)
        return await self._confirmed_or_stale(route, tag, held)

    async def refreshed(self, route: Route, tag: str) -> HeldManifest:
        """What upstream has, asked for whatever is held; ``route`` says since when its word counts."""
        if self._asks_nobody(route):
            raise OciError(Situation.NOT_HELD_OFFLINE, f"offline: nobody is asked for {route.name}:{tag}")
        try:
            async with self._deadlines.patience(f"{route.name}:{tag}"):
                held = await asyncio.shield(self._launch(route, tag))
                if held.row.confirmed_at < (route.anew_since or 0.0):  # by a flight that had asked before
                    held = await asyncio.shield(self._launch(route, tag))
                return held
        except Outcome as error:
            raise self._refusals.remember(route, tag, error, Situation.MANIFEST_NOT_KNOWN) from error

    def _serves_at_once(self, route: Route, held: HeldManifest) -> bool:
        """Fresh, and from a source that this route would ask, or imported."""
        return counts(held.row, route.chain) and self._fetcher.standing(route, held.row) is Standing.FRESH

    def _may_serve_stale(self, route: Route, held: HeldManifest) -> bool:
        return (
            counts(held.row, route.chain) and self._fetcher.standing(route, held.row) is not Standing.EXPIRED
        )

    async def _held_tag(self, route: Route, tag: str) -> HeldManifest | None:
        """What is held under this very tag; offline from any source, and also under other spellings."""
        held = await self._fetcher.held(route, tag, of_any_source=self._asks_nobody(route))
        return await self._other_spelling(route, tag) if held is None and self._asks_nobody(route) else held

    async def _other_spelling(self, route: Route, tag: str) -> HeldManifest | None:
        """The exact version that this tag means, held under another spelling of it."""
        rows = await self._catalog.find_versions(route.target, route.variant.value)
        exact = [row for row in rows if row.is_exact]
        position = resolve(tag, [row.version for row in exact])
        if position is None:
            return None
        return await self._fetcher.held(route, exact[position].tag, of_any_source=self._asks_nobody(route))

    async def _cold(self, route: Route, tag: str, cache: Cache) -> Pulled:
        """Nothing is held that may be served: upstream decides."""
        self._refusals.raise_remembered(route, tag)
        if self._pulls.is_running(_flight_key(route, tag)):
            cache = Cache.JOINED
        turn = self._admission.turn("manifest", route, tag)
        try:
            async with self._deadlines.patience(f"{route.name}:{tag}"):
                return _pulled(await asyncio.shield(self._launch(route, tag, turn)), cache)
        except Outcome as error:
            held = await self._other_spelling(route, tag) if isinstance(error, Unavailable) else None
            if held is None:
                raise self._refusals.remember(route, tag, error, Situation.MANIFEST_NOT_KNOWN) from error
            _tell_stale(route, tag, error)
            return _pulled(held, Cache.STALE)

    def _launch(self, route: Route, tag: str, turn: Turn | None = None) -> asyncio.Task[HeldManifest]:
        refresh = partial(self._refresh, route, tag, self._now())
        return self._pulls.launch(_flight_key(route, tag), refresh, turn)

    async def _refresh(self, route: Route, tag: str, asked_at: float) -> HeldManifest:
        try:
            fetched = await self._fetcher.refresh(route, tag, asked_at)
        except Outcome as error:
            self._pauses.begin(route, tag, error)
            raise
        self._late.pop(route.target.place, None)
        return fetched

    async def _confirmed_or_stale(self, route: Route, tag: str, held: HeldManifest) -> Pulled:
        """Upstream is waited for where that may help; what is held is served whatever goes wrong."""
        if self._pauses.is_on(route, tag):
            return _pulled(held, Cache.STALE)
        age_seconds = self._pulls.age_seconds(_flight_key(route, tag))
        flight = self._launch(route, tag)
        is_late = age_seconds is not None and age_seconds >= self._deadlines.stale_seconds
        if is_late or self._need_not_wait(route, held):
            return _pulled(held, Cache.STALE)
        cache = Cache.HIT if age_seconds is None else Cache.JOINED
        try:
            async with asyncio.timeout(self._deadlines.stale_seconds):
                return _pulled(await asyncio.shield(flight), cache)
        except Exception as error:
            self._late[route.target.place] = isinstance(error, TimeoutError)
            if isinstance(error, Outcome):  # also one that another process met
                self._pauses.begin(route, tag, error)
            self._raise_deletion(route, tag, error)
            _tell_stale(route, tag, error)
        return _pulled(held, Cache.STALE)

    def _need_not_wait(self, route: Route, held: HeldManifest) -> bool:
        """Little past fresh, or from where somebody waited in vain just now: asked behind."""
        is_little_past = self._fetcher.standing(route, held.row) is Standing.JUST_STALE
        if is_little_past or self._late.get(route.target.place, False):
            return True
        return self._fetcher.is_troubled(route, held.row.source)

    def _raise_deletion(self, route: Route, tag: str, error: Exception) -> None:
        if is_deletion(error) and route.policy.deleted is Deleted.DROP:
            raise self._refusals.remember(route, tag, error, Situation.MANIFEST_NOT_KNOWN) from error

    async def by_digest(self, route: Route, digest: Digest) -> Pulled:
        manifest = await self.held(route, digest)
        if manifest is not None:
            return Pulled(manifest, Cache.HIT, target=route.target)
        if self._asks_nobody(route):
            raise OciError(Situation.MANIFEST_NOT_KNOWN, f"offline, and {route.name}@{digest} is not held")
        self._refusals.raise_remembered(route, str(digest))
        key = _flight_key(route, str(digest))
        cache = Cache.JOINED if self._searches.is_running(key) else Cache.MISS
        search = partial(self._search.find, route, digest)
        turn = self._admission.turn("digest", route, str(digest))
        try:
            async with self._deadlines.patience(f"{route.name}@{digest}"):
                await self._searches.join(key, search, turn)
        except Outcome as error:
            raise self._refusals.remember(route, str(digest), error, Situation.MANIFEST_NOT_KNOWN) from error
        manifest = await self.held(route, digest)
        if manifest is None:
            raise OciError(
                Situation.MANIFEST_NOT_KNOWN, f"{route.name}@{digest} is gone again: ask once more"
            )
        source = await self._catalog.find_manifest_source(route.target, digest)
        return Pulled(manifest, cache, source, target=route.target)

    async def held(self, route: Route, digest: Digest) -> Manifest | None:
        generation = self._memory.generation()
        manifest = self._memory.find_manifest(route.target, digest)
        if manifest is None:
            manifest = await self._catalog.find_manifest(route.target, digest)
            if manifest is not None:
                self._memory.keep_manifest(route.target, manifest, generation)
        return manifest


def _key(route: Route, reference: str) -> tuple[str, str, str]:
    return (*route.cache_key, reference)


def _flight_key(route: Route, reference: str) -> tuple[str, ...]:
    """Only who would ask the same may join."""
    return (*route.asking_key, reference)


def _pulled(held: HeldManifest, cache: Cache) -> Pulled:
    return Pulled(held.manifest, cache, held.row.source, held.row.confirmed_at, held.row.target)


def _tell_stale(route: Route, tag: str, error: Exception) -> None:
    told = {"target": str(route.target), "tag": tag}
    if isinstance(error, TimeoutError | Outcome | StorageFailed):
        log.warning("served_stale", reason=str(error) or "no answer in time", **told)
    else:
        log.error("served_stale", exc_info=error, **told)
