"""The use case: a name and a reference become content, from what is held or from upstream."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from anyio import to_thread

from gateway.blob_pull import BlobPuller
from gateway.dependents import Dependents
from gateway.fetch import Fetcher
from gateway.homes import Homes, first_of
from gateway.manifest_pull import ManifestPuller
from gateway.notes import Notes
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.reference import Reference
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.parts import Parts
from gateway.pulled import Cache, Listed, Pulled, PulledBlob
from gateway.referrals import Referrals
from gateway.rules.route import Route, Routing, Wanted
from gateway.selection import Selection
from gateway.store.memory import HeldManifest
from gateway.store.rows import TagList
from gateway.tag_lists import TagLists


class Puller:
    """Decides what is served. What it raises to its callers are OciErrors."""

    def __init__(self, parts: Parts) -> None:
        self._router = parts.router
        self._admitted = parts.admitted
        self._catalog = parts.catalog
        fetcher = Fetcher(parts.sources, parts.catalog, parts.now)
        self._manifests = ManifestPuller(parts, fetcher)
        self._blobs = BlobPuller(parts, fetcher)
        self._dependents = Dependents(parts, self._manifests, self._blobs)
        self._tag_lists = TagLists(parts, fetcher)
        self._referrals = Referrals(parts, fetcher)
        self._selection = Selection(parts, fetcher, self._tag_lists)
        self._homes = Homes(parts)
        self._notes = Notes(parts.catalog, parts.now)

    def route(self, wanted: Wanted) -> Routing:
        """Return where a name leads, as far as whoever asks may go; else raise OciError."""
        return self._admitted(self._router()(wanted))

    async def manifest(self, wanted: Wanted, reference: Reference) -> Pulled:
        """Return a manifest by tag or digest, fetched and kept first where it is not held."""
        routing = self.route(wanted)
        if isinstance(reference, Digest):
            return await self._by_digest(routing, reference)
        tag = reference.name
        pull = self._by_channel if tag in routing.first.policy.channels else self._by_tag
        if len(routing.routes) == 1 and routing.refusal is None:
            return await pull(tag, routing.first)
        return await self._homes.first_with(routing, tag, partial(pull, tag))

    async def blob(self, wanted: Wanted, digest: Digest) -> PulledBlob:
        """Return a blob, open for reading; the caller closes it."""
        return await first_of(self.route(wanted), partial(self._blob, digest))

    async def describe_blob(self, wanted: Wanted, digest: Digest) -> Descriptor:
        """What a manifest of this repository says of a blob; nobody is dialled."""
        return await first_of(self.route(wanted), partial(self._describe, digest))

    async def tags(self, wanted: Wanted) -> Listed:
        """Return the tags upstream has, joined with those held; only the held ones while upstream is away."""
        return await self.tags_at(self.route(wanted))

    async def tags_at(self, routing: Routing) -> Listed:
        return await self._selection.list(routing)

    async def repositories(self, host: str = "") -> list[str]:
        """Return the names clients asked for, as far as they still lead to something held."""
        pairs = await self._catalog.names()
        return await to_thread.run_sync(self._leading, pairs, host)

    async def refreshed(self, routing: Routing, tag: str) -> HeldManifest:
        """A tag as upstream has it, at the target where it stays: asked, whatever is held."""
        ask = partial(self._refreshed, tag)
        if len(routing.routes) == 1 and routing.refusal is None:
            return await ask(routing.first)
        return await self._homes.first_with(routing, tag, ask)

    async def refreshed_tags(self, route: Route) -> TagList:
        """The tags upstream has at one target: asked, whatever is known."""
        return await self._tag_lists.refreshed(route.as_upstream)

    async def refresh_tags(self, routes: Sequence[Route]) -> None:
        """The same for many of them, as far as one answer of upstream's tells of many."""
        await self._tag_lists.refresh_many([route.as_upstream for route in routes])

    async def meant(self, route: Route, tag: str) -> str:
        """The version that a channel of the route means by now; of any other tag the tag itself."""
        return await self._selection.meant(route, tag)

    async def referrers(self, wanted: Wanted, digest: Digest) -> list[Descriptor]:
        """Return descriptors of what refers to ``digest``, here or upstream, at every target."""
        return await self._referrals.list_all(self.route(wanted), digest)

    async def drain(self) -> None:
        """End what still runs."""
        for running in (
            self._selection,
            self._dependents,
            self._manifests,
            self._blobs,
            self._tag_lists,
            self._referrals,
        ):
            await running.drain()

    async def _by_channel(self, channel: str, route: Route) -> Pulled:
        """The newest version in the channel's range that this target has; of others it is not taken."""
        tag = await self._selection.meant(route, channel)
        try:
            return await self._by_tag(tag, route)
        except OciError as error:
            older = await self._selection.held_instead(route, channel, error)
            if older is None or older == tag:
                raise
        return replace(await self._by_tag(older, route), cache=Cache.STALE)

    async def _by_tag(self, tag: str, route: Route) -> Pulled:
        await self._selection.require_shown(route, tag)
        by_tag = self._dependents.by_tag if route.rewrites_dependencies else self._manifests.by_tag
        await self._notes.access(route)
        pulled = await by_tag(route, tag)
        await self._notes.name(route)
        return pulled

    async def _refreshed(self, tag: str, route: Route) -> HeldManifest:
        await self._selection.require_shown(route, tag)
        await self._notes.access(route)
        held = await self._manifests.refreshed(route.as_upstream, tag)
        await self._notes.name(route)
        return held

    async def _by_digest(self, routing: Routing, digest: Digest) -> Pulled:
        """Held at any target, before anyone is asked for it."""
        for route in routing.routes:
            held = await self._manifests.held(route, digest)
            if held is not None:
                await self._notes.name(route)
                return Pulled(held, Cache.HIT, target=route.target)
        return await first_of(routing, partial(self._search, digest))

    async def _search(self, digest: Digest, route: Route) -> Pulled:
        await self._notes.access(route)
        pulled = await self._manifests.by_digest(route.as_upstream, digest)
        await self._notes.name(route)
        return pulled

    async def _blob(self, digest: Digest, route: Route) -> PulledBlob:
        """In whatever variant; also one that was made here, and is not there any more."""
        try:
            return await self._blobs.open(route.as_upstream, digest)
        except OciError:
            if not await self._dependents.restore(route, digest):
                raise
        return await self._blobs.open(route.as_upstream, digest)

    async def _describe(self, digest: Digest, route: Route) -> Descriptor:
        return await self._blobs.describe(route, digest)

    def _leading(self, pairs: Sequence[tuple[str, Target]], host: str) -> list[str]:
        """Names that lead to what is held of them, all by the same rules; they may be many: in a thread."""
        route_of = self._router()

        def still_leads_to(name: str, target: Target) -> bool:
            try:
                routing = self._admitted(route_of(Wanted(Repository.parse(name), host)))
            except OciError:
                return False
            return any(route.target == target for route in routing.routes)

        return sorted({name for name, target in pairs if still_leads_to(name, target)})
