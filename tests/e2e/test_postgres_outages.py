"""The database's server may crash, be away or fall silent: what is hot is served, the rest comes again."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

import httpx
import pytest

from gateway.oci.digest import Digest
from gateway.oci.postgres_url import PostgresUrl
from tests.e2e.gateway_process import PATIENCE_SECONDS, Server, eventually
from tests.e2e.postgres_site import PostgresSite
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.postgres import Cluster

pytestmark = pytest.mark.e2e

UPSTREAM = "charts.example.test/stable"
HOT = make_chart("hot", "1.0.0", {"values.yaml": b"a: 1\n"})
COLD = [make_chart(f"cold-{number:03d}", "1.0.0") for number in range(200)]
MANIFEST = f"/v2/{UPSTREAM}/hot/manifests/1.0.0"
BLOB = f"/v2/{UPSTREAM}/hot/blobs/{Digest.of(HOT)}"
TAGS = f"/v2/{UPSTREAM}/hot/tags/list"
WELL_AGAIN_SECONDS = 5.0
SILENCE_SECONDS = 15.0


@pytest.fixture
def site(tmp_path: Path, postgres_url: PostgresUrl) -> Iterator[PostgresSite]:
    (tmp_path / "site").mkdir()
    with HelmRepo(repository_of(HOT, *COLD)) as repo:
        site = PostgresSite(tmp_path / "site", postgres_url)
        site.point_at({UPSTREAM: repo})
        yield site


def cold(number: int) -> str:
    return f"/v2/{UPSTREAM}/cold-{number:03d}/manifests/1.0.0"


@dataclass(frozen=True, slots=True)
class Hot:
    """What a server has in memory, and where."""

    contents: dict[str, bytes]

    def is_served(self, server: Server) -> bool:
        """By tag, by digest, and the chart itself."""
        return all(self.is_right(path, server.get(path)) for path in self.contents)

    def is_right(self, path: str, answer: httpx.Response) -> bool:
        return answer.status_code == 200 and self.contents.get(path, answer.content) == answer.content


def warmed(server: Server) -> Hot:
    manifest = server.get(MANIFEST).content
    by_digest = MANIFEST.replace("1.0.0", str(Digest.of(manifest)))
    hot = Hot({MANIFEST: manifest, by_digest: manifest, BLOB: HOT})
    assert hot.is_served(server)
    return hot


def says_come_again(answer: httpx.Response) -> bool:
    return answer.status_code == 503 and int(answer.headers["retry-after"]) > 0


def test_crashes_under_load_cost_no_process_and_no_wrong_answer(
    site: PostgresSite, restarting: Cluster
) -> None:
    with site.serve(workers=2) as server:
        hot, processes = warmed(server), server.worker_pids()
        asked = [cycle([path]) for path in (*hot.contents, TAGS)]
        with load(server, [*asked, cycle(map(cold, range(len(COLD))))]) as answers:
            for how in (signal.SIGQUIT, signal.SIGKILL, signal.SIGINT, signal.SIGQUIT):
                restarting.stop(how)
                enough = len(answers) + 50
                eventually(partial(has_grown, answers, enough), PATIENCE_SECONDS)
                restarting.start()
                eventually(partial(is_well, server, hot), WELL_AGAIN_SECONDS)
        wrong = [one for one in answers if not hot.is_right(*one) and not says_come_again(one[1])]
        assert wrong == []
        assert any(says_come_again(answer) for _, answer in answers)
        assert is_well(server, hot)
        assert server.worker_pids() == processes
        assert "@ss" not in server.log


def is_well(server: Server, hot: Hot) -> bool:
    """Reads and writes: the tags go through the catalog, and something cold is kept."""
    return hot.is_served(server) and {server.get(path).status_code for path in (TAGS, cold(0))} == {200}


def has_grown(answers: Sequence[object], enough: int) -> bool:
    return len(answers) >= enough


@contextmanager
def load(server: Server, asked: Sequence[Iterator[str]]) -> Iterator[list[tuple[str, httpx.Response]]]:
    """Clients that ask again and again, one for each list of paths; all their answers."""
    answers: list[tuple[str, httpx.Response]] = []
    is_over = threading.Event()

    def ask(paths: Iterator[str]) -> None:
        while not is_over.wait(0.01):
            path = next(paths)
            answers.append((path, server.get(path)))

    with ThreadPoolExecutor(len(asked)) as threads:
        clients = [threads.submit(ask, paths) for paths in asked]
        try:
            yield answers
        finally:
            is_over.set()
    for client in clients:
        client.result()


def test_what_is_hot_is_served_while_the_server_is_away(site: PostgresSite, restarting: Cluster) -> None:
    with site.serve() as server:
        hot = warmed(server)
        restarting.stop(signal.SIGQUIT)
        server.wait_for("notifications_lost")
        assert hot.is_served(server)
        assert says_come_again(server.get(TAGS))
        assert says_come_again(server.get(cold(1)))
        assert server.get("/readyz").status_code == 200
        told = site.run("list")
        assert (told.code, told.errors.count("\n")) == (1, 1)
        assert str(site.url) in told.errors
        restarting.start()
        eventually(lambda: is_well(server, hot), WELL_AGAIN_SECONDS)


def test_a_worker_that_starts_while_the_server_is_away_is_well_once_it_is_back(
    site: PostgresSite, restarting: Cluster
) -> None:
    with site.serve() as server:
        hot, (worker,) = warmed(server), server.workers()
        restarting.stop(signal.SIGQUIT)
        worker.kill()
        worker.wait(PATIENCE_SECONDS)
        assert says_come_again(server.get(MANIFEST))
        restarting.start()
        eventually(lambda: is_well(server, hot), WELL_AGAIN_SECONDS)
        assert len(server.events("worker_died")) == 1


def test_a_server_that_falls_silent_holds_up_only_those_who_need_it_and_not_for_long(
    site: PostgresSite, restarting: Cluster
) -> None:
    with site.serve() as server, ThreadPoolExecutor(60) as threads:
        hot = warmed(server)
        restarting.hold()
        started = time.monotonic()
        waiting = [threads.submit(server.get, cold(number)) for number in range(60)]
        while time.monotonic() - started < 3.0:
            asked_at = time.monotonic()
            assert hot.is_served(server)
            assert time.monotonic() - asked_at < 1.0
        assert not any(one.done() for one in waiting)
        assert all(says_come_again(one.result()) for one in waiting)
        assert time.monotonic() - started < SILENCE_SECONDS
        assert hot.is_served(server)
        restarting.resume()
        eventually(lambda: is_well(server, hot), WELL_AGAIN_SECONDS)
