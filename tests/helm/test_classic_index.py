"""An index of our own: upstream's lines with our URLs, and charts that no index has; and archives' names."""

import json
from collections.abc import Mapping, Sequence

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.helm.classic_index import (
    Entry,
    Kept,
    Made,
    archive_name,
    bare_metadata,
    metadata_of_config,
    parse_archive_name,
    write_index,
)
from gateway.helm.document import Value, parse_document
from gateway.helm.index_outline import outline
from gateway.helm.metadata import MetadataError
from gateway.helm.version import parse_version
from tests.helm.outlines import entries_of

_DIGEST = "1" * 64
_TIME = "2024-05-06T07:08:09.123456789Z"
_UPSTREAM = b"""\
apiVersion: v1
entries:
  argo:
  - description: "it's ours" # 'x
    digest: '2222222222222222222222222222222222222222222222222222222222222222'
    name: argo
    urls:
    - https://charts.example/argo-2.0.0.tgz
    - b.tgz
    version: 2.0.0
  - name: argo
    urls: [a, 'b'] # x
    version: 1.0.0 # x
  - version: 0.9.0
    name: argo
"""


def kept(content: bytes, digest: str | None = None) -> Sequence[Kept]:
    items = [item for items in outline(content).charts.values() for item in items]
    return [Kept(content, item, f"argo-{item.version}.tgz", digest) for item in items]


def made(version: str, **members: object) -> Made:
    config = {"apiVersion": "v2", "name": "argo", "version": version, **members}
    return Made(metadata_of_config(json.dumps(config).encode()), f"argo-{version}.tgz", _DIGEST, _TIME)


def written(entries: Sequence[Entry]) -> Sequence[Mapping[str, Value]]:
    content = write_index({"argo": entries}, None)
    assert yaml.safe_load(content)["apiVersion"] == "v1"
    return entries_of(parse_document(content)).get("argo", ())


def versions(entries: Sequence[Entry]) -> list[Value]:
    return [entry["version"] for entry in written(entries)]


def test_what_is_kept_has_its_own_lines_but_for_its_url_and_its_digest() -> None:
    text = write_index({"argo": kept(_UPSTREAM, _DIGEST)}, _TIME).decode()
    assert (
        text
        == f"""\
apiVersion: v1
entries:
  argo:
  - description: "it's ours" # 'x
    digest: "{_DIGEST}"
    name: argo
    urls:
    - argo-2.0.0.tgz
    version: 2.0.0
  - name: argo
    urls: [argo-1.0.0.tgz] # x
    version: 1.0.0
    digest: "{_DIGEST}" # x
  - version: 0.9.0
    digest: "{_DIGEST}"
    urls: [argo-0.9.0.tgz]
    name: argo
generated: "{_TIME}"
"""
    )


def test_where_no_digest_is_known_none_is_told() -> None:
    assert [entry.get("digest") for entry in written(kept(_UPSTREAM))] == ["", None, None]


def test_what_is_left_out_is_gone() -> None:
    assert versions(kept(_UPSTREAM)[1:]) == ["1.0.0", "0.9.0"]


def test_the_last_entry_may_be_without_a_line_break() -> None:
    entries = kept(_UPSTREAM.rstrip())
    assert versions([entries[2], entries[0]]) == ["0.9.0", "2.0.0"]


def test_entries_of_several_upstreams_stand_in_one_column() -> None:
    other = _UPSTREAM.replace(b"\n  ", b"\n     ")
    narrow = _UPSTREAM.replace(b"\n  ", b"\n ")
    entries: list[Entry] = [kept(narrow)[1], kept(other)[0], kept(_UPSTREAM)[2], made("0.1.0")]
    assert versions(entries) == ["1.0.0", "2.0.0", "0.9.0", "0.1.0"]
    assert versions(kept(narrow)) == ["2.0.0", "1.0.0", "0.9.0"]


def test_what_is_made_is_put_before_the_first_that_is_older() -> None:
    two, one, old = kept(_UPSTREAM)
    assert versions([made("0.1.0"), made("1.5.0"), two, one, old, made("3.0.0"), made("1.6.0")]) == [
        *("3.0.0", "2.0.0", "1.6.0", "1.5.0", "1.0.0", "0.9.0", "0.1.0"),
    ]
    assert versions([old, two, made("1.0.0-rc")]) == ["1.0.0-rc", "0.9.0", "2.0.0"]


def test_what_is_made_has_the_members_that_helm_writes() -> None:
    entry = made(
        "1.0.0",
        appVersion="1.10",
        annotations={"artifacthub.io/changes": "- it's\n", "a b": "c", "true": ""},
        dependencies=[{"name": "b", "version": "1.x", "repository": "", "tags": ["x"], "enabled": True}],
        deprecated=True,
        description='§ "x" # \u2028\x7f\U0001f600',
        keywords=["a: b", "-"],
        maintainers=[{"name": "it's", "email": "x"}],
        unknown="x",
    )
    (read,) = yaml.safe_load(write_index({"argo": [entry]}, None))["entries"]["argo"]
    assert read == {
        "apiVersion": "v2",
        "name": "argo",
        "version": "1.0.0",
        "appVersion": "1.10",
        "annotations": {"artifacthub.io/changes": "- it's\n", "a b": "c", "true": ""},
        "dependencies": [{"name": "b", "version": "1.x", "repository": "", "tags": ["x"], "enabled": True}],
        "deprecated": True,
        "description": entry.metadata.description,
        "keywords": ["a: b", "-"],
        "maintainers": [{"name": "it's", "email": "x"}],
        "created": _TIME,
        "digest": _DIGEST,
        "urls": ["argo-1.0.0.tgz"],
    }


def test_what_is_not_known_of_what_is_made_is_left_out() -> None:
    bare = bare_metadata("argo", "1.0.0+b")
    for created in (None, "then", "2024-13-06T07:08:09Z"):
        (entry,) = written([Made(bare, "https://x.example/it's", None, created)])
        assert entry == {
            "apiVersion": "v2",
            "name": "argo",
            "version": "1.0.0+b",
            "urls": ["https://x.example/it's"],
        }


def test_a_name_that_is_none_makes_no_entry() -> None:
    with pytest.raises(MetadataError):
        bare_metadata("a/b", "1.0.0")
    with pytest.raises(MetadataError):
        metadata_of_config(b'{"name": "argo", "version": "1.0.0", "keywords": "x"}')
    with pytest.raises(MetadataError):
        metadata_of_config(b"name: argo")
    with pytest.raises(MetadataError):
        metadata_of_config(b"[" * 100_000)


def test_a_url_that_is_no_plain_one_is_quoted() -> None:
    first, second, _ = kept(_UPSTREAM)
    entries = [Kept(one.content, one.item, "a b: 'c'.tgz", None) for one in (first, second)]
    assert [entry["urls"] for entry in written(entries)] == [["a b: 'c'.tgz"]] * 2


def test_charts_are_sorted_and_those_without_entries_left_out() -> None:
    entries = [made("1.0.0")]
    index = parse_document(write_index({"b": entries, "true": entries, "a": entries, "c": []}, None))
    assert list(entries_of(index)) == ["a", "b", "true"]
    assert write_index({"c": []}, "now") == b"apiVersion: v1\nentries: {}\n"


def test_what_is_written_has_an_outline_itself() -> None:
    content = write_index({"argo": [*kept(_UPSTREAM), made("3.0.0", maintainers=[{"name": "it's"}])]}, _TIME)
    found = outline(content)
    assert [item.version for item in found.charts["argo"]] == ["3.0.0", "2.0.0", "1.0.0", "0.9.0"]
    assert found.generated == _TIME


@pytest.mark.parametrize(
    ("file_name", "first"),
    [
        ("argo-cd-5.46.8.tgz", ("argo-cd", "5.46.8")),
        ("argo-cd-5.46.8.tgz.prov", ("argo-cd", "5.46.8")),
        ("foo-1-2.0.0.tgz", ("foo-1", "2.0.0")),
        ("x-v1.2.3.tgz", ("x", "v1.2.3")),
        ("x-1.2.3-rc-1.tgz", ("x", "1.2.3-rc-1")),
        ("x-1.2.3+b.1.tgz", ("x", "1.2.3+b.1")),
        ("x-1.2.3%2Bb-1.tgz", ("x", "1.2.3+b-1")),
        ("x-1.tgz", ("x", "1")),
    ],
)
def test_an_archives_name_says_its_chart_and_version(file_name: str, first: tuple[str, str]) -> None:
    assert parse_archive_name(file_name)[0] == first


@pytest.mark.parametrize(
    "file_name", ["", "index.yaml", "x.tgz", "-1.0.0.tgz", "x-1.0.0.zip", "x-y.tgz", "a/b-1.0.0.tgz"]
)
def test_what_is_no_archives_name_says_nothing(file_name: str) -> None:
    assert parse_archive_name(file_name) == []


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
    st.from_regex(
        r"v?[0-9]{1,3}(\.[0-9]{1,3}){0,2}(-[0-9A-Za-z-]{1,9}(\.[a-z1-9-]+)?)?(\+[0-9a-z.-]+)?", fullmatch=True
    ),
    st.sampled_from(("", ".prov")),
    st.sampled_from(("+", "%2B", "%2b")),
)
def test_the_right_chart_and_version_are_always_among_those_a_name_may_mean(
    chart: str, version: str, end: str, plus: str
) -> None:
    if parse_version(version) is not None:
        file_name = (archive_name(chart, version) + end).replace("+", plus)
        assert (chart, version) in parse_archive_name(file_name)
