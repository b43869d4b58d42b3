"""Scrubbing: everything stored is hashed, what is damaged is healed as a pull would fetch it."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, update

from gateway.caretaker import scrubber
from gateway.oci.digest import Digest
from gateway.scrub import Scrubbed, scrub_when_due
from gateway.store.blobs import keep_bytes
from gateway.store.tables import helm_indexes, manifests
from tests.composed import Composed, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI
from tests.fakes.registry import FakeRegistry
from tests.rot import EVERY_WAY, flip, place_of
from tests.sources.helm_parts import Clock
from tests.threats import HOST, registry_line, serving, settings_of

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # whole gateways, seconds together

CHARTS = "charts.example.test"
DEMO = f"{CHARTS}/demo"
APP = f"{HOST}/team/app"
IMAGE = OCI.image(120_000)
CHART = make_chart("demo", "1.0.0")
DAY = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class World:
    """A chart in a Helm repository, an image in a registry, and the rules that lead to both."""

    repo: HelmRepo
    registry: FakeRegistry

    @property
    def rules(self) -> str:
        return (
            f"upstreams:\n{upstream(self.repo.url, CHARTS, kind='helm')}{registry_line(self.registry.origin)}"
        )


@pytest.fixture
def world() -> Iterator[World]:
    with _world() as made:
        yield made


@contextmanager
def _world() -> Iterator[World]:
    with HelmRepo(repository_of(CHART)) as repo, FakeRegistry() as registry:
        IMAGE.push_to(registry, "team/app", "1")
        yield World(repo, registry)


async def _warm(folder: Path, world: World) -> None:
    """Have the chart and the image held, with all that they name."""
    async with serving(folder, world.rules) as gateway:
        assert (await gateway.manifest(DEMO, "1.0.0")).status_code == 200
        await gateway.manifest(APP, "1")
        for blob in IMAGE.blobs:
            path = f"/v2/{APP}/blobs/{Digest.of(blob)}"
            assert (await gateway.client.get(path)).content == blob


async def _scrub(gateway: Composed, *, fetches_missing: bool = False) -> Scrubbed:
    return await scrubber(gateway.gateway).scrub(fetches_missing=fetches_missing)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "blobs" / "sha256").rglob("*") if path.is_file())


async def test_what_is_right_stays_as_it_is_and_counts_as_unused(tmp_path: Path, world: World) -> None:
    await _warm(tmp_path, world)
    for path in _files(tmp_path):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    async with serving(tmp_path, world.rules) as gateway:
        scrubbed = await _scrub(gateway)
        assert (scrubbed.files, scrubbed.manifests) == (5, 2)
        size_bytes = sum(path.stat().st_size for path in _files(tmp_path))
        assert scrubbed.size_bytes > size_bytes
        rest = replace(scrubbed, files=0, manifests=0, size_bytes=0)
        assert rest == Scrubbed(), "nothing damaged, missing or unnamed"
        assert {path.stat().st_atime for path in _files(tmp_path)} == {1_000_000_000}


@pytest.mark.parametrize("damage", EVERY_WAY)
async def test_every_file_is_healed_whatever_became_of_it(
    tmp_path: Path, world: World, damage: object
) -> None:
    assert callable(damage)
    await _warm(tmp_path, world)
    before = {path: path.read_bytes() for path in _files(tmp_path)}
    for path in before:
        damage(path)
    async with serving(tmp_path, world.rules) as gateway:
        scrubbed = await _scrub(gateway)
        assert (len(scrubbed.damaged), scrubbed.healed, scrubbed.unhealed) == (5, 5, [])
        await gateway.gateway.sources.helm.drain()
        assert {path: path.read_bytes() for path in _files(tmp_path)} == before
        assert (await _scrub(gateway)).damaged == []


def _damage_manifests(connection: Connection) -> None:
    for row in connection.execute(select(manifests)).all():
        spoilt = row.content.replace(b"schemaVersion", b"schemaVersioN")
        connection.execute(update(manifests).where(manifests.c.digest == row.digest).values(content=spoilt))


@pytest.mark.parametrize("is_first_asked", [True, False])
async def test_manifests_that_are_damaged_are_never_served_and_replaced(
    tmp_path: Path, world: World, is_first_asked: bool
) -> None:
    await _warm(tmp_path, world)
    async with serving(tmp_path, world.rules) as gateway:
        if is_first_asked:  # then they are in memory
            await gateway.manifest(DEMO, "1.0.0")
        gateway.gateway.storage.engines.write(_damage_manifests)
        scrubbed = await _scrub(gateway)
        assert (len(scrubbed.damaged), scrubbed.healed, scrubbed.unhealed) == (2, 2, [])
    world.repo.faults.status = world.registry.faults.status = 500
    async with serving(tmp_path, world.rules) as gateway:
        assert (await gateway.manifest(APP, str(IMAGE.digest))).content == IMAGE.manifest
        assert (await gateway.manifest(DEMO, "1.0.0")).status_code == 200
        assert (await _scrub(gateway)).damaged == []


async def test_a_damaged_manifest_is_fetched_again_by_tag_and_by_digest(tmp_path: Path, world: World) -> None:
    await _warm(tmp_path, world)
    async with serving(tmp_path, world.rules) as gateway:
        chart = (await gateway.manifest(DEMO, "1.0.0")).headers["docker-content-digest"]
    for name, references in ((DEMO, (chart, "1.0.0")), (APP, (str(IMAGE.digest), "1"))):
        for reference in references:
            async with serving(tmp_path, world.rules) as gateway:
                gateway.gateway.storage.engines.write(_damage_manifests)
                answer = await gateway.manifest(name, reference)
                assert answer.status_code == 200
                assert str(Digest.of(answer.content)) == answer.headers["docker-content-digest"]


async def test_offline_nothing_is_fetched_and_what_cannot_be_healed_is_told(
    tmp_path: Path, world: World
) -> None:
    await _warm(tmp_path, world)
    flip(place_of(tmp_path / "blobs", Digest.of(IMAGE.blobs[1])))
    asked_before = world.registry.count()
    async with serving(tmp_path, world.rules, settings=settings_of(tmp_path, offline=True)) as gateway:
        scrubbed = await _scrub(gateway)
        assert scrubbed.healed == 0
        (one,) = scrubbed.unhealed
        assert (one.digest, one.names) == (str(Digest.of(IMAGE.blobs[1])), (APP,))
        assert "offline" in one.reason
    assert world.registry.count() == asked_before


async def test_an_index_that_no_name_leads_to_any_more_is_told_by_its_url(
    tmp_path: Path, world: World
) -> None:
    await _warm(tmp_path, world)
    async with serving(tmp_path, world.rules) as gateway:
        with gateway.gateway.storage.engines.reader.connect() as connection:
            digest = Digest.parse(str(connection.execute(select(helm_indexes.c.digest)).scalar()))
    flip(place_of(tmp_path / "blobs", digest))
    async with serving(tmp_path, f"upstreams:\n{registry_line(world.registry.origin)}") as gateway:
        scrubbed = await _scrub(gateway)
        (one,) = scrubbed.unhealed
        assert (one.digest, one.names) == (str(digest), (f"{world.repo.url}/index.yaml",))


async def test_files_that_nothing_names_and_rows_without_a_file_are_counted_and_no_damage(
    tmp_path: Path, world: World
) -> None:
    await _warm(tmp_path, world)
    config, layer = (place_of(tmp_path / "blobs", Digest.of(blob)) for blob in IMAGE.blobs)
    async with serving(tmp_path, world.rules) as gateway:
        stray = await keep_bytes(gateway.gateway.storage.blobs, b"nobody names this")
        flip(place_of(tmp_path / "blobs", await keep_bytes(gateway.gateway.storage.blobs, b"nor this")))
        config.unlink()
        layer.unlink()
        scrubbed = await _scrub(gateway)
        assert (scrubbed.unnamed_files, scrubbed.missing_layers, scrubbed.missing_others) == (2, 1, 1)
        assert (len(scrubbed.damaged), scrubbed.unneeded, scrubbed.unhealed) == (1, 1, [])
        assert place_of(tmp_path / "blobs", stray).exists()
        scrubbed = await _scrub(gateway, fetches_missing=True)
        assert (scrubbed.fetched, scrubbed.missing_layers, scrubbed.missing_others) == (2, 0, 0)
        assert layer.read_bytes() == IMAGE.blobs[1]


async def test_a_blob_that_was_set_aside_is_neither_missing_nor_put_back(
    tmp_path: Path, world: World
) -> None:
    await _warm(tmp_path, world)
    digest = Digest.of(IMAGE.blobs[1])
    async with serving(tmp_path, world.rules) as gateway:
        disk = gateway.gateway.storage.disk
        assert disk.set_aside(digest, unused_since=2e10)
        scrubbed = await _scrub(gateway)
        assert (scrubbed.files, scrubbed.missing_layers, scrubbed.missing_others) == (4, 0, 0)
        assert [blob.digest for blob in disk.dying()] == [digest]


async def test_two_scrubs_at_once_beside_readers_harm_nobody(tmp_path: Path, world: World) -> None:
    await _warm(tmp_path, world)
    path = f"/v2/{APP}/blobs/{Digest.of(IMAGE.blobs[1])}"
    for place in _files(tmp_path):
        flip(place)
    async with serving(tmp_path, world.rules) as one, serving(tmp_path, world.rules) as other:
        readers = asyncio.gather(*(gateway.client.get(path) for gateway in (one, other) for _ in range(5)))
        first, second = await asyncio.gather(_scrub(one), _scrub(other))
        assert {(answer.status_code, answer.content) for answer in await readers} == {(200, IMAGE.blobs[1])}
        assert (first.unhealed, second.unhealed) == ([], [])
        assert (await _scrub(one)).damaged == []


async def test_a_scrub_is_due_once_a_week_and_first_within_a_week(tmp_path: Path, world: World) -> None:
    await _warm(tmp_path, world)
    note, clock = tmp_path / "scrubbed", Clock(2e9)
    async with serving(tmp_path, world.rules) as gateway:
        scrubbing = scrubber(gateway.gateway)
        await scrub_when_due(scrubbing, note, clock)
        first = note.stat().st_mtime
        assert clock.seconds - 7 * DAY <= first <= clock.seconds
        flip(place_of(tmp_path / "blobs", Digest.of(IMAGE.blobs[1])))
        clock.seconds = first + 7 * DAY - 1
        await scrub_when_due(scrubbing, note, clock)
        assert (await gateway.gateway.storage.disk.size(Digest.of(IMAGE.blobs[1]))) is not None
        assert list((tmp_path / "blobs" / "quarantine").iterdir()) == []
        clock.seconds += 1
        await scrub_when_due(scrubbing, note, clock)
        assert note.stat().st_mtime == clock.seconds
        assert world.registry.count_of_blob("team/app", Digest.of(IMAGE.blobs[1])) == 2
