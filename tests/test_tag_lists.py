"""Tag lists: upstream's and ours as one, kept for a while, and served while nobody answers."""

import asyncio
from pathlib import Path

import pytest

from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.outcomes import Corrupt, Denied, Missing, MissingName, Outcome, Unavailable, UnknownHost
from gateway.pulled import Cache, Listed
from gateway.rules.model import Policy, SourceName
from gateway.rules.route import Wanted
from gateway.sources.base import Comparable
from gateway.store.blobs import MemoryBlobs
from tests.composed import HOST, composed, upstream
from tests.fakes.images import OCI
from tests.fakes.registry import FakeRegistry
from tests.fakes.source import FakeSource, image_of, layer_of
from tests.pull_house import DEMO, DOWN, OTHER, POLICY, QUICK, House, house, until
from tests.pull_process import Process, process
from tests.store.open_files import until_open

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # many small tests, seconds together

NAME = "team/app"
FRESH = POLICY.fresh_for_seconds
JUST_STALE, STALE = FRESH, 2 * FRESH


def registry(*tags: str) -> FakeSource:
    source = FakeSource(
        MemoryBlobs(), name=SourceName.REGISTRY, compares=Comparable.MANIFEST, builds=image_of
    )
    source.layers = {tag: layer_of(tag) for tag in tags}
    return source


async def listed(at: House | Process) -> Listed:
    return await at.puller.tags(Wanted(DEMO))


async def tags(at: House | Process) -> list[str]:
    return list((await listed(at)).tags)


async def code_of(at: House | Process) -> ErrorCode:
    with pytest.raises(OciError) as caught:
        await at.puller.tags(Wanted(DEMO))
    return caught.value.code


async def count_is(source: FakeSource, count: int) -> bool:
    await asyncio.sleep(0)
    return len(source.asked) == count


async def test_a_list_is_served_for_a_while_without_asking_also_after_a_restart(tmp_path: Path) -> None:
    async with house(tmp_path) as first:
        answer = await listed(first)
        assert (answer.tags, answer.cache, answer.source) == (["1.0.0"], Cache.MISS, "helm")
        assert answer.confirmed_at == first.clock.seconds
        first.clock.advance(FRESH - 1)
        assert (await listed(first)).cache is Cache.HIT
    async with house(tmp_path, before=first) as second:
        answer = await listed(second)
        assert (answer.tags, answer.cache, answer.source) == (["1.0.0"], Cache.HIT, "helm")
        assert answer.confirmed_at == second.clock.seconds - FRESH + 1
        assert second.source.asked == ["versions"]


async def test_a_list_little_past_fresh_is_served_at_once_and_asked_for_behind(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await listed(at)
        at.source.layers["2.0.0"] = layer_of("2.0.0")
        at.clock.advance(JUST_STALE)
        at.source.gate = asyncio.Event()
        answer = await listed(at)
        assert (answer.tags, answer.cache) == (["1.0.0"], Cache.STALE)
        assert answer.confirmed_at == at.clock.seconds - JUST_STALE
        at.source.gate.set()
        await until(lambda: _lists(at, "2.0.0"))
        assert (await listed(at)).cache is Cache.HIT
        assert at.source.asked == ["versions", "versions"]


async def _lists(at: House, tag: str) -> bool:
    await asyncio.sleep(0)
    return tag in await tags(at)


async def test_an_old_list_is_asked_for_first(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await listed(at)
        at.source.layers["2.0.0"] = layer_of("2.0.0")
        at.clock.advance(STALE)
        answer = await listed(at)
        assert (answer.tags, answer.cache) == (["1.0.0", "2.0.0"], Cache.HIT)
        assert answer.confirmed_at == at.clock.seconds


@pytest.mark.parametrize(
    "failure",
    [
        DOWN,
        Unavailable("down"),
        Missing("no"),
        MissingName("no"),
        UnknownHost("no"),
        Denied("no"),
        Corrupt("x"),
    ],
)
async def test_an_old_list_is_served_with_its_age_while_upstream_does_not_stand_by_it(
    failure: Outcome, tmp_path: Path
) -> None:
    async with house(tmp_path) as at:
        await listed(at)
        confirmed_at = at.clock.seconds
        at.clock.advance(STALE)
        at.source.failure = failure
        for _ in range(2):
            answer = await listed(at)
            assert (answer.tags, answer.cache) == (["1.0.0"], Cache.STALE)
            assert (answer.source, answer.confirmed_at) == ("helm", confirmed_at)
        at.source.failure = None
        at.clock.advance(POLICY.missing_for_seconds)
        assert (await listed(at)).cache is Cache.HIT


async def test_upstream_is_not_asked_again_before_it_wants_to_be(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await listed(at)
        at.clock.advance(STALE)
        at.source.failure = Unavailable("slow down", 60, is_rate_limited=True)
        for _ in range(3):
            assert (await listed(at)).cache is Cache.STALE
        assert len(at.source.asked) == 2
        at.clock.advance(60)
        await listed(at)
        assert len(at.source.asked) == 3


@pytest.mark.parametrize("failure", [Unavailable("slow down", 60, is_rate_limited=True), Missing("no")])
async def test_what_failed_behind_is_not_asked_again_at_once_either(failure: Outcome, tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await listed(at)
        at.clock.advance(JUST_STALE)
        at.source.failure = failure
        for _ in range(3):
            assert (await listed(at)).cache is Cache.STALE
            await _rounds()
        assert len(at.source.asked) == 2


async def _rounds() -> None:
    """Let what runs behind come to its end; it waits for threads of the catalog."""
    for _ in range(2000):
        await asyncio.sleep(0)


async def test_a_silent_upstream_holds_nobody_for_long_who_can_have_an_old_list(tmp_path: Path) -> None:
    async with house(tmp_path) as before:
        await listed(before)
    async with house(tmp_path, before=before, deadlines=QUICK) as at:
        at.clock.advance(STALE)
        at.source.gate = asyncio.Event()
        assert (await listed(at)).cache is Cache.STALE
        at.source.layers["2.0.0"] = layer_of("2.0.0")
        at.source.gate.set()
        await until(lambda: _lists(at, "2.0.0"))
        assert at.source.asked == ["versions", "versions"]


async def test_with_nothing_known_a_silent_upstream_is_an_outage_and_its_answer_is_not_lost(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, deadlines=QUICK) as at:
        at.source.gate = asyncio.Event()
        assert await code_of(at) is ErrorCode.UNAVAILABLE
        at.source.gate.set()
        await until(lambda: _is_kept(at))
        assert await tags(at) == ["1.0.0"]
        assert at.source.asked == ["versions"]


async def _is_kept(at: House) -> bool:
    route = at.puller.route(Wanted(DEMO)).first
    return bool(await at.catalog.find_tag_list(route.target, route.variant.value))


async def test_what_is_held_and_what_upstream_has_are_one_list(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull("1.0.0")
        at.source.layers = {"2.0.0": layer_of("2.0.0")}
        answer = await listed(at)
        assert (answer.tags, answer.cache) == (["1.0.0", "2.0.0"], Cache.MISS)


async def test_what_was_pulled_since_is_in_a_list_that_is_still_fresh(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await listed(at)
        at.source.layers["2.0.0"] = layer_of("2.0.0")
        await at.pull("2.0.0")
        assert await tags(at) == ["1.0.0", "2.0.0"]
        assert at.source.asked == ["versions", "2.0.0"]


async def test_with_tags_held_and_no_list_they_are_the_list_while_upstream_is_away(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull("1.0.0")
        at.source.failure = Unavailable("down")
        answer = await listed(at)
        assert (answer.tags, answer.cache) == (["1.0.0"], Cache.STALE)
        assert (answer.source, answer.confirmed_at) == (None, None)


async def test_that_nobody_has_the_name_is_remembered_and_not_for_long(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        at.source.failure = MissingName("no")
        for _ in range(3):
            assert await code_of(at) is ErrorCode.NAME_UNKNOWN
        assert at.source.asked == ["versions"]
        at.clock.advance(POLICY.missing_for_seconds)
        at.source.failure = None
        assert await tags(at) == ["1.0.0"]


async def test_an_outage_is_not_remembered(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        at.source.failure = Unavailable("down")
        assert await code_of(at) is ErrorCode.UNAVAILABLE
        at.source.failure = None
        assert await tags(at) == ["1.0.0"]


async def test_all_who_ask_at_once_cost_one_question(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        at.source.gate = asyncio.Event()
        asked = [asyncio.create_task(listed(at)) for _ in range(100)]
        await until(lambda: count_is(at.source, 1))
        at.source.gate.set()
        answers = await asyncio.gather(*asked)
        assert {tuple(answer.tags) for answer in answers} == {("1.0.0",)}
        assert at.source.asked == ["versions"]


@pytest.mark.parametrize("failure", [None, MissingName("no"), Unavailable("down")])
async def test_two_processes_that_ask_at_once_cost_one_question(
    failure: Outcome | None, tmp_path: Path
) -> None:
    leading, following = registry("1.0"), registry("1.0")
    leading.failure, leading.gate = failure, asyncio.Event()
    async with process(tmp_path, [leading]) as first, process(tmp_path, [following]) as second:
        asked = [asyncio.create_task(_answer(first))]
        await until(lambda: count_is(leading, 1))
        asked += [asyncio.create_task(_answer(second)) for _ in range(5)]
        await until_open(tmp_path / "locks", 2)
        leading.gate.set()
        assert len(set(await asyncio.gather(*asked))) == 1
        assert following.asked == []


async def _answer(at: Process) -> object:
    try:
        return tuple(await tags(at))
    except OciError as error:
        return error.code


async def test_a_registry_is_listed_as_it_is(tmp_path: Path) -> None:
    names = ["latest", "v1.0.0", "1.0.0", "1.10", "1.9", "sha256-" + "0" * 64 + ".sig"]
    async with house(tmp_path, only=registry(*names)) as at:
        assert await tags(at) == await tags(at) == sorted(names)


async def test_a_helm_repository_is_listed_in_the_plain_spelling_once_for_each_version(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as at:
        at.source.layers = {name: layer_of(name) for name in ("v1.0.0", "1.0.0", "v2.0.0+build.1", "10.0.0")}
        assert await tags(at) == ["1.0.0", "10.0.0", "2.0.0_build.1"]


async def test_what_can_be_no_tag_is_not_listed(tmp_path: Path) -> None:
    async with house(tmp_path, only=registry("good", "not good", "-bad", "x" * 129)) as at:
        assert await tags(at) == ["good"]


async def test_offline_the_list_is_what_is_held_and_nobody_is_asked(tmp_path: Path) -> None:
    async with house(tmp_path) as online:
        online.source.layers["2.0.0"] = layer_of("2.0.0")
        await online.pull("1.0.0")
        await listed(online)
    online.source.asked.clear()
    async with house(tmp_path, before=online, offline="yes") as at:
        answer = await listed(at)
        assert (answer.tags, answer.cache) == (["1.0.0"], Cache.HIT)
        with pytest.raises(OciError, match="offline") as caught:
            await at.puller.tags(Wanted(OTHER))
        assert (caught.value.code, at.source.asked) == (ErrorCode.NAME_UNKNOWN, [])


async def test_a_list_of_a_source_that_the_chain_has_no_more_is_not_served(tmp_path: Path) -> None:
    async with house(tmp_path, others=[registry("1.0", "2.0")]) as before:
        assert (await listed(before)).source == "registry"
    async with house(tmp_path, before=before) as at:
        answer = await listed(at)
        assert (answer.tags, answer.source) == (["1.0.0"], "helm")


async def test_the_list_of_the_first_source_that_is_fresh_is_the_list(tmp_path: Path) -> None:
    first = registry("1.0")
    async with house(tmp_path, others=[first]) as at:
        first.failure = Unavailable("down")
        assert (await listed(at)).source == "helm"
        first.failure = None
        at.clock.advance(STALE)
        answer = await listed(at)
        assert (answer.tags, answer.source) == (["1.0"], "registry")


async def test_a_list_older_than_may_be_served_is_as_none(tmp_path: Path) -> None:
    async with house(tmp_path, policy=Policy(stale_for_seconds=1000.0)) as at:
        await listed(at)
        at.clock.advance(FRESH + 999)
        at.source.failure = Unavailable("down")
        assert (await listed(at)).cache is Cache.STALE
        at.clock.advance(1)
        assert await code_of(at) is ErrorCode.UNAVAILABLE
        at.source.failure = None
        assert await tags(at) == ["1.0.0"]


async def test_over_the_wire_five_thousand_tags_are_paged_from_one_list(tmp_path: Path) -> None:
    image, names = OCI.image(10), [f"{number}.0.0" for number in range(5000)]
    with FakeRegistry() as registry:
        registry.page_size = 1000
        for name in names:
            registry.push(NAME, name, image.manifest, image.media_type)
        async with composed(tmp_path, "upstreams:\n" + upstream(registry.origin, kind="registry")) as at:
            whole = await at.client.get(f"/v2/{HOST}/{NAME}/tags/list")
            assert whole.json() == {"name": f"{HOST}/{NAME}", "tags": sorted(names)}
            assert (whole.headers["x-cache"], whole.headers["x-cache-source"]) == ("miss", "registry")
            asked, seen = len(registry.requests), []
            link: str | None = f"</v2/{HOST}/{NAME}/tags/list?n=700>"
            while link:
                page = await at.client.get(link.partition(">")[0].removeprefix("<"))
                assert (page.headers["x-cache"], int(page.headers["age"]) >= 0) == ("hit", True)
                seen += page.json()["tags"]
                link = page.headers.get("link")
            assert seen == sorted(names)
            assert len(registry.requests) == asked


async def test_an_upstream_that_keeps_others_waiting_keeps_nobody_waiting_for_a_list(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await listed(at)
        at.clock.advance(STALE)
        at.source.troubled, at.source.gate = "yes", asyncio.Event()
        for _ in range(3):
            assert (await listed(at)).cache is Cache.STALE


async def test_an_index_that_is_held_gives_the_list_of_a_chart_never_asked_for(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        at.source.stale_because = DOWN
        assert await tags(at) == ["1.0.0"]
