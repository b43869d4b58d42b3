"""Helm builds a chart's dependencies through the gateway alone: where they were published, nobody can go."""

import hashlib
import io
import json
import socket
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from tests.e2e.client_commands import Client
from tests.e2e.gateway_process import Server, Site
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import helm_artifact
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.e2e

CONFIG_MAP = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Chart.Name }}-{{ .Chart.Version }}}\n"
FILES = {"templates/config.yaml": CONFIG_MAP}
REDIS = [make_chart("redis", version, FILES) for version in ("1.0.0", "1.2.0", "2.0.0")]
COMMON = make_chart("common", "0.3.1", FILES)
REQUIRED = [
    {"name": "redis", "version": "~1", "repository": "https://deps.example.test/stable"},
    {"name": "common", "version": "0.3.1", "repository": "oci://images.example.test/charts"},
]
LOCKED = [{**REQUIRED[0], "version": "1.0.0"}, REQUIRED[1]]
HASHED = json.dumps([REQUIRED, LOCKED], separators=(",", ":")).encode()
LOCK = {
    "dependencies": LOCKED,
    "digest": f"sha256:{hashlib.sha256(HASHED).hexdigest()}",
    "generated": "2024-01-02T03:04:05Z",
}
APP = make_chart("app", "1.0.0", {**FILES, "Chart.lock": json.dumps(LOCK).encode()}, dependencies=REQUIRED)
RULES = """
version: 1
upstreams:
  apps.example.test: {{kind: helm, url: '{apps}', allow_private: true}}
  deps.example.test/stable: {{kind: helm, url: '{deps}', allow_private: true}}
  images.example.test: {{kind: registry, url: '{images}', allow_private: true}}
rules:
  - {{repository: "near/*", rewrite: apps.example.test/$1, rewrite_dependencies: true}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway that knows under which name it is reached; the hosts of its upstreams do not exist."""
    site = Site(tmp_path_factory.mktemp("site"))
    with ExitStack() as stack:
        apps = stack.enter_context(HelmRepo(repository_of(APP)))
        deps = stack.enter_context(HelmRepo(repository_of(*REDIS)))
        images = stack.enter_context(FakeRegistry())
        helm_artifact(COMMON).push_to(images, "charts/common", "0.3.1")
        site.write_rules(RULES.format(apps=apps.url, deps=deps.url, images=images.origin))
        port = str(_free_port())
        flags = ("--port", port, "--public-url", f"http://localhost:{port}")
        yield stack.enter_context(site.serve(*flags))


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture
def chart(helm: Client, server: Server, tmp_path: Path) -> Path:
    """The chart's folder, as whoever works on it has it, once pulled."""
    archive = helm.pull(f"oci://{server.address}/near/app", "--version", "1.0.0", into=tmp_path / "pulled")
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
        members.extractall(tmp_path / "unpacked", filter="data")
    return tmp_path / "unpacked" / "app"


def charts_in(chart: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((chart / "charts").iterdir())}


def test_helm_builds_what_is_locked_without_the_places_it_was_published_at(
    helm: Client, server: Server, chart: Path
) -> None:
    assert (
        f"repository: oci://{server.address}/deps.example.test/stable" in (chart / "Chart.yaml").read_text()
    )
    helm.ok("dependency", "build", str(chart), "--plain-http")
    assert charts_in(chart) == {"common-0.3.1.tgz": COMMON, "redis-1.0.0.tgz": REDIS[0]}
    rendered = helm.ok("template", "release", str(chart))
    for name in ("app-1.0.0", "redis-1.0.0", "common-0.3.1"):
        assert f"metadata: {{name: {name}}}" in rendered


def test_helm_updates_to_the_newest_in_range(helm: Client, server: Server, chart: Path) -> None:
    helm.ok("dependency", "update", str(chart), "--plain-http")
    assert charts_in(chart) == {"common-0.3.1.tgz": COMMON, "redis-1.2.0.tgz": REDIS[1]}
    assert f"oci://{server.address}/images.example.test/charts" in (chart / "Chart.lock").read_text()
    assert "metadata: {name: redis-1.2.0}" in helm.ok("template", "release", str(chart))


def test_under_its_own_name_the_chart_is_what_was_published(
    helm: Client, server: Server, tmp_path: Path
) -> None:
    name = f"oci://{server.address}/apps.example.test/app"
    assert helm.pull(name, "--version", "1.0.0", into=tmp_path / "out") == APP


def test_the_query_asks_for_it_under_any_name_and_the_blobs_are_had_there(server: Server) -> None:
    name = "/v2/apps.example.test/app"
    plain = server.get(f"{name}/manifests/1.0.0")
    near = server.get("/v2/near/app/manifests/1.0.0")
    asked = server.get(f"{name}/manifests/1.0.0?rewrite_dependencies=true")
    assert asked.headers["docker-content-digest"] == near.headers["docker-content-digest"]
    assert plain.headers["docker-content-digest"] != near.headers["docker-content-digest"]
    assert server.get(f"{name}/manifests/1.0.0").content == plain.content
    layer = asked.json()["layers"][0]["digest"]
    blob = server.get(f"{name}/blobs/{layer}")
    assert (blob.status_code, str(Digest.of(blob.content))) == (200, layer)
    never = server.get("/v2/near/app/manifests/1.0.0?rewrite_dependencies=false")
    assert never.content == plain.content


def test_without_a_public_url_such_a_rule_stops_the_start_and_says_what_to_set(site: Site) -> None:
    site.write_rules(
        RULES.format(apps="http://127.0.0.1:1", deps="http://127.0.0.1:1", images="http://127.0.0.1:1")
    )
    ran = site.run("serve", "--port", "0")
    assert ran.code != 0
    assert "PUBLIC_URL" in ran.errors
    assert "Traceback" not in ran.errors
