"""Whatever a rules file looks like, a change of one rule changes that rule alone."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.edits import AddRule, Change, MoveRule, RemoveRule, ReplaceRule, SwitchRule, edited
from gateway.rules.layout import read_layout
from gateway.rules.rule_text import rule_text
from tests.rules.written_rules import Written, rules_files

pytestmark = pytest.mark.slow  # hundreds of files

Value = dict[str, object]

NEW = "# new\nname: new\nrepository: 'new/*'\nrewrite:\n  - a.example.com/$1\n  - \"# b\"\n"
SAID: Value = {"name": "new", "repository": "new/*", "rewrite": ["a.example.com/$1", "# b"]}
NUMBERS = st.integers(0, 3)


def change(text: str, one: Change) -> str:
    return edited(read_layout(text), one).whole


def rules_of(text: str) -> list[Value]:
    rules: list[Value] = yaml.safe_load(text)["rules"] or []
    return rules


def others_of(text: str) -> Value:
    return {key: value for key, value in yaml.safe_load(text).items() if key != "rules"}


def lines_of(text: str) -> list[str]:
    """With something in them, whatever their place is."""
    return sorted(line.strip(" ,[]\r\ufeff") for line in text.split("\n") if line.strip())


@given(rules_files(), NUMBERS, NUMBERS)
def test_a_rule_that_moves_takes_its_comments_along_and_comes_back_to_the_byte(
    written: Written, at: int, to: int
) -> None:
    number, there = at % written.count + 1, to % written.count + 1
    moved = change(written.text, MoveRule(number, there))
    expected = rules_of(written.text)
    expected.insert(there - 1, expected.pop(number - 1))
    assert rules_of(moved) == expected
    assert lines_of(moved) == lines_of(written.text) or "rules: [" in written.text
    assert change(moved, MoveRule(there, number)) == written.text


@given(rules_files(), NUMBERS)
def test_a_rule_that_is_switched_off_and_on_is_as_it_was_to_the_byte(written: Written, at: int) -> None:
    number = at % written.count + 1
    off = change(written.text, SwitchRule(number, is_enabled=False))
    expected = rules_of(written.text)
    expected[number - 1] = {"enabled": False, **expected[number - 1]}
    assert (rules_of(off), others_of(off)) == (expected, others_of(written.text))
    assert change(off, SwitchRule(number, is_enabled=True)) == written.text


@given(rules_files(), NUMBERS)
def test_a_rule_that_is_removed_takes_nothing_else_along(written: Written, at: int) -> None:
    number = at % written.count + 1
    left = change(written.text, RemoveRule(number))
    expected = rules_of(written.text)
    del expected[number - 1]
    assert (rules_of(left), others_of(left)) == (expected, others_of(written.text))
    assert left.count("section") == written.text.count("section")


@given(rules_files(), st.integers(0, 4))
def test_a_rule_is_added_at_any_place_and_all_that_was_there_stays(written: Written, at: int) -> None:
    number = at % (written.count + 1) + 1
    more = change(written.text, AddRule(NEW, number))
    expected = rules_of(written.text)
    expected.insert(number - 1, SAID)
    assert (rules_of(more), others_of(more)) == (expected, others_of(written.text))
    assert more.endswith("\n") == written.text.endswith("\n")
    assert [line for line in lines_of(more) if line in lines_of(written.text)] == lines_of(written.text) or (
        "rules: [" in written.text
    )


@given(rules_files(), NUMBERS)
def test_a_rule_is_replaced_and_all_others_stay(written: Written, at: int) -> None:
    number = at % written.count + 1
    after = change(written.text, ReplaceRule(number, NEW))
    expected = rules_of(written.text)
    expected[number - 1] = SAID
    assert (rules_of(after), others_of(after)) == (expected, others_of(written.text))


@given(rules_files(), NUMBERS)
def test_a_rule_that_is_replaced_by_its_own_text_says_the_same(written: Written, at: int) -> None:
    number = at % written.count + 1
    layout = read_layout(written.text)
    own = rule_text(layout, layout.entries[number - 1])
    after = change(written.text, ReplaceRule(number, str(own)))
    assert yaml.safe_load(after) == yaml.safe_load(written.text)
    layout = read_layout(after)
    assert str(rule_text(layout, layout.entries[number - 1])) == str(own) or layout.is_flow


@given(rules_files())
def test_a_list_of_which_everything_is_removed_takes_a_rule_again(written: Written) -> None:
    text = written.text
    for _ in range(written.count):
        text = change(text, RemoveRule(1))
    assert rules_of(text) == []
    again = change(text, AddRule(NEW))
    assert (rules_of(again), others_of(again)) == ([SAID], others_of(written.text))
