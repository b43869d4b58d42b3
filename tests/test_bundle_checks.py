"""A bundle's entries: what no honest tar of an image layout has is refused before anything is made of it."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable

import pytest
import zstandard

from gateway.bundle_checks import BundleRefused, Entries
from tests.bundle_house import LAYOUT, Bundle, add_file, blob_name, chart, digest_of, tar_of, tar_with

pytestmark = pytest.mark.slow

BLOB = b"a blob"
PLACE = blob_name(digest_of(BLOB))
MOST_BYTES = 1 << 20


def entries_of(content: bytes) -> list[tuple[str, bytes]]:
    entries = Entries(io.BytesIO(content), MOST_BYTES)
    return [(entry.name, entries.read_all()) for entry in entries]


def refusal(content: bytes) -> str:
    with pytest.raises(BundleRefused) as refused:
        entries_of(content)
    return str(refused.value)


def pax(key: bytes, value: bytes) -> bytes:
    """A header of pax facts, which tarfile would not write."""
    length = len(key) + len(value) + 3
    while len(fact := b"%d %s=%s\n" % (length, key, value)) != length:
        length = len(fact)
    header = tarfile.TarInfo("facts")
    header.type, header.size = tarfile.XHDTYPE, len(fact)
    return header.tobuf(tarfile.USTAR_FORMAT) + fact + bytes(-len(fact) % 512)


def raw(name: str, content: bytes = BLOB, **more: object) -> bytes:
    """One entry without an end."""
    header = tarfile.TarInfo(name)
    header.size = len(content)
    for key, value in more.items():
        setattr(header, key, value)
    return header.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


END = bytes(1024)
HONEST = tar_of([("oci-layout", LAYOUT), ("index.json", b"{}"), (PLACE, BLOB)])
READ = [("oci-layout", LAYOUT), ("index.json", b"{}"), (PLACE, BLOB)]


@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        zstandard.ZstdCompressor().compress,
        lambda content: b"".join(
            zstandard.ZstdCompressor().compress(content[start : start + 700])
            for start in range(0, len(content), 700)
        ),
        gzip.compress,
    ],
    ids=["plain", "zstd", "zstd frames", "gzip"],
)
def test_a_bundle_is_read_however_it_is_packed(pack: Callable[[bytes], bytes]) -> None:
    assert entries_of(pack(HONEST)) == READ


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_tar_makes_of_an_unpacked_bundle_is_read(form: int) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        for folder in (".", "./blobs", "./blobs/sha256"):
            add_file(tar, folder, type=tarfile.DIRTYPE, mode=0o755)
        add_file(tar, f"./{PLACE}", BLOB, mtime=1_700_000_000.25)
        add_file(tar, "./index.json", b"{}")

    assert entries_of(tar_with(fill, form)) == [(PLACE, BLOB), ("index.json", b"{}")]


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/etc/passwd",
        "blobs/sha256/../../x",
        f"blobs/sha256/../sha256/{'a' * 64}",
        f"blobs/sha256/{'a' * 63}",
        f"blobs/sha256/{'a' * 65}",
        f"blobs/sha256/{'A' * 64}",
        f"blobs/sha512/{'a' * 64}",
        f"{PLACE}\n",
        f"././{PLACE}",
        f"/{PLACE}",
        "index.json/",
        "manifest.json",
        ".",
        "",
    ],
)
def test_only_the_names_of_a_bundle_are_taken(name: str) -> None:
    assert "refused" in refusal(raw(name) + END)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (tarfile.SYMTYPE, "a symlink"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.DIRTYPE, "a folder"),
        (tarfile.CONTTYPE, "no regular file"),
        (tarfile.GNUTYPE_LONGNAME, "a name that is too long"),
        (tarfile.GNUTYPE_LONGLINK, "a link"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (tarfile.XGLTYPE, "no regular file"),
        (b"Z", "no regular file"),
    ],
)
def test_only_regular_files_are_taken(kind: bytes, told: str) -> None:
    assert told in refusal(raw(PLACE, b"", type=kind, linkname="/etc/passwd") + END)


@pytest.mark.parametrize("name", ["index.json", "oci-layout", PLACE])
def test_an_entry_that_is_there_twice_is_refused(name: str) -> None:
    assert f"it has {name} twice" in refusal(raw(name) + raw(name) + END)
    assert f"it has {name} twice" in refusal(raw(name) + raw(f"./{name}") + END)


@pytest.mark.parametrize(
    "fact",
    [
        (b"path", b"../x"),
        (b"linkpath", b"/etc/passwd"),
        (b"GNU.sparse.major", b"1"),
        (b"hdrcharset", b"BINARY"),
    ],
)
def test_a_pax_header_that_says_what_an_entry_is_is_refused(fact: tuple[bytes, bytes]) -> None:
    assert "a pax header says" in refusal(pax(*fact) + raw(PLACE) + END)


@pytest.mark.parametrize("value", [b"-1", b"1_0", b"", b"9" * 5000, b"\xd9\xa1"])
def test_a_pax_size_that_is_none_is_refused(value: bytes) -> None:
    assert "a size that is none" in refusal(pax(b"size", value) + raw(PLACE) + END)


def test_a_pax_size_counts() -> None:
    assert entries_of(pax(b"size", b"%d" % len(BLOB)) + raw(PLACE, BLOB) + END) == [(PLACE, BLOB)]
    assert "at most" in refusal(pax(b"size", b"999999999") + raw(PLACE, BLOB) + END)


@pytest.mark.parametrize(
    "broken",
    [b"", b"<html>no tar at all</html>" * 40, os.urandom(2048), HONEST[: -len(END) * 20][:700], HONEST[:512]],
    ids=["empty", "html", "noise", "cut in an entry", "cut behind a header"],
)
def test_what_is_no_tar_or_a_part_of_one_is_refused(broken: bytes) -> None:
    assert "refused" in refusal(broken)


@pytest.mark.parametrize("packed", [zstandard.ZstdCompressor().compress(HONEST), gzip.compress(HONEST)])
def test_a_packed_bundle_that_was_cut_off_is_refused(packed: bytes) -> None:
    assert "refused" in refusal(packed[: len(packed) // 2])


def test_a_flipped_bit_in_a_header_is_seen() -> None:
    assert "header" in refusal(b"p" + HONEST[1:])


def test_something_behind_the_end_is_refused_and_zeros_are_not() -> None:
    assert "behind its end" in refusal(HONEST + raw("index.json") + END)
    assert entries_of(HONEST + bytes(3 << 20)) == READ


class Endless:
    """Gives the same bytes again and again, and counts them."""

    def __init__(self, begun: bytes, again: bytes) -> None:
        self._begun = io.BytesIO(begun)
        self._again = again
        self.count = 0

    def read(self, size: int, /) -> bytes:
        content = self._begun.read(size) or (self._again * (size // len(self._again) + 1))[:size]
        self.count += len(content)
        return content


@pytest.mark.parametrize(
    ("begun", "again"),
    [
        (HONEST, bytes(512)),
        (b"", raw("blobs", b"", type=tarfile.DIRTYPE)),
        (b"", pax(b"comment", b"x" * 100)),
    ],
    ids=["padding", "folders", "pax headers"],
)
def test_a_bundle_without_end_comes_to_one(begun: bytes, again: bytes) -> None:
    stream = Endless(begun, again)
    with pytest.raises(BundleRefused):
        list(Entries(stream, MOST_BYTES))
    assert stream.count < 2 << 30


def test_more_entries_than_a_bundle_may_have_are_refused() -> None:
    many = b"".join(raw(f"blobs/sha256/{number:064x}", b"") for number in range(11))
    with pytest.raises(BundleRefused, match="more than 10 entries"):
        list(Entries(io.BytesIO(many + END), MOST_BYTES, max_entries=10))


@pytest.mark.parametrize("pack", [zstandard.ZstdCompressor(level=19).compress, gzip.compress])
def test_a_bomb_is_refused_by_what_its_headers_say(pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(raw(PLACE, bytes(64 << 20)) + END)
    assert len(bomb) < 200_000
    assert "of which at most" in refusal(bomb)
    assert "of which at most" in refusal(pack(raw("index.json", bytes(17 << 20)) + END))


def test_a_window_beyond_what_is_agreed_is_refused() -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=28, write_content_size=0)
    compressing = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    assert "unpacked" in refusal(compressing.compress(HONEST) + compressing.flush())


def test_a_stream_that_gives_little_at_a_time_is_read_all_the_same() -> None:
    class Dripping(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 7))

    entries = Entries(Dripping(HONEST), MOST_BYTES)
    assert [(entry.name, entries.read_all()) for entry in entries] == READ


def test_it_is_told_how_far_the_stream_was_read() -> None:
    told: list[int] = []
    content = Bundle().add("charts.example.test/app", {"1": chart("app", "1", os.urandom(3 << 20))}).tar()
    entries = Entries(io.BytesIO(content), 4 << 20, told.append)
    for _ in entries:
        entries.read_all()
    assert told == sorted(told)
    assert told[-1] == len(content)


def test_a_stream_that_fails_is_no_bundle() -> None:
    class Broken(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(BundleRefused, match="Input/output error"):
        list(Entries(Broken(), MOST_BYTES))
