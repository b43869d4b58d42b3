"""The pages are true: their links lead somewhere, their commands exist, and they are short."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import group
from gateway.event_tap import SEVERITIES
from gateway.oci.errors import OciError, Situation
from gateway.rules.keys import EGRESS, POLICY, RULE, SECTIONS, TEST, UPSTREAM
from gateway.settings import NOT_YET, SECRETS, SETTINGS

PROJECT = Path(__file__).resolve().parents[1]
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])
_LINK = re.compile(r"\]\((?P<to>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(?P<text>.+?) *$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_MAKE = re.compile(r"(?:^|`|&& )make ([a-z]+)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_link_inside_the_project_leads_to_a_page_and_its_heading(page: Path) -> None:
    assert [to for to in _inner_links(page) if not _exists(page, to)] == []


def test_the_readme_is_read_in_one_sitting() -> None:
    assert (PROJECT / "README.md").read_text("utf-8").count("\n") <= 150


def test_a_decision_fits_on_a_screen() -> None:
    long = {
        page.name for page in PROJECT.glob("docs/decisions/*.md") if page.read_text("utf-8").count("\n") > 30
    }
    assert long == set()


def test_every_make_verb_that_a_page_names_is_one() -> None:
    verbs = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {verb for page in PAGES for verb in _MAKE.findall(page.read_text("utf-8"))}
    assert named <= verbs


def _inner_links(page: Path) -> Iterator[str]:
    for match in _LINK.finditer(_FENCE.sub("", page.read_text("utf-8"))):
        if "://" not in match["to"] and not match["to"].startswith("mailto:"):
            yield match["to"]


def _exists(page: Path, to: str) -> bool:
    path, _, anchor = to.partition("#")
    place = (page.parent / path).resolve() if path else page
    if not place.exists() or not place.is_relative_to(PROJECT):
        return False
    return not anchor or anchor in _anchors(place.read_text("utf-8"))


def _anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    plain = (
        re.sub(r"[^\w\- ]", "", match["text"].lower()) for match in _HEADING.finditer(_FENCE.sub("", text))
    )
    return {heading.replace(" ", "-") for heading in plain}


def test_every_setting_is_documented_with_its_default_and_what_is_refused_too() -> None:
    page = (PROJECT / "docs/settings.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (?:`([^`]*)`|\u2013) \|", page, re.MULTILINE))
    assert rows == {setting.name: setting.default or "" for setting in SETTINGS}
    assert {name for name in NOT_YET if f"`{name}`" not in page} == set()


def test_every_key_of_the_rules_is_documented() -> None:
    page = (PROJECT / "docs/rules.md").read_text("utf-8")
    keys = {key for table in (SECTIONS, POLICY, EGRESS, UPSTREAM, RULE, TEST) for key in table}
    assert {key for key in keys if f"`{key}`" not in page and f"{key}:" not in page} == set()


def test_every_error_code_is_documented_with_its_statuses() -> None:
    page = (PROJECT / "docs/architecture.md").read_text("utf-8")
    table = page[page.index("| code | status |") :]
    for situation in Situation:
        error = OciError(situation, "")
        rows = [line for line in table.splitlines() if f"`{error.code}`" in line]
        assert any(str(error.status) in row for row in rows), situation


def test_every_setting_without_a_flag_is_documented() -> None:
    page = (PROJECT / "docs/settings.md").read_text("utf-8")
    assert {
        name for setting in SECRETS for name in (setting.name, f"{setting.name}_FILE") if name not in page
    } == set()


def test_every_event_is_documented() -> None:
    page = (PROJECT / "docs/metrics.md").read_text("utf-8")
    assert {kind for kind in SEVERITIES if f"`{kind}`" not in page} == set()


def test_every_command_is_documented() -> None:
    page = (PROJECT / "docs/settings.md").read_text("utf-8")
    assert {name for name in group.commands if f"`gateway {name}" not in page} == set()
