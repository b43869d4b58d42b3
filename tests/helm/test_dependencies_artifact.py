"""The OCI artifact that a chart with rewritten dependencies is, in place of the plain one."""

import io
import json

import pytest

from gateway.helm.convert import convert
from gateway.helm.dependencies import MARK, RewrittenArtifact, rewrite_artifact, rewrite_chart
from gateway.helm.index import ChartVersion
from gateway.helm.metadata import parse_metadata
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.encoding import dump_compact
from gateway.oci.manifest import Manifest, ManifestError, parse_manifest
from gateway.oci.media_types import (
    DOCKER_MANIFEST,
    HELM_CHART_LAYER,
    HELM_CONFIG,
    HELM_PROVENANCE_LAYER,
    OCI_IMAGE_INDEX,
    OCI_MANIFEST,
)
from tests.helm.archives import chart_yaml, read, tgz

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

BASE = "gw.example.test:9000"
NEW = f"oci://{BASE}/charts.example.test/stable"
CONTENT = tgz(
    chart_yaml(
        b"apiVersion: v2\nname: demo\nversion: 1.2.3\ndescription: Gr\xc3\xbc\xc3\x9fe\n"
        b"dependencies: [{name: sub, version: 1.x, repository: 'https://charts.example.test/stable'}]\n"
    )
)
ENTRY = ChartVersion("demo", "1.2.3", ("https://a/demo-1.2.3.tgz",), None, "2021-05-21T13:04:19Z")
PROVENANCE = Descriptor(HELM_PROVENANCE_LAYER, Digest.of(b"signed"), 6)


def plain_manifest(content: bytes = CONTENT) -> Manifest:
    metadata = parse_metadata(read(content))
    made = convert(metadata, Digest.of(content), len(content), ENTRY, PROVENANCE)
    return Manifest.of(made.manifest, OCI_MANIFEST)


def pushed_manifest(media_type: str = OCI_MANIFEST, **members: object) -> Manifest:
    """As registries hold what was pushed there: members in another order, annotations of its own."""
    config = Descriptor(HELM_CONFIG, Digest.of(b"{}"), 2, {"a": "b"})
    layer = Descriptor("application/tar+gzip", Digest.of(CONTENT), len(CONTENT))
    content = {
        "config": config.to_json(),
        "layers": [PROVENANCE.to_json(), layer.to_json()],
        "schemaVersion": 2,
        **members,
    }
    return Manifest.of(json.dumps(content, indent=2).encode(), media_type)


def artifact(manifest: Manifest, content: bytes = CONTENT) -> RewrittenArtifact:
    made = rewrite_artifact(manifest, io.BytesIO(content), BASE)
    assert made is not None
    return made


def test_config_and_layer_are_those_of_the_rewritten_chart() -> None:
    made = artifact(plain_manifest())
    chart = rewrite_chart(io.BytesIO(CONTENT), BASE)
    assert chart is not None
    assert made.layer == chart.archive
    assert json.loads(made.config) == json.loads(dump_compact(chart.metadata.to_json()))
    assert json.loads(made.config)["dependencies"][0]["repository"] == NEW
    parsed = parse_manifest(made.manifest.content, OCI_MANIFEST)
    assert made.manifest.digest == Digest.of(made.manifest.content)
    assert (parsed.config, parsed.layers) == (made.config_descriptor, (made.layer_descriptor,))
    for content, told in ((made.config, parsed.config), (made.layer, parsed.chart_layer)):
        assert told is not None
        assert (told.digest, told.size) == (Digest.of(content), len(content))


def test_all_else_is_the_plain_manifests_and_it_is_marked() -> None:
    plain = json.loads(plain_manifest().content)
    made = json.loads(artifact(plain_manifest()).manifest.content)
    assert list(made) == list(plain)
    assert made["annotations"] == {**plain["annotations"], MARK: f"oci://{BASE}"}
    assert list(made["annotations"]) == sorted(made["annotations"])
    assert made["layers"][0]["mediaType"] == HELM_CHART_LAYER
    assert made["layers"][0]["annotations"] == plain["layers"][0]["annotations"]
    assert len(made["layers"]) == 1


def test_the_same_chart_gives_the_same_bytes() -> None:
    assert artifact(plain_manifest()) == artifact(plain_manifest())


def test_a_chart_that_was_pushed_somewhere_keeps_what_it_is() -> None:
    made = artifact(pushed_manifest(DOCKER_MANIFEST, artifactType="application/x.demo", subject=None))
    told = json.loads(made.manifest.content)
    assert (told["mediaType"], told["artifactType"]) == (DOCKER_MANIFEST, "application/x.demo")
    assert made.manifest.media_type == DOCKER_MANIFEST
    assert [layer["mediaType"] for layer in told["layers"]] == ["application/tar+gzip"]
    assert told["config"]["annotations"] == {"a": "b"}
    assert told["annotations"] == {MARK: f"oci://{BASE}"}
    assert "artifactType" not in json.loads(artifact(pushed_manifest()).manifest.content)


def test_a_chart_with_nothing_to_rewrite_is_served_as_it_is() -> None:
    content = tgz(chart_yaml())
    assert rewrite_artifact(plain_manifest(content), io.BytesIO(content), BASE) is None


@pytest.mark.parametrize(
    "manifest",
    [
        pushed_manifest(layers=[]),
        pushed_manifest(layers=[PROVENANCE.to_json()]),
        pushed_manifest(config=Descriptor("application/x.other", Digest.of(b""), 0).to_json()),
        Manifest.of(b'{"schemaVersion":2,"manifests":[]}', OCI_IMAGE_INDEX),
    ],
)
def test_what_is_no_chart_is_refused(manifest: Manifest) -> None:
    with pytest.raises(ManifestError, match="no Helm chart"):
        rewrite_artifact(manifest, io.BytesIO(CONTENT), BASE)
