"""The desk's searches, on each database: what is found, in pages that lose nothing and end."""

from dataclasses import replace

import pytest
from sqlalchemy import insert

from gateway.oci.digest import Digest
from gateway.oci.target import Target
from gateway.store import tables
from gateway.store.admin_tables import recent_pulls
from gateway.store.catalog import Catalog
from gateway.store.catalog_found import NameKey, Pulls, RepositoryFound, TagKey
from gateway.store.catalog_search import COUNTED_TAGS, WINDOW, CatalogSearch
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from gateway.store.pins import Pin, PinBook
from tests.store.samples import NAME, OTHER, TARGET, Sample, retagged, sample

pytestmark = [pytest.mark.slow, pytest.mark.anyio]


@pytest.fixture
def catalog(engines: Engines) -> Catalog:
    return Catalog(engines, LocalGeneration())


@pytest.fixture
def search(engines: Engines) -> CatalogSearch:
    return CatalogSearch(engines)


async def keep(catalog: Catalog, *made: Sample, name: str = "") -> None:
    for one in made:
        await catalog.keep(name or str(one.row.target), one.row, one.kept)


async def keep_names(engines: Engines, count: int) -> None:
    """Names alone, as many as a catalog may have: ``charts.example.test/0000000``."""
    names = [f"charts.example.test/{number:07}" for number in range(count)]
    with engines.writing() as connection:
        rows = [{"name": name, "target": name, "first_pulled_at": 1.0} for name in names]
        connection.execute(insert(tables.repositories), rows)


async def note_pull(engines: Engines, reference: str, pulls: int, last_at: float, name: str = NAME) -> None:
    with engines.writing() as connection:
        connection.execute(
            insert(recent_pulls).values(
                name=name, reference=reference, target=NAME, outcome="hit", pulls=pulls, last_at=last_at
            )
        )


async def all_names(search: CatalogSearch, text: str, limit: int) -> list[str]:
    found: list[str] = []
    after: NameKey | None = None
    while True:
        page = await search.names_with(text, after, limit)
        found += [one.name for one in page.names]
        if page.resume is None:
            return found
        after = page.resume


async def test_a_name_is_found_by_any_part_of_it(catalog: Catalog, search: CatalogSearch) -> None:
    await keep(catalog, sample(), sample(target=OTHER))
    for text in ("", "redis", "test/sta", NAME):
        assert NAME in [one.name for one in (await search.names_with(text, None, 10)).names]
    assert [one.name for one in (await search.names_with("table/r", None, 10)).names] == [NAME]
    assert (await search.names_with("nginx", None, 10)).names == []


@pytest.mark.parametrize("text", ["%", "_edis", "re%s", "/%"])
async def test_a_wildcard_of_the_database_is_a_character_like_others(
    catalog: Catalog, search: CatalogSearch, text: str
) -> None:
    await keep(catalog, sample())
    assert (await search.names_with(text, None, 10)).names == []


async def test_pages_of_names_give_each_once_and_end(engines: Engines, search: CatalogSearch) -> None:
    await keep_names(engines, 25)
    whole = await all_names(search, "", 100)
    assert len(whole) == 25
    assert await all_names(search, "", 10) == await all_names(search, "", 1) == whole


async def test_a_search_among_very_many_names_goes_on_where_it_stopped_looking(
    engines: Engines, search: CatalogSearch
) -> None:
    await keep_names(engines, WINDOW + 5)
    first = await search.names_with(f"{WINDOW + 3:07}", None, 10)
    assert first.names == []
    assert first.resume is not None
    assert await all_names(search, f"{WINDOW + 3:07}", 10) == [f"charts.example.test/{WINDOW + 3:07}"]


async def test_a_name_says_how_many_tags_it_has_and_when_it_was_pulled_last(
    engines: Engines, catalog: Catalog, search: CatalogSearch
) -> None:
    made = sample()
    await keep(catalog, made, sample("1.3.0"))
    await catalog.keep_tag(NAME, replace(made.row, source="registry"))
    await note_pull(engines, "1.2.3", 2, 50.0)
    await note_pull(engines, "1.3.0", 2, 70.0)
    page = await search.names_with("", None, 10)
    assert page.names == [RepositoryFound(NAME, TARGET, 2, 70.0)]


async def test_tags_are_counted_up_to_a_bound(
    catalog: Catalog, search: CatalogSearch, engines: Engines
) -> None:
    made = sample()
    await keep(catalog, made)
    row = {**_columns(made), "version": "1"}
    with engines.writing() as connection:
        connection.execute(
            insert(tables.tags), [{**row, "tag": f"t{number}"} for number in range(COUNTED_TAGS + 50)]
        )
    (found,) = (await search.names_with("", None, 10)).names
    assert found.tags == COUNTED_TAGS + 1


async def test_a_name_with_a_tag_is_found_where_the_tag_is(catalog: Catalog, search: CatalogSearch) -> None:
    await keep(catalog, sample(), sample("2.0.0", target=OTHER))
    found = await search.names_with_tag("redis", "2.0.0", None, 10)
    assert [(one.name, one.match) for one in found.names] == [(str(OTHER), "2.0.0")]
    assert found.resume is None
    assert (await search.names_with_tag("redis", "9.9.9", None, 10)).names == []


async def test_names_with_a_tag_come_in_pages(catalog: Catalog, search: CatalogSearch) -> None:
    targets = [Target.parse(f"charts.example.test/{place}/redis") for place in "abcde"]
    await keep(catalog, *(sample(target=target) for target in targets))
    first = await search.names_with_tag("redis", "1.2.3", None, 3)
    second = await search.names_with_tag("redis", "1.2.3", first.resume, 3)
    assert [one.target for one in (*first.names, *second.names)] == targets
    assert second.resume is None


async def test_a_digest_or_how_it_begins_leads_to_who_holds_it(
    catalog: Catalog, search: CatalogSearch
) -> None:
    made = sample()
    await keep(catalog, made, sample("2.0.0", target=OTHER))
    for digest in (made.digest, made.layer):
        for text in (str(digest), str(digest)[:20]):
            found = await search.names_by_digest(text, None, 10)
            assert [(one.name, one.match) for one in found.names] == [(NAME, str(made.digest))]
    assert (await search.names_by_digest("sha256:0123456789abcdef", None, 10)).names == []


async def test_a_blob_of_several_charts_is_found_in_all_of_them_page_by_page(
    catalog: Catalog, search: CatalogSearch
) -> None:
    made = sample()
    await keep(catalog, made, sample(target=OTHER))
    first = await search.names_by_digest(str(made.config), None, 1)
    second = await search.names_by_digest(str(made.config), first.resume, 1)
    assert [one.target for one in (*first.names, *second.names)] == sorted([TARGET, OTHER])
    assert second.resume is None


async def test_tag_keys_come_in_pages_by_part_of_a_tag(catalog: Catalog, search: CatalogSearch) -> None:
    await keep(catalog, *(sample(f"1.{number}.0") for number in range(5)), sample("2.0.0"))
    keys = await search.tag_keys([TARGET], "1.", None, 10)
    assert keys == [(NAME, "plain", f"1.{number}.0") for number in range(5)]
    assert await search.tag_keys([TARGET], "1.", keys[2], 10) == keys[3:]
    assert await search.tag_keys([TARGET, OTHER], "", None, 2) == keys[:2]


async def test_a_tag_is_shown_as_the_source_that_confirmed_it_last_gave_it(
    catalog: Catalog, search: CatalogSearch, engines: Engines
) -> None:
    made, other = sample(), sample(content=b"another", kept_at=2000.0)
    await keep(catalog, made)
    later = replace(other.row, source="registry")
    await catalog.keep(NAME, later, other.kept)
    await note_pull(engines, "1.2.3", 1, 30.0)
    (found,) = await search.tags([_key(made)])
    assert found.row == later
    assert found.size_bytes == sum(other.kept.sizes.values())
    assert found.last_pull_at == 30.0
    assert not found.is_pinned


async def test_tags_come_in_the_order_they_are_asked_for_without_those_that_are_gone(
    catalog: Catalog, search: CatalogSearch
) -> None:
    first, second = sample("1.0.0"), sample("2.0.0")
    await keep(catalog, first, second)
    found = await search.tags([_key(second), (NAME, "plain", "gone"), _key(first)])
    assert [one.row.tag for one in found] == ["2.0.0", "1.0.0"]


@pytest.mark.parametrize("by_digest", [True, False])
async def test_a_tag_is_pinned_by_itself_or_by_its_digest(
    catalog: Catalog, search: CatalogSearch, engines: Engines, *, by_digest: bool
) -> None:
    made = sample()
    await keep(catalog, made)
    reference = str(made.digest) if by_digest else "1.2.3"
    await PinBook(engines).make(Pin(TARGET, reference, NAME, 1.0))
    (found,) = await search.tags([_key(made)])
    assert found.is_pinned
    beside = await search.beside(TARGET, made.digest, "1.2.3", [])
    assert beside.pinned == {reference}


async def test_beside_a_manifest_stand_its_tags_what_refers_to_it_and_its_pulls(
    catalog: Catalog, search: CatalogSearch, engines: Engines
) -> None:
    made = sample()
    signature = sample("9.0.0", subject=made.digest)
    elsewhere = sample("9.0.1", target=OTHER, subject=made.digest)
    cosign = f"sha256-{made.digest.hex}.sig"
    await keep(catalog, made, signature, elsewhere)
    await catalog.keep_tag(NAME, retagged(made, "1.2"))
    await catalog.keep_tag(NAME, retagged(signature, cosign))
    await note_pull(engines, "1.2.3", 3, 40.0)
    await note_pull(engines, "1.2.3", 2, 60.0, name="short/redis")
    beside = await search.beside(TARGET, made.digest, "1.2.3", [cosign, "none"])
    assert beside.tags == ["1.2", "1.2.3"]
    assert [one.digest for one in beside.referring] == [signature.digest]
    assert beside.named == {cosign: signature.digest}
    assert beside.pulls == Pulls(5, 60.0)
    assert beside.size_bytes == sum(made.kept.sizes.values())


async def test_only_manifests_that_the_target_itself_has_shown_are_held(
    catalog: Catalog, search: CatalogSearch
) -> None:
    made, other = sample(), sample("2.0.0", target=OTHER)
    await keep(catalog, made, other)
    asked = [made.digest, other.digest, Digest.of(b"nothing")]
    assert await search.among_held(TARGET, asked) == {str(made.digest)}


async def test_a_tag_has_rows_of_each_variant_and_source(catalog: Catalog, search: CatalogSearch) -> None:
    made = sample()
    await keep(catalog, made)
    signed = replace(made.row, variant="provenance")
    await catalog.keep_tag(NAME, signed)
    assert await search.rows_of(TARGET, "1.2.3") == [made.row, signed]
    assert await search.rows_of(OTHER, "1.2.3") == []


async def test_the_targets_of_a_name_are_known(catalog: Catalog, search: CatalogSearch) -> None:
    await keep(catalog, sample(), sample(target=OTHER), name="short/redis")
    assert await search.targets_of("short/redis") == sorted([TARGET, OTHER])
    assert await search.targets_of("nobody") == []


def _key(made: Sample) -> TagKey:
    return (str(made.row.target), made.row.variant, made.row.tag)


def _columns(made: Sample) -> dict[str, object]:
    row = made.row
    return {
        "target": str(row.target),
        "variant": row.variant,
        "source": row.source,
        "digest": str(row.digest),
        "is_exact": True,
        "origin": row.origin,
        "kept_at": 1.0,
        "confirmed_at": 1.0,
    }
