"""The catalog: what is kept together is found together, by its own target only, or not at all."""

from dataclasses import replace

import anyio
import pytest
from sqlalchemy import func, select

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.media_types import HELM_CHART_LAYER, HELM_CONFIG, OCI_MANIFEST
from gateway.store import catalog_writes, tables
from gateway.store.blobs import StorageFailed
from gateway.store.catalog import Catalog
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from gateway.store.rows import NamedBlob, Right
from tests.store.samples import NAME, OTHER, TARGET, retagged, sample

pytestmark = pytest.mark.anyio


@pytest.fixture
def catalog(engines: Engines) -> Catalog:
    return Catalog(engines, LocalGeneration())


def counts(engines: Engines) -> dict[str, int]:
    with engines.reader.connect() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables.metadata.sorted_tables
        }


async def test_a_pull_is_found_by_tag_digest_and_blob(catalog: Catalog) -> None:
    made = sample()
    await catalog.keep(NAME, made.row, made.kept)
    assert await catalog.find_tags(TARGET, "plain", "1.2.3") == [made.row]
    assert await catalog.find_manifest(TARGET, made.digest) == made.kept.manifest
    assert await catalog.find_manifest_source(TARGET, made.digest) == "helm"
    assert await catalog.find_right(TARGET, made.config) == Right(made.kept.sizes[made.config], "helm")
    assert await catalog.find_right(TARGET, made.layer) == Right(made.kept.sizes[made.layer], "helm")
    assert await catalog.find_right(TARGET, made.digest) is None  # a manifest is no blob
    assert await catalog.find_manifest_source(TARGET, made.layer) is None  # nor the other way round
    (config,) = await catalog.find_named(TARGET, made.config)
    (layer,) = await catalog.find_named(TARGET, made.layer)
    sizes = made.kept.sizes
    assert config == NamedBlob(Descriptor(HELM_CONFIG, made.config, sizes[made.config]), made.digest, "helm")
    assert layer == NamedBlob(
        Descriptor(HELM_CHART_LAYER, made.layer, sizes[made.layer]), made.digest, "helm"
    )
    assert await catalog.names() == [(NAME, TARGET)]
    assert await catalog.versions_of(TARGET) == {("helm", "1.2.3")}


async def test_another_target_sees_nothing_of_it(catalog: Catalog) -> None:
    made = sample()
    await catalog.keep(NAME, made.row, made.kept)
    assert await catalog.find_tags(OTHER, "plain", "1.2.3") == []
    assert await catalog.find_manifest(OTHER, made.digest) is None
    assert await catalog.find_manifest_source(OTHER, made.digest) is None
    assert await catalog.find_right(OTHER, made.layer) is None
    assert await catalog.find_named(OTHER, made.layer) == []
    assert await catalog.find_versions(OTHER, "plain") == []
    assert await catalog.find_tags_naming(OTHER, made.digest) == []
    assert await catalog.versions_of(OTHER) == set()


async def test_one_content_pulled_by_two_targets_is_the_right_of_both(catalog: Catalog) -> None:
    here, there = sample(), sample(target=OTHER)
    await catalog.keep(NAME, here.row, here.kept)
    await catalog.keep(str(OTHER), there.row, there.kept)
    assert here.digest == there.digest
    assert await catalog.find_manifest(TARGET, here.digest) == await catalog.find_manifest(OTHER, here.digest)
    assert [row.target for row in await catalog.find_tags_naming(OTHER, here.layer)] == [OTHER]


async def test_a_variant_has_tags_of_its_own(catalog: Catalog) -> None:
    made = sample()
    await catalog.keep(NAME, replace(made.row, variant="provenance"), made.kept)
    assert await catalog.find_tags(TARGET, "plain", "1.2.3") == []
    (found,) = await catalog.find_tags(TARGET, "provenance", "1.2.3")
    assert found.variant == "provenance"


async def test_keeping_twice_changes_nothing(catalog: Catalog, engines: Engines) -> None:
    made = sample()
    await catalog.keep(NAME, made.row, made.kept)
    before = counts(engines)
    await catalog.keep(NAME, made.row, made.kept)
    assert counts(engines) == before


async def test_versions_come_newest_kept_first(catalog: Catalog) -> None:
    for version, kept_at in (("1.0.0", 20.0), ("1.1.0", 30.0), ("0.9.0", 10.0)):
        made = sample(version, kept_at=kept_at)
        await catalog.keep(NAME, made.row, made.kept)
    rows = await catalog.find_versions(TARGET, "plain")
    assert [row.version for row in rows] == ["1.1.0", "1.0.0", "0.9.0"]


async def test_another_tag_of_a_held_manifest_is_kept_without_it(catalog: Catalog, engines: Engines) -> None:
    made = sample()
    await catalog.keep(NAME, made.row, made.kept)
    await catalog.keep_tag(NAME, retagged(made, "v1.2.3"))
    assert counts(engines)["manifests"] == 1
    assert {row.tag for row in await catalog.find_tags_naming(TARGET, made.layer)} == {"1.2.3", "v1.2.3"}


async def test_confirming_moves_the_time_and_notes_what_was_seen(catalog: Catalog) -> None:
    made = sample()
    await catalog.keep(NAME, made.row, made.kept)
    seen = Digest.of(b"republished")
    await catalog.confirm_tag(made.row, 2000.0, seen)
    assert await catalog.find_tags(TARGET, "plain", "1.2.3") == [
        replace(made.row, confirmed_at=2000.0, seen_digest=seen)
    ]
    compared = Digest.of(b"another archive of the same chart")
    await catalog.confirm_tag(made.row, 3000.0, None, compared)
    assert await catalog.find_tags(TARGET, "plain", "1.2.3") == [
        replace(made.row, confirmed_at=3000.0, upstream_digest=compared)
    ]


async def test_referrers_are_what_this_target_holds_about_a_digest(catalog: Catalog) -> None:
    subject, stranger = sample(), sample("9.9.9")
    signature = sample("2.0.0", subject=subject.digest)
    elsewhere = sample("3.0.0", target=OTHER, subject=subject.digest)
    for made, name in ((subject, NAME), (signature, NAME), (stranger, NAME), (elsewhere, str(OTHER))):
        await catalog.keep(name, made.row, made.kept)
    (found,) = await catalog.find_referrers(TARGET, subject.digest)
    assert (found.digest, found.media_type) == (signature.digest, OCI_MANIFEST)
    assert found.size == len(signature.kept.manifest.content)
    assert found.artifact_type == HELM_CONFIG
    assert found.annotations == {"org.opencontainers.image.version": "2.0.0"}
    assert await catalog.find_referrers(TARGET, stranger.digest) == []


def note_name(engines: Engines, name: str) -> None:
    with engines.writing() as connection:
        assert not catalog_writes.note_name(connection, name, TARGET, 1.0)


async def test_a_name_is_listed_once_something_under_it_is_held(catalog: Catalog, engines: Engines) -> None:
    note_name(engines, "short/redis")
    assert await catalog.names() == []
    made = sample()
    await catalog.keep(NAME, made.row, made.kept)
    assert await catalog.names() == [(NAME, TARGET), ("short/redis", TARGET)]


async def test_what_is_held_has_a_line_for_each_name_and_tag_with_its_size(catalog: Catalog) -> None:
    made = sample()
    await catalog.keep(NAME, made.row, made.kept)
    await catalog.keep_tag("short/redis", retagged(made, "v1.2.3"))
    held = await catalog.held()
    assert [(one.name, one.row.tag) for one in held] == [
        (NAME, "1.2.3"),
        (NAME, "v1.2.3"),
        ("short/redis", "1.2.3"),
        ("short/redis", "v1.2.3"),
    ]
    assert {one.size_bytes for one in held} == {sum(made.kept.sizes.values())}


async def test_the_generation_moves_when_a_tag_moves_and_only_then(
    catalog: Catalog, engines: Engines
) -> None:
    made, moved = sample(), sample(content=b"republished")
    await catalog.keep(NAME, made.row, made.kept)
    await catalog.keep(NAME, made.row, made.kept)
    await catalog.confirm_tag(made.row, 2000.0, None)
    note_name(engines, "short/redis")
    assert catalog.generation.current() == 0
    await catalog.keep(NAME, moved.row, moved.kept)
    assert catalog.generation.current() == 1


async def test_a_keep_that_fails_leaves_nothing_of_itself(catalog: Catalog, engines: Engines) -> None:
    made = sample()
    nameless = replace(made.row, digest=Digest.of(b"a manifest that is not held"))
    before = counts(engines)
    with pytest.raises(StorageFailed, match="written"):
        await catalog.keep(NAME, nameless, made.kept)
    assert counts(engines) == before
    assert catalog.generation.current() == 0
    await catalog.keep(NAME, made.row, made.kept)  # and the next one is not held up


async def test_many_pulls_at_once_are_all_kept(catalog: Catalog, engines: Engines) -> None:
    made = [sample(f"1.0.{number}") for number in range(20)]
    async with anyio.create_task_group() as group:
        for one in made:
            group.start_soon(catalog.keep, NAME, one.row, one.kept)
    assert counts(engines)["tags"] == 20
