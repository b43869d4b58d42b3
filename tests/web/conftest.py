"""One live gateway for all tests of the front, with a chart in it, in front of a fake repository."""

from collections.abc import Iterator

import pytest
import structlog

from tests.composed import upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.web.live import Live, live
from tests.web.names import REDIS

ARCHIVES = (make_chart("redis", "1.2.3"), make_chart("redis", "1.0.0+build.5"))


@pytest.fixture(scope="session")
def repo() -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(*ARCHIVES), prefix="stable") as running:
        yield running


@pytest.fixture(scope="session")
def gateway(repo: HelmRepo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Warm: redis 1.2.3 was pulled. Its log goes nowhere: lines come after the answers they are about."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    rules = "upstreams:\n" + upstream(repo.url, "charts.example.test")
    with live(tmp_path_factory.mktemp("live"), rules) as running:
        assert running.get(f"/v2/{REDIS}/manifests/1.2.3").status == 200
        yield running
