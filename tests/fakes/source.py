"""A source without a network: what upstream has is a dict, and its faults are switches."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.helm.version import resolve
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.encoding import dump_compact
from gateway.oci.manifest import Manifest
from gateway.oci.media_types import HELM_CHART_LAYER, HELM_CONFIG, OCI_MANIFEST
from gateway.oci.outcomes import Missing, Outcome
from gateway.rules.model import SourceName
from gateway.rules.route import Route
from gateway.sources.base import Comparable, Fetched, Found, Versions
from gateway.store.blobs import BlobStore, keep_bytes

IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
IMAGE_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def layer_of(version: str, content: str = "") -> bytes:
    return f"the archive of {version} {content}".encode()


def manifest_of(layer: bytes, *, media_types: tuple[str, str] = (HELM_CONFIG, HELM_CHART_LAYER)) -> Manifest:
    """Return the manifest that FakeSource builds around a layer: a chart's, or another artifact's."""
    parts = [
        {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}
        for media_type, content in zip(media_types, (b"{}", layer), strict=True)
    ]
    content = dump_compact(
        {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": parts[0], "layers": [parts[1]]}
    )
    return Manifest(content, OCI_MANIFEST, Digest.of(content))


def image_of(layer: bytes) -> Manifest:
    return manifest_of(layer, media_types=(IMAGE_CONFIG, IMAGE_LAYER))


@dataclass(slots=True)
class FakeSource:
    """``layers`` by version, newest last. ``failure`` is raised to whoever asks, ``list_failure`` to who asks
    for all versions; ``gate`` holds them back.

    ``stale_because`` makes it speak from memory; ``spoiled`` are versions whose archive cannot be had.
    ``builds`` makes the manifest around a layer; only charts come with their blobs. ``created`` is when each
    version was made, which a Helm index says in its list, and others of one version at a time.
    """

    blobs: BlobStore
    layers: dict[str, bytes] = field(default_factory=dict)
    name: SourceName = SourceName.HELM
    compares: Comparable = Comparable.ARCHIVE
    builds: Callable[[bytes], Manifest] = manifest_of
    failure: Exception | None = None
    list_failure: Exception | None = None
    stale_because: Outcome | None = None
    spoiled: Mapping[str, Outcome] = field(default_factory=dict)
    listed: Sequence[Descriptor] = ()
    created: Mapping[str, float] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    troubled: str = ""
    now: Callable[[], float] = lambda: 0.0
    asked: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    served: list[Digest] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)

    async def find(self, route: Route, tag: str) -> Found:
        await self._answer(tag)
        versions = list(self.layers)
        position = resolve(tag, versions)
        if position is None:
            raise Missing(f"no {tag}")
        return FakeFound(self, versions[position], self.layers[versions[position]])

    async def versions(self, route: Route) -> Versions:
        await self._answer("versions")
        if self.list_failure is not None:
            raise self.list_failure
        created = self.created if self.compares is Comparable.ARCHIVE else {}
        return Versions(list(self.layers), self.now(), self.stale_because, created)

    async def candidates(self, route: Route, digest: Digest, count: int) -> AsyncIterator[Found]:
        if self.compares is Comparable.ARCHIVE:
            await self._answer("newest")
            for version in list(reversed(self.layers))[:count]:
                yield FakeFound(self, version, self.layers[version])
            return
        await self._answer(str(digest))
        layer = next((layer for layer in self.layers.values() if self.builds(layer).digest == digest), None)
        if layer is None:
            raise Missing(f"no {digest}")
        yield FakeFound(self, None, layer)

    async def referrers(self, route: Route, subject: Digest) -> Sequence[Descriptor]:
        await self._answer(f"referrers of {subject}")
        return self.listed

    @asynccontextmanager
    async def blob(self, route: Route, descriptor: Descriptor) -> AsyncIterator[AsyncIterator[bytes]]:
        if self.compares is Comparable.ARCHIVE:
            raise Missing("only whole charts are had here")
        await self._answer(f"blob {descriptor.digest}")
        content = self._content(descriptor.digest)
        if content is None:
            raise Missing(f"no {descriptor.digest}")
        self.served.append(descriptor.digest)
        yield _pieces(content)

    async def has_blob(self, route: Route, descriptor: Descriptor) -> bool:
        await self._answer(f"head {descriptor.digest}")
        return self.compares is Comparable.MANIFEST and self._content(descriptor.digest) is not None

    def tells(self, route: Route) -> Sequence[str]:
        return [f"https://fake.test/{route.target}"]

    def is_troubled(self, route: Route) -> bool:
        return bool(self.troubled)

    def doubt(self, route: Route) -> None:
        self.doubted.append(str(route.target))

    def _content(self, digest: Digest) -> bytes | None:
        contents = (b"{}", *self.layers.values())
        return next((content for content in contents if Digest.of(content) == digest), None)

    async def _answer(self, what: str) -> None:
        self.asked.append(what)
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 7):
        yield content[start : start + 7]


@dataclass(frozen=True, slots=True)
class FakeFound:
    source: FakeSource
    version: str | None
    layer: bytes

    @property
    def upstream_digest(self) -> Digest | None:
        if self.source.compares is Comparable.ARCHIVE:
            return Digest.of(self.layer)
        return self.source.builds(self.layer).digest

    @property
    def compares(self) -> Comparable:
        return self.source.compares

    @property
    def failure(self) -> Outcome | None:
        return self.source.stale_because

    async def created_at(self) -> float | None:
        return self.source.created.get(self.version or "")

    async def size_bytes(self, platforms: frozenset[str]) -> int | None:
        return len(self.layer)

    async def fetch(self) -> Fetched:
        source = self.source
        source.fetched.append(self.version or "by digest")
        spoiled = source.spoiled.get(self.version or "")
        if spoiled is not None:
            raise spoiled
        manifest = source.builds(self.layer)
        sizes: dict[Digest, int] = {}
        if manifest == manifest_of(self.layer):
            sizes = {await keep_bytes(source.blobs, content): len(content) for content in (b"{}", self.layer)}
        return Fetched(manifest, sizes, f"https://fake.test/{self.version}.tgz")
