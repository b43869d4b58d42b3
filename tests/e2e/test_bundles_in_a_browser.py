"""Bundles and mirror lists at the desk, used as people use them, in a real Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, FilePayload, Page, expect

from tests.bundle_house import Bundle, chart
from tests.e2e.desk_site import LOOKS, DeskSite, chromium, complaints, desk_site, open_context, sign_in
from tests.e2e.gateway_process import Site

pytestmark = pytest.mark.e2e

TARGET = "charts.example.test/demo"
ONE, OTHER = chart("demo", "1.0.0"), chart("demo", "1.0.0", b"other content" * 9)


@pytest.fixture(scope="module")
def launched() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[DeskSite]:
    folder = tmp_path / "site"
    folder.mkdir()
    with desk_site(Site(folder)) as one:
        yield one


@pytest.fixture
def page(launched: Browser, desk: DeskSite) -> Iterator[Page]:
    context = open_context(launched, desk.url)
    page = context.new_page()
    sign_in(page)
    page.goto("/admin/bundles")
    yield page
    context.close()


def choose(page: Page, content: bytes, name: str = "bundle.tar") -> None:
    page.get_by_label("Bundle", exact=True).set_input_files(
        {"name": name, "mimeType": "application/x-tar", "buffer": content}
    )


def test_a_bundle_is_checked_then_taken_in_and_served(page: Page, desk: DeskSite) -> None:
    told = complaints(page)
    choose(page, Bundle().add(TARGET, {"1.0.0": ONE}).tar())
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_text("Nothing was changed yet")).to_be_visible()
    expect(page.get_by_text(f"{TARGET}:1.0.0")).to_be_visible()
    page.get_by_role("button", name="Import it").click()
    expect(page.get_by_text("all workers serve it from now on")).to_be_visible()
    assert desk.server.get(f"/v2/{TARGET}/manifests/1.0.0").status_code == 200
    assert told == []

    choose(page, Bundle().add(TARGET, {"1.0.0": OTHER}).tar())
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_text("Held here with other content:")).to_be_visible()


def test_what_is_held_is_downloaded_as_a_bundle(page: Page, tmp_path: Path) -> None:
    whole = Bundle().add(TARGET, {"1.0.0": ONE}).tar()
    choose(page, whole)
    page.get_by_role("button", name="Check it").click()
    page.get_by_role("button", name="Import it").click()
    expect(page.get_by_text("all workers serve it from now on")).to_be_visible()
    page.get_by_label("References", exact=True).check()
    page.get_by_label("References, one a line").fill(f"{TARGET}:9.9.9")
    page.get_by_role("button", name="Download").click()
    expect(page.get_by_role("alert")).to_contain_text("is not held")
    page.get_by_label("Everything held").check()
    with page.expect_download() as begun:
        page.get_by_role("button", name="Download").click()
    saved = tmp_path / begun.value.suggested_filename
    begun.value.save_as(saved)
    assert saved.name.startswith("everything-")
    choose(page, saved.read_bytes(), saved.name)
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_text("Nothing was changed yet")).to_be_visible()


def test_a_mirror_list_is_planned_then_brought_up_to_date(page: Page) -> None:
    page.goto("/admin/mirror")
    row = page.locator("#lists").get_by_role("row").filter(has_text="the platform")
    row.get_by_role("button", name="Show plan").click()
    expect(page.get_by_role("heading", name="Would be fetched")).to_be_visible()
    page.get_by_role("button", name="Bring it up to date").click()
    expect(row).to_contain_text("3 fetched")
    gone = page.locator("#lists").get_by_role("row").filter(has_text="what is gone")
    gone.get_by_role("button", name="Bring up to date").click()
    expect(gone).to_contain_text("1 failed")


def test_volumes_are_joined_and_what_is_broken_is_refused_with_the_reason(page: Page) -> None:
    whole = Bundle().add(TARGET, {"1.0.0": ONE}).tar()
    volumes = [
        FilePayload(name=f"bundle.tar.00{number}", mimeType="", buffer=whole[start : start + 4096])
        for number, start in enumerate(range(0, len(whole), 4096), start=1)
    ]
    field = page.get_by_label("Bundle", exact=True)
    field.set_input_files(list(reversed(volumes)))
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_text("Nothing was changed yet")).to_be_visible()
    field.set_input_files(volumes[:-2])
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_text("it ends early")).to_be_visible()
    expect(page.get_by_role("button", name="Import it")).to_be_hidden()


def test_without_script_the_page_says_how_else(launched: Browser, desk: DeskSite) -> None:
    context = open_context(launched, desk.url, has_script=False)
    page = context.new_page()
    sign_in(page, path="/admin/bundles")
    expect(page.get_by_text("gateway import bundle.tar")).to_be_visible()
    expect(page.get_by_role("button", name="Check it")).to_be_hidden()
    context.close()


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_everybody_can_use_the_page(launched: Browser, desk: DeskSite, look: object) -> None:
    context = open_context(launched, desk.url, next(one for one in LOOKS if one is look))
    page = context.new_page()
    sign_in(page)
    page.goto("/admin/bundles")
    choose(page, Bundle(rules=b"version: 1\n").add(TARGET, {"1.0.0": ONE}).tar())
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_text("Nothing was changed yet")).to_be_visible()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
