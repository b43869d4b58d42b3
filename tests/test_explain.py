"""What explain says is what a pull does: the same targets and sources in the same order, the same refusal."""

import asyncio
import json
from typing import TypeVar

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from gateway.explained import Explanation
from gateway.oci.repository import Repository
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet
from gateway.rules.problems import RulesError
from gateway.rules.route import Wanted
from tests.explaining import Asked, telling

pytestmark = pytest.mark.slow  # real files, sockets and databases

Value = TypeVar("Value")

PATTERNS = ["a/*", "a/*", "a/**", "*/x", "**", "~(a|b)/(.+)", "~(?P<team>[a-z]+)/(?P<chart>[^/]+)"]
PLACES = ["one.example.test", "two.example.test", "kept.example.test", "kept.example.test/a"]
REFUSED_PLACES = ["private.example.test", "denied.example.test"]
RESTS = ["$0", "$1", "x", "x/$1"]
ODD_REWRITES = ["$0", "$1", "$1/x", "$1.example.test/${chart}"]
NAMES = [
    "a/x",
    "a/x",
    "a/x",
    "a/b/x",
    "b/x",
    "one.example.test/x",
    "kept.example.test/a/x",
    "denied.example.test/x",
]
HOSTS = ["", "h.test", "other.test"]
TAGS = ["1.0.0", "v1.0.0", "2.0.0", "latest", "5"]
UPSTREAMS = {
    "kept.example.test": {"kind": "helm", "url": "http://kept.example.test:8080/charts"},
    "kept.example.test/a": {"kind": "registry", "url": "https://r.example.test/x"},
    "denied.example.test": {"deny": "not from there"},
    "private.example.test": {"access": "private"},
}


def mostly(usual: st.SearchStrategy[Value], *others: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    """One of the others one time in five."""
    return st.integers(0, 5 * len(others) - 1).flatmap(
        lambda drawn: ([*others, usual])[min(drawn, len(others))]
    )


policies: st.SearchStrategy[dict[str, object]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {},
        optional={
            "chain": st.lists(st.sampled_from(["registry", "chartproxy", "helm"]), min_size=1, unique=True),
            "chartproxy": st.just("proxy.example.test"),
            "versions": st.sampled_from(["<2", ">=2"]),
            "channels": st.just({"5": ">=1"}),
            "provenance": st.booleans(),
            "tags": st.just({"deny": ["v*"]}),
        },
    ),
)
good_rewrites = st.builds("{}/{}".format, st.sampled_from(PLACES), st.sampled_from(RESTS))
refused_rewrites = st.builds("{}/{}".format, st.sampled_from(REFUSED_PLACES), st.sampled_from(RESTS))
rewrites = mostly(good_rewrites, refused_rewrites, st.sampled_from(ODD_REWRITES))
targets = st.one_of([st.lists(rewrites, min_size=number, max_size=3, unique=True) for number in (1, 2, 3)])
looks = st.sampled_from([{}, {}, {}, {"host": "h.test"}, {"host": "*.test"}])
matching = st.builds(lambda pattern, look: {"repository": pattern, **look}, st.sampled_from(PATTERNS), looks)
leading = st.builds(lambda look, to, policy: {**look, "rewrite": to, **policy}, matching, targets, policies)
keeping = st.builds(lambda looks, policy: {**looks, **policy}, matching, policies)
denying = st.builds(lambda looks: {**looks, "deny": "no"}, matching)
files = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "defaults": policies,
        "egress": st.sampled_from([*[{}] * 6, {"mode": "allowlist"}, {"mode": "offline"}]),
        "upstreams": st.just(UPSTREAMS),
        "rules": st.lists(mostly(leading, keeping, denying), min_size=2, max_size=4),
    }
)
wishes = st.builds(
    lambda name, host: Wanted(Repository.parse(name), host), st.sampled_from(NAMES), st.sampled_from(HOSTS)
)


def loaded(file: dict[str, object]) -> RuleSet:
    """JSON is YAML; what was put together to something that is no rules file is not looked at."""
    try:
        return load_rules(json.dumps(file))
    except RulesError:
        reject()


def would_ask(told: Explanation) -> list[Asked]:
    """Whom an explanation says a pull asks, if nobody has it; a target that is led to twice answers once."""
    places = (
        (str(target.route.target), source.name)
        for target in told.targets
        if told.is_asked(target)
        for source in target.chain
    )
    return list(dict.fromkeys(places))


@settings(deadline=None)
@given(files, wishes, st.sampled_from(TAGS))
def test_a_pull_of_what_nobody_has_asks_whom_explain_says_and_is_refused_as_it_says(
    file: dict[str, object], wanted: Wanted, tag: str
) -> None:
    async def compare() -> None:
        async with telling(loaded(file)) as at:
            told = await at.explain(wanted, tag)
            assert at.upstream.asked == []
            refused = await at.pull(wanted, tag)
            assert refused is not None
            assert at.upstream.asked == would_ask(told)
            if not told.targets:
                assert told.refusal is not None
                assert (refused.code, refused.message) == (told.refusal.code, told.refusal.message)
            elif told.refusal is not None and all(told.is_asked(target) for target in told.targets):
                assert refused.code == told.refusal.code

    asyncio.run(compare())


@settings(deadline=None)
@given(files, wishes, st.sampled_from(TAGS[:-1]), st.sets(st.integers(0, 8), min_size=1))
def test_what_a_pull_finds_is_told_as_held_where_it_was_found_and_is_not_asked_for_again(
    file: dict[str, object], wanted: Wanted, tag: str, having: set[int]
) -> None:
    async def compare() -> None:
        async with telling(loaded(file)) as at:
            order = would_ask(await at.explain(wanted, tag))
            at.upstream.having = {place for number, place in enumerate(order) if number in having}
            refused = await at.pull(wanted, tag)
            first = next((place for place in order if place in at.upstream.having), None)
            assert (refused is None) == (first is not None)
            if first is None:
                return
            assert at.upstream.asked == order[: order.index(first) + 1]
            told = await at.explain(wanted, tag)
            held = {
                str(target.route.target): [one.row.source for one in target.held] for target in told.targets
            }
            assert held[first[0]] == [first[1]]
            assert (
                told.home is None
                if len(told.targets) == 1 and told.refusal is None
                else str(told.home) == first[0]
            )
            assert (await at.pull(wanted, tag), at.upstream.asked) == (None, [])

    asyncio.run(compare())
