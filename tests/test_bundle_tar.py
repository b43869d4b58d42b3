"""A bundle's bytes: the same for the same content, from one thread or several; damage never leaves."""

import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import TypeAlias

import pytest
import zstandard

from gateway.bundle_tar import (
    Compressed,
    ContentLost,
    Entry,
    NoBundle,
    blob_name,
    read_earlier,
    room_of,
    size_of,
    write_bundle,
)
from gateway.bundle_volumes import BundleFile
from gateway.oci.digest import Digest
from gateway.store.blob_places import NoPlainFile
from tests.bundle_house import Bundle, chart, tar_of

pytestmark = pytest.mark.slow

BUNDLE = Bundle().add("a.example/demo", {"1": chart("demo", "1")}).tar()
Changing: TypeAlias = Callable[[bytes], bytes]

SIZES = (0, 1, 511, 512, 513, 200_000, 1_000_000)
BLOBS = {Digest.of(content): content for content in (bytes([size % 251]) * size for size in SIZES)}


class Gathering:
    """A sink in memory."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, content: memoryview) -> None:
        self.content += content


class Full:
    """A sink that takes so much."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, content: memoryview) -> None:
        self.room -= len(content)
        if self.room < 0:
            raise OSError(28, "No space left on device")


class Disk:
    """Blobs in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for digest, content in BLOBS.items():
            (folder / digest.hex).write_bytes(content)

    def open(self, digest: Digest) -> FileIO | None:
        path = self.folder / digest.hex
        return FileIO(path) if path.exists() else None


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    folder = tmp_path / "blobs"
    folder.mkdir()
    return Disk(folder)


def entries() -> Sequence[Entry]:
    blobs = [Entry(blob_name(digest), len(content), digest=digest) for digest, content in BLOBS.items()]
    return [Entry("oci-layout", 2, b"{}"), *blobs]


def written(disk: Disk) -> bytes:
    sink = Gathering()
    write_bundle(entries(), sink, disk.open, lambda _count: None)
    return sink.content


def members(content: bytes) -> Mapping[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        files = {entry.name: tar.extractfile(entry) for entry in tar}
        return {name: file.read() for name, file in files.items() if file is not None}


def test_it_is_a_tar_of_what_it_was_made_of(disk: Disk) -> None:
    content = written(disk)
    assert members(content) == {"oci-layout": b"{}"} | {blob_name(one): it for one, it in BLOBS.items()}
    assert len(content) == size_of(entries())
    assert len(content) % tarfile.RECORDSIZE == 0


def test_several_threads_write_the_same_bytes(disk: Disk, tmp_path: Path) -> None:
    counted: list[int] = []
    sink = BundleFile(tmp_path / "x.tar")
    write_bundle(entries(), sink, disk.open, counted.append)
    sink.keep()
    assert (tmp_path / "x.tar").read_bytes() == written(disk)
    assert sum(counted) == size_of(entries())


def test_compressed_it_is_the_same_bytes_each_time(disk: Disk) -> None:
    made: list[bytes] = []
    for threads in (1, 2, 2):
        sink = Gathering()
        compressed = Compressed(sink, threads)
        write_bundle(entries(), compressed, disk.open, lambda _count: None)
        compressed.close()
        made.append(sink.content)
    assert len(set(made)) == 1
    assert zstandard.ZstdDecompressor().decompressobj().decompress(made[0]) == written(disk)


@pytest.mark.parametrize("change", [lambda it: it[:-1], lambda it: it + b"x", lambda it: b"x" + it[1:]])
def test_a_blob_that_is_not_what_its_digest_says_ends_the_export(
    disk: Disk, tmp_path: Path, change: Changing
) -> None:
    digest = [*BLOBS][-1]
    (disk.folder / digest.hex).write_bytes(change(BLOBS[digest]))
    file = BundleFile(tmp_path / "x.tar")
    for sink in (Gathering(), file):
        with pytest.raises(ContentLost, match=f"{digest} is damaged"):
            write_bundle(entries(), sink, disk.open, lambda _count: None)
    file.abandon()


def test_a_blob_that_is_gone_or_no_file_ends_the_export(disk: Disk) -> None:
    digest = [*BLOBS][2]
    (disk.folder / digest.hex).unlink()
    with pytest.raises(ContentLost, match="is gone"):
        written(disk)

    def refuse(_digest: Digest) -> FileIO | None:
        raise NoPlainFile("a symlink")

    with pytest.raises(ContentLost, match="cannot be read: a symlink"):
        write_bundle(entries(), Gathering(), refuse, lambda _count: None)


def test_what_the_sink_refuses_comes_out(disk: Disk) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_bundle(entries(), Full(300_000), disk.open, lambda _count: None)


def test_who_is_told_may_end_it(disk: Disk, tmp_path: Path) -> None:
    def enough(_count: int) -> None:
        raise KeyboardInterrupt

    file = BundleFile(tmp_path / "x.tar")
    for sink in (Gathering(), file):
        with pytest.raises(KeyboardInterrupt):
            write_bundle(entries(), sink, disk.open, enough)
    file.abandon()


def test_of_eight_gibibytes_and_more_a_pax_header_has_the_size() -> None:
    small, large = Entry("oci-layout", 8 << 30), Entry("oci-layout", (8 << 30) - 1)
    assert room_of(small) - small.size_bytes == 3 * 512
    assert room_of(large) - large.size_bytes == 512 + 1


@pytest.mark.parametrize("pack", [lambda it: it, lambda it: zstandard.ZstdCompressor().compress(it)])
def test_the_contents_of_an_earlier_bundle_are_read_from_its_beginning(pack: Changing) -> None:
    began = pack(BUNDLE[: BUNDLE.index(b'"format"') + 4096])
    earlier = read_earlier(io.BytesIO(began))
    assert earlier.index == Digest.of(members(BUNDLE)["index.json"])
    assert [one.target for one in earlier.contents.targets] == ["a.example/demo"]


def test_what_is_no_bundle_is_told(disk: Disk) -> None:
    files = list(Bundle().add("a.example/demo", {"1": chart("demo", "1")}).files().items())
    for wrong, because in [
        (b"", "ends early"),
        (b"my letters" * 100, "."),
        (written(disk), "packed anew"),
        (tar_of([files[0], *files[2:], files[1]]), "packed anew"),
        (BUNDLE.replace(b'"format":1', b'"format":9'), "damaged"),
        (Bundle(format=9).add("a.example/demo", {"1": chart("demo", "1")}).tar(), "its format is 9"),
    ]:
        with pytest.raises(NoBundle, match=because):
            read_earlier(io.BytesIO(wrong))
