"""What of a name's tags a client sees: hidden tags nowhere, digests always."""

import asyncio
import time
from collections.abc import Awaitable
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode
from gateway.oci.outcomes import Missing
from gateway.pulled import Cache
from gateway.selection import remembering
from tests.fakes.source import FakeSource, image_of, layer_of
from tests.ruled_puller import ruled, wanted
from tests.targets_house import charts, images
from tests.versions_house import (
    FIVE,
    NAME,
    OTHER,
    TARGET,
    VERSIONS,
    chart,
    refusal,
    source,
    under,
    with_versions,
)

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

LONGEST_STEP_SECONDS = 0.005  # of the event loop's own work, while anything else might wait
MANY = 20_000


HIDING = {
    'tags: {allow: ["5.*"]}': ["5.0.0", "5.10.0", "5.11.0-rc.1", "5.9.1"],
    'tags: {deny: ["*-rc*", "4*"]}': ["5.0.0", "5.10.0", "5.9.1", "6.0.0"],
    'tags: {allow: ["5.*"], deny: ["*.0"]}': ["5.11.0-rc.1", "5.9.1"],
    'versions: ">=5 <6"': ["5.0.0", "5.10.0", "5.9.1"],
    'versions: ">=5-0 <6"': ["5.0.0", "5.10.0", "5.11.0-rc.1", "5.9.1"],
    'versions: ">=5 <6", tags: {deny: ["5.9*"]}': ["5.0.0", "5.10.0"],
}


@pytest.mark.parametrize(("keys", "shown"), HIDING.items())
async def test_hidden_tags_are_in_no_list_and_are_not_pulled_and_nobody_is_asked_for_them(
    tmp_path: Path, keys: str, shown: list[str]
) -> None:
    rules = under().replace("/$1", f"/$1, {keys}")
    async with ruled(tmp_path, rules, with_versions(*VERSIONS)) as at:
        assert await at.tags(NAME) == shown
        source(at).asked.clear()
        for version in VERSIONS:
            if version in shown:
                assert await at.pull(NAME, version) == chart(version)
            else:
                error = await refusal(at, version)
                assert error.code is ErrorCode.MANIFEST_UNKNOWN
                assert error.message.startswith(f"{NAME}:{version} is hidden: ")
        assert source(at).asked == [version for version in VERSIONS if version in shown]


async def test_a_refusal_names_the_keys_that_hide_this_very_tag(tmp_path: Path) -> None:
    rules = under(versions='">=5"', tags='{allow: ["5*", "6*"], deny: ["*rc*"]}')
    async with ruled(tmp_path, rules, with_versions(*VERSIONS)) as at:
        told = "tags.allow 5*, 6*; versions >=5"
        assert (await refusal(at, "4.9.0")).message == f"{NAME}:4.9.0 is hidden: {told}"
        told = "tags.deny *rc*; versions >=5"
        assert (await refusal(at, "5.11.0-rc.1")).message == f"{NAME}:5.11.0-rc.1 is hidden: {told}"


async def test_held_tags_are_hidden_too_also_offline_and_other_names_show_them(tmp_path: Path) -> None:
    async with ruled(tmp_path, under(), with_versions(*VERSIONS)) as at:
        digest = await at.pull(NAME, "4.9.0")
        at.use(under(versions='">=5"'))
        assert (await refusal(at, "4.9.0")).code is ErrorCode.MANIFEST_UNKNOWN
        assert "4.9.0" not in await at.tags(NAME)
        assert (await at.pulled(TARGET, "4.9.0")).cache is Cache.HIT
    async with ruled(tmp_path, under(versions='">=5"'), beside=at, offline="yes") as away:
        assert (await refusal(away, "4.9.0")).code is ErrorCode.MANIFEST_UNKNOWN
        assert await away.tags(NAME) == []
        assert await away.pull(TARGET, "4.9.0") == digest


@pytest.mark.parametrize("is_held", ["held", ""])
async def test_digests_are_never_hidden_nor_are_their_blobs(tmp_path: Path, is_held: str) -> None:
    async with ruled(tmp_path, under(versions='">=7"'), with_versions("4.9.0")) as at:
        if is_held:
            await at.pull(TARGET, "4.9.0")
        pulled = await at.puller.manifest(wanted(NAME), chart("4.9.0"))
        assert (pulled.cache, pulled.manifest.digest) == (
            Cache.HIT if is_held else Cache.MISS,
            chart("4.9.0"),
        )
        assert await at.read(NAME, Digest.of(layer_of("4.9.0"))) == layer_of("4.9.0")


async def test_under_versions_a_tag_that_is_no_version_is_hidden(tmp_path: Path) -> None:
    world = {TARGET: images(**{"latest": layer_of("l"), "1.0.0": layer_of("1"), "2": layer_of("2")})}
    async with ruled(tmp_path, under(versions='"*"'), world) as at:
        assert await at.tags(NAME) == ["1.0.0", "2"]
        assert (await refusal(at, "latest")).code is ErrorCode.MANIFEST_UNKNOWN


async def test_signatures_are_shown_for_what_is_shown_and_hidden_for_what_is_hidden(tmp_path: Path) -> None:
    visible, hidden = layer_of("5.0.0"), layer_of("4.9.0")
    tags = [f"sha256-{image_of(layer).digest.hex}" for layer in (visible, hidden)]
    signatures = {f"{tag}.sig": layer_of(tag) for tag in tags} | {tags[0]: layer_of("referrers")}
    world = {TARGET: images(**{"5.0.0": visible, "4.9.0": hidden, **signatures})}
    async with ruled(tmp_path, under(versions='">=5"'), world) as at:
        assert await at.pull(TARGET, "4.9.0") == image_of(hidden).digest
        assert await at.pull(NAME, "5.0.0") == image_of(visible).digest
        assert await at.tags(NAME) == sorted(["5.0.0", tags[0], f"{tags[0]}.sig"])
        assert await at.pull(NAME, f"{tags[0]}.sig") == image_of(layer_of(tags[0])).digest
        assert await at.pull(NAME, tags[0]) == image_of(layer_of("referrers")).digest
        assert (await refusal(at, f"{tags[1]}.sig")).code is ErrorCode.MANIFEST_UNKNOWN
        assert await at.pull(TARGET, f"{tags[1]}.sig") == image_of(layer_of(tags[1])).digest


@pytest.mark.parametrize("asked", ["v4.9.0", "v4.9.0_b.1", "4.9.0_b.1"])
async def test_another_spelling_of_a_hidden_tag_is_hidden_too(tmp_path: Path, asked: str) -> None:
    rules = under(tags='{deny: ["4.9.0", "4.9.0_*"]}')
    async with ruled(tmp_path, rules, with_versions("4.9.0", "4.9.0+b.1", "5.0.0")) as at:
        assert await at.tags(NAME) == ["5.0.0"]
        assert (await refusal(at, asked)).code is ErrorCode.MANIFEST_UNKNOWN


async def test_what_the_first_target_hides_is_not_taken_from_the_second(tmp_path: Path) -> None:
    rules = under().replace("rewrite: ", "rewrite: [").replace("/$1", f"/$1, {OTHER}]", 1)
    rules += "upstreams: {first.example.test: {kind: helm, versions: '>=5'}}\n"
    world = with_versions(*VERSIONS) | {OTHER: charts(**{"4.9.0": layer_of("4.9.0", "other")})}
    async with ruled(tmp_path, rules, world) as at:
        assert (await refusal(at, "4.9.0")).code is ErrorCode.MANIFEST_UNKNOWN
        assert "4.9.0" not in await at.tags(NAME)


async def test_of_two_policies_the_rules_own_wins_over_the_upstreams_and_that_over_the_defaults(
    tmp_path: Path,
) -> None:
    def rules(default: str, upstream: str = "{}", rule: str = "") -> str:
        return f"""
defaults: {{chain: [helm], missing_for: 0s, {default}}}
upstreams: {{first.example.test: {upstream}}}
rules: [{{repository: "argo/*", rewrite: first.example.test/charts/$1{rule}}}]
"""

    async with ruled(tmp_path, under(), with_versions(*VERSIONS)) as at:
        at.use(rules('versions: "4.x"'))
        assert await at.tags(NAME) == ["4.9.0"]
        at.use(rules('versions: "4.x"', '{versions: "6.x"}'))
        assert await at.tags(NAME) == ["6.0.0"]
        at.use(rules('versions: "4.x"', '{versions: "6.x"}', ', versions: "5.9"'))
        assert await at.tags(NAME) == ["5.9.1"]
        assert await at.tags(TARGET) == ["6.0.0"]
        at.use(rules('tags: {deny: ["*.0"]}', '{versions: ">=5"}', ", fresh_for: 1h"))
        assert await at.tags(NAME) == ["5.9.1"]
        at.use(rules(f"channels: {FIVE}", "{channels: {six: 6.x}}", ", channels: {four: 4.x}"))
        assert await at.pull(NAME, "four") == chart("4.9.0")
        source(at).failure = Missing("no such tag")
        assert (await refusal(at, "six")).code is ErrorCode.MANIFEST_UNKNOWN


def many_versions(shift: int = 0) -> FakeSource:
    numbers = (divmod(number + shift, 100) for number in range(MANY))
    return charts(**{f"{5 + minor % 2}.{minor}.{patch}": b"a chart" for minor, patch in numbers})


async def longest_step(work: Awaitable[object]) -> float:
    """How long the event loop's own thread was busy at a stretch, in seconds of CPU: others do not count."""
    steps = [0.0]

    async def watch() -> None:
        while True:
            started = time.thread_time()
            await asyncio.sleep(0)
            steps.append(time.thread_time() - started)

    watching = asyncio.create_task(watch())
    try:
        await work
        await asyncio.sleep(0)  # its last step is counted too
    finally:
        watching.cancel()
    return max(steps)


async def test_long_lists_are_judged_beside_the_event_loop(tmp_path: Path) -> None:
    rules = under(channels=FIVE, versions='">=5.10"', tags='{deny: ["*.99", "*-rc*"]}')
    async with ruled(tmp_path, rules, {TARGET: many_versions()}) as at:
        assert await longest_step(at.tags(NAME)) < LONGEST_STEP_SECONDS
        assert await longest_step(at.tags(NAME)) < LONGEST_STEP_SECONDS
        assert await longest_step(at.pull(NAME, "5")) < LONGEST_STEP_SECONDS
        assert len(await at.tags(NAME)) > MANY / 2


async def test_long_lists_of_several_targets_are_joined_beside_the_event_loop(tmp_path: Path) -> None:
    rules = under().replace("rewrite: ", "rewrite: [").replace("/$1", f"/$1, {OTHER}]", 1)
    world = {TARGET: many_versions(), OTHER: many_versions(MANY)}
    async with ruled(tmp_path, rules, world) as at:
        assert await longest_step(at.tags(NAME)) < LONGEST_STEP_SECONDS
        assert len(await at.tags(NAME)) == 2 * MANY


def test_of_what_was_judged_so_many_names_are_remembered_and_no_more() -> None:
    seen: list[tuple[str, ...]] = []

    def count(names: tuple[str, ...], more: int) -> int:
        seen.append(names)
        return len(names) + more

    judged = remembering(count, 10)
    short, other, long = ("a", "b"), ("c", "d", "e", "f"), tuple("abcdefghij")
    assert [judged(short, 1), judged(short, 1), judged(short, 2)] == [3, 3, 4]
    assert seen == [short, short]
    assert [judged(other, 0), judged(short, 1)] == [4, 3]
    assert seen == [short, short, other, short]  # 3 + 3 + 5 are more than 10
    assert [judged(long, 0), judged(long, 0)] == [10, 10]
    assert seen[4:] == [long, long]
