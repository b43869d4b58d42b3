"""What a flight does: find a tag upstream, confirm what is held of it, or fetch and keep it."""

from collections.abc import Callable
from dataclasses import replace

import structlog

from gateway.oci.digest import Digest
from gateway.oci.manifest import ManifestError, parse_manifest
from gateway.oci.outcomes import Corrupt, Missing, Outcome, Unavailable, UnknownHost
from gateway.rules.route import Route
from gateway.sources.base import Fetched, Found, Source
from gateway.store.catalog import Catalog
from gateway.store.memory import HeldManifest
from gateway.store.rows import KeptManifest, TagRow

log = structlog.get_logger(__name__)


class Fetcher:
    """Everything here runs inside a flight, and raises outcomes. ``now`` gives seconds since the epoch."""

    def __init__(self, source: Source, catalog: Catalog, now: Callable[[], float]) -> None:
        self._source = source
        self._catalog = catalog
        self._now = now

    async def refresh(self, route: Route, tag: str, held: HeldManifest | None) -> HeldManifest:
        """The flight behind a tag: find it upstream; confirm what is held, or fetch and keep it."""
        try:
            found = await self._source.find(route, tag)
        except Missing as error:
            if held is not None and not isinstance(error, UnknownHost):
                log.warning("deleted_upstream", target=str(route.target), tag=tag, reason=error.message)
            raise
        if held is None:
            return await self._twin(route, tag, found) or await self._fetch(route, tag, found)
        if found.failure is not None:
            raise found.failure
        return await self._confirm(held, _drift(held.row, found))

    async def _confirm(self, held: HeldManifest, seen_digest: Digest | None) -> HeldManifest:
        """Upstream stands by the tag; another content there is told, and the one held stays (drift: keep)."""
        if seen_digest is not None and seen_digest != held.row.seen_digest:
            log.warning("drift", target=str(held.row.target), tag=held.row.tag, seen_digest=str(seen_digest))
        row = replace(held.row, confirmed_at=self._now(), seen_digest=seen_digest)
        await self._catalog.confirm_tag(row, row.confirmed_at, seen_digest)
        return HeldManifest(held.manifest, row)

    async def _twin(self, route: Route, tag: str, found: Found) -> HeldManifest | None:
        """The same version, held under another spelling of its tag: its manifest is never built again."""
        for row in await self._catalog.find_versions(route.target, route.variant.value):
            if row.version == found.version:
                confirmed_at = self._now() if found.failure is None else row.confirmed_at
                twin = replace(row, tag=tag, confirmed_at=confirmed_at, seen_digest=_drift(row, found))
                await self._catalog.keep_tag(route.name.name, twin)
                manifest = await self._catalog.find_manifest(route.target, row.digest)
                return None if manifest is None else HeldManifest(manifest, twin)
        return None

    async def _fetch(self, route: Route, tag: str, found: Found) -> HeldManifest:
        row, kept = await self._fetched(route, tag, found)
        await self._catalog.keep(route.name.name, row, kept)
        log.info("kept", target=str(route.target), tag=tag, digest=str(row.digest), origin=row.origin)
        return await self._in_force(HeldManifest(kept.manifest, row))

    async def _in_force(self, mine: HeldManifest) -> HeldManifest:
        """What the tag is now: where another process was first with other content, that stays."""
        row = await self._catalog.find_tag(mine.row.target, mine.row.variant, mine.row.tag)
        if row is None or row.digest == mine.row.digest:
            return mine
        manifest = await self._catalog.find_manifest(row.target, row.digest)
        return mine if manifest is None else HeldManifest(manifest, row)

    async def _fetched(self, route: Route, tag: str, found: Found) -> tuple[TagRow, KeptManifest]:
        fetched = await found.fetch()
        kept = _kept(fetched)
        now = self._now()
        row = TagRow(
            target=route.target,
            variant=route.variant.value,
            tag=tag,
            source=self._source.name,
            digest=fetched.manifest.digest,
            version=found.version,
            is_exact=found.is_exact,
            upstream_digest=found.upstream_digest or kept.parsed.layers[0].digest,
            seen_digest=None,
            origin=fetched.origin,
            kept_at=now,
            confirmed_at=now,
        )
        return row, kept

    async def fetch_newest(self, route: Route, digest: Digest, count: int) -> None:
        """Keep the newest versions, one after another, until one of them is the digest looked for.

        What upstream replaced meanwhile is kept beside what its tag stays (drift: keep).
        """
        rows = await self._catalog.find_versions(route.target, route.variant.value)
        held = {row.version: row for row in rows}
        failures: list[Outcome] = []
        async for found in self._source.newest(route, count):
            row = held.get(found.version)
            if row is not None and await self._is_held(row, found):
                continue
            try:
                kept = await self._fetch_beside(route, found, row)
            except Outcome as error:
                failures.append(error)
                continue
            if kept == digest:
                return
        down = [error for error in failures if isinstance(error, Unavailable)]
        if down:
            raise down[0]

    async def _is_held(self, row: TagRow, found: Found) -> bool:
        drifted = _drift(row, found)
        return drifted is None or await self._catalog.find_blob_size(row.target, drifted) is not None

    async def _fetch_beside(self, route: Route, found: Found, held: TagRow | None) -> Digest:
        tag = found.version.replace("+", "_")
        if held is None:
            return (await self._fetch(route, tag, found)).manifest.digest
        row, kept = await self._fetched(route, tag, found)
        await self._catalog.keep_untagged(row, kept)
        log.warning("drift", target=str(row.target), tag=tag, seen_digest=str(row.upstream_digest))
        return kept.manifest.digest

    async def refetch(self, route: Route, row: TagRow) -> None:
        found = await self._source.find(route, row.tag)
        fetched = await found.fetch()
        if fetched.manifest.digest != row.digest:
            raise Corrupt(f"upstream has another {row.tag} by now: {fetched.manifest.digest}", "drift")


def _kept(fetched: Fetched) -> KeptManifest:
    manifest = fetched.manifest
    try:
        parsed = parse_manifest(manifest.content, manifest.media_type)
    except ManifestError as error:
        raise Corrupt(
            f"the manifest from {fetched.origin} is refused: {error}", "manifest_invalid"
        ) from error
    return KeptManifest(manifest, parsed, fetched.sizes)


def _drift(row: TagRow, found: Found) -> Digest | None:
    """The digest seen upstream, where it is another than the one that was kept."""
    seen = found.upstream_digest
    return None if seen is None or seen == row.upstream_digest else seen
