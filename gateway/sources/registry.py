"""A native registry as a source: any artifact, as it is stored there."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from gateway.helm.version import parse_version, spellings
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.outcomes import Corrupt, Missing, MissingName
from gateway.rules.model import SourceName
from gateway.rules.route import Route
from gateway.sources.base import Found, Versions
from gateway.sources.registry_artifacts import Artifacts, FoundArtifact, find_tag
from gateway.sources.registry_asking import WebPage
from gateway.sources.registry_kinds import RegistryKinds
from gateway.sources.registry_place import Places, UpstreamRepository, own_repository

log = structlog.get_logger(__name__)


class Registry:
    """Asks the registry that a target's host is. ``now`` gives seconds since the epoch."""

    name: Final = SourceName.REGISTRY

    def __init__(
        self, artifacts: Artifacts, places: Places, kinds: RegistryKinds, now: Callable[[], float]
    ) -> None:
        self._artifacts = artifacts
        self._client = artifacts.client
        self._places = places
        self._kinds = kinds
        self._now = now

    async def find(self, route: Route, tag: str) -> Found:
        """Return what a tag names; after a 404, of a Helm chart the tag with or without a leading v."""
        async with self._asking(route) as repository:
            try:
                return await find_tag(self._artifacts, repository, tag)
            except MissingName:
                raise
            except Missing as error:
                return await self._other_form(repository, tag, error)

    async def candidates(self, route: Route, digest: Digest, count: int) -> AsyncIterator[Found]:
        async with self._asking(route) as repository:
            read = await self._client.manifest(repository, digest)
        yield FoundArtifact(self._artifacts, repository, digest, digest, read)

    async def versions(self, route: Route) -> Versions:
        async with self._asking(route) as repository:
            return Versions(await self._client.tags(repository), self._now())

    async def referrers(self, route: Route, subject: Digest) -> Sequence[Descriptor]:
        async with self._asking(route) as repository:
            return await self._client.referrers(repository, subject)

    @asynccontextmanager
    async def blob(self, route: Route, descriptor: Descriptor) -> AsyncIterator[AsyncIterator[bytes]]:
        repository = await self._repository(route)
        async with self._client.blob(repository, descriptor) as pieces:
            yield pieces

    async def has_blob(self, route: Route, descriptor: Descriptor) -> bool:
        return await self._client.has_blob(await self._repository(route), descriptor)

    def tells(self, route: Route) -> Sequence[str]:
        repository = own_repository(self._places, route.errand)
        return [f"{str(repository.base).rstrip('/')}/{repository.name}"]

    def is_troubled(self, route: Route) -> bool:
        return self._client.is_troubled(own_repository(self._places, route.errand))

    def doubt(self, route: Route) -> None:
        if route.is_registry_guessed:
            self._kinds.doubt(own_repository(self._places, route.errand))

    async def _other_form(self, repository: UpstreamRepository, tag: str, absence: Missing) -> Found:
        other = spellings(tag)[1]
        if parse_version(tag.replace("_", "+")) is None:
            raise absence
        with suppress(Missing, Corrupt):
            read = await self._client.manifest(repository, other)
            if read.parsed.chart_layer is not None:
                return FoundArtifact(self._artifacts, repository, other, read.manifest.digest, read)
        raise absence

    async def _repository(self, route: Route) -> UpstreamRepository:
        repository = own_repository(self._places, route.errand)
        if route.is_registry_guessed:
            await self._kinds.require(repository)
        return repository

    @asynccontextmanager
    async def _asking(self, route: Route) -> AsyncIterator[UpstreamRepository]:
        """The repository to ask; where what it answers is none of a registry's, it may be none after all."""
        repository = await self._repository(route)
        try:
            yield repository
        except (Missing, Corrupt) as error:
            if not route.is_registry_guessed or not _speaks_against(error):
                raise
            self._kinds.doubt(repository)
            await self._kinds.require(repository)
            raise


def _speaks_against(error: Missing | Corrupt) -> bool:
    """Whether an answer was none that a registry gives."""
    if isinstance(error, Corrupt):
        return error.reason in ("manifest_invalid", "tags_invalid")
    return isinstance(error.__cause__, WebPage)
