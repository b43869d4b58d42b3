"""Signing in and out by the pages of the desk, as browsers do."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.access.roles import Role
from gateway.web.admin.door import COOKIE, own_path
from tests.desk_house import DeskHouse, bearer, desk_house, hidden, settings_at

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # a whole gateway for each

TEXT = "rules:\n- {repository: 'a/*'} # <b>\"bold\"</b> & ü\n"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[DeskHouse]:
    async with desk_house(settings_at(tmp_path)) as opened:
        yield opened


async def test_who_asks_for_a_page_signs_in_at_its_very_address_and_comes_back_to_it(
    house: DeskHouse,
) -> None:
    browser, made = house.browser(), await house.made()
    page = await browser.get("/admin/access?after=7")
    assert (page.status_code, page.headers["www-authenticate"]) == (401, 'Bearer realm="chart-gateway"')
    assert hidden(page) == {"next": "/admin/access?after=7"}
    answer = await browser.send("/admin/sign-in", {**hidden(page), "token": f" {made.secret}\r\n"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/access?after=7")
    assert (await browser.get("/admin/access")).status_code == 200


async def test_a_wrong_token_is_told_and_the_page_to_come_back_to_is_kept(house: DeskHouse) -> None:
    browser = house.browser()
    answer = await browser.sign_in("wrong", "/admin/access?after=7")
    assert answer.status_code == 401
    assert "not known, was revoked, or has expired" in answer.text
    assert hidden(answer) == {"next": "/admin/access?after=7"}
    assert COOKIE not in browser.client.cookies


async def test_what_somebody_wrote_survives_that_the_session_is_over(house: DeskHouse) -> None:
    made, browser = await house.made(), house.browser()
    await browser.sign_in(made.secret)
    fields = {
        "form_token": await browser.form_token(),
        "name": "boris",
        "role": "viewer",
        "days": "",
        "text": TEXT,
    }
    house.now += 3600
    page = await browser.send("/admin/access/tokens", fields)
    assert page.status_code == 401
    assert "Nothing is lost" in page.text
    wrong = await browser.send("/admin/sign-in", {**hidden(page), "token": "wrong"})
    again = await browser.send("/admin/sign-in", {**hidden(wrong), "token": made.secret})
    assert again.status_code == 200
    assert 'action="/admin/access/tokens"' in again.text
    kept = hidden(again)
    assert kept.pop("form_token") != fields.pop("form_token")
    assert kept == {**fields, "resumed": "1"}
    done = await browser.send("/admin/access/tokens", hidden(again))
    assert done.status_code == 200
    assert {one.name for one in await house.tokens.list_all()} == {"anna", "boris"}


async def test_a_form_of_the_session_before_is_offered_to_be_sent_again(house: DeskHouse) -> None:
    made, browser = await house.made(), house.browser()
    await browser.sign_in(made.secret)
    fields = {"form_token": await browser.form_token(), "name": "boris", "role": "viewer", "days": ""}
    house.now += 3600
    await browser.sign_in(made.secret)  # in another window
    page = await browser.send("/admin/access/tokens", fields)
    assert page.status_code == 403
    assert len(await house.tokens.list_all()) == 1
    assert (await browser.send("/admin/access/tokens", hidden(page))).status_code == 200


async def test_signing_out_ends_the_session_for_everybody_who_has_its_cookie(house: DeskHouse) -> None:
    browser = await house.signed_in()
    form_token, cookie = await browser.form_token(), browser.client.cookies[COOKIE]
    answer = await browser.send("/admin/sign-out", {"form_token": form_token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/sign-in?out=1")
    assert COOKIE not in browser.client.cookies
    assert "You are signed out" in (await browser.get("/admin/sign-in?out=1")).text
    thief = house.browser()
    thief.client.cookies.set(COOKIE, cookie)
    assert (await thief.get("/admin/access")).status_code == 401
    assert (await browser.send("/admin/sign-out", {"form_token": form_token})).status_code == 303


async def test_nobody_else_signs_somebody_out(house: DeskHouse) -> None:
    browser = await house.signed_in()
    assert (await browser.send("/admin/sign-out", {"form_token": "guessed"})).status_code == 403
    assert (await browser.get("/admin/access")).status_code == 200


async def test_who_signs_in_anew_leaves_no_session_behind(house: DeskHouse) -> None:
    browser, made = house.browser(), await house.made()
    await browser.sign_in(made.secret)
    first = browser.client.cookies[COOKIE]
    page = await browser.get("/admin/sign-in")
    await browser.send("/admin/sign-in", {**hidden(page), "token": made.secret})
    other = house.browser()
    other.client.cookies.set(COOKIE, first)
    assert (await other.get("/admin/access")).status_code == 401
    assert (await browser.get("/admin/access")).status_code == 200


async def test_a_browser_that_keeps_no_cookie_is_told_why_and_uses_nothing_up(house: DeskHouse) -> None:
    link, browser = await house.link(), house.browser("http://desk.example")  # keeps no secure cookies there
    page = await browser.get(link)
    answer = await browser.send("/admin/welcome", hidden(page))
    assert answer.status_code == 400
    assert "did not keep the cookie" in answer.text
    assert "ssh -L" in answer.text
    assert (await house.browser().get(link)).status_code == 200
    answer = await browser.sign_in((await house.made()).secret)
    assert answer.status_code == 401
    assert "did not keep the cookie" in answer.text


async def test_a_link_is_shown_as_often_as_one_likes_and_leads_in_once(house: DeskHouse) -> None:
    link, browser = await house.link(), house.browser()
    for _ in range(3):
        page = await browser.get(link)
        assert page.status_code == 200
    answer = await browser.send("/admin/welcome", hidden(page))
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/access")
    assert "Make yourself a token" in (await browser.get("/admin/access")).text
    other = house.browser()
    for answer in (await other.get(link), await other.send("/admin/welcome", hidden(page))):
        assert answer.status_code == 404
        assert "gateway token create" in answer.text


async def test_a_bearer_token_counts_before_a_session(house: DeskHouse) -> None:
    browser = await house.signed_in()
    viewer = await house.made(Role.VIEWER, "boris")
    answer = await browser.get("/admin/api/whoami", bearer(viewer.secret))
    assert answer.json() == {"name": "boris", "role": "viewer", "has_session": False}
    assert (await browser.get("/admin/api/whoami", {"authorization": "Basic eDp5"})).status_code == 401
    assert (await browser.get("/admin/api/whoami")).json()["has_session"]


async def test_who_comes_by_a_link_of_another_site_may_go_on_where_the_cookie_counts(
    house: DeskHouse,
) -> None:
    page = await house.browser().get("/admin/access", {"sec-fetch-site": "cross-site"})
    assert '<a href="/admin/access">' in page.text


@pytest.mark.parametrize(
    "path", ["/admin/", "/admin/rules?query=a%20b&after=c", "/admin/catalog/tag?name=a/b"]
)
async def test_one_comes_back_to_pages_of_the_desk(path: str) -> None:
    assert own_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *("", "/admin", "//evil.com", "/\\evil.com", "/admin//\\evil.com", "https://evil.com/admin/"),
        *("javascript:alert(1)", "/v2/", "/adminevil", "/admin/\n", "/admin/ü", '/admin/"onload', " /admin/"),
        *("/admin/sign-in", "/admin/sign-out", "/admin/welcome?link=x", "/admin/" + "a" * 2000),
    ],
)
async def test_one_comes_back_to_nothing_else(path: str) -> None:
    assert own_path(path) == "/admin/"
