"""The API's actions: done for editors alone, noted, and told as jobs where they take long."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.oci.digest import Digest
from tests.web.admin.actions_house import APP, CHARTS, DEMO, IMAGE, ActionsHouse, actions_house
from tests.web.admin_house import EDITOR, VIEWER

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # whole gateways, live servers

API = "/admin/api"


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[ActionsHouse]:
    async with actions_house(tmp_path / "data") as house:
        yield house


async def post(at: ActionsHouse, path: str, status: int = 200, /, **body: object) -> "dict[str, object]":
    answer = await at.desk.post(f"{API}{path}", json=body, headers=EDITOR)
    assert answer.status_code == status, answer.text
    told: dict[str, object] = answer.json()
    return told


async def job(at: ActionsHouse, path: str, /, **body: object) -> str:
    """What the job that this starts came to."""
    started = await post(at, path, 202, **body)
    return await at.ended(int(str(started["number"])))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/actions/refresh", {"reference": DEMO}),
        ("/actions/purge", {"reference": f"{DEMO}:1.0.0", "dry_run": True}),
        ("/actions/pin", {"reference": f"{DEMO}:1.0.0"}),
        ("/actions/unpin", {"reference": f"{DEMO}:1.0.0"}),
        ("/actions/pull", {"references": [f"{DEMO}:1.0.0"]}),
        ("/jobs/1/cancel", None),
        ("/storage/gc", {"dry_run": True}),
        ("/storage/scrub", {}),
    ],
)
async def test_a_viewer_may_do_none_of_it(at: ActionsHouse, path: str, body: object) -> None:
    answer = await at.desk.post(f"{API}{path}", json=body, headers=VIEWER)
    assert answer.status_code == 403
    assert at.noted == []


async def test_a_refresh_is_a_job_whose_message_tells_what_upstream_said(at: ActionsHouse) -> None:
    await at.pull()
    assert await job(at, "/actions/refresh", reference=f"{DEMO}:1.0.0") == "done: 1 unchanged"
    told = await job(at, "/actions/refresh", reference=f"{DEMO}:9.9.9")
    assert told.startswith(f"failed: 1 nobody has it\n{DEMO}:9.9.9: nobody has it: ")
    assert at.noted[0] == ("the editor", "cache.refresh", f"{DEMO}:1.0.0")


async def test_a_purge_is_foretold_and_done(at: ActionsHouse) -> None:
    await at.pull()
    told = await post(at, "/actions/purge", reference=f"{DEMO}:1.0.0", dry_run=True)
    assert (told["dry_run"], told["tag_count"], told["manifests"], told["blobs"]) == (True, 1, 1, 2)
    assert told["names"] == [DEMO]
    assert await at.pull() == "hit"
    done = await post(at, "/actions/purge", reference=f"{DEMO}:1.0.0")
    assert done == {**told, "dry_run": False}
    assert await at.pull() == "miss"
    assert at.noted == [("the editor", "cache.purge", f"{DEMO}:1.0.0")]


async def test_all_of_a_name_is_purged_only_where_that_is_said(at: ActionsHouse) -> None:
    await at.pull()
    refused = await post(at, "/actions/purge", 404, reference=DEMO)
    assert "which version" in str(refused)
    assert (await post(at, "/actions/purge", reference=DEMO, all_tags=True))["tag_count"] == 1


async def test_what_is_pinned_is_purged_only_with_its_pin(at: ActionsHouse) -> None:
    await at.pull()
    reference = f"{DEMO}:1.0.0"
    assert await post(at, "/actions/pin", reference=reference) == {"reference": reference, "changed": True}
    assert await post(at, "/actions/pin", reference=reference) == {"reference": reference, "changed": False}
    pins = (await at.desk.get(f"{API}/pins", headers=VIEWER)).json()
    assert [(pin["name"], pin["reference"]) for pin in pins["pins"]] == [(DEMO, "1.0.0")]
    foretold = await post(at, "/actions/purge", reference=reference, dry_run=True)
    assert foretold["refused"] is True
    assert "is pinned" in str(await post(at, "/actions/purge", 409, reference=reference))
    assert (await post(at, "/actions/purge", reference=reference, unpin=True))["tag_count"] == 1
    assert (await post(at, "/actions/unpin", reference=reference))["changed"] is False


async def test_pins_come_a_page_at_a_time(at: ActionsHouse) -> None:
    for version in ("1.0.0", "2.0.0"):
        await at.pull(reference=version)
        await post(at, "/actions/pin", reference=f"{DEMO}:{version}")
    first = (await at.desk.get(f"{API}/pins", params={"limit": 1}, headers=VIEWER)).json()
    rest = await at.desk.get(f"{API}/pins", params={"limit": 1, "after": first["next"]}, headers=VIEWER)
    assert [one["reference"] for one in (*first["pins"], *rest.json()["pins"])] == ["1.0.0", "2.0.0"]
    assert rest.json()["next"] is None


async def test_a_list_is_pulled_with_all_parts_and_again_costs_nothing(at: ActionsHouse) -> None:
    references = [f"{DEMO}:1.0.0", DEMO, f"{IMAGE}:1.0"]
    told = await job(at, "/actions/pull", references=references)
    assert told.startswith("done: 3 of 3 pulled, ")
    assert await at.pull(reference="2.0.0") == "hit"  # without a tag the newest is meant
    for part in APP.parts:
        for blob in part.blobs:
            assert await _is_held(at, Digest.of(blob))
    asked = (len(at.charts.requests), len(at.images.requests))
    assert (await job(at, "/actions/pull", references=references[::2])).startswith("done: 2 of 2")
    assert (len(at.charts.requests), len(at.images.requests)) == asked


async def _is_held(at: ActionsHouse, digest: Digest) -> bool:
    return await at.composed.gateway.storage.disk.size(digest) is not None


async def test_of_an_image_only_the_chosen_platforms_are_pulled(at: ActionsHouse) -> None:
    wish = {"references": [f"{IMAGE}:1.0"], "platforms": ["linux/arm64"]}
    assert (await job(at, "/actions/pull", **wish)).startswith("done")
    amd64, arm64 = (Digest.of(part.blobs[1]) for part in APP.parts)
    assert (await _is_held(at, amd64), await _is_held(at, arm64)) == (False, True)
    wish["platforms"] = ["windows/amd64"]
    told = await job(at, "/actions/pull", **wish)
    assert "has no windows/amd64: it has linux/amd64, linux/arm64" in told


async def test_what_could_not_be_pulled_is_named_and_the_rest_is_there(at: ActionsHouse) -> None:
    told = await job(at, "/actions/pull", references=[f"{DEMO}:9.9.9", f"{DEMO}:1.0.0"])
    first, second = told.splitlines()
    assert first.startswith("failed: 1 of 2 pulled")
    assert second.startswith(f"{DEMO}:9.9.9: ")
    assert await at.pull() == "hit"


async def test_a_job_is_seen_while_it_runs_and_can_be_cancelled(at: ActionsHouse) -> None:
    at.images.faults.silent = True
    started = await post(at, "/actions/pull", 202, references=[f"{IMAGE}:1.0"])
    number = started["number"]
    running = (await at.desk.get(f"{API}/jobs", params={"state": "running"}, headers=VIEWER)).json()
    assert [one["number"] for one in running["jobs"]] == [number]
    cancelled = await post(at, f"/jobs/{number}/cancel")
    assert cancelled["state"] == "cancelled"
    await post(at, f"/jobs/{number}/cancel", 409)
    at.images.release()


async def test_jobs_come_a_page_at_a_time(at: ActionsHouse) -> None:
    for _ in range(3):
        await job(at, "/storage/scrub")
    first = (await at.desk.get(f"{API}/jobs", params={"limit": 2}, headers=VIEWER)).json()
    rest = (await at.desk.get(f"{API}/jobs", params={"after": first["next"]}, headers=VIEWER)).json()
    assert [one["number"] for one in (*first["jobs"], *rest["jobs"])] == [3, 2, 1]
    assert rest["next"] is None
    assert (await at.desk.get(f"{API}/jobs/2", headers=VIEWER)).json()["kind"] == "scrub"
    assert (await at.desk.get(f"{API}/jobs/9", headers=VIEWER)).status_code == 404


async def test_garbage_is_collected_and_content_hashed_as_jobs(at: ActionsHouse) -> None:
    await at.pull()
    assert (await job(at, "/storage/gc", dry_run=True)).startswith("done: 0 layers would be evicted")
    told = await job(at, "/storage/scrub", fetch_missing=True)
    assert told.startswith("done: 3 files and 1 manifests hashed")
    assert [action for _, action, _ in at.noted] == ["storage.gc", "storage.scrub"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/actions/pull", {"references": []}, 400),
        ("/actions/pull", {"references": ["https://charts.example.test/demo"]}, 400),
        ("/actions/pin", {"reference": "Demo:1"}, 400),
        ("/actions/pin", {"reference": f"{DEMO}:8.8.8"}, 404),
        ("/actions/refresh", {"reference": "nowhere/demo"}, 404),
        ("/actions/purge", {"reference": "unheard/of:1"}, 404),
        ("/actions/purge", {"reference": DEMO, "target": "..", "all_tags": True}, 400),
        ("/actions/refresh", {"reference": DEMO, "more": 1}, 400),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    at: ActionsHouse, path: str, body: dict[str, object], status: int
) -> None:
    if path == "/actions/refresh" and status == 404:
        assert (await job(at, path, **body)).startswith("failed: ")
        return
    await post(at, path, status, **body)


async def test_the_description_names_every_operation(at: ActionsHouse) -> None:
    described = (await at.desk.get(f"{API}/openapi.json", headers=VIEWER)).json()
    assert set(described["paths"]) == {
        *(f"/actions/{what}" for what in ("refresh", "purge", "pin", "unpin", "pull")),
        *("/pins", "/jobs", "/jobs/{number}", "/jobs/{number}/cancel", "/storage/gc", "/storage/scrub"),
    }


async def test_one_chart_of_two_is_left_where_it_is(at: ActionsHouse) -> None:
    await at.pull()
    await at.pull(reference="2.0.0")
    await post(at, "/actions/purge", reference=f"{DEMO}:1.0.0")
    assert await at.pull(reference="2.0.0") == "hit"
    answer: httpx.Response = await at.composed.client.get(f"/v2/{DEMO}/blobs/{Digest.of(CHARTS[1])}")
    assert answer.content == CHARTS[1]
