"""Which sources a target has, and that a chart proxy never learns of what is not public."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.errors import OciError, Situation
from gateway.oci.repository import Repository
from gateway.rules.load import load_rules
from gateway.rules.model import Access, RuleSet, SourceName
from gateway.rules.problems import RulesError
from gateway.rules.route import Route, Wanted, route

REGISTRY, CHARTPROXY, HELM = SourceName.REGISTRY, SourceName.CHARTPROXY, SourceName.HELM
PROXY = "proxy.example"
SIGNED_IN = "username_env: GATEWAY_SECRET_U, password_env: GATEWAY_SECRET_P"
PRIVATE = [
    "url: https://other.example",
    "urls: [https://other.example]",
    "urls: [https://a.example, https://other.example]",
    SIGNED_IN,
    f"{SIGNED_IN}, access: anonymous",
    "token_env: GATEWAY_SECRET_T",
    "token_file: t, access: anonymous",
    "ca_file: ca.pem",
    "cert_file: c.pem, key_file: k.pem",
    "cert_file: c.pem, key_file: k.pem, access: anonymous",
    "allow_private: true",
    "access: private",
]


def rules(members: str = "", defaults: str = f"chartproxy: {PROXY}") -> RuleSet:
    return load_rules(f"version: 1\ndefaults: {{{defaults}}}\nupstreams: {{a.example: {{{members}}}}}")


def routed(rule_set: RuleSet, name: str = "a.example/x") -> Route:
    return route(rule_set, Wanted(Repository.parse(name))).first


@pytest.mark.parametrize(
    ("members", "chain", "is_registry_guessed"),
    [
        ("", (REGISTRY, CHARTPROXY, HELM), True),
        ("kind: auto", (REGISTRY, CHARTPROXY, HELM), True),
        ("kind: helm", (CHARTPROXY, HELM), False),
        ("kind: registry", (REGISTRY,), False),
        ("kind: chartproxy", (REGISTRY,), False),
        ("chain: [helm]", (HELM,), False),
        ("chain: [helm, registry]", (HELM, REGISTRY), False),
        ("chain: [registry, chartproxy], kind: helm", (REGISTRY, CHARTPROXY), False),
        ("provenance: true", (REGISTRY, HELM), True),
        ("provenance: true, kind: helm", (HELM,), False),
    ],
)
def test_the_chain_is_by_kind_unless_it_is_written(
    members: str, chain: tuple[SourceName, ...], is_registry_guessed: bool
) -> None:
    found = routed(rules(members))
    assert (found.chain, found.is_registry_guessed) == (chain, is_registry_guessed)
    assert found.chartproxy == (PROXY if CHARTPROXY in chain else None)


def test_a_host_without_an_upstream_is_asked_in_every_way() -> None:
    found = routed(rules(), "b.example/x")
    assert (found.chain, found.is_registry_guessed) == ((REGISTRY, CHARTPROXY, HELM), True)


def test_without_a_chart_proxy_nobody_is_asked_for_one() -> None:
    found = routed(RuleSet())
    assert (found.chain, found.is_registry_guessed, found.chartproxy) == ((REGISTRY, HELM), True, None)
    assert routed(rules("chain: [chartproxy, helm]", "")).chain == (HELM,)


@pytest.mark.parametrize("members", PRIVATE)
def test_an_upstream_that_is_not_public_is_never_named_to_a_chart_proxy(members: str) -> None:
    found = routed(rules(members))
    assert (found.chain, found.chartproxy) == ((REGISTRY, HELM), None)
    assert routed(rules(f"{members}, chain: [chartproxy, helm]")).chain == (HELM,)


@pytest.mark.parametrize("members", PRIVATE)
def test_unless_it_names_one_itself(members: str) -> None:
    found = routed(rules(f"{members}, chartproxy: own.example"))
    assert (found.chain, found.chartproxy) == ((REGISTRY, CHARTPROXY, HELM), "own.example")


@pytest.mark.parametrize("members", ["url: https://a.example", "urls: [https://a.example/]", "fresh_for: 1d"])
def test_an_upstream_that_only_says_what_is_usual_is_public(members: str) -> None:
    assert routed(rules(members)).chartproxy == PROXY


@pytest.mark.parametrize("name", [f"{PROXY}/charts.example/x", f"{PROXY}/x"])
def test_a_chart_proxy_is_not_asked_for_itself(name: str) -> None:
    for defaults in (f"chartproxy: {PROXY}", f"chartproxy: {PROXY}/charts"):
        found = routed(rules(defaults=defaults), name)
        assert (found.chain, found.chartproxy) == ((REGISTRY, HELM), None)


def test_a_host_that_only_looks_like_the_chart_proxy_has_one() -> None:
    assert routed(rules(), f"my.{PROXY}/x").chartproxy == PROXY


@pytest.mark.parametrize(
    ("defaults", "name", "why"),
    [
        (f"chartproxy: {PROXY}, chain: [chartproxy]", f"{PROXY}/x", "is the chart proxy itself"),
        (f"chartproxy: {PROXY}, chain: [chartproxy]", "login.example/x", "not public"),
    ],
)
def test_a_name_that_nobody_is_left_to_ask_for_is_not_known_and_the_answer_says_why(
    defaults: str, name: str, why: str
) -> None:
    rule_set = replace(rules(defaults=defaults), logins=frozenset({"login.example"}))
    with pytest.raises(OciError, match=why) as caught:
        routed(rule_set, name)
    assert caught.value.situation is Situation.NAME_NOT_KNOWN


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("docker.io/nginx", "docker.io/library/nginx"),
        ("docker.io/library/nginx", "docker.io/library/nginx"),
        ("docker.io/bitnamicharts/redis", "docker.io/bitnamicharts/redis"),
        ("index.docker.io/nginx", "index.docker.io/nginx"),
        ("registry-1.docker.io/nginx", "registry-1.docker.io/nginx"),
    ],
)
def test_short_names_of_docker_hub_stand_for_official_images(name: str, target: str) -> None:
    found = routed(RuleSet(), name)
    assert (str(found.name), str(found.target)) == (name, target)


@pytest.mark.parametrize("members", ["", "fresh_for: 1d", "url: https://mirror.example", "kind: auto"])
def test_docker_hub_is_known_to_be_a_registry(members: str) -> None:
    listed = load_rules(
        f"version: 1\ndefaults: {{chartproxy: p.example}}\nupstreams: {{docker.io: {{{members}}}}}"
    )
    for rule_set in (rules(), listed):
        found = routed(rule_set, "docker.io/nginx")
        assert (found.chain, found.is_registry_guessed, found.chartproxy) == ((REGISTRY,), False, None)


def test_docker_hub_alone_is_no_target() -> None:
    with pytest.raises(OciError) as caught:
        routed(RuleSet(), "docker.io")
    assert caught.value.situation is Situation.NAME_NOT_KNOWN


def test_a_name_of_docker_hub_that_is_too_long_for_its_target_breaks_the_grammar() -> None:
    with pytest.raises(OciError) as caught:
        routed(RuleSet(), "docker.io/" + "x" * 245)
    assert caught.value.situation is Situation.NAME_BREAKS_GRAMMAR


@pytest.mark.parametrize(
    ("login", "members", "name", "access"),
    [
        ("a.example", "", "a.example/x", Access.PRIVATE),
        ("a.example/team", "", "a.example/team/x", Access.PRIVATE),
        ("a.example/team", "", "a.example/teams/x", Access.ANONYMOUS),
        ("b.example", "", "b.example/x", Access.PRIVATE),
        ("b.example:5000", "", "b.example/x", Access.ANONYMOUS),
        ("a.example", "access: anonymous", "a.example/x", Access.ANONYMOUS),
        ("a.example", "kind: helm", "a.example/x", Access.ANONYMOUS),
        ("a.example", f"{SIGNED_IN}, access: anonymous", "a.example/x", Access.ANONYMOUS),
        ("r.example:5000/p", "url: 'https://r.example:5000/p'", "a.example/x", Access.PRIVATE),
        ("a.example", "url: 'https://r.example:5000/p'", "a.example/x", Access.ANONYMOUS),
        ("c.example", "urls: [https://b.example, https://c.example]", "a.example/x", Access.PRIVATE),
        ("registry-1.docker.io", "", "docker.io/x", Access.PRIVATE),
        ("registry-1.docker.io/library", "", "docker.io/x", Access.PRIVATE),
        ("registry-1.docker.io", "", "index.docker.io/x", Access.ANONYMOUS),
    ],
)
def test_what_a_docker_login_opens_is_private_unless_the_upstream_says_otherwise(
    login: str, members: str, name: str, access: Access
) -> None:
    assert routed(replace(rules(members), logins=frozenset({login})), name).access is access


@pytest.mark.parametrize("chain", ["[helm]", "[chartproxy, helm]", "[registry]"])
def test_what_a_docker_login_opens_is_private_whomever_a_rule_asks_instead(chain: str) -> None:
    loaded = load_rules(
        f"version: 1\ndefaults: {{chartproxy: {PROXY}}}\n"
        f"rules: [{{host: hub.example, rewrite: $0, chain: {chain}, chartproxy: {PROXY}}}]"
    )
    rule_set = replace(loaded, logins=frozenset({"a.example"}))
    found = route(rule_set, Wanted(Repository.parse("a.example/x"), "hub.example")).first
    assert found.access is Access.PRIVATE


def test_what_a_docker_login_opens_is_not_named_to_a_chart_proxy() -> None:
    rule_set = replace(rules(), logins=frozenset({"b.example"}))
    assert routed(rule_set, "b.example/x").chain == (REGISTRY, HELM)
    assert routed(rule_set, "c.example/x").chain == (REGISTRY, CHARTPROXY, HELM)


_KINDS = st.sampled_from(["", "kind: helm", "kind: registry", "kind: auto", "kind: chartproxy"])
_CHAINS = st.sampled_from(
    [
        "",
        "chain: [chartproxy]",
        "chain: [chartproxy, helm]",
        "chain: [registry, helm]",
        "chain: [helm, chartproxy]",
    ]
)
_TIMES = st.sampled_from(["", "fresh_for: 1s", "provenance: true", "deleted: drop"])


@given(st.sampled_from(PRIVATE), _KINDS, _CHAINS, _TIMES, _CHAINS)
def test_no_private_upstream_has_a_chart_proxy_that_it_did_not_name(
    private: str, kind: str, chain: str, time: str, default_chain: str
) -> None:
    members = ", ".join(filter(None, [private, kind, chain, time]))
    defaults = ", ".join(filter(None, [f"chartproxy: {PROXY}", default_chain]))
    found = routed_or_refused(members, defaults)
    if isinstance(found, Route):
        assert found.chartproxy is None
        assert CHARTPROXY not in found.chain
        assert found.chain
    else:
        assert all(problem.key_path.endswith("chain") for problem in found.problems)


def routed_or_refused(members: str, defaults: str) -> Route | RulesError:
    try:
        return routed(rules(members, defaults))
    except RulesError as error:
        return error
