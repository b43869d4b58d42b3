"""Us between others: a registry that mirrors us, a chart proxy that is one of us, two of us in a circle."""

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from tests import clients
from tests.e2e.client_commands import Client
from tests.e2e.gateway_process import Server, Site
from tests.e2e.real_registry import running_registry
from tests.e2e.test_registries import CHART, HOST, IMAGE, INDEX, rules_for
from tests.fakes.chart_proxy import converted
from tests.fakes.charts import repository_of
from tests.fakes.helm_repo import HelmRepo

pytestmark = pytest.mark.e2e

PLACE = "charts.example.test/stable"
PROXY = "proxy.example.test"
OTHERS = {"one": "two", "two": "one"}
FILES = repository_of(CHART)
ARCHIVE = "demo-1.2.3.tgz"
EXPECTED = converted(FILES, "demo")["1.2.3"].manifest_digest


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    with HelmRepo(FILES) as repo:
        yield repo


def _site(folder: Path, upstreams: Mapping[str, str], defaults: str = "{}") -> Site:
    folder.mkdir()
    site = Site(folder)
    lines = [f"  {key}: {{{keys}}}" for key, keys in upstreams.items()]
    site.write_rules("\n".join(["version: 1", f"defaults: {defaults}", "upstreams:", *lines, ""]))
    return site


def _repository(repo: HelmRepo) -> str:
    return f"kind: helm, url: '{repo.url}', allow_private: true"


def _chart_proxy(url: str) -> str:
    return f"kind: chartproxy, url: '{url}', allow_private: true"


def _asks_source(server: Server, reference: object = "1.2.3") -> tuple[int, str, str]:
    """Status, the digest of what came, and which source gave it."""
    answer = server.get(f"/v2/{PLACE}/demo/manifests/{reference}")
    return answer.status_code, str(Digest.of(answer.content)), answer.headers.get("x-cache-source", "")


@pytest.mark.parametrize("series", clients.REGISTRIES)
def test_distribution_mirrors_images_and_charts_from_us(
    crane: Client, newest_helm: Client, repo: HelmRepo, tmp_path: Path, series: str
) -> None:
    program = clients.registry(series)
    with running_registry(program, tmp_path / "upstream") as upstream:
        IMAGE.push_to(upstream, "team/app", "1.0")
        INDEX.push_to(upstream, "team/multi", "1.0")
        site = Site(tmp_path)
        site.write_rules(f"{rules_for(upstream)}  {PLACE}: {{{_repository(repo)}}}\n")
        with (
            site.serve() as server,
            running_registry(program, tmp_path / "mirror", mirrors=server.url) as mirror,
        ):
            for name, artifact in (("team/app", IMAGE), ("team/multi", INDEX)):
                reference = f"{mirror.address}/{HOST}/{name}"
                for _ in range(2):
                    crane.ok("validate", "--insecure", "--remote", f"{reference}@{artifact.digest}")
                assert crane.ok("digest", "--insecure", f"{reference}:1.0").strip() == str(artifact.digest)
            chart = f"oci://{mirror.address}/{PLACE}/demo"
            assert newest_helm.pull(chart, "--version", "1.2.3", into=tmp_path / "pulled") == CHART
            assert crane.ok("ls", "--insecure", f"{mirror.address}/{PLACE}/demo").split() == ["1.2.3"]
        for blob in IMAGE.blobs:
            assert upstream.count(f"/v2/team/app/blobs/{Digest.of(blob)}") == 1
        assert repo.count_of(ARCHIVE) == 1


def test_a_chart_proxy_that_is_one_of_us_gives_the_digest_of_a_direct_conversion(
    newest_helm: Client, repo: HelmRepo, tmp_path: Path
) -> None:
    behind = _site(tmp_path / "behind", {PLACE: _repository(repo)})
    with behind.serve() as proxy:
        upstreams = {PLACE: "kind: helm", PROXY: _chart_proxy(proxy.url)}
        front = _site(tmp_path / "front", upstreams, f"{{chartproxy: {PROXY}}}")
        with front.serve() as server:
            reference = f"oci://{server.address}/{PLACE}/demo"
            assert newest_helm.pull(reference, "--version", "1.2.3", into=tmp_path / "pulled") == CHART
            assert _asks_source(server) == (200, str(EXPECTED), "chartproxy")
            assert _asks_source(proxy) == (200, str(EXPECTED), "helm")
            assert server.get(f"/v2/{PLACE}/demo/tags/list").json()["tags"] == ["1.2.3"]
        assert repo.count_of(ARCHIVE) == 1
    with front.serve() as server:  # the proxy is gone, and nobody else can be asked
        assert _asks_source(server)[:2] == (200, str(EXPECTED))


def test_a_digest_of_the_chart_proxy_is_found_by_converting_when_the_proxy_is_gone(
    repo: HelmRepo, tmp_path: Path
) -> None:
    site = _site(tmp_path / "front", {PLACE: f"{_repository(repo)}, chartproxy: {PROXY}", PROXY: _nowhere()})
    with site.serve() as server:
        assert _asks_source(server, EXPECTED) == (200, str(EXPECTED), "helm")


def _nowhere() -> str:
    return _chart_proxy("http://127.0.0.1:9")


@contextmanager
def _circle(folder: Path, repo: HelmRepo) -> Iterator[Mapping[str, Server]]:
    """Two gateways, each of which is the other's chart proxy."""
    place = f"{_repository(repo)}, chartproxy: {PROXY}"
    with ExitStack() as stack:
        claims = {name: stack.enter_context(_claimed_port()) for name in OTHERS}
        servers = {}
        for name, other in OTHERS.items():
            url = f"http://127.0.0.1:{_port(claims[other])}"
            site = _site(folder / name, {PLACE: place, PROXY: _chart_proxy(url)})
            servers[name] = stack.enter_context(site.serve("--port", str(_port(claims[name]))))
        yield servers


def _claimed_port() -> socket.socket:
    """Bound and never listening: nobody else is given the port, and a server may still take it."""
    claim = socket.socket()
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    claim.bind(("127.0.0.1", 0))
    return claim


def _port(claim: socket.socket) -> int:
    port: int = claim.getsockname()[1]
    return port


@pytest.mark.parametrize("first", ["one", "two"])
def test_two_of_us_in_a_circle_refuse_the_loop_quickly_and_convert(
    repo: HelmRepo, tmp_path: Path, first: str
) -> None:
    with _circle(tmp_path, repo) as servers:
        asked, other = servers[first], servers[OTHERS[first]]
        started = time.monotonic()
        assert _asks_source(asked) == (200, str(EXPECTED), "chartproxy")
        assert time.monotonic() - started < 3
        assert other.wait_for("source_skipped")["source"] == "chartproxy"  # which is the one that asked it
        assert _asks_source(other) == (200, str(EXPECTED), "helm")
        assert asked.get(f"/v2/{PLACE}/demo/manifests/9.9.9").status_code == 404
        assert asked.get(f"/v2/{PLACE}/demo/tags/list").json()["tags"] == ["1.2.3"]
    assert repo.count_of(ARCHIVE) == 1


def test_who_is_named_as_his_own_chart_proxy_knows_himself_in_any_worker(
    repo: HelmRepo, tmp_path: Path
) -> None:
    with _claimed_port() as claim:
        url = f"http://127.0.0.1:{_port(claim)}"
        own = {PLACE: f"{_repository(repo)}, chartproxy: {PROXY}", PROXY: _chart_proxy(url)}
        with _site(tmp_path / "site", own).serve("--port", str(_port(claim)), workers=2) as server:
            assert _asks_source(server) == (200, str(EXPECTED), "helm")
            assert server.wait_for("source_skipped")["source"] == "chartproxy"
    assert repo.count_of(ARCHIVE) == 1
