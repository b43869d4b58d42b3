"""Helm, each that is in use, has the gateway for a chart repository: below /charts/, and as another host."""

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import clients
from tests.conftest import missing
from tests.e2e.client_commands import Client
from tests.e2e.gateway_process import Server, Site, eventually
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import helm_artifact
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.e2e

FILES = {
    "values.yaml": b"greeting: hello\n",
    "templates/config.yaml": (
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Chart.Name }}-{{ .Chart.Version }}}\n"
    ),
}
DEMO = make_chart("demo", "1.2.3", FILES, description="Grüße: «hello»", appVersion="1.10")
NEWEST = make_chart("demo", "1.10.0", FILES)
BUILD = make_chart("build", "1.0.0+build.5", FILES)
PREFIXED = make_chart("prefixed", "v1.0.0", FILES)
NATIVE = make_chart("native", "0.1.0", FILES, description="from a registry")
RULES = """
version: 1
upstreams:
  charts.example.test: {{kind: helm, url: '{charts}', allow_private: true}}
  images.example.test: {{kind: registry, url: '{images}', allow_private: true}}
rules:
  - {{host: localhost, repository: "stable/*", rewrite: charts.example.test/stable/$1, classic: true}}
  - {{repository: "stable/*", rewrite: charts.example.test/stable/$1}}
  - {{repository: "native/*", rewrite: images.example.test/charts/$1}}
sync:
  - {{name: natives, charts: [{{repository: native/native}}]}}
"""


@dataclass(frozen=True, slots=True)
class Signed:
    """An archive, its .prov file, and the ring with the key that made it."""

    archive: bytes
    provenance: bytes
    keyring: Path


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    if shutil.which("gpg") is None:
        missing("no gpg, which makes the key that helm signs by")
    folder = tmp_path_factory.mktemp("signing")
    home = folder / "keys"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
    subprocess.run(
        [*gpg, "--quick-gen-key", "charts@example.test", "rsa2048"], check=True, capture_output=True
    )
    for option, name in (("--export-secret-keys", "secret.gpg"), ("--export", "public.gpg")):
        exported = subprocess.run([*gpg, option], check=True, capture_output=True)
        (folder / name).write_bytes(exported.stdout)
    with tarfile.open(fileobj=io.BytesIO(make_chart("signed", "2.0.0", FILES)), mode="r:gz") as members:
        members.extractall(folder, filter="data")
    ring = ("--sign", "--key", "charts@example.test", "--keyring", str(folder / "secret.gpg"))
    Client(clients.helm("3"), folder).ok("package", str(folder / "signed"), *ring, folder=folder)
    archive = folder / "signed-2.0.0.tgz"
    return Signed(archive.read_bytes(), Path(f"{archive}.prov").read_bytes(), folder / "public.gpg")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, signed: Signed) -> Iterator[Server]:
    site = Site(tmp_path_factory.mktemp("site"))
    files = repository_of(DEMO, NEWEST, BUILD, PREFIXED, signed.archive)
    files["signed-2.0.0.tgz.prov"] = signed.provenance
    with ExitStack() as stack:
        charts = stack.enter_context(HelmRepo({f"stable/{path}": text for path, text in files.items()}))
        images = stack.enter_context(FakeRegistry())
        helm_artifact(NATIVE).push_to(images, "charts/native", "0.1.0")
        site.write_rules(RULES.format(charts=charts.url, images=images.origin))
        yield stack.enter_context(site.serve())


@pytest.fixture(params=("/charts/stable", "/stable"))
def repository(request: pytest.FixtureRequest, server: Server) -> str:
    """Below /charts/, and as the host that a rule calls classic: the gateway's own name will do."""
    below: str = request.param
    return f"http://localhost:{server.port}{below}"


def test_a_repository_is_added_searched_and_pulled_from(
    helm: Client, repository: str, tmp_path: Path
) -> None:
    helm.ok("repo", "add", "ours", repository)
    found = helm.ok("search", "repo", "ours", "--versions")
    for listed in ("ours/demo", "1.2.3", "1.10.0", "1.0.0+build.5", "Grüße: «hello»"):
        assert listed in found
    for chart, version, archive in (
        ("demo", "1.2.3", DEMO),
        ("demo", "^1.3.0", NEWEST),
        ("build", "1.0.0+build.5", BUILD),
        ("prefixed", "v1.0.0", PREFIXED),
    ):
        assert _pulled(helm, f"ours/{chart}", version, tmp_path / f"{chart}-{version}") == archive
    assert "name: demo-1.10.0" in helm.ok("template", "one", "ours/demo")


def test_a_chart_is_verified_by_the_file_that_signs_it(
    helm: Client, repository: str, signed: Signed, tmp_path: Path
) -> None:
    into = tmp_path / "out"
    into.mkdir()
    verify = ("--verify", "--keyring", str(signed.keyring), "-d", str(into))
    helm.ok("pull", "signed", "--repo", repository, "--version", "2.0.0", *verify)
    assert (into / "signed-2.0.0.tgz").read_bytes() == signed.archive


def test_dependencies_are_built_from_it(helm: Client, repository: str, tmp_path: Path) -> None:
    required = [{"name": "demo", "version": "~1.2", "repository": repository}]
    app = make_chart("app", "1.0.0", FILES, dependencies=required)
    with tarfile.open(fileobj=io.BytesIO(app), mode="r:gz") as members:
        members.extractall(tmp_path, filter="data")
    helm.ok("dependency", "update", str(tmp_path / "app"))
    assert (tmp_path / "app" / "charts" / "demo-1.2.3.tgz").read_bytes() == DEMO
    shutil.rmtree(tmp_path / "app" / "charts")
    helm.ok("repo", "add", "ours", repository)
    helm.ok("dependency", "build", str(tmp_path / "app"))
    assert (tmp_path / "app" / "charts" / "demo-1.2.3.tgz").read_bytes() == DEMO


def test_a_registry_is_a_classic_repository_too(helm: Client, server: Server, tmp_path: Path) -> None:
    helm.ok("repo", "add", "ours", f"http://localhost:{server.port}/charts/native")
    assert "0.1.0" in helm.ok("search", "repo", "ours/native")
    assert _pulled(helm, "ours/native", "0.1.0", tmp_path / "out") == NATIVE

    def is_described() -> bool:
        helm.ok("repo", "update")
        return "from a registry" in helm.ok("search", "repo", "ours/native")

    eventually(is_described, 10.0)


def _pulled(helm: Client, reference: str, version: str, into: Path) -> bytes:
    into.mkdir()
    helm.ok("pull", reference, "--version", version, "-d", str(into))
    (archive,) = into.iterdir()
    return archive.read_bytes()
