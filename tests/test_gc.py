"""Which blobs are evicted and swept, in which order, and which never are."""

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gateway.collected import Kept, Order
from gateway.gc import collect_on_schedule
from gateway.oci.digest import Digest
from gateway.oci.outcomes import Missing, Unavailable
from gateway.oci.postgres_url import PostgresUrl
from gateway.store.blobs import MemoryBlobs, keep_bytes
from gateway.store.conditions import Condition, Conditions
from gateway.store.gc_turn import TurnTaken, taken_turn
from tests import dependents_house as near
from tests.fakes.source import FakeSource, layer_of
from tests.gc_house import (
    DAY,
    NOW,
    collect,
    collector_of,
    evicted,
    held,
    make_all_older,
    make_older,
    pin,
    quota_that_leaves,
    swept,
)
from tests.pull_house import until
from tests.ruled_puller import Ruled, ruled
from tests.targets_house import FIRST, NAME, SECOND, Opened, leading_to

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # files, and a server of PostgreSQL

VERSIONS = ("1.0.0", "2.0.0", "3.0.0")
LAYERS = {version: layer_of(version, "x" * 1000) for version in VERSIONS}
DIGESTS = [Digest.of(layer) for layer in LAYERS.values()]
CONFIG = Digest.of(b"{}")
RULES = leading_to(FIRST)
QUOTA = Order(quota_bytes=1)


@pytest.fixture
def opened(tmp_path: Path, database: PostgresUrl | None) -> Opened:
    return partial(ruled, tmp_path / "data", database=database)


def charts() -> dict[str, FakeSource]:
    return {FIRST: FakeSource(MemoryBlobs(), dict(LAYERS))}


async def pull_all(at: Ruled) -> None:
    """Have every version held, the last one used last, all of them days ago."""
    for age, version in zip((4, 3, 2), VERSIONS, strict=True):
        await at.pull(NAME, version)
        make_older(at.blob_path(Digest.of(LAYERS[version])), age * DAY)
    make_older(at.blob_path(CONFIG), 5 * DAY)


async def test_who_was_used_least_recently_goes_first_and_no_more_than_needed(opened: Opened) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        size = len(LAYERS["1.0.0"])
        for excess, expected in ((1, DIGESTS[:1]), (size, DIGESTS[:1]), (size + 1, DIGESTS[:2])):
            order = replace(QUOTA, quota_bytes=quota_that_leaves(at, excess), is_dry=True)
            assert evicted(await collect(at, order)) == expected


async def test_only_layers_go_and_what_they_belong_to_stays(opened: Opened) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        report = await collect(at)
        assert evicted(report) == DIGESTS
        assert (report.removed_count, report.kept[Kept.NO_LAYER]) == (3, 1)
        assert await held(at.blobs) == {CONFIG}
        source = at.upstreams.by_target[FIRST]
        source.fetched.clear()
        for version in VERSIONS:
            await at.pull(NAME, version)
            assert await at.read(NAME, Digest.of(LAYERS[version])) == LAYERS[version]
        assert source.fetched == list(VERSIONS)


async def test_what_was_used_or_written_within_the_grace_stays(opened: Opened) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        assert await at.read(NAME, DIGESTS[0])
        report = await collect(at, QUOTA)
        assert evicted(report) == DIGESTS[1:]
        assert report.kept[Kept.RECENT] == 1


@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_what_is_pinned_stays_whatever_the_quota_says(opened: Opened, by: str) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        manifest = await at.pull(NAME, "1.0.0")
        await pin(at, FIRST, "1.0.0" if by == "tag" else str(manifest))
        report = await collect(at, replace(NOW, is_forced=True))
        assert evicted(report) == DIGESTS[1:]
        assert report.kept[Kept.PINNED] == 1


async def test_offline_nothing_goes_but_by_force(opened: Opened) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        report = await collect(at, offline="yes")
        assert (evicted(report), report.kept[Kept.OFFLINE]) == ([], 3)
        assert not at.upstreams.by_target[FIRST].asked[3:]
        assert evicted(await collect(at, replace(NOW, is_forced=True), offline="yes")) == DIGESTS


async def test_what_upstream_deleted_or_replaced_stays(opened: Opened) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        layers = at.upstreams.by_target[FIRST].layers
        del layers["1.0.0"]
        layers["2.0.0"] = layer_of("2.0.0", "other")
        report = await collect(at)
        assert (evicted(report), report.kept[Kept.NOT_UPSTREAM]) == (DIGESTS[2:], 2)


async def test_an_upstream_that_fails_is_asked_once_a_run_and_what_it_has_not_once_in_hours(
    opened: Opened,
) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        source = at.upstreams.by_target[FIRST]
        collector = collector_of(at)
        for failure, asked in ((Unavailable("down"), (1, 1)), (Missing("not here"), (3, 0))):
            source.failure = failure
            for count in asked:
                source.asked.clear()
                assert not (await collector.collect(NOW)).evicted
                assert count <= len(source.asked) <= max(4 * (count == 1), count)


async def test_a_stale_index_vouches_for_nothing(opened: Opened) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        at.upstreams.by_target[FIRST].stale_because = Unavailable("down")
        assert not (await collect(at)).evicted


async def test_a_layer_of_two_targets_stays_while_one_of_them_could_not_have_it_again(opened: Opened) -> None:
    rules = leading_to(FIRST) + '  - {repository: "second/*", rewrite: second.example.test/charts/$1}\n'
    both = {FIRST: charts()[FIRST], SECOND: charts()[FIRST]}
    async with opened(rules, both) as at:
        await pull_all(at)
        await at.pull("second/redis", "1.0.0")
        make_all_older(at.folder / "blobs")
        del at.upstreams.by_target[SECOND].layers["1.0.0"]
        assert DIGESTS[0] not in evicted(await collect(at))


async def test_what_is_set_aside_is_on_the_disk_until_nobody_wanted_it_for_an_hour(opened: Opened) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        first = await collect(at, QUOTA)
        assert (len(first.evicted), first.freed_bytes) == (3, 0)
        assert first.waiting_bytes == sum(map(len, LAYERS.values()))
        assert await at.read(NAME, DIGESTS[0]) == LAYERS["1.0.0"]
        assert at.upstreams.by_target[FIRST].fetched == list(VERSIONS)
        again = await collect(at, QUOTA)
        assert (again.evicted, again.freed_bytes) == ([], 0)
        make_all_older(at.folder / "blobs" / "dying", 3601)
        assert (await collect(at, QUOTA)).removed_count == 2
        assert await held(at.blobs) == {CONFIG, DIGESTS[0]}


async def test_what_was_pinned_since_it_was_set_aside_is_put_back(opened: Opened) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        await collect(at, QUOTA)
        await pin(at, FIRST, "2.0.0")
        make_all_older(at.folder / "blobs" / "dying", 3601)
        report = await collect(at, QUOTA)
        assert (report.put_back_count, report.removed_count) == (1, 2)
        assert await held(at.blobs) == {CONFIG, DIGESTS[1]}


async def is_asked(source: FakeSource) -> bool:
    await asyncio.sleep(0)
    return bool(source.asked)


async def test_what_is_pinned_while_upstream_is_asked_for_it_is_not_removed(opened: Opened) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        await collect(at, QUOTA)
        make_all_older(at.folder / "blobs" / "dying", 3601)
        source = at.upstreams.by_target[FIRST]
        source.gate = asyncio.Event()
        source.asked.clear()
        running = asyncio.create_task(collect(at, QUOTA))
        await until(partial(is_asked, source))
        await pin(at, FIRST, "2.0.0")
        source.gate.set()
        assert (await running).removed_count == 2
        assert await at.blobs.size(DIGESTS[1]) is not None


@pytest.mark.parametrize("trouble", ["deleted", "down"])
async def test_what_upstream_could_not_give_again_by_the_time_of_its_removal_is_put_back(
    opened: Opened, trouble: str
) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        assert len((await collect(at, QUOTA)).evicted) == 3
        source = at.upstreams.by_target[FIRST]
        if trouble == "down":
            source.failure = Unavailable("down")
        else:
            source.layers.clear()
        make_all_older(at.folder / "blobs" / "dying", 3601)
        report = await collect(at, QUOTA)
        assert (report.put_back_count, report.removed_count) == (3, 0)
        assert await held(at.blobs) == {CONFIG, *DIGESTS}


async def test_offline_what_was_set_aside_before_is_not_removed(opened: Opened) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        await collect(at, QUOTA)
        make_all_older(at.folder / "blobs" / "dying", 3601)
        assert not (await collect(at, QUOTA, offline="yes")).removed_count
        assert await at.read(NAME, DIGESTS[0]) == LAYERS["1.0.0"]


async def test_a_dry_run_tells_and_does_nothing(opened: Opened) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        await keep_bytes(at.blobs, b"nobody's")
        before = await held(at.blobs)
        report = await collect(at, replace(NOW, is_dry=True))
        assert evicted(report) == DIGESTS
        assert swept(report) == [Digest.of(b"nobody's")]
        assert await held(at.blobs) == before
        assert not list((at.folder / "blobs" / "dying").iterdir())


async def test_what_nothing_names_is_swept_once_it_is_old(opened: Opened) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        orphan, young = await keep_bytes(at.blobs, b"nobody's"), await keep_bytes(at.blobs, b"just come")
        make_older(at.blob_path(orphan), 2 * DAY)
        report = await collect(at, Order())
        assert (swept(report), report.fuse, report.evicted) == ([orphan], None, [])
        make_all_older(at.folder / "blobs" / "dying", 3601)
        assert (await collect(at, Order())).removed_count == 1
        assert await held(at.blobs) == {CONFIG, young, *DIGESTS}


@pytest.mark.parametrize("orphans", [5, 1])
async def test_more_than_half_of_the_files_or_bytes_is_not_swept_but_by_force(
    opened: Opened, orphans: int
) -> None:
    async with opened(RULES, charts()) as at:
        await pull_all(at)
        for number in range(orphans):
            await keep_bytes(at.blobs, b"%d" % number * (1 if orphans > 1 else 10_000))
        make_all_older(at.folder / "blobs")
        report = await collect(at, Order())
        assert not report.swept
        assert f"{orphans} of {orphans + 4} files" in str(report.fuse)
        assert len((await collect(at, Order(is_forced=True))).swept) == orphans


@pytest.mark.parametrize("how", ["restored", "replaced", "notes_lost"])
async def test_beside_a_catalog_that_is_new_there_nothing_is_swept(tmp_path: Path, how: str) -> None:
    async with ruled(tmp_path, RULES, charts()) as at:
        await pull_all(at)
        await collect(at, Order())
        make_older(at.blob_path(await keep_bytes(at.blobs, b"nobody's")), 2 * DAY)
        match how:
            case "restored":
                (tmp_path / "restored").touch()
            case "replaced":
                copy = tmp_path / "copy"
                copy.write_bytes((tmp_path / "catalog.sqlite3").read_bytes())
                copy.rename(tmp_path / "catalog.sqlite3")
            case _:
                (tmp_path / "gc").write_text("{")
        report = await collect(at, Order())
        assert not report.swept
        assert "which has been beside them for" in str(report.fuse)
        assert (await collect(at, Order(is_forced=True))).swept


async def test_one_collects_at_a_time_and_the_other_says_so(tmp_path: Path) -> None:
    async with ruled(tmp_path, RULES, charts()) as at:
        with taken_turn(tmp_path / "gc"):
            with pytest.raises(TurnTaken, match="just now, by another process"):
                await collect(at)
            await collect_on_schedule(collector_of(at), Conditions(lambda: 0.0), 1)
        await collect(at)


async def test_a_quota_that_cannot_be_kept_is_a_condition_until_it_can(tmp_path: Path) -> None:
    async with ruled(tmp_path, RULES, charts()) as at:
        await pull_all(at)
        conditions = Conditions(lambda: 0.0)
        await collect_on_schedule(collector_of(at, offline="yes"), conditions, 1)
        assert Condition.OVER_QUOTA in conditions.told()
        await collect_on_schedule(collector_of(at), conditions, quota_that_leaves(at, 1))
        assert Condition.OVER_QUOTA not in conditions.told()


async def test_on_schedule_a_quota_is_kept_for_what_was_used_an_hour_ago(tmp_path: Path) -> None:
    async with ruled(tmp_path, RULES, charts()) as at:
        await pull_all(at)
        for age, digest in zip((3700, 3500), DIGESTS, strict=False):
            make_older(at.blob_path(digest), age)
        orphan = await keep_bytes(at.blobs, b"nobody's")
        make_older(at.blob_path(orphan), 3700)
        await collect_on_schedule(collector_of(at), Conditions(lambda: 0.0), 1)
        assert await held(at.blobs) == {CONFIG, DIGESTS[1], orphan}


async def test_a_chart_made_here_goes_while_the_plain_one_can_be_had(
    tmp_path: Path, database: PostgresUrl | None
) -> None:
    async with ruled(tmp_path, near.RULES, near.with_app(), database=database) as at:
        manifest = (await at.pulled(near.NEAR, "1.0.0")).manifest
        made, plain = near.layer_of(manifest), Digest.of(near.APP)
        make_all_older(at.folder / "blobs")
        assert set(evicted(await collect(at))) == {made, plain}
        assert near.leads_to(await at.read(near.NEAR, made)) == near.HERE
        assert near.source(at).fetched == ["1.0.0", "1.0.0"]
        near.source(at).layers.clear()
        assert evicted(await collect(at)) == [made]  # of the plain one, which is here
        assert near.leads_to(await at.read(near.NEAR, made)) == near.HERE


async def test_readers_and_collectors_at_once_never_meet_a_hole(tmp_path: Path) -> None:
    async with ruled(tmp_path, RULES, charts()) as at:
        await pull_all(at)
        removed = 0

        async def read_on(version: str) -> None:
            for _ in range(40):
                assert await at.read(NAME, Digest.of(LAYERS[version])) == LAYERS[version]

        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(read_on(version)) for version in VERSIONS]
            collector = collector_of(at)
            while not removed or not all(reader.done() for reader in readers):
                removed += (await collector.collect(NOW)).removed_count
        assert removed
