"""A whole index, JSON or YAML, in its normal form; what is no index is refused with a reason."""

import json

import pytest

from gateway.helm.index import ChartEntries, ChartVersion
from gateway.helm.index_whole import BrokenIndex, HtmlInstead, find_in_normalised, normalise_index

_ENTRY = {
    "name": "argo",
    "version": "1.0.0",
    "urls": ["é\u2028\n\t.tgz"],
    "digest": "",
    "created": "2021-05-21",
}
_INDEX = {"apiVersion": "v1", "entries": {"argo": [_ENTRY, None], 'a"\t\n': [], "é": None, "x": "y"}}
_ARGO = ChartEntries(
    versions=(ChartVersion("argo", "1.0.0", ("é\u2028\n\t.tgz",), None, "2021-05-21"),),
    skipped=((1, "the entry is no mapping"),),
)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(_INDEX),
        "\ufeff \n" + json.dumps(_INDEX, indent=2),
        f"---\n{json.dumps(_INDEX)}",
        f"# YAML, in flow style\n{json.dumps(_INDEX)}",
        json.dumps(_INDEX).removesuffix("}") + ", it: 's'}",
    ],
    ids=["json", "bom", "marker", "comment", "flow"],
)
def test_a_chart_is_found_in_the_normal_form(text: str) -> None:
    normalised = normalise_index(text.encode())
    assert find_in_normalised(normalised, "argo") == _ARGO
    assert find_in_normalised(normalised, 'a"\t\n') == ChartEntries()
    assert find_in_normalised(normalised, "é") == ChartEntries()
    assert find_in_normalised(normalised, "x") == ChartEntries()
    assert find_in_normalised(normalised, "ar") is None


@pytest.mark.parametrize("version", ["1.10", "3", "-1", "1e400", "9" * 5000, "true", "null", "{}"])
def test_a_version_that_json_does_not_quote_is_no_version(version: str) -> None:
    text = f'{{"apiVersion": "v1", "entries": {{"argo": [{{"name": "argo", "version": {version}}}]}}}}'
    entries = find_in_normalised(normalise_index(text.encode()), "argo")
    assert entries is not None
    assert (entries.versions, len(entries.skipped)) == ((), 1)


@pytest.mark.parametrize(
    "text",
    ["apiVersion: v1\nentries: {}\n", "apiVersion: v1\nentries:\n", '{"apiVersion":"v1","entries":{}}'],
)
def test_an_empty_index_has_no_chart(text: str) -> None:
    assert find_in_normalised(normalise_index(text.encode()), "argo") is None


_BOMB = "apiVersion: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"k{level}: &{chr(98 + level)} [{', '.join([f'*{chr(97 + level)}'] * 9)}]\n" for level in range(9)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t\n", "empty"),
        ("\ufeff", "empty"),
        ("not an index", "no mapping"),
        ("[]", "no mapping"),
        ("entries: {}", "no apiVersion"),
        ("apiVersion:\nentries: {}", "no apiVersion"),
        ("apiVersion: []\nentries: {}", "no apiVersion"),
        ("apiVersion: v1", "no entries"),
        ("apiVersion: v1\nentries: []", "no mapping"),
        ("apiVersion: v1\nentries: text", "no mapping"),
        ("apiVersion: v1\nentries: {a: [}", "flow"),
        ("apiVersion: v1\nentries: {}\nentries: {}", "twice"),
        ("apiVersion: v1\nentries: {a: [], a: []}", "twice"),
        ("apiVersion: v1\nentries: {}\n---\na: b", "more than one document"),
        ("apiVersion: v1\nentries: {a: !!python/object:os.system [x]}", "tag"),
        ("apiVersion: v1\nentries: {a: &a [*a]}", "alias"),
        ("apiVersion: v1\nentries: {<<: {a: []}}", "merge"),
        ("[" * 60_000, "nested deeper"),
        (_BOMB, "alias|events"),
        ('{"apiVersion": "v1", "entries": {}, "entries": {}}', "twice"),
        ('{"apiVersion": "v1", "entries": {"a": [{"b": 1, "b": 2}]}}', "twice"),
        ('{"apiVersion": "v1", "entries": {"a": NaN}}', "NaN"),
        ('{"apiVersion": "v1", "entries": ' + "[" * 70 + "]" * 70 + "}", "nested deeper"),
        ('{"apiVersion": "v1", "entries": ' + "[" * 200_000 + "]" * 200_000 + "}", "nested deeper"),
        ('{"apiVersion": ' + "[" * 200_000, "nested deeper"),
    ],
)  # fmt: skip
def test_what_is_no_index_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BrokenIndex, match=reason):
        normalise_index(text.encode())


@pytest.mark.parametrize(
    "content", [b"\xff\xfea\0", b"apiVersion: v1\nentries: {a: \xff}", b'{"apiVersion": "\xff"}', b"\0"]
)
def test_what_is_no_utf_8_is_refused(content: bytes) -> None:
    with pytest.raises(BrokenIndex):
        normalise_index(content)


@pytest.mark.parametrize("text", ["<!DOCTYPE html><title>x</title>", "\n  <HTML>", "\ufeff<html lang=en>"])
def test_a_web_page_is_told_apart(text: str) -> None:
    with pytest.raises(HtmlInstead):
        normalise_index(text.encode())


def test_another_form_is_not_searched() -> None:
    with pytest.raises(ValueError, match="not in the form"):
        find_in_normalised(b'helm-index/0\n"argo"\t[[], []]\n', "argo")
