"""Each value of a policy is told in the words of rules.yaml, and where it stands."""

import pytest

from gateway.oci.repository import Repository
from gateway.rules.keys import CLASSIC, POLICY
from gateway.rules.load import load_rules
from gateway.rules.model import Policy, RuleSet
from gateway.rules.policy_origins import PolicyValue, duration_words, policy_values
from gateway.rules.route import Wanted, route

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

# Every key, with two values that are not the built-in one, and how the first is told.
VALUES = [
    ("chain", "[helm]", "[registry]", ["helm"]),
    ("chartproxy", "one.example.test", "two.example.test", "one.example.test"),
    ("fresh_for", "90s", "2h", "90s"),
    ("recheck_for", "36h", "2h", "36h"),
    ("stale_for", "2d", "2h", "2d"),
    ("missing_for", "0s", "2h", "0s"),
    ("deleted", "drop", "drop", "drop"),
    ("drift", "follow", "follow", "follow"),
    ("digest_mismatch", "warn", "warn", "warn"),
    ("tags", "{allow: ['1.*'], deny: ['*-rc*']}", "{deny: [x]}", {"allow": ["1.*"], "deny": ["*-rc*"]}),
    ("versions", "'>=1 <3'", "'*'", ">=1 <3"),
    ("min_age", "3d", "2h", "3d"),
    ("channels", "{'5': '>=5 <6'}", "{}", {"5": ">=5 <6"}),
    ("provenance", "true", "true", True),
    ("rewrite_dependencies", "true", "true", True),
]


def rules(defaults: str = "", upstream: str = "", rule: str = "") -> RuleSet:
    return load_rules(
        f"version: 1\ndefaults: {{{defaults}}}\n"
        f"upstreams: {{up.example.test: {{kind: helm, url: 'http://up.example.test/', {upstream}}}}}\n"
        f"rules: [{{repository: 'a/*', rewrite: up.example.test/$1, {rule}}}]\n"
    )


def told(rule_set: RuleSet, name: str = "a/demo") -> dict[str, PolicyValue]:
    found = route(rule_set, Wanted(Repository.parse(name), rewrites_dependencies=False))
    values = policy_values(found.first.policy, found.rule, found.first.upstream, rule_set)
    return {value.key: value for value in values}


def test_every_key_that_is_obeyed_is_told() -> None:
    obeyed = {name for name, row in POLICY.items() if row.is_obeyed}
    assert set(told(rules())) == obeyed | {CLASSIC.name}
    assert {key for key, *_ in VALUES} == obeyed - {"deny"}  # what denies leads nowhere: it has no policy


def test_what_nobody_says_is_built_in() -> None:
    assert {value.origin for value in told(rules()).values()} == {"built in"}
    assert told(rules())["stale_for"].value == "forever"
    assert [told(rules())[key].value for key in ("chain", "channels", "versions", "tags", "deny")] == [
        None
    ] * 5


@pytest.mark.parametrize(("key", "one", "_two", "words"), VALUES)
def test_a_value_is_told_with_where_it_stands(key: str, one: str, _two: str, words: object) -> None:
    said = f"{key}: {one}"
    for origin, rule_set in (
        ("defaults", rules(defaults=said)),
        ("upstream", rules(upstream=said)),
        ("rule", rules(rule=said)),
    ):
        value = told(rule_set)[key]
        assert (value.value, value.origin) == (words, origin)


@pytest.mark.parametrize(("key", "one", "two", "words"), VALUES)
def test_the_nearer_of_two_values_is_told(key: str, one: str, two: str, words: object) -> None:
    value = told(rules(defaults=f"{key}: {two}", upstream=f"{key}: {two}", rule=f"{key}: {one}"))[key]
    assert (value.value, value.origin) == (words, "rule")


def test_what_a_rule_turns_off_by_its_opposite_is_the_rules_too() -> None:
    values = told(rules(defaults="provenance: true", rule="rewrite_dependencies: true"))
    assert (values["provenance"].value, values["provenance"].origin) == (False, "rule")


def test_a_chart_proxy_that_an_upstream_says_again_is_its_own() -> None:
    values = told(rules(defaults="chartproxy: one.example.test", upstream="chartproxy: one.example.test"))
    assert values["chartproxy"].origin == "upstream"


def test_a_name_without_a_rule_or_an_upstream_has_the_defaults() -> None:
    values = told(
        rules(defaults="fresh_for: 1h", upstream="fresh_for: 2h", rule="fresh_for: 3h"), "b.example.test/x"
    )
    assert (values["fresh_for"].value, values["fresh_for"].origin) == ("1h", "defaults")


def test_upstreams_without_a_rule_have_their_own() -> None:
    values = told(rules(defaults="fresh_for: 1h", upstream="fresh_for: 2h"), "up.example.test/x")
    assert (values["fresh_for"].value, values["fresh_for"].origin) == ("2h", "upstream")


@pytest.mark.parametrize("words", ["1d", "36h", "90s", "5m", "0s", "0.5s", "7d"])
def test_a_duration_is_told_as_it_could_be_written(words: str) -> None:
    policy = load_rules(f"version: 1\ndefaults: {{fresh_for: {words}}}").defaults
    assert duration_words(policy.fresh_for_seconds) == words


def test_forever_is_a_word() -> None:
    assert duration_words(Policy().stale_for_seconds) == "forever"


def test_a_rule_about_a_host_tells_that_its_classic_paths_are_answered() -> None:
    rule_set = load_rules("version: 1\nrules: [{host: h.example.test, classic: true}]")
    found = route(rule_set, Wanted(Repository.parse("h.example.test/x"), "h.example.test"))
    values = policy_values(found.first.policy, found.rule, found.first.upstream, rule_set)
    assert [(one.value, one.origin) for one in values if one.key == "classic"] == [(True, "rule")]
