"""Since when each listed tag is known: as upstream says, else since the first list that had it."""

import pytest
from sqlalchemy import update

from gateway.store.catalog import Catalog
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from gateway.store.rows import NewTagList, TagList
from gateway.store.tables import tag_lists
from tests.store.samples import NAME, OTHER, TARGET

pytestmark = [pytest.mark.slow, pytest.mark.anyio]


@pytest.fixture
def catalog(engines: Engines) -> Catalog:
    return Catalog(engines, LocalGeneration())


async def test_a_tag_is_known_since_the_first_list_that_had_it(catalog: Catalog) -> None:
    assert await catalog.find_tag_times(TARGET) == {}
    await catalog.keep_tag_list(TARGET, "plain", TagList("registry", ("1", "2"), 1000.0))
    await catalog.keep_tag_list(TARGET, "plain", TagList("registry", ("1", "3"), 2000.9))
    assert await catalog.find_tag_times(TARGET) == {"1": 1000.0, "3": 2000.0}
    await catalog.keep_tag_list(TARGET, "plain", TagList("registry", ("2", "3"), 3000.0))
    assert await catalog.find_tag_times(TARGET) == {"2": 3000.0, "3": 2000.0}
    assert await catalog.find_tag_times(OTHER) == {}


async def test_what_upstream_says_wins_and_stays_where_it_says_no_more(catalog: Catalog) -> None:
    listed = TagList("helm", ("1", "2"), 1000.0)
    await catalog.keep_tag_list(TARGET, "plain", listed, {"1": 10.5, "not listed": 1.0})
    assert await catalog.find_tag_times(TARGET) == {"1": 10.0, "2": 1000.0}
    await catalog.keep_tag_list(TARGET, "plain", listed, {"1": 5000.0, "2": -62_000_000_000.0})
    assert await catalog.find_tag_times(TARGET) == {"1": 5000.0, "2": -62_000_000_000.0}
    await catalog.keep_tag_list(TARGET, "plain", listed)
    assert await catalog.find_tag_times(TARGET) == {"1": 5000.0, "2": -62_000_000_000.0}
    assert await catalog.find_tag_list(TARGET, "plain") == [listed]


async def test_of_several_lists_of_a_target_the_earliest_word_counts(catalog: Catalog) -> None:
    await catalog.keep_tag_list(TARGET, "plain", TagList("helm", ("1", "2"), 1000.0), {"1": 10.0})
    await catalog.keep_tag_list(TARGET, "plain", TagList("chartproxy", ("1", "2"), 500.0))
    await catalog.keep_tag_list(TARGET, "provenance", TagList("helm", ("3",), 700.0))
    assert await catalog.find_tag_times(TARGET) == {"1": 10.0, "2": 500.0, "3": 700.0}


async def test_lists_that_are_kept_together_are_as_if_each_was_kept_alone(catalog: Catalog) -> None:
    await catalog.keep_tag_list(TARGET, "plain", TagList("helm", ("1",), 1000.0), {"1": 10.0})
    await catalog.keep_tag_list(TARGET, "provenance", TagList("helm", ("9",), 1000.0))
    await catalog.keep_tag_lists(
        [
            NewTagList(TARGET, "plain", TagList("helm", ("1", "2"), 2000.0)),
            NewTagList(OTHER, "plain", TagList("helm", ("3",), 2000.0), {"3": 30.0}),
        ]
    )
    assert await catalog.find_tag_times(TARGET) == {"1": 10.0, "2": 2000.0, "9": 1000.0}
    assert await catalog.find_tag_times(OTHER) == {"3": 30.0}
    assert await catalog.find_tag_list(TARGET, "plain") == [TagList("helm", ("1", "2"), 2000.0)]


async def test_what_an_older_gateway_listed_is_known_since_then(catalog: Catalog, engines: Engines) -> None:
    await catalog.keep_tag_list(TARGET, "plain", TagList("registry", ("1", "2"), 1000.0))
    engines.write(lambda connection: connection.execute(update(tag_lists).values(times=None)))
    assert await catalog.find_tag_times(TARGET) == {"1": 1000.0, "2": 1000.0}
    await catalog.keep_tag_list(TARGET, "plain", TagList("registry", ("1", "3"), 2000.0))
    assert await catalog.find_tag_times(TARGET) == {"1": 1000.0, "3": 2000.0}


async def test_the_homes_of_all_tags_of_a_name_are_told_at_once(catalog: Catalog) -> None:
    await catalog.keep_tag_target(NAME, "1.2.3", TARGET, 1000.0)
    await catalog.keep_tag_target(NAME, "2.0.0", OTHER, 1000.0)
    await catalog.keep_tag_target("another/name", "3.0.0", OTHER, 1000.0)
    assert await catalog.find_tag_targets(NAME) == {"1.2.3": TARGET, "2.0.0": OTHER}
    assert await catalog.find_tag_targets("nobody/asked") == {}
