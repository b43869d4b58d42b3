"""One chart out of an index: what is found, what is left out, and when only a whole parse can tell."""

import pytest

from gateway.helm.document import Plain, Value
from gateway.helm.index import ChartEntries, ChartVersion, find_chart, read_entries
from gateway.helm.index_cut import NotQuick
from gateway.helm.index_whole import BrokenIndex, find_in_normalised, normalise_index

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
@pytest.mark.parametrize(
    "start", [b"", b"\xef\xbb\xbf", b"---\n", b"# it's\n\n"], ids=["", "bom", "marker", "comment"]
)
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


@pytest.mark.parametrize(
    "chart", ["absent", "arg", "cd", "apps", "argo-cd-app", "generated", "entries", "x_y.z"]
)
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
    head = b"""annotations:
  a/b: 'c'
  d: "e"
apiVersion: 'v1'
serverInfo: {}
generated: 2021-05-21T13:04:19Z
"""
    assert versions_of(head + _INDEX.removeprefix(b"apiVersion: v1\n").split(b"generated")[0], "argo") == [
        "1.0.0"
    ]


def test_a_thousand_versions_are_found_in_their_order() -> None:
    entries = "".join(f"  - name: argo\n    version: 1.0.{number}\n" for number in range(1000))
    content = f"apiVersion: v1\nentries:\n  argo:\n{entries}  b:\n  - x\n".encode()
    assert versions_of(content, "argo") == [f"1.0.{number}" for number in range(1000)]


def test_an_index_of_many_strides_is_searched_whole() -> None:
    item = "  - name: {0}\n    version: 1.0.{1}\n    note: {2}\n"
    charts = {
        f"chart-{number}": "".join(
            item.format(f"chart-{number}", version, "x" * 20_000) for version in range(12)
        )
        for number in range(12)
    }
    entries = "".join(f"  {name}:\n{items}" for name, items in charts.items())
    content = f"apiVersion: v1\nentries:\n{entries}generated: now\n".encode()
    assert len(content) > 2 << 20
    normalised = normalise_index(content)
    for chart in charts:
        assert find_chart(content, chart) == find_in_normalised(normalised, chart)
    assert find_chart(content, "chart-12") is None


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
    ],
)  # fmt: skip
def test_another_style_is_left_to_the_whole_parse(reason: str, text: str) -> None:
    with pytest.raises(NotQuick, match=reason):
        find_chart(text.encode(), "argo-cd")


@pytest.mark.parametrize("chart", ["", "a b", "../x", "a/b", "argo-cd:", "it's", "-", "é", "a\n"])
def test_a_name_that_is_no_plain_key_is_left_to_the_whole_parse(chart: str) -> None:
    with pytest.raises(NotQuick, match="plain chart name"):
        find_chart(_INDEX, chart)


def test_a_fault_outside_the_chart_does_not_hide_the_chart() -> None:
    entries = find_chart(_INDEX + b"}\n", "argo-cd")
    assert entries is not None
    assert len(entries.versions) == 2
    with pytest.raises(BrokenIndex):
        normalise_index(_INDEX + b"}\n")


def _read(**members: Value) -> ChartEntries:
    return read_entries([{"name": "argo", "version": "1.0.0", **members}])


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (None, "the entry is no mapping"),
        (["name"], "the entry is no mapping"),
        ({"version": "1.0.0"}, "its name is missing"),
        ({"name": "", "version": "1.0.0"}, "its name is ''"),
        ({"name": Plain("12"), "version": "1.0.0"}, "its name is 12 without quotes"),
        ({"name": ["argo"], "version": "1.0.0"}, "its name is no text"),
        ({"name": "\ud800", "version": "1.0.0"}, "its name is '\\ud800'"),
        ({"name": "argo"}, "its version is missing"),
        ({"name": "argo", "version": Plain("1.10")}, "its version is 1.10 without quotes"),
        ({"name": "argo", "version": Plain("3")}, "its version is 3 without quotes"),
        ({"name": "argo", "version": Plain("true")}, "its version is true without quotes"),
        ({"name": "argo", "version": {"a": "b"}}, "its version is no text"),
        ({"name": "argo", "version": Plain("latest")}, "its version 'latest' is no SemVer"),
        ({"name": "argo", "version": "1.0.0.0"}, "its version '1.0.0.0' is no SemVer"),
        ({"name": "argo", "version": "x" * 100}, f"its version '{'x' * 80}' is no SemVer"),
    ],
)
def test_an_entry_that_helm_would_refuse_is_left_out_and_told(entry: Value, reason: str) -> None:
    good: Value = {"name": "argo", "version": "1.0.0"}
    assert read_entries([good, entry, good]) == ChartEntries(
        versions=(ChartVersion("argo", "1.0.0"), ChartVersion("argo", "1.0.0")), skipped=((1, reason),)
    )


@pytest.mark.parametrize("value", [None, "text", {}, {"name": "argo"}, []])
def test_anything_but_a_list_holds_no_versions(value: Value) -> None:
    assert read_entries(value) == ChartEntries()


@pytest.mark.parametrize("version", ["1.10", Plain("1.1.0"), Plain("v3"), "3", Plain("1.0.0-rc.1+b.2")])
def test_a_version_is_kept_as_it_is_written(version: str) -> None:
    assert _read(version=version).versions == (ChartVersion("argo", str(version)),)


def test_a_name_other_than_the_key_is_kept_for_the_caller_to_refuse() -> None:
    assert _read(name="../proj1/x").versions == (ChartVersion("../proj1/x", "1.0.0"),)


@pytest.mark.parametrize(
    ("urls", "kept"),
    [
        (None, ()),
        ([], ()),
        ("a.tgz", ()),
        ({"a": "b"}, ()),
        ([None, "", Plain("7"), ["x"], "\udc00"], ()),
        ([Plain("a.tgz"), None, "oci://b.example/c"], ("a.tgz", "oci://b.example/c")),
    ],
)
def test_urls_are_the_texts_of_a_list(urls: Value, kept: tuple[str, ...]) -> None:
    assert _read(urls=urls).versions[0].urls == kept


@pytest.mark.parametrize(
    ("digest", "kept", "is_malformed"),
    [
        (None, None, False),
        ("", None, False),
        ("0123456789abcdef" * 4, "0123456789abcdef" * 4, False),
        ("SHA256:" + "0123456789ABCDEF" * 4, "0123456789abcdef" * 4, False),
        (Plain("1" * 64), "1" * 64, False),
        ("sha256:Abc", "sha256:Abc", True),
        ("sha512:" + "0" * 128, "sha512:" + "0" * 128, True),
        (["a"], "no text", True),
        ("\ud800", "no text", True),
    ],
)
def test_a_digest_is_bare_lower_case_or_as_written(
    digest: Value, kept: str | None, is_malformed: bool
) -> None:
    (version,) = _read(digest=digest).versions
    assert (version.digest, version.has_malformed_digest) == (kept, is_malformed)


@pytest.mark.parametrize(
    ("created", "kept"),
    [(None, None), ("", None), (["x"], None), ("\ud800", None), (Plain("2021-05-21"), "2021-05-21")],
)
def test_a_time_is_a_text_or_none(created: Value, kept: str | None) -> None:
    assert _read(created=created).versions[0].created == kept
