"""/metrics: what Prometheus reads, of all workers together, and for nobody who has not signed in."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router

from gateway.oci.errors import OciError, Situation
from gateway.pulled import Cache
from gateway.rules.sync_lists import SyncList
from gateway.sources.breaker import Ending
from gateway.store.sync_runs import RunState, SyncRun
from gateway.sync_desk import SeenList
from gateway.web.admin.gate import AdminGate
from gateway.web.health import RulesTold
from gateway.web.metrics import Metrics
from tests.activity_house import CLOSED, DEMO, HIT, ActivityHouse, activity_house
from tests.web.admin_house import VIEWER, OpenDoor

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

Samples = dict[tuple[str, str], float]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[ActivityHouse]:
    async with activity_house(tmp_path) as opened:
        yield opened


LISTS = [
    SeenList(
        SyncList("platform"), 7, SyncRun("platform", RunState.FAILED, "anna", 1.0, 9.0, 9.0, 60.0, ""), None
    ),
    SeenList(SyncList("new"), 0, None, None),
]


async def lists() -> Sequence[SeenList]:
    return LISTS


def metrics(house: ActivityHouse) -> Metrics:
    rules: Callable[[], RulesTold] = lambda: {"revision": 7, "trouble": "rules.yaml: line 3"}  # noqa: E731
    return Metrics(house.desk, "1.2.3", rules, lists, house.worker.clock)


async def samples(house: ActivityHouse) -> Samples:
    """By name and labels, as the parser of Prometheus reads them."""
    text = (await metrics(house).text()).decode()
    return {
        (
            sample.name,
            " ".join(f"{name}={value}" for name, value in sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_what_was_served_met_and_held_is_told_with_names_of_ours(house: ActivityHouse) -> None:
    worker = house.worker
    worker.recorder.manifest(DEMO, "1.0.0", HIT, 800)
    worker.recorder.served(Cache.MISS, "registry", 5)
    worker.recorder.refused(OciError(Situation.DENIED, "no"), CLOSED)
    worker.tap("drift", {"target": "t", "tag": "1", "seen_digest": "d"})
    await worker.recorder.flush()
    found = await samples(house)
    assert all(name.startswith("gateway_") for name, _ in found)
    assert found["gateway_requests_total", "outcome=hit source=helm"] == 1
    assert found["gateway_requests_total", "outcome=denied source="] == 1
    assert found["gateway_sent_bytes_total", "outcome=hit source=helm"] == 800
    assert found["gateway_rule_hits_total", ""] == 2
    assert found["gateway_events", "kind=drift"] == 1
    assert found["gateway_build_info", "version=1.2.3"] == 1
    assert (found["gateway_rules_revision", ""], found["gateway_rules_refused", ""]) == (7, 1)
    assert found["gateway_quota_bytes", ""] == 1 << 30
    assert found["gateway_trouble", "condition=disk_full"] == 0
    assert found["gateway_held", "what=tags"] == 0
    assert found["gateway_sync_ended_timestamp_seconds", "list=platform"] == 9
    assert found["gateway_sync_failed", "list=platform"] == 1
    assert (found["gateway_sync_kept", "list=platform"], found["gateway_sync_kept", "list=new"]) == (7, 0)


async def test_an_upstream_that_the_rules_name_is_told_by_its_key_others_by_their_number(
    house: ActivityHouse,
) -> None:
    for origin in ("https://charts.example.test", "https://stranger.example.org"):
        with house.worker.origins.get(origin).attempt("x") as attempt:
            attempt.end(Ending.SILENT)
    await house.worker.recorder.flush()
    found = await samples(house)
    assert found["gateway_upstreams", "state=paused"] == 2
    assert found["gateway_upstream_paused", "upstream=charts.example.test"] == 1
    assert not any("stranger" in labels for _, labels in found)


async def test_while_the_catalog_cannot_be_read_the_rest_is_told(house: ActivityHouse) -> None:
    await house.lose_the_catalog()
    found = await samples(house)
    assert found["gateway_catalog_readable", ""] == 0
    assert ("gateway_requests_total", "") not in found
    assert ("gateway_disk_bytes", "") not in found


async def test_it_is_for_who_is_signed_in(house: ActivityHouse) -> None:
    router = Router([metrics(house).route(OpenDoor())])
    transport = httpx.ASGITransport(AdminGate(router, _no_page, _record_nothing))
    async with httpx.AsyncClient(transport=transport, base_url="http://desk.example") as client:
        refused = await client.get("/metrics")
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (401, "UNAUTHORIZED")
        answer = await client.get("/metrics", headers=VIEWER)
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert list(text_string_to_metric_families(answer.text))


def _no_page(_request: Request, error: OciError) -> Response:
    raise error


def _record_nothing(**_fields: object) -> None:
    """No access log."""
