"""The catalog where several sources give one target's content: who gave what, what stays."""

from dataclasses import replace

import pytest

from gateway.oci.digest import Digest
from gateway.store.catalog import Catalog
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from gateway.store.rows import KnownRegistry, Right, TagList, TagRow
from tests.store.samples import NAME, OTHER, TARGET, sample

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

TAG = (TARGET, "plain", "1.2.3")
SEEN = Digest.of(b"seen upstream")


@pytest.fixture
def catalog(engines: Engines) -> Catalog:
    return Catalog(engines, LocalGeneration())


def given_by(source: str, row: TagRow) -> TagRow:
    return replace(row, source=source)


async def test_each_source_has_a_row_of_its_own_for_a_tag(catalog: Catalog) -> None:
    made, other = sample(), sample(content=b"as the registry has it")
    await catalog.keep(NAME, made.row, made.kept)
    from_registry = given_by("registry", other.row)
    await catalog.keep(NAME, from_registry, other.kept)
    assert await catalog.find_tags(*TAG) == [made.row, from_registry]
    assert await catalog.versions_of(TARGET) == {("helm", "1.2.3"), ("registry", "1.2.3")}
    assert [line.row.source for line in await catalog.held()] == ["helm", "registry"]


async def test_the_same_content_again_takes_over_what_was_seen_of_it(catalog: Catalog) -> None:
    made = sample()
    await catalog.keep(NAME, made.row, made.kept)
    again = replace(
        made.row,
        version="v1.2.3",
        upstream_digest=SEEN,
        seen_digest=SEEN,
        origin="https://mirror.example.test/redis.tgz",
        kept_at=2000.0,
        confirmed_at=2000.0,
    )
    await catalog.keep_tag(NAME, again)
    assert await catalog.find_tags(*TAG) == [replace(again, kept_at=made.row.kept_at)]
    assert catalog.generation.current() == 0


async def test_a_confirmation_never_goes_back(catalog: Catalog) -> None:
    made = sample(kept_at=2000.0)
    await catalog.keep(NAME, made.row, made.kept)
    await catalog.keep_tag(NAME, replace(made.row, confirmed_at=1500.0))
    assert await catalog.find_tags(*TAG) == [made.row]
    moved = sample(content=b"republished", kept_at=1500.0)
    await catalog.keep(NAME, moved.row, moved.kept)
    assert [row.confirmed_at for row in await catalog.find_tags(*TAG)] == [2000.0]


async def test_other_content_replaces_just_what_its_finder_saw(catalog: Catalog) -> None:
    made, moved = sample(), sample(content=b"republished", kept_at=2000.0)
    await catalog.keep(NAME, made.row, made.kept)
    await catalog.keep(NAME, moved.row, moved.kept, replaces=made.digest)
    assert await catalog.find_tags(*TAG) == [moved.row]
    assert catalog.generation.current() == 1
    assert await catalog.find_manifest(TARGET, made.digest) == made.kept.manifest  # by digest, for ever


async def test_who_was_quicker_stays_and_what_the_other_saw_is_noted(catalog: Catalog) -> None:
    made, quicker = sample(), sample(content=b"quicker", kept_at=2000.0)
    slower = sample(content=b"slower", kept_at=3000.0)
    await catalog.keep(NAME, made.row, made.kept)
    await catalog.keep(NAME, quicker.row, quicker.kept, replaces=made.digest)
    await catalog.keep(NAME, slower.row, slower.kept, replaces=made.digest)
    assert await catalog.find_tags(*TAG) == [
        replace(quicker.row, seen_digest=slower.row.upstream_digest, confirmed_at=3000.0)
    ]
    assert await catalog.find_manifest(TARGET, slower.digest) == slower.kept.manifest


async def test_a_second_source_of_a_tag_moves_the_generation_a_first_one_does_not(catalog: Catalog) -> None:
    """A memory that holds the tag as the first source gave it has to choose again."""
    made = sample()
    await catalog.keep(NAME, made.row, made.kept)
    assert catalog.generation.current() == 0
    await catalog.keep_tag(NAME, given_by("registry", made.row))
    assert catalog.generation.current() == 1


async def test_a_dropped_tag_is_gone_at_every_source_and_its_content_stays(catalog: Catalog) -> None:
    made, other = sample(), sample("2.0.0")
    await catalog.keep(NAME, made.row, made.kept)
    await catalog.keep_tag(NAME, given_by("registry", made.row))
    await catalog.keep(NAME, other.row, other.kept)
    before = catalog.generation.current()
    await catalog.drop_tag(*TAG)
    assert await catalog.find_tags(*TAG) == []
    assert await catalog.find_versions(TARGET, "plain") == [other.row]
    assert await catalog.find_manifest(TARGET, made.digest) == made.kept.manifest
    assert await catalog.find_right(TARGET, made.layer) is not None
    assert catalog.generation.current() == before + 1
    await catalog.drop_tag(*TAG)
    assert catalog.generation.current() == before + 1


async def test_a_right_names_the_source_that_gave_it_last(catalog: Catalog) -> None:
    made = sample()
    await catalog.keep_untagged(made.row, made.kept)
    assert await catalog.find_manifest_source(TARGET, made.digest) == "helm"
    await catalog.keep_untagged(given_by("chartproxy", made.row), made.kept)
    assert await catalog.find_manifest_source(TARGET, made.digest) == "chartproxy"
    assert await catalog.find_right(TARGET, made.layer) == Right(made.kept.sizes[made.layer], "chartproxy")
    assert await catalog.find_tags(*TAG) == []


async def test_a_blob_that_is_only_named_is_no_right_until_a_source_delivers_it(catalog: Catalog) -> None:
    made = sample()
    lazy = replace(made.kept, sizes={})
    await catalog.keep(NAME, given_by("registry", made.row), lazy)
    assert await catalog.find_right(TARGET, made.layer) is None
    (named,) = await catalog.find_named(TARGET, made.layer)
    assert (named.manifest, named.source, named.descriptor.digest) == (made.digest, "registry", made.layer)
    size_bytes = made.kept.sizes[made.layer]
    await catalog.keep_blob(TARGET, "plain", made.layer, size_bytes, "registry", 2000.0)
    assert await catalog.find_right(TARGET, made.layer) == Right(size_bytes, "registry")
    assert await catalog.find_right(OTHER, made.layer) is None


async def test_all_manifests_that_name_a_blob_are_told_newest_first_and_each_once(catalog: Catalog) -> None:
    old, new = sample("1.0.0", kept_at=1000.0), sample("1.1.0", kept_at=2000.0)  # they share the config
    assert old.config == new.config
    for made in (old, new):
        await catalog.keep(NAME, made.row, made.kept)
        await catalog.keep(NAME, replace(made.row, variant="provenance"), made.kept)
    named = await catalog.find_named(TARGET, old.config)
    assert [one.manifest for one in named] == [new.digest, old.digest]


async def test_tag_lists_are_each_sources_own_and_the_last_one_stands(catalog: Catalog) -> None:
    helm, registry = TagList("helm", ("1.2.3", "1.3.0+β"), 1000.0), TagList("registry", (), 1500.0)
    await catalog.keep_tag_list(TARGET, "plain", helm)
    await catalog.keep_tag_list(TARGET, "plain", registry)
    await catalog.keep_tag_list(TARGET, "provenance", TagList("helm", ("9",), 1.0))
    assert await catalog.find_tag_list(TARGET, "plain") == [helm, registry]
    newer = TagList("helm", ("2.0.0",), 2000.0)
    await catalog.keep_tag_list(TARGET, "plain", newer)
    assert await catalog.find_tag_list(TARGET, "plain") == [newer, registry]
    assert await catalog.find_tag_list(OTHER, "plain") == []


async def test_a_place_is_a_registry_until_the_contrary_is_learnt(catalog: Catalog) -> None:
    assert await catalog.find_registry("ghcr.example.test") is None
    await catalog.keep_registry("ghcr.example.test", True, 1000.0)
    assert await catalog.find_registry("ghcr.example.test") == KnownRegistry(True, 1000.0)
    await catalog.keep_registry("ghcr.example.test", False, 2000.0)
    assert await catalog.find_registry("ghcr.example.test") == KnownRegistry(False, 2000.0)
