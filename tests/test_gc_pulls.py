"""What was evicted is pulled again, by a whole gateway that still has all of it in memory: the same, once."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gateway.caretaker import collector, pin_desk
from gateway.collected import Kept, Order
from gateway.oci.digest import Digest
from gateway.oci.location import parse_location
from gateway.oci.manifest import parse_manifest
from gateway.rule_revisions import InForce
from gateway.rules.load import load_rules
from tests.composed import HOST, Composed, composed, upstream
from tests.fakes.chart_proxy import FakeChartProxy
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI, helm_artifact
from tests.fakes.messages import Answer, Request
from tests.fakes.registry import FakeRegistry
from tests.fakes.server import FakeServer
from tests.gc_house import NOW

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # live servers

CHART = make_chart("demo", "1.0.0", {"values.yaml": b"a: 1\n"})
FILES = repository_of(CHART)
IMAGE = OCI.image(60_000)
DUE = "defaults: {fresh_for: 0s, recheck_for: 0s}\n"  # else an index speaks for its host for minutes
ARTIFACT = helm_artifact(CHART)


@dataclass(frozen=True, slots=True)
class World:
    """An upstream, and the rules that lead there."""

    server: FakeServer
    rules: str


@contextmanager
def helm_repository() -> Iterator[World]:
    with HelmRepo(FILES) as server:
        yield World(server, f"upstreams:\n{upstream(server.url, kind='helm')}")


@contextmanager
def registry_image() -> Iterator[World]:
    with FakeRegistry() as server:
        IMAGE.push_to(server, "demo", "1.0.0")
        yield World(server, f"upstreams:\n{upstream(server.origin, kind='registry')}")


@contextmanager
def registry_chart() -> Iterator[World]:
    with FakeRegistry() as server:
        ARTIFACT.push_to(server, "demo", "1.0.0")
        yield World(server, f"upstreams:\n{upstream(server.origin, kind='registry')}")


@contextmanager
def chart_proxy() -> Iterator[World]:
    with FakeChartProxy({HOST: FILES}) as server:
        proxy = upstream(server.origin, "proxy.example.test", kind="registry")
        here = f"  {HOST}: {{allow_private: true, chain: [chartproxy], chartproxy: proxy.example.test}}\n"
        yield World(server, f"upstreams:\n{proxy}{here}")


async def layer_of(at: Composed) -> Digest:
    answer = await at.manifest(f"{HOST}/demo", "1.0.0")
    assert answer.status_code == 200
    (layer,) = parse_manifest(answer.content, None).layers
    return layer.digest


@pytest.mark.parametrize("world", [helm_repository, registry_image, registry_chart, chart_proxy])
async def test_what_was_evicted_is_pulled_again_by_one_request(
    tmp_path: Path, world: Callable[[], AbstractContextManager[World]]
) -> None:
    with world() as there:
        async with composed(tmp_path, there.rules) as at:
            layer = await layer_of(at)
            path = f"/v2/{HOST}/demo/blobs/{layer}"
            before = await at.client.get(path)
            report = await collector(at.gateway).collect(NOW)
            assert [blob.digest for blob in report.evicted] == [layer]
            assert report.freed_bytes == len(before.content)
            asked = there.server.count()
            assert await layer_of(at) == layer
            assert (await at.client.head(path)).status_code == 200
            assert there.server.count() == asked
            again = await at.client.get(path)
            assert (again.status_code, again.content) == (200, before.content)
            assert Digest.of(again.content) == layer
            assert there.server.count() == asked + 1
            assert (await at.client.get(path)).headers["x-cache"] == "hit"


async def test_a_reader_reads_on_while_what_it_reads_is_evicted(tmp_path: Path) -> None:
    with registry_image() as there:
        async with composed(tmp_path, there.rules) as at:
            layer = await layer_of(at)
            path = f"/v2/{HOST}/demo/blobs/{layer}"
            content = (await at.client.get(path)).content
            opened = await at.gateway.storage.blobs.open(layer)
            assert opened is not None
            assert (await collector(at.gateway).collect(NOW)).freed_bytes == len(content)
            assert await opened.read(0, len(content)) == content
            opened.close()


@pytest.mark.parametrize("world", [helm_repository, registry_image, registry_chart, chart_proxy])
async def test_what_upstream_has_no_more_is_kept_but_by_force(
    tmp_path: Path, world: Callable[[], AbstractContextManager[World]]
) -> None:
    with world() as there:
        async with composed(tmp_path, there.rules) as at:
            layer = await layer_of(at)
            path = f"/v2/{HOST}/demo/blobs/{layer}"
            assert (await at.client.get(path)).status_code == 200
            there.server.go_down()
            at.gateway.switch.put(InForce(load_rules(f"version: 1\n{DUE}{there.rules}")))
            report = await collector(at.gateway).collect(NOW)
            assert not report.evicted
            assert report.over_bytes
            assert (await at.client.get(path)).headers["x-cache"] == "hit"
            forced = Order(quota_bytes=1, grace_seconds=0, wait_seconds=0, is_forced=True)
            assert (await collector(at.gateway).collect(forced)).freed_bytes
            there.server.come_up()
            assert (await at.client.get(path)).status_code == 200


class NoHeads(HelmRepo):
    """A host that offers no HEAD."""

    def answer(self, request: Request) -> Answer:
        return Answer(405) if request.method == "HEAD" else super().answer(request)


@pytest.mark.parametrize("host", [HelmRepo, NoHeads])
async def test_an_archive_that_is_gone_is_kept_though_its_index_goes_on_naming_it(
    tmp_path: Path, host: type[HelmRepo]
) -> None:
    look = replace(NOW, is_dry=True)
    with host(FILES) as server:
        async with composed(tmp_path, f"upstreams:\n{upstream(server.url, kind='helm')}") as at:
            layer = await layer_of(at)
            assert [blob.digest for blob in (await collector(at.gateway).collect(look)).evicted] == [layer]
            server.remove("demo-1.0.0.tgz")
            report = await collector(at.gateway).collect(NOW)
            assert (report.evicted, report.kept[Kept.NOT_UPSTREAM]) == ([], 1)


async def test_of_a_signed_chart_the_archive_goes_and_its_provenance_and_config_stay(tmp_path: Path) -> None:
    with FakeRegistry() as server:
        signed = helm_artifact(CHART, b"signed by somebody")
        signed.push_to(server, "demo", "1.0.0")
        async with composed(tmp_path, f"upstreams:\n{upstream(server.origin, kind='registry')}") as at:
            assert (await at.manifest(f"{HOST}/demo", "1.0.0")).status_code == 200
            report = await collector(at.gateway).collect(NOW)
            assert [blob.digest for blob in report.evicted] == [Digest.of(CHART)]
            config, _, provenance = map(Digest.of, signed.blobs)
            assert {blob.digest for blob in at.gateway.storage.disk.scan()} == {config, provenance}


async def test_the_indexes_of_helm_repositories_stay_whatever_comes(tmp_path: Path) -> None:
    with helm_repository() as there:
        async with composed(tmp_path, there.rules) as at:
            layer = await layer_of(at)
            before = {blob.digest for blob in at.gateway.storage.disk.scan()}
            forced = Order(quota_bytes=1, grace_seconds=0, wait_seconds=0, is_forced=True)
            await collector(at.gateway).collect(forced)
            assert {blob.digest for blob in at.gateway.storage.disk.scan()} == before - {layer}
            assert Digest.of(FILES["index.yaml"]) in before


async def test_a_pin_keeps_every_layer_of_every_platform(tmp_path: Path) -> None:
    with FakeRegistry() as server:
        pinned, loose = (OCI.image_index(1000, seed=seed) for seed in ("pinned", "loose"))
        pinned.push_to(server, "demo", "1.0.0")
        loose.push_to(server, "demo", "2.0.0")
        async with composed(tmp_path, f"upstreams:\n{upstream(server.origin, kind='registry')}") as at:
            for tag, image_index in (("1.0.0", pinned), ("2.0.0", loose)):
                await at.manifest(f"{HOST}/demo", tag)
                for image in image_index.parts:
                    await at.manifest(f"{HOST}/demo", str(image.digest))
                    for blob in image.blobs:
                        await at.client.get(f"/v2/{HOST}/demo/blobs/{Digest.of(blob)}")
            location = parse_location(f"{HOST}/demo:1.0.0", ())
            assert await pin_desk(at.gateway).pin(location)
            assert not await pin_desk(at.gateway).pin(location)
            report = await collector(at.gateway).collect(NOW)
            gone = {blob.digest for blob in report.evicted}
            assert gone == {Digest.of(image.blobs[1]) for image in loose.parts}
            assert report.kept[Kept.PINNED] == len(pinned.parts)
            assert await pin_desk(at.gateway).unpin(location)
            assert len((await collector(at.gateway).collect(NOW)).evicted) == len(pinned.parts)
