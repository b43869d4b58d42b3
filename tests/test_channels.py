"""Channels: tags that mean the newest version in a range."""

from pathlib import Path

import pytest

from gateway.oci.errors import ErrorCode
from gateway.oci.outcomes import Unavailable
from gateway.pulled import Cache
from tests.fakes.source import image_of, layer_of, manifest_of
from tests.pull_house import DOWN, DUE
from tests.ruled_puller import ruled, said
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


@pytest.mark.parametrize(
    ("channel", "newest"),
    [
        (">=5 <6", "5.10.0"),
        ("5.x", "5.10.0"),
        ("~5.9", "5.9.1"),
        ("*", "6.0.0"),
        (">=5-0 <6", "5.11.0-rc.1"),
        ("<5 || >=6", "6.0.0"),
    ],
)
async def test_a_channel_is_the_newest_version_in_its_range_as_helm_reads_it(
    tmp_path: Path, channel: str, newest: str
) -> None:
    async with ruled(tmp_path, under(channels=f"{{stable: '{channel}'}}"), with_versions(*VERSIONS)) as at:
        pulled = await at.pulled(NAME, "stable")
        assert (pulled.cache, pulled.manifest.digest) == (Cache.MISS, chart(newest))
        assert await at.pull(NAME, newest) == chart(newest)
        assert source(at).fetched == [newest]


async def test_a_channel_moves_once_the_list_is_asked_for_again(tmp_path: Path) -> None:
    async with ruled(tmp_path, under(channels=FIVE), with_versions(*VERSIONS)) as at:
        assert await at.pull(NAME, "5") == chart("5.10.0")
        source(at).layers["5.12.0"] = layer_of("5.12.0")
        assert await at.pull(NAME, "5") == chart("5.10.0")
        at.clock.advance(DUE)
        assert await at.pull(NAME, "5") == chart("5.12.0")


async def test_a_channel_wins_over_a_tag_of_its_name_and_is_not_listed(tmp_path: Path) -> None:
    world = {TARGET: images(**{"5": layer_of("a tag"), "5.1.0": layer_of("5.1.0"), "latest": layer_of("l")})}
    async with ruled(tmp_path, under(channels=FIVE), world) as at:
        assert await at.pull(NAME, "5") == image_of(layer_of("5.1.0")).digest
        assert await at.tags(NAME) == ["5.1.0", "latest"]
        assert await at.tags(TARGET) == ["5", "5.1.0", "latest"]
        assert await at.pull(TARGET, "5") == image_of(layer_of("a tag")).digest


async def test_the_newest_of_a_channel_may_have_build_metadata(tmp_path: Path) -> None:
    async with ruled(tmp_path, under(channels=FIVE), with_versions("5.0.0", "5.1.0+build.2")) as at:
        assert await at.pull(NAME, "5") == chart("5.1.0+build.2")


async def test_offline_a_channel_is_the_newest_that_is_held(tmp_path: Path) -> None:
    async with ruled(tmp_path, under(channels=FIVE), with_versions(*VERSIONS)) as at:
        await at.pull(NAME, "5.0.0")
        await at.pull(NAME, "5.9.1")
        assert await at.tags(NAME)
    async with ruled(tmp_path, under(channels=FIVE), beside=at, offline="yes") as away:
        assert await away.pull(NAME, "5") == chart("5.9.1")
        away.use(under(channels="{'7': '>=7'}"))
        assert (await refusal(away, "7")).code is ErrorCode.MANIFEST_UNKNOWN


async def test_a_channel_is_served_from_what_is_held_while_its_upstream_is_down(tmp_path: Path) -> None:
    async with ruled(tmp_path, under(channels=FIVE), with_versions(*VERSIONS)) as at:
        digest = await at.pull(NAME, "5")
        source(at).failure = DOWN
        for _ in range(2):
            assert await at.pull(NAME, "5") == digest
            at.clock.advance(DUE)


async def test_a_channel_falls_back_to_what_is_held_where_its_newest_cannot_be_had(tmp_path: Path) -> None:
    async with ruled(tmp_path, under(channels=FIVE), with_versions(*VERSIONS)) as at:
        held = await at.pull(NAME, "5")
        source(at).layers["5.12.0"] = layer_of("5.12.0")
        at.clock.advance(DUE)
        assert "5.12.0" in await at.tags(NAME)
        source(at).failure = DOWN
        pulled = await at.pulled(NAME, "5")
        assert (pulled.cache, pulled.manifest.digest) == (Cache.STALE, held)


async def test_of_a_channel_nothing_is_known_while_its_upstream_is_down(tmp_path: Path) -> None:
    async with ruled(tmp_path, under(channels=FIVE), with_versions(*VERSIONS)) as at:
        source(at).failure = DOWN
        assert (await refusal(at, "5")).code is ErrorCode.UNAVAILABLE


async def test_a_channel_without_a_version_says_its_range(tmp_path: Path) -> None:
    async with ruled(tmp_path, under(channels='{"7": ">=7 <8"}'), with_versions(*VERSIONS)) as at:
        assert said(await refusal(at, "7")) == (
            "MANIFEST_UNKNOWN",
            f"{NAME}:7 is a channel, and no version is in its range >=7 <8",
        )


async def test_a_channel_of_an_unknown_name_is_an_unknown_name(tmp_path: Path) -> None:
    async with ruled(tmp_path, under(channels=FIVE)) as at:
        assert (await refusal(at, "5")).code is ErrorCode.NAME_UNKNOWN


async def test_a_channel_sees_what_its_name_shows(tmp_path: Path) -> None:
    rules = under(channels=FIVE, tags='{deny: ["5.10.*"]}', versions='"<5.9.1 || >5.9.1"')
    async with ruled(tmp_path, rules, with_versions(*VERSIONS)) as at:
        assert await at.pull(NAME, "5") == chart("5.0.0")


async def test_a_channel_is_of_the_first_target_with_a_version_in_its_range_and_stays_there(
    tmp_path: Path,
) -> None:
    """Else whoever has the second one could publish the newest version of what is ours."""
    rules = under(channels=FIVE).replace("rewrite: ", "rewrite: [").replace("/$1", f"/$1, {OTHER}]", 1)
    world = with_versions("5.0.0") | {OTHER: charts(**{"5.999.0": layer_of("5.999.0", "other")})}
    async with ruled(tmp_path, rules, world) as at:
        assert await at.pull(NAME, "5") == chart("5.0.0")
        source(at).layers["5.1.0"] = layer_of("5.1.0")
        at.clock.advance(DUE)
        assert await at.pull(NAME, "5") == chart("5.1.0")
        source(at).layers.clear()
        source(at).failure = Unavailable("down")
        at.clock.advance(DUE)
        assert await at.pull(NAME, "5") == chart("5.1.0")


async def test_a_channel_without_a_version_at_the_first_target_is_of_the_next(tmp_path: Path) -> None:
    rules = under(channels=FIVE).replace("rewrite: ", "rewrite: [").replace("/$1", f"/$1, {OTHER}]", 1)
    world = with_versions("4.0.0") | {OTHER: charts(**{"5.1.0": layer_of("5.1.0", "other")})}
    async with ruled(tmp_path, rules, world) as at:
        assert await at.pull(NAME, "5") == manifest_of(layer_of("5.1.0", "other")).digest
        source(at).layers["5.2.0"] = layer_of("5.2.0")
        at.clock.advance(DUE)
        assert await at.pull(NAME, "5") == manifest_of(layer_of("5.1.0", "other")).digest
