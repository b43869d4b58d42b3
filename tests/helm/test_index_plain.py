"""What has no outline as it is written has one once it was parsed whole."""

import json

import pytest
from hypothesis import HealthCheck, given, settings

from gateway.helm.classic_index import write_index
from gateway.helm.document import parse_document
from gateway.helm.index_cut import NotQuick
from gateway.helm.index_outline import MOST_CHARTS, MOST_ENTRIES, outline
from gateway.helm.index_plain import plain_index
from gateway.helm.index_whole import BrokenIndex
from tests.helm.indexes import emitted, glued
from tests.helm.outlines import assert_rewritten, entries_of, kept
from tests.helm.sound_indexes import sound

_QUIET = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
_ENTRY = {
    "name": "argo",
    "version": "1.0.0+b",
    "appVersion": "1.10",
    "annotations": {"artifacthub.io/changes": "- kind: 'x'\n\u2028\x7f😀\ud800", "a b": "é"},
    "created": "2021-05-21T13:04:19Z",
    "dependencies": [{"name": "b", "version": "1.x", "repository": "", "enabled": True, "unknown": 1}, "c"],
    "deprecated": True,
    "digest": "0" * 64,
    "keywords": ["a: b", "", None, 3],
    "maintainers": [{"name": "it's", "nick": "x"}],
    "urls": ["a.tgz", "https://x.example/a?b=c"],
    "unknown": {"deep": [[]]},
}


def index_of(entries: object) -> bytes:
    return json.dumps({"apiVersion": "v1", "entries": entries}).encode()


def rewritten(content: bytes) -> bytes:
    plain = plain_index(content)
    found = outline(plain)
    assert_rewritten(plain, found)
    return write_index(kept(plain, found), found.generated)


def test_an_index_in_json_has_an_outline_and_loses_what_helm_does_not_know_in_yaml() -> None:
    content = index_of({"argo": [_ENTRY]})
    with pytest.raises(NotQuick):
        outline(content)
    (entry,) = entries_of(parse_document(rewritten(content)))["argo"]
    assert entry["annotations"] == {"artifacthub.io/changes": "- kind: 'x'\n\u2028\x7f😀\ufffd", "a b": "é"}
    assert entry["dependencies"] == [{"name": "b", "version": "1.x", "repository": "", "enabled": "true"}]
    assert entry["maintainers"] == [{"name": "it's"}]
    assert entry["keywords"] == ["a: b", "", None, "3"]
    assert (entry["appVersion"], entry["deprecated"]) == ("1.10", "true")
    assert "unknown" not in entry


def test_numbers_and_flags_without_quotes_stay_without_them() -> None:
    entry = b'{name: a, version: 1.0.0, appVersion: 1.10, icon: 2021-01-01 1:00, home: "1"}'
    content = b"{apiVersion: v1, entries: {a: [%b]}}" % entry
    text = plain_index(content)
    assert b"appVersion: 1.10\n" in text
    assert b'home: "1"\n' in text
    assert b'icon: "2021-01-01 1:00"\n' in text


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "a"},
        {"name": "a/b", "version": "1.0.0"},
        {"name": "a", "version": "latest"},
        None,
        "a",
        {"name": 'a"', "version": "1.0.0"},
    ],
)
def test_an_entry_that_helm_refuses_or_no_url_could_name_is_left_out(entry: object) -> None:
    assert not outline(plain_index(index_of({"a": [entry]}))).charts


@pytest.mark.parametrize("entries", [None, {}, {"a": None}, {"a": "b"}, {"a b": [_ENTRY]}])
def test_an_index_without_entries_has_an_outline_without_charts(entries: object) -> None:
    assert not outline(plain_index(index_of(entries))).charts


def test_texts_that_are_no_times_and_digests_do_no_harm() -> None:
    entry = {**_ENTRY, "created": "it's then", "digest": 'no "digest"', "urls": "a.tgz"}
    (item,) = outline(plain_index(index_of({"a": [entry]}))).charts["a"]
    assert (item.created, item.digest, item.urls_at) == (None, "no__digest_", None)


def test_what_is_no_index_is_broken() -> None:
    with pytest.raises(BrokenIndex):
        plain_index(b"<html>")


@pytest.mark.slow
def test_what_is_too_long_or_too_much_is_left_out_or_refused() -> None:
    long = {**_ENTRY, "version": "2.0.0", "description": "x" * 300_000}
    (item,) = outline(plain_index(index_of({"argo": [long, _ENTRY]}))).charts["argo"]
    assert item.version == "1.0.0+b"
    with pytest.raises(BrokenIndex, match="more than"):
        plain_index(index_of({f"c{number}": [] for number in range(MOST_CHARTS + 1)}))
    with pytest.raises(BrokenIndex, match="more than"):
        plain_index(index_of({"argo": [None] * (MOST_ENTRIES + 1)}))


@pytest.mark.slow
@_QUIET
@given(glued() | emitted() | sound())
def test_whatever_parses_has_an_outline_then(content: bytes) -> None:
    try:
        plain = plain_index(content)
    except BrokenIndex:
        return
    rewritten(plain)
    assert rewritten(plain) == rewritten(content)
