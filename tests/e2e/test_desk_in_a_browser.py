"""The admin desk, used as people use it, in a real Chromium."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from gateway.oci.postgres_url import PostgresUrl
from tests.e2e.client_commands import Client
from tests.e2e.desk_site import (
    ADMIN_TOKEN,
    ARGO,
    DARK,
    LOOKS,
    PAGES,
    PHONE,
    PROMETHEUS,
    DeskSite,
    Look,
    chromium,
    complaints,
    desk_site,
    fill,
    open_context,
    sign_in,
)
from tests.e2e.gateway_process import Site
from tests.e2e.postgres_site import PostgresSite
from tests.postgres import Cluster

pytestmark = pytest.mark.e2e

_MAX_PAGE_BYTES = 100_000


@pytest.fixture(scope="module")
def launched() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeskSite]:
    """One gateway for all that changes no rules."""
    with desk_site(Site(tmp_path_factory.mktemp("site"))) as one:
        fill(one)
        one.wait_until_counted()
        yield one


@pytest.fixture
def own_desk(tmp_path: Path) -> Iterator[DeskSite]:
    folder = tmp_path / "own"
    folder.mkdir()
    with desk_site(Site(folder)) as one:
        yield one


@pytest.fixture
def page(launched: Browser, desk: DeskSite) -> Iterator[Page]:
    """Of somebody who is not signed in."""
    context = open_context(launched, desk.url)
    yield context.new_page()
    context.close()


def test_somebody_signs_in_and_out(page: Page) -> None:
    sign_in(page)
    page.get_by_role("button", name="Sign out").click()
    page.goto("/admin/access")
    expect(page.get_by_label("Token")).to_be_visible()


def test_a_short_ref_is_added_tried_saved_pulled_and_undone(
    launched: Browser, own_desk: DeskSite, newest_helm: Client, tmp_path: Path
) -> None:
    context = open_context(launched, own_desk.url)
    page = context.new_page()
    sign_in(page, path="/admin/rules")
    told = complaints(page)
    page.get_by_role("link", name="Add a rule").click()
    page.get_by_label("Name", exact=True).fill("metrics for everybody")
    page.get_by_label("Repository", exact=True).fill("metrics/*")
    page.get_by_label("Leads to").fill(f"{PROMETHEUS}/$1")
    page.get_by_label("References to try, one a line").fill("metrics/prometheus:25.8.0")
    expect(page.locator("#checked")).to_contain_text(f"{PROMETHEUS}/prometheus")  # while one types
    page.get_by_role("button", name="Review and save").click()
    expect(page.get_by_text("Nothing is saved yet")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("link", name="metrics for everybody")).to_be_visible()

    place = f"oci://{own_desk.server.address}/metrics"
    pull = ("pull", f"{place}/prometheus", "--version", "25.8.0", "--plain-http", "-d", str(tmp_path))
    own_desk.wait_until_in_force(2)
    newest_helm.ok(*pull)

    page.goto("/admin/rules/history")
    page.get_by_role("row").filter(has_text="rules.yaml").get_by_role("link", name="Roll back").click()
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("link", name="metrics for everybody")).to_have_count(0)
    own_desk.wait_until_in_force(3)
    assert newest_helm.run(*pull).code != 0
    assert told == []
    context.close()


def test_the_same_is_done_by_keyboard_alone(launched: Browser, own_desk: DeskSite) -> None:
    context = open_context(launched, own_desk.url)
    page = context.new_page()
    page.goto("/admin/")
    page.keyboard.type(ADMIN_TOKEN)  # the field has the focus
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").wait_for()
    _tab_to(page, "Rules")
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/rules")
    _tab_to(page, "Add a rule")
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/rules/new")
    for label, text in (("name", "by keyboard"), ("repository", "keys/*"), ("rewrite", f"{ARGO}/$1")):
        _tab_to_field(page, label)
        page.keyboard.type(text)
    _tab_to(page, "Review and save")
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/rules/review")
    _tab_to(page, "Save")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="by keyboard")).to_be_visible()
    assert own_desk.api("GET", "/explain?reference=keys/argo-cd").json()["rule"] == 4
    context.close()


def test_without_script_a_rule_is_changed_and_moved_all_the_same(
    launched: Browser, own_desk: DeskSite
) -> None:
    context = open_context(launched, own_desk.url, has_script=False)
    page = context.new_page()
    sign_in(page, path="/admin/rules/edit?number=2")
    page.get_by_label("Repository", exact=True).fill("monitoring/*")
    page.get_by_label("References to try, one a line").fill("monitoring/prometheus")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text(f"{PROMETHEUS}/prometheus").first).to_be_visible()
    page.get_by_role("button", name="Review and save").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("monitoring/*", exact=True)).to_be_visible()
    row = page.get_by_role("row").filter(has_text="monitoring/*")
    row.get_by_role("link", name=re.compile("up", re.IGNORECASE)).click()
    page.get_by_role("button", name="Save", exact=True).click()
    text = own_desk.api("GET", "/rules").json()["content"]
    assert text.index("monitoring/*") < text.index("argo/*")
    assert "# the names that our teams use" in text
    context.close()


def test_of_two_editors_neither_loses_anything(launched: Browser, own_desk: DeskSite) -> None:
    context = open_context(launched, own_desk.url)
    mine, theirs = context.new_page(), context.new_page()
    sign_in(mine, path="/admin/rules/yaml")
    theirs.goto("/admin/rules/edit?number=3")
    theirs.get_by_label("Or say no, with this message").fill("that place is closed")
    content = mine.locator("#content").input_value()
    mine.locator("#content").fill(content.replace("short refs for Argo", "Argo, for all"))
    theirs.get_by_role("button", name="Review and save").click()
    theirs.get_by_role("button", name="Save", exact=True).click()
    expect(theirs.get_by_role("link", name="nothing from the old place")).to_be_visible()
    mine.get_by_role("button", name="Review and save").click()
    if mine.get_by_role("button", name="Save", exact=True).count():
        mine.get_by_role("button", name="Save", exact=True).click()
    expect(mine.get_by_role("heading", name="Somebody else saved meanwhile")).to_be_visible()
    merged = mine.locator("#content").input_value()
    assert "Argo, for all" in merged
    assert "that place is closed" in merged
    mine.get_by_role("button", name="Review and save").click()
    mine.get_by_role("button", name="Save", exact=True).click()
    expect(mine.get_by_role("link", name="Argo, for all")).to_be_visible()
    saved = own_desk.api("GET", "/rules").json()["content"]
    assert "Argo, for all" in saved
    assert "that place is closed" in saved
    context.close()


def test_what_was_written_survives_a_session_that_ended(launched: Browser, own_desk: DeskSite) -> None:
    context = open_context(launched, own_desk.url)
    page = context.new_page()
    sign_in(page, path="/admin/rules/new")
    page.get_by_label("Name", exact=True).fill("written for an hour")
    page.get_by_label("Repository", exact=True).fill("hour/*")
    page.get_by_label("Leads to").fill(f"{ARGO}/$1")
    context.clear_cookies()
    page.get_by_role("button", name="Review and save").click()
    page.get_by_label("Token").fill(ADMIN_TOKEN)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("link", name="written for an hour")).to_be_visible()
    context.close()


def test_a_rule_with_a_script_in_its_name_is_text(launched: Browser, own_desk: DeskSite) -> None:
    context = open_context(launched, own_desk.url)
    page = context.new_page()
    sign_in(page, path="/admin/rules/new")
    told = complaints(page)
    name = '"><img src=x onerror=alert(1)><script>window.hurt=true</script>'
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Repository", exact=True).fill("hurt/*")
    page.get_by_label("Leads to").fill(f"{ARGO}/$1")
    page.get_by_role("button", name="Review and save").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("link", name=name)).to_be_visible()
    for path in ("/admin/rules", "/admin/rules/history", "/admin/rules?try=hurt/argo-cd"):
        page.goto(path)
        assert page.evaluate("window.hurt") is None
    assert told == []
    context.close()


def test_a_chart_is_found_read_pinned_and_purged(launched: Browser, own_desk: DeskSite) -> None:
    fill(own_desk)
    context = open_context(launched, own_desk.url)
    page = context.new_page()
    sign_in(page, path="/admin/catalog")
    told = complaints(page)
    page.get_by_role("searchbox").fill("workf")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="argo/argo-workflows").click()
    page.get_by_role("link", name="0.41.1").first.click()
    host = own_desk.server.url.removeprefix("http://")
    expect(page.get_by_text(f"helm pull oci://{host}/argo/argo-workflows").first).to_be_visible()
    page.get_by_role("link", name="README").click()
    expect(page.get_by_role("heading", name="Argo CD")).to_be_visible()
    assert page.evaluate("window.hurt") is None
    assert page.locator("main script, main img, main [href^=javascript]").count() == 0
    page.get_by_role("link", name="Overview").last.click()
    page.get_by_role("button", name="Pin", exact=True).click()
    expect(page.get_by_role("button", name="Unpin")).to_be_visible()
    page.get_by_role("button", name="Unpin").click()
    expect(page.get_by_role("button", name="Pin", exact=True)).to_be_visible()
    page.get_by_role("button", name="Purge").click()
    expect(page.get_by_text("argo/argo-workflows").first).to_be_visible()
    page.get_by_role("main").get_by_role("button", name="Forget it").click()
    expect(page.get_by_role("status")).to_be_visible()
    held = own_desk.api("GET", "/catalog/tags?name=argo/argo-workflows")
    assert held.status_code == 404 or held.json()["tags"] == []
    assert told == []
    context.close()


def test_a_list_that_is_pasted_is_pulled(launched: Browser, own_desk: DeskSite) -> None:
    context = open_context(launched, own_desk.url)
    page = context.new_page()
    sign_in(page, path="/admin/mirror")
    references = "argo/argo-cd:7.1.0\n# a comment\nprom/prometheus:25.8.0\nargo/argo-cd:0.0.1\n"
    page.get_by_role("textbox").first.fill(references)
    page.get_by_role("button", name=re.compile("Pull")).first.click()
    expect(page.get_by_text("2 of 3 pulled")).to_be_visible(timeout=15_000)
    page.goto("/admin/catalog?query=prom")
    expect(page.get_by_role("link", name="prom/prometheus")).to_be_visible()
    context.close()


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_every_page_is_accessible_small_and_within_its_width(
    launched: Browser, desk: DeskSite, look: Look
) -> None:
    context = open_context(launched, desk.url, look)
    page = context.new_page()
    sign_in(page)
    told = complaints(page)
    for name, path in PAGES.items():
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200, name
        assert len(answer.body()) < _MAX_PAGE_BYTES, name
        found = Axe().run(page)
        assert found.violations_count == 0, f"{name}, {look.name}:\n{found.generate_report()}"
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= look.width, f"{name} is {width} px wide on a {look.name}"
    assert told == []
    context.close()


def test_a_viewer_sees_everything_and_changes_nothing(launched: Browser, desk: DeskSite) -> None:
    made = desk.api("POST", "/tokens", {"name": "somebody", "role": "viewer"}).json()
    context = open_context(launched, desk.url, PHONE)
    page = context.new_page()
    sign_in(page, made["secret"])
    for name, path in PAGES.items():
        answer = page.goto(path)
        assert answer is not None
        assert answer.status in (200, 403), name
        assert page.locator("main form[method=post] button").count() == 0, name
    context.close()


def test_a_database_that_is_gone_is_told_and_the_page_is_back_with_it(
    launched: Browser, restarting: Cluster, postgres_url: PostgresUrl, tmp_path: Path
) -> None:
    (tmp_path / "away").mkdir()
    with desk_site(PostgresSite(tmp_path / "away", postgres_url)) as desk:
        context = open_context(launched, desk.url, DARK)
        page = context.new_page()
        sign_in(page, path="/admin/catalog")
        restarting.stop()
        page.get_by_role("searchbox").fill("argo")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert").first).to_be_visible()
        assert "Traceback" not in page.content()
        restarting.start()
        page.goto("/admin/rules/edit?number=1")
        page.get_by_label("Name", exact=True).fill("written for an hour")
        restarting.stop()
        page.get_by_role("button", name="Review and save").click()
        expect(page.get_by_role("alert").first).to_be_visible()
        restarting.start()
        page.get_by_role("button", name="Try again").click()  # what was written is still there
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_role("link", name="written for an hour")).to_be_visible()
        context.close()


def _tab_to(page: Page, name: str) -> None:
    """Press Tab until what is so called has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == name:
            return
    raise AssertionError(f"Tab never came to {name!r}")


def _tab_to_field(page: Page, field: str) -> None:
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == field:
            return
    raise AssertionError(f"Tab never came to the field {field!r}")
