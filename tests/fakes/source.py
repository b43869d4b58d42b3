"""A source without a network: what upstream has is a dict, and its faults are switches."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.helm.version import resolve
from gateway.oci.digest import Digest
from gateway.oci.encoding import dump_compact
from gateway.oci.manifest import Manifest
from gateway.oci.media_types import HELM_CHART_LAYER, HELM_CONFIG, OCI_MANIFEST
from gateway.oci.outcomes import Missing, Outcome
from gateway.rules.route import Route
from gateway.sources.base import Fetched
from gateway.store.blobs import BlobStore, keep_bytes


def layer_of(version: str, content: str = "") -> bytes:
    return f"the archive of {version} {content}".encode()


def manifest_of(layer: bytes) -> Manifest:
    """Return the manifest that FakeSource builds around a layer."""
    config = b"{}"
    parts = [
        {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}
        for media_type, content in ((HELM_CONFIG, config), (HELM_CHART_LAYER, layer))
    ]
    content = dump_compact(
        {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": parts[0], "layers": [parts[1]]}
    )
    return Manifest(content, OCI_MANIFEST, Digest.of(content))


@dataclass(slots=True)
class FakeSource:
    """``layers`` by version, newest last. ``failure`` is raised to whoever asks; ``gate`` holds them back.

    ``stale_because`` makes it speak from memory; ``spoiled`` are versions whose archive cannot be had.
    """

    blobs: BlobStore
    layers: dict[str, bytes] = field(default_factory=dict)
    failure: Exception | None = None
    stale_because: Outcome | None = None
    spoiled: Mapping[str, Outcome] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    asked: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "helm"

    async def find(self, route: Route, tag: str) -> "FakeFound":
        await self._answer(tag)
        versions = list(self.layers)
        position = resolve(tag, versions)
        if position is None:
            raise Missing(f"no {tag}")
        return FakeFound(self, versions[position], self.layers[versions[position]])

    async def versions(self, route: Route) -> Sequence[str]:
        await self._answer("versions")
        return list(self.layers)

    async def newest(self, route: Route, count: int) -> AsyncIterator["FakeFound"]:
        await self._answer("newest")
        for version in list(reversed(self.layers))[:count]:
            yield FakeFound(self, version, self.layers[version])

    def tells(self, route: Route) -> Sequence[str]:
        return []

    async def _answer(self, what: str) -> None:
        self.asked.append(what)
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure


@dataclass(frozen=True, slots=True)
class FakeFound:
    source: FakeSource
    version: str
    layer: bytes

    @property
    def upstream_digest(self) -> Digest:
        return Digest.of(self.layer)

    @property
    def is_exact(self) -> bool:
        return True

    @property
    def failure(self) -> Outcome | None:
        return self.source.stale_because

    async def fetch(self) -> Fetched:
        self.source.fetched.append(self.version)
        if self.version in self.source.spoiled:
            raise self.source.spoiled[self.version]
        contents = (b"{}", self.layer)
        sizes = {await keep_bytes(self.source.blobs, content): len(content) for content in contents}
        return Fetched(manifest_of(self.layer), sizes, f"https://fake.test/{self.version}.tgz")
