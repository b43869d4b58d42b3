"""Purged is gone: the next pull fetches it anew, offline nobody has it, and nothing half is left."""

import asyncio
import random
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from gateway.collected import Order
from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.postgres_url import PostgresUrl
from gateway.oci.target import Target
from gateway.pulled import Cache
from gateway.sources.base import Comparable
from gateway.store.blobs import MemoryBlobs
from gateway.store.purge_rows import Doom
from tests.dependents_house import RULES as DEPENDENTS
from tests.dependents_house import TARGET as APP_TARGET
from tests.dependents_house import archive_of, with_app
from tests.fakes.source import FakeSource, image_of, layer_of, manifest_of
from tests.gc_house import collector_of, make_all_older, pin
from tests.pull_house import until
from tests.purge_house import purge, purging, what_is_half
from tests.ruled_puller import Ruled, ruled, wanted
from tests.targets_house import FIRST, NAME, RULES, SECOND, Opened, only_at_second

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

DEMO = "charts.example.test/demo"
OTHER = "charts.example.test/other"
PLAIN = "defaults: {chain: [helm]}\n"


@pytest.fixture
def opened(tmp_path: Path, database: PostgresUrl | None) -> Opened:
    return partial(ruled, tmp_path / "data", database=database)


def with_demo(**layers: str) -> dict[str, FakeSource]:
    versions = {"1.0.0": "", **layers}
    contents = {version: layer_of(version, text) for version, text in versions.items()}
    return {DEMO: FakeSource(MemoryBlobs(), contents)}


async def until_asked(source: FakeSource, what: str) -> None:
    async def is_asked() -> bool:
        await asyncio.sleep(0)
        return what in source.asked

    await until(is_asked)


async def refusal(at: Ruled, name: str = DEMO, tag: str = "1.0.0") -> ErrorCode:
    with pytest.raises(OciError) as caught:
        await at.pull(name, tag)
    return caught.value.code


async def test_the_next_pull_fetches_it_anew(opened: Opened) -> None:
    async with opened(PLAIN, with_demo()) as at:
        first = await at.pull(DEMO, "1.0.0")
        assert (await at.pulled(DEMO, "1.0.0")).cache is Cache.HIT
        done = await purge(at, f"{DEMO}:1.0.0")
        assert [one.tag for one in done.tags] == ["1.0.0"]
        pulled = await at.pulled(DEMO, "1.0.0")
        assert (pulled.cache, pulled.manifest.digest) == (Cache.MISS, first)
        assert at.upstreams.by_target[DEMO].fetched == ["1.0.0", "1.0.0"]
        assert await at.read(DEMO, Digest.of(layer_of("1.0.0"))) == layer_of("1.0.0")
        assert await what_is_half(at) == []


async def test_offline_it_is_gone_by_tag_by_digest_and_in_the_list(opened: Opened) -> None:
    async with opened(PLAIN, with_demo()) as at:
        digest = await at.pull(DEMO, "1.0.0")
        await at.tags(DEMO)
        async with opened(PLAIN, beside=at, offline="yes") as dark:
            assert await dark.tags(DEMO) == ["1.0.0"]
        await purge(at, DEMO, whole="yes")
        async with opened(PLAIN, beside=at, offline="yes") as dark:
            assert await refusal(dark) is ErrorCode.MANIFEST_UNKNOWN
            with pytest.raises(OciError):
                await dark.read(DEMO, Digest.of(layer_of("1.0.0")))
            with pytest.raises(OciError):
                await dark.puller.manifest(wanted(DEMO), digest)
            with pytest.raises(OciError):
                await dark.tags(DEMO)


async def test_that_nobody_had_it_is_forgotten(opened: Opened) -> None:
    async with opened(PLAIN, with_demo()) as at:
        await at.pull(DEMO, "1.0.0")
        assert await refusal(at, DEMO, "2.0.0") is ErrorCode.MANIFEST_UNKNOWN
        at.upstreams.by_target[DEMO].layers["2.0.0"] = layer_of("2.0.0")
        assert await refusal(at, DEMO, "2.0.0") is ErrorCode.MANIFEST_UNKNOWN  # remembered
        assert (await purge(at, f"{DEMO}:2.0.0")).is_empty
        assert await at.pull(DEMO, "2.0.0") == manifest_of(layer_of("2.0.0")).digest


async def test_a_list_is_asked_for_anew(opened: Opened) -> None:
    async with opened(PLAIN, with_demo()) as at:
        await at.pull(DEMO, "1.0.0")
        assert await at.tags(DEMO) == ["1.0.0"]
        at.upstreams.by_target[DEMO].layers["2.0.0"] = layer_of("2.0.0")
        assert await at.tags(DEMO) == ["1.0.0"]  # fresh still
        await purge(at, DEMO, whole="yes")
        assert await at.tags(DEMO) == ["1.0.0", "2.0.0"]


async def test_a_chart_with_rewritten_dependencies_is_made_again_whole(opened: Opened) -> None:
    async with opened(DEPENDENTS, with_app()) as at:
        digest = await at.pull("near/app", "1.0.0")
        archive = await archive_of(at, digest)
        done = await purge(at, "plain/app:1.0.0")
        assert {one.variant.partition("@")[0] for one in done.tags} == {"plain", "dependencies"}
        assert await at.pull("near/app", "1.0.0") == digest
        assert await archive_of(at, digest) == archive
        assert at.upstreams.by_target[APP_TARGET].fetched == ["1.0.0", "1.0.0"]
        assert await what_is_half(at) == []


async def test_a_tag_that_stayed_at_one_target_is_looked_for_at_all_again(opened: Opened) -> None:
    async with opened(RULES, only_at_second()) as at:
        before = await at.pull(NAME, "1.0.0")
        at.upstreams.by_target[FIRST].layers["1.0.0"] = layer_of("1.0.0", "now here")
        at.clock.advance(60)
        assert await at.pull(NAME, "1.0.0") == before
        done = await purge(at, f"{NAME}:1.0.0")
        assert [str(one.target) for one in done.tags] == [SECOND]
        assert await at.pull(NAME, "1.0.0") != before


async def test_what_nothing_names_is_set_aside_and_removed_later(opened: Opened) -> None:
    async with opened(PLAIN, with_demo()) as at:
        await at.pull(DEMO, "1.0.0")
        layer = Digest.of(layer_of("1.0.0"))
        await purge(at, f"{DEMO}:1.0.0")
        assert not at.blob_path(layer).exists()
        assert layer in {blob.digest for blob in at.blobs.dying()}
        await collector_of(at).collect(Order(wait_seconds=0, grace_seconds=0))
        assert list(at.blobs.dying()) == []


async def test_what_was_set_aside_is_put_back_by_who_pulls_it_again(opened: Opened) -> None:
    async with opened(PLAIN, with_demo()) as at:
        await at.pull(DEMO, "1.0.0")
        make_all_older(at.folder / "blobs")
        await purge(at, f"{DEMO}:1.0.0")
        await at.pull(DEMO, "1.0.0")
        await collector_of(at).collect(Order(wait_seconds=0, grace_seconds=0))
        assert await at.read(DEMO, Digest.of(layer_of("1.0.0"))) == layer_of("1.0.0")
        assert await what_is_half(at) == []


async def test_a_blob_that_another_target_has_stays_in_its_place(opened: Opened) -> None:
    worlds = with_demo() | {OTHER: FakeSource(MemoryBlobs(), {"1.0.0": layer_of("1.0.0")})}
    async with opened(PLAIN, worlds) as at:
        await at.pull(DEMO, "1.0.0")
        await at.pull(OTHER, "1.0.0")
        assert (await purge(at, f"{DEMO}:1.0.0")).blobs == []
        async with opened(PLAIN, beside=at, offline="yes") as dark:
            assert await dark.read(OTHER, Digest.of(layer_of("1.0.0"))) == layer_of("1.0.0")


async def test_what_is_pinned_is_not_purged_by_mistake(opened: Opened) -> None:
    async with opened(PLAIN, with_demo()) as at:
        await at.pull(DEMO, "1.0.0")
        await pin(at, DEMO, "1.0.0")
        with pytest.raises(OciError, match=r"nothing was purged: charts.example.test/demo:1.0.0 is pinned"):
            await purge(at, f"{DEMO}:1.0.0")
        assert (await at.pulled(DEMO, "1.0.0")).cache is Cache.HIT
        assert not (await purge(at, f"{DEMO}:1.0.0", unpins="yes")).is_refused


async def test_a_name_that_leads_nowhere_by_now_is_purged_where_it_led(opened: Opened) -> None:
    rules = (
        "defaults: {chain: [helm]}\nrules: [{repository: short/demo, rewrite: charts.example.test/demo}]\n"
    )
    async with opened(rules, with_demo()) as at:
        await at.pull("short/demo", "1.0.0")
        at.use(PLAIN)
        assert [str(one.target) for one in (await purge(at, "short/demo:1.0.0")).tags] == [DEMO]
        with pytest.raises(OciError, match="no rule matches"):
            await purge(at, "unheard/of:1.0.0")


async def test_one_target_alone_can_be_purged(opened: Opened) -> None:
    async with opened(PLAIN, with_demo()) as at:
        await at.pull(DEMO, "1.0.0")
        async with purging(at) as purger:
            assert (await purger.purge(Doom([Target.parse(OTHER)], "1.0.0"))).is_empty
            assert not (await purger.purge(Doom([Target.parse(DEMO)], "1.0.0"))).is_empty


async def test_which_version_is_meant_has_to_be_said(opened: Opened) -> None:
    async with opened(PLAIN, with_demo()) as at:
        with pytest.raises(OciError, match="which version"):
            await purge(at, DEMO)


async def test_a_pull_that_ends_after_the_purge_keeps_all_of_it(opened: Opened) -> None:
    async with opened(PLAIN, with_demo()) as at:
        source = at.upstreams.by_target[DEMO]
        source.gate = asyncio.Event()
        pulling = asyncio.create_task(at.pull(DEMO, "1.0.0"))
        await until_asked(source, "1.0.0")
        await purge(at, f"{DEMO}:1.0.0")
        source.gate.set()
        await pulling
        assert (await at.pulled(DEMO, "1.0.0")).cache is Cache.HIT
        assert await at.read(DEMO, Digest.of(layer_of("1.0.0"))) == layer_of("1.0.0")
        assert await what_is_half(at) == []


async def test_a_blob_on_its_way_earns_nothing_after_the_purge(opened: Opened) -> None:
    source = FakeSource(
        MemoryBlobs(), {"1.0.0": layer_of("1.0.0")}, compares=Comparable.MANIFEST, builds=image_of
    )
    async with opened(PLAIN, {DEMO: source}) as at:
        await at.pull(DEMO, "1.0.0")
        source.gate, layer = asyncio.Event(), Digest.of(layer_of("1.0.0"))
        reading = asyncio.create_task(at.read(DEMO, layer))
        await until_asked(source, f"blob {layer}")
        await purge(at, f"{DEMO}:1.0.0")
        source.gate.set()
        assert await reading == layer_of("1.0.0")  # who asked before has it
        await at.puller.drain()
        assert await what_is_half(at) == []
        with pytest.raises(OciError, match="no blob"):
            await at.read(DEMO, layer)


@pytest.mark.parametrize("seed", range(6))
async def test_pulls_and_purges_beside_each_other_leave_nothing_half(opened: Opened, seed: int) -> None:
    """Two workers pull and forget the same few things; whatever the order, what is held is whole."""
    chance = random.Random(seed)
    shared = {version: layer_of(version) for version in ("1.0.0", "2.0.0")}
    worlds = {name: FakeSource(MemoryBlobs(), dict(shared)) for name in (DEMO, OTHER)}
    async with opened(PLAIN, worlds) as at, opened(PLAIN, beside=at) as beside:
        for _ in range(4):
            await asyncio.gather(*(_any_of_it(chance, chance.choice((at, beside))) for _ in range(8)))
        for house in (at, beside):
            await house.puller.drain()
        assert await what_is_half(at) == []
        async with opened(PLAIN, beside=at, offline="yes") as dark:
            await _all_held_is_had(dark)


async def _any_of_it(chance: random.Random, at: Ruled) -> None:
    name, tag = chance.choice((DEMO, OTHER)), chance.choice(("1.0.0", "2.0.0"))
    what = chance.randrange(4)
    for _ in range(chance.randrange(20)):
        await asyncio.sleep(0)
    if what == 0:
        await purge(at, f"{name}:{tag}")
    elif what == 1:
        await purge(at, name, whole="yes")
    else:
        with suppress(OciError):  # a client that meets a purge may have to ask again
            await at.pull(name, tag)
            await at.read(name, Digest.of(layer_of(tag)))


async def _all_held_is_had(at: Ruled) -> None:
    for name in (DEMO, OTHER):
        for row in await at.catalog.find_versions(Target.parse(name), "plain"):
            content = layer_of(row.tag)
            assert await at.pull(name, row.tag) == manifest_of(content).digest
            assert await at.read(name, Digest.of(content)) == content
