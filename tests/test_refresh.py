"""Refreshed is asked now: of upstream, as a pull would ask, and whoever pulls sees what came of it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.caretaker import refresher
from gateway.oci.errors import OciError
from gateway.oci.location import parse_location
from gateway.oci.outcomes import Corrupt, Missing, Outcome, Unavailable, Withheld
from gateway.pulled import Cache
from gateway.refresh import Refreshed, Refresher, Verdict
from gateway.sources.base import Comparable
from gateway.store.blobs import MemoryBlobs
from tests.composed import HOST, composed, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.source import FakeSource, image_of, layer_of, manifest_of
from tests.ruled_puller import Ruled, ruled, wanted
from tests.targets_house import FIRST, NAME, RULES, SECOND, only_at_second

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # whole pullers, and live servers

DEMO = "charts.example.test/demo"
PLAIN = "defaults: {chain: [helm]}\n"


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Ruled]:
    source = FakeSource(MemoryBlobs(), {"1.0.0": layer_of("1.0.0"), "edge": layer_of("edge")})
    async with ruled(tmp_path / "data", PLAIN, {DEMO: source}) as opened:
        yield opened


def source_of(at: Ruled) -> FakeSource:
    return at.upstreams.by_target[DEMO]


async def refresh(at: Ruled, text: str = f"{DEMO}:1.0.0") -> list[Refreshed]:
    """A moment later."""
    at.clock.advance(1)
    return list(await Refresher(at.puller, at.catalog, at.clock).refresh(parse_location(text, ())))


async def verdict(at: Ruled, text: str = f"{DEMO}:1.0.0") -> Verdict:
    (done,) = await refresh(at, text)
    return done.verdict


async def test_upstream_is_asked_however_fresh_it_is(at: Ruled) -> None:
    await at.pull(DEMO, "1.0.0")
    at.clock.advance(1)
    asked = len(source_of(at).asked)
    assert await verdict(at) is Verdict.UNCHANGED
    assert len(source_of(at).asked) == asked + 1
    (row,) = await at.catalog.find_tags((await at.catalog.held())[0].row.target, "plain", "1.0.0")
    assert row.confirmed_at == at.clock.seconds


async def test_what_is_not_held_is_fetched(at: Ruled) -> None:
    assert await verdict(at) is Verdict.FETCHED
    assert (await at.pulled(DEMO, "1.0.0")).cache is Cache.HIT


async def test_that_nobody_had_it_is_asked_again(at: Ruled) -> None:
    assert await verdict(at, f"{DEMO}:2.0.0") is Verdict.ABSENT
    source_of(at).layers["2.0.0"] = layer_of("2.0.0")
    assert await verdict(at, f"{DEMO}:2.0.0") is Verdict.FETCHED


async def test_an_exact_version_that_changed_is_kept_and_told(at: Ruled) -> None:
    before = await at.pull(DEMO, "1.0.0")
    source_of(at).layers["1.0.0"] = layer_of("1.0.0", "changed")
    (done,) = await refresh(at)
    assert done.verdict is Verdict.DRIFT_KEPT
    assert str(before) in done.detail
    assert await at.pull(DEMO, "1.0.0") == before


async def test_what_moves_is_followed_for_all_workers(at: Ruled, tmp_path: Path) -> None:
    source_of(at).compares, source_of(at).builds = Comparable.MANIFEST, image_of
    await at.pull(DEMO, "edge")
    async with ruled(tmp_path / "data", PLAIN, beside=at) as beside:
        source_of(at).layers["edge"] = layer_of("edge", "newer")
        generation = at.catalog.generation.current()
        assert await verdict(at, f"{DEMO}:edge") is Verdict.FOLLOWED
        assert at.catalog.generation.current() > generation
        assert await beside.pull(DEMO, "edge") == image_of(layer_of("edge", "newer")).digest


async def test_what_upstream_deleted_is_told_and_stays_held(at: Ruled) -> None:
    await at.pull(DEMO, "1.0.0")
    del source_of(at).layers["1.0.0"]
    assert await verdict(at) is Verdict.DELETED
    assert (await at.pulled(DEMO, "1.0.0")).cache is Cache.HIT


async def test_what_upstream_deleted_is_dropped_where_the_rules_say_so(at: Ruled) -> None:
    at.use("defaults: {chain: [helm], deleted: drop}\n")
    await at.pull(DEMO, "1.0.0")
    del source_of(at).layers["1.0.0"]
    assert await verdict(at) is Verdict.DELETED
    with pytest.raises(OciError):
        await at.pull(DEMO, "1.0.0")


@pytest.mark.parametrize(
    "failure", [Unavailable("it is down"), Withheld("401 without a login"), Corrupt("wrong bytes")]
)
async def test_why_upstream_could_not_be_asked_is_told(at: Ruled, failure: Outcome) -> None:
    await at.pull(DEMO, "1.0.0")
    source_of(at).failure = failure
    (done,) = await refresh(at)
    assert (done.verdict, done.detail, done.is_failure) == (Verdict.FAILED, failure.message, True)
    source_of(at).failure = None
    assert await verdict(at) is Verdict.UNCHANGED  # no pause is in its way


async def test_an_index_that_speaks_from_memory_confirms_nothing(at: Ruled) -> None:
    await at.pull(DEMO, "1.0.0")
    await at.tags(DEMO)
    source_of(at).stale_because = Unavailable("the index could not be had")
    assert await verdict(at) is Verdict.FAILED
    assert [one.verdict for one in await refresh(at, DEMO)] == [Verdict.FAILED, Verdict.FAILED]


async def test_offline_nobody_is_asked(at: Ruled, tmp_path: Path) -> None:
    await at.pull(DEMO, "1.0.0")
    async with ruled(tmp_path / "data", PLAIN, beside=at, offline="yes") as dark:
        asked = len(source_of(at).asked)
        assert await verdict(dark) is Verdict.FAILED
        assert len(source_of(at).asked) == asked


async def test_a_name_alone_means_its_list_and_all_that_is_held_of_it(at: Ruled) -> None:
    source_of(at).compares, source_of(at).builds = Comparable.MANIFEST, image_of
    await at.pull(DEMO, "1.0.0")
    await at.pull(DEMO, "edge")
    assert await at.tags(DEMO) == ["1.0.0", "edge"]
    source_of(at).layers |= {"2.0.0": layer_of("2.0.0"), "edge": layer_of("edge", "newer")}
    done = await refresh(at, DEMO)
    assert {one.what: one.verdict for one in done} == {
        DEMO: Verdict.LISTED,
        f"{DEMO}:1.0.0": Verdict.UNCHANGED,
        f"{DEMO}:edge": Verdict.FOLLOWED,
    }
    assert done[0].detail == "3 tags, 1 of them new"
    assert await at.tags(DEMO) == ["1.0.0", "2.0.0", "edge"]


async def test_how_far_it_is_is_told(at: Ruled) -> None:
    await at.pull(DEMO, "1.0.0")
    await at.pull(DEMO, "edge")
    told: list[tuple[int, int]] = []
    asking = Refresher(at.puller, at.catalog, at.clock)
    await asking.refresh(parse_location(DEMO, ()), lambda done, total: told.append((done, total)))
    assert told == [(0, 2), (1, 2), (2, 2)]


async def test_a_channel_is_the_version_that_it_means_by_now(at: Ruled) -> None:
    at.use('defaults: {chain: [helm], channels: {"1": ">=1 <2"}}\n')
    await at.pull(DEMO, "1")
    source_of(at).layers["1.1.0"] = layer_of("1.1.0")
    assert await verdict(at, f"{DEMO}:1") is Verdict.FETCHED
    assert await at.pull(DEMO, "1") == manifest_of(layer_of("1.1.0")).digest


async def test_what_a_rule_hides_is_left_alone(at: Ruled) -> None:
    await at.pull(DEMO, "1.0.0")
    at.use('defaults: {chain: [helm], versions: ">=2"}\n')
    asked = len(source_of(at).asked)
    assert await verdict(at) is Verdict.HIDDEN
    assert len(source_of(at).asked) == asked


async def test_a_digest_never_changes_and_is_not_asked_for(at: Ruled) -> None:
    digest = await at.pull(DEMO, "1.0.0")
    with pytest.raises(OciError, match="never changes"):
        await refresh(at, f"{DEMO}@{digest}")


async def test_a_tag_is_asked_for_at_the_target_where_it_stays(tmp_path: Path) -> None:
    async with ruled(tmp_path / "data", RULES, only_at_second()) as at:
        await at.pull(NAME, "1.0.0")
        first, second = (at.upstreams.by_target[target] for target in (FIRST, SECOND))
        counts = (len(first.asked), len(second.asked))
        assert await verdict(at, f"{NAME}:1.0.0") is Verdict.UNCHANGED
        assert (len(first.asked), len(second.asked)) == (counts[0], counts[1] + 1)


async def test_missing_here_and_there_is_told_once(tmp_path: Path) -> None:
    async with ruled(tmp_path / "data", RULES, only_at_second()) as at:
        at.upstreams.by_target[SECOND].failure = Missing("no such version")
        (done,) = await refresh(at, f"{NAME}:1.0.0")
        assert done.verdict is Verdict.ABSENT
        assert "no such version" in done.detail


async def test_an_index_is_asked_for_once_for_all_tags_of_a_name_however_fresh(tmp_path: Path) -> None:
    charts = [make_chart("demo", f"1.0.{patch}", {"values.yaml": b"a: 1\n"}) for patch in range(5)]
    with HelmRepo(repository_of(*charts)) as server:
        async with composed(tmp_path / "data", f"upstreams:\n{upstream(server.url, kind='helm')}") as house:
            for patch in range(5):
                assert (await house.manifest(f"{HOST}/demo", f"1.0.{patch}")).status_code == 200
            await house.gateway.sources.helm.drain()
            before = server.count("/index.yaml")
            done = await refresher(house.gateway).refresh(parse_location(f"{HOST}/demo", ()))
            assert [one.verdict for one in done] == [Verdict.LISTED, *[Verdict.UNCHANGED] * 5]
            assert server.count("/index.yaml") == before + 1


async def test_a_flight_that_had_asked_before_does_not_answer_for_now(at: Ruled) -> None:
    """What stands in the route is a time, and only what upstream said since counts."""
    await at.pull(DEMO, "edge")
    routing = at.puller.route(wanted(DEMO))
    at.clock.advance(-5)
    (route,) = routing.routes
    late = replace(routing, routes=(replace(route, anew_since=at.clock.seconds + 10),))
    at.clock.advance(20)
    asked = len(source_of(at).asked)
    await at.puller.refreshed(late, "edge")
    await at.puller.refreshed(late, "edge")
    assert len(source_of(at).asked) == asked + 1
