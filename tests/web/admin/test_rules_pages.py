"""The Rules pages: what they show; only Save changes anything, and nothing that was written is lost."""

import re
from collections.abc import AsyncIterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gateway.access.roles import Role
from tests.web.admin.rules_site import RULES, HitsTold, Site, path_of, read_form, rules_site

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

SCRIPT = '"><img src=x onerror=alert(1)>'
PAGES = (
    *("", "?try=argo/argo-cd:7.1.0", "?q=prom", "/new?example=1", "/edit?number=1", "/yaml", "/history"),
    *("/revision?number=1", "/diff?older=1&newer=1", "/rollback?number=1"),
    "/review?kind=move&number=1&to=2&base=1",
)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with rules_site(tmp_path) as found:
        yield found


def seen(html: str) -> str:
    """The text of a page as a person reads it."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def inline_code(html: str) -> set[str]:
    """What the content security policy would keep from working."""
    found: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            names = {name for name, _ in attrs}
            found.update(name for name in names if name == "style" or name.startswith("on"))
            found.update({tag} if tag == "style" or (tag == "script" and "src" not in names) else ())

    Reader().feed(html)
    return found


async def test_the_list_tells_what_each_rule_matches_where_it_leads_and_how_often_it_decided(
    site: Site,
) -> None:
    (first, _) = (await site.editor.rules()).rules
    site.hits[first.key] = HitsTold(42, 1_800_000_000.0 - 180)
    text = seen(await site.shown("/admin/rules"))
    assert "1 short refs argo/* argoproj.github.io/argo-helm/$1 42 3 min ago enabled" in text
    assert "2 rule 2 prom/* ghcr.io/prometheus-community/charts/$1 then prometheus-community" in text


async def test_the_list_is_filtered_by_words(site: Site) -> None:
    text = seen(await site.shown("/admin/rules?q=prom"))
    assert "1 rule matches" in text
    assert "short refs" not in text
    assert "No rule has that" in seen(await site.shown("/admin/rules?q=nowhere"))


async def test_a_name_without_rules_is_explained_and_an_example_fills_the_form(tmp_path: Path) -> None:
    async with rules_site(tmp_path, None) as site:
        assert "There are no rules yet" in await site.shown("/admin/rules")
        form = await site.shown("/admin/rules/new?example=1")
        assert "1 rule, and the tests written beside them pass" in seen(form)
        saved = await site.press((await site.press(form, "Review and save")).text, "Save")
        assert saved.status_code == 303
        assert "argo/*" in site.texts()[0]


async def test_a_rule_is_added_reviewed_and_saved(site: Site) -> None:
    form = await site.shown("/admin/rules/new")
    review = await site.press(form, "Review and save", repository="team/*", rewrite="charts.example.com/$1")
    assert review.status_code == 200
    assert '+ - repository: "team/*"' in seen(review.text)
    assert site.texts() == [RULES]
    saved = await site.press(review.text, "Save", comment="for the team")
    assert path_of(saved) == "/admin/rules"
    added = '  - repository: "team/*"\n    rewrite: charts.example.com/$1\n'
    assert site.texts()[1] == RULES.replace("tests:", f"{added}tests:")
    (head, _) = await site.editor.revisions()
    assert (head.author, head.comment) == ("the editor", "for the team")
    assert site.noted == [("the editor", "rules.save")]
    assert "Revision 2 is saved" in seen(await site.shown(saved.headers["location"]))


async def test_a_rule_is_put_where_the_form_says(site: Site) -> None:
    form = await site.shown("/admin/rules/new")
    review = await site.press(form, "Review and save", repository="argo/x", rewrite="a.example.com/x", to="1")
    await site.press(review.text, "Save")
    rules = (await site.editor.rules()).rules
    assert [rule.repository for rule in rules] == ["argo/x", "argo/*", "prom/*"]


async def test_an_edit_leaves_all_else_as_it_was_written(site: Site) -> None:
    form = await site.shown("/admin/rules/edit?number=1")
    review = await site.press(form, "Review and save", name="short names", fresh_for="1h")
    await site.press(review.text, "Save")
    assert site.texts()[1] == RULES.replace("name: short refs", "name: short names").replace(
        "argo-helm/$1\n", "argo-helm/$1\n    fresh_for: 1h\n"
    )


async def test_what_is_wrong_stands_at_its_field_and_nothing_typed_is_lost(site: Site) -> None:
    form = await site.shown("/admin/rules/edit?number=1")
    typed = {"rewrite": "a.example.com/$7", "versions": "1..2", "name": "mine", "try": "argo/x"}
    review = await site.press(form, "Review and save", **typed)
    assert review.status_code == 422
    assert read_form(review.text).fields.items() >= typed.items()
    assert 'id="rewrite-hint">there is no capture $7' in review.text
    assert 'name="versions" aria-describedby="versions-hint" aria-invalid="true"' in review.text
    assert len(site.texts()) == 1


async def test_more_keys_that_are_no_yaml_are_told_and_kept(site: Site) -> None:
    form = await site.shown("/admin/rules/edit?number=1")
    checked = await site.press(form, "Check", more="channels: [}")
    assert "1 thing is wrong" in seen(checked.text)
    assert "it is no YAML" in seen(checked.text)
    assert read_form(checked.text).fields["more"] == "channels: [}"


async def test_yaml_that_is_wrong_is_told_at_its_line_with_a_caret(site: Site) -> None:
    page = await site.shown("/admin/rules/yaml")
    broken = RULES.replace("argo-helm/$1", "argo-helm/$9")
    checked = await site.press(page, "Check", content=broken)
    assert read_form(checked.text).fields["content"] == broken
    assert 'href="#content" data-line="6">line 6, column 43' in checked.text
    assert "    rewrite: argoproj.github.io/argo-helm/$9\n" + " " * 42 + "^" in checked.text


async def test_the_files_own_tests_keep_a_change_from_being_saved(site: Site) -> None:
    page = await site.shown("/admin/rules/yaml")
    content = RULES.replace("argoproj.github.io/argo-helm/$1", "a.example.com/$1")
    review = await site.press(page, "Review and save", content=content)
    assert review.status_code == 422
    fields = read_form(page).fields
    assert (await site.send("/admin/rules/save", {**fields, "content": content})).status_code == 422
    assert len(site.texts()) == 1


async def test_a_form_is_gone_on_with_as_text(site: Site) -> None:
    form = await site.shown("/admin/rules/edit?number=2")
    page = await site.press(form, "Go on as YAML", repository="prometheus/*")
    assert read_form(page.text).fields["content"] == RULES.replace('"prom/*"', '"prometheus/*"')


async def test_a_reference_is_told_step_by_step(site: Site) -> None:
    text = seen(await site.shown("/admin/rules?try=prom/prometheus:1.0.0"))
    assert "1. short refs: repository argo/* does not match" in text
    assert "Rule 2 decides : repository prom/* matches" in text
    assert "$1 = prometheus" in text
    assert "https://ghcr.io/v2/prometheus-community/charts/prometheus" in text
    assert "Refused: 404 NAME_UNKNOWN" in seen(await site.shown("/admin/rules?try=nothing"))
    assert 'role="alert"' in await site.shown("/admin/rules?try=a::b")


async def test_edited_rules_are_tried_beside_the_saved_ones(site: Site) -> None:
    form = await site.shown("/admin/rules/edit?number=2")
    change = {"rewrite": "charts.example.com/$1", "try": "prom/web:1.0.0\nargo/argo-cd:1.0.0"}
    checked = await site.press(form, "Check", **change)
    both, same = checked.text.split('<section class="tried">')[1:]
    assert "a different result" in both
    saved, edited = (seen(part) for part in both.split("By the rules as edited"))
    assert "ghcr.io/prometheus-community/charts/web differs" in saved
    assert "charts.example.com/web differs" in edited
    assert "no difference" in same


async def test_names_that_would_lead_elsewhere_are_told_before_saving(site: Site) -> None:
    site.know("argo/argo-cd", "argoproj.github.io/argo-helm/argo-cd")
    site.know("prom/web", "ghcr.io/prometheus-community/charts/web")
    review = seen(await site.shown("/admin/rules/review?kind=remove&number=2&base=1"))
    assert "1 of 2 known names would lead elsewhere" in review
    assert "prom/web ghcr.io/prometheus-community/charts/web" in review


@pytest.mark.parametrize(
    ("query", "then"),
    [
        ("kind=move&number=2&to=1", ["prom/*", "argo/*"]),
        ("kind=remove&number=2", ["argo/*"]),
        ("kind=switch&number=2", ["argo/*", "prom/* is off"]),
    ],
)
async def test_a_button_of_the_list_changes_nothing_before_save(
    site: Site, query: str, then: list[str]
) -> None:
    review = await site.shown(f"/admin/rules/review?{query}&base=1")
    assert len(site.texts()) == 1
    assert (await site.press(review, "Save")).status_code == 303
    rules = (await site.editor.rules()).rules
    assert [f"{rule.repository}{'' if rule.is_enabled else ' is off'}" for rule in rules] == then


async def test_a_change_that_changes_nothing_cannot_be_saved(site: Site) -> None:
    review = await site.press(await site.shown("/admin/rules/edit?number=1"), "Review and save")
    assert "Save" not in read_form(review.text).buttons


async def test_of_two_editors_nobody_loses_anything(site: Site) -> None:
    mine = await site.press(await site.shown("/admin/rules/edit?number=1"), "Review and save", name="mine")
    theirs = RULES.replace('"prom/*"', '"theirs/*"')
    await site.editor.save(theirs, expected=1, author="bob", comment="quicker")
    merged = await site.press(mine.text, "Save")
    assert merged.status_code == 412
    assert "Revision 2 was saved by bob" in seen(merged.text)
    both = theirs.replace("short refs", "mine")
    assert read_form(merged.text).fields["content"] == both
    review = await site.press(merged.text, "Review and save")
    assert (await site.press(review.text, "Save")).status_code == 303
    assert site.texts()[-1] == both


async def test_what_both_changed_is_marked_and_counted(site: Site) -> None:
    mine = await site.press(await site.shown("/admin/rules/edit?number=1"), "Review and save", name="mine")
    await site.editor.save(RULES.replace("short refs", "theirs"), expected=1, author="bob")
    merged = await site.press(mine.text, "Save")
    assert "1 place was changed by both" in seen(merged.text)
    content = read_form(merged.text).fields["content"]
    assert "name: mine" in content
    assert "name: theirs" in content
    assert (await site.press(merged.text, "Review and save")).status_code == 422


async def test_what_comes_back_after_signing_in_again_is_shown_and_not_saved(site: Site) -> None:
    review = await site.press(await site.shown("/admin/rules/edit?number=1"), "Review and save", name="mine")
    resumed = await site.press(review.text, "Save", resumed="1")
    assert resumed.status_code == 200
    assert "nothing is saved yet" in resumed.text
    assert read_form(resumed.text).fields["name"] == "mine"
    asked = await site.shown("/admin/rules/rollback?number=1")
    assert "nothing is changed yet" in (await site.press(asked, "Roll back", resumed="1")).text
    assert len(site.texts()) == 1


async def test_the_history_compares_revisions_and_goes_back_to_one(site: Site) -> None:
    await site.editor.save(RULES.replace("short refs", "other"), expected=1, author="bob", comment="a try")
    assert "2 in force" in seen(await site.shown("/admin/rules/history"))
    difference = seen(await site.shown("/admin/rules/diff?older=1&newer=2"))
    assert "- - name: short refs + - name: other" in difference
    assert "a try" in seen(await site.shown("/admin/rules/revision?number=2"))
    back = await site.press(await site.shown("/admin/rules/rollback?number=1"), "Roll back")
    assert back.status_code == 303
    assert site.texts()[-1] == RULES


async def test_going_back_from_an_outdated_page_is_refused_there(site: Site) -> None:
    asked = await site.shown("/admin/rules/rollback?number=1")
    await site.editor.save(RULES.replace("short refs", "other"), expected=1, author="bob")
    answer = await site.press(asked, "Roll back")
    assert answer.status_code == 412
    assert "revision 2 was saved meanwhile" in answer.text


@pytest.mark.parametrize("is_read_only", [False, True])
async def test_who_may_only_look_is_told_why_and_can_still_try(tmp_path: Path, is_read_only: bool) -> None:
    role = Role.EDITOR if is_read_only else Role.VIEWER
    async with rules_site(tmp_path, is_read_only=is_read_only) as site:
        for path in ("", "/edit?number=1", "/yaml", "/new"):
            html = await site.shown(f"/admin/rules{path}", role)
            assert ("RULES_EDITED_IN" if is_read_only else "needs the role editor") in html
            assert not read_form(html).buttons
            assert "kind=remove" not in html
        assert "decides" in await site.shown("/admin/rules?try=argo/x", role)
        fields = {"kind": "remove", "number": "1", "base": "1"}
        answer = await site.send("/admin/rules/save", fields, role)
        assert answer.status_code in (403, 422)
        assert len(site.texts()) == 1


async def test_rules_that_cannot_be_used_are_told_on_the_list(tmp_path: Path) -> None:
    async with rules_site(tmp_path, trouble="rules.yaml:3:1: <b>odd</b>") as site:
        assert "rules.yaml:3:1: &lt;b&gt;odd&lt;/b&gt;" in await site.shown("/admin/rules")


async def test_a_secret_key_is_shown_masked(tmp_path: Path) -> None:
    secret = "upstreams: {a.example.com: {token_file: T0PS3CRET}}\n"
    async with rules_site(tmp_path, RULES.replace("rules:", f"{secret}rules:", 1)) as site:
        page = await site.shown("/admin/rules/yaml")
        assert "T0PS3CRET" not in page
        assert "••••••" in read_form(page).fields["content"]
        for path in ("", "/edit?number=1", "/revision?number=1", "/diff?older=1&newer=1", "/history"):
            assert "T0PS3CRET" not in (await site.get(f"/admin/rules{path}")).text


async def test_a_script_in_a_rule_is_text_on_every_page(tmp_path: Path) -> None:
    rules = RULES.replace("short refs", f"'{SCRIPT}'").replace("what the platform", f"{SCRIPT} what")
    async with rules_site(tmp_path, rules) as site:
        for path in PAGES:
            answer = await site.get(f"/admin/rules{path}")
            assert answer.status_code == 200
            assert "<img src=x" not in answer.text
            assert not inline_code(answer.text)


async def test_a_page_of_ten_thousand_rules_is_small(tmp_path: Path) -> None:
    rules = "".join(
        f'- {{repository: "team-{n}/**", rewrite: charts.example.com/t{n}/$1}}\n' for n in range(10_000)
    )
    async with rules_site(tmp_path, f"version: 1\nrules:\n{rules}") as site:
        for path in ("", "?after=9950", "/edit?number=9999", "/review?kind=move&number=9000&to=1&base=1"):
            answer = await site.get(f"/admin/rules{path}")
            assert answer.status_code == 200
            assert len(answer.content) < 100_000
        assert "/admin/rules?after=50" in await site.shown("/admin/rules")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/edit?number=9", 404),
        ("/edit", 400),
        ("/edit?number=-1", 400),
        ("?after=x", 400),
        ("/revision?number=7", 404),
        ("/review?kind=rule&base=1", 400),
        ("/review?kind=move&number=1&base=1", 400),
        ("/review?kind=odd", 400),
        ("/review?kind=remove&number=9&base=1", 422),
    ],
)
async def test_an_address_that_means_nothing_is_refused(site: Site, path: str, status: int) -> None:
    assert (await site.get(f"/admin/rules{path}")).status_code == status
