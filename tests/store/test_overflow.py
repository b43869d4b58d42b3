"""Blobs while the disk refuses: nobody who writes or reads them notices, and they reach it in the end."""

import asyncio
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.store.blobs import DigestMismatch, StorageFull, TooLarge, keep_bytes, read_whole
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.conditions import Condition, Conditions
from gateway.store.in_memory import LARGEST_BYTES
from gateway.store.overflow import MEMORY_BYTES, OverflowBlobs
from tests.fakes.full_disk import FullDisk
from tests.pull_house import until

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # a quarter of a gigabyte goes through memory

CONTENT = b"wanted"
WANTED = Digest.of(CONTENT)
ROOM = 1 << 20


class House:
    """A disk, what stands before it, and the pause between two attempts, which a test ends."""

    def __init__(self, room_bytes: int = ROOM) -> None:
        self.disk = FullDisk(room_bytes)
        self.conditions = Conditions(lambda: 0.0)
        self.may_write = "yes"
        self.pauses: asyncio.Queue[asyncio.Event] = asyncio.Queue()
        self.blobs = OverflowBlobs(self.disk, self.conditions, lambda: bool(self.may_write), self.sleep)

    async def next_attempt(self) -> None:
        """Let the disk be tried again, and wait until it was."""
        (await self.pauses.get()).set()
        for _ in range(50):
            await asyncio.sleep(0)

    async def sleep(self, _seconds: float) -> None:
        pause = asyncio.Event()
        self.pauses.put_nowait(pause)
        await pause.wait()


async def has_recovered(at: House) -> bool:
    await asyncio.sleep(0)
    return not at.conditions.told()


async def test_what_the_disk_takes_is_on_the_disk() -> None:
    at = House()
    await keep_bytes(at.blobs, CONTENT)
    assert await at.disk.size(WANTED) == len(CONTENT)
    assert at.conditions.told() == {}


@pytest.mark.parametrize("room_bytes", [0, 1, 4, 5])
async def test_what_it_refuses_is_held_until_it_takes_it(room_bytes: int) -> None:
    at = House(room_bytes)
    async with at.blobs.create(WANTED, len(CONTENT)) as writer:
        for start in range(0, len(CONTENT), 2):
            await writer.write(CONTENT[start : start + 2])
            assert await writer.written(0, 100) == CONTENT[: start + 2]
        assert (writer.size, writer.digest) == (len(CONTENT), WANTED)
    assert Condition.DISK_FULL in at.conditions.told()
    assert await at.disk.size(WANTED) is None
    assert await at.blobs.size(WANTED) == len(CONTENT)
    assert await read_whole(at.blobs, WANTED) == CONTENT
    await at.next_attempt()
    assert Condition.DISK_FULL in at.conditions.told()
    at.disk.room_bytes = ROOM
    await at.next_attempt()
    assert at.conditions.told() == {}
    assert await at.disk.size(WANTED) == len(CONTENT)
    assert await read_whole(at.blobs, WANTED) == CONTENT


async def test_a_disk_that_fails_at_the_very_end_loses_nothing() -> None:
    at = House()
    at.disk.keeps_nothing = "the disk does not sync"
    assert await keep_bytes(at.blobs, CONTENT) == WANTED
    assert Condition.BLOBS_UNWRITABLE in at.conditions.told()
    assert await read_whole(at.blobs, WANTED) == CONTENT
    await at.blobs.close()


async def test_who_is_cancelled_at_the_very_end_has_left_the_disk(tmp_path: Path) -> None:
    """It holds the partial file, its lock, and an open file."""
    blobs = OverflowBlobs(DirectoryBlobs(tmp_path), Conditions(lambda: 0.0))
    writing = blobs.create(WANTED)
    writer = await writing.__aenter__()
    await writer.write(CONTENT)
    leaving = asyncio.create_task(writing.__aexit__(None, None, None))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert list((tmp_path / "partial").iterdir()) == []
    assert await blobs.size(WANTED) is None


async def test_a_disk_whose_rest_is_for_the_catalog_is_not_written() -> None:
    at = House()
    at.may_write = ""
    await keep_bytes(at.blobs, CONTENT)
    await at.next_attempt()
    assert await at.disk.size(WANTED) is None
    at.may_write = "yes"
    await at.next_attempt()
    assert await at.disk.size(WANTED) == len(CONTENT)


async def test_other_bytes_and_too_many_are_refused_in_memory_too() -> None:
    at = House(0)
    with pytest.raises(DigestMismatch):
        async with at.blobs.create(Digest.of(b"other")) as writer:
            await writer.write(CONTENT)
    with pytest.raises(TooLarge):
        async with at.blobs.create(limit_bytes=3) as writer:
            await writer.write(CONTENT)
    assert await at.blobs.size(WANTED) is None
    await at.blobs.close()


async def test_what_is_too_large_for_memory_is_refused_at_once_where_that_is_known() -> None:
    at = House(0)
    await keep_bytes(at.blobs, CONTENT)
    with pytest.raises(StorageFull):
        async with at.blobs.create(WANTED, LARGEST_BYTES + 1):
            pytest.fail("it was let in")
    with pytest.raises(StorageFull):
        async with at.blobs.create() as writer:
            await writer.write(bytes(LARGEST_BYTES + 1))
    await at.blobs.close()


async def test_memory_is_bounded_for_what_is_held_and_for_what_is_on_its_way() -> None:
    at, large = House(0), bytes(LARGEST_BYTES)
    first = await keep_bytes(at.blobs, large)
    for number in range(MEMORY_BYTES // LARGEST_BYTES):
        await keep_bytes(at.blobs, large[:-1] + bytes([number + 1]))
    assert await at.blobs.size(first) is None  # gone, and fetched again by who asks
    async with at.blobs.create() as one, at.blobs.create() as another:
        await one.write(large)
        await another.write(large)
        with pytest.raises(StorageFull):
            async with at.blobs.create() as third:
                await third.write(b"a")
    await at.blobs.close()


async def test_what_was_forgotten_is_not_written_down() -> None:
    at = House(0)
    await keep_bytes(at.blobs, CONTENT)
    await at.blobs.delete(WANTED)
    assert await at.blobs.open(WANTED) is None
    at.disk.room_bytes = ROOM
    await at.next_attempt()
    assert await at.disk.size(WANTED) is None


async def test_a_real_directory_takes_again_what_it_refused(tmp_path: Path) -> None:
    """Its partial files are in the way: a file is where their folder should be."""
    at = House()
    directory = DirectoryBlobs(tmp_path / "blobs")
    blobs = OverflowBlobs(directory, at.conditions, sleep=at.sleep)
    partial = tmp_path / "blobs" / "partial"
    partial.rmdir()
    partial.write_text("in the way")
    await keep_bytes(blobs, CONTENT)
    assert Condition.BLOBS_UNWRITABLE in at.conditions.told()
    partial.unlink()
    partial.mkdir()
    (await at.pauses.get()).set()
    await until(lambda: has_recovered(at))
    assert await directory.size(WANTED) == len(CONTENT)
    assert list(partial.iterdir()) == []
