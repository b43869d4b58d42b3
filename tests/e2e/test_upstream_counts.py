"""However many clients come at once, an upstream is asked once for each thing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.gateway_process import PATIENCE_SECONDS, Server, Site, eventually
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

pytestmark = pytest.mark.e2e

UPSTREAM = "charts.example.test/stable"
ARCHIVE = "chart-00-1.0.0.tgz"
CHARTS = [make_chart(f"chart-{number:02d}", "1.0.0") for number in range(50)]


@pytest.fixture
def repo(site: Site) -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(*CHARTS)) as repo:
        site.point_at({UPSTREAM: repo})
        yield repo


def test_a_hundred_cold_pulls_of_one_chart_are_one_fetch(site: Site, repo: HelmRepo) -> None:
    with site.serve() as server:
        answers = _ask_together(server, repo, ARCHIVE, ["chart-00"] * 100)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    outcomes = Counter(answer.headers["x-cache"] for answer in answers)
    assert outcomes["miss"] == 1
    assert outcomes["joined"] > 50
    assert [request.path for request in repo.requests] == ["/index.yaml", f"/{ARCHIVE}"]


def test_fifty_charts_at_once_fetch_their_index_once(site: Site, repo: HelmRepo) -> None:
    names = [f"chart-{number:02d}" for number in range(50)]
    with site.serve() as server:
        answers = _ask_together(server, repo, "index.yaml", names)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 50
    assert Counter(request.path for request in repo.requests) == {
        "/index.yaml": 1,
        **{f"/{name}-1.0.0.tgz": 1 for name in names},
    }


def test_a_failure_reaches_all_who_waited_and_is_tried_anew(site: Site, repo: HelmRepo) -> None:
    with site.serve() as server:
        repo.faults_of(ARCHIVE).status = 500
        answers = _ask_together(server, repo, ARCHIVE, ["chart-00"] * 20)
        assert {answer.status_code for answer in answers} == {503}
        repo.faults_of(ARCHIVE).status = None
        assert server.get(_manifest("chart-00")).status_code == 200


def _ask_together(server: Server, repo: HelmRepo, held: str, charts: Sequence[str]) -> list[httpx.Response]:
    """Ask for all of them; the upstream holds a file back until every client is connected to the gateway."""
    repo.faults_of(held).silent = True
    with ThreadPoolExecutor(len(charts)) as threads:
        asked = [threads.submit(server.get, _manifest(chart)) for chart in charts]
        eventually(
            lambda: any(one.done() for one in asked) or _client_count(server) >= len(charts), PATIENCE_SECONDS
        )
        repo.faults_of(held).silent = False
        repo.release()
        return [answer.result() for answer in asked]


def _client_count(server: Server) -> int:
    connections = [one for worker in server.workers() for one in worker.net_connections("tcp4")]
    return sum(one.status == "ESTABLISHED" and one.laddr.port == server.port for one in connections)


def _manifest(chart: str) -> str:
    return f"/v2/{UPSTREAM}/{chart}/manifests/1.0.0"
