"""Names that a rule rewrites: one rule, applied once, and its result held to all that holds for any name."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.errors import ErrorCode, OciError, Situation
from gateway.oci.repository import Repository
from gateway.rules.load import load_rules
from gateway.rules.model import EgressMode, Rule, RuleSet, SourceName
from gateway.rules.problems import RulesError
from gateway.rules.route import Routing, Wanted, is_public_host, route, unknown_host_message

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests


def rules(*entries: str, before: str = "") -> RuleSet:
    return load_rules(f"version: 1\n{before}\nrules:\n" + "\n".join(f"- {entry}" for entry in entries))


def routing(rule_set: RuleSet, name: str, host: str = "") -> Routing:
    return route(rule_set, Wanted(Repository.parse_with_port(name), host))


def targets(rule_set: RuleSet, name: str, host: str = "") -> list[str]:
    return [str(one.target) for one in routing(rule_set, name, host).routes]


def refusal(rule_set: RuleSet, name: str, host: str = "") -> OciError:
    with pytest.raises(OciError) as caught:
        routing(rule_set, name, host)
    return caught.value


def test_the_rules_of_the_manual_lead_where_it_says() -> None:
    rule_set = rules(
        '{name: short refs for Argo, repository: "argo/*", rewrite: argoproj.github.io/argo-helm/$1}',
        "{host: chartproxy.container-registry.com, rewrite: $0, chain: [registry, helm]}",
        '{repository: "prom/*", rewrite: [ghcr.io/prometheus-community/charts/$1, prometheus.github.io/$1]}',
        '{repository: "~team-([a-z0-9]+)/(?P<chart>.+)", rewrite: "charts.corp.example/$1/${chart}"}',
    )
    assert targets(rule_set, "argo/argo-cd") == ["argoproj.github.io/argo-helm/argo-cd"]
    found = routing(rule_set, "charts.jetstack.io/x", "chartproxy.container-registry.com").first
    assert (str(found.target), found.chain) == (
        "charts.jetstack.io/x",
        (SourceName.REGISTRY, SourceName.HELM),
    )
    assert targets(rule_set, "prom/x") == ["ghcr.io/prometheus-community/charts/x", "prometheus.github.io/x"]
    assert targets(rule_set, "team-a1/x/y") == ["charts.corp.example/a1/x/y"]
    assert targets(rule_set, "charts.jetstack.io/x") == ["charts.jetstack.io/x"]


def test_the_routing_knows_its_rule_and_what_it_took() -> None:
    rule_set = rules('{name: teams, repository: "~(?P<team>[a-z]+)/(.+)", rewrite: a.example/$2}')
    found = routing(rule_set, "b/c/d")
    assert found.rule is not None
    assert found.captures is not None
    assert (found.rule.name, found.rule.place.line) == ("teams", 4)
    assert found.captures.told() == {"$1": "b", "$2": "c/d", "${team}": "b"}
    assert (found.first.name.name, found.first.rules) == ("b/c/d", rule_set)
    assert found.first.errand.target == found.first.target


@pytest.mark.parametrize(
    "entry",
    [
        "{repository: '~(.*)', rewrite: 127.0.0.1/$1}",
        "{repository: '~^(.*)$', rewrite: '127.0.0.1/$1'}",
        "{repository: '~(.*)', rewrite: ../admin}",
        "{repository: '**', rewrite: localhost/$1}",
        "{repository: '**', rewrite: '2130706433/$1'}",
        "{repository: '**', rewrite: 0x7f.1/$1}",
    ],
)
def test_a_rewrite_to_no_host_is_refused_with_the_file(entry: str) -> None:
    with pytest.raises(RulesError):
        rules(entry)


@pytest.mark.parametrize(
    ("rewrite", "name", "code"),
    [
        ("$1", "127.0.0.1/x", ErrorCode.NAME_UNKNOWN),
        ("$1", "169.254.169.254/latest/meta-data", ErrorCode.NAME_UNKNOWN),
        ("$1", "2130706433/x", ErrorCode.NAME_UNKNOWN),
        ("$1.1/x", "0x7f", ErrorCode.NAME_UNKNOWN),
        ("$1.internal/x", "metadata.google", ErrorCode.NAME_UNKNOWN),
        ("$1.svc/x", "kubernetes.default", ErrorCode.NAME_UNKNOWN),
        ("$1", "localhost/x", ErrorCode.NAME_UNKNOWN),
        ("$1", "a.example", ErrorCode.NAME_UNKNOWN),
        ("$1", "nexus:8443/x", ErrorCode.NAME_UNKNOWN),
        ("a.example/$1", "nexus:8443/x", ErrorCode.NAME_UNKNOWN),
        ("a.example/$1", "x" * 250, ErrorCode.NAME_UNKNOWN),
        ("$1", "denied.example/x", ErrorCode.DENIED),
        ("$1.example/x", "denied", ErrorCode.DENIED),
    ],
)
def test_what_captures_make_is_no_better_than_a_name_from_outside(
    rewrite: str, name: str, code: ErrorCode
) -> None:
    before = "upstreams: {denied.example: {deny: no}, 'nexus:8443': {}}"
    rule_set = rules(f"{{repository: '~(.*)', rewrite: '{rewrite}'}}", before=before)
    assert refusal(rule_set, name).code == code


@pytest.mark.parametrize("pattern", ["~(.*)/.*", "~([a-z]*)[-.]?.*/.*"])
def test_an_empty_capture_or_half_a_name_is_no_target_and_the_rule_is_named(pattern: str) -> None:
    rule_set = rules(f"{{name: broken, repository: '{pattern}', rewrite: a.example/x-$1/y}}")
    for name in ("a--b/c", "-a/b", "0/b", "a.b/c", "a__b/c"):
        found = routed_or_refused(rule_set, name)
        if isinstance(found, OciError):
            assert found.code in {ErrorCode.NAME_UNKNOWN, ErrorCode.NAME_INVALID}
    error = refusal(rules("{name: broken, repository: '~(.*?)[a-z]*', rewrite: a.example/$1}"), "abc")
    assert error.situation is Situation.NAME_NOT_KNOWN
    assert "'broken'" in error.message


def test_a_denial_written_with_its_ends_denies() -> None:
    rule_set = rules("{repository: '~^secret\\.example/.*$', deny: not here}")
    assert refusal(rule_set, "secret.example/x").situation is Situation.DENIED


def test_a_rule_is_applied_once_and_no_other_after_it() -> None:
    circle = rules(
        '{repository: "a.example/**", rewrite: b.example/$1}',
        '{repository: "b.example/**", rewrite: a.example/$1}',
    )
    assert targets(circle, "a.example/x") == ["b.example/x"]
    assert targets(circle, "b.example/x") == ["a.example/x"]
    growing = rules('{repository: "a.example/**", rewrite: a.example/x/$1}')
    assert targets(growing, "a.example/y") == ["a.example/x/y"]
    assert targets(growing, "a.example/x/y") == ["a.example/x/x/y"]
    assert targets(rules('{repository: "**", rewrite: $0}'), "a.example/x") == ["a.example/x"]


def test_a_denial_of_an_upstream_holds_for_rewritten_names_too() -> None:
    rule_set = rules(
        '{repository: "hub/*", rewrite: docker.io/$1}',
        '{repository: "keep.example/**", fresh_for: 1s}',
        '{repository: "part/*", rewrite: open.example/closed/$1}',
        before="upstreams: {docker.io: {deny: use ours}, keep.example: {deny: gone}, "
        "open.example: {}, open.example/closed: {deny: closed}}",
    )
    for name, told in (("hub/nginx", "use ours"), ("keep.example/x", "gone"), ("part/x", "closed")):
        error = refusal(rule_set, name)
        assert (error.situation, told in error.message) == (Situation.DENIED, True)
        assert name in error.message
    assert targets(rule_set, "open.example/x") == ["open.example/x"]


def test_a_rule_that_denies_ends_there() -> None:
    rule_set = rules(
        '{repository: "internal/**", deny: ask your team}', '{repository: "**", rewrite: a.example/$1}'
    )
    error = refusal(rule_set, "internal/x")
    assert (error.situation, error.message) == (Situation.DENIED, "internal/x: ask your team")
    assert targets(rule_set, "internal") == ["a.example/internal"]


def test_a_rule_without_a_rewrite_keeps_the_name_and_ends_the_search() -> None:
    rule_set = rules(
        '{repository: "a.example/**", fresh_for: 1s}', '{repository: "**", rewrite: b.example/$0}'
    )
    found = routing(rule_set, "a.example/x").first
    assert (str(found.target), found.policy.fresh_for_seconds) == ("a.example/x", 1)
    assert targets(rule_set, "c/x") == ["b.example/c/x"]


def test_a_kept_name_may_have_a_port_that_is_a_key_and_a_rewritten_one_never() -> None:
    before = "upstreams: {'nexus:8443': {}}"
    assert targets(rules('{repository: "**", fresh_for: 1s}', before=before), "nexus:8443/x") == [
        "nexus:8443/x"
    ]
    rewritten = rules('{repository: "**", rewrite: $0}', before=before)
    assert refusal(rewritten, "nexus:8443/x").situation is Situation.NAME_NOT_KNOWN
    assert targets(rules('{repository: "nexus:8443/*", rewrite: a.example/$1}'), "nexus:8443/x") == [
        "a.example/x"
    ]


def test_short_names_of_docker_hub_are_completed_after_the_rewrite() -> None:
    rule_set = rules('{repository: "hub/*", rewrite: docker.io/$1}', '{repository: "docker.io/x", deny: no}')
    assert targets(rule_set, "hub/nginx") == ["docker.io/library/nginx"]
    assert refusal(rule_set, "docker.io/x").situation is Situation.DENIED
    assert targets(rule_set, "docker.io/library/x") == ["docker.io/library/x"]


def test_the_host_that_was_asked_decides_where_a_rule_says_so() -> None:
    rule_set = rules(
        '{host: "*.charts.example", repository: "**", rewrite: $1.example/$2}',
        "{host: ours.example, rewrite: charts.example/$0}",
        '{repository: "x/*", rewrite: other.example/$1}',
    )
    assert targets(rule_set, "x/y", "eu.charts.example") == ["eu.example/x/y"]
    assert targets(rule_set, "x/y", "ours.example") == ["charts.example/x/y"]
    for host in ("", "charts.example", "a.b.charts.example", "ours.example.evil.com"):
        assert targets(rule_set, "x/y", host) == ["other.example/y"]


ALLOWLIST = rules(
    '{repository: "argo/*", rewrite: [argoproj.github.io/argo-helm/$1, ghcr.io/argoproj/$1]}',
    '{repository: "any/**", rewrite: $1}',
    '{repository: "sub/*/*", rewrite: $1.jetstack.io/$2}',
    '{repository: "label/*/*", rewrite: "evil-$1.example/$2"}',
    '{repository: "~org(.*)", rewrite: "ghcr.io$1"}',
    before="egress: {mode: allowlist, hosts: ['*.jetstack.io']}\nupstreams: {quay.io/org: {}}",
)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("argo/x", "argoproj.github.io/argo-helm/x"),
        ("argoproj.github.io/y", "argoproj.github.io/y"),
        ("any/ghcr.io/z", "ghcr.io/z"),
        ("any/quay.io/org/x", "quay.io/org/x"),
        ("sub/charts/x", "charts.jetstack.io/x"),
        ("org/x", "ghcr.io/x"),
    ],
)
def test_an_allowlist_lists_the_hosts_that_are_written_in_rewrites(name: str, target: str) -> None:
    assert targets(ALLOWLIST, name)[0] == target


@pytest.mark.parametrize(
    "name",
    [
        "any/evil-jetstack.io/x",
        "any/jetstack.io.evil.com/x",
        "any/quay.io/org-evil/x",
        "any/a.argoproj.github.io/x",
        "any/argoproj.github.io.evil.com/x",
        "label/jetstack/x",
        "org.evil.com/x",
        "orgevil/x",
        "sub/a.b/x",
        "sub/charts.jetstack.io.evil/x",
    ],
)
def test_and_no_other_that_a_capture_makes(name: str) -> None:
    assert refusal(ALLOWLIST, name).code in {ErrorCode.DENIED, ErrorCode.NAME_UNKNOWN}


SEVERAL = rules(
    '{name: all, repository: "a/*", rewrite: [one.example/$1, two.example/$1, three.example/$1]}',
    '{repository: "b/*", rewrite: [one.example/$1, denied.example/$1, three.example/$1]}',
    '{repository: "c/*", rewrite: [denied.example/$1, one.example/$1]}',
    '{repository: "d/*", rewrite: [one.example/$1, $1]}',
    '{repository: "e/*", rewrite: [one.example/$1, "x-$1.svc/x"]}',
    before="upstreams: {denied.example: {deny: not there}, two.example: {fresh_for: 1s}}",
)


def test_several_targets_are_asked_in_order_each_under_its_own_policy() -> None:
    found = routing(SEVERAL, "a/x")
    assert [str(one.target) for one in found.routes] == ["one.example/x", "two.example/x", "three.example/x"]
    assert [one.policy.fresh_for_seconds for one in found.routes] == [300, 1, 300]
    assert {one.name.name for one in found.routes} == {"a/x"}
    assert found.first is found.routes[0]
    assert found.refusal is None


@pytest.mark.parametrize(
    ("name", "situation"),
    [
        ("b/x", Situation.DENIED),
        ("d/x", Situation.NAME_NOT_KNOWN),
        ("e/x", Situation.HOST_NOT_KNOWN),
    ],
)
def test_nobody_is_asked_behind_a_target_that_is_refused(name: str, situation: Situation) -> None:
    found = routing(SEVERAL, name)
    assert [str(one.target) for one in found.routes] == ["one.example/x"]
    assert found.refusal is not None
    assert found.refusal.situation is situation


def test_if_the_first_target_is_refused_so_is_the_name() -> None:
    error = refusal(SEVERAL, "c/x")
    assert (error.situation, error.message) == (Situation.DENIED, "c/x: not there")


def test_a_rewritten_name_on_an_inside_host_answers_as_one_that_does_not_resolve() -> None:
    error = refusal(rules('{repository: "*/*", rewrite: $1.local/$2}'), "printer/x")
    assert error.message == unknown_host_message("printer.local")


_REPOSITORIES = ["**", "*/**", "a/*", "~(.*)", "~(.*)/(.*)", "~([a-z.]*)[^a-z]?(.*)", "*", "a.io/**"]
_REWRITES = [
    *("$0", "$1", "a.io/$1", "b.io/deep/$1/x", "$1.io/x", "$1/library/x", "docker.io/$1", "c.svc/$1"),
    *("key/$1", "denied.io/$1", "x-$1.io/y", "a.io/$1$1", "$1-/x", "a.io/$1.", "a.io/${1}x"),
]
_ENTRIES = st.builds(
    lambda repository, rewrites: f"{{repository: '{repository}', rewrite: {rewrites}}}".replace('"', "'"),
    st.sampled_from(_REPOSITORIES),
    st.lists(st.sampled_from(_REWRITES), min_size=1, max_size=3).map(str),
)
_NAMES = st.lists(
    st.sampled_from(
        ["a", "a.io", "b.io", "key", "denied.io", "127.0.0.1", "x.svc", "docker.io", "a-b", "z" * 90]
    ),
    min_size=1,
    max_size=4,
)
_MODES = st.sampled_from(["public", "allowlist"])


@given(st.lists(_ENTRIES, min_size=1, max_size=3), _NAMES.map("/".join), _MODES)
def test_whatever_a_rewrite_gives_is_a_name_that_may_be_asked_or_is_refused(
    entries: list[str], name: str, mode: str
) -> None:
    before = f"egress: {{mode: {mode}}}\nupstreams: {{key: {{}}, denied.io: {{deny: no}}}}"
    rule_set = loaded_or_none(entries, before)
    found = None if rule_set is None or len(name) > 255 else routed_or_refused(rule_set, name)
    if isinstance(found, OciError):
        assert found.code in {ErrorCode.NAME_UNKNOWN, ErrorCode.DENIED, ErrorCode.NAME_INVALID}
    elif found is not None and rule_set is not None:
        assert isinstance(found.rule, Rule | None)
        for one in found.routes:
            assert Repository.parse(str(one.target)) == one.target.repository
            assert rule_set.denial(one.target.place) is None
            assert not rule_set.is_local_name(one.target.place)
            assert one.upstream is not None or is_public_host(one.target.host)
            assert one.chain


def loaded_or_none(entries: list[str], before: str) -> RuleSet | None:
    try:
        return rules(*entries, before=before)
    except RulesError:
        return None


def routed_or_refused(rule_set: RuleSet, name: str) -> Routing | OciError:
    try:
        return routing(rule_set, name)
    except OciError as error:
        return error


def test_offline_changes_no_route() -> None:
    rule_set = rules('{repository: "a/*", rewrite: a.example/$1}', before="egress: {mode: offline}")
    found = routing(rule_set, "a/x").first
    assert (str(found.target), found.is_offline) == ("a.example/x", True)
    online = replace(rule_set, egress=replace(rule_set.egress, mode=EgressMode.PUBLIC))
    assert not routing(online, "a/x").first.is_offline
