"""A catalog that takes nothing for a while: what is held is served, the rest is fetched, no row is lost."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gateway.oci.digest import Digest
from tests.e2e.gateway_process import Server, Site, eventually
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.e2e

CHARTS, REGISTRY = "charts.example.test", "registry.example.test"
WARM = "chart-0"
NAMES = [f"chart-{number}" for number in range(10)]
IMAGE = OCI.image(2 << 20)


@pytest.fixture
def repo(site: Site) -> Iterator[HelmRepo]:
    archives = [make_chart(name, "1.0.0") for name in NAMES]
    with HelmRepo(repository_of(*archives)) as repo, FakeRegistry() as registry:
        IMAGE.push_to(registry, "team/app", "1")
        site.write_rules(
            "version: 1\nupstreams:\n"
            f"  {REGISTRY}: {{url: '{registry.origin}', kind: registry, allow_private: true}}\n"
            f"  {CHARTS}: {{url: '{repo.url}', kind: helm, allow_private: true}}\n"
        )
        yield repo


@contextmanager
def locked(catalog: Path) -> Iterator[None]:
    """Another process writes, for as long as the block runs."""
    connection = sqlite3.connect(catalog, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def pull(server: Server, name: str, tag: str = "1.0.0") -> str:
    """Pull a manifest and all that it names; return the manifest's X-Cache."""
    manifest = get(server, f"/v2/{name}/manifests/{tag}")
    get(server, f"/v2/{name}/manifests/{manifest.headers['docker-content-digest']}")
    for part in (json.loads(manifest.content)["config"], *json.loads(manifest.content)["layers"]):
        blob = get(server, f"/v2/{name}/blobs/{part['digest']}")
        assert str(Digest.of(blob.content)) == part["digest"]
    return manifest.headers["x-cache"]


def get(server: Server, path: str) -> httpx.Response:
    """Ask again, as clients do, where one worker does not know yet what another one pulled."""
    for _ in range(50):
        response = server.get(path)
        if response.status_code != 503 or len(server.worker_pids()) == 1:
            break
        assert response.headers["retry-after"]
    assert response.status_code == 200, response.text
    return response


def troubles(server: Server) -> set[str]:
    return set(server.get("/readyz").json()["storage"])


@pytest.mark.parametrize("workers", [1, 2])
def test_what_somebody_else_locks_costs_no_answer_and_no_row(
    site: Site, repo: HelmRepo, workers: int
) -> None:
    with site.serve(workers=workers) as server:
        pull(server, f"{CHARTS}/{WARM}")
        with locked(site.data_dir / "catalog.sqlite3"):
            assert pull(server, f"{CHARTS}/{WARM}") == "hit"
            for name in NAMES[1:]:
                pull(server, f"{CHARTS}/{name}")
                pull(server, f"{CHARTS}/{name}")
            pull(server, f"{REGISTRY}/team/app", "1")
            assert server.get(f"/v2/{CHARTS}/{WARM}/tags/list").status_code == 200
            eventually(lambda: "catalog_unwritable" in troubles(server), 10)
        eventually(lambda: len(server.events("trouble")) == len(server.events("trouble_over")), 10)
        assert not troubles(server)
        assert not server.events("request_failed")
        assert "Traceback" not in server.log
    with site.serve("--offline") as server:
        for name in NAMES:
            assert pull(server, f"{CHARTS}/{name}") == "hit"
        pull(server, f"{REGISTRY}/team/app", "1")


def test_a_gateway_ends_in_time_where_rows_that_wait_cannot_be_written(site: Site, repo: HelmRepo) -> None:
    with site.serve() as server:
        pull(server, f"{CHARTS}/{WARM}")
        with locked(site.data_dir / "catalog.sqlite3"):
            pull(server, f"{CHARTS}/{NAMES[1]}")
            assert server.stop() == 0
        assert server.events("rows_lost")
        assert "Traceback" not in server.log


def test_rows_that_wait_are_written_when_the_gateway_ends(site: Site, repo: HelmRepo) -> None:
    with site.serve() as server:
        pull(server, f"{CHARTS}/{WARM}")
        with locked(site.data_dir / "catalog.sqlite3"):
            pull(server, f"{CHARTS}/{NAMES[1]}")
        assert server.stop() == 0
    with site.serve("--offline") as server:
        assert pull(server, f"{CHARTS}/{NAMES[1]}") == "hit"
