"""The artifacts that tests push are such as clients make, and strict readers take."""

import json

import pytest

from gateway.oci.digest import Digest
from gateway.oci.manifest import parse_manifest
from gateway.oci.media_types import OCI_MANIFEST
from tests.fakes.charts import make_chart
from tests.fakes.images import (
    DOCKER,
    OCI,
    Artifact,
    attestation_of,
    content_of,
    helm_artifact,
    referrers_index,
    signature_by_tag,
    signature_of,
    tag_of,
)

IMAGE = OCI.image(1000, 2000)
CHART = make_chart("demo", "1.2.3", description="A demo")


@pytest.mark.parametrize(
    "artifact",
    [
        OCI.image(10, b"layer"),
        OCI.image_index(10, 20),
        DOCKER.image(10, b"layer"),
        DOCKER.image_index(10),
        helm_artifact(CHART),
        helm_artifact(CHART, b"provenance"),
        signature_of(IMAGE),
        signature_by_tag(IMAGE)[1],
        attestation_of(IMAGE, {"builder": "x"}),
        referrers_index(signature_of(IMAGE)),
    ],
    ids=lambda artifact: artifact.media_type.rpartition(".")[2],
)
def test_every_artifact_is_one_that_a_strict_reader_takes_with_blobs_of_its_descriptors(
    artifact: Artifact,
) -> None:
    parsed = parse_manifest(artifact.manifest, artifact.media_type)
    held = [*artifact.blobs, *(part.manifest for part in artifact.parts)]
    named = [(edge.descriptor.digest, edge.descriptor.size) for edge in parsed.edges]
    if held:
        assert named == [(Digest.of(content), len(content)) for content in held]


def test_artifacts_say_what_clients_look_for() -> None:
    chart = parse_manifest(helm_artifact(CHART).manifest, OCI_MANIFEST)
    assert chart.artifact_type == "application/vnd.cncf.helm.config.v1+json"
    assert chart.annotations["org.opencontainers.image.version"] == "1.2.3"
    signature = parse_manifest(signature_of(IMAGE).manifest, OCI_MANIFEST)
    assert signature.subject is not None
    assert (signature.subject.digest, signature.subject.size) == (IMAGE.digest, len(IMAGE.manifest))
    assert signature_by_tag(IMAGE)[0] == f"sha256-{IMAGE.digest.hex}.sig" == f"{tag_of(IMAGE.digest)}.sig"
    assert IMAGE.changed(subject=None, annotations={"a": "b"}).members["annotations"] == {"a": "b"}
    assert content_of("a", 10) == content_of("a", 20)[:10] != content_of("b", 10)
    platforms = [
        one["platform"]["architecture"] for one in json.loads(OCI.image_index(1).manifest)["manifests"]
    ]
    assert platforms == ["amd64", "arm64"]
