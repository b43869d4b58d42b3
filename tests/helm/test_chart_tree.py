"""A chart and the charts inside it, out of one archive, whatever that archive is made of."""

from io import BytesIO

import pytest

from gateway.helm import chart_tree
from gateway.helm.archive import ArchiveError
from gateway.helm.chart_tree import MAX_CHARTS, MAX_DEPTH, ChartTree, read_chart_tree
from tests.fakes.charts import make_chart
from tests.helm.archives import CHART, chart_yaml, member, tgz

MIB = 1024 * 1024


def tree(archive: bytes) -> ChartTree:
    return read_chart_tree(BytesIO(archive))


def test_the_files_that_count_are_kept() -> None:
    found = tree(
        make_chart(
            "app",
            "1.0.0",
            {
                "values.yaml": b"a: 1",
                "requirements.yaml": b"dependencies: []",
                "requirements.lock": b"digest: x",
                "templates/one.yaml": b"one",
                "templates/tests/two.yml": b"two",
                "templates/NOTES.txt": b"notes",
                "crds/three.yaml": b"three",
                "README.md": b"read me",
            },
        )
    )
    assert found.files.requirements == b"dependencies: []"
    assert found.values == b"a: 1"
    assert found.lock == ("requirements.lock", b"digest: x")
    assert found.templates == {"templates/one.yaml": b"one", "templates/tests/two.yml": b"two"}
    assert (found.where, found.subcharts, found.remarks) == ("", (), ())


def test_charts_inside_are_found_as_folders_and_as_archives() -> None:
    inner = make_chart("inner", "1.0.0", {"values.yaml": b"in: 1", "charts/deep/Chart.yaml": CHART})
    found = tree(
        make_chart(
            "app",
            "1.0.0",
            {
                "charts/a-1.tgz": inner,
                "charts/b/Chart.yaml": CHART,
                "charts/b/values.yaml": b"b: 1",
                "charts/_ignored/Chart.yaml": CHART,
                "charts/README.md": b"no chart",
            },
        )
    )
    first, second = found.subcharts
    assert (first.where, first.values) == ("charts/a-1.tgz/", b"in: 1")
    assert [deep.where for deep in first.subcharts] == ["charts/a-1.tgz/charts/deep/"]
    assert (second.where, second.values) == ("charts/b/", b"b: 1")


def test_of_two_equal_files_the_first_counts_and_links_do_not() -> None:
    values = (member(b"demo/values.yaml", b"1"), member(b"demo/values.yaml", b"2"))
    assert tree(tgz(chart_yaml(), *values)).values == b"1"
    assert tree(tgz(chart_yaml(), member(b"demo/values.yaml", flag=b"2"))).values == b""


def test_a_file_that_is_too_large_is_left_out() -> None:
    assert tree(tgz(chart_yaml(), member(b"demo/values.yaml", bytes(MIB + 1)))).values == b""


def test_a_chart_inside_that_cannot_be_read_is_told_and_the_rest_is_read() -> None:
    found = tree(
        make_chart(
            "app",
            "1.0.0",
            {
                "charts/a.tgz": b"no archive",
                "charts/b/values.yaml": b"",
                "charts/c/Chart.yaml": CHART,
            },
        )
    )
    assert [one.where for one in found.subcharts] == ["charts/c/"]
    broken, empty = found.remarks
    assert broken.startswith("charts/a.tgz cannot be read: no intact gzip stream")
    assert empty == "charts/b has no Chart.yaml"


def test_what_is_no_chart_is_refused() -> None:
    with pytest.raises(ArchiveError, match=r"no Chart\.yaml"):
        tree(tgz(member(b"demo/values.yaml", b"")))


def test_charts_inside_charts_are_followed_only_so_deep() -> None:
    archive = make_chart("c", "1.0.0")
    for _ in range(MAX_DEPTH + 1):
        archive = make_chart("c", "1.0.0", {"charts/c.tgz": archive})
    found = tree(archive)
    assert found.remarks == (
        f"{'charts/c.tgz/' * MAX_DEPTH}charts/c.tgz cannot be read: charts inside charts, deeper than 4",
    )


@pytest.mark.slow
def test_a_chart_has_only_so_many_inside() -> None:
    names = [f"charts/{number:03}/Chart.yaml" for number in range(MAX_CHARTS + 1)]
    found = tree(make_chart("app", "1.0.0", dict.fromkeys(names, CHART)))
    assert len(found.subcharts) == MAX_CHARTS
    assert found.remarks == ("charts/100 cannot be read: it has more than 100 charts inside it",)


@pytest.mark.slow
def test_a_bomb_in_an_archive_in_it_is_told() -> None:
    zeros = [member(b"demo/%d" % number, bytes(5 * MIB)) for number in range(19)]
    bomb = tgz(chart_yaml(), *zeros)
    found = tree(make_chart("app", "1.0.0", {f"charts/{number}.tgz": bomb for number in range(4)}))
    assert len(found.subcharts) == 2
    assert found.remarks[0].endswith(f"inflate to more than {chart_tree.MAX_INFLATED} bytes")


@pytest.mark.slow
def test_what_would_fill_the_memory_is_refused() -> None:
    templates = [member(b"demo/templates/%d.yaml" % number, bytes(MIB)) for number in range(17)]
    with pytest.raises(ArchiveError, match="have more than 16777216 bytes"):
        tree(tgz(chart_yaml(), *templates))
