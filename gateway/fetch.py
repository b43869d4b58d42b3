"""What a flight does: find a tag upstream, confirm what is held of it, or fetch and keep it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import structlog

from gateway.oci.digest import Digest
from gateway.oci.outcomes import Missing, MissingName, UnknownHost, is_deletion
from gateway.rules.freshness import Standing, counts, in_force, standing
from gateway.rules.model import Deleted, Drift, SourceName
from gateway.rules.route import Route
from gateway.sources.base import Comparable, Found, Source
from gateway.sources.chain import ask_in_turn
from gateway.store.catalog import Catalog
from gateway.store.memory import HeldManifest
from gateway.store.rows import TagRow
from gateway.taken import chart_layer, drifted, is_same_chart, take

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Offer:
    """A tag at a source: what is held of it, the row of it that came from this very source, what is there."""

    source: Source
    held: HeldManifest
    own: TagRow | None
    found: Found


class Fetcher:
    """Everything here runs inside a flight, and raises outcomes. ``now`` gives seconds since the epoch."""

    def __init__(
        self, sources: Mapping[SourceName, Source], catalog: Catalog, now: Callable[[], float]
    ) -> None:
        self._sources = sources
        self._catalog = catalog
        self._now = now

    def chain(self, route: Route, first: str | None = None) -> list[Source]:
        """The route's sources in order; the one that gave what is held before the others."""
        chain = [self._sources[name] for name in route.chain if name in self._sources]
        return sorted(chain, key=lambda source: source.name != first)

    def is_troubled(self, route: Route, giver: str) -> bool:
        """Whether who gave what is held failed the last time, or keeps somebody waiting just now."""
        return any(source.is_troubled(route) for source in self.chain(route, giver)[:1])

    async def ask(self, route: Route, ask: Callable[[Source], Awaitable[T]], first: str | None = None) -> T:
        """Ask the route's chain; where nobody knows the name, what was learnt of upstream is in doubt."""
        chain = self.chain(route, first)
        try:
            return await ask_in_turn(route.target, chain, ask)
        except MissingName as error:
            if not isinstance(error, UnknownHost):
                for source in chain:
                    source.doubt(route)
            raise

    async def held(self, route: Route, tag: str, *, of_any_source: bool = False) -> HeldManifest | None:
        """What is held under this very tag and counts for the route, or is ``of_any_source``."""
        rows = await self._catalog.find_tags(route.target, route.variant.value, tag)
        asked = rows if of_any_source else [row for row in rows if counts(row, route.chain)]
        row = in_force(asked, route.chain, partial(self._is_fresh, route))
        if row is None:
            return None
        manifest = await self._catalog.find_manifest(route.target, row.digest)
        return None if manifest is None else HeldManifest(manifest, row)

    def _is_fresh(self, route: Route, row: TagRow) -> bool:
        return self.standing(route, row) is Standing.FRESH

    def standing(self, route: Route, row: TagRow) -> Standing:
        return standing(
            route.policy, row.confirmed_at, self._now(), is_exact=row.is_exact, since=route.anew_since
        )

    async def refresh(self, route: Route, tag: str, asked_at: float) -> HeldManifest:
        """The flight behind a tag. It looks again first: another may have landed since its client looked."""
        held = await self.held(route, tag)
        if held is not None and self._needs_no_asking(route, held.row, asked_at):
            return held
        first = None if held is None else held.row.source
        try:
            return await self.ask(route, partial(self._refresh_at, route, tag, held), first)
        except Missing as error:
            if held is not None and is_deletion(error):
                await self._deleted_upstream(route, held.row, error)
            raise

    def _needs_no_asking(self, route: Route, row: TagRow, asked_at: float) -> bool:
        return asked_at <= row.confirmed_at <= self._now() or self._is_fresh(route, row)

    async def _deleted_upstream(self, route: Route, row: TagRow, error: Missing) -> None:
        log.warning("deleted_upstream", target=str(row.target), tag=row.tag, reason=error.message)
        if route.policy.deleted is Deleted.DROP:
            await self._catalog.drop_tag(row.target, row.variant, row.tag)

    async def _refresh_at(
        self, route: Route, tag: str, held: HeldManifest | None, source: Source
    ) -> HeldManifest:
        found = await source.find(route, tag)
        if held is None:
            return await self._twin(route, tag, source, found) or await self._fetch(route, tag, source, found)
        if found.failure is not None:
            raise found.failure
        rows = await self._catalog.find_tags(route.target, route.variant.value, tag)
        own = next((row for row in rows if row.source == source.name), None)
        offer = _Offer(source, held, own, found)
        if _is_unchanged(offer):
            return await self._confirm(route, offer, found.upstream_digest, None)
        return await self._changed(route, offer)

    async def _changed(self, route: Route, offer: _Offer) -> HeldManifest:
        """Upstream has other content under the tag: follow it, or keep what is held and tell.

        The same chart in another manifest is no change: the manifest that was served stays.
        """
        held, found = offer.held, offer.found
        keeps_old = held.row.is_exact and route.policy.drift is Drift.KEEP
        if keeps_old and found.compares is Comparable.ARCHIVE:
            return await self._confirm(route, offer, _own_digest(offer), found.upstream_digest)
        row, kept = await take(route, held.row.tag, offer.source, found, self._now())
        if is_same_chart(held.manifest, kept):
            return await self._confirm(route, offer, row.upstream_digest, None)
        if keeps_old:
            await self._catalog.keep_untagged(row, kept)
            return await self._confirm(route, offer, _own_digest(offer), found.upstream_digest)
        replaces = None if offer.own is None else offer.own.digest
        await self._catalog.keep(route.name.name, row, kept, replaces)
        log.info("followed", target=str(row.target), tag=row.tag, digest=str(row.digest), source=row.source)
        return HeldManifest(kept.manifest, row)

    async def _confirm(
        self, route: Route, offer: _Offer, upstream_digest: Digest | None, seen_digest: Digest | None
    ) -> HeldManifest:
        """Upstream stands by the tag; ``seen_digest`` is other content that it has there by now."""
        held = offer.held
        if seen_digest is not None and seen_digest != held.row.seen_digest:
            log.warning("drift", target=str(held.row.target), tag=held.row.tag, seen_digest=str(seen_digest))
        row = replace(
            offer.own or held.row,
            source=offer.source.name.value,
            digest=held.row.digest,
            confirmed_at=self._now(),
            upstream_digest=upstream_digest,
            seen_digest=seen_digest,
        )
        if offer.own is not None and offer.own.digest == row.digest:
            await self._catalog.confirm_tag(row, row.confirmed_at, seen_digest, upstream_digest)
        else:
            replaces = None if offer.own is None else offer.own.digest
            await self._catalog.keep_tag(route.name.name, row, replaces)
        return HeldManifest(held.manifest, row)

    async def _twin(self, route: Route, tag: str, source: Source, found: Found) -> HeldManifest | None:
        """The same version, held under another spelling of its tag: its manifest is never built again."""
        rows = await self._catalog.find_versions(route.target, route.variant.value, found.version or tag)
        for row in rows:
            if row.source == source.name and row.is_exact:
                if route.policy.drift is Drift.FOLLOW and drifted(row, found) is not None:
                    return None
                confirmed_at = self._now() if found.failure is None else row.confirmed_at
                twin = replace(row, tag=tag, confirmed_at=confirmed_at, seen_digest=drifted(row, found))
                await self._catalog.keep_tag(route.name.name, twin)
                manifest = await self._catalog.find_manifest(route.target, row.digest)
                return None if manifest is None else HeldManifest(manifest, twin)
        return None

    async def _fetch(self, route: Route, tag: str, source: Source, found: Found) -> HeldManifest:
        row, kept = await take(route, tag, source, found, self._now())
        await self._catalog.keep(route.name.name, row, kept)
        log.info("kept", target=str(route.target), tag=tag, digest=str(row.digest), origin=row.origin)
        return await self._in_force(HeldManifest(kept.manifest, row))

    async def _in_force(self, mine: HeldManifest) -> HeldManifest:
        """What the tag is now: where another process was first with other content, that stays."""
        rows = await self._catalog.find_tags(mine.row.target, mine.row.variant, mine.row.tag)
        row = next((row for row in rows if row.source == mine.row.source), mine.row)
        if row.digest == mine.row.digest:
            return mine
        manifest = await self._catalog.find_manifest(row.target, row.digest)
        return mine if manifest is None else HeldManifest(manifest, row)

    async def refetch(self, route: Route, blob: Digest) -> bool:
        """Fetch again what names a blob that is nowhere to be had; whether it is kept now. Raise outcomes."""
        for row in await self._catalog.find_tags_naming(route.target, blob):
            if row.variant == route.variant.value:
                return await self.ask(route, partial(self._refetch_at, route, row, blob), row.source)
        return False

    async def _refetch_at(self, route: Route, row: TagRow, blob: Digest, source: Source) -> bool:
        found = await source.find(route, row.tag)
        new, kept = await take(route, row.tag, source, found, self._now())
        if blob not in kept.sizes:
            raise Missing(f"{source.name} has {row.tag}, and no blob {blob} with it")
        await self._catalog.keep_untagged(new, kept)
        return True


def _is_unchanged(offer: _Offer) -> bool:
    """Whether what the source says of its content is what it said, or is what another source gave.

    A source that says nothing cannot tell of a change.
    """
    seen = offer.found.upstream_digest
    if seen is None:
        return True
    if offer.own is not None and offer.own.digest == offer.held.row.digest:
        return seen == offer.own.upstream_digest
    if offer.found.compares is Comparable.MANIFEST:
        return seen == offer.held.row.digest
    return seen == chart_layer(offer.held.manifest)


def _own_digest(offer: _Offer) -> Digest | None:
    """What stays on record as this source's digest of what is held."""
    return None if offer.own is None else offer.own.upstream_digest
