"""What is held crosses the gap: names, tags, digests and rules; whole, or it is said what is lacking."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from gateway.bundle_export import ExportFailed, ExportOptions
from gateway.bundle_selection import NotWhole
from gateway.bundle_tar import read_earlier
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.outcomes import Unavailable
from gateway.oci.postgres_url import PostgresUrl
from gateway.oci.target import Target
from gateway.store import private_targets
from gateway.store.blobs import MemoryBlobs
from gateway.store.import_rows import Fate
from gateway.store.tables import manifests, rights, tags
from tests.bundle_house import import_house
from tests.export_house import ExportHouse, Gathering, Made, export_house
from tests.fakes.source import FakeSource, layer_of
from tests.ruled_puller import Ruled, ruled

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

DEMO, OTHER = "charts.example.test/stable/demo", "charts.example.test/stable/other"
SHORT = 'rules:\n  - {repository: "short/*", rewrite: "charts.example.test/stable/$1"}\n'


def source(*versions: str, of: str = "") -> FakeSource:
    return FakeSource(MemoryBlobs(), {version: layer_of(version, of) for version in versions})


@pytest.fixture
async def house(tmp_path: Path, database: PostgresUrl | None) -> AsyncIterator[ExportHouse]:
    folder = tmp_path / "here"
    folder.mkdir()
    world = {DEMO: source("1.0.0", "2.0.0"), OTHER: source("1.0.0", of="other")}
    async with ruled(folder, SHORT, world, database=database) as at, export_house(at) as house:
        yield house


async def pull_whole(at: Ruled, name: str, tag: str) -> Digest:
    pulled = await at.pulled(name, tag)
    await at.read(name, Digest.of(layer_of(tag, "other" if "other" in name else "")))
    return pulled.manifest.digest


async def fates(made: Made, folder: Path) -> dict[str, Fate]:
    """What became of each tag in a gateway that held nothing."""
    async with import_house(folder) as there:
        report = await there.take(made.content)
        return {f"{one.row.target}:{one.row.tag}": one.fate for one in report.tags}


async def test_all_that_is_held_is_what_arrives(house: ExportHouse, tmp_path: Path) -> None:
    digest = await pull_whole(house.at, "short/demo", "1.0.0")
    await pull_whole(house.at, OTHER, "1.0.0")
    made = await house.made(await house.selector.all())
    assert (made.exported.targets, made.exported.tags, made.exported.skipped) == (2, 2, [])
    async with import_house(tmp_path / "there") as there:
        await there.take(made.content)
        (row,) = await there.storage.catalog.find_tags(Target.parse(DEMO), "plain", "1.0.0")
        assert (row.digest, row.origin) == (digest, (await house.at.catalog.held())[0].row.origin)
        assert await there.storage.catalog.names_at(Target.parse(DEMO)) == ["short/demo"]
        assert await there.storage.disk.size(Digest.of(layer_of("1.0.0"))) is not None


async def test_the_same_selection_gives_the_same_bytes(house: ExportHouse) -> None:
    await pull_whole(house.at, DEMO, "1.0.0")
    for compressed in ("", "zstd"):
        first, second = [
            await house.made(await house.selector.all(), compressed=compressed) for _ in range(2)
        ]
        assert first.content == second.content


async def test_references_bring_what_they_name_and_nothing_else(house: ExportHouse, tmp_path: Path) -> None:
    for name, tag in ((DEMO, "1.0.0"), (DEMO, "2.0.0"), (OTHER, "1.0.0")):
        await pull_whole(house.at, name, tag)
    assert await fates(await house.made(await house.of(f"{DEMO}:2.0.0")), tmp_path / "a") == {
        f"{DEMO}:2.0.0": Fate.ADDED
    }
    both = await house.made(await house.of(DEMO))
    assert [*await fates(both, tmp_path / "b")] == [f"{DEMO}:1.0.0", f"{DEMO}:2.0.0"]


async def test_a_reference_that_is_not_held_is_named(house: ExportHouse) -> None:
    with pytest.raises(OciError, match=f"{DEMO}:9 is not held: `gateway pull {DEMO}:9` fetches it"):
        await house.of(f"{DEMO}:9")


async def test_what_is_not_held_is_left_out_where_that_is_allowed(house: ExportHouse) -> None:
    await pull_whole(house.at, DEMO, "1.0.0")
    selected = await house.of(f"{DEMO}:9", f"{DEMO}:1.0.0", skips="yes")
    assert list(selected.references) == [f"{DEMO}:1.0.0"]
    assert [str(one) for one in selected.skipped] == [f"{DEMO}:9: is not held"]


async def test_a_list_brings_what_it_keeps(house: ExportHouse) -> None:
    for tag in ("1.0.0", "2.0.0"):
        await pull_whole(house.at, DEMO, tag)
    await house.retain("mine", DEMO, ["2.0.0"])
    selected = await house.selector.of_list("mine")
    assert list(selected.references) == [f"{DEMO}:2.0.0"]
    with pytest.raises(OciError, match="no list called 'other' has brought anything"):
        await house.selector.of_list("other")


async def test_a_layer_that_was_evicted_is_fetched_first(house: ExportHouse) -> None:
    await pull_whole(house.at, DEMO, "1.0.0")
    layer = Digest.of(layer_of("1.0.0"))
    house.at.blob_path(layer).unlink()
    selected = await house.of(f"{DEMO}:1.0.0")
    assert layer in selected.blobs
    assert house.at.blob_path(layer).exists()


async def test_what_cannot_be_fetched_is_named_or_left_out(house: ExportHouse) -> None:
    for tag in ("1.0.0", "2.0.0"):
        await pull_whole(house.at, DEMO, tag)
    layer = Digest.of(layer_of("1.0.0"))
    house.at.blob_path(layer).unlink()
    house.at.upstreams.by_target[DEMO].failure = Unavailable("down")
    house.at.upstreams.by_target[DEMO].layers.clear()
    with pytest.raises(NotWhole, match=f"{DEMO}:1.0.0: {layer}"):
        await house.of(DEMO)
    selected = await house.of(DEMO, skips="yes")
    assert list(selected.references) == [f"{DEMO}:2.0.0"]
    assert [one.place for one in selected.skipped] == [f"{DEMO}:1.0.0"]


async def test_of_everything_what_is_not_whole_is_skipped_and_named(house: ExportHouse) -> None:
    for tag in ("1.0.0", "2.0.0"):
        await pull_whole(house.at, DEMO, tag)
    layer = Digest.of(layer_of("1.0.0"))
    house.at.blob_path(layer).unlink()
    made = await house.made(await house.selector.all())
    assert made.exported.skipped == [f"{DEMO}:1.0.0: {layer} is no more held"]
    assert not house.at.blob_path(layer).exists()


async def test_a_damaged_blob_never_leaves(house: ExportHouse) -> None:
    await pull_whole(house.at, DEMO, "1.0.0")
    path = house.at.blob_path(Digest.of(layer_of("1.0.0")))
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(
        ExportFailed, match=f"{DEMO}:1.0.0 cannot be exported: .* is damaged; `gateway scrub`"
    ):
        await house.made(await house.selector.all())


async def test_a_damaged_manifest_never_leaves(house: ExportHouse) -> None:
    await pull_whole(house.at, DEMO, "1.0.0")
    selected = await house.selector.all()
    with house.engines.writing() as connection:
        connection.execute(update(manifests).values(content=b"{}"))
    with pytest.raises(ExportFailed, match="is damaged"):
        await house.made(selected)


async def test_what_another_target_gave_is_no_right_of_this_one(house: ExportHouse) -> None:
    """A manifest that names a blob gives no right to it, neither here nor there."""
    await pull_whole(house.at, DEMO, "1.0.0")
    digest = await house.at.pull(OTHER, "1.0.0")
    with house.engines.writing() as connection:
        lost = (rights.c.target == OTHER) & (rights.c.digest != str(digest))
        connection.execute(delete(rights).where(lost))
    selected = await house.selector.all()
    assert [one.target for one in selected.targets] == [DEMO]


async def test_what_is_private_stays_private(house: ExportHouse, tmp_path: Path) -> None:
    await pull_whole(house.at, DEMO, "1.0.0")
    await house.at.catalog.note_private(Target.parse(DEMO), 1.0)
    made = await house.made(await house.selector.all())
    async with import_house(tmp_path / "there") as there:
        await there.take(made.content)
        assert await there.storage.engines.ask(private_targets.names) == {DEMO}


async def test_the_rules_are_inside_without_credentials(house: ExportHouse) -> None:
    made = await house.made(await house.selector.all())
    assert b"GATEWAY_SECRET" not in made.content
    assert "password_env: ••••••".encode() in made.content


async def test_a_difference_has_what_is_new(house: ExportHouse, tmp_path: Path) -> None:
    await pull_whole(house.at, DEMO, "1.0.0")
    first = await house.made(await house.selector.all())
    await pull_whole(house.at, DEMO, "2.0.0")
    earlier = read_earlier(io.BytesIO(first.content))
    second = await house.made(await house.selector.all(), earlier)
    assert second.exported.since == str(earlier.index)
    assert (second.exported.tags, second.exported.left_out) == (1, 3)  # 1.0.0 with its config, and its layer
    async with import_house(tmp_path / "there") as there:
        await there.take(first.content)
        report = await there.take(second.content)
        assert [one.row.tag for one in report.tags_that_are(Fate.ADDED)] == ["2.0.0"]


async def test_nothing_new_is_a_bundle_all_the_same(house: ExportHouse, tmp_path: Path) -> None:
    await pull_whole(house.at, DEMO, "1.0.0")
    first = await house.made(await house.selector.all())
    second = await house.made(await house.selector.all(), read_earlier(io.BytesIO(first.content)))
    assert second.exported.is_empty
    assert await fates(second, tmp_path / "there") == {}


async def test_what_was_made_here_is_made_anew_there(house: ExportHouse) -> None:
    await pull_whole(house.at, DEMO, "1.0.0")
    with house.engines.writing() as connection:
        for table in (tags, rights):
            connection.execute(update(table).values(variant="dependencies@charts.example"))
    assert (await house.made(await house.selector.all())).exported.is_empty


class Stuck(Gathering):
    """A sink that takes nothing more until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.get_running_loop()
        self.began = asyncio.Event()
        self.may_go_on = threading.Event()

    def write(self, content: memoryview) -> None:
        self.loop.call_soon_threadsafe(self.began.set)
        self.may_go_on.wait()
        super().write(content)


async def test_who_leaves_stops_the_threads(house: ExportHouse) -> None:
    await pull_whole(house.at, DEMO, "1.0.0")
    selected = await house.selector.all()
    sink = Stuck()
    work = asyncio.create_task(house.exporter.export(selected, sink, ExportOptions()))
    await sink.began.wait()
    work.cancel()
    for _ in range(5):
        await asyncio.sleep(0)  # it hears of it
    sink.may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert len(sink.content) < len((await house.made(selected)).content)
