"""An archive is written again in bytes that rest on nothing but its source and the new contents."""

import gzip
import io
import tarfile
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.helm.archive import MAX_CHART_YAML, ArchiveError
from gateway.helm.archive_copy import copy_with, read_files
from gateway.oci.digest import Digest
from tests.helm.archives import CHART, END, GNU, chart_yaml, member, pax, tgz

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

NEW = {b"Chart.yaml": b"name: another\n" * 50}
LOCK = b"Chart.lock"
MIB = 1024 * 1024
EVERYTHING = (
    member(b"demo/", flag=b"5"),
    pax(("path", "demo/" + "long/" * 40 + "é"), ("mtime", "1.5")),
    member(b"cut", b"x" * 513),
    chart_yaml(),
    member(b"././@LongLink", b"demo/" + b"l" * 200 + b"\0", flag=b"L", magic=GNU),
    member(b"cut", b"y" * 511, magic=GNU),
    member(b"demo/link", flag=b"2"),
    member(b"demo/charts/sub/Chart.yaml", b"name: sub"),
    member(b"demo/charts/sub-1.tgz", bytes(range(256)) * 280),
)


def copied(archive: bytes, contents: dict[bytes, bytes] = NEW) -> bytes:
    return copy_with(io.BytesIO(archive), contents)


def told(archive: bytes) -> list[tuple[dict[str, object], bytes]]:
    """Everything that tarfile knows of the members but their checksums, and their contents."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
        return [(dict(info.get_info()), _content(members, info)) for info in members]


def _content(members: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    content = members.extractfile(info) if info.isfile() else None
    return b"" if content is None else content.read()


def test_order_names_modes_times_and_kinds_stay() -> None:
    before, after = told(tgz(*EVERYTHING)), told(copied(tgz(*EVERYTHING)))
    place = [info["name"] for info, _ in before].index("demo/Chart.yaml")
    assert after[place] == (
        {**before[place][0], "size": 700, "chksum": after[place][0]["chksum"]},
        NEW[b"Chart.yaml"],
    )
    assert after[:place] + after[place + 1 :] == before[:place] + before[place + 1 :]


def test_the_bytes_are_these_on_every_machine() -> None:
    """Changing them makes charts that were pulled before have another digest: no such change is small."""
    assert str(Digest.of(copied(tgz(*EVERYTHING)))) == (
        "sha256:7725a3c5cd5ddc7cb8f034f4ece3985836cfb0b2a28434056808984b3ae24215"
    )


def test_the_gzip_is_stored_and_says_nothing_of_time_or_machine() -> None:
    archive = copied(tgz(chart_yaml()))
    assert archive[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    assert NEW[b"Chart.yaml"] in archive


def test_how_the_source_was_compressed_makes_no_difference() -> None:
    tar = b"".join(EVERYTHING) + END
    assert copied(gzip.compress(tar, 9, mtime=5)) == copied(gzip.compress(tar, 1, mtime=0))


@pytest.mark.parametrize("end", [b"", bytes(512), END, bytes(10240), END + chart_yaml(b"hidden")])
def test_it_ends_properly_however_the_source_ended(end: bytes) -> None:
    archive = copied(tgz(chart_yaml(), member(b"demo/z", b"z"), end=end))
    tar = gzip.decompress(archive)
    assert tar.endswith(END)
    assert b"hidden" not in tar
    assert [content for _, content in told(archive)] == [NEW[b"Chart.yaml"], b"z"]


def test_several_files_are_replaced_and_others_of_their_name_are_not() -> None:
    archive = tgz(
        member(b"demo/charts/sub/Chart.lock", b"inner"),
        member(b"demo/./Chart.lock", b"old"),
        member(b"demo/Chart.yaml", flag=b"5"),
        chart_yaml(),
    )
    new = {**NEW, LOCK: b""}
    assert read_files(io.BytesIO(copied(archive, new)), new) == new
    assert [content for _, content in told(copied(archive, new))] == [b"inner", b"", b"", NEW[b"Chart.yaml"]]


def test_only_the_charts_own_files_are_read() -> None:
    archive = tgz(
        chart_yaml(), member(b"demo/charts/s/Chart.lock", b"x"), member(b"demo/Chart.lock", flag=b"2")
    )
    assert read_files(io.BytesIO(archive), {b"Chart.yaml", LOCK}) == {b"Chart.yaml": CHART}


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ((member(b"demo/Chart.lock"), member(b"other/Chart.lock")), "two Chart.lock"),
        ((member(b"demo/Chart.lock", bytes(MAX_CHART_YAML + 1)),), "Chart.lock has more than 1048576 bytes"),
    ],
)
def test_what_is_no_sound_archive_is_refused(members: tuple[bytes, ...], reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        read_files(io.BytesIO(tgz(chart_yaml(), *members)), {LOCK})


@pytest.mark.parametrize("size", [len(CHART), 3])
def test_a_file_whose_size_stands_elsewhere_than_in_its_header_is_refused(size: int) -> None:
    archive = tgz(pax(("size", str(size))), chart_yaml(CHART[:size]), member(b"demo/z", b"z" * 2000))
    with pytest.raises(ArchiveError):
        copied(archive)
    with pytest.raises(ArchiveError, match="cannot be given another content"):
        copied(archive, {b"Chart.yaml": CHART[:size] + b"#"})


def test_an_archive_that_is_cut_short_is_refused() -> None:
    with pytest.raises(ArchiveError, match="ends inside a member"):
        copied(tgz(chart_yaml(), member(b"demo/z", size=b"00000001000\0"), end=b"cut"))


def test_a_copy_is_not_very_many_times_its_source() -> None:
    small = tgz(chart_yaml(), member(b"demo/zeros", bytes(MIB)), end=b"")
    copied(small)  # a little is always allowed
    with pytest.raises(ArchiveError, match="the archive written again has more than 2097152 bytes"):
        copied(tgz(chart_yaml(), member(b"demo/zeros", bytes(MIB)) * 3, end=b""))


@pytest.mark.slow
def test_a_copy_may_have_100_mib_and_no_more() -> None:
    big = member(b"demo/big", Random(1).randbytes(MIB) * 5) * 19  # not very many times smaller as it comes
    room = 100 * MIB - len(big) - len(chart_yaml()) - 512
    copied(tgz(chart_yaml(), big, member(b"demo/rest", bytes(room - 16_384)), end=b""))
    with pytest.raises(ArchiveError, match="has more than 104857600 bytes"):
        copied(tgz(chart_yaml(), big, member(b"demo/rest", bytes(room)), end=b""))


@given(
    sizes=st.lists(st.integers(0, 1600), max_size=6),
    place=st.integers(0, 6),
    content=st.binary(max_size=140_000) | st.integers(65_000, 66_000).map(bytes),
)
def test_whatever_the_sizes_every_content_is_there(sizes: list[int], place: int, content: bytes) -> None:
    others = [member(b"demo/%d" % number, b"x" * size) for number, size in enumerate(sizes)]
    archive = tgz(*others[:place], chart_yaml(), *others[place:])
    expected = [b"x" * size for size in sizes]
    expected.insert(place, content)
    assert [found for _, found in told(copied(archive, {b"Chart.yaml": content}))] == expected
