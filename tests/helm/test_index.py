"""One chart out of an index: what is found, what is left out, and when only a whole parse can tell."""

import time

import pytest

from gateway.helm.index import ChartEntries, ChartVersion, find_chart, read_entries
from gateway.helm.index_cut import NotQuick
from gateway.helm.index_whole import find_in_normalised, normalise_index
from tests.fakes.index_maker import make_index

_INDEX = b"""apiVersion: v1
entries:
  argo:
  - name: argo
    urls:
    - argo-1.0.0.tgz
    version: 1.0.0
  argo-cd:
  - created: "2021-05-21T13:04:19.360025134Z"
    description: |
      It's for:
      argo-cd-apps:
      - version: 9.9.9
    digest: 51f889dca3437fb4e0a27816f6a473a9358828dbf6f85564b7991fa1458055c2
    name: argo-cd
    urls: [https://a.example/argo-cd-2.0.0.tgz, argo-cd-2.0.0.tgz]
    version: 2.0.0
  - name: argo-cd
    urls:
    - argo-cd-1.0.0.tgz
    version: "1.10"
  argo-cd-apps:
  - name: argo-cd-apps
    urls: []
    version: v3.0.0
generated: "2026-07-02T19:19:04.653416281Z"
annotations:
  events:
  - argo
  argo:
  - x
"""


def versions_of(content: bytes, chart: str) -> list[str]:
    """Ask both ways, which must agree."""
    entries = find_chart(content, chart)
    assert entries == find_in_normalised(normalise_index(content), chart)
    return [] if entries is None else [entry.version for entry in entries.versions]


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"---\n", b"# it's\n\n"], ids=["", "bom", "marker", "comment"])
@pytest.mark.parametrize("chart", ["argo", "argo-cd", "argo-cd-apps"], ids=["first", "middle", "last"])
def test_a_chart_is_found_quickly_wherever_it_stands(chart: str, start: bytes, end: str) -> None:
    content = (start + _INDEX).replace(b"\n", end.encode())
    expected = {"argo": ["1.0.0"], "argo-cd": ["2.0.0", "1.10"], "argo-cd-apps": ["v3.0.0"]}
    assert versions_of(content, chart) == expected[chart]


def test_an_entry_is_read_whole() -> None:
    assert find_chart(_INDEX, "argo-cd") == ChartEntries(
        versions=(
            ChartVersion(
                name="argo-cd",
                version="2.0.0",
                urls=("https://a.example/argo-cd-2.0.0.tgz", "argo-cd-2.0.0.tgz"),
                digest="51f889dca3437fb4e0a27816f6a473a9358828dbf6f85564b7991fa1458055c2",
                created="2021-05-21T13:04:19.360025134Z",
            ),
            ChartVersion(name="argo-cd", version="1.10", urls=("argo-cd-1.0.0.tgz",)),
        )
    )


@pytest.mark.parametrize("chart", ["absent", "arg", "cd", "apps", "argo-cd-app", "generated", "entries", "x_y.z"])
def test_an_absent_chart_is_known_to_be_absent_quickly(chart: str) -> None:
    assert find_chart(_INDEX, chart) is None
    assert versions_of(_INDEX, chart) == []


def test_the_only_chart_is_found_up_to_the_end_of_the_file() -> None:
    for end in (b"", b"\n", b"\n\n", b"\n  - \n", b"\n  -", b"\n# x", b"\n   "):
        content = b"apiVersion: v1\nentries:\n  argo:\n  - {name: argo, version: 1.0.0}" + end
        assert versions_of(content, "argo") == ["1.0.0"]


@pytest.mark.parametrize("indent", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("item_indent", [0, 2, 4])
def test_any_indentation_is_quick(indent: int, item_indent: int) -> None:
    pad, item = " " * indent, " " * (indent + item_indent)
    chart = "{pad}{name}:\n\n{item}-   name: {name}\n{item}    version: 1.0.0\n# note\n"
    charts = (chart.format(pad=pad, item=item, name=name) for name in ("argo", "argo-cd"))
    content = f"apiVersion: v1\nentries:\n{''.join(charts)}generated: now\n".encode()
    assert versions_of(content, "argo") == versions_of(content, "argo-cd") == ["1.0.0"]
    assert find_chart(content, "absent") is None


def test_members_before_the_entries_may_be_any_simple_ones() -> None:
    head = b"annotations:\n  a/b: 'c'\n  d: \"e\"\napiVersion: 'v1'\nserverInfo: {}\ngenerated: 2021-05-21T13:04:19Z\n"
    assert versions_of(head + _INDEX.removeprefix(b"apiVersion: v1\n").split(b"generated")[0], "argo") == ["1.0.0"]


def test_a_thousand_versions_are_found_in_their_order() -> None:
    entries = "".join(f"  - name: argo\n    version: 1.0.{number}\n" for number in range(1000))
    content = f"apiVersion: v1\nentries:\n  argo:\n{entries}  b:\n  - x\n".encode()
    assert versions_of(content, "argo") == [f"1.0.{number}" for number in range(1000)]


def test_an_index_of_many_strides_is_searched_whole() -> None:
    content = make_index(charts=30, size_bytes=4_000_000)
    normalised = normalise_index(content)
    for number in range(30):
        chart = f"chart-{number:03d}"
        assert find_chart(content, chart) == find_in_normalised(normalised, chart)
    assert find_chart(content, "chart-030") is None


_ARGO = "  argo:\n  - {name: argo, version: 1.0.0}\n"
_PROSE = "  argo-cd:\n  - {name: argo-cd, version: 9.9.9}\n"


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("apiVersion", f"entries:\n{_PROSE}"),
        ("apiVersion", f"apiVersion: ''\nentries:\n{_PROSE}"),
        ("head", '{"apiVersion": "v1", "entries": {"argo-cd": []}}'),
        ("head", "apiVersion: v1\nentries: {argo-cd: []}\n"),
        ("head", "apiVersion: v1\nentries:\nargo-cd:\n- a\n"),
        ("head", f"apiVersion: v1\n\"entries\":\n{_PROSE}"),
        ("head", f"apiVersion: v1\nnote: |\n  entries:\nentries:\n{_PROSE}"),
        ("head", f"apiVersion: v1\nnote: 'it\nentries:\n{_PROSE}  x:\n  - '\n"),
        ("head", f"%YAML 1.1\n---\napiVersion: v1\nentries:\n{_PROSE}"),
        ("head", f"apiVersion: v1\nentries: &a\n{_PROSE}"),
        ("head", f"apiVersion: v1\nentries:\n  'argo':\n  - a\n{_PROSE}"),
        ("another style", f"apiVersion: v1\nentries:\n{_ARGO}  'argo-cd':\n  - a\n"),
        ("another style", f'apiVersion: v1\nentries:\n{_ARGO}  "argo\\x2dcd":\n  - a\n'),
        ("another style", f"apiVersion: v1\nentries:\n{_ARGO}  ? argo-cd\n  : - a\n"),
        ("another style", f"apiVersion: v1\nentries:\n{_ARGO}  argo-cd :\n  - a\n"),
        ("another style", f"apiVersion: v1\nentries:\n{_ARGO}  &a argo-cd:\n  - a\n"),
        ("another style", f"apiVersion: v1\nentries:\n{_ARGO}  !!str argo-cd:\n  - a\n"),
        ("another style", f"apiVersion: v1\nentries:\n{_ARGO}  <<: *a\n"),
        ("block sequence", f"apiVersion: v1\nentries:\n{_ARGO}  argo-cd: []\n"),
        ("block sequence", f"apiVersion: v1\nentries:\n{_ARGO}  argo-cd: &a\n  - a\n"),
        ("block sequence", f"apiVersion: v1\nentries:\n{_ARGO}  argo-cd: # x\n  - a\n"),
        ("block sequence", f"apiVersion: v1\nentries:\n{_ARGO}  argo-cd:\n    a: b\n"),
        ("block sequence", f"apiVersion: v1\nentries:\n{_ARGO}  argo-cd:\n"),
        ("twice", f"apiVersion: v1\nentries:\n{_PROSE}{_ARGO}{_PROSE}"),
        ("many places", f"apiVersion: v1\nentries:\n{_PROSE * 9}"),
        ("column 0", f"apiVersion: v1\nentries:\n{_ARGO}annotations:\n{_PROSE}"),
        ("carriage return", f"apiVersion: v1\nentries:\n{_ARGO}\r{_PROSE}"),
        ("c2 85", f"apiVersion: v1\nentries:\n{_ARGO}\u0085{_PROSE}"),
        ("e2 80 a8", f"apiVersion: v1\nentries:\n{_ARGO}# x\u2028{_PROSE}"),
        ("e2 80 a9", f"apiVersion: v1\nentries:\n{_ARGO}# x\u2029{_PROSE}"),
        ("ef bb bf", f"apiVersion: v1\nentries:\n{_ARGO}\ufeff argo-cd:\n  - a\n"),
        ("quotes", f"apiVersion: v1\nentries:\n  argo:\n  - note: '\n{_PROSE}  end'\n"),
        ("quotes", f'apiVersion: v1\nentries:\n  argo:\n  - note: "\n{_PROSE}  end"\n'),
        ("alone", f"apiVersion: v1\nentries:\n  argo:\n  - a: &a x\n{_PROSE}  - *a\n"),
        ("alone", "apiVersion: v1\nentries:\n  argo-cd:\n  - 'it\n  is'\n"),
        ("alone", "apiVersion: v1\nentries:\n  argo-cd:\n  - [it,\n  is]\n"),
        ("alone", f"apiVersion: v1\nentries:\n  argo-cd:\n  - {'[' * 100}{']' * 100}\n"),
        ("more than", "apiVersion: v1\nentries:\n  argo:\n  - [\n  argo-cd:\n  - a\n  ]\n"),
    ],
)  # fmt: skip
def test_another_style_is_left_to_the_whole_parse(reason: str, text: str) -> None:
    with pytest.raises(NotQuick, match=reason):
        find_chart(text.encode(), "argo-cd")
