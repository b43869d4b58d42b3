"""Helm takes charts whose dependencies were rewritten: it lists and builds them from one registry alone."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.helm.archive_copy import read_files
from gateway.helm.dependencies import rewrite_chart
from gateway.helm.document import parse_document
from gateway.helm.lock import Lock, parse_lock
from tests import clients
from tests.e2e.client_commands import Client
from tests.e2e.real_registry import RealRegistry, running_registry
from tests.fakes.charts import make_chart, pack

pytestmark = pytest.mark.e2e

REAL = {
    "Chart.lock": "argoproj.github.io/argo-helm/argo-cd-3.4.0.tgz",
    "requirements.lock of Helm 3": "argoproj.github.io/argo-helm/argo-cd-2.17.5.tgz",
    "requirements.lock of Helm 2": "argoproj.github.io/argo-helm/argo-0.10.0.tgz",
    "two dependencies": "cloudnative-pg.github.io/charts/cnpg-sandbox-0.6.0.tgz",
}
LOCKS = frozenset((b"Chart.lock", b"requirements.lock"))
STABLE = "https://charts.example.test/stable"
CHART = """\
apiVersion: v2
name: umbrella
version: 1.0.0
dependencies: # two of them
- name: sub
  version: ">=1 <2"
  repository: "@stable" # by alias
- {name: other, version: 2.0.0, repository: 'oci://ghcr.io/team/', condition: other.enabled}
"""
REQUIRED = [
    {"name": "sub", "version": ">=1 <2", "repository": STABLE},
    {"name": "other", "version": "2.0.0", "repository": "oci://ghcr.io/team/", "condition": "other.enabled"},
]
LOCKED = [
    {"name": "sub", "version": "1.2.3", "repository": STABLE},
    {"name": "other", "version": "2.0.0", "repository": "oci://ghcr.io/team/"},
]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """What this gateway is to helm: one registry that has the charts of all others."""
    with running_registry(clients.registry("3"), tmp_path_factory.mktemp("registry")) as running:
        yield running


def rewritten(archive: bytes, registry: RealRegistry) -> bytes:
    chart = rewrite_chart(io.BytesIO(archive), registry.address)
    assert chart is not None
    return chart.archive


def lock_of(archive: bytes) -> Lock:
    ((name, content),) = read_files(io.BytesIO(archive), LOCKS).items()
    return parse_lock(parse_document(content), name.decode())


def unpacked(archive: bytes, folder: Path) -> Path:
    """The chart's folder, without the charts inside: they are to be fetched."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
        wanted = [info for info in members if "/charts/" not in info.name]
        members.extractall(folder, wanted, filter="data")
        return folder / wanted[0].name.partition("/")[0]


def push_locked(helm: Client, lock: Lock, registry: RealRegistry) -> None:
    """Put a chart of each locked name and version where the lock says that it lies."""
    for dependency in lock.dependencies:
        assert dependency.repository.startswith(f"oci://{registry.address}/")
        archive = helm.home / f"{dependency.name}-{dependency.version}.tgz"
        archive.write_bytes(make_chart(dependency.name, dependency.version))
        helm.ok("push", archive.name, dependency.repository, "--plain-http")


def build(helm: Client, chart: Path) -> list[str]:
    helm.ok("dependency", "build", str(chart), "--plain-http", "--skip-refresh")
    return sorted(path.name for path in (chart / "charts").iterdir())


def file_names(lock: Lock) -> list[str]:
    return sorted(f"{dependency.name}-{dependency.version}.tgz" for dependency in lock.dependencies)


@pytest.mark.parametrize("place", REAL.values(), ids=REAL)
def test_helm_builds_a_real_chart_and_its_lock_is_in_sync(
    helm: Client, registry: RealRegistry, corpus: Path, tmp_path: Path, place: str
) -> None:
    archive = rewritten((corpus / place).read_bytes(), registry)
    lock = lock_of(archive)
    push_locked(helm, lock, registry)
    chart = unpacked(archive, tmp_path / "chart")
    assert build(helm, chart) == file_names(lock)
    listed = helm.ok("dependency", "list", str(chart))
    assert listed.count(f"oci://{registry.address}/") == len(lock.dependencies)
    assert listed.count("\tok ") == len(lock.dependencies)


@pytest.mark.parametrize("place", REAL.values(), ids=REAL)
def test_helm_reads_the_archive_itself(
    helm: Client, registry: RealRegistry, corpus: Path, tmp_path: Path, place: str
) -> None:
    before, after = tmp_path / "before.tgz", tmp_path / "after.tgz"
    before.write_bytes((corpus / place).read_bytes())
    after.write_bytes(rewritten(before.read_bytes(), registry))
    rendered = [helm.ok("template", "--kube-version", "1.22", "x", str(path)) for path in (before, after)]
    assert _sorted_lines(rendered[0]) == _sorted_lines(rendered[1])
    assert f"repository: oci://{registry.address}/" in helm.ok("show", "chart", str(after))


def test_an_alias_is_built_with_the_settings_that_it_was_locked_with(
    helm: Client, registry: RealRegistry, tmp_path: Path
) -> None:
    archive = rewritten(umbrella(), registry)
    push_locked(helm, lock_of(archive), registry)
    name_stable(helm)
    chart = unpacked(archive, tmp_path / "chart")
    assert build(helm, chart) == ["other-2.0.0.tgz", "sub-1.2.3.tgz"]
    shown = (chart / "Chart.yaml").read_text()
    assert shown == CHART.replace("oci://ghcr.io/team/", f"oci://{registry.address}/ghcr.io/team")


def test_a_lock_that_was_out_of_sync_is_told_as_such(
    helm: Client, registry: RealRegistry, tmp_path: Path
) -> None:
    name_stable(helm)
    chart = unpacked(rewritten(umbrella(digest=f"sha256:{'0' * 64}"), registry), tmp_path / "chart")
    ran = helm.run("dependency", "build", str(chart), "--plain-http", "--skip-refresh")
    assert (ran.code, "out of sync" in ran.errors) == (1, True)


def umbrella(digest: str | None = None) -> bytes:
    """A chart whose lock is as Helm writes it, where ``stable`` is STABLE."""
    hashed = json.dumps([REQUIRED, LOCKED], separators=(",", ":"))
    hashed = hashed.replace("<", "\\u003c").replace(">", "\\u003e")
    lock = {
        "dependencies": LOCKED,
        "digest": digest or f"sha256:{hashlib.sha256(hashed.encode()).hexdigest()}",
        "generated": "2024-01-02T03:04:05Z",
    }
    return pack({"umbrella/Chart.yaml": CHART.encode(), "umbrella/Chart.lock": json.dumps(lock).encode()})


def name_stable(helm: Client) -> None:
    """As ``helm repo add stable`` does, but for the index, which is not asked for."""
    config, cache = helm.home / "config", helm.home / "cache" / "repository"
    config.mkdir(exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    repositories = {"apiVersion": "", "repositories": [{"name": "stable", "url": STABLE}]}
    (config / "repositories.yaml").write_text(json.dumps(repositories))
    (cache / "stable-index.yaml").write_text("apiVersion: v1\nentries: {}\n")


def _sorted_lines(text: str) -> list[str]:
    return sorted(text.splitlines())
