"""A tag of a name with several targets stays at the one where it was first found."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from gateway.access.readers import admit_operator
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.outcomes import Denied, Missing, Outcome, UnknownHost
from gateway.oci.postgres_url import PostgresUrl
from gateway.oci.target import Target
from gateway.pulled import Cache
from gateway.store.blobs import StorageFailed
from tests.fakes.source import FakeSource, image_of, layer_of, manifest_of
from tests.pull_house import DOWN, DUE, until
from tests.ruled_puller import ruled, said
from tests.targets_house import (
    DEFAULTS,
    FIRST,
    NAME,
    OURS,
    PRIVATE_SECOND,
    RULES,
    SECOND,
    THEIRS,
    THIRD,
    Opened,
    charts,
    first_publishes,
    images,
    leading_to,
    only_at_second,
    refused,
)

pytestmark = [pytest.mark.slow, pytest.mark.anyio]


@pytest.fixture
def opened(tmp_path: Path, database: PostgresUrl | None) -> Opened:
    return partial(ruled, tmp_path / "data", database=database)


async def test_a_tag_stays_where_it_was_found_also_after_the_first_target_publishes_it(
    opened: Opened,
) -> None:
    async with opened(RULES, only_at_second()) as at:
        digest = await at.pull(NAME, "1.0.0")
        first_publishes(at)
        assert await at.pull(NAME, "1.0.0") == digest
        at.clock.advance(DUE)
        assert await at.pull(NAME, "1.0.0") == digest
        assert at.upstreams.by_target[FIRST].asked == ["1.0.0"]


async def test_a_moving_tag_stays_too_and_moves_there(opened: Opened) -> None:
    async with opened(RULES, {FIRST: images(), SECOND: images(latest=OURS)}) as at:
        assert await at.pull(NAME, "latest") == image_of(OURS).digest
        first_publishes(at, "latest")
        at.upstreams.by_target[SECOND].layers["latest"] = layer_of("the next")
        at.clock.advance(DUE)
        assert await at.pull(NAME, "latest") == image_of(layer_of("the next")).digest


async def test_a_tag_stays_after_a_restart_and_in_every_other_worker(opened: Opened) -> None:
    async with opened(RULES, only_at_second()) as worker:
        digest = await worker.pull(NAME, "1.0.0")
        first_publishes(worker)
        async with opened(RULES, beside=worker) as other:
            assert await other.pull(NAME, "1.0.0") == digest
    async with opened(RULES, beside=worker) as restarted:
        restarted.clock.advance(DUE)
        assert await restarted.pull(NAME, "1.0.0") == digest


@pytest.mark.parametrize("in_one", ["one worker", ""])
async def test_of_two_that_look_at_once_both_get_what_was_found_first(opened: Opened, in_one: str) -> None:
    """One has seen that the first has it not; before it has it from the second, the other finds it there."""
    async with opened(RULES, only_at_second()) as at, opened(RULES, beside=at) as beside:
        other = at if in_one else beside
        second = at.upstreams.by_target[SECOND]
        second.gate = asyncio.Event()
        slow = asyncio.create_task(at.pull(NAME, "1.0.0"))
        await until(partial(_asked, second))
        first_publishes(at)
        quick = await other.pull(NAME, "1.0.0")
        second.gate.set()
        assert (quick, await slow) == (manifest_of(THEIRS).digest, quick)
        assert await at.pull(NAME, "1.0.0") == await other.pull(NAME, "1.0.0") == quick


async def _asked(source: FakeSource) -> bool:
    await asyncio.sleep(0)
    return bool(source.asked)


async def test_many_at_once_in_two_workers_are_all_given_one(opened: Opened) -> None:
    async with opened(RULES, only_at_second()) as at, opened(RULES, beside=at) as other:
        pulls = [one.pull(NAME, "1.0.0") for _ in range(20) for one in (at, other)]
        assert set(await asyncio.gather(*pulls)) == {manifest_of(OURS).digest}
        assert at.upstreams.by_target[SECOND].fetched == ["1.0.0"]


@pytest.mark.parametrize("failure", [DOWN, UnknownHost("NXDOMAIN"), Missing("deleted"), Denied("403")])
async def test_while_its_home_fails_a_tag_is_served_from_what_is_held(
    opened: Opened, failure: Outcome
) -> None:
    async with opened(RULES, only_at_second()) as at:
        digest = await at.pull(NAME, "1.0.0")
        first_publishes(at)
        at.clock.advance(DUE)
        at.upstreams.by_target[SECOND].failure = failure
        pulled = await at.pulled(NAME, "1.0.0")
        assert (pulled.cache, pulled.manifest.digest) == (Cache.STALE, digest)


async def test_a_tag_whose_copy_expired_while_its_home_is_down_is_unavailable(opened: Opened) -> None:
    rules = leading_to(FIRST, SECOND, stale_for="1h")
    async with opened(rules, {FIRST: images(), SECOND: images(latest=OURS)}) as at:
        await at.pull(NAME, "latest")
        first_publishes(at, "latest")
        at.clock.advance(2 * 3600)
        at.upstreams.by_target[SECOND].failure = DOWN
        assert await refused(at, "latest") is ErrorCode.UNAVAILABLE


async def test_what_its_home_deleted_is_not_taken_from_another_target(opened: Opened) -> None:
    async with opened(leading_to(FIRST, SECOND, deleted="drop"), only_at_second()) as at:
        await at.pull(NAME, "1.0.0")
        first_publishes(at)
        at.upstreams.by_target[SECOND].failure = Missing("deleted")
        at.clock.advance(DUE)
        assert await refused(at) is ErrorCode.MANIFEST_UNKNOWN
        at.clock.advance(2)
        assert await refused(at) is ErrorCode.MANIFEST_UNKNOWN


async def test_offline_a_tag_is_served_from_its_home_alone(opened: Opened) -> None:
    async with opened(RULES, only_at_second()) as at:
        digest = await at.pull(NAME, "1.0.0")
        first_publishes(at)
        assert await at.pull(FIRST, "1.0.0") == manifest_of(THEIRS).digest
    async with opened(RULES, beside=at, offline="yes") as away:
        assert await away.pull(NAME, "1.0.0") == digest
        assert await away.pull(FIRST, "1.0.0") == manifest_of(THEIRS).digest
        assert await refused(away, "2.0.0") is ErrorCode.MANIFEST_UNKNOWN


async def test_a_tag_whose_home_the_rules_name_no_more_gets_a_new_one_for_good(opened: Opened) -> None:
    third = charts(**{"1.0.0": layer_of("1.0.0", "third")})
    async with opened(RULES, {**only_at_second(), THIRD: third}) as at, opened(RULES, beside=at) as lagging:
        digest = await at.pull(NAME, "1.0.0")
        assert await lagging.pull(NAME, "1.0.0") == digest
        at.use(leading_to(FIRST, THIRD))
        moved = await at.pull(NAME, "1.0.0")
        assert moved == manifest_of(third.layers["1.0.0"]).digest
        first_publishes(at)
        assert await at.pull(NAME, "1.0.0") == moved
        assert await lagging.pull(NAME, "1.0.0") == digest  # until it has the new rules too
        for worker in (lagging, at):
            worker.use(leading_to(SECOND, FIRST, THIRD))
            assert await worker.pull(NAME, "1.0.0") == moved


async def test_a_home_that_another_worker_found_is_kept_while_the_first_is_down(opened: Opened) -> None:
    third = charts(**{"1.0.0": layer_of("1.0.0", "third")})
    async with opened(RULES, {**only_at_second(), THIRD: third}) as at, opened(RULES, beside=at) as lagging:
        await at.pull(NAME, "1.0.0")
        await lagging.pull(NAME, "1.0.0")
        at.use(leading_to(FIRST, THIRD))
        moved = await at.pull(NAME, "1.0.0")
        at.upstreams.by_target[FIRST].failure = DOWN
        lagging.use(leading_to(FIRST, THIRD))
        assert await lagging.pull(NAME, "1.0.0") == moved


async def test_a_rule_gets_a_target_in_front_and_what_was_found_stays(opened: Opened) -> None:
    async with opened(RULES, {**only_at_second(), THIRD: charts(**{"1.0.0": THEIRS})}) as at:
        digest = await at.pull(NAME, "1.0.0")
        at.use(leading_to(THIRD, FIRST, SECOND))
        assert await at.pull(NAME, "1.0.0") == digest


async def test_the_same_name_under_another_host_has_homes_of_its_own(opened: Opened) -> None:
    """Else whoever sends another Host would move the tags of everybody."""
    rewrite = "rewrite: [first.example.test/charts/$1, second.example.test/charts/$1]"
    rules = f"""{DEFAULTS}rules:
  - {{host: third.test, repository: "prom/*", rewrite: [third.example.test/charts/$1, {FIRST}]}}
  - {{host: "*.team.test", repository: "prom/*", rewrite: [$1.example.test/charts/$2, {SECOND}]}}
  - {{repository: "prom/*", {rewrite}}}
"""
    third = charts(**{"1.0.0": layer_of("1.0.0", "third")})
    async with opened(rules, {**only_at_second(), THIRD: third}) as at:
        digest = await at.pull(NAME, "1.0.0")
        assert await at.pull(NAME, "1.0.0", host="third.test") != digest
        assert await at.pull(NAME, "1.0.0", host="third.team.test") != digest
        assert await at.pull(NAME, "1.0.0", host="first.team.test") == digest
        first_publishes(at)
        for host in ("", "first.team.test", "other.test"):
            assert await at.pull(NAME, "1.0.0", host=host) == digest


async def test_hosts_that_lead_to_the_same_targets_share_their_homes(opened: Opened) -> None:
    rules = f'{DEFAULTS}rules: [{{host: "*.team.test", rewrite: [{FIRST}, {SECOND}]}}]'
    async with opened(rules, only_at_second()) as at:
        digest = await at.pull(NAME, "1.0.0", host="a.team.test")
        first_publishes(at)
        assert await at.pull(NAME, "1.0.0", host="made-up.team.test") == digest


async def test_names_as_long_as_they_may_be_have_homes_under_hosts_too(opened: Opened) -> None:
    rules = f"""{DEFAULTS}rules:
  - {{host: "~{"a" * 100}|team[.]test", rewrite: [{FIRST}, {SECOND}]}}
"""
    name = "x" * 255
    async with opened(rules, only_at_second()) as at:
        digest = await at.pull(name, "1.0.0", host="team.test")
        first_publishes(at)
        assert await at.pull(name, "1.0.0", host="team.test") == digest


async def test_a_tag_that_is_at_a_private_target_is_not_taken_from_one_before_it(opened: Opened) -> None:
    """Nor does whoever may not go there move it for those who may."""
    async with opened(PRIVATE_SECOND, only_at_second(), admit=admit_operator) as signed_in:
        digest = await signed_in.pull(NAME, "1.0.0")
        first_publishes(signed_in)
        async with opened(PRIVATE_SECOND, beside=signed_in) as at:
            assert await refused(at) is ErrorCode.UNAUTHORIZED
        signed_in.clock.advance(2)
        assert await signed_in.pull(NAME, "1.0.0") == digest
    async with opened(PRIVATE_SECOND, beside=signed_in, admit=admit_operator) as restarted:
        assert await restarted.pull(NAME, "1.0.0") == digest


async def test_a_tag_whose_home_is_denied_by_now_is_denied(opened: Opened) -> None:
    async with opened(RULES, only_at_second()) as at:
        await at.pull(NAME, "1.0.0")
        first_publishes(at)
        at.use(f'{RULES}upstreams: {{second.example.test: {{deny: "moved"}}}}')
        with pytest.raises(OciError) as caught:
            await at.pull(NAME, "1.0.0")
        assert said(caught.value) == ("DENIED", f"{NAME}: moved")


async def test_a_home_is_remembered_while_the_catalog_cannot_be_read(opened: Opened) -> None:
    async with opened(RULES, only_at_second()) as at:
        digest = await at.pull(NAME, "1.0.0")
        assert await at.pull(NAME, "1.0.0") == digest
        first_publishes(at)
        at.catalog.find_tag_target = _unreadable  # type: ignore[method-assign,assignment]
        at.catalog.generation.advance()  # something was written: what is remembered may be old
        assert await at.pull(NAME, "1.0.0") == digest
        with pytest.raises(StorageFailed):
            await at.pull(NAME, "0.1.0")


async def _unreadable(*_about: object) -> Target | None:
    raise StorageFailed("the catalog cannot be read")


async def test_another_name_of_the_same_targets_shares_the_content_and_not_the_home(opened: Opened) -> None:
    both = f'{RULES}  - {{repository: "p/*", rewrite: [{SECOND}, {FIRST}]}}\n'
    world = {FIRST: charts(**{"1.0.0": OURS}), SECOND: charts(**{"1.0.0": THEIRS})}
    async with opened(both, world) as at:
        assert await at.pull(NAME, "1.0.0") == manifest_of(OURS).digest
        assert await at.pull("p/redis", "1.0.0") == manifest_of(THEIRS).digest
        assert (await at.pulled(SECOND, "1.0.0")).cache is Cache.HIT
