"""The blob directory: what lies on the disk, who may read it, and what is swept."""

import asyncio
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.store.blobs import DigestMismatch, StorageFailed, TransferBroken, keep_bytes, read_whole
from gateway.store.blobs_directory import DirectoryBlobs
from tests.conftest import missing
from tests.rot import cut, empty, flip, grow, place_of

pytestmark = pytest.mark.anyio

CONTENT = b"wanted"
WANTED = Digest.of(CONTENT)
MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(root: Path) -> DirectoryBlobs:
    return DirectoryBlobs(root)


@pytest.fixture
def usual_umask() -> Iterator[None]:
    """What most systems have; modes must not come from it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


async def test_a_blob_is_a_file_under_its_digest_and_nothing_else_is_left(
    blobs: DirectoryBlobs, root: Path
) -> None:
    await keep_bytes(blobs, CONTENT)
    assert [Path(folder, name) for folder, _, names in os.walk(root) for name in names] == [
        place_of(root, WANTED)
    ]
    assert place_of(root, WANTED).read_bytes() == CONTENT


@pytest.mark.usefixtures("usual_umask")
async def test_nobody_else_on_the_machine_may_look(tmp_path: Path) -> None:
    root = tmp_path / "above" / "blobs"
    await keep_bytes(DirectoryBlobs(root), CONTENT)
    assert {path.relative_to(root): oct(mode_of(path)) for path in root.rglob("*")} == {
        Path("dying"): "0o700",
        Path("quarantine"): "0o700",
        Path("partial"): "0o700",
        Path("sha256"): "0o700",
        Path("sha256", WANTED.hex[:2]): "0o700",
        Path("sha256", WANTED.hex[:2], WANTED.hex): "0o600",
    }
    assert mode_of(root) == 0o700


async def test_a_symlink_in_place_of_a_blob_is_replaced_and_never_written_through(
    blobs: DirectoryBlobs, root: Path, tmp_path: Path
) -> None:
    await keep_bytes(blobs, CONTENT)
    place_of(root, WANTED).unlink()
    secret = tmp_path / "secret"
    secret.write_bytes(b"not ours")
    place_of(root, WANTED).symlink_to(secret)
    await keep_bytes(blobs, CONTENT)
    assert secret.read_bytes() == b"not ours"
    assert await read_whole(blobs, WANTED) == CONTENT


async def test_partial_files_of_the_dead_are_swept_and_those_of_living_writers_are_not(
    blobs: DirectoryBlobs, root: Path
) -> None:
    (root / "partial" / "left-behind").write_bytes(b"half a blo")
    async with blobs.create(WANTED) as writer:
        await writer.write(CONTENT)
        with await writer.reread():
            assert DirectoryBlobs(root).sweep() == 1
            assert len(list((root / "partial").iterdir())) == 1
    assert await read_whole(blobs, WANTED) == CONTENT
    assert blobs.sweep() == 0


@pytest.mark.parametrize("kind", ["symlink", "directory"])
def test_sweeping_passes_over_what_no_writer_of_ours_made(
    blobs: DirectoryBlobs, root: Path, tmp_path: Path, kind: str
) -> None:
    odd = root / "partial" / "odd"
    if kind == "symlink":
        odd.symlink_to(tmp_path / "elsewhere")
    else:
        odd.mkdir()
    assert blobs.sweep() == 0
    assert os.path.lexists(odd)


async def test_a_partial_file_that_was_removed_meanwhile_is_a_failure_of_storage(
    blobs: DirectoryBlobs, root: Path
) -> None:
    async def write() -> None:
        async with blobs.create() as writer:
            await writer.write(CONTENT)
            for path in (root / "partial").iterdir():
                path.unlink()

    with pytest.raises(StorageFailed, match="No such file"):
        await write()
    assert await blobs.size(WANTED) is None


async def test_a_directory_that_went_away_is_a_failure_of_storage_and_no_oserror(
    blobs: DirectoryBlobs, root: Path
) -> None:
    (root / "partial").rmdir()
    (root / "partial").write_bytes(b"a file where the folder was")
    with pytest.raises(StorageFailed, match="Not a directory"):
        await keep_bytes(blobs, CONTENT)


async def test_a_blob_is_read_whole_although_only_its_first_page_is_in_memory(
    blobs: DirectoryBlobs, root: Path
) -> None:
    content = os.urandom(4 * MIB)
    digest = await keep_bytes(blobs, content)
    _evict_all_but_the_first_page(place_of(root, digest))
    assert await read_whole(blobs, digest) == content


async def test_a_blob_that_is_on_disk_only_is_read_to_the_byte(blobs: DirectoryBlobs, root: Path) -> None:
    content = os.urandom(3 * MIB)
    digest = await keep_bytes(blobs, content)
    _evict(place_of(root, digest))
    opened = await blobs.open(digest)
    assert opened is not None
    assert await opened.read(MIB, 2 * MIB) == content[MIB:]
    assert await opened.read(3 * MIB - 1, 10) == content[-1:]
    opened.close()


async def test_a_file_system_that_cannot_tell_what_is_in_memory_is_read_all_the_same() -> None:
    shared_memory = Path("/dev/shm")  # noqa: S108 (tmpfs: preadv answers EOPNOTSUPP to RWF_NOWAIT)
    if not os.access(shared_memory, os.W_OK):
        missing("no tmpfs at /dev/shm")
    root = shared_memory / f"gateway-test-{os.getpid()}"
    blobs = DirectoryBlobs(root)
    try:
        content = os.urandom(2 * MIB)
        digest = await keep_bytes(blobs, content)
        assert await read_whole(blobs, digest) == content
    finally:
        await blobs.delete(Digest.of(content))
        for folder in sorted(root.rglob("*"), reverse=True):
            folder.rmdir()
        root.rmdir()


@pytest.mark.parametrize("damage", [flip, cut, empty, grow])
async def test_of_a_blob_that_is_written_to_while_it_is_read_nobody_gets_the_end(
    blobs: DirectoryBlobs, root: Path, damage: Callable[[Path], None]
) -> None:
    digest = await keep_bytes(blobs, CONTENT)
    opened = await blobs.open(digest)
    assert opened is not None
    assert await opened.read(0, 2) == CONTENT[:2]
    damage(place_of(root, digest))
    os.utime(place_of(root, digest))
    with pytest.raises(TransferBroken):
        await opened.read(2, len(CONTENT))
    opened.close()
    assert await read_whole(blobs, digest) is None


async def test_a_writer_that_is_cancelled_leaves_nothing_and_no_open_file(
    blobs: DirectoryBlobs, root: Path
) -> None:
    await keep_bytes(blobs, b"warms the thread pool up")
    before = len(os.listdir("/proc/self/fd"))
    for turns in range(12):  # however far it has come
        task = asyncio.create_task(keep_bytes(blobs, os.urandom(2 * MIB)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(os.listdir("/proc/self/fd")) == before
    assert list((root / "partial").iterdir()) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nobody takes the stream
async def test_a_cancelled_writer_waits_for_the_thread_that_works_for_it(
    blobs: DirectoryBlobs, root: Path
) -> None:
    """Else its file is closed under the thread, which then writes into whatever is opened next."""
    is_waiting = asyncio.Event()

    async def write() -> None:
        async with blobs.create() as writer:
            await writer.write(CONTENT)
            with await writer.reread():
                (partial,) = (root / "partial").iterdir()
            partial.unlink()
            os.mkfifo(partial)  # whose opening holds a thread up until the other end is opened
            is_waiting.set()
            await writer.reread()

    task = asyncio.create_task(write())
    await is_waiting.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=0.05)
    assert done == set()
    (fifo,) = (root / "partial").iterdir()
    await asyncio.to_thread(fifo.write_bytes, b"")
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_one_wrong_content_among_many_right_ones_harms_none(blobs: DirectoryBlobs) -> None:
    async def write(content: bytes) -> None:
        async with blobs.create(WANTED) as writer:
            await writer.write(content)

    results = await asyncio.gather(
        *(write(CONTENT if number % 2 else b"other") for number in range(10)), return_exceptions=True
    )
    assert sum(isinstance(result, DigestMismatch) for result in results) == 5
    assert sum(result is None for result in results) == 5
    assert await read_whole(blobs, WANTED) == CONTENT


def _evict(path: Path) -> None:
    """Ask the kernel to drop the file's pages: the next read comes from the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _evict_all_but_the_first_page(path: Path) -> None:
    _evict(path)
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        file.read(1)
