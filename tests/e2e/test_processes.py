"""Workers may die, and the service goes on; it ends when told to, and not before its answers are out."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random

import httpx
import psutil
import pytest

from gateway.oci.digest import Digest
from tests.e2e.gateway_process import PATIENCE_SECONDS, Server, Site, eventually
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

pytestmark = pytest.mark.e2e

UPSTREAM = "charts.example.test/stable"
MANIFEST = f"/v2/{UPSTREAM}/large/manifests/1.0.0"
LARGE = make_chart("large", "1.0.0", {f"{n}.bin": Random(n).randbytes(4 << 20) for n in range(3)})
LARGE_BLOB = f"/v2/{UPSTREAM}/large/blobs/{Digest.of(LARGE)}"


@pytest.fixture
def repo(site: Site) -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(LARGE)) as repo:
        site.point_at({UPSTREAM: repo})
        yield repo


def test_a_killed_worker_is_replaced_within_a_second_and_the_service_goes_on(
    site: Site, repo: HelmRepo
) -> None:
    with site.serve(workers=2) as server:
        assert server.get(MANIFEST).status_code == 200
        before = server.worker_pids()
        with _asking(server) as answered:
            victim = min(before)
            psutil.Process(victim).kill()
            eventually(lambda: len(server.worker_pids() - {victim}) == 2, within_seconds=1.0)
            so_far = len(answered)
            eventually(lambda: len(answered) >= so_far + 20, within_seconds=10.0)
        assert set(answered) == {200}
        assert min(before) not in server.worker_pids()
        assert max(before) in server.worker_pids()
        assert server.wait_for("worker_died")["pid"] == victim


def test_the_only_worker_is_replaced_too_and_clients_wait_for_it(site: Site, repo: HelmRepo) -> None:
    with site.serve() as server:
        assert server.get(MANIFEST).status_code == 200
        (worker,) = server.workers()
        worker.kill()
        worker.wait(PATIENCE_SECONDS)
        assert server.get(MANIFEST).headers["x-cache"] == "hit"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_lets_a_running_transfer_finish(
    site: Site, repo: HelmRepo, number: signal.Signals
) -> None:
    with site.serve(workers=2) as server:
        assert server.get(MANIFEST).status_code == 200
        with _slow_reader(server, LARGE_BLOB) as reader:
            received = reader.recv(1024)
            server.process.send_signal(number)
            server.wait_for("stopping")
            eventually(lambda: _is_refused(server), PATIENCE_SECONDS)
            received += _read_slowly(reader)
        assert received.partition(b"\r\n\r\n")[2] == LARGE
        assert server.process.wait(PATIENCE_SECONDS) == 0
        assert "Traceback" not in server.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_while_idle_it_ends_at_once(site: Site, number: signal.Signals) -> None:
    with site.serve(workers=2) as server:
        workers = server.workers()
        started = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - started < 3.0
        assert not any(map(_is_alive, workers))
        assert "Traceback" not in server.log


def test_a_reader_that_stalls_holds_up_the_end_for_less_than_kubernetes_waits(
    site: Site, repo: HelmRepo
) -> None:
    with site.serve() as server:
        assert server.get(MANIFEST).status_code == 200
        with _slow_reader(server, LARGE_BLOB) as reader:
            reader.recv(1024)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(28.0) == 0
        assert server.wait_for("connections_cut")["count"] == 1
        assert server.wait_for("stopped")["code"] == 0
        assert not server.events("worker_killed")
        assert "Traceback" not in server.log


def test_a_terminal_that_interrupts_all_processes_ends_them_cleanly(site: Site) -> None:
    with site.serve(workers=2) as server:
        for process in (*server.workers(), psutil.Process(server.process.pid)):
            process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE_SECONDS) == 0
        assert "Traceback" not in server.log


def test_idle_connections_do_not_hold_up_the_end(site: Site) -> None:
    with site.serve() as server, httpx.Client(trust_env=False, base_url=server.url) as client:
        assert client.get("/v2/").status_code == 200
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 3.0


def test_workers_end_when_their_supervisor_was_killed(site: Site) -> None:
    with site.serve(workers=2) as server:
        workers = server.workers()
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        eventually(lambda: not any(map(_is_alive, workers)), within_seconds=5.0)
    with site.serve() as again:
        assert again.get("/v2/").status_code == 200


@contextmanager
def _asking(server: Server) -> Iterator[list[int]]:
    """Ask again and again meanwhile; a connection may break as its worker dies, no answer may be wrong."""
    answered: list[int] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            with suppress(httpx.ReadError, httpx.RemoteProtocolError):
                answered.append(server.get(MANIFEST).status_code)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answered
    finally:
        is_over.set()
        thread.join()


@contextmanager
def _slow_reader(server: Server, path: str) -> Iterator[socket.socket]:
    """A connection that asked for a path, with a small buffer: what is not read is not sent either."""
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        reader.settimeout(PATIENCE_SECONDS)
        reader.connect(("127.0.0.1", server.port))
        reader.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        yield reader


def _read_slowly(reader: socket.socket) -> bytes:
    """Read to the end, over about a second."""
    pause = threading.Event()
    pieces: list[bytes] = []
    while piece := reader.recv(256 << 10):
        pieces.append(piece)
        pause.wait(0.005)
    return b"".join(pieces)


def _is_alive(process: psutil.Process) -> bool:
    """A zombie is not: it waits for the system to note its end."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_refused(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port)).close()
    except ConnectionRefusedError:
        return True
    return False
