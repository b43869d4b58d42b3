"""Two gateways restarted in turn under load: who asks either of them notices nothing."""

import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from gateway.oci.digest import Digest
from tests.e2e.gateway_process import PATIENCE_SECONDS, Server, Site
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.web.live import parse_reply, request_bytes

pytestmark = pytest.mark.e2e

UPSTREAM = "charts.example.test"
MANIFEST = f"/v2/{UPSTREAM}/large/manifests/1.0.0"
LARGE = make_chart("large", "1.0.0", {f"{n}.bin": Random(n).randbytes(2 << 20) for n in range(2)})
BLOB = f"/v2/{UPSTREAM}/large/blobs/{Digest.of(LARGE)}"
RESTARTS = 3
CLIENTS = 6


@dataclass(slots=True)
class Balancer:
    """Asks those that are ready, as a proxy does: one that takes no connection is passed over."""

    ports: Sequence[int]
    seen: Counter[str] = field(default_factory=Counter)
    is_over: threading.Event = field(default_factory=threading.Event)

    def ask_on(self) -> None:
        while not self.is_over.is_set():
            self.seen[self._ask()] += 1

    def _ask(self) -> str:
        for _ in range(2):  # who was told of both before the first was restarted asks again
            for port in self.ports:
                received = _received(port)
                if received:  # else refused, or closed before a byte of an answer: it is on its way out
                    reply = parse_reply(received)
                    return (
                        "whole"
                        if (reply.status, reply.body) == (200, LARGE)
                        else f"{reply.status}, {len(reply.body)} bytes of {len(LARGE)}"
                    )
        return "nobody there"


def _received(port: int) -> bytes:
    """What comes back, taken in pieces over a tenth of a second or so."""
    received, pause = bytearray(), threading.Event()
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as connection:
            connection.sendall(request_bytes("GET", BLOB.encode()))
            while piece := connection.recv(256 << 10):
                received += piece
                pause.wait(0.005)
    except ConnectionError:
        pass
    return bytes(received)


@contextmanager
def under_load(balancer: Balancer) -> Iterator[None]:
    threads = [threading.Thread(target=balancer.ask_on) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        balancer.is_over.set()
        for thread in threads:
            thread.join()


def test_two_restarted_in_turn_cut_nothing_short_and_are_there_all_the_time(tmp_path: Path) -> None:
    """R8."""
    with HelmRepo(repository_of(LARGE)) as repo, ExitStack() as stack:
        sites = [Site(tmp_path / name) for name in ("first", "second")]
        for site in sites:
            site.folder.mkdir()
            site.point_at({UPSTREAM: repo})
        servers = [_started(stack, site) for site in sites]
        balancer = Balancer([server.port for server in servers])
        with under_load(balancer):
            for turn in range(RESTARTS):
                leaving = turn % 2
                _stop(servers[leaving])
                servers[leaving] = _started(stack, sites[leaving])
                balancer.ports = [server.port for server in reversed(servers)]
    assert set(balancer.seen) == {"whole"}, balancer.seen
    assert balancer.seen["whole"] >= CLIENTS * RESTARTS


def _started(stack: ExitStack, site: Site) -> Server:
    server = stack.enter_context(site.serve())
    assert server.get(MANIFEST).status_code == 200
    return server


def _stop(server: Server) -> None:
    """Told to end, it is refused from then on, and ends when its last answer is out."""
    server.process.send_signal(signal.SIGTERM)
    server.wait_for("stopping")
    assert not _is_ready(server)
    assert server.process.wait(PATIENCE_SECONDS) == 0
    assert not server.events("connections_cut")
    assert "Traceback" not in server.log


def _is_ready(server: Server) -> bool:
    """Whether it still says that it is ready."""
    try:
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS) as connection:
            connection.sendall(request_bytes("GET", b"/readyz"))
            return connection.recv(12) == b"HTTP/1.1 200"
    except ConnectionError:
        return False
