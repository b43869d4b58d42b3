"""A blob on its way: read while it arrives, its end held back until the whole is known to be right."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.oci.digest import Digest
from gateway.oci.outcomes import Unavailable
from gateway.store.blobs import (
    WITHHELD_BYTES,
    BlobStore,
    DigestMismatch,
    MemoryBlobs,
    OpenBlob,
    TransferBroken,
)
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.transfer import Transfer
from tests.fakes.feeds import Feed
from tests.fakes.images import content_of

CONTENT = content_of("transfer", 4 * WITHHELD_BYTES + 5)
DIGEST = Digest.of(CONTENT)
HALF = CONTENT[: 2 * WITHHELD_BYTES]
READABLE = len(HALF) - WITHHELD_BYTES


@pytest.fixture(params=[MemoryBlobs, DirectoryBlobs])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return MemoryBlobs() if request.param is MemoryBlobs else DirectoryBlobs(tmp_path / "blobs")


@dataclass(frozen=True, slots=True)
class Running:
    """A transfer that receives beside the test, as a flight does."""

    transfer: Transfer
    task: "asyncio.Task[None]"
    opened: list[OpenBlob]

    def open(self) -> OpenBlob:
        self.opened.append(self.transfer.open())
        return self.opened[-1]


@asynccontextmanager
async def receiving(blobs: BlobStore, feed: Feed, content: bytes = CONTENT) -> AsyncIterator[Running]:
    digest = Digest.of(content)
    transfer = Transfer(blobs, digest, len(content))

    async def receive() -> None:
        try:
            async with blobs.create(digest, len(content)) as writer:
                await transfer.write(writer, feed.pieces())
            transfer.keep()
        except BaseException as error:
            transfer.fail(error)
            raise

    running = Running(transfer, asyncio.create_task(receive()), [])
    try:
        async with asyncio.timeout(5):
            yield running
    finally:
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
        for blob in running.opened:
            blob.close()


async def read_up_to(blob: OpenBlob, end: int, start: int = 0) -> bytes:
    content = b""
    while start + len(content) < end:
        piece = await blob.read(start + len(content), end - start - len(content))
        assert piece
        content += piece
    return content


async def is_waiting(reading: "asyncio.Task[bytes]") -> bool:
    """Whether it gets nothing, however often the loop comes round."""
    for _ in range(50):
        await asyncio.sleep(0)
    return not reading.done()


@pytest.mark.anyio
async def test_bytes_are_read_while_they_arrive_and_the_end_once_it_is_verified(blobs: BlobStore) -> None:
    feed = Feed(HALF)
    async with receiving(blobs, feed) as running:
        blob = running.open()
        assert await read_up_to(blob, READABLE) == CONTENT[:READABLE]
        rest = asyncio.create_task(read_up_to(blob, len(CONTENT), READABLE))
        assert await is_waiting(rest)
        feed.send(CONTENT[len(HALF) :])
        end = asyncio.create_task(running.open().read(len(CONTENT) - WITHHELD_BYTES, WITHHELD_BYTES))
        assert await is_waiting(end)  # all of it has arrived, and nobody has verified it
        feed.end()
        assert await rest == CONTENT[READABLE:]
        assert await end == CONTENT[-WITHHELD_BYTES:]


@pytest.mark.anyio
async def test_everybody_reads_the_same_from_wherever_they_begin(blobs: BlobStore) -> None:
    feed = Feed(HALF)
    async with receiving(blobs, feed) as running:
        opened = [running.open() for _ in range(50)]
        starts = [number * 1000 for number in range(50)]
        reading = [
            asyncio.create_task(read_up_to(blob, len(CONTENT), start))
            for blob, start in zip(opened, starts, strict=True)
        ]
        feed.send(CONTENT[len(HALF) :])
        feed.end()
        assert await asyncio.gather(*reading) == [CONTENT[start:] for start in starts]


@pytest.mark.parametrize("size", [1, WITHHELD_BYTES - 1, WITHHELD_BYTES, WITHHELD_BYTES + 1])
@pytest.mark.anyio
async def test_of_a_small_blob_next_to_nothing_comes_before_it_is_verified(
    size: int, blobs: BlobStore
) -> None:
    content, feed = CONTENT[:size], Feed(CONTENT[:size])
    async with receiving(blobs, feed, content) as running:
        readable = max(size - WITHHELD_BYTES, 0)
        blob = running.open()
        assert await read_up_to(blob, readable) == content[:readable]
        rest = asyncio.create_task(read_up_to(blob, size, readable))
        assert await is_waiting(rest)
        assert running.transfer.has_begun == bool(readable)  # else whoever waits may still be told an error
        feed.end()
        assert await rest == content[readable:]
        assert running.transfer.has_begun


@pytest.mark.anyio
async def test_an_empty_blob_is_kept_like_any_other(blobs: BlobStore) -> None:
    feed = Feed()
    feed.end()
    async with receiving(blobs, feed, b"") as running:
        await running.task
        assert await running.open().read(0, 1) == b""
    assert await blobs.size(Digest.of(b"")) == 0


@pytest.mark.anyio
async def test_wrong_bytes_reach_nobody_whole_and_are_not_kept(blobs: BlobStore) -> None:
    feed = Feed(CONTENT[:-1], bytes([CONTENT[-1] ^ 1]))
    async with receiving(blobs, feed) as running:
        blob, late = running.open(), running.open()
        safe = len(CONTENT) - WITHHELD_BYTES
        assert await read_up_to(blob, safe) == CONTENT[:safe]
        feed.end()
        for reader, offset in ((blob, safe), (late, safe), (late, len(CONTENT) - 1)):
            with pytest.raises(TransferBroken):
                await reader.read(offset, 1)
        with pytest.raises(DigestMismatch):
            await running.task
    assert await blobs.size(DIGEST) is None


@pytest.mark.anyio
async def test_what_breaks_off_is_broken_for_all_who_read_and_all_who_wait(blobs: BlobStore) -> None:
    feed = Feed(HALF)
    async with receiving(blobs, feed) as running:
        ahead, behind = running.open(), running.open()
        await read_up_to(ahead, READABLE)
        waiting = asyncio.create_task(ahead.read(READABLE, 1))
        assert await is_waiting(waiting)
        feed.break_off(Unavailable("it broke off"))
        with pytest.raises(TransferBroken, match="it broke off"):
            await waiting
        with pytest.raises(TransferBroken, match="it broke off"):
            await behind.read(0, 1)
    assert await blobs.size(DIGEST) is None


@pytest.mark.anyio
async def test_a_reader_that_left_in_the_middle_of_a_read_holds_nothing_up(blobs: BlobStore) -> None:
    feed = Feed(HALF)
    async with receiving(blobs, feed) as running:
        leaving = [asyncio.create_task(running.open().read(offset, 1)) for offset in (0, READABLE)]
        assert await is_waiting(leaving[1])
        for reading in leaving:
            reading.cancel()
        feed.send(CONTENT[len(HALF) :])
        feed.end()
        await running.task
        assert await read_up_to(running.open(), len(CONTENT)) == CONTENT


@pytest.mark.anyio
async def test_the_stored_blob_that_vanished_again_is_an_error_and_no_end(blobs: BlobStore) -> None:
    feed = Feed(CONTENT)
    feed.end()
    async with receiving(blobs, feed) as running:
        await running.task
        blob = running.open()
        await blobs.delete(DIGEST)
        with pytest.raises(TransferBroken, match="gone again"):
            await blob.read(0, 1)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, len(CONTENT)), max_size=12), reads=st.integers(1000, len(CONTENT)))
def test_however_it_is_cut_the_bytes_are_right_or_there_is_an_error(cuts: list[int], reads: int) -> None:
    edges = [0, *sorted(cuts), len(CONTENT)]
    pieces = [CONTENT[start:stop] for start, stop in pairwise(edges)]

    async def read(last: bytes) -> bytes:
        blobs, feed = MemoryBlobs(), Feed(*pieces[:-1], pieces[-1][:-1] + last if pieces[-1] else b"")
        feed.end()
        content = b""
        async with receiving(blobs, feed) as running:
            blob = running.open()
            while len(content) < len(CONTENT):
                content += await blob.read(len(content), min(reads, len(CONTENT) - len(content)))
        return content

    assert asyncio.run(read(CONTENT[-1:])) == CONTENT
    if pieces[-1]:
        with pytest.raises(TransferBroken):
            asyncio.run(read(bytes([CONTENT[-1] ^ 1])))
