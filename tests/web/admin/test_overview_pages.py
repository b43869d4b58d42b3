"""Overview, upstreams, events, storage and settings: what is shown, to whom, and that text stays text."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import httpx
import pytest

from gateway.access.roles import Role
from gateway.activity_seen import SettingShown, SettingSource, Span, UpstreamHealth
from gateway.event_tap import Severity
from gateway.oci.target import Target
from gateway.sources.upstream_check import CheckedUpstream, CheckResult
from gateway.store.admin_rows import Token, TokenKind
from gateway.store.conditions import Trouble
from gateway.store.pins import Pin
from gateway.web.admin.catalog_commands import Front
from gateway.web.admin.events_pages import EventPages
from gateway.web.admin.overview_pages import Overview
from gateway.web.admin.pages import Drawer, Page
from gateway.web.admin.settings_pages import SettingsPage
from gateway.web.admin.storage_pages import StoragePages
from gateway.web.admin.upstreams_pages import UpstreamPages
from tests.web.admin.seen import DRIFT, NOW, PULL, STORAGE, UPSTREAM, GivenActivity
from tests.web.admin_house import EDITOR, FORM_TOKEN, VIEWER, as_browser, open_desk

MARKUP = "<svg/onload=alert(1)>"
AS_TEXT = "&lt;svg/onload=alert(1)&gt;"
BROWSER = as_browser(Role.EDITOR)
FORM = {"form_token": FORM_TOKEN}
DRAWER = Drawer("test", lambda: NOW)  # one for all: it reads a template once
FRONT = Front("charts.example:9000", is_plain=True)
PIN = Pin(Target.parse("charts.example/argo-cd"), "7.7.5", "argo/argo-cd", NOW - 60)

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@dataclass(slots=True)
class House:
    """The pages over what a test gives; ``done`` is what was asked to be done."""

    activity: GivenActivity = field(default_factory=GivenActivity)
    rules_trouble: str | None = None
    front: Front = FRONT
    tokens: Sequence[Token] = ()
    has_admin_token: bool = True
    pins: Sequence[Pin] = ()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[httpx.AsyncClient]:
        async with open_desk(pages=self._pages(), drawer=DRAWER) as client:
            yield client

    async def text(self, path: str, who: dict[str, str] = EDITOR) -> str:
        async with self.opened() as client:
            answer = await client.get(path, headers=who)
        assert answer.status_code == 200
        return answer.text

    def _pages(self) -> list[Page]:
        overview = Overview(
            self.activity,
            lambda: self.rules_trouble,
            self.front,
            self._tokens,
            self.has_admin_token,
            lambda: NOW,
            DRAWER,
        )
        settings = SettingsPage([SettingShown("RULES", MARKUP, SettingSource.GIVEN, "file of rules")], DRAWER)
        upstreams = UpstreamPages(self.activity, lambda: NOW, DRAWER)
        storage = StoragePages(self.activity, self._pins, DRAWER)
        parts = (overview, upstreams, EventPages(self.activity, DRAWER), storage, settings)
        return [page for part in parts for page in part.pages()]

    async def _tokens(self) -> Sequence[Token]:
        return self.tokens

    async def _pins(self) -> Sequence[Pin]:
        return self.pins


def token(role: Role, expires_at: float | None = None) -> Token:
    return Token("1", "one", role.value, TokenKind.TOKEN, NOW, "somebody", expires_at)


async def test_a_fresh_gateway_shows_three_ways_to_pull() -> None:
    activity = GivenActivity(pulls=(), upstreams=(), storage=replace(STORAGE, tags=0))
    shown = await House(activity).text("/admin/")
    assert shown.count("helm pull oci://charts.example:9000/") == 3
    assert shown.count(" --plain-http</pre>") == 3
    assert '<h2 id="served">' not in shown


async def test_behind_tls_nobody_is_told_to_pull_in_the_plain() -> None:
    activity = GivenActivity(pulls=(), storage=replace(STORAGE, tags=0))
    shown = await House(activity, front=Front("charts.example", is_plain=False)).text("/admin/")
    assert "oci://charts.example/" in shown
    assert "--plain-http" not in shown


async def test_the_overview_draws_what_was_served_and_says_it_in_a_table() -> None:
    shown = await House().text("/admin/")
    assert "<title>Mon 23 Nov, 12:00: 7 hit, 1 miss</title>" in shown
    assert '<td class="num" data-label="hit">7</td>' in shown
    assert "87.5" in shown


async def test_the_overview_draws_the_span_that_is_asked_for_and_a_day_for_one_that_is_none() -> None:
    house = House()
    for query in ("?span=week", "?span=year", ""):
        await house.text(f"/admin/{query}")
    assert house.activity.spans == [Span.WEEK, Span.DAY, Span.DAY]


async def test_pulls_lead_to_their_page_in_the_catalog() -> None:
    shown = await House(GivenActivity(pulls=[replace(PULL, name=MARKUP)])).text("/admin/")
    assert "/admin/catalog/tag?name=%3Csvg%2Fonload%3Dalert%281%29%3E&amp;reference=7.7.5" in shown
    assert MARKUP not in shown
    assert AS_TEXT in shown


async def test_what_wants_attention_is_text() -> None:
    activity = GivenActivity(
        events=[replace(DRIFT, subject=MARKUP)],
        upstreams=[replace(UPSTREAM, state=UpstreamHealth.FAILING, last_error=MARKUP, last_error_at=NOW)],
    )
    shown = await House(activity, rules_trouble=f"line 3: {MARKUP}").text("/admin/")
    assert shown.count(AS_TEXT) == 3
    assert MARKUP not in shown


@pytest.mark.parametrize(
    ("tokens", "is_told"),
    [
        ([], True),
        ([token(Role.VIEWER)], True),
        ([token(Role.EDITOR, NOW)], True),
        ([replace(token(Role.EDITOR), kind=TokenKind.LINK)], True),
        ([token(Role.EDITOR, NOW + 60)], False),
    ],
)
async def test_without_a_token_of_an_editor_the_overview_says_so(
    tokens: Sequence[Token], *, is_told: bool
) -> None:
    shown = await House(tokens=tokens, has_admin_token=False).text("/admin/")
    assert ("Make a token" in shown) is is_told


async def test_an_upstreams_error_is_text() -> None:
    failing = replace(
        UPSTREAM, state=UpstreamHealth.PAUSED, paused_seconds=12, last_error=MARKUP, last_error_at=NOW
    )
    shown = await House(GivenActivity(upstreams=[failing])).text("/admin/upstreams")
    assert AS_TEXT in shown
    assert MARKUP not in shown
    assert "for 12 s more" in shown


async def test_upstreams_are_found_by_host_and_state() -> None:
    paused = replace(
        UPSTREAM, origin="https://paused.example", host="paused.example", state=UpstreamHealth.PAUSED
    )
    house = House(GivenActivity(upstreams=[paused, UPSTREAM]))
    assert "https://charts.example" not in await house.text("/admin/upstreams?query=PAUSED")
    assert "https://paused.example" not in await house.text("/admin/upstreams?state=ok")
    assert "No upstream is like that" in await house.text("/admin/upstreams?query=nobody")


async def test_an_upstream_is_tested_and_the_page_says_what_came_of_it() -> None:
    house = House()
    house.activity.check = CheckedUpstream(CheckResult.UNREACHABLE, 34)
    async with house.opened() as client:
        sent = await client.post(
            "/admin/upstreams/test",
            data={**FORM, "place": "charts.example", "state": "ok"},
            headers=BROWSER,
        )
        assert sent.headers["location"] == "/admin/upstreams?tested=charts.example&state=ok"
        shown = (await client.get(sent.headers["location"], headers=VIEWER)).text
    assert house.activity.tested == ["charts.example"]
    assert "no connection came about (unreachable, 34 ms)" in shown


@pytest.mark.parametrize("result", CheckResult)
async def test_each_result_of_a_test_is_told_in_words(result: CheckResult) -> None:
    house = House()
    house.activity.check = CheckedUpstream(result, 34)
    async with house.opened() as client:
        sent = await client.post("/admin/upstreams/test", data={**FORM, "place": "here"}, headers=BROWSER)
        shown = await client.get(sent.headers["location"], headers=VIEWER)
    assert f"({result.value.replace('_', ' ')}, 34 ms)" in shown.text


async def test_of_a_host_that_the_rules_know_more_than_once_each_place_can_be_tested() -> None:
    keys = ("charts.example/one", "charts.example/two")
    shown = await House(GivenActivity(upstreams=[replace(UPSTREAM, keys=keys)])).text("/admin/upstreams")
    assert all(f"<option>{key}</option>" in shown for key in keys)


async def test_a_link_cannot_make_up_the_result_of_a_test() -> None:
    assert "nobody.example" not in await House().text("/admin/upstreams?tested=nobody.example")


async def test_a_viewer_tests_nothing() -> None:
    house = House()
    async with house.opened() as client:
        data = {**FORM, "place": "charts.example"}
        answer = await client.post("/admin/upstreams/test", data=data, headers=as_browser(Role.VIEWER))
        assert answer.status_code == 403
    assert not house.activity.tested


@pytest.mark.parametrize("path", ["/admin/", "/admin/upstreams", "/admin/storage", "/admin/settings"])
async def test_a_viewer_has_no_buttons_that_change_anything(path: str) -> None:
    shown = await House(pins=[PIN]).text(path, VIEWER)
    assert shown.count('method="post"') == 1  # signing out


async def test_events_are_text_and_filtered() -> None:
    info = replace(DRIFT, number=8, kind="rules_in_force", severity=Severity.INFO, subject="revision 12")
    house = House(GivenActivity(events=[replace(DRIFT, detail=MARKUP), info]))
    shown = await house.text("/admin/events")
    assert AS_TEXT in shown
    assert MARKUP not in shown
    assert "revision 12" not in await house.text("/admin/events?severity=warning")
    assert "revision 12" not in await house.text("/admin/events?kind=drift")
    assert "Nothing like that happened" in await house.text("/admin/events?kind=drift&severity=info")


async def test_events_go_on_where_a_page_ends() -> None:
    house = House(GivenActivity(events=[replace(DRIFT, number=number) for number in range(120, 0, -1)]))
    assert "/admin/events?kind=drift&amp;before=71" in await house.text("/admin/events?kind=drift")
    last = await house.text("/admin/events?before=21")
    assert 'rel="next"' not in last
    assert last.count("<tr>") == 21


@pytest.mark.parametrize("before", ["", "x", "-1", "1" * 40, "\N{SUPERSCRIPT TWO}"])
async def test_events_begin_anew_where_a_link_is_garbled(before: str) -> None:
    house = House(GivenActivity(events=[DRIFT]))
    assert DRIFT.subject in await house.text(f"/admin/events?before={before}")


async def test_where_nothing_happened_the_page_says_what_would_be_told() -> None:
    assert "Content that changed upstream" in await House().text("/admin/events")


async def test_the_storage_is_shown_against_its_quota_with_its_troubles_and_pins() -> None:
    troubles = {"over_quota": Trouble("more is held than MAX_CACHE_SIZE", NOW - 120)}
    storage = replace(STORAGE, quota_bytes=5 << 20, troubles=troubles)
    shown = await House(GivenActivity(storage=storage), pins=[PIN]).text("/admin/storage")
    assert "4.0 MiB of 5.0 MiB that MAX_CACHE_SIZE allows" in shown
    assert "more is held than MAX_CACHE_SIZE" in shown
    assert "argo/argo-cd:7.7.5" in shown


async def test_settings_are_shown_as_text() -> None:
    shown = await House().text("/admin/settings", VIEWER)
    assert AS_TEXT in shown
    assert MARKUP not in shown
