"""The registry source against distribution itself, as it is and with a password."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.outcomes import Denied, Missing, MissingName
from gateway.sources.registry_client import ListLimits
from tests import clients
from tests.e2e.real_registry import RealRegistry, running_registry
from tests.fakes.charts import make_chart
from tests.fakes.images import OCI, content_of, helm_artifact, referrers_index, signature_of, tag_of
from tests.sources.registry_parts import NAME, SIGNED, registry_at, registry_parts

pytestmark = pytest.mark.e2e

CHART = helm_artifact(make_chart("app", "1.2.3"))
IMAGES = OCI.image_index(1000, 2000)


@pytest.fixture(params=clients.REGISTRIES)
def real(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RealRegistry]:
    with running_registry(clients.registry(request.param), tmp_path / "registry") as real:
        yield real


@pytest.fixture(params=clients.REGISTRIES)
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RealRegistry]:
    with running_registry(clients.registry(request.param), tmp_path / "registry", has_password=True) as real:
        yield real


@pytest.mark.anyio
async def test_distribution_gives_what_was_pushed_there(real: RealRegistry) -> None:
    CHART.push_to(real, NAME, "v1.2.3")
    IMAGES.push_to(real, NAME, "latest")
    async with registry_parts(registry_at(real.url)) as parts:
        route = parts.route(is_guessed=True)
        chart = await (await parts.registry.find(route, "1.2.3")).fetch()
        assert (chart.manifest.content, len(chart.sizes)) == (CHART.manifest, 2)
        assert (await parts.fetch("latest")).manifest.content == IMAGES.manifest
        (part,) = [one async for one in parts.registry.candidates(route, IMAGES.parts[0].digest, 1)]
        assert (await part.fetch()).manifest.content == IMAGES.parts[0].manifest
        with pytest.raises(Missing) as caught:
            await parts.registry.find(route, "9.9.9")
        assert type(caught.value) is Missing
        with pytest.raises(MissingName):
            await parts.registry.versions(parts.route("team/nothing"))


@pytest.mark.anyio
async def test_distributions_pages_of_tags_are_followed(real: RealRegistry) -> None:
    for blob in CHART.blobs:
        real.put_blob(NAME, blob)
    tags = sorted(f"1.0.{number}" for number in range(30))
    for tag in tags:
        real.push(NAME, tag, CHART.manifest, CHART.media_type)
    async with registry_parts(registry_at(real.url), limits=ListLimits(names_on_a_page=7)) as parts:
        assert sorted((await parts.registry.versions(parts.route())).names) == tags


@pytest.mark.anyio
async def test_distribution_has_no_referrers_but_the_tag_that_stands_for_them(real: RealRegistry) -> None:
    signature = signature_of(CHART)
    for artifact, tag in (
        (CHART, "1"),
        (signature, None),
        (referrers_index(signature), tag_of(CHART.digest)),
    ):
        artifact.push_to(real, NAME, tag)
    async with registry_parts(registry_at(real.url)) as parts:
        (found,) = await parts.registry.referrers(parts.route(), CHART.digest)
        assert found.digest == signature.digest
        assert list(await parts.registry.referrers(parts.route(), signature.digest)) == []


@pytest.mark.anyio
async def test_distributions_blobs_come_whole_and_are_asked_after(real: RealRegistry) -> None:
    content = content_of("blob", 3_000_000)
    descriptor = Descriptor("application/octet-stream", real.put_blob(NAME, content), len(content))
    async with registry_parts(registry_at(real.url)) as parts:
        async with parts.registry.blob(parts.route(), descriptor) as pieces:
            assert b"".join([piece async for piece in pieces]) == content
        assert await parts.registry.has_blob(parts.route(), descriptor)
        nothing = Descriptor("application/octet-stream", Digest.of(b"nothing"), 7)
        assert not await parts.registry.has_blob(parts.route(), nothing)


@pytest.mark.anyio
async def test_distribution_lets_in_who_has_the_password(guarded: RealRegistry) -> None:
    CHART.push_to(guarded, NAME, "1.2.3")
    async with registry_parts(registry_at(guarded.url, **SIGNED)) as parts:
        assert (await parts.fetch("1.2.3")).manifest.content == CHART.manifest
    async with registry_parts(registry_at(guarded.url)) as parts:
        assert await parts.kinds.is_registry(parts.repository())
        with pytest.raises(Missing):
            await parts.fetch("1.2.3")
    async with registry_parts(
        registry_at(guarded.url, **{**SIGNED, "password_env": "GATEWAY_SECRET_USER"})
    ) as parts:
        with pytest.raises(Denied):
            await parts.fetch("1.2.3")
