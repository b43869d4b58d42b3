"""Mirror lists at the desk: seen with how they went, planned, run, and never by who may only look."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from gateway.access.roles import Role
from gateway.oci.target import Target
from gateway.rules.load import load_rules
from gateway.store.retention import Retention, keeper_of_list
from gateway.store.sync_runs import Ended, RunState
from gateway.sync_plan import SyncFailure, SyncReport
from tests.web.admin.sync_house import SyncHouse, sync_house
from tests.web.admin_house import EDITOR, FORM_TOKEN, VIEWER, as_browser

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # a catalog each

NAME = "the platform"
GONE = SyncFailure("argo/argo-cd:7.1.0", "upstream has it no more")


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[SyncHouse]:
    async with sync_house(tmp_path) as house:
        yield house


async def test_lists_are_seen_with_how_they_went_and_what_they_keep(at: SyncHouse) -> None:
    target = Target.parse("argoproj.github.io/argo-helm/argo-cd")
    await at.kept.retain(keeper_of_list(NAME), [Retention(target, "7.1.0", "argo/argo-cd")], at.clock())
    await at.runs.begin(NAME, "the schedule")
    report = SyncReport(NAME, 2, 5, 0, 1, 7_000, 1.5, failures=[GONE], remarks=["one"])
    told = msgspec.json.encode(report).decode()
    await at.runs.end(Ended(NAME, RunState.FAILED, told, next_at=at.clock() + 60))
    first, second = (await at.desk.get("/admin/api/sync", headers=VIEWER)).json()["lists"]
    assert (first["name"], first["every_seconds"], first["charts"], first["images"]) == (NAME, 21600, 1, 1)
    assert (first["kept"], first["last_run"]["state"], first["last_run"]["fetched"]) == (1, "failed", 2)
    assert first["last_run"]["failures"] == [{"what": GONE.what, "reason": GONE.reason}]
    assert (second["kept"], second["every_seconds"], second["last_run"]) == (0, None, None)


async def test_a_run_that_another_version_told_of_is_seen_without_its_report(at: SyncHouse) -> None:
    await at.runs.begin(NAME, "the schedule")
    await at.runs.end(Ended(NAME, RunState.DONE, '{"of": "another version"}', next_at=None))
    first, _ = (await at.desk.get("/admin/api/sync", headers=VIEWER)).json()["lists"]
    assert (first["last_run"]["state"], first["last_run"]["fetched"]) == ("done", 0)


async def test_without_lists_there_are_none(at: SyncHouse) -> None:
    at.rules[0] = load_rules("version: 1\n")
    assert (await at.desk.get("/admin/api/sync", headers=VIEWER)).json() == {"lists": []}
    assert (await at.desk.post("/admin/api/sync", json={}, headers=EDITOR)).status_code == 404


async def test_lists_are_run_as_jobs_and_noted(at: SyncHouse) -> None:
    answer = await at.desk.post("/admin/api/sync", json={"names": [NAME]}, headers=EDITOR)
    (job,) = answer.json()["jobs"]
    assert (answer.status_code, job["kind"], job["subject"]) == (202, "sync", NAME)
    await at.syncer.begun.wait()
    running = await at.jobs.find(1)
    assert (running.done, running.total, running.message) == (1, 3, "1 of 3, 5.0 MB: argo/argo-cd:7.1.0")
    again = await at.desk.post("/admin/api/sync", json={"names": [NAME]}, headers=EDITOR)
    assert [one["number"] for one in again.json()["jobs"]] == [1]  # the same: it runs
    at.syncer.go_on.set()
    assert await at.ended(1) == "done: 2 fetched, 1 held already; 5.0 MB in 1 s"
    assert at.noted == [("the editor", "sync.run", NAME)]


async def test_all_lists_are_run_where_none_is_named(at: SyncHouse) -> None:
    at.syncer.go_on.set()
    answer = await at.desk.post("/admin/api/sync", json={}, headers=EDITOR)
    assert [one["subject"] for one in answer.json()["jobs"]] == [NAME, "by hand"]


async def test_a_run_that_could_not_fetch_all_names_what_it_could_not(at: SyncHouse) -> None:
    at.syncer.failures = (GONE,)
    at.syncer.go_on.set()
    await at.desk.post("/admin/api/sync", json={"names": [NAME]}, headers=EDITOR)
    summary, line = (await at.ended(1)).splitlines()
    assert summary == "failed: 2 fetched, 1 held already, 1 failed; 5.0 MB in 1 s"
    assert line == "argo/argo-cd:7.1.0: upstream has it no more"


async def test_a_list_that_another_process_runs_is_said_so(at: SyncHouse) -> None:
    at.syncer.is_running_elsewhere = True
    await at.desk.post("/admin/api/sync", json={"names": [NAME]}, headers=EDITOR)
    told = await at.ended(1)
    assert told.startswith("failed: ")
    assert NAME in told


async def test_a_plan_is_made_then_read(at: SyncHouse) -> None:
    query = {"name": NAME}
    assert (await at.desk.get("/admin/api/sync/plan", params=query, headers=VIEWER)).status_code == 404
    begun = await at.desk.post("/admin/api/sync/plan", json=query, headers=EDITOR)
    assert (begun.status_code, begun.json()["kind"]) == (202, "sync plan")
    at.syncer.go_on.set()
    told = await at.ended(1)
    assert told.startswith("done: 1 of 2 would be fetched, 0.0 MB at least; 1 would be removed")
    plan = (await at.desk.get("/admin/api/sync/plan", params=query, headers=VIEWER)).json()
    assert (plan["item_count"], plan["fetched_count"], plan["size_bytes"]) == (2, 1, 2048)
    assert (plan["removals"], plan["remarks"]) == (["argo/argo-cd:6.0.0"], ["one remark"])


async def test_a_list_that_is_not_in_the_rules_is_not_known(at: SyncHouse) -> None:
    for method, path, sent in (
        ("POST", "/sync", {"names": [NAME, "other"]}),
        ("POST", "/sync/plan", {"name": "other"}),
        ("GET", "/sync/plan?name=other", None),
    ):
        answer = await at.desk.request(method, f"/admin/api{path}", json=sent, headers=EDITOR)
        assert answer.status_code == 404, path
    assert list(await at.jobs.list()) == []


@pytest.mark.parametrize("path", ["/sync", "/sync/plan"])
async def test_a_viewer_begins_nothing(at: SyncHouse, path: str) -> None:
    answer = await at.desk.post(f"/admin/api{path}", json={"name": NAME}, headers=VIEWER)
    assert answer.status_code == 403


async def test_a_plan_is_shown_while_it_is_made_and_after(at: SyncHouse) -> None:
    fields = {"form_token": FORM_TOKEN, "name": NAME}
    sent = await at.desk.post("/admin/mirror/plan", data=fields, headers=as_browser(Role.EDITOR))
    place = sent.headers["location"]
    assert place == "/admin/mirror/plan?name=the+platform"
    await at.syncer.begun.wait()
    assert "It is being found out" in (await at.desk.get(place, headers=VIEWER)).text
    at.syncer.go_on.set()
    await at.ended(1)
    shown = (await at.desk.get(place, headers=VIEWER)).text
    for text in ("argo/argo-cd:7.1.0", "2.0 KiB", "argo/argo-cd:6.0.0", "one remark"):
        assert text in shown
    assert "<button type=" not in shown.partition("<main")[2]  # a viewer's


async def test_a_run_is_begun_by_a_form(at: SyncHouse) -> None:
    fields = {"form_token": FORM_TOKEN, "name": NAME}
    sent = await at.desk.post("/admin/mirror/sync", data=fields, headers=as_browser(Role.EDITOR))
    assert sent.headers["location"] == "/admin/mirror?done=syncing"
    assert [job.subject for job in await at.jobs.list()] == [NAME]
