"""Counters outlive workers and restarts: a worker that is killed loses its last seconds, and nothing more."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.gateway_process import PATIENCE_SECONDS, Server, Site, eventually
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

HOST = "charts.example.test"
PULL = f"/v2/{HOST}/demo/manifests/1.0.0"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with HelmRepo(repository_of(make_chart("demo", "1.0.0"))) as repo:
        site = Site(tmp_path)
        site.point_at({HOST: repo})
        yield site


def rows(site: Site, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(site.data_dir / "catalog.sqlite3")) as connection:
        return connection.execute(query).fetchall()


def requests(site: Site) -> int:
    found = rows(site, "SELECT coalesce(sum(requests), 0) FROM activity WHERE step_seconds = 0")
    return int(str(found[0][0]))


def pull(server: Server, times: int) -> None:
    for _ in range(times):
        assert server.get(PULL).status_code == 200


def test_an_orderly_end_loses_nothing_and_a_new_start_goes_on_counting(site: Site) -> None:
    for so_far in (7, 14):
        with site.serve(workers=2) as server:
            pull(server, 7)
            assert server.stop() == 0
        assert requests(site) == so_far
    assert rows(site, "SELECT name, reference, target, pulls FROM recent_pulls") == [
        (f"{HOST}/demo", "1.0.0", f"{HOST}/demo", 14)
    ]


def test_a_killed_worker_loses_what_it_had_not_written_and_its_death_is_an_event(site: Site) -> None:
    with site.serve() as server:
        pull(server, 5)
        assert eventually(lambda: requests(site) == 5, PATIENCE_SECONDS) <= 10
        (worker,) = server.workers()
        pull(server, 1)
        worker.kill()
        eventually(lambda: server.worker_pids() not in ({worker.pid}, set()), PATIENCE_SECONDS)
        pull(server, 2)
        assert server.stop() == 0
    assert 7 <= requests(site) <= 8
    (death,) = rows(site, "SELECT subject, detail, times FROM events WHERE kind = 'worker_died'")
    assert death == ("a worker", "it ended with status -9, and was replaced", 1)
