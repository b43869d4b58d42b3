"""Once pulled, always there: after a restart, and when the upstream or the whole internet is gone."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.client_commands import Client
from tests.e2e.gateway_process import Server, Site
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

pytestmark = pytest.mark.e2e

UPSTREAM = "charts.example.test/stable"
DEMO = make_chart("demo", "1.2.3", {"values.yaml": b"a: 1\n"})
CHARTS = (DEMO, make_chart("demo", "1.2.4"), make_chart("other", "0.1.0"))
RECHECK_AT_ONCE = "{fresh_for: 0s, recheck_for: 0s}"
INDEX_NEVER_FRESH = "{fresh_for: 0s}"  # whoever asked for it again would ask upstream


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(*CHARTS)) as repo:
        yield repo


def test_a_second_pull_asks_nobody(site: Site, repo: HelmRepo, newest_helm: Client, tmp_path: Path) -> None:
    site.point_at({UPSTREAM: repo}, INDEX_NEVER_FRESH)
    with site.serve() as server:
        newest_helm.pull(_demo(server), into=tmp_path / "first")
        asked = [request.path for request in repo.requests]
        assert asked == ["/index.yaml", "/demo-1.2.3.tgz"]
        assert newest_helm.pull(_demo(server), into=tmp_path / "second") == DEMO
    with site.serve() as server:
        assert newest_helm.pull(_demo(server), into=tmp_path / "third") == DEMO
    assert len(repo.requests) == len(asked)


def test_a_restart_changes_nothing(site: Site, repo: HelmRepo) -> None:
    site.point_at({UPSTREAM: repo}, INDEX_NEVER_FRESH)
    with site.serve() as server:
        before = _seen(server)
        assert server.stop() == 0
    with site.serve(workers=2) as server:
        assert _seen(server) == before
    assert len(repo.requests) == 2


@pytest.mark.parametrize("defaults", ["{}", RECHECK_AT_ONCE])
def test_what_was_pulled_is_served_when_the_upstream_is_gone(
    site: Site, repo: HelmRepo, helm: Client, tmp_path: Path, defaults: str
) -> None:
    site.point_at({UPSTREAM: repo}, defaults)
    with site.serve() as server:
        digest = _seen(server)["docker-content-digest"]
        repo.go_down()
        assert helm.pull(_demo(server), into=tmp_path / "tag") == DEMO
        assert helm.pull(f"{_name(server)}@{digest}", into=tmp_path / "digest") == DEMO
    with site.serve() as server:
        assert helm.pull(_demo(server), into=tmp_path / "restarted") == DEMO
        assert "1.2.3" in server.get(f"/v2/{UPSTREAM}/demo/tags/list").json()["tags"]


def test_an_answer_from_a_cache_that_nobody_confirms_says_so(site: Site, repo: HelmRepo) -> None:
    site.point_at({UPSTREAM: repo}, RECHECK_AT_ONCE)
    with site.serve() as server:
        assert _manifest(server, "1.2.3").headers["x-cache"] == "miss"
        assert _manifest(server, "1.2.3").headers["x-cache"] == "hit"
        repo.go_down()
        assert _manifest(server, "1.2.3").headers["x-cache"] == "stale"


def test_what_was_never_pulled_is_an_outage_when_the_upstream_is_gone(site: Site, repo: HelmRepo) -> None:
    site.point_at({UPSTREAM: repo})
    with site.serve() as server:
        repo.go_down()
        answer = _manifest(server, "1.2.3")
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, "UNAVAILABLE")
        assert int(answer.headers["retry-after"]) > 0
        repo.come_up()
        assert _manifest(server, "1.2.3").status_code == 200


def test_offline_it_serves_and_lists_just_what_it_holds(
    site: Site, repo: HelmRepo, helm: Client, tmp_path: Path
) -> None:
    site.point_at({UPSTREAM: repo})
    with site.serve() as server:
        _seen(server)
        asked_count = len(repo.requests)
    with site.serve("--offline") as server:
        assert server.get(f"/v2/{UPSTREAM}/demo/tags/list").json()["tags"] == ["1.2.3"]
        assert server.get("/v2/_catalog").json()["repositories"] == [f"{UPSTREAM}/demo"]
        assert helm.pull(_name(server), into=tmp_path / "newest") == DEMO
        assert helm.pull(_name(server), "--version", "v1.2.3", into=tmp_path / "prefixed") == DEMO
        assert _manifest(server, "1.2.4").status_code == 404
        assert server.get(f"/v2/{UPSTREAM}/other/tags/list").status_code == 404
    assert len(repo.requests) == asked_count


def _name(server: Server) -> str:
    return f"oci://{server.address}/{UPSTREAM}/demo"


def _demo(server: Server) -> str:
    return f"{_name(server)}:1.2.3"


def _manifest(server: Server, tag: str) -> httpx.Response:
    return server.get(f"/v2/{UPSTREAM}/demo/manifests/{tag}")


def _seen(server: Server) -> dict[str, str]:
    """What a client sees of demo 1.2.3 that must never change, after pulling it if need be."""
    manifest = _manifest(server, "1.2.3")
    digests = [manifest.json()["config"]["digest"], manifest.json()["layers"][0]["digest"]]
    blobs = {digest: server.get(f"/v2/{UPSTREAM}/demo/blobs/{digest}").content.hex() for digest in digests}
    kept = ("docker-content-digest", "content-type", "content-length", "etag")
    return {"manifest": manifest.text, **blobs, **{name: manifest.headers[name] for name in kept}}
