"""Blobs that cannot be kept: they pass through to whoever asks, whole and verified, or not to their end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode
from gateway.passing import PassThrough
from gateway.pulled import Cache
from gateway.rules.route import Wanted
from gateway.store.blobs import WITHHELD_BYTES, TransferBroken
from gateway.store.conditions import Conditions
from gateway.store.overflow import OverflowBlobs
from tests.blob_house import DIGEST, DOWN, HALF, LAYER, READABLE, WRONG, code_in, rest_of
from tests.fakes.feeds import Feed, feeding
from tests.fakes.full_disk import FullDisk
from tests.pull_house import DEMO, until
from tests.pull_process import process

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # many small tests, seconds together


async def test_a_blob_that_the_disk_does_not_take_at_all_passes_through(tmp_path: Path) -> None:
    disk, source = FullDisk(1 << 20), feeding(LAYER)
    async with process(tmp_path, [source], blobs=disk) as at:
        await at.pull()
        disk.room_bytes = 0
        for _ in range(2):
            pulled = await at.puller.blob(Wanted(DEMO), DIGEST)
            assert pulled.cache is not Cache.HIT
            assert await rest_of(pulled) == LAYER
        assert await disk.size(DIGEST) is None
        disk.room_bytes = 1 << 20

        async def is_kept() -> bool:
            """Not by who joins a flight that passes it through, and is landing still."""
            assert await at.read(DIGEST) == LAYER
            return await disk.size(DIGEST) == len(LAYER)

        await until(is_kept)


@pytest.mark.parametrize("is_warm", [True, False])
async def test_of_what_memory_gives_up_while_it_is_read_the_rest_comes_from_upstream(
    tmp_path: Path, is_warm: bool
) -> None:
    blobs, source = OverflowBlobs(FullDisk(0), Conditions(lambda: 0.0)), feeding(LAYER)
    async with process(tmp_path, [source], blobs=blobs) as at:
        await at.pull()
        if is_warm:
            assert await at.read(DIGEST) == LAYER
        pulled = await at.puller.blob(Wanted(DEMO), DIGEST)
        start = await pulled.blob.read(0, 1000)
        assert await at.read(DIGEST) == LAYER
        await blobs.delete(DIGEST)
        assert start + await rest_of(pulled, len(start)) == LAYER
    await blobs.close()


async def test_a_disk_that_fills_up_on_the_way_cuts_nobody_short_and_nothing_is_kept(tmp_path: Path) -> None:
    disk, source, feed = FullDisk(len(HALF)), feeding(LAYER), Feed(HALF)
    source.feeds = [feed]
    async with process(tmp_path, [source], blobs=disk) as at:
        await at.pull()
        opened = [await at.puller.blob(Wanted(DEMO), DIGEST) for _ in range(3)]
        starts = [await one.blob.read(0, size) for one, size in zip(opened, (1, 1000, 1 << 20), strict=True)]
        feed.send(LAYER[len(HALF) :])
        rests = await asyncio.gather(*(rest_of(*one) for one in zip(opened, map(len, starts), strict=True)))
        assert {start + rest for start, rest in zip(starts, rests, strict=True)} == {LAYER}
        assert await disk.size(DIGEST) is None
        disk.room_bytes = 1 << 20
        assert await at.read(DIGEST) == LAYER


async def test_what_was_received_before_the_disk_filled_up_is_never_completed_with_other_bytes(
    tmp_path: Path,
) -> None:
    """Upstream lied at first: what it sends now is the blob, and does not go with what a client has."""
    disk, source, feed = FullDisk(len(HALF)), feeding(LAYER), Feed(WRONG[::-1][: len(HALF)])
    source.feeds = [feed]
    async with process(tmp_path, [source], blobs=disk) as at:
        await at.pull()
        pulled = await at.puller.blob(Wanted(DEMO), DIGEST)
        start = await pulled.blob.read(0, 1 << 20)
        assert start == WRONG[::-1][:READABLE]
        feed.send(LAYER[len(HALF) :])
        with pytest.raises(TransferBroken, match="other bytes"):
            await rest_of(pulled, len(start))


async def test_an_upstream_that_refuses_what_cannot_be_kept_is_told_as_ever(tmp_path: Path) -> None:
    disk, source = FullDisk(1 << 20), feeding(LAYER)
    async with process(tmp_path, [source], blobs=disk) as at:
        await at.pull()
        disk.room_bytes = 0
        source.blob_failure = DOWN
        assert await code_in(at) is ErrorCode.UNAVAILABLE


async def test_a_disk_that_fills_up_before_anything_could_be_read_is_no_outage(tmp_path: Path) -> None:
    disk, source = FullDisk(WITHHELD_BYTES), feeding(LAYER)
    source.feeds = [Feed(HALF)]
    async with process(tmp_path, [source], blobs=disk) as at:
        await at.pull()
        assert await at.read(DIGEST) == LAYER


@asynccontextmanager
async def passing(*pieces: bytes) -> AsyncIterator[PassThrough]:
    """LAYER, as far as these pieces are its own, for one reader."""
    feed = Feed(*pieces)
    feed.end()

    @asynccontextmanager
    async def opening() -> AsyncIterator[AsyncIterator[bytes]]:
        yield feed.pieces()

    blob = PassThrough(opening, Descriptor("", DIGEST, len(LAYER)))
    try:
        async with asyncio.timeout(10):
            yield blob
    finally:
        blob.close()
        await asyncio.gather(blob.task, return_exceptions=True)


@pytest.mark.parametrize("start", [0, 1, READABLE, len(LAYER) - WITHHELD_BYTES, len(LAYER) - 1])
@pytest.mark.parametrize("length", [1, 2, WITHHELD_BYTES, len(LAYER)])
async def test_any_range_comes_and_the_end_once_the_whole_is_right(start: int, length: int) -> None:
    stop = min(start + length, len(LAYER))
    async with passing(LAYER[:1000], LAYER[1000:]) as blob:
        content = b""
        while start + len(content) < stop:
            content += await blob.read(start + len(content), stop - start - len(content))
        assert content == LAYER[start:stop]
        if stop < blob.size:
            assert await blob.read(blob.size - 1, 1) == LAYER[-1:]
        assert await blob.read(blob.size, 1) == b""


@pytest.mark.parametrize("pieces", [(WRONG,), (LAYER[:-1],), (HALF,), ()])
async def test_of_what_is_wrong_or_cut_nobody_gets_the_end(pieces: tuple[bytes, ...]) -> None:
    async with passing(*pieces) as blob:
        received: list[bytes] = []
        with pytest.raises(TransferBroken):
            await _read_all(blob, received)
        assert len(b"".join(received)) <= len(LAYER) - WITHHELD_BYTES


async def _read_all(blob: PassThrough, received: list[bytes]) -> None:
    while piece := await blob.read(sum(map(len, received)), 1 << 20):
        received.append(piece)


async def test_what_was_read_is_not_read_again() -> None:
    async with passing(LAYER) as blob:
        assert await blob.read(0, 10) == LAYER[:10]
        with pytest.raises(TransferBroken, match="once"):
            await blob.read(5, 1)


async def test_no_more_is_fetched_ahead_than_a_reader_will_have_soon() -> None:
    given = 0
    large = bytes(64 << 10)

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += len(large)
            yield large

    @asynccontextmanager
    async def opening() -> AsyncIterator[AsyncIterator[bytes]]:
        yield endless()

    blob = PassThrough(opening, Descriptor("", Digest.of(b""), 1 << 40))
    try:
        assert await blob.read(0, 1) == b"\0"
        for _ in range(200):
            await asyncio.sleep(0)
        assert given < 4 << 20
    finally:
        blob.close()
        await asyncio.gather(blob.task, return_exceptions=True)
