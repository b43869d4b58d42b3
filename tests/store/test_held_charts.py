"""Held charts below a name or a place, on each database."""

from dataclasses import replace

import pytest

from gateway.oci.target import Target
from gateway.store.catalog import Catalog
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from gateway.store.held_charts import HeldCharts
from tests.store.samples import NAME, TARGET, sample

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

PLACE = TARGET.place


@pytest.fixture
def catalog(engines: Engines) -> Catalog:
    return Catalog(engines, LocalGeneration())


@pytest.fixture
def held(engines: Engines) -> HeldCharts:
    return HeldCharts(engines)


async def test_names_one_segment_below_a_prefix_or_a_place_are_found(
    catalog: Catalog, held: HeldCharts
) -> None:
    for name in ("a_b/one", "a_b/two/deeper", "axb/three", "a_b-c/four", "five", f"{PLACE}/redis"):
        await catalog.note_name(name, TARGET, 1.0)
    await catalog.note_name("elsewhere/six", Target.parse(f"{PLACE}/six"), 1.0)
    assert {name for name, _ in await held.names("a_b", [])} == {"a_b/one"}
    assert {name for name, _ in await held.names("", [])} == {"five"}
    below = await held.names("nothing", [PLACE])
    assert ("elsewhere/six", f"{PLACE}/six") in below
    assert {target for _, target in below} == {NAME, f"{PLACE}/six"}


async def test_each_tag_of_a_chart_comes_with_its_archive_and_config(
    catalog: Catalog, held: HeldCharts
) -> None:
    made = sample()
    await catalog.keep(NAME, made.row, made.kept)
    (one,) = await held.of([NAME, f"{PLACE}/other"])
    assert (one.target, one.tag, one.version) == (NAME, "1.2.3", "1.2.3")
    assert (one.archive, one.config) == (str(made.layer), str(made.config))
    assert one.made_of == str(made.layer)
    found = await held.manifests([str(made.digest), "sha256:" + "0" * 64])
    assert found == {str(made.digest): made.kept.manifest.content}


async def test_a_confirmation_changes_nothing_of_it_and_new_content_does(
    catalog: Catalog, held: HeldCharts
) -> None:
    made, other = sample(), sample(content=b"other")
    await catalog.keep(NAME, made.row, made.kept)
    before = await held.of([NAME])
    await catalog.confirm_tag(made.row, 2000.0, None, made.row.upstream_digest)
    assert await held.of([NAME]) == before
    await catalog.keep(NAME, replace(other.row, tag="1.2.3"), other.kept, replaces=made.digest)
    assert await held.of([NAME]) != before
