"""Several targets of one rule are different names: only a definite «not there» leads from one to the next."""

from functools import partial
from pathlib import Path

import pytest

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.media_types import OCI_MANIFEST
from gateway.oci.outcomes import Corrupt, Denied, Missing, MissingName, Outcome, Unavailable, UnknownHost
from gateway.oci.postgres_url import PostgresUrl
from gateway.pulled import Cache
from tests.fakes.source import layer_of, manifest_of
from tests.pull_house import DOWN, DUE
from tests.ruled_puller import ruled, said, wanted
from tests.targets_house import (
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
    images,
    leading_to,
    only_at_second,
    refused,
)

pytestmark = [pytest.mark.slow, pytest.mark.anyio]


@pytest.fixture
def opened(tmp_path: Path, database: PostgresUrl | None) -> Opened:
    return partial(ruled, tmp_path / "data", database=database)


@pytest.mark.parametrize("absent", [Missing("no such version"), MissingName("no such chart")])
async def test_a_definite_not_there_leads_on_to_the_next_target(opened: Opened, absent: Outcome) -> None:
    async with opened(RULES, only_at_second()) as at:
        at.upstreams.by_target[FIRST].failure = absent
        pulled = await at.pulled(NAME, "1.0.0")
        assert (pulled.cache, pulled.manifest) == (Cache.MISS, manifest_of(OURS))
        assert (await at.pulled(NAME, "1.0.0")).cache is Cache.HIT


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Unavailable("5xx"), ErrorCode.UNAVAILABLE),
        (Unavailable("429", 9, is_rate_limited=True), ErrorCode.TOOMANYREQUESTS),
        (Denied("403"), ErrorCode.DENIED),
        (Corrupt("wrong bytes"), ErrorCode.UNKNOWN),
        (UnknownHost("NXDOMAIN"), ErrorCode.NAME_UNKNOWN),
        (UnknownHost("refused", is_refused=True), ErrorCode.NAME_UNKNOWN),
    ],
)
async def test_nothing_else_leads_on(opened: Opened, failure: Outcome, code: ErrorCode) -> None:
    async with opened(RULES, only_at_second()) as at:
        at.upstreams.by_target[FIRST].failure = failure
        assert await refused(at) is code
        assert at.upstreams.by_target[SECOND].asked == []


async def test_what_the_second_says_counts_where_the_first_has_it_not(opened: Opened) -> None:
    async with opened(RULES, only_at_second()) as at:
        second = at.upstreams.by_target[SECOND]
        second.failure = DOWN
        assert await refused(at) is ErrorCode.UNAVAILABLE
        second.failure = Missing("no such version here")
        with pytest.raises(OciError) as caught:
            await at.pulled(NAME, "1.0.0")
        assert said(caught.value) == (
            "MANIFEST_UNKNOWN",
            f"{FIRST}: no 1.0.0; {SECOND}: no such version here",
        )


async def test_nowhere_is_the_nearest_that_anybody_came_to_it(opened: Opened) -> None:
    async with opened(RULES, {SECOND: charts(**{"1.0.0": OURS})}) as at:
        assert await refused(at, "9.9.9") is ErrorCode.MANIFEST_UNKNOWN
    async with opened(RULES, {}) as at:
        assert await refused(at) is ErrorCode.NAME_UNKNOWN


async def test_offline_what_the_first_is_not_known_to_lack_is_not_taken_from_the_second(
    opened: Opened,
) -> None:
    async with opened(RULES, only_at_second()) as at:
        await at.pull(SECOND, "1.0.0")
    async with opened(RULES, beside=at, offline="yes") as away:
        assert await refused(away) is ErrorCode.MANIFEST_UNKNOWN


async def test_a_private_target_stops_an_anonymous_client_only_where_nothing_before_it_has_the_tag(
    opened: Opened,
) -> None:
    async with opened(PRIVATE_SECOND, only_at_second()) as at:
        assert await at.pull(NAME, "0.1.0") == manifest_of(layer_of("0.1.0")).digest
        assert await refused(at) is ErrorCode.UNAUTHORIZED
        assert at.upstreams.by_target[SECOND].asked == []
        assert await at.tags(NAME) == ["0.1.0"]


async def test_a_first_target_that_is_denied_or_private_ends_it(opened: Opened) -> None:
    async with opened(RULES, only_at_second()) as at:
        for key, code in (("deny: no", ErrorCode.DENIED), ("access: private", ErrorCode.UNAUTHORIZED)):
            at.use(f"{RULES}upstreams: {{first.example.test: {{{key}}}}}")
            assert await refused(at) is code


async def test_the_list_is_the_union_of_all_targets(opened: Opened) -> None:
    world = {
        FIRST: charts(**{"1.0.0": OURS, "2.0.0": OURS}),
        SECOND: charts(**{"2.0.0": THEIRS, "3.0.0": THEIRS}),
    }
    async with opened(RULES, world) as at:
        listed = await at.listed(NAME)
        assert (listed.tags, listed.cache, listed.confirmed_at) == (
            ["1.0.0", "2.0.0", "3.0.0"],
            Cache.MISS,
            at.clock.seconds,
        )
        assert (await at.listed(NAME)).cache is Cache.HIT


@pytest.mark.parametrize(("gone", "left"), [(FIRST, ["2.0.0"]), (SECOND, ["1.0.0"])])
async def test_a_target_without_the_name_adds_nothing_to_the_list(
    opened: Opened, gone: str, left: list[str]
) -> None:
    world = {FIRST: charts(**{"1.0.0": OURS}), SECOND: charts(**{"2.0.0": THEIRS})}
    async with opened(RULES, {target: source for target, source in world.items() if target != gone}) as at:
        assert await at.tags(NAME) == left


@pytest.mark.parametrize("down", [FIRST, SECOND])
async def test_a_list_that_would_lack_a_target_that_is_down_is_refused_unless_its_tags_are_known(
    opened: Opened, down: str
) -> None:
    world = {FIRST: charts(**{"1.0.0": OURS}), SECOND: charts(**{"2.0.0": THEIRS})}
    async with opened(RULES, world) as at:
        at.upstreams.by_target[down].failure = DOWN
        with pytest.raises(OciError) as caught:
            await at.tags(NAME)
        assert caught.value.code is ErrorCode.UNAVAILABLE
        at.upstreams.by_target[down].failure = None
        assert await at.tags(NAME) == ["1.0.0", "2.0.0"]
        at.upstreams.by_target[down].failure = DOWN
        at.clock.advance(DUE)
        listed = await at.listed(NAME)
        assert (listed.tags, listed.cache) == (["1.0.0", "2.0.0"], Cache.STALE)


async def test_a_name_that_no_target_has_has_no_list(opened: Opened) -> None:
    async with opened(RULES, {}) as at:
        with pytest.raises(OciError) as caught:
            await at.tags(NAME)
        assert caught.value.code is ErrorCode.NAME_UNKNOWN


async def test_a_host_that_does_not_resolve_fails_the_list(opened: Opened) -> None:
    async with opened(RULES, only_at_second()) as at:
        at.upstreams.by_target[FIRST].failure = UnknownHost("NXDOMAIN")
        with pytest.raises(OciError) as caught:
            await at.tags(NAME)
        assert caught.value.code is ErrorCode.NAME_UNKNOWN
        assert at.upstreams.by_target[SECOND].asked == []


async def test_offline_the_list_is_what_is_held_of_every_target(opened: Opened) -> None:
    world = {FIRST: charts(**{"1.0.0": OURS}), SECOND: charts(**{"2.0.0": THEIRS, "3.0.0": OURS})}
    async with opened(RULES, world) as at:
        await at.pull(NAME, "2.0.0")
    async with opened(RULES, beside=at, offline="yes") as away:
        assert await away.tags(NAME) == ["2.0.0"]


async def test_a_digest_is_had_from_whatever_target_holds_it_before_anybody_is_asked(opened: Opened) -> None:
    async with opened(RULES, only_at_second()) as at:
        digest = await at.pull(NAME, "1.0.0")
        asked = list(at.upstreams.by_target[FIRST].asked)
        at.upstreams.by_target[FIRST].failure = DOWN
        pulled = await at.puller.manifest(wanted(NAME), digest)
        assert (pulled.cache, pulled.manifest.digest) == (Cache.HIT, digest)
        assert at.upstreams.by_target[FIRST].asked == asked


async def test_a_digest_that_was_never_seen_is_looked_for_at_each_target_in_order(opened: Opened) -> None:
    async with opened(RULES, only_at_second()) as at:
        pulled = await at.puller.manifest(wanted(NAME), manifest_of(OURS).digest)
        assert (pulled.cache, pulled.manifest) == (Cache.MISS, manifest_of(OURS))
        assert at.upstreams.by_target[FIRST].asked == at.upstreams.by_target[SECOND].asked == ["newest"]


async def test_a_digest_is_not_looked_for_behind_a_target_that_is_down(opened: Opened) -> None:
    async with opened(RULES, only_at_second()) as at:
        at.upstreams.by_target[FIRST].failure = DOWN
        with pytest.raises(OciError) as caught:
            await at.puller.manifest(wanted(NAME), manifest_of(OURS).digest)
        assert caught.value.code is ErrorCode.UNAVAILABLE
        assert at.upstreams.by_target[SECOND].asked == []


async def test_blobs_come_from_the_target_whose_manifest_names_them(opened: Opened) -> None:
    async with opened(RULES, {FIRST: images(**{"0.1.0": THEIRS}), SECOND: images(**{"1.0.0": OURS})}) as at:
        await at.pull(NAME, "0.1.0")
        await at.pull(NAME, "1.0.0")
        at.upstreams.by_target[FIRST].failure = DOWN
        assert (await at.puller.describe_blob(wanted(NAME), Digest.of(OURS))).size == len(OURS)
        assert await at.read(NAME, Digest.of(OURS)) == OURS
        at.upstreams.by_target[FIRST].failure = None
        assert await at.read(NAME, Digest.of(THEIRS)) == THEIRS
        for target in (FIRST, SECOND):
            assert len(at.upstreams.by_target[target].served) == 1


async def test_a_blob_that_no_manifest_named_is_nowhere_and_nobody_is_asked(opened: Opened) -> None:
    async with opened(RULES, only_at_second()) as at:
        for ask in (at.puller.blob, at.puller.describe_blob):
            with pytest.raises(OciError) as caught:
                await ask(wanted(NAME), Digest.of(b"unheard of"))
            assert caught.value.code is ErrorCode.BLOB_UNKNOWN
        assert at.upstreams.by_target[FIRST].asked == at.upstreams.by_target[SECOND].asked == []


async def test_what_refers_to_a_manifest_is_listed_for_every_target_that_holds_it(opened: Opened) -> None:
    signatures = [Descriptor(OCI_MANIFEST, Digest.of(text), 3) for text in (b"one", b"two", b"three")]
    async with opened(RULES, {FIRST: images(one=OURS), SECOND: images(one=OURS)}) as at:
        digest = await at.pull(NAME, "one")
        await at.pull(SECOND, "one")
        at.upstreams.by_target[FIRST].listed = signatures[:2]
        at.upstreams.by_target[SECOND].listed = signatures[1:]
        listed = await at.puller.referrers(wanted(NAME), digest)
        assert [one.digest for one in listed] == sorted((one.digest for one in signatures), key=str)


async def test_the_catalog_lists_a_name_wherever_its_tags_came_from(opened: Opened) -> None:
    async with opened(RULES, only_at_second()) as at:
        await at.pull(NAME, "1.0.0")
        assert await at.puller.repositories() == [NAME]
        at.use(leading_to(FIRST, THIRD))
        assert await at.puller.repositories() == []


async def test_the_catalog_lists_every_name_of_a_shared_copy(opened: Opened) -> None:
    short = f'  - {{repository: "short/*", rewrite: {SECOND.replace("/redis", "/$1")}}}\n'
    async with opened(RULES + short, only_at_second()) as at:
        digest = await at.pull(NAME, "1.0.0")
        assert await at.pull(SECOND, "1.0.0") == digest
        await at.puller.manifest(wanted("short/redis"), digest)
        assert await at.puller.repositories() == [NAME, SECOND, "short/redis"]
        assert at.upstreams.by_target[SECOND].asked == ["1.0.0"]
