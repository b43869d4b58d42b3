"""What a registry has under a tag or digest, and a Helm chart's parts kept before anybody is answered."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from gateway.helm.created import told_seconds
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.manifest import EdgeKind, ParsedManifest
from gateway.oci.outcomes import Corrupt, Missing, Outcome
from gateway.oci.platforms import chosen_manifests
from gateway.sources.base import Comparable, Fetched, Sink, SinkWriter
from gateway.sources.registry_client import ReadManifest, RegistryClient
from gateway.sources.registry_place import UpstreamRepository

MAX_CHART_PARTS: Final = 16
_AT_ONCE: Final = 3
_MOST_BELOW: Final = 50  # manifests of an image index that are asked for their size


class Artifacts:
    """Fetches artifacts; what belongs to a Helm chart goes into ``sink``."""

    def __init__(self, client: RegistryClient, sink: Sink, max_chart_bytes: int) -> None:
        self.client = client
        self._sink = sink
        self._max_chart_bytes = max_chart_bytes

    async def keep(self, repository: UpstreamRepository, read: ReadManifest) -> Fetched:
        """A manifest, with the parts of a Helm chart kept; those of other artifacts wait to be asked for."""
        parts = _chart_parts(read.parsed)
        for part in parts:
            if part.size > self._max_chart_bytes:
                message = f"{part.digest} of {repository} has {part.size} bytes, more than a chart may have"
                raise Corrupt(message, "too_large")
        await self._keep_parts(repository, parts)
        return Fetched(read.manifest, {part.digest: part.size for part in parts}, read.origin)

    async def _keep_parts(self, repository: UpstreamRepository, parts: Sequence[Descriptor]) -> None:
        """All of them, or none: nothing is kept before everything is right."""
        turns = asyncio.Semaphore(_AT_ONCE)
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.TaskGroup() as group:
                    for part in parts:
                        writer = await stack.enter_async_context(self._sink.create(part.digest, part.size))
                        group.create_task(self._receive(repository, part, writer, turns))
            except ExceptionGroup as failures:
                raise _first_outcome(failures) from failures

    async def _receive(
        self, repository: UpstreamRepository, part: Descriptor, writer: SinkWriter, turns: asyncio.Semaphore
    ) -> None:
        try:
            async with turns, self.client.blob(repository, part) as pieces:
                async for piece in pieces:
                    await writer.write(piece)
            is_right = writer.digest == part.digest
        except ValueError:  # the sink's refusal
            is_right = False
        if not is_right:
            message = f"{repository} sent other bytes than {part.digest}"
            raise Corrupt(message, "digest_mismatch")


@dataclass(frozen=True, slots=True)
class FoundArtifact:
    """A tag, or with no ``version`` a digest, at a registry; ``read`` is the manifest where it has come."""

    artifacts: Artifacts
    repository: UpstreamRepository
    reference: str | Digest
    upstream_digest: Digest | None
    read: ReadManifest | None = None
    require: Callable[[ReadManifest], None] | None = None

    @property
    def version(self) -> str | None:
        return None if isinstance(self.reference, Digest) else self.reference

    @property
    def compares(self) -> Comparable:
        return Comparable.MANIFEST

    @property
    def failure(self) -> Outcome | None:
        return None

    async def created_at(self) -> float | None:
        return told_seconds((await self._manifest()).parsed.annotations)

    async def size_bytes(self, platforms: frozenset[str]) -> int | None:
        read = await self._manifest()
        sizes = [edge.descriptor.size for edge in read.parsed.edges if edge.kind is not EdgeKind.MANIFEST]
        below = chosen_manifests(read.manifest, read.parsed, platforms)
        if len(below) > _MOST_BELOW:
            return None
        for digest in below:
            part = await self.artifacts.client.manifest(self.repository, digest)
            sizes += [edge.descriptor.size for edge in part.parsed.edges]
        return sum(sizes)

    async def fetch(self) -> Fetched:
        return await self.artifacts.keep(self.repository, await self._manifest())

    async def _manifest(self) -> ReadManifest:
        read = self.read or await self.artifacts.client.manifest(self.repository, self.reference)
        if self.require is not None:
            self.require(read)
        return read


async def find_tag(
    artifacts: Artifacts,
    repository: UpstreamRepository,
    tag: str,
    require: Callable[[ReadManifest], None] | None = None,
) -> FoundArtifact:
    """Find what a tag names: by HEAD, or by the manifest itself where HEAD does not tell."""
    digest = await artifacts.client.digest_of(repository, tag)
    if digest is not None:
        return FoundArtifact(artifacts, repository, tag, digest, require=require)
    read = await artifacts.client.manifest(repository, tag)
    return FoundArtifact(artifacts, repository, tag, read.manifest.digest, read, require)


def require_chart(read: ReadManifest) -> None:
    """Raise Missing for what is no Helm chart: under this name there is none."""
    if read.parsed.chart_layer is None:
        raise Missing(f"what {read.origin} gave is no Helm chart")


def _chart_parts(parsed: ParsedManifest) -> Sequence[Descriptor]:
    """Config and layers of a chart, each once; nothing of what has more parts than any chart."""
    if not parsed.is_helm_chart:
        return ()
    parts = {edge.descriptor.digest: edge.descriptor for edge in parsed.edges}
    return list(parts.values()) if len(parts) <= MAX_CHART_PARTS else ()


def _first_outcome(failures: ExceptionGroup[Exception]) -> Exception:
    return next((one for one in failures.exceptions if isinstance(one, Outcome)), failures.exceptions[0])
