"""Four worker processes are one gateway: an upstream is asked once for each thing, whoever is asked."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import psutil
import pytest

from gateway.oci.digest import Digest
from gateway.store.blobs import WITHHELD_BYTES
from tests.e2e.gateway_process import PATIENCE_SECONDS, Server, Site, eventually
from tests.e2e.streams import Stream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.gated_registry import GatedRegistry
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI

pytestmark = pytest.mark.e2e

CHARTS_HOST = "charts.example.test/stable"
HOST = "registry.example.test"
NAME = "team/app"
ARCHIVE = "chart-00-1.0.0.tgz"
CHARTS = [make_chart(f"chart-{number:02d}", "1.0.0") for number in range(50)]
CLIENTS = 200
SIZE = 8 << 20
PAUSE = 4 << 20
_LATE_SECONDS = 1.0  # a failure comes when all who are connected have been heard
IMAGE = OCI.image(SIZE)
SMALL = OCI.image(1 << 20, seed="small")
LAYER = IMAGE.blobs[1]
DIGEST = Digest.of(LAYER)
MANIFEST = f"/v2/{HOST}/{NAME}/manifests/1"
BLOB = f"/v2/{HOST}/{NAME}/blobs/{DIGEST}"


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(*CHARTS)) as repo:
        yield repo


@pytest.fixture
def registry() -> Iterator[GatedRegistry]:
    with GatedRegistry() as registry:
        IMAGE.push_to(registry, NAME, "1")
        yield registry
        registry.pauses_at = None


@pytest.fixture
def server(site: Site, repo: HelmRepo, registry: GatedRegistry) -> Iterator[Server]:
    site.write_rules(
        "version: 1\nupstreams:\n"
        f"  {CHARTS_HOST}: {{url: '{repo.url}', kind: helm, allow_private: true}}\n"
        f"  {HOST}: {{url: '{registry.origin}', kind: registry, allow_private: true}}\n"
    )
    with site.serve(workers=4) as server:
        yield server


def ask_together(server: Server, paths: Sequence[str], let_go: Callable[[], None]) -> list[httpx.Response]:
    """Ask for all of them at once; ``let_go`` is called when every client is connected."""
    with ThreadPoolExecutor(len(paths)) as threads:
        asked = [threads.submit(server.get, path) for path in paths]
        eventually(
            lambda: any(one.done() for one in asked) or connected_count(server) >= len(paths),
            PATIENCE_SECONDS,
        )
        let_go()
        return [one.result() for one in asked]


def connected_count(server: Server) -> int:
    return sum(connections_of(server, worker) for worker in server.workers())


def connections_of(server: Server, worker: psutil.Process) -> int:
    """How many clients a worker has."""
    return sum(
        one.status == "ESTABLISHED" and one.laddr.port == server.port
        for one in worker.net_connections("tcp4")
    )


def busy_workers(server: Server) -> list[psutil.Process]:
    return [worker for worker in server.workers() if connections_of(server, worker)]


def test_two_hundred_cold_pulls_of_a_chart_are_one_index_and_one_archive(
    server: Server, repo: HelmRepo
) -> None:
    repo.faults_of(ARCHIVE).silent = True

    def let_go() -> None:
        repo.faults_of(ARCHIVE).silent = False
        repo.release()

    answers = ask_together(server, [f"/v2/{CHARTS_HOST}/chart-00/manifests/1.0.0"] * CLIENTS, let_go)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert [request.path for request in repo.requests] == ["/index.yaml", f"/{ARCHIVE}"]


def test_two_hundred_cold_pulls_of_an_image_are_one_get_for_each_object(
    server: Server, registry: GatedRegistry
) -> None:
    SMALL.push_to(registry, "team/small", "1")
    digest = Digest.of(SMALL.blobs[1])
    manifest, blob = f"/v2/{HOST}/team/small/manifests/1", f"/v2/{HOST}/team/small/blobs/{digest}"
    faults = registry.faults_of_manifest("team/small", "1")
    faults.silent = True

    def let_go() -> None:
        faults.silent = False
        registry.release()

    answers = ask_together(server, [manifest] * CLIENTS, let_go)
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, SMALL.manifest)}
    registry.pauses_at = 1 << 19
    answers = ask_together(server, [blob] * CLIENTS, lambda: setattr(registry, "pauses_at", None))
    assert {(answer.status_code, Digest.of(answer.content)) for answer in answers} == {(200, digest)}
    gets = Counter(request.path.split("/")[-2] for request in registry.requests if request.method == "GET")
    assert (gets["manifests"], gets["blobs"]) == (1, 1)
    assert server.get(blob).headers["x-cache"] == "hit"


def test_two_hundred_who_fail_together_are_one_try_and_the_next_one_tries_again(
    server: Server, registry: GatedRegistry
) -> None:
    faults = registry.faults_of_manifest(NAME, "1")
    faults.silent, faults.slow_seconds, faults.status = True, _LATE_SECONDS, 500

    def let_go() -> None:
        faults.silent = False
        registry.release()

    before = registry.count_of_manifest(NAME, "1", None)
    answers = ask_together(server, [MANIFEST] * CLIENTS, let_go)
    tries = registry.count_of_manifest(NAME, "1", None) - before
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.json()["errors"][0]["code"] for answer in answers} == {"UNAVAILABLE"}
    assert tries == 1
    faults.slow_seconds, faults.status = 0.0, None
    assert server.get(MANIFEST).content == IMAGE.manifest


def test_two_hundred_who_want_a_blob_that_fails_are_one_try(server: Server, registry: GatedRegistry) -> None:
    assert server.get(MANIFEST).status_code == 200
    faults = registry.faults_of_blob(NAME, DIGEST)
    faults.silent, faults.slow_seconds, faults.status = True, _LATE_SECONDS, 500

    def let_go() -> None:
        faults.silent = False
        registry.release()

    answers = ask_together(server, [BLOB] * CLIENTS, let_go)
    assert {answer.status_code for answer in answers} == {503}
    assert registry.count_of_blob(NAME, DIGEST, None) == 1
    faults.slow_seconds, faults.status = 0.0, None
    assert server.get(BLOB).content == LAYER


def test_fifty_charts_of_a_repository_fetch_its_index_once(server: Server, repo: HelmRepo) -> None:
    repo.faults_of("index.yaml").silent = True

    def let_go() -> None:
        repo.faults_of("index.yaml").silent = False
        repo.release()

    names = [f"chart-{number:02d}" for number in range(50)]
    answers = ask_together(server, [f"/v2/{CHARTS_HOST}/{name}/manifests/1.0.0" for name in names], let_go)
    assert {answer.status_code for answer in answers} == {200}
    assert Counter(request.path for request in repo.requests) == {
        "/index.yaml": 1,
        **{f"/{name}-1.0.0.tgz": 1 for name in names},
    }


def test_clients_of_every_process_get_first_bytes_while_upstream_still_sends(
    server: Server, registry: GatedRegistry
) -> None:
    assert server.get(MANIFEST).status_code == 200
    registry.pauses_at = PAUSE
    safe = PAUSE - (1 << 20) - WITHHELD_BYTES  # what other processes see, a MiB at a time
    with ExitStack() as stack:
        streams: list[Stream] = []
        while len(streams) < 40 or len(busy_workers(server)) == 1:  # the system chooses who gets a client
            streams.append(stack.enter_context(Stream(server, BLOB)))
            assert streams[-1].read_up_to(safe)[:safe] == LAYER[:safe]
            assert len(streams) < CLIENTS
        assert registry.paused_count == 1
        registry.pauses_at = None
        bodies = [stream.finish() for stream in streams]
    assert {Digest.of(body) for body in bodies} == {DIGEST}
    assert registry.gets_of_blob(NAME, DIGEST) == [None]


def test_those_who_follow_ask_upstream_once_for_each_process(server: Server, registry: GatedRegistry) -> None:
    assert server.get(MANIFEST).status_code == 200
    registry.pauses_at = PAUSE
    with ExitStack() as stack:
        streams = [stack.enter_context(Stream(server, BLOB)) for _ in range(40)]
        for stream in streams:
            stream.read_up_to(1)
        registry.pauses_at = None
        assert {Digest.of(stream.finish()) for stream in streams} == {DIGEST}
    assert registry.count_of_blob(NAME, DIGEST, "HEAD") <= 3


def test_wrong_bytes_are_completed_in_no_process(server: Server, registry: GatedRegistry) -> None:
    assert server.get(MANIFEST).status_code == 200
    registry.pauses_at = PAUSE
    faults = registry.faults_of_blob(NAME, DIGEST)
    faults.wrong_bytes = True
    with ExitStack() as stack:
        streams = [stack.enter_context(Stream(server, BLOB)) for _ in range(40)]
        for stream in streams:
            stream.read_up_to(1)
        registry.pauses_at = None
        bodies = [stream.finish() for stream in streams]
    assert max(map(len, bodies)) <= SIZE - WITHHELD_BYTES
    faults.wrong_bytes = False
    eventually(lambda: _is_right(server), PATIENCE_SECONDS)


def test_when_the_worker_that_fetches_is_killed_nothing_wrong_is_served(
    server: Server, registry: GatedRegistry
) -> None:
    assert server.get(MANIFEST).status_code == 200
    registry.pauses_at = PAUSE
    with ExitStack() as stack:
        leader = stack.enter_context(Stream(server, BLOB))
        leader.read_up_to(1)
        fetching = _writer(server)
        streams = [stack.enter_context(Stream(server, BLOB)) for _ in range(20)]
        for stream in streams:
            stream.read_up_to(1)
        fetching.kill()
        fetching.wait(PATIENCE_SECONDS)
        registry.pauses_at = None
        bodies = [stream.finish() for stream in streams]
    for body in bodies:
        assert LAYER.startswith(body)
        assert len(body) == SIZE or len(body) <= SIZE - WITHHELD_BYTES
    eventually(lambda: _is_right(server), PATIENCE_SECONDS)
    assert server.get(BLOB).headers["x-cache"] == "hit"
    assert len(registry.gets_of_blob(NAME, DIGEST)) == 2


def test_when_the_worker_that_fetches_a_manifest_is_killed_the_others_take_over(
    server: Server, registry: GatedRegistry
) -> None:
    faults = registry.faults_of_manifest(NAME, "1")
    faults.silent = True
    answered: list[bytes | None] = []

    def ask() -> None:
        try:
            answered.append(server.get(MANIFEST).content)
        except httpx.HTTPError:  # it was a client of the worker that was killed
            answered.append(None)

    threads: list[threading.Thread] = []
    while len(threads) < 40 or len(busy_workers(server)) == 1:  # the system chooses who gets a client
        threads.append(threading.Thread(target=ask))
        threads[-1].start()
        eventually(lambda: connected_count(server) == len(threads), PATIENCE_SECONDS)
        assert len(threads) < CLIENTS
    eventually(lambda: registry.count_of_manifest(NAME, "1", None) == 1, PATIENCE_SECONDS)
    fetching = _asker(server, registry)
    victims = connections_of(server, fetching)
    fetching.kill()
    eventually(lambda: registry.count_of_manifest(NAME, "1", None) == 2, PATIENCE_SECONDS)
    faults.silent = False
    registry.release()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert answered.count(IMAGE.manifest) >= len(threads) - victims > 0
    assert set(answered) <= {IMAGE.manifest, None}
    assert server.get(MANIFEST).content == IMAGE.manifest


def _asker(server: Server, registry: GatedRegistry) -> psutil.Process:
    """The only worker that has asked the registry so far."""
    asking = {
        worker
        for worker in server.workers()
        for one in worker.net_connections("tcp4")
        if one.raddr and one.raddr.port == registry.port
    }
    assert len(asking) == 1
    return asking.pop()


def _writer(server: Server) -> psutil.Process:
    """The worker that receives the blob: it alone may write what others only read."""
    writing = [
        worker
        for worker in server.workers()
        for file in worker.open_files()
        if DIGEST.hex in file.path and file.mode == "r+"
    ]
    assert len(writing) == 1
    return writing[0]


def _is_right(server: Server) -> bool:
    """Whether a pull is whole by now, which one that is cut short is not."""
    with Stream(server, BLOB) as stream:
        return stream.finish() == LAYER
