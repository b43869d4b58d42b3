"""What lies just below a name, by the rules alone."""

import pytest

from gateway.oci.repository import Repository
from gateway.rules.below import (
    PROBE,
    below,
    is_just_below,
    names_of,
    synced_names,
    ways_of,
    written_names,
)
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet
from gateway.rules.route import Wanted, route


def rules_of(text: str) -> RuleSet:
    return load_rules(f"version: 1\n{text}")


def named(rules: str, name: str, *targets: str) -> list[str]:
    """By which names these targets are asked for, if those of a probe lead there."""
    routing = route(rules_of(rules), Wanted(Repository.parse(name)))
    return list(names_of(list(ways_of(name, routing)), targets))


def test_names_below_a_prefix_have_one_segment_more() -> None:
    assert (below("a/b", "c"), below("", "c")) == ("a/b/c", "c")
    assert is_just_below("a/b", "a/b/c")
    assert is_just_below("", "c")
    for name in ("a/b", "a/b/c/d", "ab/c", "a/b/"):
        assert not is_just_below("a/b", name)


def test_what_a_place_has_is_named_as_the_rule_that_leads_there_names_it() -> None:
    rules = "rules:\n  - {repository: argo/*, rewrite: [up.example.test/x/my-$1-chart, b.example.test/$1]}\n"
    asked = f"argo/{PROBE}"
    assert named(rules, asked, "up.example.test/x/my-cd-chart") == ["argo/cd"]
    assert named(rules, asked, "b.example.test/cd") == ["argo/cd"]
    assert (
        named(rules, asked, "up.example.test/x/cd", "up.example.test/x/my--chart", "c.example.test/cd") == []
    )


@pytest.mark.parametrize(
    "rewrite", ["up.example.test/$1/chart", "up.example.test/$1/$1", "up.example.test/$1-$1"]
)
def test_a_rule_that_puts_the_name_elsewhere_is_no_way(rewrite: str) -> None:
    rules = f"rules:\n  - {{repository: argo/*, rewrite: {rewrite}}}\n"
    routing = route(rules_of(rules), Wanted(Repository.parse(f"argo/{PROBE}")))
    assert list(ways_of(f"argo/{PROBE}", routing)) == []


def test_rules_spell_names_out_and_leave_some_of_others_open() -> None:
    rules = rules_of(
        "rules:\n"
        "  - {repository: argo/cd, rewrite: a.example.test/cd}\n"
        "  - {repository: argo/x-*, rewrite: a.example.test/$1}\n"
        "  - {repository: '*/both', rewrite: a.example.test/both}\n"
        "  - {repository: other/cd, rewrite: a.example.test/cd}\n"
        "  - {repository: argo/*-*, rewrite: a.example.test/$1}\n"
        "  - {repository: '~argo/(.*)', rewrite: a.example.test/$1}\n"
        "  - {repository: argo/*, rewrite: a.example.test/$1}\n"
        "  - {host: h.example.test, repository: argo/hosted, rewrite: a.example.test/cd}\n"
        "  - {host: h.example.test, rewrite: a.example.test/$0}\n"
    )
    assert list(written_names(rules, "argo", "")) == ["argo/cd", f"argo/x-{PROBE}", "argo/both"]
    assert "argo/hosted" in set(written_names(rules, "argo", "h.example.test"))


def test_lists_name_charts_in_full_or_by_a_glob() -> None:
    rules = rules_of(
        "sync:\n"
        "  - {name: one, charts: [{repository: a/b}, {repository: a/*}]}\n"
        "  - {name: two, images: [{repository: c/d, newest: 1}], charts: [{repository: e/f}]}\n"
    )
    assert list(synced_names(rules)) == ["a/b", "e/f"]
