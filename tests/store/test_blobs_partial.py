"""A blob on its way: what its file is called, who may take its name, what goes wrong in its thread."""

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.store.blobs import StorageFailed, TransferBroken, read_whole
from gateway.store.blobs_directory import DirectoryBlobs

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

MIB = 1 << 20
CONTENT = bytes(range(256)) * (3 * MIB // 256)
WANTED = Digest.of(CONTENT)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(root: Path) -> DirectoryBlobs:
    return DirectoryBlobs(root)


@contextmanager
def no_file_longer_than(size_bytes: int) -> Iterator[None]:
    """The kernel then refuses to write on: EFBIG."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        signal.signal(signal.SIGXFSZ, before)


def names(root: Path) -> set[str]:
    return set(os.listdir(root / "partial"))


def keyed(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.hex}"


async def until_size(path: Path, size: int) -> None:
    async with asyncio.timeout(10):
        while True:
            if os.stat(path).st_size == size:
                return
            await asyncio.sleep(0)


async def keep(blobs: DirectoryBlobs) -> None:
    async with blobs.create(WANTED) as writer:
        await writer.write(CONTENT)


async def test_a_file_is_named_after_the_digest_that_is_expected(blobs: DirectoryBlobs, root: Path) -> None:
    async with blobs.create(WANTED) as writer:
        assert names(root) == {keyed(WANTED)}
        await writer.write(CONTENT)
    assert names(root) == set()
    async with blobs.create():
        (name,) = names(root)
        assert len(name) == 32


async def test_a_second_writer_of_the_same_digest_takes_another_name(
    blobs: DirectoryBlobs, root: Path
) -> None:
    async with blobs.create(WANTED) as first:
        await first.write(CONTENT[:MIB])
        async with DirectoryBlobs(root).create(WANTED) as second:
            assert keyed(WANTED) in names(root)
            assert len(names(root)) == 2
            await second.write(CONTENT)
        assert await read_whole(blobs, WANTED) == CONTENT
        assert names(root) == {keyed(WANTED)}
        await first.write(CONTENT[MIB:])
    assert await read_whole(blobs, WANTED) == CONTENT
    assert names(root) == set()


async def test_the_name_of_a_dead_writer_is_taken_over_and_its_bytes_are_not(
    blobs: DirectoryBlobs, root: Path
) -> None:
    left = root / "partial" / keyed(WANTED)
    left.write_bytes(b"of a writer that was killed" * MIB)
    with left.open("rb") as reader:
        async with blobs.create(WANTED) as writer:
            assert names(root) == {keyed(WANTED)}
            await writer.write(CONTENT)
        assert reader.read(7) == b"of a wr"  # whoever still reads it never sees the new bytes
    assert await read_whole(blobs, WANTED) == CONTENT


async def test_a_name_that_is_no_file_of_ours_is_left_alone(blobs: DirectoryBlobs, root: Path) -> None:
    (root / "partial" / keyed(WANTED)).symlink_to(root.parent / "elsewhere")
    await keep(blobs)
    assert names(root) == {keyed(WANTED)}
    assert "elsewhere" not in os.listdir(root.parent)
    assert await read_whole(blobs, WANTED) == CONTENT


async def test_what_took_the_name_meanwhile_is_not_kept(blobs: DirectoryBlobs, root: Path) -> None:
    async def write() -> None:
        async with blobs.create(WANTED) as writer:
            await writer.write(CONTENT)
            (root / "partial" / keyed(WANTED)).unlink()
            (root / "partial" / keyed(WANTED)).write_bytes(b"unverified")

    with pytest.raises(StorageFailed, match="No such file"):
        await write()
    assert await blobs.size(WANTED) is None
    assert names(root) == {keyed(WANTED)}


async def test_a_disk_that_refuses_is_told_to_the_writer_and_nothing_is_left(
    blobs: DirectoryBlobs, root: Path
) -> None:
    told: list[StorageFailed] = []

    async def write() -> None:
        async with blobs.create(WANTED) as writer:
            for _ in range(9 * MIB // (1 << 16)):  # more than is buffered while the disk is busy
                try:
                    await writer.write(CONTENT[: 1 << 16])
                except StorageFailed as error:
                    told.append(error)

    with no_file_longer_than(MIB + 5), pytest.raises(StorageFailed, match="File too large"):
        await write()
    assert told  # and it was told again on leaving
    assert names(root) == set()
    assert await blobs.size(WANTED) is None


async def test_a_disk_that_refuses_a_writer_that_fails_anyway_is_nobodys_problem(
    blobs: DirectoryBlobs, root: Path
) -> None:
    """Asyncio would complain of an exception never retrieved; filterwarnings makes that an error."""

    async def write() -> None:
        async with blobs.create(WANTED) as writer:
            await writer.write(CONTENT)
            raise RuntimeError("the upstream went away")

    with no_file_longer_than(MIB), pytest.raises(RuntimeError):
        await write()
    assert names(root) == set()


async def test_what_arrives_slowly_is_in_the_file_a_moment_later(root: Path) -> None:
    async with DirectoryBlobs(root, linger_seconds=0).create(WANTED) as writer:
        for count in range(1, 4):
            await writer.write(CONTENT[count - 1 : count])
            await until_size(root / "partial" / keyed(WANTED), count)
        await writer.write(CONTENT[3:])


async def test_bytes_that_are_gone_from_the_file_are_a_failure_of_storage(
    blobs: DirectoryBlobs, root: Path
) -> None:
    async with blobs.create(WANTED) as writer:
        await writer.write(CONTENT)
        (await writer.reread()).close()
        os.truncate(root / "partial" / keyed(WANTED), 10)
        with pytest.raises(StorageFailed, match="lost"):
            await writer.written(0, 100)
        (root / "partial" / keyed(WANTED)).write_bytes(CONTENT)


async def test_after_the_writer_has_left_its_bytes_are_read_from_the_store_alone(
    blobs: DirectoryBlobs,
) -> None:
    async with blobs.create(WANTED) as writer:
        await writer.write(CONTENT)
    with pytest.raises(TransferBroken):
        await writer.written(0, 10)


async def test_a_writer_that_leaves_does_not_take_the_file_from_its_readers(
    blobs: DirectoryBlobs, root: Path
) -> None:
    """Else a reader in a thread reads whatever gets the number of the closed file next."""

    async def write() -> None:
        async with blobs.create(WANTED) as writer:
            await writer.write(CONTENT)
            (await writer.reread()).close()
            reading.append(asyncio.create_task(writer.written(0, 2 * MIB)))  # too much for the loop
            await asyncio.sleep(0)
            raise RuntimeError

    reading: list[asyncio.Task[bytes]] = []
    with pytest.raises(RuntimeError):
        await write()
    assert await reading[0] == CONTENT[: 2 * MIB]
    assert names(root) == set()


async def test_one_cancelled_twice_still_waits_for_the_thread(blobs: DirectoryBlobs, root: Path) -> None:
    await keep(blobs)
    before = len(os.listdir("/proc/self/fd"))
    for turns in range(12):
        task = asyncio.create_task(keep(blobs))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(os.listdir("/proc/self/fd")) == before
    assert names(root) == set()
