"""Pages that tell of a failure: what somebody wrote comes back where the same may go well the next time."""

import pytest
from starlette.responses import Response

from gateway.access.roles import Role
from gateway.oci.errors import OciError, Situation
from gateway.store.blobs import StorageFailed
from gateway.web.admin.bodies import MAX_KEPT_BYTES
from gateway.web.admin.pages import Page, Visit
from tests.web.admin_house import EDITOR, FORM_TOKEN, ORIGIN, as_browser, open_desk

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

WRITTEN = 'version: 1\nrules: []  # "><script>'
AS_TEXT = "version: 1\nrules: []  # &#34;&gt;&lt;script&gt;"


async def _away(_visit: Visit) -> Response:
    raise StorageFailed("the catalog cannot be read")


async def _refused(_visit: Visit) -> Response:
    raise OciError(Situation.CONFLICT, "it is pinned")


PAGES = [Page("/rules", _away), Page("/rules", _away, "POST"), Page("/pins", _refused, "POST")]


async def test_what_was_written_while_the_database_is_away_can_be_sent_again() -> None:
    form = {"form_token": FORM_TOKEN, "content": WRITTEN}
    async with open_desk(pages=PAGES) as desk:
        answer = await desk.post("/admin/rules?number=1", data=form, headers=as_browser(Role.EDITOR))
    assert answer.status_code == 503
    assert "<h1>Not available just now</h1>" in answer.text
    assert '<form method="post" action="/admin/rules?number=1">' in answer.text
    assert f'name="content" value="{AS_TEXT}"' in answer.text
    assert FORM_TOKEN in answer.text


async def test_a_page_that_cannot_be_read_can_be_asked_for_again() -> None:
    async with open_desk(pages=PAGES) as desk:
        answer = await desk.get("/admin/rules?number=1", headers=EDITOR)
    assert answer.status_code == 503
    assert '<a class="button" href="/admin/rules?number=1">Try again</a>' in answer.text
    assert "<form" not in answer.text


async def test_what_is_refused_is_not_offered_again() -> None:
    async with open_desk(pages=PAGES) as desk:
        answer = await desk.post(
            "/admin/pins", data={"form_token": FORM_TOKEN}, headers=as_browser(Role.EDITOR)
        )
    assert (answer.status_code, "Try again" in answer.text) == (409, False)


async def test_what_a_page_of_another_site_sends_does_not_come_back() -> None:
    headers = {**as_browser(Role.EDITOR), "origin": "https://evil.example"}
    async with open_desk(pages=PAGES) as desk:
        answer = await desk.post("/admin/rules", data={"content": "theirs"}, headers=headers)
    assert (answer.status_code, "theirs" in answer.text) == (403, False)


@pytest.mark.parametrize("headers", [{"origin": ORIGIN}, as_browser(Role.VIEWER)])
async def test_who_may_not_send_it_sends_no_more_than_is_kept(headers: dict[str, str]) -> None:
    long = {"form_token": FORM_TOKEN, "content": "a" * MAX_KEPT_BYTES}
    async with open_desk(pages=[Page("/rules", _away, "POST", Role.EDITOR, 2 * MAX_KEPT_BYTES)]) as desk:
        assert (await desk.post("/admin/rules", data=long, headers=headers)).status_code == 413
        whole = await desk.post("/admin/rules", data=long, headers=as_browser(Role.EDITOR))
    assert (whole.status_code, long["content"] in whole.text) == (503, True)
