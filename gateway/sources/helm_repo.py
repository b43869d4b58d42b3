"""The classic Helm repository as a source: a tag found in its index, an archive fetched and converted."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from anyio import to_thread

from gateway.flights import Flights
from gateway.helm.created import created_seconds
from gateway.helm.index import ChartVersion
from gateway.helm.index_outline import Item
from gateway.helm.version import Version, parse_version, resolve, spellings
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest
from gateway.oci.media_types import HELM_PROVENANCE_LAYER, OCI_MANIFEST
from gateway.oci.outcomes import Corrupt, Missing, MissingName, Outcome, Unavailable, UnknownHost
from gateway.oci.registry_url import SCHEME as OCI_SCHEME
from gateway.oci.target import Target
from gateway.oci.urls import HttpUrl, parse_upstream_url
from gateway.rules.model import SourceName
from gateway.rules.route import PROVENANCE, Route
from gateway.sources.answers import Answer
from gateway.sources.base import Comparable, Fetched, Found, Sink, Versions
from gateway.sources.helm_archives import (
    MISMATCH,
    Archive,
    build,
    chart_url,
    read_metadata,
    require_digest,
    require_same_chart,
    sizes,
)
from gateway.sources.helm_indexes import Ask, ChartView, HelmIndexes, IndexView
from gateway.sources.http import Http
from gateway.sources.index_registries import IndexRegistries
from gateway.sources.still_there import size_there

log = structlog.get_logger(__name__)

MAX_URLS = 3
MAX_PROVENANCE_BYTES = 1 << 20
_MANY: Final = 4  # charts of one index that are asked for at once


class HelmRepo:
    """Asks a Helm repository. What it fetches goes into ``sink``; an index that was good, on a shelf."""

    name: Final = SourceName.HELM

    def __init__(
        self,
        http: Http,
        indexes: HelmIndexes,
        registries: IndexRegistries,
        sink: Sink,
        max_chart_bytes: int,
    ) -> None:
        self._http = http
        self._indexes = indexes
        self._registries = registries
        self._sink = sink
        self._max_chart_bytes = max_chart_bytes
        self._archives: Flights[Archive] = Flights()

    async def find(self, route: Route, tag: str) -> Found:
        """Return the index entry that a tag means; a fresh index that has it not is asked for anew, once."""
        wanted = frozenset(spellings(tag))
        view = await self._indexes.chart(route, wanted)
        entry = _entry_of(view, tag)
        if entry is None and not view.was_asked:
            renewed = await self._indexes.chart_after_miss(route, wanted)
            view = view if renewed is None else renewed
            entry = _entry_of(view, tag)
        if entry is not None:
            return _FoundChart(self, route, view, entry)
        if view.failure is not None:
            raise view.failure
        raise _missing(route, view, tag)

    async def versions(self, route: Route) -> Versions:
        view = await self._indexes.chart(route)
        if not view.entries.versions and view.failure is not None:
            raise view.failure
        if not view.entries.versions and not view.entries.skipped:
            raise MissingName(f"{route.target.place} has no chart {route.target.chart}")
        return await to_thread.run_sync(_versions, view.entries.versions, view.confirmed_at, view.failure)

    async def versions_of_many(self, routes: Sequence[Route]) -> Sequence[Versions | None]:
        """Those of each index together: to look for all charts in it takes as long as to read some."""
        by_index: dict[str, list[Route]] = {}
        for route in routes:
            by_index.setdefault(self._indexes.key_of(route), []).append(route)
        told: dict[Target, Versions] = {}
        for some in by_index.values():
            if len(some) >= _MANY:
                told |= await self._told_together(some)
        return [told.get(route.target) for route in routes]

    async def candidates(self, route: Route, digest: Digest, count: int) -> AsyncIterator[Found]:
        """The newest versions: what a chart converts to is known only once that is done."""
        view = await self._indexes.chart(route)
        first_of = {entry.version: entry for entry in reversed(view.entries.versions)}
        for entry in sorted(first_of.values(), key=_precedence, reverse=True)[:count]:
            yield _FoundChart(self, route, view, entry)
        if view.failure is not None:  # what came was the last that was known: newer ones there may be
            raise view.failure

    async def referrers(self, route: Route, subject: Digest) -> Sequence[Descriptor]:
        """Nothing: a Helm repository has no such list."""
        return ()

    @asynccontextmanager
    async def blob(self, route: Route, descriptor: Descriptor) -> AsyncIterator[AsyncIterator[bytes]]:
        """Nothing is ever yielded: a Helm repository hands out whole charts only."""
        handed_out: tuple[AsyncIterator[bytes], ...] = ()
        for pieces in handed_out:
            yield pieces
        raise Missing(f"{route.target.place} is a Helm repository, which hands out whole charts only")

    async def has_blob(self, route: Route, descriptor: Descriptor) -> bool:
        return False

    def tells(self, route: Route) -> Sequence[str]:
        return [str(self._indexes.url_of(route))]

    def is_troubled(self, route: Route) -> bool:
        return self._http.is_troubled(self._indexes.url_of(route), route.errand)

    def doubt(self, route: Route) -> None:
        """Nothing is assumed of it."""

    async def drain(self) -> None:
        await self._archives.drain()
        await self._indexes.drain()

    async def fetch(self, route: Route, view: ChartView, entry: ChartVersion) -> Fetched:
        """Fetch and convert; where the archive is not the index's, ask for both anew, once."""
        try:
            return await self._convert(route, view, entry)
        except Corrupt as error:
            if error.reason != MISMATCH:
                raise
            log.warning("digest_mismatch", target=str(route.target), version=entry.version)
        view = await self._indexes.chart(route, frozenset({entry.version}), Ask.ANEW)
        renewed = next((one for one in view.entries.versions if one.version == entry.version), None)
        if renewed is None:
            raise _missing(route, view, entry.version)
        return await self._convert(route, view, renewed)

    async def size_of(self, route: Route, view: ChartView, entry: ChartVersion) -> int | None:
        """What the first URL of an entry has, in bytes, as far as that is told."""
        text = next(iter(entry.urls), "")
        if text.startswith(OCI_SCHEME):
            return await self._registries.size_of(route, entry, text)
        return await size_there(self._http, route, chart_url(view.home, text)) if text else None

    async def _told_together(self, routes: Sequence[Route]) -> Mapping[Target, Versions]:
        try:
            view = await self._indexes.whole(routes[0])
        except Outcome:  # each will be told why
            return {}
        return {} if view.failure is not None else await to_thread.run_sync(_versions_told, view, routes)

    async def _convert(self, route: Route, view: ChartView, entry: ChartVersion) -> Fetched:
        if entry.name != route.target.chart:
            raise Corrupt(
                f"the index lists {entry.name!r} among the versions of {route.target.chart}", "chart_mismatch"
            )
        first = await self._first(route, view, entry)
        if isinstance(first, Fetched):
            return first
        url, archive = first
        provenance = await self._provenance(route, url)
        conversion = await to_thread.run_sync(build, archive, entry, provenance)
        await self._keep(conversion.config)
        return Fetched(
            Manifest(conversion.manifest, OCI_MANIFEST, conversion.manifest_digest),
            sizes(conversion, provenance),
            str(url),
        )

    async def _first(
        self, route: Route, view: ChartView, entry: ChartVersion
    ) -> Fetched | tuple[HttpUrl, Archive]:
        """Try the entry's URLs in order: archives to convert, or artifacts in a registry.

        That nobody could answer outweighs that one place has it not.
        """
        failures: list[Outcome] = []
        for text in entry.urls[:MAX_URLS]:
            try:
                if text.startswith(OCI_SCHEME):
                    accept = partial(require_digest, route, entry)
                    return await self._registries.fetch(route, entry, text, accept)
                url = chart_url(view.home, text)
                return url, await self._archive(route, url, entry)
            except UnknownHost as error:  # the chart is listed: that its host cannot be asked is an outage
                failures.append(Unavailable(error.message))
            except (Missing, Unavailable, Corrupt) as error:
                failures.append(error)
        if not failures:
            raise Missing(f"the index gives {entry.name} {entry.version} no downloadable URLs")
        raise max(failures, key=_weight)

    async def _archive(self, route: Route, url: HttpUrl, entry: ChartVersion) -> Archive:
        """Shared by all who ask by the same rules: others may not be let there, or sign in otherwise."""
        key = (str(url), entry, route.target, route.policy.digest_mismatch, id(route.rules))
        return await self._archives.join(key, partial(self._fetch_archive, route, url, entry))

    async def _fetch_archive(self, route: Route, url: HttpUrl, entry: ChartVersion) -> Archive:
        """Keep the archive behind ``url`` if it is the chart that the index names; else nothing of it."""
        async with self._sink.create(limit_bytes=self._max_chart_bytes) as writer:
            async with self._http.get(url, route.errand, {}) as answer:
                answer.require_ok(url.path.rpartition("/")[2])
                async for chunk in answer.chunks_as_sent(self._max_chart_bytes):
                    await writer.write(chunk)
            require_digest(route, entry, writer.digest)
            with closing(await writer.reread()) as stream:
                metadata = await to_thread.run_sync(read_metadata, stream)
            require_same_chart(metadata, entry)
            archive = Archive(writer.digest, writer.size, metadata)
            await to_thread.run_sync(build, archive, entry)  # what cannot be an artifact is not kept
            return archive

    async def _provenance(self, route: Route, archive_url: HttpUrl) -> Descriptor | None:
        """The .prov file beside the archive, where the route wants one and there is one of honest size."""
        if route.variant != PROVENANCE:
            return None
        url = parse_upstream_url(f"{archive_url.origin}{archive_url.path}.prov")
        try:
            async with self._http.get(url, route.errand, {}) as answer:
                _require_origin(answer, url)
                answer.require_ok(url.path.rpartition("/")[2])
                content = b"".join([chunk async for chunk in answer.chunks(MAX_PROVENANCE_BYTES)])
        except Missing:
            return None
        except Corrupt as error:
            if error.reason != "too_large":
                raise
            log.warning("provenance_left_out", target=str(route.target), reason=error.message)
            return None
        digest = await self._keep(content)
        return Descriptor(HELM_PROVENANCE_LAYER, digest, len(content))

    async def _keep(self, content: bytes) -> Digest:
        async with self._sink.create() as writer:
            await writer.write(content)
        return writer.digest


@dataclass(frozen=True, slots=True)
class _FoundChart:
    _source: HelmRepo
    _route: Route
    _view: ChartView
    _entry: ChartVersion

    @property
    def version(self) -> str:
        return self._entry.version

    @property
    def upstream_digest(self) -> Digest | None:
        digest = self._entry.digest
        return None if digest is None or self._entry.has_malformed_digest else Digest("sha256", digest)

    @property
    def compares(self) -> Comparable:
        return Comparable.ARCHIVE

    @property
    def failure(self) -> Outcome | None:
        return self._view.failure

    async def created_at(self) -> float | None:
        return created_seconds(self._entry.created)

    async def size_bytes(self, platforms: frozenset[str]) -> int | None:
        return await self._source.size_of(self._route, self._view, self._entry)

    async def fetch(self) -> Fetched:
        return await self._source.fetch(self._route, self._view, self._entry)


def _versions_told(view: IndexView, routes: Sequence[Route]) -> Mapping[Target, Versions]:
    """Of the charts that have any: of the others it takes more to tell why."""
    charts = view.whole.outline.charts
    return {
        route.target: _versions(entries, view.confirmed_at, None)
        for route in routes
        if (entries := charts.get(route.target.chart))
    }


def _versions(
    entries: Sequence[ChartVersion | Item], confirmed_at: float, failure: Outcome | None
) -> Versions:
    """All of them; of two entries for one version the first says when it was created."""
    times = {entry.version: created_seconds(entry.created) for entry in reversed(entries)}
    created = {version: seconds for version, seconds in times.items() if seconds is not None}
    return Versions([entry.version for entry in entries], confirmed_at, failure, created)


def _entry_of(view: ChartView, tag: str) -> ChartVersion | None:
    position = resolve(tag, [entry.version for entry in view.entries.versions])
    return None if position is None else view.entries.versions[position]


def _precedence(entry: ChartVersion) -> Version:
    version = parse_version(entry.version)
    if version is None:
        raise AssertionError(f"an entry with the version {entry.version!r} was let in")
    return version


def _missing(route: Route, view: ChartView, tag: str) -> Missing:
    if not view.entries.versions and not view.entries.skipped:
        return MissingName(f"{route.target.place} has no chart {route.target.chart}")
    skipped = f"; {len(view.entries.skipped)} entries were unreadable" if view.entries.skipped else ""
    return Missing(f"{route.target.place} has no version {tag} of {route.target.chart}{skipped}")


def _require_origin(answer: Answer, url: HttpUrl) -> None:
    if answer.url.origin != url.origin:
        raise Missing(f"{url.host} has its .prov file elsewhere")


def _weight(failure: Outcome) -> int:
    """What several failures come to: an outage before wrong bytes before absence."""
    return (Missing, Corrupt, Unavailable).index(
        next(kind for kind in (Unavailable, Corrupt, Missing) if isinstance(failure, kind))
    )
