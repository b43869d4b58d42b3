"""rules.yaml from the worst side: cut, huge, nested, written by chance; rules or problems, never a crash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.load import load_rules
from gateway.rules.problems import MAX_PROBLEMS, Problem, RulesError
from gateway.rules.rule_section import MAX_RULES
from gateway.rules.tree import MAX_SIZE_BYTES
from tests.rules.test_load import FULL, SHIPPED, TEN_MISTAKES

pytestmark = pytest.mark.slow  # thousands of files, seconds together

RULES = """\
version: 1
rules:
  - name: é team
    host: "*.example.com"
    repository: "~team-([a-z0-9]+)/(?P<chart>.+)"
    rewrite: ["charts.corp.example/$2/${chart}", "$3.corp.example/$1"]
    tags: {allow: ["1.*"], deny: ["*-rc*"]}
    versions: ">=1 <3"
    channels: {"5": ">=5 <6"}
    min_age: 3d
    provenance: true
  - {repository: "**", deny: "not here"}
tests:
  - {ask: team-a/b, host: x.example.com, target: [charts.corp.example/a/b, b.corp.example/x]}
  - {ask: x/y, target: DENIED}
"""


def problems(text: str | bytes) -> tuple[Problem, ...] | None:
    try:
        load_rules(text)
    except RulesError as error:
        return error.problems
    return None


def _load_or_refuse(text: str | bytes) -> None:
    found = problems(text)
    assert found is None or len(found) > 0
    assert all(problem.line >= 1 and problem.column >= 1 for problem in found or ())


@pytest.mark.parametrize("text", [SHIPPED.read_text("utf-8"), FULL, TEN_MISTAKES, RULES])
def test_a_file_cut_at_any_byte_is_rules_or_problems(text: str) -> None:
    content = text.encode()
    for length in range(len(content)):
        _load_or_refuse(content[:length])


@pytest.mark.parametrize("text", [FULL, TEN_MISTAKES, RULES])
def test_so_is_a_file_that_lost_any_byte(text: str) -> None:
    content = text.encode()
    for place in range(len(content)):
        _load_or_refuse(content[:place] + content[place + 1 :])


def test_the_rules_of_this_file_are_good_where_nothing_is_lost() -> None:
    assert len(load_rules(RULES).tests) == 2


def test_ten_megabytes_are_read_and_a_byte_more_is_one_problem() -> None:
    text = "version: 1\n#" + "x" * MAX_SIZE_BYTES
    load_rules(text[:MAX_SIZE_BYTES])
    (problem,) = problems(text[: MAX_SIZE_BYTES + 1]) or ()
    assert "larger" in problem.message


@pytest.mark.parametrize(
    "text",
    ["version: 1\n---\nversion: 1\n", RULES + "---\n", RULES + "...\n---\nrules: []\n"],
)
def test_two_documents_are_one_problem(text: str) -> None:
    (problem,) = problems(text) or ()
    assert "second document" in problem.message


def many(
    count: int, section: str = "rules", entry: str = '{repository: "t%d/*", rewrite: a.example/$1}'
) -> str:
    entries = "".join(f"- {entry.replace('%d', str(number))}\n" for number in range(count))
    return f"version: 1\n{section}:\n{entries}"


def test_ten_thousand_rules_are_read_and_one_more_is_one_problem() -> None:
    found = load_rules(many(MAX_RULES)).rules
    assert len(found) == MAX_RULES == 10_000
    first = found.first("", "t9999/x")
    assert first is not None
    (problem,) = problems(many(MAX_RULES + 1)) or ()
    assert (problem.line, problem.column, problem.key_path) == (3, 1, "rules")
    assert problem.message == "more than 10000 entries"


def test_so_are_tests() -> None:
    entry = "{ask: a.example/%d, target: a.example/%d}"
    assert len(load_rules(many(MAX_RULES, "tests", entry)).tests) == MAX_RULES
    (problem,) = problems(many(MAX_RULES + 1, "tests", entry)) or ()
    assert (problem.line, problem.key_path) == (3, "tests")


def test_ten_thousand_wrong_rules_are_a_hundred_problems() -> None:
    assert len(problems(many(MAX_RULES, entry="{repository: '~%d('}")) or ()) == MAX_PROBLEMS


@pytest.mark.parametrize("expression", ["~t%d.{1000}", "~t%d(?:.{500}|[^x]{400})"])
def test_large_regular_expressions_are_as_good_as_small_ones(expression: str) -> None:
    found = load_rules(many(500, entry=f"{{repository: '{expression}', fresh_for: 1s}}")).rules
    assert len(found) == 500
    assert found.first("", "t7" + "y" * 1000 if "1000" in expression else "t7" + "y" * 500) is not None


@pytest.mark.parametrize("value", ["{a: b}", "text", "1", "{0: {repository: a}}"])
@pytest.mark.parametrize("section", ["rules", "tests"])
def test_what_is_no_list_is_one_problem(section: str, value: str) -> None:
    (problem,) = problems(f"version: 1\n{section}: {value}") or ()
    assert (problem.line, problem.key_path, problem.message) == (2, section, "expected a list")


@pytest.mark.parametrize("value", ["", "~", "null", "[]"])
def test_nothing_is_an_empty_list(value: str) -> None:
    found = load_rules(f"version: 1\nrules: {value}\ntests: {value}")
    assert (len(found.rules), found.tests) == (0, ())


def test_a_hundred_problems_are_enough_of_a_hostile_file() -> None:
    text = "version: 1\n" + "".join(f"k{number}: 1\n" for number in range(100_000))
    assert len(problems(text) or ()) == MAX_PROBLEMS


@pytest.mark.parametrize(
    "bomb",
    [
        "[" * 60_000,
        "{a: " * 50_000,
        "version: 1\nrules:\n- " + "{rewrite: " * 50_000,
        "version: 1\nrules: " + "[" * 60_000,
    ],
)
def test_a_bomb_is_one_clean_problem(bomb: str) -> None:
    assert len(problems(bomb) or ()) == 1


WORDS = st.sampled_from(
    [
        *("version", "defaults", "egress", "upstreams", "a.b", "url", "deny", "mode", "hosts"),
        *(":", ": ", "- ", "\n", "\n  ", "\n    ", "{", "}", "[", "]", ", ", "&a ", "*a", '"'),
        *("1", "forever", "true", "~", "5m", "rules", "tests", "repository", "rewrite", "ask", "target"),
        *("'**'", "'~(a)'", "$1", "a.b/$1", "versions", "channels", "tags", "allow", "'>=1'"),
    ]
)


@given(st.lists(WORDS, max_size=30).map("".join) | st.text(max_size=60))
def test_any_text_is_rules_or_problems(text: str) -> None:
    _load_or_refuse("version: 1\n" + text)
    _load_or_refuse(text)


@given(st.binary(max_size=60))
def test_any_bytes_are_rules_or_problems(content: bytes) -> None:
    _load_or_refuse(content)
