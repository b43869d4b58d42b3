"""Versions younger than a name's ``min_age`` are hidden there, and nowhere else; held ones stay."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError, Situation
from gateway.oci.outcomes import Denied, Missing, Outcome, Unavailable
from gateway.oci.postgres_url import PostgresUrl
from tests.fakes.source import FakeSource, layer_of
from tests.pull_house import until
from tests.ruled_puller import Ruled, ruled, wanted
from tests.sources.helm_parts import Clock
from tests.targets_house import charts
from tests.versions_house import NAME, OTHER, TARGET, chart, refusal, source, under

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

HOUR, DAY = 3600.0, 86_400.0
NOW = Clock().seconds
AGES = {"1.0.0": 400 * DAY, "2.0.0": 8 * DAY, "2.1.0": 6 * DAY}
WEEK = under(min_age="7d")
RULES = f'{WEEK}  - {{repository: "all/*", rewrite: first.example.test/charts/$1}}\n'
ALL = "all/cd"


def aged(ages: Mapping[str, float] = AGES, mark: str = "") -> FakeSource:
    """A Helm repository whose index says since when each version is there."""
    made = charts(**{version: layer_of(version, mark) for version in ages})
    made.created = {version: NOW - age for version, age in ages.items()}
    return made


def untold(*versions: str) -> FakeSource:
    """One whose index does not."""
    return charts(**{version: layer_of(version) for version in versions})


async def hidden(at: Ruled, tag: str, **how: str) -> str:
    """The message of the refusal."""
    error = await refusal(at, tag, **how)
    assert (error.situation, error.code, error.status) == (Situation.HIDDEN, ErrorCode.MANIFEST_UNKNOWN, 404)
    return error.message


async def test_what_is_too_young_is_in_no_list_and_not_pulled_until_it_is_old_enough(
    database: PostgresUrl | None, tmp_path: Path
) -> None:
    async with ruled(tmp_path, WEEK, {TARGET: aged()}, database=database) as at:
        assert await at.tags(NAME) == ["1.0.0", "2.0.0"]
        assert await at.pull(NAME, "2.0.0") == chart("2.0.0")
        told = f"{NAME}:2.1.0 is hidden by min_age of 604800 s: it is shown from 2023-11-15T22:13:20+00:00"
        assert await hidden(at, "2.1.0") == told
        assert source(at).fetched == ["2.0.0"]
        at.clock.advance(DAY - 1)
        assert await hidden(at, "2.1.0") == told
        at.clock.advance(1)  # also while what was learnt of it is remembered
        assert await at.tags(NAME) == ["1.0.0", "2.0.0", "2.1.0"]
        assert await at.pull(NAME, "2.1.0") == chart("2.1.0")


@pytest.mark.parametrize("first", [NAME, ALL])
async def test_another_name_of_the_same_chart_sees_it_by_its_own_policy(first: str, tmp_path: Path) -> None:
    async with ruled(tmp_path, RULES, {TARGET: aged()}) as at:
        await at.tags(first)
        assert await at.tags(NAME) == ["1.0.0", "2.0.0"]
        assert await at.tags(ALL) == ["1.0.0", "2.0.0", "2.1.0"]
        await hidden(at, "2.1.0")
        assert await at.pull(ALL, "2.1.0") == chart("2.1.0")


async def test_what_is_held_stays_whatever_its_age(database: PostgresUrl | None, tmp_path: Path) -> None:
    async with ruled(tmp_path, RULES, {TARGET: aged()}, database=database) as at:
        await at.pull(ALL, "2.1.0")
        for _ in range(3):
            assert await at.pull(NAME, "2.1.0") == chart("2.1.0")
        assert await at.tags(NAME) == ["1.0.0", "2.0.0", "2.1.0"]
    async with ruled(tmp_path, RULES, beside=at) as again:
        source(at).failure = Unavailable("down")
        at.clock.advance(2 * DAY)
        assert await again.pull(NAME, "2.1.0") == chart("2.1.0")


async def test_no_spelling_is_a_way_around_and_none_hides_what_is_held(tmp_path: Path) -> None:
    async with ruled(tmp_path, RULES, {TARGET: aged({"v1.0.0": HOUR, "2.0.0+b": HOUR})}) as at:
        for spelling in ("1.0.0", "v1.0.0", "2.0.0_b", "v2.0.0_b"):
            await hidden(at, spelling)
        assert await at.tags(NAME) == []
        await at.pull(ALL, "1.0.0")
        await at.pull(ALL, "v2.0.0_b")
        assert await at.tags(NAME) == ["1.0.0", "2.0.0_b"]
        assert await at.pull(NAME, "v1.0.0") == chart("v1.0.0")
        assert await at.pull(NAME, "2.0.0_b") == chart("2.0.0+b")


async def test_a_held_spelling_is_served_while_upstream_is_away(tmp_path: Path) -> None:
    async with ruled(tmp_path, RULES, {TARGET: aged()}) as at:
        await at.pull(ALL, "2.1.0")
        source(at).failure = Unavailable("down")
        assert await at.pull(NAME, "v2.1.0") == chart("2.1.0")
        assert (await refusal(at, "v2.0.0")).code is ErrorCode.UNAVAILABLE


async def test_what_is_held_of_another_variant_is_not_held(tmp_path: Path) -> None:
    rules = RULES.replace("min_age: 7d", "min_age: 7d, provenance: true")
    async with ruled(tmp_path, rules, {TARGET: aged()}) as at:
        await at.pull(ALL, "2.1.0")
        await hidden(at, "2.1.0")
        assert await at.tags(NAME) == ["1.0.0", "2.0.0"]


async def test_a_chart_to_be_rewritten_is_as_old_and_as_held_as_the_plain_one(tmp_path: Path) -> None:
    async with ruled(tmp_path, RULES, {TARGET: aged()}) as at:
        await hidden(at, "2.1.0", rewrites="true")
        assert await at.tags(NAME, rewrites="true") == ["1.0.0", "2.0.0"]
        await at.pull(ALL, "2.1.0")
        assert await at.tags(NAME, rewrites="true") == ["1.0.0", "2.0.0", "2.1.0"]
        refused = await refusal(at, "2.1.0", rewrites="true")
        assert refused.situation is Situation.SOURCE_CORRUPT  # it is no real chart: it was tried


async def test_a_digest_is_never_hidden(tmp_path: Path) -> None:
    async with ruled(tmp_path, RULES, {TARGET: aged()}) as at:
        await at.pull(ALL, "2.1.0")
        await at.catalog.drop_tag(at.puller.route(wanted(NAME)).first.target, "plain", "2.1.0")
        assert (await at.puller.manifest(wanted(NAME), chart("2.1.0"))).manifest.digest == chart("2.1.0")
        await hidden(at, "2.1.0")


async def test_the_search_for_a_digest_makes_nothing_held_that_is_too_young(tmp_path: Path) -> None:
    async with ruled(tmp_path, RULES, {TARGET: aged()}) as at:
        with pytest.raises(OciError):
            await at.puller.manifest(wanted(NAME), Digest.of(b"nobody has it"))
        await hidden(at, "2.1.0")
        assert await at.tags(NAME) == ["1.0.0", "2.0.0"]
        assert (await at.puller.manifest(wanted(NAME), chart("2.1.0"))).manifest.digest == chart("2.1.0")


async def test_without_a_time_upstream_a_version_counts_from_when_it_was_first_listed(tmp_path: Path) -> None:
    async with ruled(tmp_path, WEEK, {TARGET: untold("1.0.0")}) as at:
        assert await at.tags(NAME) == []
        at.clock.advance(6 * DAY)
        source(at).layers["2.0.0"] = layer_of("2.0.0")
        assert await at.tags(NAME) == []
    async with ruled(tmp_path, WEEK, beside=at) as again:
        at.clock.advance(DAY)
        assert await again.tags(NAME) == ["1.0.0"]
        assert await again.pull(NAME, "v1.0.0") == chart("1.0.0")
        assert "shown from 2023-11-27T22:13:20+00:00" in await hidden(again, "2.0.0")


async def test_what_nobody_ever_listed_is_listed_by_who_asks_for_it(tmp_path: Path) -> None:
    async with ruled(tmp_path, WEEK, {TARGET: untold("1.0.0")}) as at:
        assert "shown from 2023-11-21T22:13:20+00:00" in await hidden(at, "1.0.0")
        assert source(at).asked == ["1.0.0", "versions"]
        at.clock.advance(7 * DAY)
        assert await at.pull(NAME, "1.0.0") == chart("1.0.0")


async def test_what_a_fresh_list_has_not_yet_is_hidden_until_a_newer_one_has_it(tmp_path: Path) -> None:
    async with ruled(tmp_path, WEEK, {TARGET: untold("1.0.0")}) as at:
        await at.tags(NAME)
        source(at).layers["2.0.0"] = layer_of("2.0.0")
        assert "upstream does not say how old it is" in await hidden(at, "2.0.0")
        at.clock.advance(HOUR)
        assert "it is shown from" in await hidden(at, "2.0.0")


async def test_a_time_to_come_is_believed(tmp_path: Path) -> None:
    far = 253_402_300_799.0 - NOW  # the last second of the year 9999
    async with ruled(tmp_path, WEEK, {TARGET: aged({"1.0.0": -HOUR, "2.0.0": -far})}) as at:
        at.clock.advance(HOUR + 7 * DAY - 1)
        assert await at.tags(NAME) == []
        assert "shown from 9999-12-31T23:59:59+00:00" in await hidden(at, "2.0.0")
        at.clock.advance(1)
        assert await at.tags(NAME) == ["1.0.0"]
        assert await at.pull(NAME, "1.0.0") == chart("1.0.0")


async def test_a_version_that_is_dated_anew_is_young_again(tmp_path: Path) -> None:
    """As it may be another one by now; what a list knew of it before counts only where nothing is said."""
    async with ruled(tmp_path, WEEK, {TARGET: aged()}) as at:
        assert await at.tags(NAME) == ["1.0.0", "2.0.0"]
        source(at).created = {**source(at).created, "1.0.0": NOW}
        at.clock.advance(HOUR)
        assert await at.tags(NAME) == ["2.0.0"]
        await hidden(at, "1.0.0")
        source(at).created = {}
        at.clock.advance(HOUR)
        assert await at.tags(NAME) == ["2.0.0"]
        assert await at.pull(NAME, "2.0.0") == chart("2.0.0")


async def test_a_channel_means_the_newest_that_is_old_enough(tmp_path: Path) -> None:
    rules = under(min_age="7d", channels='{"2": ">=2 <3"}')
    async with ruled(tmp_path, rules, {TARGET: aged()}) as at:
        assert await at.pull(NAME, "2") == chart("2.0.0")
        at.clock.advance(DAY)
        assert await at.pull(NAME, "2") == chart("2.1.0")


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Unavailable("down"), ErrorCode.UNAVAILABLE),
        (Unavailable("slow down", is_rate_limited=True), ErrorCode.TOOMANYREQUESTS),
        (Missing("no"), ErrorCode.MANIFEST_UNKNOWN),
    ],
)
async def test_an_outage_is_an_outage_and_what_is_not_there_is_not_there(
    failure: Outcome, code: ErrorCode, tmp_path: Path
) -> None:
    async with ruled(tmp_path, WEEK, {TARGET: aged()}) as at:
        source(at).failure = failure
        error = await refusal(at, "2.1.0")
        assert (error.code, error.situation is Situation.HIDDEN) == (code, False)


async def test_that_it_is_not_there_is_remembered(tmp_path: Path) -> None:
    async with ruled(tmp_path, WEEK, {TARGET: aged()}) as at:
        for _ in range(3):
            assert (await refusal(at, "9.9.9")).situation is Situation.MANIFEST_NOT_KNOWN
        assert source(at).asked == ["9.9.9"]
        at.clock.advance(1)
        source(at).layers["9.9.9"] = layer_of("9.9.9")
        assert await hidden(at, "9.9.9")


async def test_a_list_that_nobody_can_give_is_an_outage_too_and_one_that_there_is_not_is_none(
    tmp_path: Path,
) -> None:
    silent = untold("1.0.0")
    async with ruled(tmp_path, WEEK, {TARGET: silent}) as at:
        silent.list_failure = Unavailable("down")
        assert (await refusal(at, "1.0.0")).code is ErrorCode.UNAVAILABLE
        for failure in (Missing("there are no lists"), Denied("lists are not for you")):
            silent.list_failure = failure
            assert "upstream does not say how old it is" in await hidden(at, "1.0.0")
            at.clock.advance(1)


async def test_all_who_ask_at_once_cost_one_question_and_the_next_ones_none_for_a_while(
    tmp_path: Path,
) -> None:
    rules = WEEK.replace("missing_for: 1s", "missing_for: 30s")
    async with ruled(tmp_path, rules, {TARGET: aged()}) as at:
        source(at).gate = gate = asyncio.Event()
        asked = [asyncio.create_task(hidden(at, "2.1.0")) for _ in range(100)]
        await until(lambda: is_asked(source(at)))
        gate.set()
        await asyncio.gather(*asked)
        at.clock.advance(29)
        await hidden(at, "2.1.0")
        assert source(at).asked == ["2.1.0"]
        at.clock.advance(1)
        await hidden(at, "2.1.0")
        assert source(at).asked == ["2.1.0", "2.1.0"]


async def is_asked(upstream: FakeSource) -> bool:
    await asyncio.sleep(0)
    return bool(upstream.asked)


async def test_offline_what_is_held_is_there_and_nothing_is_judged(tmp_path: Path) -> None:
    async with ruled(tmp_path, RULES, {TARGET: aged()}) as at:
        await at.pull(ALL, "2.1.0")
    async with ruled(tmp_path, RULES, beside=at, offline="yes") as again:
        source(at).asked.clear()
        assert await again.tags(NAME) == ["2.1.0"]
        assert await again.pull(NAME, "v2.1.0") == chart("2.1.0")
        assert (await refusal(again, "2.0.0")).situation is Situation.NOT_HELD_OFFLINE
        assert source(at).asked == []


async def test_a_name_without_min_age_never_asks_twice(tmp_path: Path) -> None:
    async with ruled(tmp_path, RULES, {TARGET: aged()}) as at:
        await at.pull(ALL, "2.1.0")
        assert source(at).asked == ["2.1.0"]


async def test_tags_of_a_visible_digest_are_as_visible_whatever_their_age(tmp_path: Path) -> None:
    fallback = f"sha256-{chart('2.1.0').hex}.sig"
    other = f"sha256-{chart('2.0.0').hex}.sig"
    async with ruled(tmp_path, RULES, {TARGET: aged(AGES | {fallback: HOUR, other: HOUR})}) as at:
        await at.pull(ALL, "2.1.0")
        assert await at.tags(NAME) == ["1.0.0", "2.0.0", "2.1.0", fallback]
        assert await at.pull(NAME, fallback) == chart(fallback)
        assert (await refusal(at, other)).code is ErrorCode.MANIFEST_UNKNOWN


def two_targets() -> str:
    return WEEK.replace("first.example.test/charts/$1", f"[first.example.test/charts/$1, {OTHER}]")


async def test_what_is_too_young_at_one_target_is_not_taken_from_the_next(
    database: PostgresUrl | None, tmp_path: Path
) -> None:
    world = {
        TARGET: aged({"v1.0.0": HOUR, "2.0.0": HOUR}),
        OTHER: aged({"1.0.0": 9 * DAY, "2.0.0": 9 * DAY, "3.0.0": 9 * DAY, "4.0.0": HOUR}, "theirs"),
    }
    async with ruled(tmp_path, two_targets(), world, database=database) as at:
        assert await at.tags(NAME) == ["3.0.0"]
        for tag in ("1.0.0", "2.0.0", "4.0.0"):
            await hidden(at, tag)
        await at.pull(NAME, "3.0.0")
        at.clock.advance(7 * DAY)
        assert await at.tags(NAME) == ["1.0.0", "2.0.0", "3.0.0", "4.0.0"]
        assert await at.pull(NAME, "2.0.0") == chart("2.0.0")


async def test_a_tag_stays_at_its_home_when_a_target_before_publishes_it_anew(tmp_path: Path) -> None:
    world = {TARGET: aged({"0.1.0": 9 * DAY}), OTHER: aged({"1.0.0": 9 * DAY})}
    async with ruled(tmp_path, two_targets(), world) as at:
        await at.pull(NAME, "1.0.0")
        source(at).layers["1.0.0"] = layer_of("1.0.0", "ours")
        source(at).created = {**source(at).created, "1.0.0": NOW}
        at.clock.advance(HOUR)
        assert await at.tags(NAME) == ["0.1.0", "1.0.0"]
        assert await at.pull(NAME, "1.0.0") == chart("1.0.0")


async def test_an_outage_at_a_target_leads_on_to_no_other(tmp_path: Path) -> None:
    world = {TARGET: aged(), OTHER: aged(mark="theirs")}
    async with ruled(tmp_path, two_targets(), world) as at:
        source(at).failure = Unavailable("down")
        with pytest.raises(OciError) as caught:
            await at.pull(NAME, "1.0.0")
        assert caught.value.code is ErrorCode.UNAVAILABLE
        assert source(at, OTHER).asked == []
