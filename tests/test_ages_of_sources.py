"""Whose word counts for the age of a version, where several sources or none have one."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.oci.errors import OciError, Situation
from gateway.oci.outcomes import Unavailable
from gateway.rules.model import SourceName
from gateway.rules.route import Wanted
from gateway.rules.visibility import Visibility
from gateway.sources.base import Comparable
from gateway.store.blobs import MemoryBlobs
from tests.fakes.source import FakeSource, image_of, layer_of, manifest_of
from tests.pull_house import DEMO, POLICY, House, house
from tests.pull_process import Process, process
from tests.sources.helm_parts import Clock

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

HOUR, DAY = 3600.0, 86_400.0
WEEK = replace(POLICY, visibility=Visibility(min_age_seconds=7 * DAY))


def giving(name: SourceName, created: Mapping[str, float | None]) -> FakeSource:
    """A source with these versions, each created so many seconds ago, or nobody says when."""
    compares = Comparable.ARCHIVE if name is SourceName.HELM else Comparable.MANIFEST
    made = FakeSource(MemoryBlobs(), {tag: layer_of(tag) for tag in created}, name, compares)
    made.created = {tag: Clock().seconds - age for tag, age in created.items() if age is not None}
    return made


async def tags(at: House | Process) -> list[str]:
    return list((await at.puller.tags(Wanted(DEMO))).tags)


async def is_hidden(at: House | Process, tag: str) -> bool:
    try:
        await at.pull(tag)
    except OciError as error:
        if error.situation is not Situation.HIDDEN:
            raise
        return True
    return False


async def test_of_a_registry_the_manifest_says_it_and_its_list_counts_from_its_first_time(
    tmp_path: Path,
) -> None:
    registry = giving(SourceName.REGISTRY, {"1": 9 * DAY, "2": HOUR, "3": None, "4": None})
    registry.builds = image_of
    async with house(tmp_path, only=registry, policy=WEEK) as at:
        assert await tags(at) == []
        assert not await is_hidden(at, "1")
        assert await is_hidden(at, "2")
        assert await is_hidden(at, "3")
        assert await tags(at) == ["1"]
        at.clock.advance(7 * DAY)
        assert await tags(at) == ["1", "2", "3", "4"]
        assert not await is_hidden(at, "4")


async def test_a_held_tag_of_a_registry_is_no_way_to_a_younger_one_in_another_spelling(
    tmp_path: Path,
) -> None:
    registry = giving(SourceName.REGISTRY, {"v1.2.3": 9 * DAY})
    async with house(tmp_path, only=registry, policy=WEEK) as at:
        await at.pull("v1.2.3")
        assert not await is_hidden(at, "1.2.3")
        await at.catalog.drop_tag(at.puller.route(Wanted(DEMO)).first.target, "plain", "1.2.3")
        registry.layers["1.2.3"] = layer_of("1.2.3")
        registry.created = {**registry.created, "1.2.3": at.clock.seconds}
        at.clock.advance(HOUR)
        assert await is_hidden(at, "1.2.3")
        assert not await is_hidden(at, "v1.2.3")


async def test_what_is_held_of_a_source_that_this_name_does_not_ask_is_not_held(tmp_path: Path) -> None:
    proxy, helm = (giving(name, {"1.0.0": HOUR}) for name in (SourceName.CHARTPROXY, SourceName.HELM))
    async with process(tmp_path, [proxy]) as before:
        await before.pull("1.0.0")
    async with process(tmp_path, [helm], policy=WEEK) as at:
        assert await is_hidden(at, "1.0.0")
        assert await is_hidden(at, "v1.0.0")
        assert await tags(at) == []


async def test_the_sources_are_asked_in_turn_also_for_an_age(tmp_path: Path) -> None:
    proxy, helm = giving(SourceName.CHARTPROXY, {}), giving(SourceName.HELM, {"1.0.0": 9 * DAY, "2.0.0": 0})
    proxy.failure = Unavailable("down")
    async with process(tmp_path, [proxy, helm], policy=WEEK) as at:
        assert not await is_hidden(at, "1.0.0")
        assert await is_hidden(at, "2.0.0")


async def test_an_index_says_the_age_of_what_a_chart_proxy_listed(tmp_path: Path) -> None:
    versions = {"1.0.0": 9 * DAY, "2.0.0": HOUR, "3.0.0": None}
    proxy, helm = giving(SourceName.CHARTPROXY, versions), giving(SourceName.HELM, versions)
    async with process(tmp_path, [proxy, helm], policy=WEEK) as at:
        assert await tags(at) == ["1.0.0"]
        assert await tags(at) == ["1.0.0"]
        assert helm.asked == ["versions"]
        assert await is_hidden(at, "3.0.0")
        at.clock.advance(7 * DAY)
        assert await tags(at) == ["1.0.0", "2.0.0", "3.0.0"]


async def test_without_its_index_what_a_chart_proxy_listed_counts_from_the_first_list(tmp_path: Path) -> None:
    versions = {"1.0.0": 9 * DAY}
    proxy, helm = giving(SourceName.CHARTPROXY, versions), giving(SourceName.HELM, versions)
    helm.failure = Unavailable("down")
    async with process(tmp_path, [proxy, helm], policy=WEEK) as at:
        assert await tags(at) == []
        helm.failure = None
        assert await tags(at) == ["1.0.0"]


async def test_a_moving_tag_that_is_held_goes_on_following_upstream(tmp_path: Path) -> None:
    registry = giving(SourceName.REGISTRY, {"latest": 9 * DAY})
    registry.builds = image_of
    async with house(tmp_path, only=registry, policy=WEEK) as at:
        await at.pull("latest")
        registry.layers["latest"] = layer_of("latest", "new")
        registry.created = {"latest": at.clock.seconds}
        at.clock.advance(HOUR)
        assert (await at.pull("latest"))[1] == image_of(layer_of("latest", "new")).digest


async def test_a_version_with_and_without_a_v_has_two_ages_where_an_index_has_both(tmp_path: Path) -> None:
    helm = giving(SourceName.HELM, {"1.0.0": 9 * DAY, "v1.0.0": HOUR})
    async with process(tmp_path, [helm], policy=WEEK) as at:
        assert await tags(at) == ["1.0.0"]
        assert await is_hidden(at, "v1.0.0")
        assert await at.pull("1.0.0") == manifest_of(layer_of("1.0.0")).digest
