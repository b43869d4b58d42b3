"""The Rules pages around saving: what a change comes to, the way back, and what is still in the way."""

import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest

from tests.web.admin.rules_site import RULES, Site, rules_site

pytestmark = [pytest.mark.slow, pytest.mark.anyio]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with rules_site(tmp_path) as found:
        yield found


def seen(html: str) -> str:
    """The text of a page as a person reads it."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


async def test_what_was_tried_is_shown_once_saved_with_the_command_that_pulls_it(site: Site) -> None:
    form = await site.shown("/admin/rules/new")
    typed = {
        "name": "ours",
        "repository": "team/*",
        "rewrite": "charts.example.com/$1",
        "try": "team/web:1.0.0",
    }
    review = await site.press(form, "Review and save", **typed)
    saved = await site.press(review.text, "Save")
    page = seen(await site.shown(saved.headers["location"]))
    assert "team/* matches; it leads to charts.example.com/$1" in page
    assert "helm pull oci://charts.example:9000/team/web --version 1.0.0 --plain-http" in page
    (head, _) = await site.editor.revisions()
    assert head.comment == "Add a rule: ours"


async def test_undo_is_offered_only_while_nobody_saved_after_it(site: Site) -> None:
    await site.editor.save(RULES.replace("short refs", "one"), expected=1, author="bob", comment="")
    assert "rollback?number=1" in await site.shown("/admin/rules?saved=2")
    await site.editor.save(RULES.replace("short refs", "two"), expected=2, author="eve", comment="")
    assert "rollback?number=1" not in await site.shown("/admin/rules?saved=2")


async def test_the_seldom_needed_part_of_a_form_is_open_where_something_is_in_it(site: Site) -> None:
    assert '<details id="policy">' in await site.shown("/admin/rules/new")
    checked = await site.press(
        await site.shown("/admin/rules/new"), "Check", repository="a/*", versions=">=1"
    )
    assert '<details id="policy" open>' in checked.text


async def test_marks_that_are_left_in_a_merged_text_are_named(site: Site) -> None:
    mine = await site.press(await site.shown("/admin/rules/edit?number=1"), "Review and save", name="mine")
    await site.editor.save(RULES.replace("short refs", "theirs"), expected=1, author="bob", comment="")
    merged = await site.press(mine.text, "Save")
    assert "1 place was changed by both" in seen(merged.text)
    again = await site.press(merged.text, "Review and save")
    assert again.status_code == 422
    assert "keep what is right, and remove the marks" in seen(again.text)
