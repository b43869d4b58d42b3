"""Five hundred clients that read nothing, and then leave: what that costs a real gateway, and the others."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random

import psutil
import pytest

from gateway.oci.digest import Digest
from tests.e2e.gateway_process import PATIENCE_SECONDS, Server, Site, eventually
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

pytestmark = pytest.mark.e2e

UPSTREAM = "charts.example.test"
MANIFEST = f"/v2/{UPSTREAM}/large/manifests/1.0.0"
LARGE = make_chart("large", "1.0.0", {f"{n}.bin": Random(n).randbytes(4 << 20) for n in range(3)})
BLOB = f"/v2/{UPSTREAM}/large/blobs/{Digest.of(LARGE)}"
COUNT = 500
BYTES_EACH = 300_000


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    with HelmRepo(repository_of(LARGE)) as repo:
        site.point_at({UPSTREAM: repo})
        with site.serve() as server:
            assert server.get(MANIFEST).status_code == 200
            yield server


@contextmanager
def stalling(server: Server) -> Iterator[None]:
    """Clients with next to no buffer of their own, each of whose answers has begun."""
    with ExitStack() as stack:
        for _ in range(COUNT):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(PATIENCE_SECONDS)
            client.connect(("127.0.0.1", server.port))
            client.sendall(f"GET {BLOB} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert client.recv(12) == b"HTTP/1.1 200"
        yield


def test_five_hundred_that_read_nothing_cost_little_and_hold_nobody_up(server: Server) -> None:
    """H8."""
    (worker,) = server.workers()
    before_bytes = worker.memory_info().rss
    with stalling(server):
        for _ in range(20):
            assert server.get(MANIFEST).status_code == 200
        assert server.get(BLOB).content == LARGE
        assert worker.memory_info().rss - before_bytes < COUNT * BYTES_EACH


def test_five_hundred_that_leave_leave_no_file_open(server: Server) -> None:
    """H9."""
    (worker,) = server.workers()
    before = _open_files(worker)
    with stalling(server):
        assert _open_files(worker) >= before + COUNT
    eventually(lambda: _open_files(worker) <= before + 5, PATIENCE_SECONDS)
    assert "Traceback" not in server.log


def _open_files(process: psutil.Process) -> int:
    count: int = process.num_fds()
    return count
