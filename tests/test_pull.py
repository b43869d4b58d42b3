"""What is served: by what is held, how old it is, and how upstream answers."""

import asyncio
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.outcomes import (
    Corrupt,
    Denied,
    Missing,
    MissingName,
    Outcome,
    Unavailable,
    UnknownHost,
    Withheld,
)
from gateway.oci.reference import Tag
from gateway.pulled import Cache
from gateway.rules.model import Deleted, Drift, Policy
from gateway.rules.route import Wanted
from gateway.store.blobs import StorageFailed
from gateway.waiting import Deadlines
from tests.fakes.source import layer_of, manifest_of
from tests.pull_house import DEMO, DOWN, DUE, FIRST, OTHER, POLICY, QUICK, RECHECK, house, until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("on_both_databases")]


@pytest.mark.anyio
async def test_what_is_held_and_fresh_asks_nobody_also_after_a_restart(tmp_path: Path) -> None:
    async with house(tmp_path) as first:
        assert await first.pull() == (Cache.MISS, FIRST)
        first.clock.advance(RECHECK - 1)
        assert await first.pull() == (Cache.HIT, FIRST)
    async with house(tmp_path, before=first) as second:
        assert await second.pull() == (Cache.HIT, FIRST)
        assert (second.source.asked, second.source.fetched) == (["1.0.0"], ["1.0.0"])


@pytest.mark.anyio
async def test_what_is_due_is_confirmed_without_a_download(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.clock.advance(DUE)
        pulled = await at.puller.manifest(Wanted(DEMO), Tag("1.0.0"))
        assert (pulled.cache, pulled.confirmed_at) == (Cache.HIT, at.clock.seconds)
        assert await at.pull() == (Cache.HIT, FIRST)
        assert (at.source.asked, at.source.fetched) == (["1.0.0"] * 2, ["1.0.0"])


@pytest.mark.anyio
async def test_a_clock_that_was_set_back_makes_nothing_fresh(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.clock.advance(-1000)
        for _ in range(3):  # once asked again, it is known how old it is
            assert await at.pull() == (Cache.HIT, FIRST)
        assert len(at.source.asked) == 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    "failure",
    [
        DOWN,
        Corrupt("wrong"),
        Denied("no"),
        UnknownHost("no"),
        StorageFailed("full"),
        OSError("our own fault"),
    ],
)
async def test_what_is_held_is_served_stale_whatever_fails(failure: Exception, tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.clock.advance(DUE)
        at.source.failure = failure
        confirmed_at = at.clock.seconds - DUE
        for _ in range(2):
            pulled = await at.puller.manifest(Wanted(DEMO), Tag("1.0.0"))
            assert (pulled.cache, pulled.manifest.digest) == (Cache.STALE, FIRST)
            assert pulled.confirmed_at == confirmed_at
        at.source.failure = None
        at.clock.advance(POLICY.missing_for_seconds)  # till then nobody asks again after a definite answer
        assert await at.pull() == (Cache.HIT, FIRST)


@pytest.mark.anyio
async def test_an_index_that_speaks_from_memory_confirms_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.clock.advance(DUE)
        at.source.stale_because = DOWN
        assert await at.pull() == (Cache.STALE, FIRST)
        at.source.layers["2.0.0"] = layer_of("2.0.0")
        assert (await at.pull("2.0.0"))[0] is Cache.MISS  # what it knows it may still give


@pytest.mark.anyio
@pytest.mark.parametrize("failure", [Missing("gone"), MissingName("gone")])
async def test_what_upstream_deleted_is_kept(failure: Outcome, tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.clock.advance(DUE)
        at.source.failure = failure
        before = await at.puller.manifest(Wanted(DEMO), Tag("1.0.0"))
        assert await at.pull() == (Cache.STALE, FIRST)
        assert (await at.puller.manifest(Wanted(DEMO), Tag("1.0.0"))).confirmed_at == before.confirmed_at


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("failure", "code", "retry_after"),
    [
        (DOWN, ErrorCode.UNAVAILABLE, 7),
        (Unavailable("down"), ErrorCode.UNAVAILABLE, 5),
        (Unavailable("slow down", 9, is_rate_limited=True), ErrorCode.TOOMANYREQUESTS, 9),
        (Corrupt("wrong"), ErrorCode.UNKNOWN, None),
        (Denied("no"), ErrorCode.DENIED, None),
        (Missing("no"), ErrorCode.MANIFEST_UNKNOWN, None),
        (MissingName("no"), ErrorCode.NAME_UNKNOWN, None),
        (UnknownHost("no"), ErrorCode.NAME_UNKNOWN, None),
    ],
)
async def test_with_nothing_held_a_failure_is_told(
    failure: Outcome, code: ErrorCode, retry_after: int | None, tmp_path: Path
) -> None:
    async with house(tmp_path) as at:
        at.source.failure = failure
        for ask in (at.puller.manifest(Wanted(DEMO), Tag("1.0.0")), at.puller.manifest(Wanted(DEMO), FIRST)):
            with pytest.raises(OciError) as caught:
                await ask
            assert (caught.value.code, caught.value.retry_after_seconds) == (code, retry_after)
        assert not await at.catalog.held()


@pytest.mark.anyio
async def test_only_that_nobody_has_it_is_remembered_and_not_for_long(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        for _ in range(3):
            assert await at.code("9.9.9") is ErrorCode.MANIFEST_UNKNOWN
        assert at.source.asked == ["9.9.9"]
        at.clock.advance(POLICY.missing_for_seconds)
        at.source.layers["9.9.9"] = layer_of("9.9.9")
        assert (await at.pull("9.9.9"))[0] is Cache.MISS
        at.source.failure = DOWN
        for _ in range(2):
            assert await at.code("8.8.8") is ErrorCode.UNAVAILABLE
        assert at.source.asked == ["9.9.9", "9.9.9", "8.8.8", "8.8.8"]


@pytest.mark.anyio
async def test_a_remembered_refusal_does_not_grow_as_it_is_told(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        depths = []
        for _ in range(20):
            with pytest.raises(OciError) as caught:
                await at.puller.manifest(Wanted(DEMO), Tag("9.9.9"))
            depths.append(len(caught.traceback))
        assert len(set(depths[1:])) == 1


@pytest.mark.anyio
async def test_with_a_stale_copy_at_hand_a_silent_upstream_holds_nobody_for_long(tmp_path: Path) -> None:
    async with house(tmp_path) as before:
        await before.pull()
    async with house(tmp_path, before=before, deadlines=QUICK) as at:
        at.clock.advance(DUE)
        at.source.gate = asyncio.Event()
        assert await at.pull() == (Cache.STALE, FIRST)
        at.source.gate.set()  # the flight went on behind, and confirms
        await until(at.is_confirmed)
        assert await at.pull() == (Cache.HIT, FIRST)
        assert len(at.source.asked) == 2


@pytest.mark.anyio
async def test_with_nothing_held_a_silent_upstream_is_an_outage_and_its_answer_is_not_lost(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, deadlines=QUICK) as at:
        at.source.gate = asyncio.Event()
        for reference in ("1.0.0", Digest.of(b"never seen")):
            meant = Tag(reference) if isinstance(reference, str) else reference
            with pytest.raises(OciError) as caught:
                await at.puller.manifest(Wanted(DEMO), meant)
            assert caught.value.code is ErrorCode.UNAVAILABLE
            assert caught.value.retry_after_seconds == 5
        at.source.gate.set()
        await until(at.is_confirmed)
        assert await at.pull() == (Cache.HIT, FIRST)
        assert at.source.asked == ["1.0.0", "newest"]


def test_the_published_deadlines_are_two_and_a_half_and_thirty_seconds() -> None:
    assert (Deadlines().stale_seconds, Deadlines().cold_seconds) == (2.5, 30.0)


@pytest.mark.anyio
async def test_two_hundred_who_ask_at_once_cost_upstream_one_question(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        at.source.gate = asyncio.Event()
        asked = [asyncio.create_task(at.pull()) for _ in range(200)]
        await until(at.all_have_looked)
        at.source.gate.set()
        results = await asyncio.gather(*asked)
        assert [cache for cache, _ in results].count(Cache.JOINED) == 199
        assert {digest for _, digest in results} == {FIRST}
        assert at.source.fetched == ["1.0.0"]


@pytest.mark.anyio
async def test_two_hundred_who_fail_at_once_cost_one_question_and_the_next_one_tries_again(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as at:
        at.source.failure, at.source.gate = DOWN, asyncio.Event()
        asked = [asyncio.create_task(at.code()) for _ in range(200)]
        await until(at.all_have_looked)
        at.source.gate.set()
        assert set(await asyncio.gather(*asked)) == {ErrorCode.UNAVAILABLE}
        assert len(at.source.asked) == 1
        at.source.failure = None
        assert await at.pull() == (Cache.MISS, FIRST)


@pytest.mark.anyio
async def test_offline_what_is_held_is_served_and_nobody_is_asked(tmp_path: Path) -> None:
    async with house(tmp_path) as online:
        await online.pull()
    online.source.asked.clear()
    online.clock.advance(10 * RECHECK)
    async with house(tmp_path, before=online, offline="yes") as at:
        assert await at.pull() == (Cache.HIT, FIRST)
        assert await at.pull("v1.0.0") == (Cache.HIT, FIRST)
        assert (await at.puller.manifest(Wanted(DEMO), FIRST)).cache is Cache.HIT
        assert await at.read(Digest.of(layer_of("1.0.0"))) == layer_of("1.0.0")
        assert (await at.puller.tags(Wanted(DEMO))).tags == ["1.0.0"]
        assert await at.code("2.0.0") is ErrorCode.MANIFEST_UNKNOWN
        assert await at.code(Digest.of(b"never seen")) is ErrorCode.MANIFEST_UNKNOWN
        with pytest.raises(OciError) as caught:
            await at.puller.tags(Wanted(OTHER))
        assert caught.value.code is ErrorCode.NAME_UNKNOWN
        assert at.source.asked == []


@pytest.mark.anyio
async def test_in_an_outage_another_spelling_of_a_version_that_is_held_is_served(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull("1.0.0")
        at.source.failure = Unavailable("down")
        assert await at.pull("v1.0.0") == (Cache.STALE, FIRST)
        assert await at.code("1.0.1") is ErrorCode.UNAVAILABLE
        at.source.failure = Missing("no")
        assert await at.code("v1.0.0") is ErrorCode.MANIFEST_UNKNOWN


@pytest.mark.anyio
async def test_a_refusal_to_strangers_deletes_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, policy=Policy(deleted=Deleted.DROP)) as at:
        await at.pull()
        at.clock.advance(DUE)
        at.source.failure = Withheld("not there, or not for everyone")
        assert await at.pull() == (Cache.STALE, FIRST)
        at.clock.advance(POLICY.missing_for_seconds)
        at.source.failure = DOWN
        assert await at.pull() == (Cache.STALE, FIRST)


@pytest.mark.anyio
async def test_who_limits_us_without_saying_for_how_long_is_left_alone_for_a_while(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.clock.advance(DUE)
        at.source.failure = Unavailable("slow down", is_rate_limited=True)
        for _ in range(10):
            assert await at.pull() == (Cache.STALE, FIRST)
        assert len(at.source.asked) == 2
        at.clock.advance(5)
        await at.pull()
        assert len(at.source.asked) == 3


@pytest.mark.anyio
@pytest.mark.parametrize("drift", list(Drift))
async def test_another_spelling_follows_or_stays_as_the_policy_says(drift: Drift, tmp_path: Path) -> None:
    async with house(tmp_path, policy=Policy(drift=drift)) as at:
        await at.pull("1.0.0")
        at.source.layers["1.0.0"] = layer_of("1.0.0", "republished")
        expected = FIRST if drift is Drift.KEEP else manifest_of(at.source.layers["1.0.0"]).digest
        assert (await at.pull("v1.0.0"))[1] == expected
