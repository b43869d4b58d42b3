"""When a version was made, by each source's own word; asking costs no blob."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.helm.created import created_at
from gateway.oci.outcomes import Corrupt, Missing, Unavailable
from gateway.sources.base import Found
from tests.composed import HOST, upstream
from tests.fakes.chart_proxy import FakeChartProxy
from tests.fakes.charts import dump_index, index_entry, make_chart
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import DOCKER, OCI, Artifact, helm_artifact
from tests.fakes.registry import FakeRegistry
from tests.sources.helm_parts import helm_parts
from tests.sources.registry_parts import NAME, PROXY_HOST, RegistryParts, registry_at, registry_parts

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

SECONDS = 1_714_979_289.0  # 2024-05-06T07:08:09Z
SAID = "org.opencontainers.image.created"
CHART = make_chart("demo", "1.0.0")
IMAGE = OCI.image(1000)


def index(*entries: dict[str, object]) -> dict[str, bytes]:
    return {"index.yaml": dump_index({"demo": list(entries)}), "demo-1.0.0.tgz": CHART}


def entry(version: str = "1.0.0", **changes: object) -> dict[str, object]:
    return index_entry(CHART, "demo-1.0.0.tgz", version=version, **changes)


def dated(artifact: Artifact, text: str = "2024-05-06T07:08:09Z") -> Artifact:
    return artifact.changed(annotations={SAID: text})


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake:
        yield fake


async def test_of_a_helm_repository_the_index_says_it_in_its_list_and_of_one_version(tmp_path: Path) -> None:
    entries = (
        entry(),
        entry(created="2030-01-01T00:00:00Z"),  # again: the first one counts
        entry("v2.0.0", created="2024-05-06T09:08:09+02:00"),
        entry("3.0.0", created=None),
        entry("4.0.0", created="yesterday"),
        entry("5.0.0", created="0001-01-01T00:00:00Z"),  # as Helm writes a time that it has not
    )
    with HelmRepo(index(*entries)) as repo:
        async with helm_parts(tmp_path, repo.url) as parts:
            told = await parts.source.versions(parts.route())
            assert told.created == {"1.0.0": SECONDS + 0.123456789, "v2.0.0": SECONDS}
            for tag, seconds in {"1.0.0": SECONDS + 0.123456789, "2.0.0": SECONDS, "3.0.0": None}.items():
                found = await parts.source.find(parts.route(), tag)
                assert await found.created_at() == seconds
        assert {request.path for request in repo.requests} == {"/index.yaml"}


@pytest.mark.parametrize(
    "artifact", [IMAGE, OCI.image_index(10), DOCKER.image(10), DOCKER.image_index(10)], ids=lambda _: ""
)
async def test_of_a_registry_the_annotation_says_it(artifact: Artifact, registry: FakeRegistry) -> None:
    dated(artifact).push_to(registry, NAME, "dated")
    artifact.push_to(registry, NAME, "plain")
    dated(artifact, "a while ago").push_to(registry, NAME, "vague")
    async with registry_parts(registry_at(registry.origin)) as parts:
        for tag, seconds in {"dated": SECONDS, "plain": None, "vague": None}.items():
            found = await parts.registry.find(parts.route(), tag)
            assert await found.created_at() == seconds
        assert (await parts.registry.versions(parts.route())).created == {}
    assert not [request for request in registry.requests if "/blobs/" in request.path]


async def test_a_manifest_that_was_read_to_find_it_is_not_read_again(registry: FakeRegistry) -> None:
    registry.has_head = False
    dated(IMAGE).push_to(registry, NAME, "1")
    async with registry_parts(registry_at(registry.origin)) as parts:
        found = await parts.registry.find(parts.route(), "1")
        assert await found.created_at() == SECONDS
        assert (await found.fetch()).manifest.digest == dated(IMAGE).digest
    assert registry.count_of_manifest(NAME, "1") == 1


async def test_what_follows_from_a_charts_name_alone_is_no_time(registry: FakeRegistry) -> None:
    """A converter writes it for a chart whose index entry has none."""
    made_up = created_at(None, "demo", "v1.0.0")
    chart = helm_artifact(CHART)
    names = {
        f"org.opencontainers.image.{key}": text for key, text in (("title", "demo"), ("version", "1.0.0"))
    }
    chart.changed(annotations={**names, SAID: made_up}).push_to(registry, NAME, "1.0.0")
    async with registry_parts(registry_at(registry.origin)) as parts:
        found = await parts.registry.find(parts.route(), "1.0.0")
        assert await found.created_at() is None


async def found_by(parts: RegistryParts, tag: str) -> Found:
    return await parts.proxy.find(parts.route("demo", host=HOST), tag)


async def test_of_a_chart_proxy_the_manifest_says_it_unless_it_was_made_up() -> None:
    undated = make_chart("demo", "2.0.0")
    files = index(entry(), index_entry(undated, "undated.tgz", created=None)) | {"undated.tgz": undated}
    with FakeChartProxy({HOST: files}) as fake:
        lines = registry_at(fake.origin, PROXY_HOST), upstream("https://charts.example.test")
        async with registry_parts(*lines) as parts:
            assert await (await found_by(parts, "1.0.0")).created_at() == SECONDS
            assert await (await found_by(parts, "v2.0.0")).created_at() is None


async def test_troubles_of_a_chart_proxy_stay_its_own_and_what_is_no_chart_is_missing() -> None:
    with FakeChartProxy({HOST: index(entry())}) as fake:
        lines = registry_at(fake.origin, PROXY_HOST), upstream("https://charts.example.test")
        async with registry_parts(*lines) as parts:
            IMAGE.push_to(fake, f"{HOST}/demo", "9.9.9")
            with pytest.raises(Missing, match="no Helm chart"):
                await (await found_by(parts, "9.9.9")).created_at()
            found = await found_by(parts, "1.0.0")
            fake.faults_of_manifest(f"{HOST}/demo", "1.0.0").status = 418
            with pytest.raises(Unavailable):
                await found.created_at()


async def test_a_manifest_that_is_none_is_wrong_bytes(registry: FakeRegistry) -> None:
    registry.push(NAME, "1", b"{}", IMAGE.media_type)
    async with registry_parts(registry_at(registry.origin)) as parts:
        found = await parts.registry.find(parts.route(), "1")
        with pytest.raises(Corrupt):
            await found.created_at()
