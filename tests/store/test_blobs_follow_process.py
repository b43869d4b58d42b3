"""A blob read along that a real second process writes: it succeeds, it lies, it is killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.store.blobs import WITHHELD_BYTES, OpenBlob, TransferBroken, read_whole
from gateway.store.blobs_directory import DirectoryBlobs

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

CONTENT = bytes(range(256)) * 1024
WANTED = Digest.of(CONTENT)
BEFORE_THE_END = len(CONTENT) - WITHHELD_BYTES
_WRITER = """
import asyncio
import sys
from pathlib import Path

from gateway.oci.digest import Digest
from gateway.store.blobs_directory import DirectoryBlobs

async def write():
    blobs = DirectoryBlobs(Path(sys.argv[1]), linger_seconds=0)
    async with blobs.create(Digest.parse(sys.argv[2])) as writer:
        print("ready", flush=True)
        while piece := await asyncio.to_thread(sys.stdin.buffer.read, 1024):
            await writer.write(piece)

asyncio.run(write())
"""


class Writer:
    """Writes what it is given, and keeps it when told to end."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(root), str(WANTED)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def give(self, content: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(content)
        self.process.stdin.flush()

    def end(self) -> int:
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(root: Path) -> DirectoryBlobs:
    return DirectoryBlobs(root)


@pytest.fixture
def writer(root: Path) -> Iterator[Writer]:
    started = Writer(root)
    yield started
    started.process.kill()
    started.process.communicate()


@pytest.fixture
async def followed(writer: Writer, blobs: DirectoryBlobs) -> AsyncIterator[OpenBlob]:
    opened = await blobs.follow(WANTED, len(CONTENT))
    assert opened is not None
    yield opened
    opened.close()


async def read_up_to(followed: OpenBlob, end: int, start: int = 0) -> bytes:
    content = bytearray()
    while len(content) < end - start:
        content += await followed.read(start + len(content), end - start - len(content))
    return bytes(content)


async def test_what_another_process_writes_is_read_as_it_comes(
    writer: Writer, followed: OpenBlob, blobs: DirectoryBlobs
) -> None:
    for start in range(0, BEFORE_THE_END, 32 << 10):
        writer.give(CONTENT[start : start + (32 << 10)])
        assert await read_up_to(followed, start + (32 << 10), start) == CONTENT[start : start + (32 << 10)]
    writer.give(CONTENT[BEFORE_THE_END:])
    assert writer.end() == 0
    assert await read_up_to(followed, len(CONTENT), BEFORE_THE_END) == CONTENT[BEFORE_THE_END:]
    assert await read_whole(blobs, WANTED) == CONTENT


async def test_of_what_turns_out_to_be_wrong_the_end_is_not_read(
    writer: Writer, followed: OpenBlob, blobs: DirectoryBlobs
) -> None:
    writer.give(b"?" + CONTENT[1:])
    assert await read_up_to(followed, BEFORE_THE_END) == b"?" + CONTENT[1:BEFORE_THE_END]
    assert writer.end() == 1
    with pytest.raises(TransferBroken, match="was not received"):
        await followed.read(BEFORE_THE_END, 10)
    assert await read_whole(blobs, WANTED) is None


async def test_a_writer_that_is_killed_breaks_it_and_the_next_one_starts_anew(
    writer: Writer, followed: OpenBlob, blobs: DirectoryBlobs
) -> None:
    writer.give(CONTENT[:2048])
    assert await read_up_to(followed, 1024) == CONTENT[:1024]
    writer.process.kill()
    assert writer.process.wait(10) == -signal.SIGKILL
    with pytest.raises(TransferBroken, match="of 262144 bytes"):
        await read_up_to(followed, len(CONTENT))
    assert await blobs.follow(WANTED, len(CONTENT)) is None
    async with blobs.create(WANTED) as anew:
        await anew.write(CONTENT)
    assert await read_whole(blobs, WANTED) == CONTENT
    assert blobs.sweep() == 0


async def test_one_killed_with_all_received_is_verified_by_who_reads_along(
    writer: Writer, followed: OpenBlob, root: Path
) -> None:
    writer.give(CONTENT)
    await until_all_is_in(root / "partial" / f"sha256-{WANTED.hex}")
    writer.process.kill()
    writer.process.wait(10)
    assert await read_up_to(followed, len(CONTENT)) == CONTENT


async def until_all_is_in(path: Path) -> None:
    async with asyncio.timeout(10):
        while True:
            if os.stat(path).st_size == len(CONTENT):
                return
            await asyncio.sleep(0.005)
