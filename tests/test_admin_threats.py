"""threats.md: the rows A1 to A11 on the admin's desk as it is assembled, each with its exact inputs."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx
import pytest
import structlog
from sqlalchemy import text

from gateway.access.roles import Role
from gateway.access.throttle import WRONG_TRIES
from gateway.app import create_app
from gateway.logs import configure_logs
from gateway.settings import Settings
from gateway.settings_values import LogFormat, LogLevel, parse_trusted_proxies
from gateway.web.admin.door import COOKIE
from tests.desk_house import ORIGIN, Browser, DeskHouse, bearer, desk_house, hidden, settings_at

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # a whole gateway for each

SECRET: Final = "S3CR3T-xyz-0123456789"
PAGES: Final = ("/", "rules", "catalog", "upstreams", "mirror", "events", "storage", "settings", "access")
XSS: Final = ('"><img src=x onerror=alert(1)>', "<svg/onload=alert(1)>", "javascript:alert(1)")
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)

HELD_BY: Mapping[str, Sequence[tuple[str, str]]] = {
    "A1": [
        ("test_admin_threats.py", "before_anybody_signed_in_nothing_is_shown"),
        ("test_sign_in.py", "the_first_start_tells_a_link_in_the_log_and_in_a_file_for_its_owner"),
        ("test_sign_in.py", "a_link_leads_in_once_as_editor"),
    ],
    "A2": [
        ("test_admin_threats.py", "ten_wrong_tokens_a_minute_and_then_also_the_right_one_waits"),
        ("test_admin_threats.py", "a_million_names_give_no_more_tries"),
        (
            "access/test_throttle.py",
            "where_no_other_client_can_be_remembered_a_new_one_waits_until_one_is_forgotten",
        ),
    ],
    "A3": [("test_admin_threats.py", "a_token_that_was_good_once_is_refused_in_the_very_words_of_any_other")],
    "A4": [("test_admin_threats.py", "what_another_site_sends_in_the_name_of_somebody_changes_nothing")],
    "A5": [
        ("test_admin_threats.py", "text_of_others_stays_text"),
        ("test_admin_threats.py", "every_answer_says_what_a_page_may_do"),
    ],
    "A6": [
        ("test_admin_threats.py", "a_session_that_somebody_else_chose_is_none"),
        ("test_admin_threats.py", "who_is_removed_in_the_middle_of_a_session_is_out_at_once"),
        ("test_sign_in.py", "a_session_lasts_twelve_hours_at_most"),
        ("test_sign_in.py", "a_session_that_nobody_uses_is_over_after_half_an_hour"),
        ("web/admin/test_door.py", "signing_out_ends_the_session_for_everybody_who_has_its_cookie"),
    ],
    "A7": [
        ("test_admin_threats.py", "signing_in_leads_to_no_other_site"),
        ("test_admin_threats.py", "no_other_site_may_read_or_frame_anything"),
    ],
    "A8": [("test_admin_threats.py", "no_answer_and_no_line_of_the_log_has_a_secret")],
    "A9": [("test_admin_threats.py", "who_is_no_proxy_cannot_say_that_it_is_somebody_else")],
    "A10": [("test_admin_threats.py", "what_was_done_with_tokens_is_in_the_audit_and_nothing_takes_it_out")],
    "A11": [
        ("test_admin_threats.py", "the_data_port_knows_nothing_of_the_desk"),
        ("web/test_names.py", "what_no_honest_client_sends_is_refused_and_nothing_happens"),
    ],
}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[DeskHouse]:
    async with desk_house(settings_at(tmp_path, SECRET)) as opened:
        yield opened


async def described(house: DeskHouse) -> list[tuple[str, str]]:
    """Each operation of the API, with its path; parameters of paths have a value."""
    document = (await house.browser().get("/admin/api/openapi.json", bearer(SECRET))).json()
    return [
        (method.upper(), "/admin/api" + re.sub(r"\{[a-z_]+\}", "1", path))
        for path, operations in document["paths"].items()
        for method in operations
    ]


async def everything(house: DeskHouse, browser: Browser, headers: Mapping[str, str]) -> list[httpx.Response]:
    """Ask for every page and every operation, with nothing of what they need but ``headers``."""
    answers = [await browser.get(f"/admin/{page.removeprefix('/')}", headers) for page in PAGES]
    for method, path in await described(house):
        answer = await browser.client.request(
            method, path, headers=headers, json={} if method != "GET" else None
        )
        browser.said.append(f"{answer.headers}\n{answer.text}")
        answers.append(answer)
    return answers


async def test_every_row_has_its_tests() -> None:
    assert list(HELD_BY) == [f"A{number}" for number in range(1, 12)]
    for file, name in (test for tests in HELD_BY.values() for test in tests):
        source = Path(__file__).parent.joinpath(file).read_text()
        assert re.search(rf"^(async )?def test_{name}\(", source, re.MULTILINE), (file, name)


async def test_before_anybody_signed_in_nothing_is_shown(house: DeskHouse) -> None:
    for answer in await everything(house, house.browser(), {}):
        assert answer.status_code in (401, 404), answer.url
    for path in ("/admin/api/openapi.json", "/metrics", "/admin/../metrics", "/admin/api/", "/v2/"):
        assert (await house.browser().get(path)).status_code in (401, 404), path
    for guess in ("admin:admin", "admin", "changeme", "ADMIN_TOKEN", "", "gw_"):
        assert (await house.browser().get("/admin/access", bearer(guess))).status_code == 401


async def test_ten_wrong_tokens_a_minute_and_then_also_the_right_one_waits(house: DeskHouse) -> None:
    browser = house.browser()
    page = await browser.get("/admin/access")
    for number in range(WRONG_TRIES):
        if number % 2:
            answer = await browser.get("/admin/api/whoami", bearer("wrong"))
        else:
            answer = await browser.send("/admin/sign-in", {**hidden(page), "token": "wrong"})
        assert answer.status_code == 401
    by_header = await browser.get("/admin/api/whoami", bearer(SECRET))
    by_form = await browser.send("/admin/sign-in", {**hidden(page), "token": SECRET})
    by_link = await browser.get("/admin/welcome?link=guessed")
    for answer in (by_header, by_form):
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert by_link.status_code == 429
    house.now += 60
    assert (await browser.get("/admin/api/whoami", bearer(SECRET))).status_code == 200


async def test_who_is_signed_in_does_not_wait_for_what_others_behind_the_address_try(
    house: DeskHouse,
) -> None:
    browser = await house.signed_in()
    for _ in range(WRONG_TRIES + 1):
        answer = await house.browser().get("/admin/api/whoami", bearer("wrong"))
    assert answer.status_code == 429
    assert (await browser.get("/admin/access")).status_code == 200


async def test_a_million_names_give_no_more_tries(house: DeskHouse) -> None:
    """There are no names: whatever comes beside a wrong token, it is one more wrong token."""
    browser = house.browser()
    page = await browser.get("/admin/sign-in")
    for number in range(WRONG_TRIES):
        fields = {**hidden(page), "token": "wrong", "username": f"user-{number}", "user": str(number)}
        await browser.send(f"/admin/sign-in?user={number}", fields)
    answer = await browser.send("/admin/sign-in", {**hidden(page), "token": SECRET, "username": "admin"})
    assert answer.status_code == 429


async def test_a_token_that_was_good_once_is_refused_in_the_very_words_of_any_other(house: DeskHouse) -> None:
    revoked, expired = await house.made(name="revoked"), await house.made(name="expired")
    await house.tokens.revoke(revoked.token.id, "root")
    await house.tokens.make("short", Role.EDITOR, "root", expires_in_seconds=1)
    house.now += 2
    answers = [
        await house.browser().get("/admin/api/whoami", bearer(secret))
        for secret in (revoked.secret, expired.secret[:-1], "gw_" + "x" * 43, SECRET[:-1], SECRET + "x")
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}


async def test_what_another_site_sends_in_the_name_of_somebody_changes_nothing(house: DeskHouse) -> None:
    browser = await house.signed_in()
    fields = {"form_token": await browser.form_token(), "name": "evil", "role": "editor", "days": ""}
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "null", "host": ""},
        {"origin": "https://["},
        {"origin": f"{ORIGIN}.evil.example"},
        {"origin": ORIGIN, "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {},
    ):
        for path in ("/admin/access/tokens", "/admin/sign-in", "/admin/sign-out", "/admin/welcome"):
            assert (await browser.send(path, fields, headers)).status_code == 403, (path, headers)
    for token in ("", "guessed", "ü"):
        assert (
            await browser.send("/admin/access/tokens", {**fields, "form_token": token})
        ).status_code == 403
    own = {"origin": ORIGIN, "x-form-token": fields["form_token"]}
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        typed = {**own, "content-type": media_type}
        answer = await browser.client.post("/admin/api/tokens", content=b'{"name": "evil"}', headers=typed)
        assert answer.status_code == 415
    answer = await browser.client.post("/admin/api/tokens", json={"name": "evil"}, headers={"origin": ORIGIN})
    assert answer.status_code == 403
    assert {one.name for one in await house.tokens.list_all()} == {"anna"}


async def test_the_cookie_goes_to_nobody_else(house: DeskHouse) -> None:
    browser, made = house.browser(), await house.made()
    answer = await browser.sign_in(made.secret)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-session=")
    assert {"Secure", "HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


async def test_text_of_others_stays_text(house: DeskHouse) -> None:
    browser = await house.signed_in()
    for number, text_of_others in enumerate(XSS):
        await house.made(name=f"{number} {text_of_others}")
        browser.said.clear()
        await browser.get("/admin/access")
        await browser.get("/admin/access?revoked=" + text_of_others)
        page = await house.browser().send(
            "/admin/access/tokens", {"name": text_of_others, text_of_others: "x"}
        )
        for said in (*browser.said, page.text):
            assert "<img src=x" not in said
            assert "<svg/onload" not in said
            assert 'href="javascript:' not in said


async def test_every_answer_says_what_a_page_may_do(house: DeskHouse) -> None:
    browser = await house.signed_in()
    answers = await everything(house, browser, {})
    answers += await everything(house, house.browser(), bearer(SECRET))
    answers += [
        await browser.get(path) for path in ("/", "/nothing", "/admin/static/desk.css", "/admin/%2e%2e/x")
    ]
    for answer in answers:
        assert answer.headers["content-security-policy"].startswith(POLICY), answer.url
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        if answer.headers.get("content-type", "").startswith("text/html"):
            assert not re.search(r"<script(?![^>]* src=)|<style|\son[a-z]+=|\sstyle=", answer.text), (
                answer.url
            )


async def test_a_session_that_somebody_else_chose_is_none(house: DeskHouse) -> None:
    browser, made = house.browser(), await house.made()
    browser.client.cookies.set(COOKIE, "chosen")
    assert (await browser.get("/admin/access")).status_code == 401
    await browser.sign_in(made.secret)
    attacker = house.browser()
    attacker.client.cookies.set(COOKIE, "chosen")
    assert (await attacker.get("/admin/access")).status_code == 401


async def test_who_is_removed_in_the_middle_of_a_session_is_out_at_once(house: DeskHouse) -> None:
    browser, made = house.browser(), await house.made()
    await browser.sign_in(made.secret)
    fields = {"form_token": await browser.form_token(), "name": "x", "role": "editor", "days": ""}
    await house.tokens.revoke(made.token.id, "root")
    assert (await browser.get("/admin/api/whoami")).status_code == 401
    assert (await browser.send("/admin/access/tokens", fields)).status_code == 401
    assert await house.tokens.list_all() == []


async def test_signing_in_leads_to_no_other_site(house: DeskHouse) -> None:
    browser, made = house.browser(), await house.made()
    for target in (
        "//evil.com",
        "/\\evil.com",
        "https://evil.com",
        "javascript:alert(1)",
        "/admin//../\\evil",
    ):
        page = await browser.get("/admin/sign-in?next=" + target)
        assert hidden(page)["next"] == "/admin/"
        answer = await browser.send("/admin/sign-in", {"next": target, "token": made.secret})
        assert answer.headers["location"] == "/admin/"


async def test_no_other_site_may_read_or_frame_anything(house: DeskHouse) -> None:
    browser = await house.signed_in()
    for origin in ("null", "https://evil.example", ORIGIN):
        for answer in await everything(house, browser, {"origin": origin}):
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert answer.headers["x-frame-options"] == "DENY"
    asked = {"origin": "https://evil.example", "access-control-request-method": "DELETE"}
    answer = await browser.client.options("/admin/api/tokens/1", headers=asked)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_no_answer_and_no_line_of_the_log_has_a_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.reset_defaults()
    configure_logs(LogLevel.DEBUG, LogFormat.JSON)
    async with desk_house(settings_at(tmp_path, SECRET)) as house:
        browser, made = await house.signed_in(), await house.made(name="ci")
        form_token, cookie = await browser.form_token(), browser.client.cookies[COOKIE]
        program = house.browser()
        await everything(house, browser, {})
        await everything(house, program, bearer(SECRET))
        await program.get("/admin/api/whoami", bearer(made.secret[:-1]))
        await program.get(f"/admin/access?token={made.secret}&link={SECRET}", bearer(made.secret))
        await program.send("/admin/sign-in", {"token": SECRET})
        with house.gateway.desk.engines.writing() as connection:
            connection.execute(text("DROP TABLE admin_tokens"))
        broken = [
            await program.get("/admin/api/whoami", bearer(made.secret)),
            await program.sign_in(made.secret),
            await browser.get("/admin/access"),
        ]
        assert [answer.status_code for answer in broken] == [503, 503, 503]
        said = "\n".join(one for each in house.browsers for one in each.said)
    captured = capsys.readouterr()
    lines = (captured.out + captured.err).splitlines()
    logged = "\n".join(line for line in lines if "HTTP Request: " not in line)  # the client's own words
    assert "storage_failed" in logged
    for secret in (SECRET, made.secret, made.secret[:-1], cookie):
        assert secret not in logged
    for secret in (SECRET, made.secret):
        assert secret not in said
    assert form_token not in logged


@pytest.mark.parametrize(
    ("proxies", "is_believed"), [("none", False), ("192.0.2.1", True), ("10.0.0.0/8", False)]
)
async def test_who_is_no_proxy_cannot_say_that_it_is_somebody_else(
    tmp_path: Path, proxies: str, *, is_believed: bool
) -> None:
    settings = Settings(
        data_dir=tmp_path,
        rules=tmp_path / "rules.yaml",
        admin_token=SECRET,
        trusted_proxies=parse_trusted_proxies(proxies),
    )
    async with desk_house(settings) as house:
        browser = house.browser()
        for number in range(WRONG_TRIES):
            await browser.get("/admin/api/whoami", {**bearer("x"), "x-forwarded-for": f"198.51.100.{number}"})
        headers = {**bearer(SECRET), "x-forwarded-for": "198.51.100.99", "x-forwarded-user": "admin"}
        assert (await browser.get("/admin/api/whoami", headers)).status_code == (200 if is_believed else 429)
        named = {"x-forwarded-user": "admin", "x-remote-user": "admin", "x-forwarded-for": "127.0.0.1"}
        assert (await browser.get("/admin/access", named)).status_code == 401


async def test_what_was_done_with_tokens_is_in_the_audit_and_nothing_takes_it_out(house: DeskHouse) -> None:
    browser = await house.signed_in()
    fields = {"form_token": await browser.form_token(), "name": "ci", "role": "viewer", "days": "30"}
    await browser.send("/admin/access/tokens", fields)
    (made,) = [one for one in await house.tokens.list_all() if one.name == "ci"]
    await browser.send("/admin/access/revoke", {**fields, "id": made.id})
    await browser.send("/admin/sign-out", fields)
    entries = (await browser.get("/admin/api/audit", bearer(SECRET))).json()["entries"]
    assert [(one["actor"], one["action"]) for one in entries] == [
        ("anna", "sign-out"),
        ("anna", "token.revoke"),
        ("anna", "token.create"),
        ("anna", "sign-in"),
        ("root", "token.create"),
    ]
    assert entries[1]["subject"] == entries[2]["subject"] == f"ci ({made.id})"
    for method in ("DELETE", "PUT", "PATCH", "POST"):
        answer = await browser.client.request(method, "/admin/api/audit", headers=bearer(SECRET), json={})
        assert answer.status_code == 405


async def test_the_data_port_knows_nothing_of_the_desk(house: DeskHouse) -> None:
    transport = httpx.ASGITransport(create_app(house.gateway))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
        for page in (
            "",
            "/",
            *(f"/{page}" for page in PAGES),
            "/sign-in",
            "/welcome?link=x",
            "/static/desk.css",
        ):
            answer = await client.get(f"/admin{page}", headers=bearer(SECRET))
            assert answer.status_code in (400, 404), page
        for _method, path in await described(house):
            assert (await client.get(path, headers=bearer(SECRET))).status_code in (400, 404)
        for path in ("/metrics", "/v2/..%2fadmin/", "/v2/%2e%2e/admin/api/tokens", "/%61dmin/", "//admin/"):
            assert (await client.get(path, headers=bearer(SECRET))).status_code in (400, 404)
