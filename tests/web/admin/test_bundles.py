"""Bundles at the desk: looked at, taken in whole or not at all, and never by who may only look."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.access.roles import Role
from gateway.store.job_book import JobState
from tests.bundle_house import Bundle, chart
from tests.web.admin.bundles_house import BUNDLES, BundlesHouse, bundles_house
from tests.web.admin_house import EDITOR, FORM_TOKEN, VIEWER, as_browser

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # a data directory each

TARGET = "charts.example.test/demo"
ONE, OTHER = chart("demo", "1.0.0"), chart("demo", "1.0.0", b"other content" * 9)
RULES = b"version: 1\nrules:\n  - {repository: old/*, deny: gone}\n"


def bundle(artifact: object = ONE, rules: bytes | None = None) -> bytes:
    made = Bundle(rules=rules).add(TARGET, {"1.0.0": OTHER if artifact is OTHER else ONE})
    return made.tar()


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[BundlesHouse]:
    async with bundles_house(tmp_path) as house:
        yield house


async def test_a_bundle_is_looked_at_then_taken_in(at: BundlesHouse) -> None:
    looked = await at.put(bundle(), dry_run="true")
    assert (looked.status_code, looked.json()["dry_run"], looked.json()["added_count"]) == (200, True, 1)
    assert (await at.ended(1)).startswith("done: tags: 1 would be added; 2 new blobs")
    assert await at.holds(TARGET, "1.0.0") is None
    taken = (await at.put(bundle())).json()
    assert (taken["added_count"], taken["new_blobs"], taken["added"][0]["target"]) == (1, 2, TARGET)
    assert await at.holds(TARGET, "1.0.0") == ONE.digest
    again = (await at.put(bundle())).json()
    assert (again["added_count"], again["unchanged_count"], again["size_bytes"]) == (0, 1, 0)
    assert [action for _, action, _ in at.noted] == ["bundle.import"] * 3


async def test_tags_that_are_held_with_other_content_stay_unless_they_are_replaced(at: BundlesHouse) -> None:
    await at.put(bundle())
    kept = (await at.put(bundle(OTHER))).json()
    assert (kept["kept_count"], kept["kept"][0]["held"]) == (1, ONE.digest)
    replaced = (await at.put(bundle(OTHER), replace="true")).json()
    assert (replaced["replaced_count"], replaced["replaced"][0]["digest"]) == (1, OTHER.digest)
    assert f"{TARGET}:1.0.0: held {ONE.digest}" in await at.ended(3)


async def test_its_rules_are_shown_and_in_force_only_where_that_is_asked_for(at: BundlesHouse) -> None:
    shown = (await at.put(bundle(rules=RULES))).json()["rules"]
    assert "+  - {repository: old/*, deny: gone}" in shown["difference"]
    assert (shown["revision"], shown["failure"]) == (None, None)
    applied = (await at.put(bundle(rules=RULES), with_rules="true")).json()["rules"]
    assert (applied["revision"], applied["failure"]) == (2, None)  # 1 is the file, which is taken in first


async def test_a_bundle_with_a_fault_is_refused_with_all_of_them(at: BundlesHouse) -> None:
    whole = bundle()
    at_layer = whole.index(b"demo 1.0.0demo")
    answer = await at.put(whole[:at_layer] + b"X" + whole[at_layer + 1 :])
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["code"]) == (422, "UNSUPPORTED")
    assert any("has other content" in fault for fault in error["detail"]["faults"])
    assert (await at.ended(1)).startswith("failed: the bundle is refused, and nothing was changed")
    assert await at.holds(TARGET, "1.0.0") is None


@pytest.mark.parametrize("content", [b"", b"no tar at all", bytes(10_240)])
async def test_what_is_no_bundle_is_refused(at: BundlesHouse, content: bytes) -> None:
    assert (await at.put(content)).status_code == 422


async def test_a_signature_is_checked_or_not_taken_for_one(at: BundlesHouse) -> None:
    signed = {"x-bundle-signature": "c2lnbmVk"}
    assert (await at.put(bundle(), signed)).status_code == 409  # no key here
    at.bundles.key.write_text("not a key")
    assert (await at.put(bundle())).status_code == 422
    assert (await at.put(bundle(), signed)).status_code == 422


async def test_a_viewer_takes_nothing_in(at: BundlesHouse) -> None:
    assert (await at.put(bundle(), VIEWER)).status_code == 403
    assert at.noted == []


async def test_one_that_is_cancelled_changes_nothing_and_says_so(at: BundlesHouse) -> None:
    whole = bundle()
    goes_on = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield whole[:2048]
        goes_on.set()
        await asyncio.Event().wait()

    sending = asyncio.create_task(at.desk.put(BUNDLES, content=body(), headers=EDITOR))
    await goes_on.wait()
    (job,) = await at.jobs.list("running")
    assert await at.jobs.cancel(job.number)
    assert (await at.jobs.find(job.number)).state is JobState.CANCELLED
    sending.cancel()  # a body that never ends would be drained for a minute
    await asyncio.gather(sending, return_exceptions=True)
    assert await at.holds(TARGET, "1.0.0") is None


async def test_what_is_held_leaves_as_a_bundle_that_can_be_taken_in(at: BundlesHouse, tmp_path: Path) -> None:
    await at.put(bundle())
    answers = [
        await at.get(all="true"),
        await at.get(reference=[f"{TARGET}:1.0.0"]),
        await at.get(reference=[TARGET], compress="zstd"),
    ]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert answers[0].headers["content-disposition"].startswith('attachment; filename="everything-')
    assert answers[2].headers["content-type"] == "application/zstd"
    assert (await at.ended(2)).startswith("done: 1 tag of 1 target: 1 manifest and 2 files")
    assert at.noted[1] == ("the editor", "bundle.export", "everything held")
    async with bundles_house(tmp_path / "other") as other:
        for answer in answers:
            assert (await other.put(answer.content)).status_code == 200
        assert await other.holds(TARGET, "1.0.0") == ONE.digest


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 400),
        ({"all": "true", "sync": "the platform"}, 400),
        ({"reference": ["a b"]}, 400),
        ({"reference": [f"{TARGET}:9.9.9"]}, 404),
        ({"sync": "the platform"}, 404),
    ],
)
async def test_what_cannot_be_exported_is_said_before_anything_is_sent(
    at: BundlesHouse, query: dict[str, str | list[str]], status: int
) -> None:
    answer = await at.get(**query)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert list(await at.jobs.list()) == []


async def test_a_form_sends_a_bundle_or_says_what_is_wrong(at: BundlesHouse) -> None:
    await at.put(bundle())
    fields = {"form_token": FORM_TOKEN, "what": "references", "references": f"{TARGET}:1.0.0\n"}
    browser = as_browser(Role.EDITOR)
    sent = await at.desk.post("/admin/bundles/export", data=fields, headers=browser)
    assert (sent.status_code, sent.headers["content-type"]) == (200, "application/x-tar")
    wrong = {**fields, "references": f"{TARGET}:9.9.9"}
    told = await at.desk.post("/admin/bundles/export", data=wrong, headers=browser)
    assert (told.status_code, "is not held" in told.text) == (404, True)
    assert f"{TARGET}:9.9.9</textarea>" in told.text
    again = await at.desk.post("/admin/bundles/export", data={**wrong, "resumed": "1"}, headers=browser)
    assert (again.status_code, f"{TARGET}:9.9.9</textarea>" in again.text) == (200, True)
    viewer = await at.desk.post("/admin/bundles/export", data=fields, headers=as_browser(Role.VIEWER))
    assert viewer.status_code == 403


async def test_what_an_import_came_to_is_a_page(at: BundlesHouse) -> None:
    await at.put(bundle())
    number = (await at.put(bundle(OTHER, RULES), dry_run="true")).json()["job"]
    page = await at.desk.get(f"/admin/bundles/imports/{number}", headers=VIEWER)
    for text in ("Nothing was changed yet", f"{TARGET}:1.0.0", "Held here with other content", "deny: gone"):
        assert text in page.text, text
    for other in ("7", "x", "9999999999"):
        answer = await at.desk.get(f"/admin/bundles/imports/{other}", headers=VIEWER)
        assert answer.status_code == 404


async def test_the_page_has_forms_for_editors_alone(at: BundlesHouse) -> None:
    page = await at.desk.get("/admin/bundles", headers=EDITOR)
    assert "the platform" in page.text
    assert "Signature" not in page.text
    at.bundles.key.write_text("a key")
    assert "only signed bundles" in (await at.desk.get("/admin/bundles", headers=EDITOR)).text
    assert (
        "<form class=" not in (await at.desk.get("/admin/bundles", headers=VIEWER)).text.partition("<main")[2]
    )
