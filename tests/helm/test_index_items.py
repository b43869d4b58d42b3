"""The entries of some versions, without parsing the others: the same as out of all of them."""

from dataclasses import replace

import pytest

from gateway.helm.index import ChartEntries, find_chart, find_versions
from gateway.helm.index_cut import Block, NotQuick, find_block
from gateway.helm.index_items import cut_items
from gateway.helm.index_whole import find_in_normalised, normalise_index
from tests.fakes.index_maker import make_index

_WANTED = frozenset({"1.0.0", "v1.0.0"})
_HEAD = "apiVersion: v1\nentries:\n  argo:\n"
_TAIL = "  b:\n  - x\n"
_FIRST = "  - name: argo\n    version: 0.1.0\n    urls: [a-1.0.0.tgz, 11.0.0, 1.0.0-rc]\n"


def block_of(text: str) -> tuple[bytes, Block]:
    content = text.encode()
    block = find_block(content, "argo")
    assert block is not None
    return content, block


def versions_in(text: str) -> list[str]:
    """Ask for some versions; the whole parse must agree."""
    content = text.encode()
    found = find_versions(content, "argo", _WANTED)
    whole = find_in_normalised(normalise_index(content), "argo")
    assert found is not None
    assert whole is not None
    assert found.versions == tuple(entry for entry in whole.versions if entry.version in _WANTED)
    return [entry.version for entry in found.versions]


@pytest.mark.parametrize("pad", ["  ", "    "])
@pytest.mark.parametrize(
    "version",
    [
        "1.0.0",
        "v1.0.0",
        "'1.0.0'",
        '"1.0.0"',
        "1.0.0 # x",
        "|-\n        1.0.0",
        '"1.0.\\x30"',
        '"1.0\\\n       .0"',
    ],
)
def test_an_item_is_cut_however_its_version_is_written(version: str, pad: str) -> None:
    item = f"{pad}- name: argo\n{pad}  version: {version}\n"
    others = _FIRST.replace("\n  ", f"\n{pad}").replace("  -", f"{pad}-", 1)
    content, block = block_of(_HEAD + others + item + others + _TAIL)
    assert cut_items(content, block, _WANTED) == [item.encode()]
    assert len(versions_in(content.decode())) == 1


def test_equal_versions_are_kept_in_their_order() -> None:
    item = "  - name: argo\n    version: {}\n    urls: [{}]\n"
    text = (
        _HEAD
        + item.format("v1.0.0", "a")
        + _FIRST
        + item.format("1.0.0", "b")
        + item.format("1.0.0", "c")
        + _TAIL
    )
    entries = find_versions(text.encode(), "argo", _WANTED)
    assert entries is not None
    assert [entry.urls for entry in entries.versions] == [("a",), ("b",), ("c",)]
    assert versions_in(text) == ["v1.0.0", "1.0.0", "1.0.0"]


def test_an_item_that_only_mentions_the_version_is_left_out() -> None:
    item = "  - name: argo\n    version: 0.9.0\n    appVersion: 1.0.0\n"
    assert versions_in(_HEAD + item + _TAIL) == []


def test_the_last_chart_ends_with_the_file_or_before_simple_members() -> None:
    item = "  - name: argo\n    version: 1.0.0\n"
    for tail in ("", "# 1.0.0\n", 'generated: "2026-07-02T19:19:04Z"\n'):
        content, block = block_of(_HEAD + _FIRST + item + tail)
        assert len(cut_items(content, block, _WANTED)) == 1
        assert versions_in(content.decode()) == ["1.0.0"]


@pytest.mark.parametrize(
    ("reason", "items"),
    [
        ("alias", "  - &a {name: argo, version: 1.0.0}\n  - *a\n"),
        ("alias", "  - name: argo\n    note: &a 1.0.0\n    version: *a\n"),
        ("quotes", f'{_FIRST}    note: "\n  - version: 1.0.0\n    name: argo\n    # "\n    home: x\n'),
        ("quotes", "    - name: argo\n      note: '\n    -x'\n      version: 1.0.0\n      home: 'x'\n"),
        ("many places", "  - name: argo\n    version: 1.0.0\n" * 51),
    ],
)  # fmt: skip
def test_where_nothing_can_be_proven_the_chart_is_parsed(reason: str, items: str) -> None:
    content, block = block_of(_HEAD + items + _TAIL)
    with pytest.raises(NotQuick, match=reason):
        cut_items(content, block, _WANTED)
    versions_in(content.decode())


@pytest.mark.parametrize(
    "note", ["'\ngenerated: now\n  it'", "[\ngenerated: now,\n  it]", "{\n  it: x,\n  b:\n   y}", '"\n x"']
)
def test_a_chart_that_may_go_on_is_parsed_or_left_to_the_whole_parse(note: str) -> None:
    content, block = block_of(
        f"{_HEAD}  - note: {note}\n  - name: argo\n    version: 1.0.0\nserverInfo: {{}}\n"
    )
    with pytest.raises(NotQuick, match="elsewhere"):
        cut_items(content, block, _WANTED)
    with pytest.raises(NotQuick, match="alone"):
        find_versions(content, "argo", _WANTED)


def test_an_item_that_does_not_parse_alone_is_parsed_with_the_chart() -> None:
    items = '  - name: argo\n    version: 1.0.0\n    note: "\n  - it"\n'
    assert versions_in(_HEAD + items + _TAIL) == ["1.0.0"]


def test_versions_of_an_absent_chart_are_absent() -> None:
    assert find_versions((_HEAD + _FIRST).encode(), "absent", _WANTED) is None


def test_what_is_no_version_is_no_version_of_any_chart() -> None:
    text = _HEAD + _FIRST + "  - name: argo\n    version: 1.0.0 (old)\n"
    assert find_versions(text.encode(), "argo", frozenset({"1.0.0 (old)", "", "é"})) == ChartEntries()


def test_every_version_of_a_made_index_is_found_alone() -> None:
    content = make_index(charts=2, size_bytes=100_000)
    whole = find_chart(content, "chart-001")
    assert whole is not None
    assert len(whole.versions) > 40
    for entry in whole.versions:
        assert find_versions(content, "chart-001", frozenset({entry.version})) == replace(
            whole, versions=(entry,)
        )
