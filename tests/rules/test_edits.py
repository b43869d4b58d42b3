"""Changes of single rules: what cannot be told by any file is told here by some."""

import pytest

from gateway.rules.edits import (
    AddRule,
    Change,
    MoveRule,
    NoSuchRule,
    RemoveRule,
    ReplaceRule,
    SwitchRule,
    edited,
)
from gateway.rules.layout import NotEditable, read_layout
from gateway.rules.problems import Unreadable
from gateway.rules.tree import TreeError

FILE = """\
version: 1
rules:  # top to bottom
  # about a
  - name: a
    repository: "a/*"
    # deny: later

  # --- section ---

  # about b
  - {repository: "b/*", rewrite: x.example.com/$1}   # as it was
  - repository: c

# the end
tests: []
"""
RULE = 'repository: "n/*"\nrewrite: [a.example.com/$1]\n'
WRITTEN = '  - repository: "n/*"\n    rewrite: [a.example.com/$1]\n'
IN_BRACKETS = '{repository: "n/*", rewrite: [a.example.com/$1]}'


def change(text: str, one: Change) -> str:
    return edited(read_layout(text), one).whole


def test_a_rule_moves_with_its_comments_and_sections_stay() -> None:
    about_a = '  # about a\n  - name: a\n    repository: "a/*"\n    # deny: later\n'
    moved = change(FILE, MoveRule(1, 3))
    assert moved.index("# about b") < moved.index("# --- section ---") < moved.index("- repository: c")
    assert moved.endswith(f"  - repository: c\n{about_a}\n# the end\ntests: []\n")


def test_a_rule_is_replaced_below_the_comments_above_it() -> None:
    assert f"  # about b\n{WRITTEN}  - repository: c\n" in change(FILE, ReplaceRule(2, RULE))
    assert f"  # better\n{WRITTEN}  - repository: c\n" in change(FILE, ReplaceRule(2, f"# better\n{RULE}"))


def test_a_rule_is_disabled_in_its_own_style() -> None:
    assert "  - enabled: false\n    name: a\n" in change(FILE, SwitchRule(1, is_enabled=False))
    assert '  - {enabled: false, repository: "b/*"' in change(FILE, SwitchRule(2, is_enabled=False))


@pytest.mark.parametrize(
    ("said", "is_enabled", "told"),
    [
        ("- {repository: a, enabled: true}", False, "- {repository: a, enabled: false}"),
        ("- {repository: a, enabled: false}", True, "- {repository: a, enabled: true}"),
        ("- repository: a", True, "- repository: a"),
        ("- enabled: false  # for now\n  repository: a", True, "- enabled: true  # for now\n  repository: a"),
    ],
)
def test_a_switch_that_somebody_wrote_stays_where_it_is(said: str, is_enabled: bool, told: str) -> None:
    assert change(f"rules:\n{said}\n", SwitchRule(1, is_enabled)) == f"rules:\n{told}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", f"version: 1\n\nrules:\n{WRITTEN}"),
        ("# soon\n", f"# soon\nversion: 1\n\nrules:\n{WRITTEN}"),
        ("version: 1", f"version: 1\n\nrules:\n{WRITTEN}".rstrip("\n")),
        ("version: 1\n...\n", f"version: 1\n\nrules:\n{WRITTEN}...\n"),
        ("rules:\n", f"rules:\n{WRITTEN}"),
        ("rules: ~  # none\ntests: []\n", f"rules:  # none\n{WRITTEN}tests: []\n"),
        ("rules: []\r\n", f"rules:\n{WRITTEN}".replace("\n", "\r\n")),
        ("{version: 1}", f"{{version: 1, rules: [{IN_BRACKETS}]}}"),
        ("{version: 1,}", f"{{version: 1,rules: [{IN_BRACKETS}]}}"),
        ('{"rules": []}', f'{{"rules": [{IN_BRACKETS}]}}'),
        ("rules: [{repository: a}]\n", f"rules: [{{repository: a}}, {IN_BRACKETS}]\n"),
    ],
)
def test_the_first_rule_is_written_as_the_file_is(text: str, told: str) -> None:
    assert change(text, AddRule(RULE)) == told


@pytest.mark.parametrize("rule", [RULE, f"- {RULE.replace(chr(10), chr(10) + '  ')}", f"  {IN_BRACKETS}"])
def test_a_rule_is_taken_with_a_dash_and_without(rule: str) -> None:
    assert "n/*" in change(FILE, AddRule(rule, 1))


def test_a_block_of_text_at_the_very_end_gets_the_end_of_its_line() -> None:
    rule = "repository: a\ndeny: |\n  not\n  here\n"
    assert change("rules:\n- repository: b", ReplaceRule(1, rule)).endswith("    not\n    here\n")
    with pytest.raises(NotEditable):  # it would say something else than it does
        change("rules:\n- repository: b\n- deny: |\n    no", MoveRule(2, 1))


@pytest.mark.parametrize(
    "one", [MoveRule(4, 1), MoveRule(1, 4), MoveRule(0, 1), RemoveRule(4), SwitchRule(9, is_enabled=True)]
)
def test_a_rule_that_is_not_there_is_told(one: Change) -> None:
    with pytest.raises(NoSuchRule, match="there is no rule"):
        change(FILE, one)


@pytest.mark.parametrize("rule", ["", "just words", "- a: 1\n- b: 2\n", "[]", "- - a\n", "{}"])
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(Unreadable, match="one rule"):
        change(FILE, AddRule(rule))


def test_a_rule_that_is_no_yaml_is_told_by_its_own_line() -> None:
    with pytest.raises(TreeError) as told:
        change(FILE, AddRule("name: a\n rewrite: [\n"))
    assert told.value.place.line == 2


@pytest.mark.parametrize(
    "text",
    [
        "defaults: &r []\nrules: *r\n",
        "rules: &r\n- a: 1\n",
        "rules: words\nversion: 1\n",
        "rules:\n- a: 1\nrules:\n- b: 1\n",
        "? rules\n: - a: 1\n  - b: 2\n",
        "rules:\n- a: 1\n--- \nversion: 1\n",
        "- a\n",
        "rules:\r- a: 1\r",
        "rules:\n- a: &x 1\n- b: *x\n",
        "rules: [{a: 1}, # c\n {b: 1}]",
        "rules: [{a: &x 1}, {b: *x}]",
    ],
)
def test_what_is_too_unusual_is_left_to_who_edits_the_whole_file(text: str) -> None:
    with pytest.raises(NotEditable, match="edit the file as a whole"):
        change(text, RemoveRule(2 if "# c" in text else 1))


def test_a_comment_between_rules_in_brackets_stays_where_one_is_removed() -> None:
    text = "rules: [\n  {a: 1}, # c\n  {b: 1},\n  {c: 1}\n]\n"
    assert change(text, RemoveRule(1)) == "rules: [\n   # c\n  {b: 1},\n  {c: 1}\n]\n"


def test_a_rule_without_keys_cannot_be_switched() -> None:
    with pytest.raises(NotEditable, match="not written out in its place"):
        change("rules:\n- words\n", SwitchRule(1, is_enabled=False))


def test_values_are_quoted_where_brackets_need_it() -> None:
    rule = "name: ~\nrewrite: [a, 'b: c', d, e]\nversions: 1, 2\ntags: {allow: [\"#\"]}\n"
    assert change("rules: [{a: 1}]\n", AddRule(rule)) == (
        'rules: [{a: 1}, {name: ~, rewrite: [a, "b: c", d, e], versions: "1, 2", tags: {allow: ["#"]}}]\n'
    )


def test_an_alias_keeps_what_it_means() -> None:
    text = "defaults: &d {drift: keep}\nrules:\n- a: &x 1\n- b: 2\n- c: *x\n"
    assert change(text, MoveRule(2, 3)).endswith("- a: &x 1\n- c: *x\n- b: 2\n")
    with pytest.raises(NotEditable):
        change(text, RemoveRule(1))
