"""A chart proxy: the target's charts under its own name, and its troubles never the target's."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.oci.digest import Digest
from gateway.oci.media_types import OCI_MANIFEST
from gateway.oci.outcomes import Corrupt, Denied, Missing, MissingName, Skipped, Unavailable
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.rules.load import load_rules
from gateway.rules.route import Route
from gateway.sources.base import Comparable
from tests.composed import HOST, upstream
from tests.fakes.chart_proxy import FakeChartProxy, converted
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.images import OCI, signature_of
from tests.sources.registry_parts import (
    PROXY_HOST,
    SECRETS,
    SIGNED,
    RegistryParts,
    registry_at,
    registry_parts,
)

pytestmark = pytest.mark.slow  # many small tests, seconds together

FILES = repository_of(make_chart("demo", "1.0.0"), make_chart("demo", "2.0.0+build.5"))
NAME = f"{HOST}/demo"


@pytest.fixture
def fake() -> Iterator[FakeChartProxy]:
    with FakeChartProxy({HOST: FILES}) as fake:
        yield fake


def _lines(fake: FakeChartProxy, **more: str) -> tuple[str, str]:
    """The proxy, and a Helm repository that nobody dials."""
    return registry_at(fake.origin, PROXY_HOST, **more), upstream("https://charts.example.test")


def _route(parts: RegistryParts, chart: str = "demo") -> Route:
    return parts.route(chart, host=HOST)


@pytest.mark.anyio
async def test_a_chart_there_is_the_very_one_that_we_would_convert_and_is_kept_whole(
    fake: FakeChartProxy,
) -> None:
    expected = converted(FILES, "demo")["1.0.0"]
    async with registry_parts(*_lines(fake)) as parts:
        found = await parts.proxy.find(_route(parts), "1.0.0")
        assert (found.version, found.upstream_digest) == ("1.0.0", expected.manifest_digest)
        assert (found.compares, found.failure) == (Comparable.MANIFEST, None)
        fetched = await found.fetch()
        assert fetched.manifest.content == expected.manifest
        layer = expected.layer_descriptor
        assert fetched.sizes == {
            expected.config_descriptor.digest: len(expected.config),
            layer.digest: layer.size,
        }
        assert await parts.content(expected.config_descriptor.digest) == expected.config
        (candidate,) = [
            one async for one in parts.proxy.candidates(_route(parts), expected.manifest_digest, 1)
        ]
        assert (await candidate.fetch()).manifest == fetched.manifest
    assert all(request.path.startswith(f"/v2/{NAME}/") for request in fake.requests)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("1.0.0", "1.0.0"),
        ("v1.0.0", "1.0.0"),
        ("2.0.0_build.5", "2.0.0_build.5"),
        ("v2.0.0_build.5", "2.0.0_build.5"),
    ],
)
async def test_a_version_is_found_in_every_spelling(tag: str, version: str, fake: FakeChartProxy) -> None:
    async with registry_parts(*_lines(fake)) as parts:
        assert (await parts.proxy.find(_route(parts), tag)).version == version


@pytest.mark.anyio
async def test_what_is_not_there_is_missing(fake: FakeChartProxy) -> None:
    async with registry_parts(*_lines(fake)) as parts:
        with pytest.raises(Missing) as caught:
            await parts.proxy.find(_route(parts), "9.9.9")
        assert type(caught.value) is Missing
        assert "9.9.9" in caught.value.message
        with pytest.raises(MissingName):
            await parts.proxy.find(_route(parts, "nothing"), "1.0.0")
        with pytest.raises(Missing):
            [one async for one in parts.proxy.candidates(_route(parts), Digest.of(b"nothing"), 1)]


@pytest.mark.anyio
async def test_its_tags_are_the_versions_and_nobody_refers_to_them(fake: FakeChartProxy) -> None:
    async with registry_parts(*_lines(fake)) as parts:
        versions = await parts.proxy.versions(_route(parts))
        assert (list(versions.names), versions.confirmed_at) == (["1.0.0", "2.0.0_build.5"], parts.clock())
        asked_before = fake.count()
        subject = converted(FILES, "demo")["1.0.0"].manifest_digest
        assert await parts.proxy.referrers(_route(parts), subject) == ()
    assert fake.count() == asked_before


@pytest.mark.anyio
async def test_its_blobs_are_handed_out(fake: FakeChartProxy) -> None:
    layer = converted(FILES, "demo")["1.0.0"].layer_descriptor
    async with registry_parts(*_lines(fake)) as parts:
        await parts.proxy.versions(_route(parts))
        assert await parts.proxy.has_blob(_route(parts), layer)
        assert not await parts.proxy.has_blob(_route(parts), replace(layer, size=1))
        async with parts.proxy.blob(_route(parts), layer) as pieces:
            content = b"".join([piece async for piece in pieces])
    assert Digest.of(content) == layer.digest


@pytest.mark.anyio
@pytest.mark.parametrize("artifact", [OCI.image(10), OCI.image_index(10), signature_of(OCI.image(10))])
async def test_what_is_no_chart_is_not_the_chart_that_was_asked_for(
    artifact: object, fake: FakeChartProxy
) -> None:
    assert isinstance(artifact, type(OCI.image(10)))
    artifact.push_to(fake, NAME, "3.0.0")
    async with registry_parts(*_lines(fake)) as parts:
        found = await parts.proxy.find(_route(parts), "3.0.0")
        with pytest.raises(Missing):
            await found.fetch()


@pytest.mark.anyio
async def test_an_address_that_may_not_be_dialled_leaves_the_proxy_out(fake: FakeChartProxy) -> None:
    private = f"  {PROXY_HOST}: {{url: '{fake.origin}'}}\n"
    async with registry_parts(private, _lines(fake)[1]) as parts:
        await _require_left_out(parts)
    assert fake.count() == 0


@pytest.mark.anyio
async def test_a_proxy_that_is_denied_or_refuses_our_credentials_is_left_out(fake: FakeChartProxy) -> None:
    async with registry_parts(*_lines(fake, deny="not from here")) as parts:
        await _require_left_out(parts)
    assert fake.count() == 0
    fake.auth = "basic"
    wrong = {**SIGNED, "password_env": next(iter(SECRETS))}
    async with registry_parts(*_lines(fake, **wrong)) as parts:
        await _require_left_out(parts)


async def _require_left_out(parts: RegistryParts) -> None:
    layer = converted(FILES, "demo")["1.0.0"].layer_descriptor
    for asked in (
        parts.proxy.find(_route(parts), "1.0.0"),
        parts.proxy.versions(_route(parts)),
        parts.proxy.has_blob(_route(parts), layer),
        anext(parts.proxy.candidates(_route(parts), layer.digest, 1)),
    ):
        with pytest.raises(Skipped) as caught:
            await asked
        assert not isinstance(caught.value, Denied)
    with pytest.raises(Skipped):
        async with parts.proxy.blob(_route(parts), layer):
            raise AssertionError("nothing is handed out")


@pytest.mark.anyio
async def test_a_proxy_that_does_not_resolve_or_is_down_is_an_outage(fake: FakeChartProxy) -> None:
    nowhere = registry_at("https://nowhere.example.test", PROXY_HOST)
    async with registry_parts(nowhere, _lines(fake)[1]) as parts:
        with pytest.raises(Unavailable):
            await parts.proxy.find(_route(parts), "1.0.0")
    async with registry_parts(*_lines(fake)) as parts:
        fake.go_down()
        with pytest.raises(Unavailable):
            await parts.proxy.find(_route(parts), "1.0.0")
        assert parts.proxy.is_troubled(_route(parts))


@pytest.mark.anyio
async def test_wrong_bytes_there_are_kept_by_nobody(fake: FakeChartProxy) -> None:
    expected = converted(FILES, "demo")["1.0.0"]
    fake.faults_of_blob(NAME, expected.layer_descriptor.digest).wrong_bytes = True
    async with registry_parts(*_lines(fake)) as parts:
        found = await parts.proxy.find(_route(parts), "1.0.0")
        with pytest.raises(Corrupt) as caught:
            await found.fetch()
        assert await parts.content(expected.layer_descriptor.digest) is None
    assert caught.value.reason == "digest_mismatch"


@pytest.mark.anyio
async def test_a_manifest_there_is_as_strictly_read_as_any(fake: FakeChartProxy) -> None:
    fake.push(NAME, "3.0.0", b"{}", OCI_MANIFEST)
    async with registry_parts(*_lines(fake)) as parts:
        with pytest.raises(Corrupt):
            await (await parts.proxy.find(_route(parts), "3.0.0")).fetch()


@pytest.mark.anyio
async def test_a_name_too_long_for_the_proxy_and_a_route_without_one_are_left_out(
    fake: FakeChartProxy,
) -> None:
    async with registry_parts(*_lines(fake)) as parts:
        longest = Target(Repository(f"{HOST}/{'a' * (255 - len(HOST) - 1)}"))
        for route in (
            replace(_route(parts), target=longest),
            replace(_route(parts), chartproxy=None),
        ):
            with pytest.raises(Skipped):
                await parts.proxy.find(route, "1.0.0")
            assert parts.proxy.tells(route) == []
            assert not parts.proxy.is_troubled(route)
        assert parts.proxy.tells(_route(parts)) == [f"{fake.origin}/v2/{NAME}"]
    assert fake.count() == 0


@pytest.mark.anyio
async def test_a_target_whose_host_has_a_port_has_no_name_at_a_proxy(fake: FakeChartProxy) -> None:
    ported = "ported.example.test:5000"
    async with registry_parts(*_lines(fake), registry_at("https://reg.example.test", ported)) as parts:
        route = parts.route("demo", host=ported)
        assert str(route.target) == f"{ported}/demo"
        with pytest.raises(Skipped, match="has no name for this"):
            await parts.proxy.find(route, "1.0.0")
    assert fake.count() == 0


@pytest.mark.anyio
async def test_the_proxy_is_asked_by_the_rules_that_name_it(fake: FakeChartProxy) -> None:
    async with registry_parts(*_lines(fake)) as parts:
        denied = f"version: 1\nupstreams:\n{registry_at(fake.origin, PROXY_HOST, deny='not from here')}"
        other = replace(_route(parts), rules=load_rules(denied))
        with pytest.raises(Skipped, match="not from here"):
            await parts.proxy.find(other, "1.0.0")
        assert (await parts.proxy.find(_route(parts), "1.0.0")).version == "1.0.0"


@pytest.mark.anyio
async def test_a_proxy_that_leads_back_to_us_is_left_out(fake: FakeChartProxy) -> None:
    fake.faults.status = 502
    fake.faults.headers = {"X-Gateway-Refused": "loop"}
    async with registry_parts(*_lines(fake)) as parts:
        with pytest.raises(Skipped):
            await parts.proxy.find(_route(parts), "1.0.0")
        with pytest.raises(Skipped):
            await parts.proxy.versions(_route(parts))


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 405, 451])
async def test_a_status_that_means_nothing_here_is_the_proxys_trouble_alone(
    status: int, fake: FakeChartProxy
) -> None:
    fake.faults.status = status
    async with registry_parts(*_lines(fake)) as parts:
        with pytest.raises(Unavailable):
            await parts.proxy.find(_route(parts), "1.0.0")
