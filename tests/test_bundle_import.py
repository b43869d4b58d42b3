"""An import takes what a bundle brings: conflicts, dry runs, differences, what a killed one left."""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event

import msgspec
import pytest
import zstandard
from sqlalchemy import update

from gateway.bundle_import import ImportOptions
from gateway.bundle_staging import ImportRunning, open_staging, sweep_staging
from gateway.oci.digest import Digest
from gateway.oci.manifest import parse_manifest
from gateway.oci.postgres_url import PostgresUrl
from gateway.oci.target import Target
from gateway.store.blobs import StorageFailed, StorageFull, read_whole
from gateway.store.eviction import kept_whatever_comes
from gateway.store.import_rows import Fate
from gateway.store.rows import KeptManifest, TagRow
from gateway.store.tables import manifests
from tests.bundle_house import (
    APP,
    MADE_AT,
    TAKEN,
    Artifact,
    Bundle,
    ImportHouse,
    app,
    chart,
    digest_of,
    import_house,
    tag_row,
    tar_of,
    with_contents,
)

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

OTHER = "charts.example.test/other"
REPLACING = ImportOptions(replaces=True)
DRY = ImportOptions(is_dry=True)
WITH_RULES = ImportOptions(applies_rules=True)


@pytest.fixture
async def house(tmp_path: Path, database: PostgresUrl | None) -> AsyncIterator[ImportHouse]:
    async with import_house(tmp_path, database) as house:
        yield house


@pytest.fixture
async def sqlite_house(tmp_path: Path) -> AsyncIterator[ImportHouse]:
    async with import_house(tmp_path) as house:
        yield house


async def keep(house: ImportHouse, artifact: Artifact, tag: str, source: str) -> None:
    """What a pull would have kept."""
    row = tag_row(tag, artifact, source=source)
    kept = KeptManifest(artifact.manifest, parse_manifest(artifact.content, None), {})
    digest = Digest.parse(row.digest)
    values = msgspec.structs.asdict(row)
    tag_row_ = TagRow(**{**values, "target": Target.parse(APP), "digest": digest, "seen_digest": None})
    await house.storage.catalog.keep(APP, tag_row_, kept)


async def test_what_a_bundle_has_is_held_then_for_good_and_for_its_target_alone(house: ImportHouse) -> None:
    one = chart("app", "1.0.0")
    referrer = chart("signature", "1", subject=one.content)
    bundle = Bundle().add(APP, {"1.0.0": one}, [referrer])
    report = await house.take(bundle.tar())
    assert [tag.fate for tag in report.tags] == [Fate.ADDED]
    assert (report.targets, report.manifests, report.new_blobs, report.held_blobs) == (1, 2, 4, 0)
    catalog, target = house.storage.catalog, Target.parse(APP)
    assert await house.held("1.0.0") == [one.digest]
    for artifact in (one, referrer):
        found = await catalog.find_manifest(target, Digest.parse(artifact.digest))
        assert found is not None
        assert found.content == artifact.content
        for blob in artifact.blobs:
            digest = Digest.of(blob)
            assert await read_whole(house.storage.blobs, digest) == blob
            assert await catalog.find_right(target, digest) is not None
            assert await catalog.find_right(Target.parse(OTHER), digest) is None
            assert str(digest) in await house.storage.engines.ask(kept_whatever_comes)
    [found_referrer] = await catalog.find_referrers(target, Digest.parse(one.digest))
    assert str(found_referrer.digest) == referrer.digest
    assert await catalog.names() == [(APP, target)]


async def test_the_same_bundle_again_changes_nothing(house: ImportHouse) -> None:
    content = app("1.0.0", "2.0.0").tar()
    await house.take(content)
    before = await house.everything()
    report = await house.take(content)
    assert await house.everything() == before
    assert {tag.fate for tag in report.tags} == {Fate.UNCHANGED}
    assert (report.new_blobs, report.held_blobs, report.size_bytes) == (0, 4, 0)


async def test_workers_learn_of_it(house: ImportHouse) -> None:
    before = house.storage.generation.current()
    await house.take(app("1.0.0").tar())
    assert house.storage.generation.current() != before


@pytest.mark.parametrize(
    "pack",
    [
        lambda files: files,
        lambda files: dict(reversed(files.items())),
        lambda files: dict(sorted(files.items())),
    ],
    ids=["ours", "backwards", "by name"],
)
@pytest.mark.parametrize("options", [TAKEN, DRY], ids=["import", "dry run"])
async def test_entries_may_come_in_any_order(
    sqlite_house: ImportHouse,
    pack: Callable[[Mapping[str, bytes]], Mapping[str, bytes]],
    options: ImportOptions,
) -> None:
    report = await sqlite_house.take(tar_of(pack(app("1.0.0").files()).items()), options)
    assert [tag.fate for tag in report.tags] == [Fate.ADDED]


async def test_a_dry_run_says_what_an_import_would_do_and_changes_nothing(house: ImportHouse) -> None:
    await house.take(app("1.0.0", "2.0.0").tar())
    bundle = Bundle().add(
        APP, {"1.0.0": chart("app", "1.0.0"), "2.0.0": chart("app", "new"), "3": chart("b", "3")}
    )
    before = await house.everything()
    told = await house.take(bundle.tar(), DRY)
    assert await house.everything() == before
    done = await house.take(bundle.tar())
    assert told == replace(done, is_dry=True)
    assert [tag.fate for tag in done.tags] == [Fate.UNCHANGED, Fate.KEPT, Fate.ADDED]


async def test_a_tag_that_is_held_with_other_content_stays_and_what_was_brought_can_be_had_by_digest(
    house: ImportHouse,
) -> None:
    old, new = chart("app", "1.0.0"), chart("app", "1.0.0", b"evil")
    await house.take(Bundle().add(APP, {"1.0.0": old}).tar())
    report = await house.take(Bundle().add(APP, {"1.0.0": new}).tar())
    [one] = report.tags
    assert (one.fate, str(one.held), str(one.row.digest)) == (Fate.KEPT, old.digest, new.digest)
    assert await house.held("1.0.0") == [old.digest]
    target = Target.parse(APP)
    assert await house.storage.catalog.find_manifest(target, Digest.parse(new.digest)) is not None
    assert digest_of(b"evil") in await house.storage.engines.ask(kept_whatever_comes)


async def test_a_tag_is_replaced_when_that_is_asked_for(house: ImportHouse) -> None:
    old, new = chart("app", "1.0.0"), chart("app", "1.0.0", b"new")
    await house.take(Bundle().add(APP, {"1.0.0": old}).tar())
    [one] = (await house.take(Bundle().add(APP, {"1.0.0": new}).tar(), REPLACING)).tags
    assert (one.fate, str(one.held)) == (Fate.REPLACED, old.digest)
    assert await house.held("1.0.0") == [new.digest]


async def test_another_sources_tag_is_in_the_way_too_since_clients_see_one(house: ImportHouse) -> None:
    old, new = chart("app", "1.0.0"), chart("app", "1.0.0", b"new")
    await keep(house, old, "1.0.0", "registry")
    bundle = Bundle().add(APP, {"1.0.0": new}).tar()
    [one] = (await house.take(bundle)).tags
    assert one.fate is Fate.KEPT
    assert await house.held("1.0.0") == [old.digest]
    [one] = (await house.take(bundle, REPLACING)).tags
    assert one.fate is Fate.REPLACED
    assert await house.held("1.0.0") == [new.digest]


async def test_the_same_content_from_another_source_is_no_conflict(house: ImportHouse) -> None:
    one = chart("app", "1.0.0")
    await keep(house, one, "1.0.0", "registry")
    [tag] = (await house.take(Bundle().add(APP, {"1.0.0": one}).tar())).tags
    assert tag.fate is Fate.ADDED
    assert await house.held("1.0.0") == [one.digest, one.digest]


async def test_what_was_confirmed_later_is_not_taken_for_older(house: ImportHouse) -> None:
    for confirmed_at in (MADE_AT + 100, MADE_AT - 100, MADE_AT + 1e9):
        bundle = app("1.0.0")
        [target] = bundle.targets
        rows = [msgspec.structs.replace(target.tags[0], confirmed_at=confirmed_at)]
        await house.take(with_contents(bundle, targets=[msgspec.structs.replace(target, tags=rows)]))
        [row] = await house.storage.catalog.find_tags(Target.parse(APP), "plain", "1.0.0")
        assert row.confirmed_at == max(MADE_AT + 100, min(confirmed_at, MADE_AT + 3600.0))


async def test_a_manifest_that_the_disk_has_changed_is_mended(house: ImportHouse) -> None:
    content = app("1.0.0").tar()
    await house.take(content)
    await house.storage.engines.tell(
        lambda connection: connection.execute(update(manifests).values(content=b"x"))
    )
    await house.take(content)
    found = await house.storage.catalog.find_manifest(
        Target.parse(APP), Digest.parse(chart("app", "1.0.0").digest)
    )
    assert found is not None


async def test_what_came_by_credentials_is_not_for_everybody_afterwards_either(house: ImportHouse) -> None:
    await house.take(Bundle().add(APP, {"1": chart("app", "1")}, is_private=True).tar())
    assert APP in house.importer.book.private_targets()


def difference(base: Bundle, tag: str, new: Artifact, target: str = APP, **more: object) -> Bundle:
    bundle = Bundle(since=digest_of(base.files()["index.json"])).add(target, {tag: new}, (), **more)
    bundle.left_out = {one.digest for one in base.contents}
    return bundle


async def test_a_difference_is_taken_where_what_it_leaves_out_is_held(house: ImportHouse) -> None:
    shared = os.urandom(1000)
    base = Bundle().add(APP, {"1.0.0": chart("app", "1.0.0", shared)})
    new = chart("app", "2.0.0", shared)
    content = difference(base, "2.0.0", new).tar()
    faults = await house.refused(content)
    assert f"{digest_of(shared)} is in the bundle whose index.json is" in faults[0]
    assert "import that one first" in faults[0]
    await house.take(base.tar())
    report = await house.take(content)
    assert (report.new_blobs, [tag.fate for tag in report.tags]) == (1, [Fate.ADDED])
    found = await house.storage.catalog.find_right(Target.parse(APP), Digest.of(shared))
    assert found is not None


async def test_a_tag_that_moved_to_what_an_earlier_bundle_has_needs_nothing_anew(house: ImportHouse) -> None:
    one = chart("app", "1.0.0")
    base = Bundle().add(APP, {"1.0.0": one})
    await house.take(base.tar())
    report = await house.take(difference(base, "stable", one).tar())
    assert (report.new_blobs, report.manifests) == (0, 1)
    assert await house.held("stable") == [one.digest]


async def test_a_difference_gives_nobody_what_private_targets_alone_hold(house: ImportHouse) -> None:
    secret = os.urandom(1000)
    base = Bundle().add("private.example.test/app", {"1": chart("app", "1", secret)}, is_private=True)
    await house.take(base.tar())
    spying = chart("spy", "1", secret)
    assert digest_of(secret) in (await house.refused(difference(base, "1", spying, OTHER).tar()))[0]
    await house.take(difference(base, "1", spying, OTHER, is_private=True).tar())


async def test_a_file_that_the_store_lost_is_missed_in_a_difference(sqlite_house: ImportHouse) -> None:
    shared = os.urandom(1000)
    base = Bundle().add(APP, {"1.0.0": chart("app", "1.0.0", shared)})
    await sqlite_house.take(base.tar())
    await sqlite_house.storage.disk.delete(Digest.of(shared))
    content = difference(base, "2.0.0", chart("app", "2.0.0", shared)).tar()
    assert digest_of(shared) in (await sqlite_house.refused(content))[0]
    await sqlite_house.take(base.tar())
    await sqlite_house.take(content)


async def test_more_than_there_is_room_for_is_refused_and_leaves_nothing(sqlite_house: ImportHouse) -> None:
    content = Bundle().add(APP, {"1": chart("app", "1", os.urandom(3 << 20))}).tar()
    before = await sqlite_house.everything()
    with pytest.raises(StorageFull, match="--max-bytes"):
        await sqlite_house.take(content, ImportOptions(max_bytes=3 << 20))
    assert await sqlite_house.everything() == before
    await sqlite_house.take(content, ImportOptions(max_bytes=4 << 20))
    await sqlite_house.take(content, ImportOptions(max_bytes=100_000))  # all of it is held


async def test_a_catalog_that_takes_nothing_leaves_no_files_either(sqlite_house: ImportHouse) -> None:
    before = await sqlite_house.everything()
    engines = sqlite_house.storage.engines
    with engines.reading() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER no_tags BEFORE INSERT ON tags BEGIN SELECT RAISE(FAIL, 'no'); END"
        )
        connection.commit()
    with pytest.raises(StorageFailed):
        await sqlite_house.take(app("1.0.0").tar())
    assert await sqlite_house.everything() == before


async def test_one_import_at_a_time(sqlite_house: ImportHouse) -> None:
    importer = sqlite_house.importer
    with open_staging(importer.root, importer.blobs, None, Event()), pytest.raises(ImportRunning):
        await sqlite_house.take(app("1.0.0").tar())
    await sqlite_house.take(app("1.0.0").tar())


async def test_what_a_killed_import_left_is_gone_on_from_whatever_it_is(sqlite_house: ImportHouse) -> None:
    large = os.urandom(5 << 20)
    bundle = Bundle().add(APP, {"1": chart("app", "1", large), "2": chart("app", "2")})
    folder = sqlite_house.importer.root / "importing"
    folder.mkdir()
    (folder / "lock").touch()
    left = {digest_of(large): large[: 3 << 20] + bytes(3 << 20), digest_of(b"of another"): b"of another"}
    for digest, content in left.items():
        (folder / digest.partition(":")[2]).write_bytes(content)
    report = await sqlite_house.take(bundle.tar())
    assert report.new_blobs == 4
    assert await read_whole(sqlite_house.storage.blobs, Digest.of(large)) == large
    assert not folder.exists()


class _Halting(io.BytesIO):
    """Stops at some byte until it is let go on."""

    def __init__(self, content: bytes, at: int) -> None:
        super().__init__(content)
        self._at = at
        self.has_come = Event()
        self.goes_on = Event()

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= self._at:
            self.has_come.set()
            self.goes_on.wait(30)
        return super().read(size)


async def test_an_import_that_nobody_wants_any_more_stops_and_can_be_gone_on_from(
    sqlite_house: ImportHouse,
) -> None:
    large = os.urandom(8 << 20)
    content = Bundle().add(APP, {"1": chart("app", "1", large)}).tar()
    stream = _Halting(content, 5 << 20)
    running = asyncio.create_task(sqlite_house.importer.import_(stream, TAKEN))
    assert await asyncio.to_thread(stream.has_come.wait, 30)
    running.cancel()
    asyncio.get_running_loop().call_later(0, stream.goes_on.set)
    with pytest.raises(asyncio.CancelledError):
        await running
    staged = sqlite_house.importer.root / "importing" / digest_of(large).partition(":")[2]
    assert 0 < staged.stat().st_size < len(content)
    assert await sqlite_house.held("1") == []
    assert (await sqlite_house.take(content)).new_blobs == 2
    assert not staged.exists()


async def test_what_a_killed_import_left_is_swept_once_it_is_old(sqlite_house: ImportHouse) -> None:
    root = sqlite_house.importer.root
    folder = root / "importing"
    folder.mkdir()
    (folder / "left").write_bytes(b"half")
    written_at = (folder / "left").stat().st_mtime
    assert not sweep_staging(root, written_at - 1)
    assert (folder / "left").exists()
    assert sweep_staging(root, written_at + 1)
    assert not folder.exists()
    assert not sweep_staging(root, written_at + 1)


async def test_a_packed_bundle_is_imported_as_well(sqlite_house: ImportHouse) -> None:
    packed = zstandard.ZstdCompressor().compress(app("1.0.0").tar())
    assert (await sqlite_house.take(packed)).new_blobs == 2
