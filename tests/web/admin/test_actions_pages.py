"""Forms that do something: each leads back to where it was, and says what came of it in fixed words."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.access.roles import Role
from gateway.web.admin.notices import NOTICES, back_to, notice_of
from tests.web.admin.actions_house import DEMO, ActionsHouse, actions_house
from tests.web.admin_house import FORM_TOKEN, as_browser

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # whole gateways, live servers

BACK = f"/admin/catalog/tag?name={DEMO}"


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[ActionsHouse]:
    async with actions_house(tmp_path / "data") as house:
        yield house


async def send(at: ActionsHouse, path: str, role: Role = Role.EDITOR, /, **fields: str) -> httpx.Response:
    return await at.desk.post(
        f"/admin{path}", data={"form_token": FORM_TOKEN, **fields}, headers=as_browser(role)
    )


async def done(at: ActionsHouse, path: str, /, **fields: str) -> str:
    """The words that the page says to which a form leads back."""
    answer = await send(at, path, name=DEMO, back=BACK, **fields)
    assert answer.status_code == 303, answer.text
    place = httpx.URL(answer.headers["location"])
    assert (place.path, place.params["name"]) == ("/admin/catalog/tag", DEMO)
    notice = notice_of(place.params)
    assert notice is not None
    return notice.words


async def page(at: ActionsHouse, path: str = "/mirror", role: Role = Role.EDITOR) -> str:
    answer = await at.desk.get(f"/admin{path}", headers=as_browser(role))
    assert answer.status_code == 200
    return answer.text


async def test_a_tag_is_refreshed_while_one_waits(at: ActionsHouse) -> None:
    assert "it is held now" in await done(at, "/actions/refresh", reference="1.0.0")
    assert "it still has what is held" in await done(at, "/actions/refresh", reference="1.0.0")
    assert "nobody has it" in await done(at, "/actions/refresh", reference="9.9.9")
    at.charts.go_down()
    assert "could not be asked" in await done(at, "/actions/refresh", reference="1.0.0")


async def test_all_of_a_name_is_refreshed_behind(at: ActionsHouse) -> None:
    await at.pull()
    assert "for all that is held of this name" in await done(at, "/actions/refresh")
    assert (await at.ended(1)).startswith("done: 1 unchanged, 1 listed")


async def test_a_purge_is_shown_before_it_is_done(at: ActionsHouse) -> None:
    await at.pull()
    shown = await send(at, "/actions/purge", name=DEMO, reference="1.0.0", back=BACK)
    assert shown.status_code == 200
    assert "1 tag and 1 manifest would be forgotten" in shown.text
    assert await at.pull() == "hit"
    assert "is forgotten" in await done(at, "/actions/purge", reference="1.0.0", sure="yes")
    assert await at.pull() == "miss"
    assert at.noted == [("the editor", "cache.purge", f"{DEMO}:1.0.0")]


async def test_what_is_pinned_is_purged_with_its_pin_once_that_is_seen(at: ActionsHouse) -> None:
    await at.pull()
    assert "is pinned" in await done(at, "/actions/pin", reference="1.0.0")
    assert "pinned already" in await done(at, "/actions/pin", reference="1.0.0")
    shown = await send(at, "/actions/purge", name=DEMO, reference="1.0.0", back=BACK)
    assert "Unpin and forget it" in shown.text
    refused = await send(at, "/actions/purge", name=DEMO, reference="1.0.0", sure="yes")
    assert (refused.status_code, "is pinned" in refused.text) == (409, True)
    assert "forgotten" in await done(at, "/actions/purge", reference="1.0.0", sure="yes", unpin="yes")
    assert "not pinned" in await done(at, "/actions/unpin", reference="1.0.0")
    assert "Nothing of it was held" in await done(at, "/actions/purge", reference="1.0.0", sure="yes")


async def test_a_pull_goes_on_behind(at: ActionsHouse) -> None:
    assert "being pulled" in await done(at, "/actions/pull", reference="1.0.0")
    assert (await at.ended(1)).startswith("done")
    assert await at.pull() == "hit"


@pytest.mark.parametrize("path", ["refresh", "purge", "pin", "unpin", "pull", "gc", "scrub"])
async def test_a_viewer_may_send_none_of_them(at: ActionsHouse, path: str) -> None:
    answer = await send(at, f"/actions/{path}", Role.VIEWER, name=DEMO, reference="1.0.0")
    assert answer.status_code == 403
    assert at.noted == []


async def test_what_is_stored_is_looked_after_behind(at: ActionsHouse) -> None:
    for path in ("/actions/gc", "/actions/scrub"):
        answer = await send(at, path)
        assert answer.headers["location"].startswith("/admin/storage?done=")
    assert (await at.ended(1)).startswith("done: 0 layers evicted")
    assert (await at.ended(2)).startswith("done: 0 files")


async def test_a_list_is_pulled_and_seen(at: ActionsHouse) -> None:
    assert "Nothing runs" in await page(at)
    text = f"# tools\r\n{DEMO}:1.0.0\r\n{DEMO}:9.9.9 # not there\r\n"
    answer = await send(at, "/mirror", references=text, platforms="linux/amd64, linux/arm64")
    assert answer.headers["location"] == "/admin/mirror?done=pulling"
    await at.ended(1)
    shown = await page(at)
    assert "1 of 2 pulled" in shown
    assert f"{DEMO}:9.9.9: " in shown
    assert len(shown) < 100_000


@pytest.mark.parametrize(
    ("text", "told"),
    [("ok.example.test/a\nUpper/x", "line 2: "), ("# nothing\n", "no reference in it")],
)
async def test_a_list_that_cannot_be_read_is_shown_again(at: ActionsHouse, text: str, told: str) -> None:
    answer = await send(at, "/mirror", references=text)
    assert (answer.status_code, told in answer.text) == (400, True)
    assert text.strip().splitlines()[-1] in answer.text


async def test_a_list_survives_a_session_that_is_over(at: ActionsHouse) -> None:
    answer = await send(at, "/mirror", references=f"{DEMO}:1.0.0", resumed="1")
    assert (answer.status_code, f"{DEMO}:1.0.0</textarea>" in answer.text) == (200, True)
    assert list(await at.actions.jobs.list()) == []


async def test_what_runs_is_seen_with_its_progress_and_can_be_cancelled(at: ActionsHouse) -> None:
    at.charts.faults.silent = True
    await send(at, "/mirror", references=f"{DEMO}:1.0.0")
    shown = await page(at)
    assert '<progress value="0" max="1"' in shown
    assert "/admin/mirror/jobs/1/cancel" in shown
    assert "/cancel" not in await page(at, role=Role.VIEWER)
    answer = await send(at, "/mirror/jobs/1/cancel")
    assert answer.headers["location"] == "/admin/mirror?done=cancelled"
    assert "cancelled: what it had done stays" in await page(at)
    again = await send(at, "/mirror/jobs/1/cancel")
    assert again.headers["location"] == "/admin/mirror?done=not-cancelled"
    at.charts.release()


async def test_markup_in_what_is_shown_is_text(at: ActionsHouse) -> None:
    answer = await send(at, "/mirror", references="<script>alert(1)</script>")
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        *("//evil.example/", "/\\evil.example", "https://evil.example/", "javascript:alert(1)", ""),
        *("/admin/\r\nx: y", "/admin/\\evil", "/adminx", "/admin/ä"),
    ],
)
def test_nobody_is_led_away(path: str) -> None:
    assert back_to(path, "/admin/mirror", "pinned") == "/admin/mirror?done=pinned"


def test_a_notice_is_one_of_a_table_and_replaces_the_one_before() -> None:
    assert back_to("/admin/x?a=1&done=pinned", "/admin/", "purged") == "/admin/x?a=1&done=purged"
    assert notice_of({"done": "<b>"}) is None
    assert all(notice.look in ("ok", "warn", "bad") for notice in NOTICES.values())
