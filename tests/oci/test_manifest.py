"""Manifests are read strictly: one meaning, or none."""

import json
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci import media_types
from gateway.oci.decoding import MAX_PARTS, JsonError, parse_json
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.manifest import (
    MAX_EDGES,
    MAX_SIZE_BYTES,
    Edge,
    EdgeKind,
    Manifest,
    ManifestError,
    image_index,
    parse_manifest,
)

DIGEST = Digest.of(b"content")
CONFIG = {"mediaType": media_types.HELM_CONFIG, "digest": str(DIGEST), "size": 7}
LAYER = {"mediaType": media_types.HELM_CHART_LAYER, "digest": str(DIGEST), "size": 2**63 - 1}
OWN = {"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]}
INDEX = {"schemaVersion": 2, "mediaType": media_types.OCI_IMAGE_INDEX, "manifests": [LAYER]}


def encode(base: dict[str, object], **members: object) -> bytes:
    return json.dumps({**base, **members}).encode()


def without(base: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in base.items() if key != name}


def test_a_chart_manifest_gives_its_edges_config_first() -> None:
    parsed = parse_manifest(encode(OWN, annotations={"a": "b"}), media_types.OCI_MANIFEST)
    config = Descriptor(media_types.HELM_CONFIG, DIGEST, 7)
    layer = Descriptor(media_types.HELM_CHART_LAYER, DIGEST, 2**63 - 1)
    assert parsed.edges == (Edge(EdgeKind.CONFIG, config), Edge(EdgeKind.LAYER, layer))
    assert (parsed.config, parsed.layers) == (config, (layer,))
    assert parsed.media_type == media_types.OCI_MANIFEST
    assert parsed.annotations == {"a": "b"}
    assert parsed.subject is None


def test_an_image_index_gives_its_manifests() -> None:
    parsed = parse_manifest(encode(INDEX), media_types.OCI_IMAGE_INDEX)
    assert [edge.kind for edge in parsed.edges] == [EdgeKind.MANIFEST]
    assert parsed.config is None
    assert parsed.layers == ()
    assert parsed.artifact_type is None


def test_the_artifact_type_is_its_own_else_the_configs() -> None:
    assert parse_manifest(encode(OWN), None).artifact_type == media_types.HELM_CONFIG
    assert parse_manifest(encode(OWN, artifactType=""), None).artifact_type == media_types.HELM_CONFIG
    assert parse_manifest(encode(OWN, artifactType="a/b"), None).artifact_type == "a/b"


def test_a_subject_is_read_with_its_annotations_and_type() -> None:
    subject = {**LAYER, "annotations": {"é": "ü"}, "artifactType": "x/y"}
    parsed = parse_manifest(encode(OWN, subject=subject), None)
    assert parsed.subject is not None
    assert parsed.subject.annotations == {"é": "ü"}
    assert parsed.subject.artifact_type == "x/y"
    assert parse_manifest(encode(OWN, subject=None), None).subject is None


def test_members_that_point_elsewhere_are_not_read() -> None:
    layer = {**LAYER, "urls": ["https://evil.test/"], "data": "AAAA", "platform": {"os": "linux"}}
    assert parse_manifest(encode(OWN, layers=[layer]), None) == parse_manifest(encode(OWN), None)


@pytest.mark.parametrize(
    ("members", "received", "expected"),
    [
        (without(OWN, "mediaType"), None, media_types.OCI_MANIFEST),
        (without(INDEX, "mediaType"), None, media_types.OCI_IMAGE_INDEX),
        (without(OWN, "mediaType"), media_types.DOCKER_MANIFEST, media_types.DOCKER_MANIFEST),
        (without(INDEX, "mediaType"), media_types.DOCKER_MANIFEST_LIST, media_types.DOCKER_MANIFEST_LIST),
        (OWN, f"{media_types.OCI_MANIFEST.upper()}; charset=utf-8", media_types.OCI_MANIFEST),
        (OWN, None, media_types.OCI_MANIFEST),
        ({**OWN, "layers": None}, None, media_types.OCI_MANIFEST),
        ({**INDEX, "manifests": None}, None, media_types.OCI_IMAGE_INDEX),
    ],
)
def test_the_document_says_what_it_is_else_how_it_came(
    members: dict[str, object], received: str | None, expected: str
) -> None:
    assert parse_manifest(encode(members), received).media_type == expected


@pytest.mark.parametrize(
    ("members", "received"),
    [
        ({**OWN, "manifests": []}, None),
        ({**INDEX, "layers": []}, None),
        ({**INDEX, "config": CONFIG}, None),
        ({**OWN, "mediaType": media_types.OCI_IMAGE_INDEX}, None),
        (OWN, media_types.OCI_IMAGE_INDEX),
        (OWN, "application/json"),
        (without(OWN, "mediaType"), "text/html"),
        (without(INDEX, "mediaType"), media_types.OCI_MANIFEST),
        ({**OWN, "mediaType": 5}, None),
        ({**OWN, "mediaType": "no media type"}, None),
        ({**OWN, "mediaType": "text/html"}, None),
        ({**OWN, "schemaVersion": 1}, None),
        ({**OWN, "schemaVersion": 2.0}, None),
        ({**OWN, "schemaVersion": "2"}, None),
        ({**OWN, "schemaVersion": True}, None),
        (without(OWN, "schemaVersion"), None),
        (without(OWN, "config"), None),
        (without(OWN, "layers"), None),
        (without(INDEX, "manifests"), media_types.OCI_IMAGE_INDEX),
        ({**OWN, "config": None}, None),
        ({**OWN, "config": []}, None),
        ({**OWN, "layers": {}}, None),
        ({**OWN, "layers": [None]}, None),
        ({**OWN, "subject": "x"}, None),
        ({**OWN, "artifactType": 1}, None),
        ({**OWN, "annotations": []}, None),
        ({**OWN, "annotations": {"a": 1}}, None),
        ({**OWN, "annotations": {"a": None}}, None),
        ({**OWN, "annotations": {"a": "\ud800"}}, None),
        ({**OWN, "annotations": {"\udfff": "a"}}, None),
        ({**without(OWN, "layers"), "Layers": []}, None),
        ({**OWN, "Manifests": []}, None),
        ({**OWN, "config": {**CONFIG, "SIZE": 1}}, None),
        ({**OWN, "config": {**CONFIG, "\u017fize": 1}}, None),
    ],
)
def test_what_two_readers_could_take_differently_is_refused(
    members: dict[str, object], received: str | None
) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(encode(members), received)


@pytest.mark.parametrize("size", ["-1", "true", "1e400", "1.0", '"7"', "null", str(2**63), "9" * 5000, "NaN"])
def test_a_size_is_a_count_of_bytes(size: str) -> None:
    content = encode(OWN).replace(b'"size": 7', b'"size": ' + size.encode())
    with pytest.raises(ManifestError):
        parse_manifest(content, None)


@pytest.mark.parametrize("digest", [None, 5, "", "sha256:abc", "md5:" + "0" * 32, "sha256:../../etc/passwd"])
def test_a_descriptor_needs_a_digest(digest: object) -> None:
    with pytest.raises(ManifestError, match="digest"):
        parse_manifest(encode(OWN, config={**CONFIG, "digest": digest}), None)


def test_a_descriptor_needs_a_media_type() -> None:
    with pytest.raises(ManifestError, match=re.escape("layers[0] has no mediaType")):
        parse_manifest(encode(OWN, layers=[without(LAYER, "mediaType")]), None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"<html></html>",
        b'{"schemaVersion":2,"schemaVersion":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        '{"schemaVersion":2}'.encode("utf-16"),
        b" " * (MAX_SIZE_BYTES + 1),
    ],
)
def test_hostile_bytes_give_a_clean_error(content: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(content, None)


def test_four_mebibytes_are_read() -> None:
    content = encode(OWN)
    assert parse_manifest(content + b" " * (MAX_SIZE_BYTES - len(content)), None).layers


def test_json_nests_64_deep_and_no_deeper() -> None:
    assert parse_json(b"[" * 64 + b"]" * 64, 1000)
    assert parse_json(b'{"a":' * 64 + b"1" + b"}" * 64, 1000)
    with pytest.raises(JsonError, match="deeper"):
        parse_json(b"[" * 65 + b"]" * 65, 1000)
    with pytest.raises(JsonError, match="deeper"):
        parse_json(b'{"a":' * 65 + b"1" + b"}" * 65, 1000)


def test_an_image_index_of_ours_is_compact_and_reads_back() -> None:
    assert image_index(()) == (
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    )
    descriptor = Descriptor(media_types.OCI_MANIFEST, DIGEST, 5, {"b": "1", "a": "<2>"}, "x/y")
    parsed = parse_manifest(image_index([descriptor]), media_types.OCI_IMAGE_INDEX)
    assert parsed.edges == (Edge(EdgeKind.MANIFEST, descriptor),)


def test_a_manifest_knows_its_digest_and_keeps_its_bytes_out_of_logs() -> None:
    manifest = Manifest.of(b"content", media_types.OCI_MANIFEST)
    assert manifest.digest == DIGEST
    assert "content" not in repr(manifest)


KINDS = {OWN["mediaType"], INDEX["mediaType"]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.sampled_from([*OWN, *INDEX, "subject", "annotations", "artifactType"]), JSON, st.booleans())
def test_any_value_anywhere_is_read_or_refused(name: str, value: object, is_index: bool) -> None:
    content = encode(INDEX if is_index else OWN, **{name: value})
    with suppress(ManifestError):
        assert parse_manifest(content, None).media_type in KINDS


def test_more_parts_than_any_manifest_has_are_refused_before_they_are_read() -> None:
    content = b'{"schemaVersion":2,"x":[' + b"[]," * MAX_PARTS + b"[]]}"
    with pytest.raises(ManifestError, match="parts"):
        parse_manifest(content, media_types.OCI_MANIFEST)


@pytest.mark.parametrize("count", [MAX_EDGES, MAX_EDGES + 1])
def test_an_index_has_so_many_entries_at_most(count: int) -> None:
    entry = {"mediaType": media_types.OCI_MANIFEST, "digest": f"sha256:{'0' * 64}", "size": 1}
    content = json.dumps({"schemaVersion": 2, "manifests": [entry] * count}).encode()
    if count <= MAX_EDGES:
        assert len(parse_manifest(content, media_types.OCI_IMAGE_INDEX).edges) == count
    else:
        with pytest.raises(ManifestError, match="entries"):
            parse_manifest(content, media_types.OCI_IMAGE_INDEX)
