"""What is remembered of rule sets: which are the same, and for how long."""

import gc
import weakref

import pytest

from gateway.oci.urls import parse_upstream_url
from gateway.rules.load import load_rules
from gateway.sources.rule_sets import RuleSets

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

RULES = "version: 1\nupstreams: {a.example.org: {url: 'https://b.example.org/charts'}, c.example.org: {}}"


def test_a_rule_set_keeps_its_number_and_another_that_reads_the_same_has_another_one() -> None:
    rule_sets, one, other = RuleSets(), load_rules(RULES), load_rules(RULES)
    assert rule_sets.of(one) is rule_sets.of(one)
    assert rule_sets.of(one).number != rule_sets.of(other).number


def test_the_upstreams_that_a_url_may_belong_to_are_found_by_its_host() -> None:
    known = RuleSets().of(load_rules(RULES))
    for url, keys in (
        ("https://a.example.org/x", ["a.example.org"]),
        ("https://b.example.org/y", ["a.example.org"]),
        ("https://c.example.org/", ["c.example.org"]),
        ("https://c.example.org:8443/", []),
        ("https://d.example.org/", []),
    ):
        assert [upstream.key for upstream in known.upstreams_at(parse_upstream_url(url))] == keys


def test_after_a_thousand_reloads_few_are_held_and_no_number_came_twice() -> None:
    rule_sets, first = RuleSets(), load_rules(RULES)
    numbers = {rule_sets.of(first).number}
    held = []
    for _ in range(1000):
        rules = load_rules("version: 1")
        numbers.add(rule_sets.of(rules).number)
        held.append(weakref.ref(rules.rules))
    numbers.add(rule_sets.of(first).number)  # forgotten meanwhile: it counts as another one
    del rules
    gc.collect()
    assert len(numbers) == 1002
    assert sum(one() is not None for one in held) < 10
