"""An index on the shelf is read once for many charts, and does not stay in memory."""

import asyncio

import pytest

from gateway.helm.shelved import ShelvedIndex
from gateway.oci.digest import Digest
from gateway.sources.index_reader import IndexReader, LoadedIndex, Wanted
from tests.fakes.index_maker import make_index

INDEX = make_index(charts=8, size_bytes=20_000)
LOADED = LoadedIndex(ShelvedIndex("https://charts.example/index.yaml", Digest.of(INDEX), None, None, 0.0))


class CountingShelf:
    """Holds one index; ``reads`` counts how often it was asked for."""

    def __init__(self) -> None:
        self.reads = 0

    async def read(self, digest: Digest) -> bytes | None:
        self.reads += 1
        await asyncio.sleep(0)
        return INDEX if digest == Digest.of(INDEX) else None

    async def keep_normalised(self, digest: Digest, normalised: bytes) -> Digest:
        raise AssertionError("the quick way is enough")


@pytest.fixture
def shelf() -> CountingShelf:
    return CountingShelf()


async def _find(reader: IndexReader, number: int) -> str:
    entries = await reader.entries(LOADED, Wanted(f"chart-{number:03d}"))
    return entries.versions[0].name


@pytest.mark.anyio
async def test_charts_asked_for_at_once_read_their_index_once(shelf: CountingShelf) -> None:
    reader = IndexReader(shelf)
    found = await asyncio.gather(*(_find(reader, number) for number in range(8)))
    await reader.drain()
    assert (found, shelf.reads) == ([f"chart-{number:03d}" for number in range(8)], 1)


@pytest.mark.anyio
async def test_charts_asked_for_in_a_row_read_their_index_once(shelf: CountingShelf) -> None:
    reader = IndexReader(shelf)
    for number in range(8):
        await _find(reader, number)
    await reader.drain()
    assert shelf.reads == 1


@pytest.mark.anyio
async def test_an_index_is_let_go_once_its_time_is_up(shelf: CountingShelf) -> None:
    reader = IndexReader(shelf, open_seconds=0)
    for number in range(3):
        await _find(reader, number)
    assert shelf.reads == 3
