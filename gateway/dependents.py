"""Charts whose dependencies lead to this gateway: made here of what was pulled plain, kept beside it."""

import asyncio
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import BinaryIO, Final, TypeAlias

import structlog
from anyio import to_thread
from cachetools import LRUCache

from gateway.blob_pull import BlobPuller
from gateway.flights import Flights
from gateway.helm.archive import ArchiveError
from gateway.helm.dependencies import rewrite_artifact
from gateway.helm.metadata import MetadataError
from gateway.manifest_pull import ManifestPuller
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.manifest import Manifest, ManifestError, parse_manifest
from gateway.parts import Parts
from gateway.pulled import Pulled
from gateway.rules.route import PLAIN, Route
from gateway.store.rows import KeptManifest, TagRow

log = structlog.get_logger(__name__)

_REMEMBERED_BYTES: Final = 4 << 20
_REMEMBERED_REFUSALS: Final = 1000
_MADE_AT_ONCE: Final = 2  # each holds an archive in memory, and what becomes of it

_Key: TypeAlias = tuple[str, str, str]  # target, variant, digest of the plain manifest
_Made: TypeAlias = tuple[str, str, str, int]  # the same, and the generation: what was purged is made again


class Dependents:
    """The same plain chart gives the same bytes, so each is made once; the plain one is never replaced."""

    def __init__(self, parts: Parts, manifests: ManifestPuller, blobs: BlobPuller) -> None:
        self._catalog = parts.catalog
        self._generation = parts.memory.generation
        self._store = parts.blobs
        self._manifests = manifests
        self._blobs = blobs
        self._flights: Flights[Manifest] = Flights("dependencies", parts.locks)
        self._turns = asyncio.Semaphore(_MADE_AT_ONCE)
        self._refused: LRUCache[_Key, OciError] = LRUCache(_REMEMBERED_REFUSALS)
        self._made: LRUCache[_Made, Manifest] = LRUCache(
            _REMEMBERED_BYTES, getsizeof=lambda manifest: len(manifest.content)
        )

    async def by_tag(self, route: Route, tag: str) -> Pulled:
        """Return the rewritten chart of what the plain tag is now; what is no chart is served as it is."""
        generation = self._generation()
        plain = await self._manifests.by_tag(route.plain, tag)
        key = (*route.cache_key, str(plain.manifest.digest))
        made = self._made.get((*key, generation))
        if made is None:
            self._raise_refused(key)
            made = await self._flights.join(key, partial(self._keep, route, tag, plain.manifest))
            if len(made.content) <= _REMEMBERED_BYTES:
                self._made[*key, generation] = made
        return replace(plain, manifest=made)

    async def restore(self, route: Route, digest: Digest) -> bool:
        """Make a blob again that a rewritten chart of the target names, and that is not there any more.

        False where there is nothing to make: it is there, or no such chart's.
        """
        if await self._store.size(digest) is not None:
            return False
        for row in await self._catalog.find_tags_naming(route.target, digest):
            host = row.variant.partition("@")[2]  # of a rewritten chart, whatever PUBLIC_URL is by now
            if host and row.upstream_digest is not None:
                plain = await self._manifests.held(route.plain, row.upstream_digest)
                if plain is not None:
                    await self._make(route, plain, host)
                    return True
        return False

    async def drain(self) -> None:
        await self._flights.drain()

    def _raise_refused(self, key: _Key) -> None:
        """What cannot be rewritten never can: it is looked at once."""
        error = self._refused.get(key)
        if error is not None:
            raise replace(error)  # an exception raised anew would keep every frame it went through

    async def _keep(self, route: Route, tag: str, plain: Manifest) -> Manifest:
        """The flight: what was made of this very chart before, or made and kept now."""
        before = await self._catalog.find_tags(route.target, route.variant.value, tag)
        for row in before:
            if row.upstream_digest == plain.digest:
                held = await self._manifests.held(route, row.digest)
                if held is not None:
                    return held
        kept = await self._make(route, plain, route.own_host)
        origin = await self._origin(route, tag, plain)
        row = replace(
            origin,
            variant=route.variant.value,
            tag=tag,
            digest=kept.manifest.digest,
            upstream_digest=plain.digest,
            seen_digest=None,
        )
        replaces = next((one.digest for one in before if one.source == row.source), None)
        await self._catalog.keep(route.name.name, row, kept, replaces)
        log.info("dependencies_rewritten", target=str(route.target), tag=tag, digest=str(row.digest))
        return kept.manifest

    async def _origin(self, route: Route, tag: str, plain: Manifest) -> TagRow:
        """How the plain chart came here: under this tag, or offline under another spelling of it."""
        rows = await self._catalog.find_tags_naming(route.target, plain.digest)
        named = [row for row in rows if row.variant == PLAIN.value and row.digest == plain.digest]
        if not named:
            message = f"{route.name}:{tag} is gone again: ask once more"
            raise OciError(Situation.MANIFEST_NOT_KNOWN, message)
        return min(named, key=lambda row: row.tag != tag)

    async def _make(self, route: Route, plain: Manifest, host: str) -> KeptManifest:
        """Make the chart and put its blobs into the store; the plain one where nothing is to be changed."""
        parsed = parse_manifest(plain.content, plain.media_type)
        if parsed.chart_layer is None:
            return KeptManifest(plain, parsed, {})
        async with self._turns:
            archive = await self._archive(route.plain, parsed.chart_layer.digest)
            try:
                made = await to_thread.run_sync(rewrite_artifact, plain, archive, host)
            except (ArchiveError, ManifestError, MetadataError) as error:
                raise self._refusal(route, plain, error) from error
            if made is None:
                return KeptManifest(plain, parsed, {})
            await self._put(made.config_descriptor.digest, made.config)
            await self._put(made.layer_descriptor.digest, made.layer)
        sizes = {one.digest: one.size for one in (made.config_descriptor, made.layer_descriptor)}
        read = parse_manifest(made.manifest.content, made.manifest.media_type)
        return KeptManifest(made.manifest, read, sizes)

    def _refusal(self, route: Route, plain: Manifest, error: Exception) -> OciError:
        refusal = OciError(
            Situation.SOURCE_CORRUPT,
            f"the dependencies of {route.name} cannot be rewritten: {error}",
            {"reason": "dependencies"},
        )
        self._refused[*route.cache_key, str(plain.digest)] = replace(refusal)
        return refusal

    async def _put(self, digest: Digest, content: bytes) -> None:
        if await self._store.size(digest) != len(content):
            async with self._store.create(digest) as writer:
                await writer.write(content)

    async def _archive(self, route: Route, digest: Digest) -> BinaryIO:
        """The plain chart's archive, fetched like any client's."""
        blob = (await self._blobs.open(route, digest)).blob
        content = BytesIO()
        try:
            while content.tell() < blob.size:
                content.write(await blob.read(content.tell(), blob.size))
        finally:
            blob.close()
        return content
