"""Where a rule gives several targets, a tag stays at the one where it was first found."""

import asyncio

import pytest

from gateway.store.catalog import Catalog
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from tests.store.samples import OTHER, TARGET

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # many cases: left out of the quick tests

TAG = ("prom/redis", "1.2.3")


@pytest.fixture
def catalog(engines: Engines) -> Catalog:
    return Catalog(engines, LocalGeneration())


async def test_a_tag_stays_at_the_target_where_it_was_first_found(catalog: Catalog) -> None:
    assert await catalog.find_tag_target(*TAG) is None
    assert await catalog.keep_tag_target(*TAG, TARGET, 1000.0) == TARGET
    assert await catalog.keep_tag_target(*TAG, OTHER, 2000.0) == TARGET
    assert await catalog.find_tag_target(*TAG) == TARGET
    assert catalog.generation.current() == 0


async def test_each_name_and_tag_has_a_target_of_its_own(catalog: Catalog) -> None:
    await catalog.keep_tag_target(*TAG, TARGET, 1000.0)
    await catalog.keep_tag_target("prom/redis", "2.0.0", OTHER, 1000.0)
    assert await catalog.find_tag_target("prom/redis", "1.2.3") == TARGET
    assert await catalog.find_tag_target("prom/redis", "2.0.0") == OTHER
    assert await catalog.find_tag_target("other/redis", "1.2.3") is None


async def test_a_target_that_the_rule_names_no_more_gives_way_and_no_other_does(catalog: Catalog) -> None:
    await catalog.keep_tag_target(*TAG, TARGET, 1000.0)
    assert await catalog.keep_tag_target(*TAG, OTHER, 2000.0, replaces=TARGET) == OTHER
    assert await catalog.keep_tag_target(*TAG, TARGET, 3000.0, replaces=TARGET) == OTHER
    assert await catalog.find_tag_target(*TAG) == OTHER


async def test_of_many_that_find_a_tag_at_once_all_are_told_one_target(catalog: Catalog) -> None:
    found = [TARGET, OTHER] * 10
    told = await asyncio.gather(*(catalog.keep_tag_target(*TAG, one, 1000.0) for one in found))
    assert set(told) == {await catalog.find_tag_target(*TAG)}
