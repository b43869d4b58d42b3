"""Rules edited at the admin's desk: nothing is lost, nothing wrong gets in, and no credential goes astray."""

import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import insert

from gateway.explain import Explainer
from gateway.oci.errors import OciError, Situation
from gateway.oci.postgres_url import PostgresUrl
from gateway.rule_editing import RuleEditor
from gateway.rule_trials import Trials
from gateway.rules.edits import AddRule, Change, MoveRule, RemoveRule, ReplaceRule, SwitchRule
from gateway.rules.masking import MASK
from gateway.settings_values import RulesEditedIn
from gateway.store.revisions import RevisionOrigin
from gateway.store.tables import repositories
from tests.rule_house import Place, leads_to, open_place, rules_to, running

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # real databases

RULES = """\
version: 1
upstreams:
  nexus.example.com:
    url: https://nexus-1.example.com/helm
    username_env: GATEWAY_SECRET_USER
    password_env: GATEWAY_SECRET_PASSWORD
rules:
  # short
  - {name: argo, repository: "argo/*", rewrite: a.example.com/$1}
  - {name: prom, repository: "prom/*", rewrite: b.example.com/$1}
tests:
  - {ask: prom/x, target: b.example.com/x}
"""
SECRETS = {"GATEWAY_SECRET_USER": "ada", "GATEWAY_SECRET_PASSWORD": "S3CR3T"}


@dataclass(slots=True)
class House:
    """``deeds`` are those that were noted."""

    editor: RuleEditor
    place: Place
    deeds: list[tuple[str, ...]] = field(default_factory=list)

    async def text(self) -> str:
        return (await self.editor.current()).content

    async def save(self, old: str, new: str, expected: int = 1) -> int:
        text = (await self.text()).replace(old, new)
        return (await self.editor.save(text, expected=expected, author="ada")).number

    def know(self, *names: str) -> None:
        """Have the catalog know names that clients asked for."""
        rows = [{"name": name, "target": name, "first_pulled_at": 1.0} for name in names]
        self.place.engines.write(lambda connection: connection.execute(insert(repositories), rows))


@dataclass(slots=True)
class Ticking:
    """A clock that goes on by so much each time it is looked at."""

    step_seconds: float = 0.0
    now: float = 0.0

    def __call__(self) -> float:
        self.now += self.step_seconds
        return self.now


def in_force() -> None:
    """Nothing is wrong."""


def no_explainer() -> Explainer:
    raise AssertionError("nothing is explained here")


@asynccontextmanager
async def house(
    folder: Path,
    text: str | None = RULES,
    database: PostgresUrl | None = None,
    edited_in: RulesEditedIn = RulesEditedIn.BOTH,
    clock: Ticking | None = None,
) -> AsyncIterator[House]:
    """The desk of a gateway whose first revision is this text, if there is one."""
    place = replace(open_place(folder, database), environment=SECRETS, edited_in=edited_in, is_named=False)
    deeds: list[tuple[str, ...]] = []

    async def note(actor: str, action: str, subject: str, detail: str = "") -> None:
        deeds.append((actor, action, subject, detail))

    if text is None:
        place.path.unlink()
    else:
        place.path.write_bytes(text.encode())
    desk = place.desk()
    desk.start()
    editor = RuleEditor(
        desk,
        Trials(names=place.engines, explainer=no_explainer, own_hosts=(), monotonic=clock or Ticking()),
        note,
        is_read_only=edited_in is RulesEditedIn.FILE,
        trouble=in_force,
        now=time.time,
    )
    try:
        yield House(editor, place, deeds)
    finally:
        await place.engines.close()


async def refusal(work: Awaitable[object]) -> OciError:
    with pytest.raises(OciError) as told:
        await work
    return told.value


async def test_what_is_saved_is_a_revision_with_author_and_comment_and_is_noted(
    tmp_path: Path, database: PostgresUrl | None
) -> None:
    async with house(tmp_path, database=database) as at:
        text = (await at.text()).replace("a.example.com", "c.example.com")
        head = await at.editor.save(text, expected=1, author="ada", comment="moved")
        told = (head.number, head.origin, head.author, head.comment, head.based_on)
        assert told == (2, RevisionOrigin.ADMIN, "ada", "moved", 1)
        assert at.place.book.texts()[-1] == RULES.replace("a.example.com", "c.example.com")
        assert at.deeds == [("ada", "rules.save", "revision 2", "based on revision 1: moved")]


async def test_what_is_saved_is_in_force_within_two_seconds(tmp_path: Path) -> None:
    async with house(tmp_path, rules_to("a.example.com")) as at, running(at.place) as switch:
        await leads_to(switch, "a")
        await at.save("a.example.com", "b.example.com")
        await leads_to(switch, "b", within_seconds=2.0)


async def test_of_two_editors_the_second_is_told_and_nothing_is_written_over(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.save("a.example.com", "c.example.com")
        error = await refusal(at.save("a.example.com", "d.example.com", expected=1))
        assert (error.situation, error.detail) == (Situation.OUTDATED, {"newest": 2})
        mine = (await at.editor.revision(1)).content.replace("a.example.com", "d.example.com")
        merged = await at.editor.merge(1, mine)
        assert (merged.conflicts, merged.newest) == (1, 2)
        assert "c.example.com" in merged.content
        assert "d.example.com" in merged.content


async def test_a_text_that_is_wrong_is_not_saved_and_every_problem_is_told(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        text = RULES.replace("/$1}", "/$2}")
        error = await refusal(at.editor.save(text, expected=1, author="ada"))
        assert error.situation is Situation.RULES_INVALID
        assert "line 9: there is no capture $2, and 1 more" in error.message
        checked = await at.editor.check(text)
        assert [(one.line, one.key_path) for one in checked.problems] == [
            (9, "rules[1].rewrite"),
            (10, "rules[2].rewrite"),
        ]
        assert len(at.place.book.texts()) == 1


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("target: b.", "target: c.", "leads to b.example.com/x, expected was c.example.com/x"),
        ("rules:", "defaults: {rewrite_dependencies: true}\nrules:", "nobody knows this gateway's own name"),
    ],
)
async def test_a_save_is_held_to_the_files_own_tests_and_to_what_is_at_hand(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    async with house(tmp_path) as at:
        error = await refusal(at.save(old, new))
        assert error.situation is Situation.RULES_INVALID
        assert told in error.message


async def test_no_credential_shows_in_any_text_and_all_come_back_as_they_were(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.save("a.example.com", "c.example.com")
        base = (await at.editor.revision(1)).content
        merged = await at.editor.merge(1, base.replace("b.example.com", "d.example.com"))
        texts = [await at.text(), base, await at.editor.difference(0, 2), merged.content]
        assert not [text for text in texts if "GATEWAY_SECRET" in text]
        assert texts[0].count(MASK) == 2
        assert at.place.book.texts()[-1].count("GATEWAY_SECRET") == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("https://nexus-1.", "https://evil."),
        (f"username_env: {MASK}", "username_env: GATEWAY_SECRET_PASSWORD"),
        ("  nexus.example.com:", "  evil.example.com:"),
        ("rules:", "  nexus-1.example.com/helm/x: {url: https://evil.example.com}\nrules:"),
        ("rules:", "egress: {proxy: http://evil.example.com:3128}\nrules:"),
        ("rules:", '  far.example.com: {urls: ["https://nexus-1.example.com", "https://evil"]}\nrules:'),
        ("rules:", "defaults: {chartproxy: nexus.example.com}\nrules:"),
    ],
)
async def test_an_editor_cannot_lead_a_saved_credential_to_a_host_of_his(
    tmp_path: Path, old: str, new: str
) -> None:
    async with house(tmp_path) as at:
        error = await refusal(at.save(old, new))
        assert error.situation in (Situation.DENIED, Situation.RULES_INVALID)
        assert "rules file" in error.message
        assert len(at.place.book.texts()) == 1


async def test_rules_that_only_the_file_may_change_are_not_saved_but_rolled_back(tmp_path: Path) -> None:
    async with house(tmp_path, edited_in=RulesEditedIn.FILE) as at:
        assert (await refusal(at.save("a.", "c."))).situation is Situation.DENIED
        at.place.book.add(RevisionOrigin.ADMIN, RULES.replace("a.example", "c.example"))  # counts no more
        at.place.book.add(RevisionOrigin.FILE, RULES.replace("a.example", "d.example"))
        assert (await at.editor.roll_back(1, expected=3, author="ada")).origin is RevisionOrigin.ROLLBACK
        assert await at.text() == (await at.editor.revision(1)).content


async def test_a_rollback_is_a_new_revision_and_held_to_what_is_newest(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.save("a.example.com", "c.example.com")
        assert (
            await refusal(at.editor.roll_back(1, expected=1, author="ada"))
        ).situation is Situation.OUTDATED
        head = await at.editor.roll_back(1, expected=2, author="ada")
        assert (head.number, head.based_on, at.place.book.texts()[-1]) == (3, 1, RULES)
        assert (await at.editor.roll_back(1, expected=3, author="ada")).number == 3
        assert (
            await refusal(at.editor.roll_back(9, expected=3, author="ada"))
        ).situation is Situation.RESOURCE_NOT_KNOWN


@pytest.mark.parametrize("edited_in", [RulesEditedIn.BOTH, RulesEditedIn.FILE])
async def test_a_rollback_leads_no_credential_where_the_file_led_it_before(
    tmp_path: Path, edited_in: RulesEditedIn
) -> None:
    async with house(tmp_path, edited_in=edited_in) as at:
        at.place.book.add(RevisionOrigin.FILE, RULES.replace("//nexus-1.", "//nexus-2."))
        error = await refusal(at.editor.roll_back(1, expected=2, author="ada"))
        assert error.situation is Situation.DENIED
        assert 'upstreams."nexus.example.com".url' in error.message
        assert len(at.place.book.texts()) == 2


async def test_a_text_that_is_saved_already_makes_no_revision(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        assert await at.save("", "") == 1
        assert at.deeds == []


async def test_forms_do_not_change_line_breaks(tmp_path: Path) -> None:
    async with house(tmp_path, RULES.replace("\n", "\r\n")) as at:
        text = (await at.text()).replace("\r\n", "\n").replace("a.example.com", "c.example.com")
        await at.editor.save(text, expected=1, author="ada")
        assert at.place.book.texts()[-1] == RULES.replace("\n", "\r\n").replace(
            "a.example.com", "c.example.com"
        )


async def test_where_there_are_no_rules_yet_the_first_is_the_first_revision(tmp_path: Path) -> None:
    async with house(tmp_path, text=None) as at:
        current = await at.editor.current()
        assert (current.number, current.content, (await at.editor.rules()).total) == (0, "", 0)
        head = await at.editor.apply(
            AddRule("repository: a/*\nrewrite: b.example.com/$1\n"), expected=0, author="ada"
        )
        assert (head.number, head.based_on) == (1, None)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (MoveRule(2, 1), ["prom", "argo"]),
        (RemoveRule(1), ["prom"]),
        (SwitchRule(1, is_enabled=False), ["argo", "prom"]),
        (AddRule("{name: new, repository: new, rewrite: a.example.com/x}", 1), ["new", "argo", "prom"]),
        (ReplaceRule(1, "{name: other, repository: new, rewrite: a.example.com/x}"), ["other", "prom"]),
    ],
)
async def test_one_rule_is_changed_and_saved(tmp_path: Path, change: Change, left: list[str]) -> None:
    async with house(tmp_path) as at:
        await at.editor.apply(change, expected=1, author="ada")
        page = await at.editor.rules()
        assert [rule.name for rule in page.rules] == left
        assert all(rule.is_enabled for rule in page.rules) == (not isinstance(change, SwitchRule))
        assert at.place.book.texts()[-1].count("GATEWAY_SECRET") == 2


async def test_rules_are_listed_a_page_at_a_time_and_found_by_their_words(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        first = await at.editor.rules(limit=1)
        assert (first.total, [rule.number for rule in first.rules]) == (2, [1])
        rest = await at.editor.rules(after=1, limit=1)
        assert [rule.name for rule in rest.rules] == ["prom"]
        found = await at.editor.rules(query="B.EXAMPLE prom")
        assert [(rule.number, rule.line) for rule in found.rules] == [(2, 10)]
        assert (
            first.rules[0].yaml == '# short\n{name: argo, repository: "argo/*", rewrite: a.example.com/$1}\n'
        )


async def test_rules_that_are_written_oddly_are_listed_and_told_to_be_edited_whole(tmp_path: Path) -> None:
    text = "version: 1\nrules: &r\n- {name: a, repository: a, deny: no}\n"
    async with house(tmp_path, text) as at:
        page = await at.editor.rules()
        assert [(rule.name, rule.is_denied) for rule in page.rules] == [("a", True)]
        assert "edit the file as a whole" in (page.why_not_editable or "")
        error = await refusal(at.editor.apply(RemoveRule(1), expected=1, author="ada"))
        assert error.situation is Situation.CONFLICT


async def test_which_known_names_would_lead_elsewhere_is_told(
    tmp_path: Path, database: PostgresUrl | None
) -> None:
    async with house(tmp_path, database=database) as at:
        at.know("argo/argo-cd", "prom/alertmanager", "ghcr.io/x/y", "nowhere/x")
        text = (
            (await at.text())
            .replace("a.example.com", "c.example.com")
            .replace('"prom/*", ', '"prom/*", versions: ">1", ')
        )
        impact = await at.editor.impact(text)
        assert [(one.name, one.before.split()[0], one.after.split()[0]) for one in impact.changed] == [
            ("argo/argo-cd", "a.example.com/argo-cd", "c.example.com/argo-cd"),
            ("prom/alertmanager", "b.example.com/alertmanager", "b.example.com/alertmanager"),
        ]
        assert "versions >1" in impact.changed[1].after
        assert (impact.looked_at, impact.is_complete) == (4, True)
        assert not (await at.editor.impact(1)).changed


async def test_an_impact_that_takes_too_long_says_how_far_it_came(tmp_path: Path) -> None:
    async with house(tmp_path, clock=Ticking(0.5)) as at:
        at.know(*(f"argo/x{number}" for number in range(20)))
        impact = await at.editor.impact((await at.text()).replace("a.example", "c.example"))
        assert 0 < impact.looked_at < 20
        assert not impact.is_complete
