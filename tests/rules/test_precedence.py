"""What stands nearer wins: a rule over an upstream, that over the defaults, a request over all of them."""

import pytest

from gateway.helm.ranges import parse_range
from gateway.oci.errors import OciError, Situation
from gateway.oci.repository import Repository
from gateway.rules.keys import POLICY
from gateway.rules.load import load_rules
from gateway.rules.match import Look
from gateway.rules.model import Policy, Rule, RuleSet, SourceName
from gateway.rules.route import PLAIN, PROVENANCE, Route, Variant, Wanted, dependencies_at, route
from gateway.rules.tree import Place

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

VALUES = {
    "chain": ("[helm]", "[registry]", "[registry, helm]"),
    "chartproxy": ("rule.example", "upstream.example", "defaults.example"),
    "fresh_for": ("1s", "2s", "3s"),
    "recheck_for": ("1s", "2s", "3s"),
    "stale_for": ("1s", "forever", "3s"),
    "missing_for": ("1s", "2s", "3s"),
    "deleted": ("keep", "drop", "keep"),
    "drift": ("follow", "keep", "follow"),
    "digest_mismatch": ("refuse", "warn", "refuse"),
    "provenance": ("true", "false", "true"),
    "rewrite_dependencies": ("false", "true", "false"),
    "tags": ("{allow: [a]}", "{deny: [b]}", "{allow: [c], deny: [d]}"),
    "versions": ("'>=1'", "'>=2'", "'>=3'"),
    "min_age": ("1d", "2d", "3d"),
    "channels": ("{'1': '1'}", "{'2': '2'}", "{'3': '3', '4': '4'}"),
}
EVERY_KEY = pytest.mark.parametrize("key", VALUES)
OWN_HOST = "gateway.example"


def test_every_policy_key_is_among_these() -> None:
    assert set(VALUES) | {"deny"} == {name for name, row in POLICY.items() if row.is_obeyed}


def loaded(rule: str, upstream: str, defaults: str, own_host: str | None = OWN_HOST) -> RuleSet:
    found = load_rules(
        f"version: 1\ndefaults: {{{defaults}}}\n"
        f"upstreams: {{a.example: {{{upstream}}}}}\n"
        f'rules: [{{repository: "short/*", rewrite: a.example/$1, {rule}}}]'
    )
    return RuleSet(found.defaults, found.egress, found.upstreams, found.rules, own_host=own_host)


def routed(rule_set: RuleSet, name: str = "short/x", *, rewrites_dependencies: bool | None = None) -> Route:
    wanted = Wanted(Repository.parse(name), rewrites_dependencies=rewrites_dependencies)
    return route(rule_set, wanted).first


def alone(key: str, value: str) -> Policy:
    return load_rules(f"version: 1\ndefaults: {{{key}: {value}}}").defaults


@EVERY_KEY
def test_the_rule_wins_over_the_upstream_and_that_over_the_defaults(key: str) -> None:
    on_rule, on_upstream, in_defaults = VALUES[key]
    all_three = loaded(f"{key}: {on_rule}", f"{key}: {on_upstream}", f"{key}: {in_defaults}")
    assert routed(all_three).policy == alone(key, on_rule)
    assert routed(all_three, "a.example/x").policy == alone(key, on_upstream)
    assert routed(all_three, "b.example/x").policy == alone(key, in_defaults)


@EVERY_KEY
def test_where_the_nearer_says_nothing_the_farther_holds(key: str) -> None:
    on_rule, on_upstream, in_defaults = VALUES[key]
    assert routed(loaded("", f"{key}: {on_upstream}", f"{key}: {in_defaults}")).policy == alone(
        key, on_upstream
    )
    assert routed(loaded("", "", f"{key}: {in_defaults}")).policy == alone(key, in_defaults)
    assert routed(loaded(f"{key}: {on_rule}", "", f"{key}: {in_defaults}")).policy == alone(key, on_rule)
    assert routed(loaded("", "", "")).policy == Policy()


def test_a_rule_that_states_nothing_changes_nothing() -> None:
    policy = alone("min_age", "3d")
    assert Rule("", Place(), Look(None, None)).change(policy) is policy


def test_each_key_is_taken_from_where_it_stands_nearest() -> None:
    found = routed(loaded("fresh_for: 1s", "fresh_for: 2s, missing_for: 2s", "missing_for: 3s, min_age: 3s"))
    assert (found.policy.fresh_for_seconds, found.policy.missing_for_seconds) == (1, 2)
    assert found.policy.visibility.min_age_seconds == 3


def test_keys_that_hide_tags_are_three_and_do_not_replace_each_other() -> None:
    found = routed(loaded("versions: '>=1'", "min_age: 1d", "tags: {deny: [x]}")).policy.visibility
    assert (found.allow, found.deny, found.min_age_seconds) == ((), ("x",), 86_400)
    assert found.versions == parse_range(">=1")


@pytest.mark.parametrize("upstream", ["deny: closed", "deny: closed, fresh_for: 1s"])
def test_no_rule_opens_what_an_upstream_denies(upstream: str) -> None:
    with pytest.raises(OciError, match="short/x: closed") as caught:
        routed(loaded("fresh_for: 1s", upstream, ""))
    assert caught.value.situation is Situation.DENIED


def test_the_message_is_that_of_the_nearest_denial() -> None:
    denied = load_rules(
        "version: 1\ndefaults: {deny: of all}\nupstreams: {a.example: {deny: of the upstream}}\n"
        'rules: [{repository: "a.example/x", deny: of the rule}]'
    )
    told = {"a.example/x": "of the rule", "a.example/y": "of the upstream", "b.example/y": "of all"}
    for name, message in told.items():
        with pytest.raises(OciError, match=message):
            routed(denied, name)


def test_a_chart_proxy_on_the_rule_is_asked_also_for_an_upstream_that_is_not_public() -> None:
    private = "allow_private: true"
    default = "chartproxy: p.example"
    assert routed(loaded("", private, default)).chartproxy is None
    assert routed(loaded("fresh_for: 1s", private, default)).chartproxy is None
    found = routed(loaded("chartproxy: q.example", private, default))
    assert (found.chartproxy, SourceName.CHARTPROXY in found.chain) == ("q.example", True)
    assert routed(loaded("chartproxy: a.example", private, default)).chartproxy is None


DEPENDENCIES = dependencies_at(OWN_HOST)


@pytest.mark.parametrize(
    ("rule", "upstream", "defaults", "variant"),
    [
        ("", "", "", PLAIN),
        ("provenance: true", "", "", PROVENANCE),
        ("rewrite_dependencies: true", "", "", DEPENDENCIES),
        ("provenance: true", "rewrite_dependencies: true", "", PROVENANCE),
        ("rewrite_dependencies: true", "provenance: true", "", DEPENDENCIES),
        ("rewrite_dependencies: true", "", "provenance: true", DEPENDENCIES),
        ("", "provenance: true", "rewrite_dependencies: true", PROVENANCE),
        ("", "rewrite_dependencies: true", "provenance: true", DEPENDENCIES),
        ("rewrite_dependencies: false", "provenance: true", "", PROVENANCE),
        ("provenance: false", "rewrite_dependencies: true", "", DEPENDENCIES),
        ("provenance: false", "rewrite_dependencies: true", "provenance: true", DEPENDENCIES),
        ("provenance: false, rewrite_dependencies: true", "provenance: true", "", DEPENDENCIES),
        ("rewrite_dependencies: false, provenance: true", "rewrite_dependencies: true", "", PROVENANCE),
        ("rewrite_dependencies: false", "rewrite_dependencies: true", "provenance: true", PLAIN),
    ],
)
def test_of_signed_and_rewritten_the_one_that_stands_nearer_counts(
    rule: str, upstream: str, defaults: str, variant: Variant
) -> None:
    found = routed(loaded(rule, upstream, defaults))
    assert found.variant == variant
    assert not (found.policy.provenance and found.policy.rewrite_dependencies)


@pytest.mark.parametrize(
    ("rule", "wish", "variant"),
    [
        ("", None, PLAIN),
        ("", False, PLAIN),
        ("", True, DEPENDENCIES),
        ("rewrite_dependencies: true", None, DEPENDENCIES),
        ("rewrite_dependencies: true", True, DEPENDENCIES),
        ("rewrite_dependencies: true", False, PLAIN),
        ("provenance: true", None, PROVENANCE),
        ("provenance: true", False, PROVENANCE),
        ("provenance: true", True, DEPENDENCIES),
    ],
)
def test_the_wish_of_one_request_wins_over_the_rules(rule: str, wish: bool | None, variant: Variant) -> None:
    found = routed(loaded(rule, "", ""), rewrites_dependencies=wish)
    assert found.variant == variant
    assert found.rewrites_dependencies == (variant == DEPENDENCIES)
    assert found.plain.variant == PLAIN
    assert found.as_upstream == (found.plain if variant == DEPENDENCIES else found)
    assert found.own_host == OWN_HOST


@pytest.mark.parametrize(("rule", "wish"), [("", True), ("rewrite_dependencies: true", None)])
def test_dependencies_are_not_rewritten_where_our_own_name_is_unknown(rule: str, wish: bool | None) -> None:
    with pytest.raises(OciError, match="PUBLIC_URL") as caught:
        routed(loaded(rule, "", "", own_host=None), rewrites_dependencies=wish)
    assert caught.value.situation is Situation.QUERY_MALFORMED
    assert routed(loaded(rule, "", "", own_host=None), rewrites_dependencies=False).variant == PLAIN


def test_what_is_cached_belongs_to_target_and_variant_whatever_name_was_asked() -> None:
    rule_set = loaded("fresh_for: 1s", "", "")
    short, long = routed(rule_set), routed(rule_set, "a.example/x")
    assert short.cache_key == long.cache_key == ("a.example/x", "plain")
    rewritten = routed(rule_set, rewrites_dependencies=True)
    assert rewritten.cache_key == ("a.example/x", "dependencies@gateway.example")
    assert (
        routed(loaded("", "", "", own_host="other"), rewrites_dependencies=True).cache_key
        != rewritten.cache_key
    )
    assert routed(loaded("provenance: true", "", "")).cache_key == ("a.example/x", "provenance")
    assert (str(short.variant), routed(loaded("", "", "", own_host=None)).own_host) == ("plain", "")
