"""The admin API of what was served, met and held, as it answers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec
import pytest

from gateway.activity_seen import SettingShown
from gateway.oci.errors import OciError, Situation
from gateway.settings import load_settings
from gateway.settings_shown import settings_shown
from gateway.sources.breaker import Ending
from gateway.store.conditions import Trouble
from gateway.web.admin import activity_api, standing_api
from gateway.web.admin.activity_api import Activity, ActivityStep, EventPage, PullList
from gateway.web.admin.standing_api import StorageFacts, TroubleFacts, UpstreamList
from tests.activity_house import CLOSED, DEMO, HIT, ActivityHouse, activity_house
from tests.web.admin_house import EDITOR, VIEWER, open_desk

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

PASSWORD = "S3CR3T"
Told = TypeVar("Told", bound=msgspec.Struct)
DATABASE = f"postgresql://user:{PASSWORD}@db.example:5432/gateway"


@dataclass(frozen=True, slots=True)
class Asked:
    house: ActivityHouse
    client: httpx.AsyncClient

    async def get(self, path: str, kind: type[Told]) -> Told:
        answer = await self.client.get(f"/admin/api{path}", headers=VIEWER)
        assert answer.status_code == 200, answer.text
        return msgspec.json.decode(answer.content, type=kind)


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(activity_house(tmp_path))
        endpoints = [*activity_api.operations(house.desk), *standing_api.operations(house.desk, settings())]
        client = await stack.enter_async_context(open_desk(endpoints=endpoints))
        yield Asked(house, client)


def settings() -> list[SettingShown]:
    given = {
        "GATEWAY_DATABASE_URL": DATABASE,
        "GATEWAY_ADMIN_TOKEN": f"{PASSWORD}-and-sixteen-more",
        "GATEWAY_SECRET_HARBOR": PASSWORD,
        "GATEWAY_ADMIN_PORT": "off",
    }
    return list(settings_shown(load_settings(given, {}, Path.read_text)))


async def test_activity_is_told_by_step_and_in_all(asked: Asked) -> None:
    recorder = asked.house.worker.recorder
    recorder.manifest(DEMO, "1.0.0", HIT, 7)
    recorder.refused(OciError(Situation.DENIED, "no"), CLOSED)
    await recorder.flush()
    told = await asked.get("/activity?span=day", Activity)
    assert (told.total, told.sent_bytes, told.step_seconds) == (2, 7, 3600)
    assert (told.by_outcome, told.by_source) == ({"hit": 1, "denied": 1}, {"helm": 1})
    assert told.steps[-1] == ActivityStep("2027-01-15T08:00:00Z", {"hit": 1, "denied": 1}, 7)
    (pull,) = (await asked.get("/activity/pulls", PullList)).pulls
    assert (pull.name, pull.target) == ("apps/demo", "charts.example.test/demo")
    assert pull.last_at == "2027-01-15T08:00:00Z"


async def test_events_come_in_pages_newest_first(asked: Asked) -> None:
    for number in range(3):
        asked.house.worker.tap("drift", {"target": "t", "tag": str(number), "seen_digest": "<svg/onload=x>"})
    asked.house.worker.tap("rows_lost", {"count": 1, "means": "gone"})
    await asked.house.worker.recorder.flush()
    first = await asked.get("/events?kind=drift&limit=2", EventPage)
    assert [event.subject for event in first.events] == ["t:2", "t:1"]
    assert first.kinds == {"drift": 3, "rows_lost": 1}
    rest = await asked.get(f"/events?kind=drift&limit=2&after={first.next}", EventPage)
    assert ([event.subject for event in rest.events], rest.next) == (["t:0"], None)
    grave = await asked.get("/events?severity=error", EventPage)
    assert [event.kind for event in grave.events] == ["rows_lost"]


async def test_upstreams_are_told_with_their_last_error(asked: Asked) -> None:
    with asked.house.worker.origins.get("https://charts.example.test").attempt("x") as attempt:
        attempt.end(Ending.SILENT, "did not answer in time")
    await asked.house.worker.recorder.flush()
    (told,) = (await asked.get("/upstreams", UpstreamList)).upstreams
    assert (told.state, told.paused_seconds, told.keys) == ("paused", 15, ["charts.example.test"])
    assert (told.last_error, told.last_ok_at) == ("did not answer in time", None)


@pytest.mark.parametrize(
    "upstream",
    ["http://127.0.0.1:5432", "https://charts.example.test/", "a b", "../x", "user@charts.example.test", ""],
)
async def test_what_is_no_upstream_is_refused_unasked(asked: Asked, upstream: str) -> None:
    for body in ({"upstream": upstream}, {"url": upstream}):
        answer = await asked.client.post("/admin/api/upstreams/test", json=body, headers=EDITOR)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "UNSUPPORTED")


@pytest.mark.parametrize(
    "upstream", ["127.0.0.1:5432", "localhost", "10.0.0.1/charts", "gateway.internal", "harbor"]
)
async def test_what_is_inside_answers_as_what_does_not_resolve(asked: Asked, upstream: str) -> None:
    answer = await asked.client.post("/admin/api/upstreams/test", json={"upstream": upstream}, headers=EDITOR)
    assert (answer.status_code, answer.json()["result"]) == (200, "unresolved")


async def test_a_viewer_asks_no_upstream(asked: Asked) -> None:
    body = {"upstream": "charts.example.test"}
    answer = await asked.client.post("/admin/api/upstreams/test", json=body, headers=VIEWER)
    assert answer.status_code == 403


async def test_the_storage_is_counted_and_troubles_are_told(asked: Asked) -> None:
    async with asked.house.disk.create() as writer:
        await writer.write(b"x" * 1000)
    asked.house.worker.troubles["disk_full"] = Trouble("the disk is full", 1_800_000_000.0)
    await asked.house.worker.recorder.flush()
    told = await asked.get("/storage", StorageFacts)
    assert (told.blob_bytes, told.blob_count, told.is_exact) == (1000, 1, True)
    assert told.quota_bytes == 1 << 30
    assert told.troubles == {"disk_full": TroubleFacts("the disk is full", "2027-01-15T08:00:00Z")}


async def test_no_secret_is_in_the_settings_and_what_was_given_is_marked(asked: Asked) -> None:
    answer = await asked.client.get("/admin/api/settings", headers=VIEWER)
    assert PASSWORD not in answer.text
    told = {one["name"]: (one["value"], one["source"]) for one in answer.json()["settings"]}
    assert told["DATABASE_URL"] == ("postgresql://user@db.example:5432/gateway", "given")
    assert told["ADMIN_TOKEN"] == ("set, and not shown", "given")
    assert told["GATEWAY_SECRET_HARBOR"] == ("set, and not shown", "given")
    assert told["ADMIN_PORT"] == ("off", "given")
    assert told["MAX_INDEX_SIZE"] == ("64M", "default")
    assert (told["PORT"], told["OFFLINE"], told["UPSTREAM_TIMEOUT"]) == (
        ("9000", "default"),
        ("false", "default"),
        ("15s", "default"),
    )
