"""A chart proxy as a source: a registry that has other hosts' charts under ``<host>/<path>/<chart>``."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.helm.version import spellings
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.outcomes import (
    Corrupt,
    Denied,
    Missing,
    MissingName,
    Outcome,
    Skipped,
    Unavailable,
    UnknownHost,
)
from gateway.oci.target import Target
from gateway.rules.model import SourceName
from gateway.rules.route import Errand, Route
from gateway.sources.base import Comparable, Fetched, Found, Versions
from gateway.sources.registry_artifacts import Artifacts, FoundArtifact, find_tag, require_chart
from gateway.sources.registry_place import Places, UpstreamRepository, own_repository

log = structlog.get_logger(__name__)


class ChartProxy:
    """Asks the chart proxy of a route, in the proxy's own right. ``now`` gives seconds since the epoch."""

    name: Final = SourceName.CHARTPROXY

    def __init__(
        self, artifacts: Artifacts, places: Places, now: Callable[[], float], own_host: str | None = None
    ) -> None:
        self._own_host = own_host
        self._artifacts = artifacts
        self._client = artifacts.client
        self._places = places
        self._now = now

    async def find(self, route: Route, tag: str) -> Found:
        """Return what a version is there, with or without a leading v; a + is a _ in every tag."""
        repository = self._repository(route)
        absence: Missing | None = None
        with _skipping(repository):
            for form in dict.fromkeys(text.replace("+", "_") for text in spellings(tag)):
                try:
                    return _FoundChart(await find_tag(self._artifacts, repository, form, require_chart))
                except MissingName:
                    raise
                except Missing as error:
                    absence = absence or error
        raise absence or Missing(f"{repository} has no version {tag}")

    async def candidates(self, route: Route, digest: Digest, count: int) -> AsyncIterator[Found]:
        repository = self._repository(route)
        with _skipping(repository):
            read = await self._client.manifest(repository, digest)
        yield _FoundChart(FoundArtifact(self._artifacts, repository, digest, digest, read, require_chart))

    async def versions(self, route: Route) -> Versions:
        repository = self._repository(route)
        with _skipping(repository):
            return Versions(await self._client.tags(repository), self._now())

    async def referrers(self, route: Route, subject: Digest) -> Sequence[Descriptor]:
        """Nothing: what is made of a classic chart is referred to by nobody."""
        return ()

    @asynccontextmanager
    async def blob(self, route: Route, descriptor: Descriptor) -> AsyncIterator[AsyncIterator[bytes]]:
        repository = self._repository(route)
        with _skipping(repository):
            async with self._client.blob(repository, descriptor) as pieces:
                yield pieces

    async def has_blob(self, route: Route, descriptor: Descriptor) -> bool:
        repository = self._repository(route)
        with _skipping(repository):
            return await self._client.has_blob(repository, descriptor)

    def tells(self, route: Route) -> Sequence[str]:
        try:
            repository = self._repository(route)
        except Skipped:
            return []
        return [f"{str(repository.base).rstrip('/')}/{repository.name}"]

    def is_troubled(self, route: Route) -> bool:
        try:
            return self._client.is_troubled(self._repository(route))
        except Skipped:  # asking will say so at once
            return False

    def doubt(self, route: Route) -> None:
        """Nothing is assumed of it."""

    def _repository(self, route: Route) -> UpstreamRepository:
        """The target's place at the proxy: for what may go along, a target of its own."""
        if route.chartproxy is None:
            raise Skipped(f"no chart proxy is asked for {route.target}")
        if route.chartproxy.partition("/")[0] == self._own_host:
            raise Skipped(f"the chart proxy {route.chartproxy} is this gateway itself")
        try:
            target = Target.parse(f"{route.chartproxy}/{route.target}")
        except OciError as error:
            message = f"the chart proxy {route.chartproxy} has no name for this: {error.message}"
            raise Skipped(message) from error
        return own_repository(self._places, Errand(target, route.rules))


@dataclass(frozen=True, slots=True)
class _FoundChart:
    """A chart at the proxy, whose troubles stay its own when it is fetched."""

    _found: FoundArtifact

    @property
    def version(self) -> str | None:
        return self._found.version

    @property
    def upstream_digest(self) -> Digest | None:
        return self._found.upstream_digest

    @property
    def compares(self) -> Comparable:
        return self._found.compares

    @property
    def failure(self) -> Outcome | None:
        return self._found.failure

    async def created_at(self) -> float | None:
        with _skipping(self._found.repository):
            return await self._found.created_at()

    async def size_bytes(self, platforms: frozenset[str]) -> int | None:
        with _skipping(self._found.repository):
            return await self._found.size_bytes(platforms)

    async def fetch(self) -> Fetched:
        with _skipping(self._found.repository):
            return await self._found.fetch()


@contextmanager
def _skipping(repository: UpstreamRepository) -> Iterator[None]:
    """Whom we may not dial is left out of the chain; a proxy whose name does not resolve is down."""
    try:
        yield
    except Denied as error:
        log.warning("chartproxy_skipped", chartproxy=repository.home.host, reason=error.message)
        raise Skipped(error.message) from error
    except Corrupt as error:
        if error.reason != "unexpected_status":
            raise
        raise Unavailable(error.message) from error  # no wrong bytes came: the chart may be had elsewhere
    except UnknownHost as error:
        if not error.is_refused:
            raise Unavailable(error.message) from error
        log.warning("chartproxy_skipped", chartproxy=repository.home.host, reason="its address is refused")
        raise Skipped(error.message) from error
