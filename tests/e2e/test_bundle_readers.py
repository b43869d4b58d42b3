"""A bundle is an OCI image layout: oras, skopeo and crane read it, and helm what they push out of it."""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import clients
from tests.e2e.client_commands import Client
from tests.e2e.gateway_process import Site
from tests.e2e.real_registry import RealRegistry, running_registry
from tests.fakes.charts import make_chart, pack, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI, signature_by_tag, signature_of
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.e2e

LAYERS = [pack({f"etc/{name}": name.encode() * 5000}) for name in ("first", "second")]
IMAGE, INDEX = OCI.image(*LAYERS), OCI.image_index(*LAYERS)
SIGNATURE = signature_of(IMAGE)
SIGNATURE_TAG, SIGNED = signature_by_tag(INDEX)
DEMO = make_chart("demo", "1.2.3", {"values.yaml": b"a: 1\n"})
BUILD = make_chart("demo", "1.0.0+build.5")
CHART, APP = "charts.example.test/stable/demo", "registry.example.test/team/app"
MULTI = "registry.example.test/team/multi"


@dataclass(frozen=True, slots=True)
class Bundles:
    """One bundle of all of it, as a tar, compressed, and unpacked."""

    folder: Path

    @property
    def tar(self) -> str:
        return str(self.folder / "all.tar")

    @property
    def layout(self) -> str:
        return str(self.folder / "layout")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    site = Site(tmp_path_factory.mktemp("site"))
    with HelmRepo(repository_of(DEMO, BUILD)) as repo, FakeRegistry() as registry:
        IMAGE.push_to(registry, "team/app", "1.0")
        INDEX.push_to(registry, "team/multi", "1.0")
        SIGNATURE.push_to(registry, "team/app")
        SIGNED.push_to(registry, "team/multi", SIGNATURE_TAG)
        site.write_rules(
            "version: 1\nupstreams:\n"
            f"  charts.example.test/stable: {{kind: helm, url: '{repo.url}', allow_private: true}}\n"
            "  registry.example.test: "
            f"{{kind: registry, url: 'http://{registry.address}', allow_private: true}}\n"
        )
        for reference in (
            *(f"{CHART}:1.2.3", f"{CHART}:1.0.0_build.5", f"{APP}:1.0", f"{APP}@{SIGNATURE.digest}"),
            *(f"{MULTI}:1.0", f"{MULTI}:{SIGNATURE_TAG}"),
        ):
            site.run("pull", reference).require_ok()
        for name in ("all.tar", "all.tar.zst"):
            site.run("export", "-o", name).require_ok()
    with tarfile.open(site.folder / "all.tar") as tar:
        tar.extractall(site.folder / "layout", filter="data")
    return Bundles(site.folder)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    folder = tmp_path / "registry"
    folder.mkdir()
    with running_registry(clients.registry("3"), folder) as running:
        yield running


@pytest.mark.parametrize("name", ["all.tar", "all.tar.zst"])
def test_skopeo_reads_it_packed_and_compressed(bundles: Bundles, skopeo: Client, name: str) -> None:
    archive = f"oci-archive:{bundles.folder / name}"
    assert json.loads(skopeo.ok("inspect", f"{archive}:{APP}:1.0"))["Digest"] == str(IMAGE.digest)
    raw = skopeo.ok("inspect", "--raw", f"{archive}:{CHART}:1.0.0_build.5")
    assert json.loads(raw)["config"]["mediaType"] == "application/vnd.cncf.helm.config.v1+json"


def test_skopeo_copies_an_image_out_of_it(bundles: Bundles, skopeo: Client, registry: RealRegistry) -> None:
    there = f"docker://{registry.address}/team/multi:1.0"
    skopeo.ok("copy", "--all", "--dest-tls-verify=false", f"oci-archive:{bundles.tar}:{MULTI}:1.0", there)
    assert registry.has("team/multi", INDEX.digest)


def test_oras_reads_tags_and_what_refers_to_an_image(bundles: Bundles, oras: Client) -> None:
    tags = oras.ok("repo", "tags", "--oci-layout", bundles.layout).split()
    assert {f"{CHART}:1.2.3", f"{APP}:1.0", f"{MULTI}:{SIGNATURE_TAG}"} <= set(tags)
    told = oras.ok("discover", "--format", "json", "--oci-layout-path", bundles.tar, f"{APP}:1.0")
    assert [one["digest"] for one in json.loads(told)["referrers"]] == [str(SIGNATURE.digest)]


def test_oras_pulls_a_chart_out_of_it(bundles: Bundles, oras: Client, tmp_path: Path) -> None:
    oras.ok("pull", "--oci-layout-path", bundles.tar, f"{CHART}:1.2.3", "-o", str(tmp_path / "chart"))
    assert (tmp_path / "chart" / "demo-1.2.3.tgz").read_bytes() == DEMO


def test_helm_pulls_what_oras_copied_from_it_into_a_registry(
    bundles: Bundles, oras: Client, newest_helm: Client, registry: RealRegistry, tmp_path: Path
) -> None:
    there = f"{registry.address}/charts/demo:1.2.3"
    oras.ok("copy", "-r", "--from-oci-layout-path", bundles.tar, f"{CHART}:1.2.3", there, "--to-plain-http")
    assert newest_helm.pull(f"oci://{there}", into=tmp_path / "pulled") == DEMO


def test_crane_pushes_all_of_it(bundles: Bundles, crane: Client, registry: RealRegistry) -> None:
    crane.ok("push", "--index", "--insecure", bundles.layout, f"{registry.address}/all:1")
    for digest in (IMAGE.digest, INDEX.digest, SIGNATURE.digest, SIGNED.digest):
        assert registry.has("all", digest)


def test_no_entry_is_there_twice_and_none_leads_elsewhere(bundles: Bundles) -> None:
    with tarfile.open(bundles.tar) as tar:
        entries = tar.getmembers()
    names = [entry.name for entry in entries]
    assert names[:2] == ["oci-layout", "index.json"]
    assert len(names) == len(set(names))
    assert {(entry.mode, entry.mtime, entry.uid, entry.isreg()) for entry in entries} == {(0o644, 0, 0, True)}
