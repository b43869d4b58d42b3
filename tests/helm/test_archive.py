"""What is read of a chart archive, and everything about one that is refused (threats.md C10 to C15)."""

import gzip
import io
import random
import tarfile
import time
import tracemalloc
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.helm import gzip_stream, tar_members
from gateway.helm.archive import MAX_CHART_YAML, ArchiveError, ChartFiles
from tests.helm.archives import CHART, END, GNU, V7, chart_yaml, member, pax, read, tgz

pytestmark = pytest.mark.slow  # many small tests, seconds together

REQUIREMENTS = b"dependencies: []\n"
MIB = 1024 * 1024


def test_the_charts_own_files_are_read() -> None:
    archive = tgz(
        chart_yaml(), member(b"demo/requirements.yaml", REQUIREMENTS), member(b"demo/values.yaml", b"a")
    )
    assert read(archive) == ChartFiles(CHART, REQUIREMENTS)


@pytest.mark.parametrize(
    "members",
    [
        (member(b"demo/", flag=b"5"), chart_yaml()),
        (member(b"demo/charts/sub/Chart.yaml", b"name: sub"), chart_yaml()),
        (chart_yaml(), member(b"demo/charts/sub/Chart.yaml", b"name: sub")),
        (member(b"./Chart.yaml", CHART),),
        (member(b"demo/./Chart.yaml", CHART),),
        (member(b"any folder/Chart.yaml", CHART),),
        (member(b"demo/", flag=b"\0", magic=V7), member(b"demo/Chart.yaml", CHART, flag=b"\0", magic=V7)),
        (member(b"Chart.yaml", CHART, prefix=b"demo"),),
        (member(b"demo/Chart.yaml", CHART, magic=GNU, prefix=b"times, not a path"),),
        (
            member(b"././@LongLink", b"demo/Chart.yaml\0", flag=b"L", magic=GNU),
            member(b"cut", CHART, magic=GNU),
        ),
        (member(b"././@LongLink", b"somewhere\0", flag=b"K", magic=GNU), chart_yaml()),
        (pax(("mtime", "1.5"), ("path", "demo/Chart.yaml"), ("comment", "a=b\n")), member(b"cut", CHART)),
        (pax(("path", "")), chart_yaml()),
        (
            pax(("size", str(len(CHART)))),
            member(b"demo/Chart.yaml", size=b"0" * 11 + b"\0"),
            CHART.ljust(512, b"\0"),
        ),
        (pax(("path", "demo/other"), flag=b"g"), chart_yaml()),
        (pax(("path", "demo/other"), ("size", "7")), pax(("comment", "the last counts")), chart_yaml()),
        (pax(("path", "demo/other")), pax(("comment", "ends what was said"), flag=b"g"), chart_yaml()),
        (member(b"demo/link", flag=b"2", size=b"00000000777\0"), chart_yaml()),
        (pax(("size", "511")), member(b"demo/link", flag=b"1"), chart_yaml()),
        (member(b"demo/future", b"unknown kind", flag=b"Z"), chart_yaml()),
        (member(b"demo/requirements.yaml", flag=b"2"), chart_yaml()),
        (member(b"demo/templates//x.yaml", b"x"), chart_yaml()),
    ],
)
def test_every_dialect_and_layout_that_helm_reads_is_read(members: tuple[bytes, ...]) -> None:
    assert read(tgz(*members)) == ChartFiles(CHART)


@pytest.mark.parametrize("end", [b"", bytes(512), END, bytes(10240)])
def test_an_archive_may_end_with_or_without_an_end_marker(end: bytes) -> None:
    assert read(tgz(chart_yaml(), end=end)).chart == CHART


def test_what_follows_the_end_marker_inside_the_tar_is_not_looked_at() -> None:
    assert read(tgz(chart_yaml(), end=END + chart_yaml(b"second"))).chart == CHART


def test_a_checksum_over_signed_bytes_is_accepted() -> None:
    header = bytearray(member("démo/Chart.yaml".encode(), CHART))
    header[148:156] = b"%06o\0 " % (int(header[148:154], 8) - 256 * 2)
    assert read(tgz(bytes(header))).chart == CHART


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ((chart_yaml(), chart_yaml()), "two Chart.yaml"),
        ((member(b"demo/Chart.yaml", CHART), member(b"other/Chart.yaml", CHART)), "two Chart.yaml"),
        ((chart_yaml(), *[member(b"demo/requirements.yaml")] * 2), "two requirements.yaml"),
        ((member(b"demo/Chart.yaml", flag=b"2"),), "no regular file"),
        ((member(b"demo/Chart.yaml", flag=b"1"),), "no regular file"),
        ((member(b"demo/Chart.yaml/", flag=b"5"),), "no regular file"),
        ((member(b"demo/Chart.yaml", flag=b"6"),), "no regular file"),
        ((member(b"demo/Chart.yaml", CHART, flag=b"7"),), "no regular file"),
        ((member(b"demo/values.yaml"),), "no Chart.yaml"),
        ((), "no Chart.yaml"),
        ((member(b"./demo/Chart.yaml", CHART),), "no Chart.yaml"),
        ((member(b"Chart.yaml", CHART),), "outside the chart's folder"),
        ((chart_yaml(), member(b"README", b"x")), "outside the chart's folder"),
        ((member(b"demo//Chart.yaml", CHART),), "outside the chart's folder"),
        ((chart_yaml(), member(b"x/../../../tmp/evil")), "leads out"),
        ((chart_yaml(), member(b"../evil", flag=b"2")), "leads out"),
        ((chart_yaml(), member(b"C:/x")), "leads out"),
        ((chart_yaml(), member(b"x/c:/y")), "leads out"),
        ((chart_yaml(), member(b"/etc/evil")), "absolute"),
        ((chart_yaml(), member(b"demo\\evil")), "backslash"),
        ((chart_yaml(), pax(("path", "demo/e\0vil")), member(b"demo/evil")), "NUL"),
        ((chart_yaml(), member(b"demo/sparse", flag=b"S", magic=GNU)), "sparse"),
        ((chart_yaml(), pax(("GNU.sparse.major", "1")), member(b"demo/sparse")), "sparse"),
        ((member(b"demo/Chart.yaml", size=b"-0000000001\0"),), "size is no octal"),
        ((member(b"demo/Chart.yaml", size=b"\x80" + bytes(10) + b"\1"),), "size is no octal"),
        ((member(b"demo/Chart.yaml", size=b"\xff" * 12),), "size is no octal"),
        ((pax(("size", "-1")), chart_yaml()), "size is no number"),
        ((pax(("size", "9" * 5000)), chart_yaml()), "size is no number"),
        ((pax(("size", "99999999")), chart_yaml()), "a file of 99999999 bytes"),
        ((member(b"x", b"11 path=a\n", flag=b"x"), chart_yaml()), "malformed PAX"),
        ((member(b"x", b"10 path=a", flag=b"x"), chart_yaml()), "malformed PAX"),
        ((member(b"x", b"6 path=a\n", flag=b"x"), chart_yaml()), "malformed PAX"),
        ((member(b"x", b"no record", flag=b"x"), chart_yaml()), "malformed PAX"),
        ((member(b"x", b"path=a\n", flag=b"x"), chart_yaml()), "malformed PAX"),
        ((chart_yaml(), b"no header".ljust(512, b"!")), "checksum is no octal"),
        ((chart_yaml(), bytes(511) + b"\1"), "checksum is wrong"),
        ((chart_yaml(), bytes(512), chart_yaml()), "after the end of the tar"),
    ],
)
def test_what_is_no_safe_chart_archive_is_refused(members: tuple[bytes, ...], reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        read(tgz(*members))


@pytest.mark.parametrize(
    "archive",
    [
        tgz(member(b"demo/Chart.yaml", size=b"00000001000\0"), end=b""),
        tgz(member(b"demo/values.yaml", size=b"00000001000\0"), end=b""),
        tgz(chart_yaml(), end=b"cut"),
    ],
)
def test_a_tar_that_is_cut_short_is_refused(archive: bytes) -> None:
    with pytest.raises(ArchiveError, match="the archive ends inside"):
        read(archive)


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (b"", "cut short"),
        (b"<html>please sign in</html>", "no intact gzip stream"),
        (zlib.compress(b"zlib, not gzip"), "no intact gzip stream"),
        (tgz(chart_yaml())[:-1], "cut short"),
        (tgz(chart_yaml())[:-4], "cut short"),
        (tgz(chart_yaml())[:-8] + bytes(8), "incorrect data check"),
        (tgz(chart_yaml())[:-4] + b"\1\2\3\4", "incorrect length check"),
        (tgz(chart_yaml()) + b"\0", "after the end of the gzip"),
        (tgz(chart_yaml()) * 2, "after the end of the gzip"),
        (tgz(chart_yaml()).ljust(64 * 1024, b"\0"), "after the end of the gzip"),
    ],
)
def test_a_gzip_stream_that_is_not_exactly_one_is_refused(archive: bytes, reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        read(archive)


def test_garbage_that_begins_where_a_read_ends_is_refused() -> None:
    archive = tgz(chart_yaml())
    stream = Dripping(archive + b"x", size=len(archive))
    with pytest.raises(ArchiveError, match="after the end of the gzip"):
        gzip_stream.GzipStream(stream).drain()


class Dripping(io.BytesIO):
    """Gives at most ``size`` bytes at a time, as sockets and pipes may."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self._size = size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._size)


class Endless(io.BytesIO):
    """A gzip stream of empty deflate blocks: input without end, no output."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read() or b"\0\0\0\xff\xff" * 10_000


def test_an_endless_stream_that_inflates_to_nothing_is_refused() -> None:
    gzip_header = gzip.compress(b"")[:10]
    with pytest.raises(ArchiveError, match="has more than 104857600 bytes"):
        gzip_stream.GzipStream(Endless(gzip_header)).drain()


class TestLimits:
    def test_a_chart_yaml_may_have_1_mib_and_no_more(self) -> None:
        content = CHART.ljust(MAX_CHART_YAML, b"#")
        assert read(tgz(chart_yaml(content))).chart == content
        with pytest.raises(ArchiveError, match=r"Chart\.yaml' has more than 1048576 bytes"):
            read(tgz(chart_yaml(content + b"#")))

    def test_a_file_may_have_5_mib_and_no_more(self) -> None:
        assert read(tgz(member(b"demo/big", bytes(5 * MIB)), chart_yaml())).chart == CHART
        with pytest.raises(ArchiveError, match="a file of 5242881 bytes"):
            read(tgz(member(b"demo/big", bytes(5 * MIB + 1)), chart_yaml()))

    def test_an_archive_may_have_20_000_members_and_no_more(self) -> None:
        others = member(b"demo/x") * (tar_members.MAX_MEMBERS - 1)
        assert read(tgz(chart_yaml(), others)).chart == CHART
        with pytest.raises(ArchiveError, match="more than 20000 members"):
            read(tgz(chart_yaml(), others, member(b"demo/x")))

    @pytest.mark.parametrize("flag", [b"x", b"g", b"L", b"K"])
    def test_an_extended_header_may_have_64_kib_and_no_more(self, flag: bytes) -> None:
        exact = member(b"ext", b"65536 comment=".ljust(65535, b"c") + b"\n", flag=flag)
        over = member(b"ext", b"65537 comment=".ljust(65536, b"c") + b"\n", flag=flag)
        rest = (chart_yaml(), member(b"demo/x")) if flag != b"L" else (member(b"demo/x"),)
        if flag != b"L":
            assert read(tgz(exact, *rest)).chart == CHART
        with pytest.raises(ArchiveError, match="more than 65536 bytes"):
            read(tgz(over, *rest))

    def test_an_archive_may_inflate_to_100_mib_and_no_more(self) -> None:
        blank = bytes(100 * MIB - len(chart_yaml()))
        assert read(tgz(chart_yaml(), blank, end=b"")).chart == CHART
        with pytest.raises(ArchiveError, match="inflates to more than 104857600"):
            read(tgz(chart_yaml(), blank, end=b"\0"))

    @pytest.mark.parametrize(
        "bomb",
        [
            tgz(chart_yaml(), bytes(110 * MIB)),
            tgz(member(b"x", bytes(60 * MIB), flag=b"x"), chart_yaml()),
            tgz(member(b"demo/big", bytes(5 * MIB)) * 25),
        ],
        ids=["zeros without end", "a huge PAX header", "many big files"],
    )
    def test_a_bomb_costs_neither_memory_nor_time(self, bomb: bytes) -> None:
        tracemalloc.start()
        began = time.process_time()
        try:
            with pytest.raises(ArchiveError):
                read(bomb)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 2 * MIB
        assert time.process_time() - began < 5


names = st.text(
    st.characters(codec="utf-8", exclude_characters="\0/\\:", exclude_categories=["Cs"]), min_size=1
)
paths = st.lists(names.filter(lambda name: name not in (".", "..")), min_size=2, max_size=8).map("/".join)
members = st.dictionaries(paths.map(lambda path: f"demo/{path}"), st.binary(max_size=2000), max_size=8)


@given(
    others=members,
    chart=st.binary(max_size=3000),
    style=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    place=st.integers(0, 8),
)
def test_what_tarfile_writes_is_read_again(
    others: dict[str, bytes], chart: bytes, style: int, place: int
) -> None:
    content = list(others.items())
    content.insert(place, ("demo/Chart.yaml", chart))
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", format=style, compresslevel=1) as archive:
        for name, data in content:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    assert read(target.getvalue()).chart == chart


SOUND = (
    pax(("path", "demo/values.yaml"), ("size", "5")),
    member(b"cut", b"a: b\n"),
    member(b"././@LongLink", b"demo/" + b"x" * 200, flag=b"L", magic=GNU),
    member(b"cut", bytes(700)),
    chart_yaml(),
)


@settings(max_examples=400)
@given(seed=st.integers(0, 2**32), changes=st.integers(1, 12), inside=st.booleans())
def test_a_damaged_archive_is_read_or_refused_and_nothing_else(
    seed: int, changes: int, *, inside: bool
) -> None:
    chance = random.Random(seed)
    content = bytearray(b"".join(SOUND) + END if inside else tgz(*SOUND))
    for _ in range(changes):
        place = chance.randrange(len(content))
        content[place : place + chance.choice((0, 1, 1, 8))] = chance.choice(
            (b"", b"\0", b"\xff", b"7" * 12, chance.randbytes(1))
        )
    with suppress(ArchiveError):
        read(gzip.compress(content, 1) if inside else bytes(content))


@settings(max_examples=200)
@given(block=st.binary(min_size=512, max_size=512), sizes=st.integers(1, 1500))
def test_a_header_of_random_bytes_with_a_right_checksum_is_read_or_refused(block: bytes, sizes: int) -> None:
    header = bytearray(block)
    header[124:136] = b"%011o\0" % sizes
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with suppress(ArchiveError):
        read(tgz(bytes(header), bytes(-sizes % 512 + sizes), chart_yaml()))
