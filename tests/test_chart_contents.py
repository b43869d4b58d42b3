"""What is shown of a chart: out of its archive under limits, whatever a stranger packed into it."""

import gzip
import io
from pathlib import Path

import pytest

from gateway.chart_contents import SHOWN_BYTES, ChartContents, ChartReader, read_contents
from gateway.oci.digest import Digest
from gateway.store.blobs import keep_bytes
from gateway.store.blobs_directory import DirectoryBlobs
from tests.fakes.charts import make_chart, pack

pytestmark = [pytest.mark.slow, pytest.mark.anyio]


def contents_of(archive: bytes) -> ChartContents:
    return read_contents(io.BytesIO(archive))


def test_facts_values_and_readme_are_read() -> None:
    files = {"values.yaml": b"a: 1\r\n", "README.md": b"# Hello", "templates/x.yaml": b"x"}
    contents = contents_of(make_chart("redis", "1.2.3", files, appVersion="7.0"))
    assert contents.metadata is not None
    assert (contents.metadata.name, contents.metadata.app_version) == ("redis", "7.0")
    assert contents.values is not None
    assert contents.values.text == "a: 1\n"
    assert contents.readme is not None
    assert contents.readme.text == "# Hello"
    assert contents.is_held
    assert contents.trouble == ""


def test_a_chart_without_values_and_readme_has_none() -> None:
    contents = contents_of(make_chart("redis", "1.2.3"))
    assert (contents.values, contents.readme) == (None, None)


def test_files_of_a_subchart_are_not_the_charts_own() -> None:
    files = {"charts/sub/values.yaml": b"sub", "charts/sub/README.md": b"sub"}
    contents = contents_of(make_chart("redis", "1.2.3", files))
    assert (contents.values, contents.readme) == (None, None)


@pytest.mark.parametrize("folder", ["redis", ".", "redis/.", "Redis-1.2.3"])
def test_the_charts_folder_may_have_any_name(folder: str) -> None:
    chart = b"apiVersion: v2\nname: redis\nversion: 1.2.3\n"
    contents = contents_of(pack({f"{folder}/Chart.yaml": chart, f"{folder}/values.yaml": b"a: 1"}))
    assert contents.metadata is not None
    assert contents.values is not None


def test_of_two_equal_files_the_first_is_shown() -> None:
    files = {"README.md": b"first", "readme.md": b"second"}
    contents = contents_of(make_chart("redis", "1.2.3", files))
    assert contents.readme is not None
    assert contents.readme.text == "first"


def test_of_a_long_file_the_beginning_is_shown_and_its_size_told() -> None:
    contents = contents_of(make_chart("redis", "1.2.3", {"values.yaml": b"#" * (SHOWN_BYTES + 1)}))
    assert contents.values is not None
    assert len(contents.values.text) == SHOWN_BYTES
    assert contents.values.is_cut
    assert contents.values.size_bytes == SHOWN_BYTES + 1


def test_bytes_that_are_no_text_and_signs_that_turn_it_round_are_replaced() -> None:
    contents = contents_of(make_chart("redis", "1.2.3", {"values.yaml": b"a\xff\x00\x1b[31m\xe2\x80\xae"}))
    assert contents.values is not None
    assert contents.values.text == "a\ufffd\ufffd\ufffd[31m\ufffd"


@pytest.mark.parametrize(
    "archive",
    [
        b"no archive",
        b"",
        make_chart("redis", "1.2.3", {"values.yaml": b"x" * 9999})[:40],
        pack({"elsewhere/x": b"x"}),
        pack({"Chart.yaml": b"name: outside"}),
        pack({"redis/../../etc/Chart.yaml": b"name: above"}),
        pack({"redis/Chart.yaml": b"[" * 100_000}),
        pack({"redis/Chart.yaml": b"#" * (1024 * 1024 + 1)}),
        pack({"redis/big.bin": b"x" * (5 * 1024 * 1024 + 1)}),
        gzip.compress(bytes(101 * 1024 * 1024), 1),
    ],
)
def test_what_is_odd_about_an_archive_is_told(archive: bytes) -> None:
    contents = contents_of(archive)
    assert contents.trouble
    assert contents.metadata is None
    assert contents.is_held


def test_what_was_read_before_an_archive_breaks_off_is_shown() -> None:
    whole = gzip.decompress(make_chart("redis", "1.2.3", {"values.yaml": b"a: 1", "x": b"x" * 3000}))
    contents = contents_of(gzip.compress(whole[:4200]))
    assert contents.metadata is not None
    assert contents.values is not None
    assert "read to its end" in contents.trouble


async def test_an_archive_of_many_pieces_is_read_from_the_store(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    noise = bytes(range(256)) * 8000
    files = {"templates/noise": Digest.of(noise).hex.encode() * 20_000, "README.md": b"at the end"}
    layer = await keep_bytes(blobs, make_chart("redis", "1.2.3", files))
    contents = await ChartReader(blobs).of_layer(layer)
    assert contents is not None
    assert contents.readme is not None
    assert contents.readme.text == "at the end"


async def test_of_what_is_not_held_there_are_only_the_facts_of_its_config(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    reader = ChartReader(blobs)
    config = b'{"name":"redis","version":"1.2.3","description":"fast"}'
    digest = await keep_bytes(blobs, config)
    assert await reader.of_layer(Digest.of(b"gone")) is None
    contents = await reader.of_config(digest, len(config))
    assert contents.metadata is not None
    assert contents.metadata.description == "fast"
    assert not contents.is_held


async def test_a_config_that_is_gone_or_no_charts_gives_no_facts(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    reader = ChartReader(blobs)
    assert await reader.of_config(Digest.of(b"gone"), 4) == ChartContents()
    digest = await keep_bytes(blobs, b"[]")
    assert (await reader.of_config(digest, 2)).metadata is None
    assert "too large" in (await reader.of_config(digest, 1 << 30)).trouble
