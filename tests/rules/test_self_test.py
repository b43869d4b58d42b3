"""A file's own tests: what they may expect, and what is told where it comes out otherwise."""

import pytest

from gateway.rules.load import load_rules
from gateway.rules.problems import Problem, RulesError

RULES = """\
version: 1
upstreams:
  denied.example: {deny: ask your team}
  proxied.example: {rewrite_dependencies: true}
rules:
- {name: short, repository: "short/*", rewrite: a.example/$1}
- {name: both, repository: "both/*", rewrite: [a.example/$1, b.example/$1]}
- {name: half, repository: "half/*", rewrite: [a.example/$1, denied.example/$1]}
- {name: shut, repository: "shut/*", deny: closed}
- {name: ours, host: "*.ours.example", repository: "**", rewrite: $1.example/$2}
- {name: hub, repository: "hub/*", rewrite: docker.io/$1}
- {name: dependencies, repository: "proxied.example/**", fresh_for: 1s}
tests:
"""


def failures(*tests: str) -> list[Problem]:
    try:
        load_rules(RULES + "".join(f"- {test}\n" for test in tests))
    except RulesError as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize(
    "test",
    [
        "{ask: short/x, target: a.example/x}",
        "{ask: short/x, target: [a.example/x]}",
        "{ask: both/x, target: [a.example/x, b.example/x]}",
        "{ask: half/x, target: a.example/x}",
        "{ask: shut/x, target: DENIED}",
        "{ask: denied.example/x, target: DENIED}",
        "{ask: nothing/x, target: NAME_UNKNOWN}",
        "{ask: a.svc/x, target: NAME_UNKNOWN}",
        "{ask: nexus:8443/x, target: NAME_UNKNOWN}",
        "{ask: x/y, host: eu.ours.example, target: eu.example/x/y}",
        "{ask: c.example/x, target: c.example/x}",
        "{ask: hub/x, target: docker.io/library/x}",
        "{ask: proxied.example/x, target: proxied.example/x}",
    ],
)
def test_a_test_that_comes_out_as_it_is_expected_says_nothing(test: str) -> None:
    assert failures(test) == []


@pytest.mark.parametrize(
    ("test", "message", "hint"),
    [
        (
            "{ask: short/x, target: b.example/x}",
            "short/x leads to a.example/x, expected was b.example/x",
            "decided by the rule 'short' in line 6",
        ),
        (
            "{ask: both/x, target: a.example/x}",
            "both/x leads to a.example/x then b.example/x, expected was a.example/x",
            "decided by the rule 'both' in line 7",
        ),
        (
            "{ask: both/x, target: [b.example/x, a.example/x]}",
            "both/x leads to a.example/x then b.example/x, expected was b.example/x then a.example/x",
            "decided by the rule 'both' in line 7",
        ),
        (
            "{ask: short/x, target: DENIED}",
            "short/x leads to a.example/x, expected was DENIED",
            "decided by the rule 'short' in line 6",
        ),
        (
            "{ask: c.example/x, target: a.example/x}",
            "c.example/x leads to c.example/x, expected was a.example/x",
            "no rule matches: the name is its own target",
        ),
        (
            "{ask: shut/x, target: a.example/x}",
            "shut/x is refused with DENIED, expected was a.example/x",
            "shut/x: closed",
        ),
        (
            "{ask: shut/x, target: NAME_UNKNOWN}",
            "shut/x is refused with DENIED, expected was NAME_UNKNOWN",
            "shut/x: closed",
        ),
        (
            "{ask: shut/x, host: a.ours.example, target: a.example/shut/x}",
            "shut/x is refused with DENIED, expected was a.example/shut/x",
            "shut/x: closed",
        ),
    ],
)
def test_a_test_that_comes_out_otherwise_tells_what_came_out_and_by_which_rule(
    test: str, message: str, hint: str
) -> None:
    (problem,) = failures(test)
    assert (problem.line, problem.column, problem.key_path) == (14, 3, "tests[1]")
    assert (problem.message, problem.hint) == (message, hint)


def test_a_name_that_nobody_knows_is_told_with_what_would_help() -> None:
    (problem,) = failures("{ask: nothing/x, target: a.example/x}")
    assert problem.message == "nothing/x is refused with NAME_UNKNOWN, expected was a.example/x"
    assert problem.hint is not None
    assert '`repository: "nothing/*"`' in problem.hint


def test_a_target_that_is_missing_since_it_is_refused_is_told_with_the_refusal() -> None:
    (problem,) = failures("{ask: half/x, target: [a.example/x, denied.example/x]}")
    assert problem.hint is not None
    assert "ask your team" in problem.hint


def test_all_that_fail_are_told_at_once_each_at_its_line() -> None:
    found = failures(
        "{ask: short/x, target: b.example/x}",
        "{ask: short/x, target: a.example/x}",
        "{ask: shut/x, target: a.example/x}",
    )
    assert [(problem.line, problem.key_path) for problem in found] == [(14, "tests[1]"), (16, "tests[3]")]


def test_tests_are_not_tried_where_the_rules_are_wrong() -> None:
    text = "version: 1\nrules: [{repository: A}]\ntests: [{ask: x/y, target: a.example/y}]"
    with pytest.raises(RulesError) as caught:
        load_rules(text)
    assert [problem.key_path for problem in caught.value.problems] == ["rules[1].repository"]
