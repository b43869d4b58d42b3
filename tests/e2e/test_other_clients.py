"""Clients that are no Helm see a registry like any other."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from tests.e2e.client_commands import Client
from tests.e2e.gateway_process import Server, Site
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

pytestmark = pytest.mark.e2e

UPSTREAM = "charts.example.test/stable"
CHARTS = [make_chart("demo", f"1.0.{patch}", {"values.yaml": b"a: 1\n"}) for patch in range(3)]
TAGS = ["1.0.0", "1.0.1", "1.0.2"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    site = Site(tmp_path_factory.mktemp("site"))
    with HelmRepo(repository_of(*CHARTS)) as repo:
        site.point_at({UPSTREAM: repo})
        with site.serve() as server:
            yield server


@pytest.fixture
def name(server: Server) -> str:
    return f"{server.address}/{UPSTREAM}/demo"


def test_crane_reads_manifest_and_digest_alike_by_tag_and_by_digest(crane: Client, name: str) -> None:
    digest = crane.ok("digest", "--insecure", f"{name}:1.0.2").strip()
    by_tag = crane.ok("manifest", "--insecure", f"{name}:1.0.2")
    assert str(Digest.of(by_tag.encode())) == digest
    assert crane.ok("manifest", "--insecure", f"{name}@{digest}") == by_tag


def test_crane_lists_tags_and_names(crane: Client, server: Server, name: str) -> None:
    crane.ok("manifest", "--insecure", f"{name}:1.0.2")
    assert crane.ok("ls", "--insecure", name).split() == TAGS
    assert crane.ok("catalog", "--insecure", server.address).split() == [f"{UPSTREAM}/demo"]


def test_crane_pulls_a_layout_and_an_archive(crane: Client, name: str, tmp_path: Path) -> None:
    crane.ok("pull", "--insecure", "--format", "oci", f"{name}:1.0.1", str(tmp_path / "layout"))
    blob = tmp_path / "layout" / "blobs" / "sha256" / Digest.of(CHARTS[1]).hex
    assert blob.read_bytes() == CHARTS[1]
    crane.ok("pull", "--insecure", f"{name}:1.0.1", str(tmp_path / "demo.tar"))
    with tarfile.open(tmp_path / "demo.tar") as archive:
        assert "manifest.json" in archive.getnames()


def test_crane_validates_every_byte(crane: Client, name: str) -> None:
    assert "PASS" in crane.ok("validate", "--insecure", "--remote", f"{name}:1.0.0")


def test_skopeo_copies_into_a_folder_and_a_layout_without_changing_a_digest(
    skopeo: Client, name: str, tmp_path: Path
) -> None:
    source = f"docker://{name}:1.0.0"
    manifest = skopeo.ok("inspect", "--tls-verify=false", "--raw", source).encode()
    skopeo.ok("copy", "--src-tls-verify=false", source, f"dir:{tmp_path / 'folder'}")
    assert (tmp_path / "folder" / "manifest.json").read_bytes() == manifest
    assert (tmp_path / "folder" / Digest.of(CHARTS[0]).hex).read_bytes() == CHARTS[0]
    skopeo.ok("copy", "--src-tls-verify=false", source, f"oci:{tmp_path / 'layout'}:copied")
    (copied,) = json.loads((tmp_path / "layout" / "index.json").read_text())["manifests"]
    assert copied["digest"] == str(Digest.of(manifest))


def test_skopeo_lists_tags(skopeo: Client, name: str) -> None:
    listed = json.loads(skopeo.ok("list-tags", "--tls-verify=false", f"docker://{name}"))
    assert listed["Tags"] == TAGS


def test_crane_tells_our_message(crane: Client, name: str) -> None:
    ran = crane.run("manifest", "--insecure", f"{name}:9.9.9")
    assert ran.code == 1
    assert "MANIFEST_UNKNOWN" in ran.errors
    assert f"{UPSTREAM} has no version 9.9.9 of demo" in ran.errors
