"""The catalog: what is kept together is found together, by its own target only, or not at all."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from sqlalchemy import func, select

from gateway.oci.digest import Digest
from gateway.oci.media_types import HELM_CHART_LAYER, HELM_CONFIG, OCI_MANIFEST
from gateway.store import catalog_writes, tables
from gateway.store.blobs import StorageFailed
from gateway.store.catalog import Catalog
from gateway.store.engine import Engines, open_sqlite
from gateway.store.generation import LocalGeneration
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
    assert await catalog.find_tag(TARGET, "plain", "1.2.3") == made.row
    assert await catalog.find_manifest(TARGET, made.digest) == made.kept.manifest
    assert await catalog.find_blob_size(TARGET, made.config) == made.kept.sizes[made.config]
    assert await catalog.find_blob_size(TARGET, made.layer) == made.kept.sizes[made.layer]
    assert await catalog.find_blob_size(TARGET, made.digest) is None  # a manifest is none
    config = await catalog.find_edge(TARGET, made.config)
    layer = await catalog.find_edge(TARGET, made.layer)
    assert config is not None
    assert layer is not None
    assert (config.media_type, config.size) == (HELM_CONFIG, made.kept.sizes[made.config])
    assert (layer.media_type, layer.size) == (HELM_CHART_LAYER, made.kept.sizes[made.layer])
    assert await catalog.names() == [(NAME, TARGET)]
    assert await catalog.tags_of(TARGET) == {"1.2.3"}


async def test_another_target_sees_nothing_of_it(catalog: Catalog) -> None:
    made = sample()
    await catalog.keep(NAME, made.row, made.kept)
    assert await catalog.find_tag(OTHER, "plain", "1.2.3") is None
    assert await catalog.find_manifest(OTHER, made.digest) is None
    assert await catalog.find_blob_size(OTHER, made.layer) is None
    assert await catalog.find_edge(OTHER, made.layer) is None
    assert await catalog.find_versions(OTHER, "plain") == []
    assert await catalog.find_tags_naming(OTHER, made.digest) == []
    assert await catalog.tags_of(OTHER) == set()


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
    assert await catalog.find_tag(TARGET, "plain", "1.2.3") is None
    found = await catalog.find_tag(TARGET, "provenance", "1.2.3")
    assert found is not None
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
    assert await catalog.find_tag(TARGET, "plain", "1.2.3") == replace(
        made.row, confirmed_at=2000.0, seen_digest=seen
    )


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


_WRITER = """
import sys
from pathlib import Path

import anyio

from gateway.store.catalog import Catalog
from gateway.store.engine import open_sqlite
from gateway.store.generation import LocalGeneration
from tests.store.samples import NAME, sample

async def main(path, prefix):
    catalog = Catalog(open_sqlite(Path(path)), LocalGeneration())
    for number in range(100):
        made = sample(f"{prefix}.0.{number}")
        await catalog.keep(NAME, made.row, made.kept)

anyio.run(main, *sys.argv[1:])
"""


@pytest.mark.slow
def test_two_processes_write_at_once_and_both_are_whole(catalog_path: Path) -> None:
    command = [sys.executable, "-c", _WRITER, str(catalog_path)]
    writers = [subprocess.Popen([*command, prefix], stderr=subprocess.PIPE) for prefix in ("1", "2")]
    failures = [writer.communicate(timeout=60)[1] for writer in writers]
    assert failures == [b"", b""]
    engines = open_sqlite(catalog_path)
    assert counts(engines)["tags"] == counts(engines)["manifests"] == 200
    engines.dispose()


async def test_a_writer_waits_for_another_process_and_readers_wait_for_nobody(
    catalog_path: Path, catalog: Catalog
) -> None:
    made, other = sample(), open_sqlite(catalog_path)
    async with anyio.create_task_group() as group:
        with other.writer.begin():
            group.start_soon(catalog.keep, NAME, made.row, made.kept)
            for _ in range(5):
                assert await catalog.find_tag(TARGET, "plain", "1.2.3") is None
    assert await catalog.find_tag(TARGET, "plain", "1.2.3") == made.row
    other.dispose()


async def test_a_database_that_is_gone_is_a_failure_of_storage(tmp_path: Path) -> None:
    engines = open_sqlite(tmp_path / "gone" / "catalog.sqlite3")
    catalog = Catalog(engines, LocalGeneration())
    made = sample()
    with pytest.raises(StorageFailed, match="read"):
        await catalog.find_tag(TARGET, "plain", "1.2.3")
    with pytest.raises(StorageFailed, match="written"):
        await catalog.keep(NAME, made.row, made.kept)
    engines.dispose()


async def test_a_damaged_database_is_a_failure_of_storage(catalog_path: Path, catalog: Catalog) -> None:
    _damage(catalog_path)
    with pytest.raises(StorageFailed):
        await catalog.names()


def _damage(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)


async def test_a_database_that_may_not_be_written_is_still_read(
    catalog_path: Path, catalog: Catalog, engines: Engines
) -> None:
    made = sample()
    await catalog.keep(NAME, made.row, made.kept)
    with engines.writer.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
    with pytest.raises(StorageFailed, match="written"):
        await catalog.keep_tag(NAME, retagged(made, "v1.2.3"))
    assert await catalog.find_tag(TARGET, "plain", "1.2.3") == made.row
