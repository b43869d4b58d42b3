"""A rule that is disabled is read and checked as any other, and matches nothing."""

import pytest

from gateway.oci.repository import Repository
from gateway.rules.identity import patterns_key
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet
from gateway.rules.problems import RulesError
from gateway.rules.route import Wanted, route
from gateway.rules.warnings import warn

OFF = '- {name: off, repository: "a/*", rewrite: off.example.com/$1, enabled: false}'
ON = '- {name: on, repository: "a/*", rewrite: on.example.com/$1}'


def rules(*entries: str, top: str = "") -> RuleSet:
    return load_rules(f"version: 1\n{top}rules:\n" + "\n".join(entries))


def target(rule_set: RuleSet) -> str:
    return str(route(rule_set, Wanted(Repository.parse("a/b"))).first.target)


def test_a_disabled_rule_is_passed_over() -> None:
    assert target(rules(OFF, ON)) == "on.example.com/b"
    assert target(rules(OFF.replace("false", "true"), ON)) == "off.example.com/b"


def test_a_disabled_rule_covers_nothing_and_is_covered_by_nothing() -> None:
    assert not warn(rules(OFF, ON), "rules.yaml")
    assert not warn(rules(ON, OFF), "rules.yaml")
    (problem,) = warn(rules(OFF, ON, ON.replace("name: on", "name: late")), "rules.yaml")
    assert (problem.key_path, problem.line) == ("rules[3]", 5)


def test_a_disabled_rule_is_checked() -> None:
    with pytest.raises(RulesError, match=r"there is no capture \$2"):
        rules(OFF.replace("$1", "$2"))


def test_a_disabled_rule_opens_no_host_to_an_allowlist() -> None:
    listed = rules(OFF, top="egress: {mode: allowlist}\n")
    assert listed.denial("off.example.com") is not None


def test_enabled_is_true_or_false() -> None:
    with pytest.raises(RulesError, match="enabled: expected true or false"):
        rules(OFF.replace("false", "sometimes"))


def test_a_rule_keeps_its_key_while_it_moves_and_is_switched() -> None:
    first, second = rules(OFF, ON).rules
    assert first.key == second.key == patterns_key("", "a/*")
    assert patterns_key("a", "") != patterns_key("", "a")
