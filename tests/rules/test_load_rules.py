"""The sections ``rules`` and ``tests``: what each key takes, and every mistake at its line and column."""

import pytest

from gateway.helm.ranges import parse_range
from gateway.rules.load import load_rules
from gateway.rules.model import Policy, Rule, RuleSet, SourceName
from gateway.rules.problems import Problem, RulesError
from gateway.rules.tree import Place
from gateway.rules.visibility import Visibility

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

FULL = """\
version: 1
defaults: {fresh_for: 1m}
rules:
  - name: short refs for Argo
    host: "*.example.com"
    repository: "argo/*"
    rewrite:
      - argoproj.github.io/$1/$2
      - ghcr.io/argo/$2
    channels: {"5": ">=5 <6", stable: 1.x}
    tags: {allow: ["1.*", v*], deny: ["*-rc*"]}
    versions: 1.2
    min_age: 3d
    provenance: true
    chain: [registry, helm]
  - {repository: "~(?P<team>[a-z]+)/(.+)", rewrite: "a.example/${team}/$2"}
  - {host: ours.example, deny: "not here"}
tests:
  - {ask: argo/argo-cd, host: x.example.com, target: [argoproj.github.io/x/argo-cd, ghcr.io/argo/argo-cd]}
  - ask: a/b
    target: a.example/a/b
  - {ask: "0/b", host: ours.example, target: DENIED}
  - {ask: a, target: NAME_UNKNOWN}
"""


def problems(text: str) -> list[Problem]:
    with pytest.raises(RulesError) as caught:
        load_rules(text)
    return list(caught.value.problems)


def on_rule(*lines: str, before: str = "version: 1\n") -> list[Problem]:
    return problems(before + "rules:\n- " + "\n  ".join(lines) + "\n")


def told(found: list[Problem]) -> list[tuple[int, int, str]]:
    return [(problem.line, problem.column, problem.key_path) for problem in found]


def rules_of(rule_set: RuleSet) -> list[Rule]:
    return list(rule_set.rules)


def test_every_key_of_a_rule_goes_where_it_belongs() -> None:
    first, second, third = rules_of(load_rules(FULL))
    assert (first.name, first.place) == ("short refs for Argo", Place(4, 5))
    assert [rewrite.text for rewrite in first.rewrites] == ["argoproj.github.io/$1/$2", "ghcr.io/argo/$2"]
    assert first.stated == {"channels", "tags", "versions", "min_age", "provenance", "chain"}
    assert first.change(Policy(fresh_for_seconds=60)) == Policy(
        fresh_for_seconds=60,
        chain=(SourceName.REGISTRY, SourceName.HELM),
        provenance=True,
        channels={"5": parse_range(">=5 <6"), "stable": parse_range("1.x")},
        visibility=Visibility(("1.*", "v*"), ("*-rc*",), parse_range("1.2"), 259_200),
    )
    found = second.captures("", "b/c")
    assert found is not None
    assert (found.whole, found.texts, second.targets(found)) == ("b/c", ("b", "c"), ["a.example/b/c"])
    assert second.captures("", "B") is None
    assert (second.name, second.place, second.stated) == ("rule 2", Place(16, 5), frozenset())
    assert second.change(Policy()) == Policy()
    assert (third.deny, third.rewrites) == ("not here", ())
    assert len(load_rules(FULL).tests) == 4


@pytest.mark.parametrize(
    ("lines", "column", "key_path", "message"),
    [
        (["repository: a/*", "name: ''"], 9, "name", "a name of one line"),
        (["repository: a/*", "name: ' '"], 9, "name", "a name of one line"),
        (["repository: a/*", f"name: {'x' * 201}"], 9, "name", "at most 200"),
        (["repository: a/*", 'name: "a\\nb"'], 9, "name", "a name of one line"),
        (["repository: a/*", "name: [a]"], 9, "name", "expected a name"),
        (["host: a.example", "repository:"], 14, "repository", "expected a pattern"),
        (["host: a.example", "repository: [a/*]"], 15, "repository", "expected a pattern"),
        (["host: a.example", "repository: ''"], 16, "repository", "expected a pattern"),
        (["repository: a/*", "host: Example.com"], 9, "host", "lower case"),
        (["repository: a/*", "host: '~a(?=b)'"], 12, "host", "(?="),
        (["repository: a/*", "rewrite: b.example/$2"], 22, "rewrite", "no capture $2"),
        (["repository: a/*", "rewrite: b.example:80/$1"], 21, "rewrite", "no port"),
        (["repository: a/*", "versions: 'abc'"], 13, "versions", "no range of versions"),
        (["repository: a/*", "versions: [1]"], 13, "versions", "expected a range"),
        (["repository: a/*", "tags: [a]"], 9, "tags", "expected {allow"),
        (["repository: a/*", "tags:"], 8, "tags", "expected {allow"),
        (["repository: a/*", "tags: {alow: [a]}"], 10, "tags", "unknown key 'alow'"),
        (["repository: a/*", "tags: {allow: [a], allow: [b]}"], 22, "tags", "stands twice"),
        (["repository: a/*", "tags: {allow: a}"], 17, "tags", "expected a list"),
        (["repository: a/*", "tags: {deny: [a/b]}"], 17, "tags", "a glob of tags"),
        (["repository: a/*", "channels: {a/b: '1'}"], 14, "channels", "'a/b' is no tag"),
        (["repository: a/*", "channels: {x: abc}"], 17, "channels", "no range of versions"),
        (["repository: a/*", "channels: {x: '1', x: '2'}"], 22, "channels", "stands twice"),
        (["repository: a/*", "channels: [x]"], 13, "channels", "expected tags and ranges"),
        (["repository: a/*", "min_age: forever"], 12, "min_age", "a duration"),
        (["repository: a/*", "provenance: 1"], 15, "provenance", "true or false"),
        (["repository: a/*", "chain: [helm, helm]"], 10, "chain", "twice"),
        (["repository: a/*", "deny: true"], 9, "deny", "expected a message"),
        (["repository: a/*", "classic: true"], 3, "classic", "this rule has no `host`"),
        (["repository: a/*", "rewrit: b.example/$1"], 3, "rewrit", "unknown key"),
        (["repository: a/*", "repository: b/*"], 3, "repository", "twice"),
        (["repository: a/*", "url: https://a.example"], 3, "url", "unknown key"),
    ],
)
def test_a_value_that_is_not_what_its_key_needs_is_told_at_its_place(
    lines: list[str], column: int, key_path: str, message: str
) -> None:
    (problem,) = on_rule(*lines)
    assert told([problem]) == [(4, column, f"rules[1].{key_path}")]
    assert message in problem.message


def test_a_mistyped_key_is_answered_with_the_nearest() -> None:
    hints = {problem.key_path: problem.hint for problem in on_rule("repositry: a/*", "rewrit: b.example/$1")}
    assert hints["rules[1].repositry"] == "did you mean repository?"
    assert hints["rules[1].rewrit"] == "did you mean rewrite?"
    (problem,) = on_rule("repository: a/*", "tags: {alow: [a]}")
    assert problem.hint == "did you mean allow?"
    (problem,) = on_rule("repository: a/*", "tags: {zzzz: [a]}")
    assert problem.hint == "known here: allow, deny"


@pytest.mark.parametrize(
    ("lines", "line", "column", "key_path", "message"),
    [
        (["rewrite: a.example/$0"], 3, 3, "rules[1]", "it matches nothing in particular"),
        (["name: a"], 3, 3, "rules[1]", "it matches nothing in particular"),
        (["repository: a", "deny: no", "rewrite: b.example/$0"], 5, 3, "rules[1]", "leads nowhere"),
        (
            ["repository: a", "provenance: true", "rewrite_dependencies: true"],
            *(5, 3, "rules[1].rewrite_dependencies", "excludes `provenance: true`"),
        ),
        (["repository: a", "rewrite: localhost/$0"], 3, 3, "rules[1].rewrite", "no public host"),
        (["repository: a", "rewrite: 10.0.0.1/$0"], 3, 3, "rules[1].rewrite", "no public host"),
        (["repository: a", "chain: [chartproxy]"], 3, 3, "rules[1].chain", "no `chartproxy` is named"),
        (
            ["repository: a", "rewrite: b.example/$0", "chain: [chartproxy]"],
            *(3, 3, "rules[1].chain", "no `chartproxy` is named"),
        ),
        (
            ["repository: a", "provenance: true", "chartproxy: p.example", "chain: [chartproxy, helm]"],
            *(3, 3, "rules[1].chain", "exclude each other"),
        ),
    ],
)
def test_keys_that_contradict_each_other_or_lead_nowhere_are_told(
    lines: list[str], line: int, column: int, key_path: str, message: str
) -> None:
    (problem,) = on_rule(*lines)
    assert told([problem]) == [(line, column, key_path)]
    assert message in problem.message


@pytest.mark.parametrize("section", ["defaults: {%s}", "upstreams: {a.example: {%s}}"])
def test_signed_and_rewritten_exclude_each_other_wherever_both_stand(section: str) -> None:
    keys = "provenance: true, rewrite_dependencies: true"
    (problem,) = problems("version: 1\n" + section % keys)
    assert problem.key_path.endswith("rewrite_dependencies")
    load_rules("version: 1\n" + section % keys.replace("provenance: true", "provenance: false"))


@pytest.mark.parametrize(
    ("upstream", "lines", "faults"),
    [
        ("{}", ["repository: a", "rewrite: b.example/x/$0", "provenance: true"], 0),
        ("{}", ["repository: a", "rewrite: b.example/x/$0", "fresh_for: 1s"], 0),
        ("{chartproxy: q.example}", ["repository: a", "rewrite: b.example/$0", "chain: [chartproxy]"], 0),
        ("{ca_file: c}", ["repository: a", "rewrite: b.example/$0", "chain: [chartproxy]"], 1),
        (
            "{ca_file: c}",
            ["repository: a", "rewrite: b.example/$0", "chain: [chartproxy]", "chartproxy: q.example"],
            0,
        ),
        ("{chain: [chartproxy]}", ["repository: a", "rewrite: b.example/$0", "provenance: true"], 1),
        ("{}", ["repository: '*'", "rewrite: $1.example/$0", "chain: [chartproxy]"], 0),
    ],
)
def test_a_chain_of_a_rule_is_judged_with_the_upstream_it_leads_to(
    upstream: str, lines: list[str], faults: int
) -> None:
    before = f"version: 1\ndefaults: {{chartproxy: p.example}}\nupstreams: {{b.example: {upstream}}}\n"
    text = before + "rules:\n- " + "\n  ".join(lines)
    if faults:
        assert [problem.key_path for problem in problems(text)] == ["rules[1].chain"] * faults
    else:
        load_rules(text)


def test_a_rewrite_may_lead_to_a_key_that_is_no_public_host() -> None:
    text = "version: 1\nupstreams: {nexus/team: {}}\nrules: [{repository: 'a/*', rewrite: nexus/team/$1}]"
    assert len(load_rules(text).rules) == 1


def test_a_chain_is_fine_where_the_upstream_of_a_kept_name_has_a_chart_proxy() -> None:
    upstream = "upstreams: {a.example: {chartproxy: p.example}}"
    load_rules(f"version: 1\n{upstream}\nrules: [{{repository: 'a.example/**', chain: [chartproxy]}}]")


@pytest.mark.parametrize("place", ["127.0.0.1", "proxy", "proxy.svc", "proxy.local/charts"])
def test_a_chart_proxy_on_a_rule_is_a_public_host_or_a_key_as_everywhere(place: str) -> None:
    (problem,) = on_rule("repository: a.example/*", f"chartproxy: {place}")
    assert told([problem]) == [(4, 3, "rules[1].chartproxy")]
    assert "no public host" in problem.message


def test_and_a_key_is_fine() -> None:
    text = "version: 1\nupstreams: {proxy: {}}\nrules: [{repository: a.example/x, chartproxy: proxy/charts}]"
    assert len(load_rules(text).rules) == 1


@pytest.mark.parametrize("host", ["metadata.google.internal", "a.default.svc", "printer.local"])
def test_a_rewrite_to_an_inside_name_that_is_no_key_is_told(host: str) -> None:
    (problem,) = on_rule("repository: a", f"rewrite: {host}/$0")
    assert told([problem]) == [(3, 3, "rules[1].rewrite")]


def test_one_fault_of_several_targets_is_told_once() -> None:
    rewrite = "rewrite: [a.example/$0, b.example/$0]"
    assert len(on_rule("repository: a", rewrite, "chain: [chartproxy]")) == 1


def test_a_group_has_one_name_in_host_and_repository() -> None:
    (problem,) = on_rule('host: "~(?P<x>a|b)"', 'repository: "~(?P<x>.+)"', 'rewrite: "c.example/${x}"')
    assert told([problem]) == [(4, 3, "rules[1].repository")]
    assert "the group x" in problem.message


@pytest.mark.parametrize(
    ("entry", "column", "key_path", "message"),
    [
        ("{ask: A/b, target: a.example/b}", 9, ".ask", "no name"),
        ("{ask: oci://a/b, target: a.example/b}", 9, ".ask", "no name"),
        ("{ask: 'a/b:1.0', target: a.example/b}", 9, ".ask", "no name"),
        ("{ask: [a], target: a.example/b}", 9, ".ask", "expected a name"),
        ("{ask: a/b, target: A.example/b}", 22, ".target", "no target"),
        ("{ask: a/b, target: []}", 22, ".target", "at least one"),
        ("{ask: a/b, target: [[a]]}", 23, ".target", "expected a target"),
        ("{ask: a/b, target: UNKNOWN}", 22, ".target", "no target"),
        ("{ask: a/b, target: [DENIED, a.example/b]}", 23, ".target", "no target"),
        ("{ask: a/b, target: a.example/b, host: A.example}", 41, ".host", "expected the host"),
        ("{ask: a/b, target: a.example/b, host: a/b}", 41, ".host", "expected the host"),
        (f"{{ask: a/b, target: a.example/b, host: {'a' * 254}}}", 41, ".host", "expected the host"),
        ("{ask: a/b, taget: a.example/b}", 14, ".taget", "unknown key"),
        ("{ask: a/b}", 3, "", "a name to ask for and the target"),
        ("{target: a.example/b}", 3, "", "a name to ask for and the target"),
        ("text", 3, "", "expected keys and values"),
        ("[a]", 3, "", "expected keys and values"),
    ],
)
def test_a_test_that_says_nothing_that_can_be_tried_is_told(
    entry: str, column: int, key_path: str, message: str
) -> None:
    (problem,) = problems(f"version: 1\ntests:\n- {entry}\n")
    assert told([problem]) == [(3, column, f"tests[1]{key_path}")]
    assert message in problem.message


def test_a_rule_that_is_no_mapping_is_told() -> None:
    found = problems("version: 1\nrules:\n- argo/*\n- [a]\n-\n")
    assert [(problem.line, problem.key_path) for problem in found] == [
        (3, "rules[1]"),
        (4, "rules[2]"),
        (5, "rules[3]"),
    ]


def test_a_port_in_the_host_of_a_test_is_told_since_no_request_is_matched_with_one() -> None:
    (problem,) = problems("version: 1\ntests:\n- {ask: a.b/c, host: 'a.example:9000', target: a.b/c}\n")
    assert told([problem]) == [(3, 22, "tests[1].host")]


def test_every_bad_target_of_a_test_is_told() -> None:
    found = problems("version: 1\ntests:\n- {ask: a/b, target: [A/b, a.example/b, C/d]}\n")
    assert [problem.column for problem in found] == [23, 41]


def test_mistakes_of_all_sections_are_told_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        """\
version: 1
tests:
- {ask: A, target: a.example/x}
rules:
- {repository: "a/**b", rewrite: "c.example/$1"}
- {repository: "a/*", rewrite: ["c.example/$2", "d.example:80/$3", "e.example"], versions: "x y"}
- {repository: "a/*", rewrite: ["c.example/$2", "d.example:80/$3", "e.example"]}
defaults: {min_age: soon}
"""
    )
    assert told(found) == [
        (3, 9, "tests[1].ask"),
        (5, 19, "rules[1].repository"),
        *((6, column, "rules[2].rewrite") for column in (44, 63, 69)),
        (6, 92, "rules[2].versions"),
        (7, 44, "rules[3].rewrite"),
        (7, 63, "rules[3].rewrite"),
        (7, 69, "rules[3].rewrite"),
        (8, 21, "defaults.min_age"),
    ]
