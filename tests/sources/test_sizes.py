"""How large something is, by each source's own word, before any of it is fetched."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.outcomes import Unavailable
from tests.composed import HOST, upstream
from tests.fakes.chart_proxy import FakeChartProxy
from tests.fakes.charts import dump_index, index_entry, make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI, Artifact, helm_artifact, index_of_all
from tests.fakes.registry import FakeRegistry
from tests.sources.helm_parts import helm_parts
from tests.sources.registry_parts import NAME, PROXY_HOST, registry_at, registry_parts

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

ALL = frozenset[str]()
CHART = make_chart("demo", "1.0.0")
INDEX = OCI.image_index(1000, 500)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake:
        yield fake


def parts_of(artifact: Artifact) -> int:
    return sum(map(len, artifact.blobs))


async def test_of_a_chart_in_a_helm_repository_head_tells(tmp_path: Path) -> None:
    with HelmRepo(repository_of(CHART)) as repo:
        async with helm_parts(tmp_path, repo.url) as parts:
            found = await parts.source.find(parts.route(), "1.0.0")
            assert await found.size_bytes(ALL) == len(CHART)
        assert repo.count_of("demo-1.0.0.tgz") == 0


async def test_that_head_is_not_offered_leaves_it_unknown(tmp_path: Path) -> None:
    with HelmRepo(repository_of(CHART)) as repo:
        repo.faults_of("demo-1.0.0.tgz").status = 405
        async with helm_parts(tmp_path, repo.url) as parts:
            found = await parts.source.find(parts.route(), "1.0.0")
            assert await found.size_bytes(ALL) is None


async def test_an_entry_without_urls_has_no_size(tmp_path: Path) -> None:
    entry = index_entry(CHART, "demo-1.0.0.tgz", urls=[])
    with HelmRepo({"index.yaml": dump_index({"demo": [entry]})}) as repo:
        async with helm_parts(tmp_path, repo.url) as parts:
            found = await parts.source.find(parts.route(), "1.0.0")
            assert await found.size_bytes(ALL) is None


async def test_of_a_chart_whose_index_leads_to_a_registry_the_manifest_tells(
    tmp_path: Path, registry: FakeRegistry
) -> None:
    artifact = helm_artifact(CHART)
    artifact.push_to(registry, "charts/demo", "1.0.0")
    entry = index_entry(CHART, "oci://registry.example.test/charts/demo")
    more = registry_at(registry.origin, trusted_by=f"[{HOST}]")
    with HelmRepo({"index.yaml": dump_index({"demo": [entry]})}) as repo:
        async with helm_parts(tmp_path, repo.url, more_upstreams=more) as parts:
            found = await parts.source.find(parts.route(), "1.0.0")
            assert await found.size_bytes(ALL) == parts_of(artifact)


async def test_of_an_image_its_manifest_tells(registry: FakeRegistry) -> None:
    image = INDEX.parts[0]
    image.push_to(registry, NAME, "one")
    async with registry_parts(registry_at(registry.origin)) as parts:
        found = await parts.registry.find(parts.route(), "one")
        assert await found.size_bytes(ALL) == parts_of(image)
    assert not [request for request in registry.requests if "/blobs/" in request.path]


async def test_of_an_image_index_the_manifests_of_the_chosen_platforms_tell(registry: FakeRegistry) -> None:
    INDEX.push_to(registry, NAME, "all")
    async with registry_parts(registry_at(registry.origin)) as parts:
        found = await parts.registry.find(parts.route(), "all")
        assert await found.size_bytes(ALL) == sum(map(parts_of, INDEX.parts))
        assert await found.size_bytes(frozenset({"linux/arm64"})) == parts_of(INDEX.parts[1])


async def test_of_an_image_index_of_very_many_it_is_not_asked(registry: FakeRegistry) -> None:
    described = [INDEX.parts[0].descriptor() | {"digest": str(Digest.of(b"%d" % one))} for one in range(60)]
    index_of_all(described).push_to(registry, NAME, "many")
    async with registry_parts(registry_at(registry.origin)) as parts:
        found = await parts.registry.find(parts.route(), "many")
        assert await found.size_bytes(ALL) is None


async def test_a_chart_proxy_tells_as_a_registry_does_and_its_troubles_stay_its_own() -> None:
    with FakeChartProxy({HOST: repository_of(CHART)}) as fake:
        lines = registry_at(fake.origin, PROXY_HOST), upstream("https://charts.example.test")
        async with registry_parts(*lines) as parts:
            found = await parts.proxy.find(parts.route("demo", host=HOST), "1.0.0")
            size_bytes = await found.size_bytes(ALL)
            assert size_bytes is not None
            assert size_bytes > len(CHART)  # its config too
            fake.go_down()
            with pytest.raises(Unavailable):
                await found.size_bytes(ALL)
