"""Charts that a Helm index says lie in a registry: fetched as they are stored, under the index's rules."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.outcomes import Corrupt, Missing, Unavailable
from gateway.sources.base import Comparable
from tests.composed import HOST
from tests.fakes.charts import dump_index, index_entry, make_chart
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI, helm_artifact
from tests.fakes.registry import FakeRegistry
from tests.sources.helm_parts import HelmParts, helm_parts
from tests.sources.registry_parts import registry_at

pytestmark = pytest.mark.slow  # many small tests, seconds together

REGISTRY_HOST = "registry.example.test"
NAME = "charts/demo"
DEMO = make_chart("demo", "1.0.0")
BUILD = make_chart("demo", "1.1.0+build.5")
CHART = helm_artifact(DEMO, b"-----BEGIN PGP SIGNED MESSAGE-----\n")
URL = f"oci://{REGISTRY_HOST}/{NAME}"


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    with HelmRepo({}, prefix="charts") as repo:
        yield repo


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        CHART.push_to(registry, NAME, "1.0.0")
        yield registry


def list_at(repo: HelmRepo, *urls: str, archive: bytes = DEMO, **changes: object) -> None:
    repo.put("index.yaml", dump_index({"demo": [index_entry(archive, "x", urls=list(urls), **changes)]}))


def _trusting(registry: FakeRegistry, **more: str) -> str:
    """The registry, on a private network that the repository's host may see."""
    return registry_at(registry.origin, trusted_by=f"[{HOST}]", **more)


async def _content(parts: HelmParts, digest: Digest) -> bytes | None:
    opened = await parts.blobs.open(digest)
    if opened is None:
        return None
    try:
        return await opened.read(0, opened.size)
    finally:
        opened.close()


@pytest.mark.anyio
@pytest.mark.parametrize("suffix", ["", ":1.0.0", f"@{CHART.digest}", f":none@{CHART.digest}"])
async def test_the_registrys_own_manifest_is_served_and_its_parts_are_kept(
    suffix: str, repo: HelmRepo, registry: FakeRegistry, tmp_path: Path
) -> None:
    list_at(repo, URL + suffix)
    async with helm_parts(tmp_path, repo.url, more_upstreams=_trusting(registry)) as parts:
        found = await parts.source.find(parts.route(), "1.0.0")
        assert (found.compares, found.upstream_digest) == (Comparable.ARCHIVE, Digest.of(DEMO))
        fetched = await found.fetch()
        assert fetched.manifest.content == CHART.manifest
        assert fetched.sizes == {Digest.of(blob): len(blob) for blob in CHART.blobs}
        assert [await _content(parts, Digest.of(blob)) for blob in CHART.blobs] == list(CHART.blobs)
    assert fetched.origin == (f"{URL}@{CHART.digest}" if "@" in suffix else f"{URL}:1.0.0")


@pytest.mark.anyio
async def test_a_version_with_a_plus_is_the_tag_with_an_underscore(
    repo: HelmRepo, registry: FakeRegistry, tmp_path: Path
) -> None:
    helm_artifact(BUILD).push_to(registry, NAME, "1.1.0_build.5")
    list_at(repo, URL, archive=BUILD)
    async with helm_parts(tmp_path, repo.url, more_upstreams=_trusting(registry)) as parts:
        assert Digest.of(BUILD) in (await parts.fetch("1.1.0_build.5")).sizes


@pytest.mark.anyio
@pytest.mark.parametrize(("policy", "is_taken"), [("refuse", False), ("warn", True)])
async def test_a_chart_of_another_digest_than_the_index_says_is_refused_unless_told_otherwise(
    policy: str, is_taken: bool, repo: HelmRepo, registry: FakeRegistry, tmp_path: Path
) -> None:
    list_at(repo, URL, digest=Digest.of(b"another").hex)
    async with helm_parts(
        tmp_path, repo.url, more_upstreams=_trusting(registry), digest_mismatch=policy
    ) as parts:
        if is_taken:
            assert (await parts.fetch("1.0.0")).manifest.content == CHART.manifest
            return
        with pytest.raises(Corrupt) as caught:
            await parts.fetch("1.0.0")
        assert caught.value.reason == "digest_mismatch"
        assert await _content(parts, Digest.of(DEMO)) is None
    assert registry.count_of_blob(NAME, Digest.of(DEMO)) == 0


@pytest.mark.anyio
async def test_what_is_there_and_no_chart_is_refused(
    repo: HelmRepo, registry: FakeRegistry, tmp_path: Path
) -> None:
    OCI.image(10).push_to(registry, NAME, "image")
    list_at(repo, f"{URL}:image", digest=None)
    async with helm_parts(tmp_path, repo.url, more_upstreams=_trusting(registry)) as parts:
        with pytest.raises(Corrupt) as caught:
            await parts.fetch("1.0.0")
    assert caught.value.reason == "chart_mismatch"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("url", "outcome"),
    [
        (f"{URL}:2.0.0", Missing),
        ("oci://nowhere.example.test/demo", Unavailable),
        ("oci://user:word@registry.example.test/demo", Corrupt),
        ("oci://registry.example.test/Demo", Corrupt),
        ("oci://registry.example.test", Corrupt),
        ("oci://registry.example.test:5000/charts/demo", Corrupt),
        ("oci://169.254.169.254/demo", Unavailable),
        ("oci://[::1]/demo", Corrupt),
        (f"{URL}-{'x' * 250}", Corrupt),
    ],
)
async def test_a_place_that_is_not_there_or_not_followed_moves_on_to_the_next_url(
    url: str, outcome: type[Exception], repo: HelmRepo, registry: FakeRegistry, tmp_path: Path
) -> None:
    repo.put("demo-1.0.0.tgz", DEMO)
    more = _trusting(registry)
    list_at(repo, url)
    async with helm_parts(tmp_path / "alone", repo.url, more_upstreams=more) as parts:
        with pytest.raises(outcome):
            await parts.fetch("1.0.0")
    list_at(repo, url, "demo-1.0.0.tgz")
    async with helm_parts(tmp_path / "first", repo.url, more_upstreams=more) as parts:
        assert (await parts.fetch("1.0.0")).origin == f"{repo.url}/demo-1.0.0.tgz"


@pytest.mark.anyio
async def test_a_version_that_is_no_tag_is_not_asked_for(
    repo: HelmRepo, registry: FakeRegistry, tmp_path: Path
) -> None:
    version = f"1.0.0-{'x' * 130}"
    list_at(repo, URL, version=version)
    async with helm_parts(tmp_path, repo.url, more_upstreams=_trusting(registry)) as parts:
        (found,) = [one async for one in parts.source.candidates(parts.route(), CHART.digest, 25)]
        assert found.version == version
        with pytest.raises(Corrupt) as caught:
            await found.fetch()
    assert caught.value.reason == "bad_chart_url"
    assert registry.count() == 0


@pytest.fixture(params=["basic", "bearer"])
def signed_registry(request: pytest.FixtureRequest, registry: FakeRegistry) -> FakeRegistry:
    registry.auth = request.param
    registry.issuer.has_anonymous = False
    return registry


_SIGNED = {"username_env": "GATEWAY_SECRET_USER", "password_env": "GATEWAY_SECRET_WORD"}
_ENVIRONMENT = {"GATEWAY_SECRET_USER": "robot", "GATEWAY_SECRET_WORD": "s3cret"}


@pytest.mark.anyio
async def test_a_registry_that_trusts_the_repositorys_host_gets_its_credentials(
    repo: HelmRepo, signed_registry: FakeRegistry, tmp_path: Path
) -> None:
    list_at(repo, URL)
    more = _trusting(signed_registry, **_SIGNED)
    async with helm_parts(tmp_path, repo.url, more_upstreams=more, environment=_ENVIRONMENT) as parts:
        assert (await parts.fetch("1.0.0")).manifest.content == CHART.manifest
    assert not any("authorization" in request.headers for request in repo.requests)


@pytest.mark.anyio
async def test_a_registry_on_a_port_is_signed_in_to_with_what_that_port_has(
    repo: HelmRepo, signed_registry: FakeRegistry, tmp_path: Path
) -> None:
    list_at(repo, f"oci://{REGISTRY_HOST}:5000/{NAME}")
    other = {"username_env": "GATEWAY_SECRET_USER", "password_env": "GATEWAY_SECRET_USER"}
    more = _trusting(signed_registry, key=f"{REGISTRY_HOST}:5000", **_SIGNED)
    more += registry_at(signed_registry.origin.replace("http", "https"), **other)
    async with helm_parts(tmp_path, repo.url, more_upstreams=more, environment=_ENVIRONMENT) as parts:
        fetched = await parts.fetch("1.0.0")
        assert fetched.manifest.content == CHART.manifest
    assert fetched.origin == f"oci://{REGISTRY_HOST}:5000/{NAME}:1.0.0"


@pytest.mark.anyio
async def test_a_registry_that_does_not_is_asked_as_a_stranger_asks(
    repo: HelmRepo, signed_registry: FakeRegistry, tmp_path: Path
) -> None:
    list_at(repo, URL)
    more = registry_at(signed_registry.origin, **_SIGNED)
    async with helm_parts(
        tmp_path, repo.url, more_upstreams=more, environment=_ENVIRONMENT, may_dial_private=True
    ) as parts:
        with pytest.raises(Missing):
            await parts.fetch("1.0.0")
    assert signed_registry.count() > 0
    assert not any("authorization" in request.headers for request in signed_registry.requests)
