"""The page about rules.yaml is true: its examples load, and its mistakes are told as it says."""

import re
from pathlib import Path

import pytest

from gateway.rules.keys import CLASSIC, EGRESS, POLICY, SYNC_CHART, SYNC_LIST, TEST
from gateway.rules.load import load_rules
from gateway.rules.problems import RulesError
from gateway.rules.warnings import warn
from tests.rules.test_schema import is_valid

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs/rules.md").read_text("utf-8")
EXAMPLES, _, MISTAKES = PAGE.partition("## A file with ten mistakes")


def blocks(kind: str, text: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", [*blocks("yaml", EXAMPLES), (PROJECT / "rules.yaml").read_text("utf-8")])
def test_examples_load_without_a_warning_and_suit_the_schema(text: str) -> None:
    assert warn(load_rules(text), "rules.yaml") == []
    assert is_valid(text)


def test_the_ten_mistakes_are_told_as_the_page_says() -> None:
    (text,), (output,) = blocks("yaml", MISTAKES), blocks("console", MISTAKES)
    with pytest.raises(RulesError) as raised:
        load_rules(text)
    assert output == f"$ gateway rules check rules.yaml\n{raised.value}\n10 errors\n"
    assert len(raised.value.problems) == 10
    assert not is_valid(text)


def test_policy_keys_stand_in_their_table_with_what_they_are_by_default() -> None:
    table = PAGE[PAGE.index("## Policy keys") : PAGE.index("**The chain.**")]
    rows = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert set(rows) == {name for name, row in POLICY.items() if row.is_obeyed} | {CLASSIC.name}


@pytest.mark.parametrize(
    ("section", "keys"),
    [("## sync", {*SYNC_LIST, *SYNC_CHART}), ("## tests", {*TEST}), ("## egress", {*EGRESS})],
)
def test_keys_of_a_section_stand_in_its_tables(section: str, keys: set[str]) -> None:
    told = PAGE[PAGE.index(f"{section}\n") :].removeprefix(section).partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE)) == keys
