"""A chart with a dependency elsewhere, under names that rewrite it and names that do not."""

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Protocol

import pytest

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.manifest import Manifest
from gateway.store.blobs import MemoryBlobs
from tests.fakes.charts import chart_yaml_of, make_chart
from tests.fakes.source import FakeSource, manifest_of
from tests.ruled_puller import OWN_HOST, Ruled, wanted

NEAR, PLAIN, SIGNED, ELSEWHERE = "near/app", "plain/app", "signed/app", "elsewhere/app"
TARGET, OTHER = "first.example.test/charts/app", "second.example.test/charts/app"
RULES = """
defaults: {chain: [helm], missing_for: 1s, drift: follow}
rules:
  - {repository: "near/*", rewrite: first.example.test/charts/$1, rewrite_dependencies: true}
  - {repository: "signed/*", rewrite: first.example.test/charts/$1, provenance: true}
  - {repository: "plain/*", rewrite: first.example.test/charts/$1}
  - {repository: "elsewhere/*", rewrite: second.example.test/charts/$1, rewrite_dependencies: true}
"""
UPSTREAM = "https://charts.example.test/stable"
HERE = f"oci://{OWN_HOST}/charts.example.test/stable"


class Opened(Protocol):
    """Opens a worker on the folder and the database of a test, under RULES."""

    def __call__(
        self,
        upstreams: Mapping[str, FakeSource] | None = None,
        *,
        beside: Ruled | None = None,
        offline: str = "",
        own_host: str | None = OWN_HOST,
    ) -> AbstractAsyncContextManager[Ruled]: ...


def make_app(
    version: str = "1.0.0", text: bytes = b"", files: Mapping[str, bytes] = MappingProxyType({})
) -> bytes:
    dependency = {"name": "redis", "version": "1.x", "repository": UPSTREAM}
    return make_chart("app", version, {"values.yaml": text, **files}, dependencies=[dependency])


APP = make_app()
APP_DIGEST = manifest_of(APP).digest


def with_app(archive: bytes = APP, **changes: object) -> dict[str, FakeSource]:
    """The target with this archive as its 1.0.0."""
    return {TARGET: FakeSource(MemoryBlobs(), {"1.0.0": archive}, **changes)}  # type: ignore[arg-type]


def source(at: Ruled) -> FakeSource:
    return at.upstreams.by_target[TARGET]


def layer_of(manifest: Manifest) -> Digest:
    """The digest of the archive that it names."""
    return Digest.parse(json.loads(manifest.content)["layers"][0]["digest"])


async def archive_of(at: Ruled, digest: Digest, name: str = NEAR) -> bytes:
    """What a client has in the end of a manifest's digest."""
    manifest = (await at.puller.manifest(wanted(name), digest)).manifest
    return await at.read(name, layer_of(manifest))


def leads_to(archive: bytes) -> str:
    """Where its dependency is looked for."""
    dependencies = chart_yaml_of(archive)["dependencies"]
    assert isinstance(dependencies, list)
    return str(dependencies[0]["repository"])


async def refusal(at: Ruled, name: str = NEAR, tag: str = "1.0.0", **how: str) -> OciError:
    """Pull, and return what is said instead."""
    with pytest.raises(OciError) as caught:
        await at.pull(name, tag, **how)
    return caught.value
