"""Commands to copy: what they name is what is shown, and a shell or YAML reads it so."""

import shlex

import pytest
import yaml

from gateway.catalog_shown import ArtifactDetail, ArtifactKind
from gateway.oci.manifest import Manifest
from gateway.oci.target import Target
from gateway.web.admin.catalog_commands import Front, helm_show, snippets

OWN = Front("charts.own.test", is_plain=False)
PLAIN = Front("localhost:9000", is_plain=True)
NAME = "charts.example.test/argo/argo-cd"


def artifact(
    reference: str = "5.1.0", kind: ArtifactKind = ArtifactKind.CHART, name: str = NAME
) -> ArtifactDetail:
    return ArtifactDetail(
        name=name,
        reference=reference,
        target=Target.parse(NAME),
        targets=(),
        variant="plain",
        variants=(),
        manifest=Manifest.of(b"{}", "application/json"),
        kind=kind,
        artifact_type="",
        annotations={},
        parts=(),
        part_count=0,
        size_bytes=0,
        held_bytes=0,
        tags=(),
        origins=(),
        attached=(),
        pinned=frozenset(),
        pulls=None,
        chart_layer=None,
    )


def texts(of: ArtifactDetail, front: Front = OWN) -> dict[str, str]:
    return {one.key: one.text for one in snippets(of, front)}


def test_helm_pulls_and_installs() -> None:
    pull, install = texts(artifact())["helm"].splitlines()
    assert pull == f"helm pull oci://charts.own.test/{NAME} --version 5.1.0"
    assert install == f"helm install argo-cd oci://charts.own.test/{NAME} --version 5.1.0"


def test_a_version_is_written_as_helm_does_and_quoted_for_a_shell() -> None:
    pull = texts(artifact("5.1.0_build.2"))["helm"].splitlines()[0]
    assert shlex.split(pull)[-1] == "5.1.0+build.2"


def test_what_is_no_version_is_asked_for_by_its_digest() -> None:
    made = artifact("latest")
    assert f"{NAME}@{made.manifest.digest}" in texts(made)["helm"]
    assert "argo" not in texts(made)


def test_where_there_is_no_tls_every_client_is_told() -> None:
    of = texts(artifact(), PLAIN)
    assert all(line.endswith("--plain-http") for line in of["helm"].splitlines())
    application, secret = yaml.safe_load_all(of["argo"])
    assert secret["stringData"]["insecureOCIForceHttp"] == "true"
    assert secret["stringData"]["url"] == application["spec"]["source"]["repoURL"]
    assert next(yaml.safe_load_all(of["flux"]))["spec"]["insecure"] is True
    assert "--plain-http" in helm_show("values", artifact(), PLAIN)


def test_argo_cd_gets_place_chart_and_version() -> None:
    (application,) = yaml.safe_load_all(texts(artifact("1.10.0"))["argo"])
    assert application["spec"]["source"] == {
        "repoURL": "charts.own.test/charts.example.test/argo",
        "chart": "argo-cd",
        "targetRevision": "1.10.0",
    }


@pytest.mark.parametrize(("reference", "kind"), [("1.10", "tag"), (f"sha256:{'a' * 64}", "digest")])
def test_flux_gets_a_tag_or_a_digest_as_text(reference: str, kind: str) -> None:
    source, release = yaml.safe_load_all(texts(artifact(reference))["flux"])
    assert source["spec"]["url"] == f"oci://charts.own.test/{NAME}"
    assert source["spec"]["ref"] == {kind: reference}
    assert release["spec"]["chartRef"]["name"] == source["metadata"]["name"]


@pytest.mark.parametrize(
    ("name", "release"),
    [("a/my_chart.v2", "my-chart-v2"), ("a/" + "x" * 99, "x" * 53), ("a/0", "0")],
)
def test_a_release_is_called_what_kubernetes_takes(name: str, release: str) -> None:
    assert texts(artifact(name=name))["helm"].splitlines()[1].split()[2] == release


def test_an_image_is_copied_whole() -> None:
    of = texts(artifact("7", ArtifactKind.IMAGE_INDEX, "docker.io/redis"), PLAIN)
    line = "skopeo copy --all --src-tls-verify=false docker://localhost:9000/docker.io/redis:7 oci:redis:7"
    assert of["skopeo"] == line
    digest = f"sha256:{'a' * 64}"
    of = texts(artifact(digest, ArtifactKind.IMAGE, "docker.io/redis"))
    assert f"redis@{digest}" in of["oras"]
    assert "--all" not in of["skopeo"]


def test_any_other_artifact_is_pulled_by_oras() -> None:
    of = texts(artifact("1", ArtifactKind.OTHER, "ghcr.io/some/policy"))
    assert of == {"oras": "oras pull charts.own.test/ghcr.io/some/policy:1"}
