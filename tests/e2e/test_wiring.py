"""What `gateway wire` says is taken by the clients themselves: they ask us, by the names they always had."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.client_commands import Client
from tests.e2e.gateway_process import Server, Site
from tests.fakes.charts import make_chart, pack, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.e2e

HOST = "registry.example.test"
IMAGE = OCI.image(pack({"etc/file": b"1"}))
DEMO = make_chart("demo", "1.2.3", {"values.yaml": b"a: 1\n"})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    with HelmRepo(repository_of(DEMO)) as repo, FakeRegistry() as registry:
        IMAGE.push_to(registry, "team/app", "1.0")
        site.write_rules(
            f"version: 1\nupstreams:\n"
            f"  {HOST}: {{kind: registry, url: '{registry.origin}', allow_private: true}}\n"
            f"  charts.example.test: {{kind: helm, url: '{repo.url}', allow_private: true}}\n"
            'rules: [{repository: "short/*", rewrite: charts.example.test/$1}]\n'
        )
        yield site


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[Server]:
    with site.serve() as server:
        yield server


def made(site: Site, server: Server, client: str, *options: str) -> dict[str, str]:
    output = site.run("wire", client, "--url", f"http://{server.address}", "--json", *options).require_ok()
    files: dict[str, str] = json.loads(output)["files"]
    return files


@pytest.mark.parametrize("options", [(), ("--only",)])
def test_skopeo_copies_an_image_of_a_host_that_is_not_there(
    skopeo: Client, site: Site, server: Server, tmp_path: Path, options: tuple[str, ...]
) -> None:
    (text,) = made(site, server, "podman", *options).values()
    configuration = tmp_path / "registries.conf"
    configuration.write_text(text)
    source, copied = f"docker://{HOST}/team/app:1.0", tmp_path / "copied"
    skopeo.ok("--registries-conf", str(configuration), "copy", "--insecure-policy", source, f"dir:{copied}")
    assert (copied / "manifest.json").read_bytes() == IMAGE.manifest


def test_helm_takes_the_lines_it_is_given(helm: Client, site: Site, server: Server, tmp_path: Path) -> None:
    text = made(site, server, "helm")["helm.txt"]
    line = next(line for line in text.splitlines() if "/short/<chart>" in line)
    program, *arguments = shlex.split(line.replace("<chart>", "demo"))
    assert program == "helm"
    helm.ok(*arguments, "--version", "1.2.3", "-d", str(tmp_path))
    assert (tmp_path / "demo-1.2.3.tgz").read_bytes() == DEMO


def test_helm_adds_the_classic_repository_and_pulls_from_it(
    helm: Client, site: Site, server: Server, tmp_path: Path
) -> None:
    text = made(site, server, "helm")["helm.txt"]
    line = next(line for line in text.splitlines() if line.startswith("helm repo add short "))
    helm.ok(*shlex.split(line)[1:])
    helm.ok("pull", "short/demo", "--version", "1.2.3", "-d", str(tmp_path))
    assert (tmp_path / "demo-1.2.3.tgz").read_bytes() == DEMO
