"""An exact version is held whole where all of its parts are, by right and on the disk, and nowhere else."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from gateway.oci.digest import Digest
from gateway.oci.target import Target
from gateway.store.catalog import Catalog
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from gateway.store.held_whole import ExactTag, HeldWhole
from gateway.store.rows import KeptManifest
from tests.store.samples import NAME, OTHER, TARGET, Sample, sample

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # each on both databases

MADE, NEWER = sample(), sample("1.2.4")
ALL = {**MADE.kept.sizes, **NEWER.kept.sizes}


@pytest.fixture
def catalog(engines: Engines) -> Catalog:
    return Catalog(engines, LocalGeneration())


async def whole(engines: Engines, files: Mapping[Digest, int], *targets: Target) -> list[str]:
    found = await HeldWhole(engines, files.get).of(targets or (TARGET,))
    return sorted(one.tag for one in found)


async def keep(catalog: Catalog, *made: Sample) -> None:
    for one in made:
        await catalog.keep(NAME, one.row, one.kept)


async def test_it_is_told_by_target_variant_tag_and_source(engines: Engines, catalog: Catalog) -> None:
    await keep(catalog, MADE, NEWER)
    found = await HeldWhole(engines, ALL.get).of([TARGET, OTHER])
    assert found == {
        ExactTag(TARGET, "plain", tag, "helm"): made.row.digest
        for tag, made in (("1.2.3", MADE), ("1.2.4", NEWER))
    }
    assert await whole(engines, ALL, OTHER) == []


async def test_what_lacks_a_file_or_has_one_of_another_size_is_not(
    engines: Engines, catalog: Catalog
) -> None:
    await keep(catalog, MADE, NEWER)
    without = {digest: size for digest, size in ALL.items() if digest != MADE.layer}
    assert await whole(engines, without) == ["1.2.4"]
    assert await whole(engines, ALL | {NEWER.layer: 1}) == ["1.2.3"]


async def test_what_the_target_has_no_right_to_is_not(engines: Engines, catalog: Catalog) -> None:
    partly = KeptManifest(MADE.kept.manifest, MADE.kept.parsed, {MADE.config: MADE.kept.sizes[MADE.config]})
    await catalog.keep(NAME, MADE.row, partly)
    assert await whole(engines, ALL) == []


async def test_a_tag_that_moves_is_not(engines: Engines, catalog: Catalog) -> None:
    await catalog.keep(NAME, replace(MADE.row, tag="latest", is_exact=False), MADE.kept)
    assert await whole(engines, ALL) == []


async def test_many_targets_are_looked_at_in_parts(engines: Engines, catalog: Catalog) -> None:
    targets = [Target.parse(f"charts.example.test/redis-{number}") for number in range(120)]
    for target in (targets[0], targets[-1]):
        await keep(catalog, sample(target=target))
    assert len(await HeldWhole(engines, ALL.get).of(targets)) == 2
