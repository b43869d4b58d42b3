"""threats.md D10 and D11: what changed on the disk is never served; it is put aside and fetched again."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from tests.composed import composed, upstream
from tests.fakes.charts import index_of, make_chart
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI, Artifact
from tests.fakes.registry import FakeRegistry
from tests.rot import EVERY_WAY, flip, place_of
from tests.threats import HOST, receive, registry_line, registry_rules, serving, settings_of, told

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # live servers, seconds together

LARGE = OCI.image(20_000_000)
LAYER = LARGE.blobs[1]
LAYER_PATH = f"/v2/{HOST}/team/large/blobs/{Digest.of(LAYER)}"


def _path(image: Artifact) -> str:
    return f"/v2/{HOST}/team/app/blobs/{Digest.of(image.blobs[1])}"


async def test_a_flipped_byte_in_each_of_a_hundred_blobs_is_never_served_and_all_are_healed(
    tmp_path: Path,
) -> None:
    image = OCI.image(*(40_000 + number for number in range(100)))
    layers = {f"/v2/{HOST}/team/app/blobs/{Digest.of(layer)}": layer for layer in image.blobs[1:]}
    with FakeRegistry() as registry:
        image.push_to(registry, "team/app", "1")
        rules = registry_rules(registry.origin)
        async with serving(tmp_path, rules) as gateway:
            await gateway.manifest(f"{HOST}/team/app", "1")
            for path, layer in layers.items():
                assert (await gateway.client.get(path)).content == layer
        for number, layer in enumerate(layers.values()):
            flip(place_of(tmp_path / "blobs", Digest.of(layer)), offset=number * 400)
        async with serving(tmp_path, rules) as gateway:
            for path, layer in layers.items():
                answer = await gateway.client.get(path)
                assert (answer.status_code, answer.content) == (200, layer)
                assert registry.count_of_blob("team/app", Digest.of(layer)) == 2
            ready = (await gateway.client.get("/readyz")).json()
            assert ready["storage"] == {}, "all are back"
    assert len(list((tmp_path / "blobs" / "quarantine").iterdir())) == 100
    for layer in layers.values():
        assert place_of(tmp_path / "blobs", Digest.of(layer)).read_bytes() == layer


@pytest.mark.parametrize("damage", EVERY_WAY)
async def test_whatever_was_done_to_a_blob_the_next_pull_heals_it(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    image = OCI.image(100_000)
    digest = Digest.of(image.blobs[1])
    with FakeRegistry() as registry:
        image.push_to(registry, "team/app", "1")
        async with serving(tmp_path, registry_rules(registry.origin)) as gateway:
            await gateway.manifest(f"{HOST}/team/app", "1")
            assert (await gateway.client.get(_path(image))).content == image.blobs[1]
            place = place_of(tmp_path / "blobs", digest)
            if damage is flip:  # else nothing tells this process, which has written it
                os.utime(place, (0, 0))
            damage(place)
            assert (await gateway.client.get(_path(image))).content == image.blobs[1]
            assert registry.count_of_blob("team/app", digest) == 2
    assert place.read_bytes() == image.blobs[1]
    assert not place.is_symlink()


@pytest.mark.parametrize("part", [None, "bytes=0-99", "bytes=5000000-9999999", "bytes=-10"])
async def test_of_a_large_blob_that_is_damaged_nobody_gets_all_that_was_asked_for(
    tmp_path: Path, part: str | None
) -> None:
    headers = {} if part is None else {"range": part}
    with FakeRegistry() as registry:
        LARGE.push_to(registry, "team/large", "1")
        rules = registry_rules(registry.origin)
        async with serving(tmp_path, rules) as gateway:
            await gateway.manifest(f"{HOST}/team/large", "1")
            whole = await gateway.client.get(LAYER_PATH, headers=headers)
            assert (await gateway.client.get(LAYER_PATH)).content == LAYER
        flip(place_of(tmp_path / "blobs", Digest.of(LAYER)), offset=7_000_000)
        async with serving(tmp_path, rules) as gateway:
            cut = await receive(gateway, LAYER_PATH, headers)
            assert (cut.status, cut.is_whole) == (whole.status_code, False)
            again = await gateway.client.get(LAYER_PATH, headers=headers)
            assert again.content == whole.content
            assert (await gateway.client.get(LAYER_PATH)).content == LAYER


async def test_a_large_blob_that_is_right_is_served_whole_and_in_parts_while_it_is_hashed(
    tmp_path: Path,
) -> None:
    with FakeRegistry() as registry:
        LARGE.push_to(registry, "team/large", "1")
        rules = registry_rules(registry.origin)
        async with serving(tmp_path, rules) as gateway:
            await gateway.manifest(f"{HOST}/team/large", "1")
            assert (await gateway.client.get(LAYER_PATH)).content == LAYER
        async with serving(tmp_path, rules) as gateway:
            ranges = (None, "bytes=0-0", "bytes=1000-15000000", "bytes=-1")
            asked = [
                gateway.client.get(LAYER_PATH, headers={} if one is None else {"range": one})
                for one in ranges
            ]
            whole, first, middle, last = await asyncio.gather(*asked)
            assert (whole.content, first.content) == (LAYER, LAYER[:1])
            assert (middle.content, last.content) == (LAYER[1000:15_000_001], LAYER[-1:])
        assert registry.count_of_blob("team/large", Digest.of(LAYER)) == 1


async def test_offline_what_is_damaged_is_not_there(tmp_path: Path) -> None:
    image = OCI.image(100_000)
    with FakeRegistry() as registry:
        image.push_to(registry, "team/app", "1")
        rules = registry_rules(registry.origin)
        async with serving(tmp_path, rules) as gateway:
            await gateway.manifest(f"{HOST}/team/app", "1")
            await gateway.client.get(_path(image))
        flip(place_of(tmp_path / "blobs", Digest.of(image.blobs[1])))
        offline = settings_of(tmp_path, offline=True)
        async with serving(tmp_path, rules, settings=offline) as gateway:
            for _ in range(2):
                assert told(await gateway.client.get(_path(image))) == (404, "BLOB_UNKNOWN", None)
            ready = (await gateway.client.get("/readyz")).json()
            assert list(ready["storage"]) == ["blobs_corrupt"]


async def test_an_index_that_is_damaged_is_fetched_again(tmp_path: Path) -> None:
    archives = {f"demo-{version}.tgz": make_chart("demo", version) for version in ("1.0.0", "2.0.0")}
    with HelmRepo({**archives, "index.yaml": index_of(archives)}) as repo:
        rules = f"upstreams:\n{upstream(repo.url, kind='helm')}"
        async with composed(tmp_path, rules) as gateway:
            assert (await gateway.manifest("charts.example.test/demo", "1.0.0")).status_code == 200
        (index,) = [
            path
            for path in (tmp_path / "blobs" / "sha256").rglob("*")
            if path.is_file() and path.read_bytes().startswith(b"apiVersion: v1")
        ]
        flip(index)
        async with composed(tmp_path, rules) as gateway:
            assert (await gateway.manifest("charts.example.test/demo", "2.0.0")).status_code == 200
            assert repo.count("/index.yaml") == 2


async def test_what_is_damaged_is_not_taken_for_another_name_that_has_the_same(tmp_path: Path) -> None:
    image = OCI.image(100_000)
    other = "other.example.test"
    with FakeRegistry() as first, FakeRegistry() as second:
        for registry in (first, second):
            image.push_to(registry, "team/app", "1")
        rules = registry_rules(first.origin) + registry_line(second.origin, other)
        async with serving(tmp_path, rules) as gateway:
            await gateway.manifest(f"{HOST}/team/app", "1")
            await gateway.client.get(_path(image))
        flip(place_of(tmp_path / "blobs", Digest.of(image.blobs[1])))
        async with serving(tmp_path, rules) as gateway:
            await gateway.manifest(f"{other}/team/app", "1")
            path = f"/v2/{other}/team/app/blobs/{Digest.of(image.blobs[1])}"
            assert (await gateway.client.get(path)).content == image.blobs[1]
            assert second.count_of_blob("team/app", Digest.of(image.blobs[1])) == 1
