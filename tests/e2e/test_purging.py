"""``gateway purge`` and ``refresh`` beside a running server: all its workers forget, and see what is new."""

import threading
from collections.abc import Iterator

import pytest

from gateway.oci.digest import Digest
from tests.e2e.gateway_process import PATIENCE_SECONDS, Server, Site, eventually
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

pytestmark = pytest.mark.e2e

HOST = "charts.example.test"
NAME = f"{HOST}/demo"
MANIFEST = f"/v2/{NAME}/manifests"
OLD, NEW = (make_chart("demo", "1.0.0", {"values.yaml": text}) for text in (b"a: 1\n", b"a: 2\n"))
LATE = make_chart("demo", "2.0.0", {"values.yaml": b"a: 3\n"})
ROUNDS = 20  # of two workers each has answered some


@pytest.fixture
def upstream(site: Site) -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(OLD)) as repository:
        site.point_at({HOST: repository}, "{missing_for: 1h, fresh_for: 1h}")
        yield repository


def statuses(server: Server, tag: str) -> set[int]:
    return {server.get(f"{MANIFEST}/{tag}").status_code for _ in range(ROUNDS)}


def blob_statuses(server: Server, content: bytes) -> set[int]:
    return {server.get(f"/v2/{NAME}/blobs/{Digest.of(content)}").status_code for _ in range(ROUNDS)}


def test_every_worker_forgets_at_once(site: Site, upstream: HelmRepo) -> None:
    with site.serve(workers=2) as server:
        assert (statuses(server, "1.0.0"), blob_statuses(server, OLD)) == ({200}, {200})
        assert statuses(server, "2.0.0") == {404}
        for path, content in repository_of(NEW, LATE).items():
            upstream.put(path, content)
        assert statuses(server, "2.0.0") == {404}  # remembered for an hour, by each worker
        assert NAME in site.run("purge", f"{NAME}:1.0.0", "--yes").require_ok()
        assert blob_statuses(server, OLD) == {404}
        assert server.get(f"{MANIFEST}/1.0.0").headers["x-cache"] == "miss"
        assert f"{NAME}: listed" in site.run("refresh", NAME).require_ok()
        site.run("purge", f"{NAME}:2.0.0", "--yes").require_ok()
        assert statuses(server, "2.0.0") == {200}


def test_clients_have_whole_answers_while_it_is_purged_again_and_again(
    site: Site, upstream: HelmRepo
) -> None:
    with site.serve(workers=2) as server:
        stop, wrong = threading.Event(), list[str]()

        def pull_on() -> None:
            while not stop.is_set():
                manifest = server.get(f"{MANIFEST}/1.0.0")
                blob = server.get(f"/v2/{NAME}/blobs/{Digest.of(OLD)}")
                if manifest.status_code not in (200, 503) or blob.status_code not in (200, 404, 503):
                    wrong.append(f"{manifest.status_code} {blob.status_code}")
                elif blob.status_code == 200 and blob.content != OLD:
                    wrong.append("other bytes")

        clients = [threading.Thread(target=pull_on) for _ in range(3)]
        for client in clients:
            client.start()
        for _ in range(4):
            site.run("purge", NAME, "--all-tags", "--yes").require_ok()
        stop.set()
        for client in clients:
            client.join(PATIENCE_SECONDS)
        assert wrong == []
        eventually(lambda: blob_after_pull(server) == OLD, PATIENCE_SECONDS)


def blob_after_pull(server: Server) -> bytes:
    server.get(f"{MANIFEST}/1.0.0")
    return server.get(f"/v2/{NAME}/blobs/{Digest.of(OLD)}").content
