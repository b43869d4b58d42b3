"""The shelf: the last good index of each URL, its bytes among the blobs, old ones forgotten."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.helm.shelved import ShelvedIndex
from gateway.oci.digest import Digest
from gateway.store.blobs import MemoryBlobs, StorageFailed
from gateway.store.engine import Engines, open_sqlite
from gateway.store.index_shelf import IndexShelf

pytestmark = pytest.mark.anyio

URL = "https://charts.example.test/index.yaml"
MIRROR = "https://mirror.example.test/index.yaml"
OLD, NEW = b"entries: {}\n", b"entries: {a: []}\n"


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def shelf(engines: Engines, blobs: MemoryBlobs) -> IndexShelf:
    return IndexShelf(engines, blobs)


def shelved(content: bytes, url: str = URL) -> ShelvedIndex:
    return ShelvedIndex(url, Digest.of(content), '"etag"', "Mon, 06 May 2024 07:08:09 GMT", 1000.0)


async def test_what_is_kept_is_found_by_its_url_and_read_by_its_digest(shelf: IndexShelf) -> None:
    assert await shelf.find(URL) is None
    await shelf.keep(shelved(OLD), OLD)
    assert await shelf.find(URL) == shelved(OLD)
    assert await shelf.find(MIRROR) is None
    assert await shelf.read(Digest.of(OLD)) == OLD
    assert await shelf.read(Digest.of(NEW)) is None


async def test_what_is_replaced_is_forgotten(shelf: IndexShelf) -> None:
    await shelf.keep(shelved(OLD), OLD)
    await shelf.keep(shelved(NEW), NEW)
    assert await shelf.find(URL) == shelved(NEW)
    assert await shelf.read(Digest.of(OLD)) is None


async def test_what_another_url_has_too_stays(shelf: IndexShelf) -> None:
    await shelf.keep(shelved(OLD), OLD)
    await shelf.keep(shelved(OLD, MIRROR), OLD)
    await shelf.keep(shelved(NEW), NEW)
    assert await shelf.read(Digest.of(OLD)) == OLD
    assert await shelf.find(MIRROR) == shelved(OLD, MIRROR)


async def test_the_same_index_again_stays_readable(shelf: IndexShelf) -> None:
    await shelf.keep(shelved(OLD), OLD)
    await shelf.keep(replace(shelved(OLD), confirmed_at=2000.0), OLD)
    found = await shelf.find(URL)
    assert found is not None
    assert found.confirmed_at == 2000.0
    assert await shelf.read(Digest.of(OLD)) == OLD


async def test_a_normal_form_belongs_to_its_index_and_goes_with_it(shelf: IndexShelf) -> None:
    await shelf.keep(shelved(OLD), OLD)
    normal = await shelf.keep_normalised(Digest.of(OLD), b"the normal form")
    assert await shelf.find(URL) == replace(shelved(OLD), normalised_digest=normal)
    assert await shelf.read(normal) == b"the normal form"
    await shelf.keep(shelved(NEW), NEW)
    assert await shelf.read(normal) is None


async def test_confirmations_and_forced_asks_are_noted(shelf: IndexShelf) -> None:
    await shelf.keep(shelved(OLD), OLD)
    await shelf.confirm(URL, 2000.0)
    await shelf.note_forced(URL, 3000.0)
    assert await shelf.find(URL) == replace(shelved(OLD), confirmed_at=2000.0, forced_at=3000.0)


async def test_an_index_without_validators_is_kept_without(shelf: IndexShelf) -> None:
    bare = replace(shelved(OLD), etag=None, last_modified=None)
    await shelf.keep(bare, OLD)
    assert await shelf.find(URL) == bare


async def test_a_catalog_that_is_gone_is_a_failure_of_storage(tmp_path: Path, blobs: MemoryBlobs) -> None:
    engines = open_sqlite(tmp_path / "gone" / "catalog.sqlite3")
    shelf = IndexShelf(engines, blobs)
    with pytest.raises(StorageFailed):
        await shelf.find(URL)
    with pytest.raises(StorageFailed):
        await shelf.keep(shelved(OLD), OLD)
    with pytest.raises(StorageFailed):
        await shelf.confirm(URL, 1.0)
    engines.dispose()
