"""A blob read along: its bytes while they arrive, its end once verified, a failure where it never will be."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.store.blobs import WITHHELD_BYTES, BlobWriter, DigestMismatch, OpenBlob, TransferBroken
from gateway.store.blobs_directory import DirectoryBlobs

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

CONTENT = os.urandom(100_000)
WANTED = Digest.of(CONTENT)
BEFORE_THE_END = len(CONTENT) - WITHHELD_BYTES


class Clock:
    """Ten seconds pass in each pause of a reader."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    async def sleep(self, _seconds: float) -> None:
        self.seconds += 10
        await asyncio.sleep(0)


async def at_once(_seconds: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def writing(root: Path) -> DirectoryBlobs:
    return DirectoryBlobs(root, linger_seconds=0)


@pytest.fixture
def reading(root: Path) -> DirectoryBlobs:
    """Its clock stands still, so it never loses patience."""
    return DirectoryBlobs(root, lambda: 0.0, at_once)


async def written_out(writer: BlobWriter) -> None:
    """Wait for the thread that writes."""
    (await writer.reread()).close()


async def follow(blobs: DirectoryBlobs, size_bytes: int = len(CONTENT)) -> OpenBlob:
    followed = await blobs.follow(WANTED, size_bytes)
    assert followed is not None
    return followed


async def read_all(followed: OpenBlob) -> bytes:
    content = bytearray()
    await read_into(content, followed)
    return bytes(content)


async def read_into(content: bytearray, followed: OpenBlob) -> None:
    try:
        while piece := await followed.read(len(content), 10_000):
            content += piece
    finally:
        followed.close()


async def test_bytes_are_read_while_they_arrive_and_the_end_once_it_is_verified(
    writing: DirectoryBlobs, reading: DirectoryBlobs
) -> None:
    async with writing.create(WANTED) as writer:
        followed = await follow(reading)
        assert followed.size == len(CONTENT)
        first = asyncio.create_task(followed.read(0, 50))
        await asyncio.sleep(0)
        assert not first.done()
        await writer.write(CONTENT[:1000])
        assert await first == CONTENT[:50]
        assert await followed.read(990, 500) == CONTENT[990:1000]
        await writer.write(CONTENT[1000:])
        await written_out(writer)
        assert await followed.read(1000, 100_000) == CONTENT[1000:BEFORE_THE_END]
        end = asyncio.create_task(followed.read(BEFORE_THE_END, 100_000))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not end.done()
    assert await end == CONTENT[BEFORE_THE_END:]
    assert await followed.read(0, 10) == CONTENT[:10]
    assert await followed.read(len(CONTENT), 10) == b""
    followed.close()


async def test_many_read_along(writing: DirectoryBlobs, reading: DirectoryBlobs) -> None:
    async with writing.create(WANTED) as writer:
        readers = [asyncio.create_task(read_all(await follow(reading))) for _ in range(5)]
        for start in range(0, len(CONTENT), 9_999):
            await writer.write(CONTENT[start : start + 9_999])
    assert await asyncio.gather(*readers) == [CONTENT] * 5


async def test_a_blob_shorter_than_what_is_withheld_comes_when_verified(
    root: Path, writing: DirectoryBlobs, reading: DirectoryBlobs
) -> None:
    small = Digest.of(b"small")
    async with writing.create(small) as writer:
        followed = await reading.follow(small, 5)
        assert followed is not None
        end = asyncio.create_task(followed.read(0, 5))
        await writer.write(b"small")
        await written_out(writer)
        await asyncio.sleep(0)
        assert not end.done()
    assert await end == b"small"
    followed.close()


async def write_wrong(blobs: DirectoryBlobs, content: bytes, started: asyncio.Event) -> None:
    async with blobs.create(WANTED) as writer:
        started.set()
        await asyncio.sleep(0)
        await writer.write(content)
        await written_out(writer)


@pytest.mark.parametrize(
    "content",
    [CONTENT[:-1] + b"?", CONTENT[:-1], CONTENT + b"?", b""],
    ids=["other", "short", "long", "empty"],
)
async def test_of_content_that_is_wrong_the_end_is_never_handed_out(
    writing: DirectoryBlobs, reading: DirectoryBlobs, content: bytes
) -> None:
    started = asyncio.Event()
    task = asyncio.create_task(write_wrong(writing, content, started))
    await started.wait()
    followed = await follow(reading)
    received = bytearray()
    with pytest.raises(TransferBroken):
        await read_into(received, followed)
    assert len(received) <= BEFORE_THE_END
    with pytest.raises(DigestMismatch):
        await task


async def test_content_that_is_right_but_not_of_the_size_that_was_told_is_broken(
    writing: DirectoryBlobs, reading: DirectoryBlobs
) -> None:
    async with writing.create(WANTED) as writer:
        shorter, longer = await follow(reading, len(CONTENT) - 1), await follow(reading, len(CONTENT) + 1)
        await writer.write(CONTENT)
    for followed in (shorter, longer):
        with pytest.raises(TransferBroken, match=f"ended at {len(CONTENT)}"):
            await read_all(followed)


async def test_a_writer_that_gives_up_breaks_it(writing: DirectoryBlobs, reading: DirectoryBlobs) -> None:
    async def write() -> None:
        async with writing.create(WANTED) as writer:
            await writer.write(CONTENT[:500])
            await written_out(writer)
            followed.append(await follow(reading))
            raise RuntimeError("the upstream went away")

    followed: list[OpenBlob] = []
    with pytest.raises(RuntimeError):
        await write()
    assert await followed[0].read(0, 1000) == CONTENT[:500]
    with pytest.raises(TransferBroken, match="ended at 500 of 100000 bytes"):
        await followed[0].read(500, 10)
    followed[0].close()


@pytest.mark.parametrize("happens", ["deleted", "replaced"])
async def test_the_end_is_read_although_its_place_was_taken_meanwhile(
    root: Path, writing: DirectoryBlobs, reading: DirectoryBlobs, happens: str
) -> None:
    async with writing.create(WANTED) as writer:
        followed = await follow(reading)
        await writer.write(CONTENT)
    await writing.delete(WANTED)
    if happens == "replaced":
        async with writing.create(WANTED) as writer:
            await writer.write(CONTENT)
    assert await read_all(followed) == CONTENT


async def test_wrong_content_is_not_completed_because_another_writer_kept_the_right_one(
    root: Path, writing: DirectoryBlobs, reading: DirectoryBlobs
) -> None:
    started = asyncio.Event()
    task = asyncio.create_task(write_wrong(writing, b"?" + CONTENT[1:], started))
    await started.wait()
    followed = await follow(reading)
    async with writing.create(WANTED) as writer:
        await writer.write(CONTENT)
    with pytest.raises(DigestMismatch):
        await task
    with pytest.raises(TransferBroken, match="was not received"):
        await read_all(followed)


@pytest.mark.parametrize(
    ("written", "patience_seconds"), [(500, 60), (len(CONTENT), 600)], ids=["stalled", "finishing"]
)
async def test_a_writer_that_lives_and_does_nothing_is_waited_for_so_long(
    root: Path, writing: DirectoryBlobs, written: int, patience_seconds: int
) -> None:
    clock = Clock()
    async with writing.create(WANTED) as writer:
        await writer.write(CONTENT[:written])
        await written_out(writer)
        followed = await follow(DirectoryBlobs(root, clock.now, clock.sleep))
        with pytest.raises(TransferBroken, match=f"not grown for {patience_seconds} s"):
            await read_all(followed)
        assert clock.seconds == patience_seconds
        await writer.write(CONTENT[written:])


async def _orphan(root: Path) -> Path:
    path = root / "partial" / f"sha256-{WANTED.hex}"
    path.write_bytes(CONTENT)
    return path


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _symlink(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


@pytest.mark.parametrize("turn", [_fifo, _symlink, Path.exists], ids=["fifo", "symlink", "orphan"])
async def test_what_no_living_writer_writes_is_not_followed(
    root: Path, reading: DirectoryBlobs, turn: Callable[[Path], None]
) -> None:
    turn(await _orphan(root))
    before = len(os.listdir("/proc/self/fd"))
    assert await reading.follow(WANTED, len(CONTENT)) is None
    assert len(os.listdir("/proc/self/fd")) == before
