"""Who am I, tokens and the audit: by the API, and by their page."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.access.roles import Role
from gateway.audit import AuditDesk
from gateway.store.admin_book import AdminBook
from tests.desk_house import Browser, DeskHouse, bearer, desk_house, hidden, settings_at

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # a whole gateway for each


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[DeskHouse]:
    async with desk_house(settings_at(tmp_path)) as opened:
        yield opened


async def program(house: DeskHouse, role: Role = Role.EDITOR) -> Browser:
    browser = house.browser()
    browser.client.headers.update(bearer((await house.made(role)).secret))
    return browser


async def noted(house: DeskHouse, count: int) -> None:
    audit = AuditDesk(AdminBook(house.gateway.desk.engines), lambda: house.now)
    for number in range(count):
        await audit.note("boris", "rules.save", f"revision {number}", "+ a line\n" * 100)


async def test_a_token_made_by_the_api_signs_in_and_is_not_told_again(house: DeskHouse) -> None:
    api = await program(house)
    wanted = {"name": "ci", "role": "viewer", "expires_in_days": 1}
    answer = await api.client.post("/admin/api/tokens", json=wanted)
    assert answer.status_code == 201
    secret, token = answer.json()["secret"], answer.json()["token"]
    assert (token["name"], token["role"], token["made_by"]) == ("ci", "viewer", "anna")
    assert token["expires_at"] == "2026-11-24T02:13:20Z"
    listed = await api.get("/admin/api/tokens", bearer(secret))
    assert {one["name"] for one in listed.json()["tokens"]} == {"anna", "ci"}
    assert secret not in listed.text
    house.now += 86400
    assert (await api.get("/admin/api/tokens", bearer(secret))).status_code == 401


async def test_a_token_revoked_by_the_api_is_good_for_nothing(house: DeskHouse) -> None:
    api, made = await program(house), await house.made(name="ci")
    path = f"/admin/api/tokens/{made.token.id}"
    assert [(await api.client.delete(path)).status_code for _ in range(2)] == [204, 404]
    assert (await api.get("/admin/api/whoami", bearer(made.secret))).status_code == 401


async def test_a_viewer_sees_tokens_and_audit_and_changes_neither(house: DeskHouse) -> None:
    api = await program(house, Role.VIEWER)
    assert (await api.get("/admin/api/tokens")).status_code == 200
    assert (await api.get("/admin/api/audit")).status_code == 200
    assert (await api.client.post("/admin/api/tokens", json={})).status_code == 403
    assert (await api.client.delete("/admin/api/tokens/x")).status_code == 403
    browser = house.browser()
    await browser.sign_in((await house.made(Role.VIEWER, "boris")).secret)
    page = await browser.get("/admin/access")
    assert "Make the token" not in page.text
    fields = {**hidden(page), "name": "x", "role": "editor", "days": ""}
    assert (await browser.send("/admin/access/tokens", fields)).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "anna"}, 409),
        ({"name": "ADMIN_TOKEN"}, 409),
        ({"name": "a" * 101}, 400),
        ({"role": "owner"}, 400),
        ({"expires_in_days": 0}, 400),
        ({"secret": "mine"}, 400),
    ],
)
async def test_what_cannot_be_a_token_is_refused(
    house: DeskHouse, body: dict[str, str | int], status: int
) -> None:
    api = await program(house)
    assert (await api.client.post("/admin/api/tokens", json=body)).status_code == status


async def test_the_audit_has_pages(house: DeskHouse) -> None:
    api = await program(house)
    await noted(house, 5)
    page = (await api.get("/admin/api/audit?limit=2")).json()
    subjects = [one["subject"] for one in page["entries"]]
    while page["next"] is not None:
        page = (await api.get(f"/admin/api/audit?limit=2&after={page['next']}")).json()
        subjects += [one["subject"] for one in page["entries"]]
    assert subjects[:5] == [f"revision {number}" for number in reversed(range(5))]
    assert len(subjects) == 6
    for wrong in ("after=x", "after=%C2%B2", "after=-1", "limit=0", "limit=201"):
        assert (await api.get(f"/admin/api/audit?{wrong}")).status_code == 400


async def test_the_page_makes_a_token_and_shows_its_secret_once(house: DeskHouse) -> None:
    browser = await house.signed_in()
    fields = {
        **hidden(await browser.get("/admin/access")),
        "name": "<b>ci</b>",
        "role": "viewer",
        "days": "30",
    }
    page = await browser.send("/admin/access/tokens", fields)
    secret = page.text.partition('id="secret">')[2].partition("<")[0]
    assert (await house.browser().get("/admin/api/whoami", bearer(secret))).json()["name"] == "<b>ci</b>"
    assert "<b>ci" not in page.text
    assert page.headers["cache-control"] == "no-store"
    assert secret not in (await browser.get("/admin/access")).text
    again = await browser.send("/admin/access/tokens", fields)
    assert again.status_code == 409
    assert "already" in again.text


async def test_the_page_revokes_a_token(house: DeskHouse) -> None:
    browser, made = await house.signed_in(), await house.made(name="ci")
    fields = {"form_token": await browser.form_token(), "id": made.token.id}
    answer = await browser.send("/admin/access/revoke", fields)
    assert answer.status_code == 303
    assert "ci is revoked" in (await browser.get(answer.headers["location"])).text
    assert [one.name for one in await house.tokens.list_all()] == ["anna"]


async def test_the_page_shows_the_audit_and_stays_small(house: DeskHouse) -> None:
    browser = await house.signed_in()
    for number in range(20):
        await house.made(name=f"token {number} " + "x" * 80)
    await noted(house, 70)
    page = await browser.get("/admin/access")
    assert len(page.content) < 100_000
    assert "revision 69" in page.text
    assert "revision 19" not in page.text
    older = page.text.partition('<a href="/admin/access?after=')[2].partition('"')[0]
    assert "revision 19" in (await browser.get(f"/admin/access?after={older}")).text
