"""What every blob store promises; each store is held to all of it."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from gateway.oci.digest import Digest
from gateway.store.blobs import (
    BlobStore,
    DigestMismatch,
    MemoryBlobs,
    TooLarge,
    keep_bytes,
    read_whole,
)
from gateway.store.blobs_directory import DirectoryBlobs

pytestmark = pytest.mark.anyio

CONTENT = b"wanted"
WANTED = Digest.of(CONTENT)
MIB = 1 << 20


def _in_memory(_root: Path) -> BlobStore:
    return MemoryBlobs()


@pytest.fixture(params=[_in_memory, DirectoryBlobs], ids=["memory", "directory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    make: Callable[[Path], BlobStore] = request.param
    return make(tmp_path)


def files_below(root: Path) -> set[Path]:
    return {path.relative_to(root) for path in root.rglob("*") if not path.is_dir()}


async def test_what_is_kept_is_read_again_whole_and_in_ranges(blobs: BlobStore) -> None:
    digest = await keep_bytes(blobs, CONTENT)
    assert digest == WANTED
    assert await blobs.size(WANTED) == len(CONTENT)
    assert await read_whole(blobs, WANTED) == CONTENT
    opened = await blobs.open(WANTED)
    assert opened is not None
    assert opened.size == len(CONTENT)
    assert await opened.read(0, 2) == b"wa"
    assert await opened.read(2, 3) == b"nte"
    assert await opened.read(4, 100) == b"ed"
    assert await opened.read(6, 1) == b""
    opened.close()


async def test_what_was_never_kept_is_not_there(blobs: BlobStore) -> None:
    assert await blobs.open(WANTED) is None
    assert await blobs.size(WANTED) is None
    assert await read_whole(blobs, WANTED) is None


async def test_an_empty_blob_is_a_blob(blobs: BlobStore) -> None:
    digest = await keep_bytes(blobs, b"")
    assert await blobs.size(digest) == 0
    assert await read_whole(blobs, digest) == b""


async def test_content_with_another_digest_is_refused_and_leaves_nothing(
    blobs: BlobStore, tmp_path: Path
) -> None:
    with pytest.raises(DigestMismatch, match=str(WANTED)):
        async with blobs.create(WANTED) as writer:
            await writer.write(b"received")
    assert await blobs.size(WANTED) is None
    assert await blobs.size(Digest.of(b"received")) is None
    assert files_below(tmp_path) == set()


async def test_content_past_the_limit_is_refused_and_leaves_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    async def write() -> None:
        async with blobs.create(limit_bytes=9) as writer:
            await writer.write(b"12345")
            await writer.write(b"67890")

    with pytest.raises(TooLarge, match="9 bytes"):
        await write()
    assert files_below(tmp_path) == set()


async def test_content_as_long_as_the_limit_is_kept(blobs: BlobStore) -> None:
    async with blobs.create(limit_bytes=len(CONTENT)) as writer:
        await writer.write(CONTENT)
    assert await blobs.size(WANTED) == len(CONTENT)


async def test_an_exception_inside_leaves_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    async def write() -> None:
        async with blobs.create() as writer:
            await writer.write(CONTENT)
            raise RuntimeError("the upstream went away")

    with pytest.raises(RuntimeError):
        await write()
    assert await blobs.size(WANTED) is None
    assert files_below(tmp_path) == set()


async def test_a_writer_counts_what_was_written(blobs: BlobStore) -> None:
    async with blobs.create() as writer:
        assert writer.size == 0
        assert writer.digest == Digest.of(b"")
        await writer.write(CONTENT[:3])
        assert writer.digest == Digest.of(CONTENT[:3])
        await writer.write(CONTENT[3:])
        assert (writer.size, writer.digest) == (len(CONTENT), WANTED)


async def test_the_algorithm_is_that_of_the_digest_expected(blobs: BlobStore) -> None:
    expected = Digest("sha512", hashlib.sha512(CONTENT).hexdigest())
    async with blobs.create(expected) as writer:
        await writer.write(CONTENT)
        assert writer.digest == expected
    assert await read_whole(blobs, expected) == CONTENT
    assert await blobs.size(WANTED) is None


async def test_what_was_written_is_read_again_before_it_is_kept(blobs: BlobStore) -> None:
    async with blobs.create() as writer:
        await writer.write(CONTENT[:3])
        with await writer.reread() as stream:
            assert stream.read() == CONTENT[:3]
        await writer.write(CONTENT[3:])
        with await writer.reread() as stream:
            assert stream.read() == CONTENT
            assert stream.seek(1) == 1
            assert stream.read(2) == b"an"
        assert await blobs.size(WANTED) is None
    assert await blobs.size(WANTED) == len(CONTENT)


async def test_what_was_written_is_read_by_others_meanwhile_in_any_part(blobs: BlobStore) -> None:
    content = os.urandom(3 * MIB)
    async with blobs.create() as writer:
        assert await writer.written(0, 10) == b""
        for start in range(0, len(content), 100_003):
            await writer.write(content[start : start + 100_003])
            size = writer.size
            assert await writer.written(0, 5) == content[:5]
            assert await writer.written(size - 7, 100) == content[size - 7 : size]
            assert await writer.written(size // 2, MIB) == content[size // 2 : size][:MIB]
            assert await writer.written(size, 100) == b""
            assert await writer.written(size + 50, 100) == b""
        assert await writer.written(0, len(content)) == content
    assert await read_whole(blobs, writer.digest) == content


async def test_content_in_one_large_piece_is_kept_to_the_byte(blobs: BlobStore) -> None:
    content = os.urandom(3 * MIB + 17)
    async with blobs.create() as writer:
        await writer.write(b"first")
        await writer.write(content)
        assert writer.digest == Digest.of(b"first" + content)
        assert await writer.written(3, MIB) == (b"first" + content)[3 : MIB + 3]
        await writer.write(b"last")
        assert await writer.written(len(content), 100) == content[-5:] + b"last"
    assert await read_whole(blobs, writer.digest) == b"first" + content + b"last"


async def test_what_nobody_writes_is_not_followed(blobs: BlobStore) -> None:
    assert await blobs.follow(WANTED, len(CONTENT)) is None
    await keep_bytes(blobs, CONTENT)
    assert await blobs.follow(WANTED, len(CONTENT)) is None


async def test_a_range_past_the_end_is_empty(blobs: BlobStore) -> None:
    await keep_bytes(blobs, CONTENT)
    opened = await blobs.open(WANTED)
    assert opened is not None
    assert await opened.read(100, 10) == b""
    opened.close()


async def test_large_content_in_uneven_pieces_is_kept_to_the_byte(blobs: BlobStore) -> None:
    content = os.urandom(3 * MIB + 17)
    async with blobs.create(Digest.of(content)) as writer:
        for start in range(0, len(content), 100_003):
            await writer.write(content[start : start + 100_003])
    opened = await blobs.open(Digest.of(content))
    assert opened is not None
    assert await opened.read(MIB - 5, MIB) == content[MIB - 5 : 2 * MIB - 5]
    opened.close()
    assert await read_whole(blobs, Digest.of(content)) == content


async def test_deleting_forgets_and_twice_is_no_error(blobs: BlobStore) -> None:
    await keep_bytes(blobs, CONTENT)
    await blobs.delete(WANTED)
    await blobs.delete(WANTED)
    assert await blobs.size(WANTED) is None


async def test_an_open_blob_outlives_its_deletion(blobs: BlobStore) -> None:
    await keep_bytes(blobs, CONTENT)
    opened = await blobs.open(WANTED)
    assert opened is not None
    await blobs.delete(WANTED)
    assert await opened.read(0, opened.size) == CONTENT
    opened.close()


async def test_many_writers_of_one_content_all_succeed_and_keep_it_once(
    blobs: BlobStore, tmp_path: Path
) -> None:
    async def write() -> None:
        async with blobs.create(WANTED) as writer:
            await writer.write(CONTENT)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(write)
    assert await read_whole(blobs, WANTED) == CONTENT
    assert len(files_below(tmp_path)) in (0, 1)
