"""A chart as an OCI artifact: what its manifest says, and that it always says the same."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.helm.archive import ChartFiles
from gateway.helm.convert import MAX_ANNOTATIONS, Conversion, convert, layer_title
from gateway.helm.created import created_at
from gateway.helm.index import ChartVersion
from gateway.helm.metadata import ChartMetadata, MetadataError, parse_metadata
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.media_types import HELM_PROVENANCE_LAYER

ARCHIVE = Digest.of(b"the archive")
ENTRY = ChartVersion("demo", "1.2.3", ("demo-1.2.3.tgz",), None, "2021-05-21T13:04:19.360025134Z")
PLAIN = """\
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",\
"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"%s","size":51},\
"layers":[{"mediaType":"application/vnd.cncf.helm.chart.content.v1.tar+gzip","digest":"%s","size":11,\
"annotations":{"org.opencontainers.image.title":"demo-1.2.3.tgz"}}],\
"annotations":{"org.opencontainers.image.created":"2021-05-21T13:04:19Z",\
"org.opencontainers.image.title":"demo","org.opencontainers.image.version":"1.2.3"}}"""


def metadata(yaml: str = "") -> ChartMetadata:
    return parse_metadata(ChartFiles(f"name: demo\nversion: 1.2.3\napiVersion: v2\n{yaml}".encode()))


def converted(yaml: str = "", entry: ChartVersion = ENTRY) -> Conversion:
    return convert(metadata(yaml), ARCHIVE, 11, entry)


def annotations(conversion: Conversion) -> dict[str, str]:
    """Return the manifest's annotations without the prefix that the specification's own have."""
    found: dict[str, str] = json.loads(conversion.manifest)["annotations"]
    assert list(found) == sorted(found)
    return {name.removeprefix("org.opencontainers.image."): text for name, text in found.items()}


def test_the_manifest_of_a_plain_chart_byte_for_byte() -> None:
    conversion = converted()
    assert conversion.config == b'{"name":"demo","version":"1.2.3","apiVersion":"v2"}'
    assert conversion.manifest.decode() == PLAIN % (Digest.of(conversion.config), ARCHIVE)


def test_the_descriptors_and_the_digest_are_those_of_the_bytes() -> None:
    conversion = converted()
    assert conversion.manifest_digest == Digest.of(conversion.manifest)
    assert conversion.config_descriptor.digest == Digest.of(conversion.config)
    assert conversion.config_descriptor.size == len(conversion.config)
    assert conversion.layer_descriptor.digest == ARCHIVE
    assert conversion.layer_descriptor.size == 11


def test_a_provenance_layer_comes_after_the_chart() -> None:
    provenance = Descriptor(HELM_PROVENANCE_LAYER, Digest.of(b"signed"), 6)
    conversion = convert(metadata(), ARCHIVE, 11, ENTRY, provenance)
    layers: Sequence[object] = json.loads(conversion.manifest)["layers"]
    assert layers == [conversion.layer_descriptor.to_json(), provenance.to_json()]


def test_what_the_chart_says_of_itself_becomes_annotations() -> None:
    assert annotations(
        converted("description: <b> & \u2028\nhome: https://a\nsources: [https://s, https://t]\n"
                  "maintainers: [{name: A, email: a@x}, {name: B}, {email: c@x}]")
    ) == {
        "authors": "A (a@x), B,  (c@x)",
        "created": "2021-05-21T13:04:19Z",
        "description": "<b> &",
        "source": "https://s",
        "title": "demo",
        "url": "https://a",
        "version": "1.2.3",
    }  # fmt: skip


def test_empty_sources_and_maintainers_are_told_as_they_stand() -> None:
    found = annotations(converted("sources: ['']\nmaintainers: [{}]"))
    assert found["source"] == ""
    assert found["authors"] == ""


def test_html_and_line_separators_are_escaped_as_go_does() -> None:
    conversion = converted('annotations: {"<k>": "a\\u2028&\\u2029\\t\\u0007\\u007f\\"é"}')
    escaped = b'"\\u003ck\\u003e":"a\\u2028\\u0026\\u2029\\t\\u0007\x7f\\"\xc3\xa9"'
    assert escaped in conversion.config
    assert escaped in conversion.manifest


def test_annotations_of_the_chart_join_and_replace_but_never_title_and_version() -> None:
    own = "".join(
        f"  org.opencontainers.image.{name}: mine\n"
        for name in ("title", "version", "created", "url", "vendor")
    )
    found = annotations(converted(f"home: https://a\nannotations:\n{own}  z: last\n"))
    assert found == {
        "created": "mine",
        "title": "demo",
        "url": "mine",
        "vendor": "mine",
        "version": "1.2.3",
        "z": "last",
    }


def test_annotations_have_64_kib_and_no_more() -> None:
    taken = sum(
        len(text) for pair in json.loads(converted().manifest)["annotations"].items() for text in pair
    )
    left = MAX_ANNOTATIONS - taken - 1
    assert annotations(converted(f"annotations: {{k: {'x' * left}}}"))["k"] == "x" * left
    with pytest.raises(MetadataError, match="more than 65536 bytes"):
        converted(f"annotations: {{k: {'x' * (left + 1)}}}")
    with pytest.raises(MetadataError, match="more than 65536 bytes"):
        converted(f"annotations: {{k: {'é' * (left // 2 + 1)}}}")


@pytest.mark.parametrize(
    ("url", "title"),
    [
        ("demo-1.2.3.tgz", "demo-1.2.3.tgz"),
        ("charts/demo-1.2.3.tgz", "demo-1.2.3.tgz"),
        ("https://host/a/demo.tgz", "demo.tgz"),
        ("https://host/a/demo.tgz/", "demo.tgz"),
        ("https://host/a/demo.tgz?token=x&y", "demo.tgz?token=x&y"),
        ("https://host/a/demo.tgz?next=/b", "b"),
        ("https://host/a/demo%2B1.tgz", "demo%2B1.tgz"),
        ("https://host/a/demo+1 (2)!.tgz", "demo+1%20%282%29%21.tgz"),
        ("https://host/a/d\u00e9mo%20[1].tgz", "d%C3%A9mo%20%5B1%5D.tgz"),
        ("a/demo 1.tgz", "demo 1.tgz"),
    ],
)
def test_the_layer_is_called_as_its_url_ends(url: str, title: str) -> None:
    assert layer_title(url) == title


def test_the_layer_is_called_after_the_first_url() -> None:
    conversion = converted(entry=replace(ENTRY, urls=("https://a/first.tgz", "https://b/second.tgz")))
    assert conversion.layer_descriptor.annotations == {"org.opencontainers.image.title": "first.tgz"}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("2021-05-21T13:04:19.360025134Z", "2021-05-21T13:04:19Z"),
        ("2021-05-21T13:04:59.999999999+02:00", "2021-05-21T13:04:59+02:00"),
        ("2021-05-21T13:04:19-00:30", "2021-05-21T13:04:19-00:30"),
        ("2021-05-21T13:04:19+00:00", "2021-05-21T13:04:19Z"),
        ("2021-05-21T13:04:19-00:00", "2021-05-21T13:04:19Z"),
        ("2021-05-21T13:04:19,5+24:60", "2021-05-21T13:04:19+25:00"),
        ("2021-05-21T3:04:19Z", "2021-05-21T03:04:19Z"),
        ("2020-02-29T00:00:00Z", "2020-02-29T00:00:00Z"),
        ("0000-02-29T23:59:59Z", "0000-02-29T23:59:59Z"),
        ("0001-01-01T00:00:00.000000001Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_created_is_the_entrys_time_in_whole_seconds_as_go_prints_it(written: str, told: str) -> None:
    assert annotations(converted(entry=replace(ENTRY, created=written)))["created"] == told


@pytest.mark.parametrize(
    "written",
    [
        None,
        "",
        "yesterday",
        " 2021-05-21T13:04:19Z",
        "2021-05-21T13:04:19Z\n",
        "2021-05-21 13:04:19Z",
        "2021-05-21t13:04:19z",
        "2021-05-21",
        "2021-05-21T13:04:19",
        "2021-05-21T13:04Z",
        "2021-05-21T13:04:19.Z",
        "2021-05-21T13:04:19+0200",
        "2021-13-01T00:00:00Z",
        "2021-00-01T00:00:00Z",
        "2021-02-29T00:00:00Z",
        "2021-05-00T00:00:00Z",
        "2021-05-21T24:00:00Z",
        "2021-05-21T23:60:00Z",
        "2021-05-21T23:59:60Z",
        "2021-05-21T13:04:19+25:00",
        "2021-05-21T13:04:19+00:61",
        "\u0662021-05-21T13:04:19Z",
        "12021-05-21T13:04:19Z",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00.0Z",
        "0001-01-01T00:00:00.0000000009Z",
    ],
)
def test_an_entry_without_a_time_gets_one_from_its_name_and_version(written: str | None) -> None:
    assert created_at(written, "demo", "1.2.3") == "2023-07-27T06:16:07Z"
    assert created_at(written, "demo", "v1.2.3") != "2023-07-27T06:16:07Z"


yaml_texts = st.text(st.characters(codec="utf-8"), max_size=40).map(partial(json.dumps, ensure_ascii=False))


@given(description=yaml_texts, home=yaml_texts, keywords=st.lists(yaml_texts, max_size=3))
def test_converting_twice_gives_one_digest(description: str, home: str, keywords: list[str]) -> None:
    fields = (f"description: {description}", f"home: {home}", f"keywords: [{', '.join(keywords)}]")
    try:
        first = converted("\n".join(fields))
    except MetadataError:
        return  # a text that YAML does not allow
    second = converted("\n".join(reversed(fields)))
    assert first == second
    assert json.loads(first.config)["version"] == "1.2.3"
