"""What lists and bundles keep: never evicted, until they let go; a purge forgets it with the rest."""

from dataclasses import replace

import pytest

from gateway.oci.digest import Digest
from gateway.store.catalog import Catalog
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from gateway.store.pins import Pin, PinBook
from gateway.store.purge_rows import Doom, PurgeBook
from gateway.store.retention import IMPORT, Retention, RetentionBook, keeper_of_list
from tests.store.samples import NAME, OTHER, TARGET, Sample, sample

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # each on both databases

PLATFORM = keeper_of_list("platform")
FIRST = Retention(TARGET, "1.2.3", NAME)


class Places:
    def __init__(self, engines: Engines) -> None:
        generation = LocalGeneration()
        self.catalog = Catalog(engines, generation)
        self.book = RetentionBook(engines)
        self.pins = PinBook(engines)
        self.purges = PurgeBook(engines, generation)

    async def keep(self, *made: Sample) -> None:
        for one in made:
            await self.catalog.keep(str(one.row.target), one.row, one.kept)

    async def is_evictable(self, digest: Digest) -> bool:
        return str(digest) not in await self.catalog.kept_whatever_comes()


@pytest.fixture
def at(engines: Engines) -> Places:
    return Places(engines)


async def test_what_is_retained_is_kept_down_to_its_layer_whatever_the_quota_says(at: Places) -> None:
    made, other = sample(), sample("2.0.0")
    await at.keep(made, other)
    assert await at.book.retain(PLATFORM, [FIRST], 1.0) == 1
    assert not await at.is_evictable(made.layer)
    assert await at.is_evictable(other.layer)


async def test_what_is_retained_by_digest_is_kept_without_any_tag(at: Places) -> None:
    made = sample()
    await at.keep(made)
    await at.book.retain(IMPORT, [Retention(TARGET, str(made.digest), NAME)], 1.0)
    assert not await at.is_evictable(made.layer)


async def test_it_is_kept_until_the_last_who_wants_it_lets_go(at: Places) -> None:
    made = sample()
    await at.keep(made)
    await at.book.retain(PLATFORM, [FIRST], 1.0)
    await at.book.retain(IMPORT, [FIRST], 1.0)
    await at.book.release(PLATFORM, [FIRST])
    assert not await at.is_evictable(made.layer)
    assert await at.book.of(PLATFORM) == []
    await at.book.release(IMPORT, [FIRST])
    assert await at.is_evictable(made.layer)


async def test_what_is_retained_twice_is_told_once_and_in_order(at: Places) -> None:
    second = Retention(OTHER, "1.2.3", str(OTHER))
    assert await at.book.retain(PLATFORM, [FIRST, second, FIRST], 1.0) == 2
    assert await at.book.retain(PLATFORM, [FIRST], 2.0) == 0
    assert await at.book.of(PLATFORM) == [second, FIRST]
    assert await at.book.of(IMPORT) == []


@pytest.mark.parametrize("other", ["list", "pin"])
async def test_somebody_else_who_wants_it_is_told(at: Places, other: str) -> None:
    await at.book.retain(PLATFORM, [FIRST], 1.0)
    assert not await at.book.is_wanted_by_others(PLATFORM, FIRST)
    if other == "pin":
        await at.pins.make(Pin(TARGET, "1.2.3", NAME, 1.0))
    else:
        await at.book.retain(keeper_of_list("other"), [FIRST], 1.0)
    assert await at.book.is_wanted_by_others(PLATFORM, FIRST)


@pytest.mark.parametrize("reference", ["1.2.3", None, "digest"])
async def test_a_purge_forgets_that_it_was_to_be_kept(at: Places, reference: str | None) -> None:
    made, staying = sample(), sample("2.0.0")
    await at.keep(made, staying)
    by_digest, kept = Retention(TARGET, str(made.digest), NAME), Retention(TARGET, "2.0.0", NAME)
    await at.book.retain(PLATFORM, [FIRST, by_digest, kept], 1.0)
    await at.purges.purge(Doom((TARGET,), str(made.digest) if reference == "digest" else reference))
    assert await at.book.of(PLATFORM) == ([] if reference is None else [kept])


async def test_a_tag_that_a_bundle_brought_is_known_as_such(at: Places) -> None:
    made, pulled = sample(), sample("2.0.0")
    await at.keep(made, pulled)
    await at.book.retain(IMPORT, [FIRST], 1.0)
    await at.book.retain(PLATFORM, [Retention(TARGET, "2.0.0", NAME)], 1.0)
    found = await at.catalog.find_versions(TARGET, made.row.variant)
    assert {row.tag: row.is_imported for row in found} == {"1.2.3": True, "2.0.0": False}
    (row,) = await at.catalog.find_tags(TARGET, made.row.variant, "1.2.3")
    assert row.is_imported


async def test_what_is_dropped_is_not_wanted_any_more_unless_another_variant_has_it(at: Places) -> None:
    made = sample()
    signed = replace(made.row, variant="provenance")
    await at.keep(made)
    await at.catalog.keep(str(TARGET), signed, made.kept)
    await at.book.retain(PLATFORM, [FIRST], 1.0)
    await at.catalog.drop_tag(TARGET, signed.variant, "1.2.3")
    assert await at.book.of(PLATFORM) == [FIRST]
    await at.catalog.drop_tag(TARGET, made.row.variant, "1.2.3")
    assert await at.book.of(PLATFORM) == []
