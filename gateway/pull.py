"""The use case: a name and a reference become content, from what is held or from upstream."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Final

import structlog
from cachetools import LRUCache

from gateway.fetch import Fetcher
from gateway.flights import Flights
from gateway.helm.version import resolve, tag_of
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.manifest import Manifest
from gateway.oci.outcomes import Missing, Outcome
from gateway.oci.reference import Reference, is_tag
from gateway.oci.repository import Repository
from gateway.refusals import refusal, unavailable
from gateway.rules.route import Route
from gateway.sources.base import COLD_SECONDS, STALE_SECONDS, Source
from gateway.store.blobs import BlobStore, OpenBlob, StorageFailed
from gateway.store.catalog import Catalog
from gateway.store.memory import HeldManifest, Memory
from gateway.store.rows import TagRow

log = structlog.get_logger(__name__)

SEARCHED_VERSIONS: Final = 25
_REMEMBERED_MISSES: Final = 10_000


class Cache(StrEnum):
    """Where an answer came from."""

    HIT = "hit"
    MISS = "miss"
    STALE = "stale"
    JOINED = "joined"


@dataclass(frozen=True, slots=True)
class Pulled:
    """A manifest for a client.

    ``source`` and ``confirmed_at`` (when upstream last stood by the tag, seconds since the epoch) are None
    for what was asked by digest: a digest needs nobody to stand by it.
    """

    manifest: Manifest
    cache: Cache
    source: str | None = None
    confirmed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a client waits: with a stale copy at hand, and without."""

    stale_seconds: float = STALE_SECONDS
    cold_seconds: float = COLD_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a pull needs; ``now`` gives seconds since the epoch."""

    route_of: Callable[[Repository], Route]
    admit: Callable[[Route], None]
    source: Source
    catalog: Catalog
    blobs: BlobStore
    memory: Memory
    now: Callable[[], float]
    is_offline: bool = False
    deadlines: Deadlines = Deadlines()


class Puller:
    """Decides what is served. What it raises to its callers are OciErrors."""

    def __init__(self, parts: Parts) -> None:
        self._route_of = parts.route_of
        self._admit = parts.admit
        self._source = parts.source
        self._fetcher = Fetcher(parts.source, parts.catalog, parts.now)
        self._catalog = parts.catalog
        self._blobs = parts.blobs
        self._memory = parts.memory
        self._now = parts.now
        self._is_offline = parts.is_offline
        self._deadlines = parts.deadlines
        self._pulls: Flights[HeldManifest] = Flights()
        self._searches: Flights[None] = Flights()
        self._heals: Flights[None] = Flights()
        self._misses: LRUCache[Hashable, tuple[OciError, float]] = LRUCache(_REMEMBERED_MISSES)

    def route(self, name: Repository) -> Route:
        """Return where a name leads, if whoever asks may go there; else raise OciError."""
        route = self._route_of(name)
        self._admit(route)
        return route

    async def manifest(self, name: Repository, reference: Reference) -> Pulled:
        """Return a manifest by tag or digest, fetched and kept first where it is not held."""
        route = self.route(name)
        if isinstance(reference, Digest):
            return await self._manifest_by_digest(route, reference)
        return await self._manifest_by_tag(route, reference.name)

    async def blob(self, name: Repository, digest: Digest) -> OpenBlob:
        """Return a blob, open for reading; the caller closes it."""
        route = self.route(name)
        size_bytes = await self._require_right(route, digest)
        opened = await self._open(digest, size_bytes)
        if opened is not None:
            return opened
        log.warning("blob_vanished", target=str(route.target), digest=str(digest))
        await self._heal(route, digest)
        opened = await self._open(digest, size_bytes)
        if opened is None:
            raise OciError(Situation.BLOB_NOT_KNOWN, f"{name} has lost its blob {digest}")
        return opened

    async def describe_blob(self, name: Repository, digest: Digest) -> Descriptor:
        """What a manifest of this repository says of a blob; nobody is dialled."""
        route = self.route(name)
        descriptor = await self._catalog.find_edge(route.target, digest)
        if descriptor is None:
            raise _no_blob(route, digest)
        return descriptor

    async def tags(self, name: Repository) -> list[str]:
        """Return the tags upstream has, joined with those held; only the held ones while upstream is away."""
        route = self.route(name)
        held = await self._catalog.tags_of(route.target)
        upstream: set[str] = set()
        if not self._is_offline:
            try:
                upstream = set(await self._source.versions(route))
            except Outcome as error:
                if not held:
                    raise refusal(error, self._source.name, Situation.NAME_NOT_KNOWN) from error
                log.warning("tags_from_cache", target=str(route.target), reason=error.message)
        if not held and not upstream and self._is_offline:
            raise OciError(Situation.NAME_NOT_KNOWN, f"offline, and nothing of {name} is held")
        return sorted({tag for version in held | upstream if is_tag(tag := tag_of(version))})

    async def repositories(self) -> list[str]:
        """Return the names clients asked for, as far as they still lead to something held."""
        names = {
            name for name, target in await self._catalog.names() if self._still_leads_to(name, str(target))
        }
        return sorted(names)

    async def referrers(self, name: Repository, digest: Digest) -> list[Descriptor]:
        """Return descriptors of what is held and refers to ``digest``."""
        return await self._catalog.find_referrers(self.route(name).target, digest)

    async def drain(self) -> None:
        """End what still runs."""
        for flights in (self._pulls, self._searches, self._heals):
            await flights.drain()

    async def _manifest_by_tag(self, route: Route, tag: str) -> Pulled:
        key = (str(route.target), route.variant.value, tag)
        held = self._memory.find_tag(key)
        if held is not None and self._is_fresh(held.row, route):
            return _pulled(held, Cache.HIT)
        generation = self._memory.generation()
        held = await self._held_tag(route, tag)
        if held is not None and (self._is_offline or self._is_fresh(held.row, route)):
            self._memory.keep_tag(key, held, generation)
            return _pulled(held, Cache.HIT)
        if self._is_offline:
            raise OciError(Situation.MANIFEST_NOT_KNOWN, f"offline, and {route.name}:{tag} is not held")
        return await self._ask_upstream(route, tag, held)

    async def _held_tag(self, route: Route, tag: str) -> HeldManifest | None:
        """What is held under this very tag; offline also under the tag's other spellings."""
        row = await self._catalog.find_tag(route.target, route.variant.value, tag)
        if row is None and self._is_offline:
            rows = await self._catalog.find_versions(route.target, route.variant.value)
            position = resolve(tag, [held.version for held in rows])
            row = None if position is None else rows[position]
        if row is None:
            return None
        manifest = await self._catalog.find_manifest(route.target, row.digest)
        return None if manifest is None else HeldManifest(manifest, row)

    def _is_fresh(self, row: TagRow, route: Route) -> bool:
        return route.policy.is_fresh(row.confirmed_at, self._now(), is_exact=row.is_exact)

    async def _ask_upstream(self, route: Route, tag: str, held: HeldManifest | None) -> Pulled:
        key = (route.target, route.variant, tag)
        if held is None:
            self._raise_remembered(key)
        cache = Cache.JOINED if self._pulls.is_running(key) else Cache.MISS if held is None else Cache.HIT
        flight = self._pulls.launch(key, partial(self._fetcher.refresh, route, tag, held))
        if held is not None:
            return await self._confirmed_or_stale(flight, held, cache)
        try:
            async with self._patience(f"{route.name}:{tag}"):
                return _pulled(await asyncio.shield(flight), cache)
        except Outcome as error:
            raise self._remember(key, route, error, Situation.MANIFEST_NOT_KNOWN) from error

    async def _confirmed_or_stale(
        self, flight: asyncio.Task[HeldManifest], held: HeldManifest, cache: Cache
    ) -> Pulled:
        """What is held is served whatever goes wrong, be it with us."""
        told = {"target": str(held.row.target), "tag": held.row.tag}
        try:
            async with asyncio.timeout(self._deadlines.stale_seconds):
                return _pulled(await asyncio.shield(flight), cache)
        except (TimeoutError, Outcome, StorageFailed) as error:
            log.warning("served_stale", reason=str(error) or "no answer in time", **told)
        except Exception:
            log.exception("served_stale", **told)
        return _pulled(held, Cache.STALE)

    @asynccontextmanager
    async def _patience(self, what: str) -> AsyncIterator[None]:
        """Bound the wait of a client for whom nothing is held."""
        try:
            async with asyncio.timeout(self._deadlines.cold_seconds):
                yield
        except TimeoutError as error:
            raise unavailable(f"{what} is still being fetched: ask again") from error
        except StorageFailed as error:
            raise unavailable(f"{what} cannot be kept: {error}") from error

    async def _manifest_by_digest(self, route: Route, digest: Digest) -> Pulled:
        manifest = await self._held_digest(route, digest)
        if manifest is not None:
            return Pulled(manifest, Cache.HIT)
        if self._is_offline:
            raise OciError(Situation.MANIFEST_NOT_KNOWN, f"offline, and {route.name}@{digest} is not held")
        key = (route.target, route.variant)  # a search that found nothing speaks for every unknown digest
        self._raise_remembered(key)
        try:
            async with self._patience(f"{route.name}@{digest}"):
                return Pulled(await self._search(route, digest), Cache.MISS, self._source.name)
        except Outcome as error:
            raise self._remember(key, route, error, Situation.MANIFEST_NOT_KNOWN) from error

    async def _held_digest(self, route: Route, digest: Digest) -> Manifest | None:
        generation = self._memory.generation()
        manifest = self._memory.find_manifest(route.target, digest)
        if manifest is None:
            manifest = await self._catalog.find_manifest(route.target, digest)
            if manifest is not None:
                self._memory.keep_manifest(route.target, manifest, generation)
        return manifest

    async def _search(self, route: Route, digest: Digest) -> Manifest:
        """Look for a digest among the newest versions, with one search at a time for each target."""
        key = (route.target, route.variant)
        while True:
            was_running = self._searches.is_running(key)
            await self._searches.join(
                key, partial(self._fetcher.fetch_newest, route, digest, SEARCHED_VERSIONS)
            )
            manifest = await self._held_digest(route, digest)
            if manifest is not None:
                return manifest
            if not was_running:
                raise Missing(
                    f"none of the newest {SEARCHED_VERSIONS} versions of {route.name} is this digest"
                )

    async def _require_right(self, route: Route, digest: Digest) -> int:
        """Content is served only where this target's own source delivered it; return its size in bytes."""
        size_bytes = self._memory.find_blob_size(route.target, digest)
        if size_bytes is None:
            generation = self._memory.generation()
            size_bytes = await self._catalog.find_blob_size(route.target, digest)
            if size_bytes is None:
                raise _no_blob(route, digest)
            self._memory.keep_blob_size(route.target, digest, size_bytes, generation)
        return size_bytes

    async def _open(self, digest: Digest, size_bytes: int) -> OpenBlob | None:
        """What has another size than was kept is as good as gone."""
        try:
            opened = await self._blobs.open(digest)
            if opened is None or opened.size == size_bytes:
                return opened
            opened.close()
            await self._blobs.delete(digest)
        except StorageFailed as error:
            raise unavailable(f"{digest} cannot be read: {error}") from error
        return None

    async def _heal(self, route: Route, digest: Digest) -> None:
        """Fetch again what names a blob whose bytes are gone."""
        if self._is_offline:
            raise OciError(Situation.BLOB_NOT_KNOWN, f"offline, and the bytes of {digest} are gone")
        try:
            async with self._patience(str(digest)):
                await self._heals.join((route.target, digest), partial(self._refetch, route, digest))
        except Outcome as error:
            raise refusal(error, self._source.name, Situation.BLOB_NOT_KNOWN) from error

    async def _refetch(self, route: Route, digest: Digest) -> None:
        """The flight. It looks again: another may have landed since its client looked."""
        if await self._blobs.size(digest) is None:
            rows = await self._catalog.find_tags_naming(route.target, digest)
            for row in rows[:1]:
                await self._fetcher.refetch(route, row)

    def _raise_remembered(self, key: Hashable) -> None:
        error, until = self._misses.get(key, (None, 0.0))
        if error is not None and self._now() < until:
            raise replace(error)  # an exception raised anew would keep every frame it went through

    def _remember(self, key: Hashable, route: Route, outcome: Outcome, absent: Situation) -> OciError:
        """Translate; and remember «nobody has it» for ``missing_for``, never an outage."""
        error = refusal(outcome, self._source.name, absent)
        if isinstance(outcome, Missing):
            self._misses[key] = (replace(error), self._now() + route.policy.missing_for_seconds)
        return error

    def _still_leads_to(self, name: str, target: str) -> bool:
        try:
            return str(self.route(Repository.parse(name)).target) == target
        except OciError:
            return False


def _pulled(held: HeldManifest, cache: Cache) -> Pulled:
    return Pulled(held.manifest, cache, held.row.source, held.row.confirmed_at)


def _no_blob(route: Route, digest: Digest) -> OciError:
    return OciError(
        Situation.BLOB_NOT_KNOWN, f"{route.name} has no blob {digest} that was pulled through here"
    )
