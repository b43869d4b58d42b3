"""From a name to the place upstream: what is a host, whose upstream it is, and who says no."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.errors import OciError, Situation
from gateway.oci.repository import Repository
from gateway.rules.load import load_rules
from gateway.rules.model import Policy, RuleSet
from gateway.rules.route import PLAIN, PROVENANCE, Route, route, unknown_host_message

NO_RULES = RuleSet()
RULES = load_rules("""
version: 1
upstreams:
  charts.corp.example: {fresh_for: 1s}
  charts.corp.example/team-a: {provenance: true}
  nexus: {url: https://nexus.corp.example, allow_private: true}
  10.0.0.5: {allow_private: true}
  charts.kube.svc.cluster.local: {allow_private: true}
  docker.io: {deny: use registry.corp.example}
  a.example:8443/x: {}
""")
ALLOWLIST = load_rules("""
version: 1
egress: {mode: allowlist, hosts: ["*.jetstack.io", argoproj.github.io, "cdn-*.example.com", "*.local"]}
upstreams:
  ghcr.io/org: {}
  nexus: {}
""")


def routed_or_refused(rule_set: RuleSet, name: str) -> Route | OciError:
    repository = Repository.parse(name)
    try:
        return route(rule_set, repository)
    except OciError as error:
        return error


def refusal(rule_set: RuleSet, name: str) -> OciError:
    error = routed_or_refused(rule_set, name)
    assert isinstance(error, OciError)
    return error


def test_a_name_without_a_rule_is_its_own_target() -> None:
    name = Repository.parse("argoproj.github.io/argo-helm/argo-cd")
    found = route(NO_RULES, name)
    assert found.name == found.target.repository == name
    assert (found.variant, found.upstream, found.policy) == (PLAIN, None, Policy())


@pytest.mark.parametrize(
    "host", ["a.io", "xn--e1afmkfd.xn--p1ai", "a-b--c.example", "1.2.example", "x" * 63 + ".io"]
)
def test_a_dotted_name_with_an_alphabetic_top_level_is_a_host(host: str) -> None:
    assert route(NO_RULES, Repository.parse(f"{host}/x")).target.host == host


@pytest.mark.parametrize(
    "host",
    [
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "a_b.io",
        "a.b2",
        "a.b",
        "a" * 64 + ".io",
    ],
)
def test_a_dotted_name_that_is_no_host_answers_as_one_that_does_not_resolve(host: str) -> None:
    error = refusal(NO_RULES, f"{host}/x")
    assert (error.situation, error.message) == (Situation.NAME_NOT_KNOWN, unknown_host_message(host))
    assert "upstreams" in error.message


@pytest.mark.parametrize("segment", ["2130706433", "0", "localhost", "argo", "svc"])
def test_a_name_without_a_host_is_not_known_and_the_message_says_how_it_would_be(segment: str) -> None:
    error = refusal(NO_RULES, f"{segment}/x")
    assert (error.situation, error.message) == (Situation.NAME_NOT_KNOWN, unknown_host_message(segment))
    assert f"a key {segment} under `upstreams`" in error.message


@pytest.mark.parametrize(
    "host",
    [
        "metadata.google.internal",
        "printer.local",
        "a.localhost",
        "kubernetes.default.svc",
        "x.svc.cluster.local",
    ],
)
def test_an_inside_name_answers_as_one_that_does_not_resolve(host: str) -> None:
    error = refusal(NO_RULES, f"{host}/x")
    assert (error.situation, error.message) == (Situation.NAME_NOT_KNOWN, unknown_host_message(host))


@pytest.mark.parametrize("name", ["nexus/x", "10.0.0.5/x", "charts.kube.svc.cluster.local/x"])
def test_a_key_of_upstreams_makes_any_name_a_host(name: str) -> None:
    found = route(RULES, Repository.parse(name))
    assert found.upstream is not None
    assert found.upstream.key == found.target.host


def test_a_host_alone_is_no_target() -> None:
    error = refusal(NO_RULES, "charts.jetstack.io")
    assert error.situation is Situation.NAME_NOT_KNOWN
    assert "charts.jetstack.io/…" in error.message
    assert refusal(NO_RULES, "argo").message == unknown_host_message("argo")


def test_the_longest_key_wins_at_segment_boundaries() -> None:
    def key(place: str) -> str | None:
        upstream = RULES.upstream_for(place)
        return upstream.key if upstream else None

    assert key("charts.corp.example") == "charts.corp.example"
    assert key("charts.corp.example/team-b") == "charts.corp.example"
    assert key("charts.corp.example/team-a/deep/er") == "charts.corp.example/team-a"
    assert key("charts.corp.example/team-alpha") == "charts.corp.example"
    assert key("charts.corp.example.evil.com") is None
    assert key("evil-charts.corp.example") is None
    assert key("a.example:8443/x/y") == "a.example:8443/x"
    assert key("a.example/x/y") is None
    assert key("") is None


def test_the_policy_is_the_upstreams_over_the_defaults() -> None:
    assert route(RULES, Repository.parse("charts.corp.example/x")).policy.fresh_for_seconds == 1
    assert route(RULES, Repository.parse("other.example/x")).policy == Policy()


def test_provenance_is_another_variant() -> None:
    assert route(RULES, Repository.parse("charts.corp.example/team-a/x")).variant == PROVENANCE


def test_a_denial_of_an_upstream_is_told_in_its_words() -> None:
    error = refusal(RULES, "docker.io/library/nginx")
    assert error.situation is Situation.DENIED
    assert "use registry.corp.example" in error.message
    assert RULES.denial("docker.io/library") == "use registry.corp.example"


def test_a_denial_in_the_defaults_holds_where_no_upstream_says_otherwise() -> None:
    closed = load_rules("version: 1\ndefaults: {deny: closed}\nupstreams: {a.example: {}}")
    assert refusal(closed, "b.example/x").situation is Situation.DENIED
    assert refusal(closed, "a.example/x").situation is Situation.DENIED


@pytest.mark.parametrize(
    "name",
    ["charts.jetstack.io/x", "argoproj.github.io/a/b", "cdn-1.example.com/x", "ghcr.io/org/x", "nexus/x"],
)
def test_an_allowlist_lets_through_what_it_lists(name: str) -> None:
    assert route(ALLOWLIST, Repository.parse(name)).target.repository.name == name


@pytest.mark.parametrize(
    "name",
    [
        "evil-jetstack.io/x",
        "jetstack.io/x",
        "jetstack.io.evil.com/x",
        "a.b.jetstack.io/x",
        "cdn.example.com/x",
        "cdn-1.example.com.evil.com/x",
        "ghcr.io/x",
        "ghcr.io/org-evil/x",
        "a.argoproj.github.io/x",
    ],
)
def test_an_allowlist_denies_everything_else(name: str) -> None:
    assert refusal(ALLOWLIST, name).situation is Situation.DENIED


def test_a_pattern_never_opens_an_inside_name() -> None:
    assert refusal(ALLOWLIST, "printer.local/x").situation is Situation.NAME_NOT_KNOWN


def test_places_of_urls_are_judged_by_their_host() -> None:
    assert ALLOWLIST.denial("charts.jetstack.io:8443/x") is None
    assert ALLOWLIST.denial("cdn-.example.com") is not None
    assert ALLOWLIST.denial("[::1]:8443/x") is not None
    assert NO_RULES.denial("[::1]/x") is None
    assert NO_RULES.is_local_name("a.local:8443/x")
    assert NO_RULES.is_local_name("svc")
    assert not NO_RULES.is_local_name("local.example/x.local")
    assert not RULES.is_local_name("charts.kube.svc.cluster.local/x")


@given(st.from_regex(r"[a-z0-9]+((\.|_|-)[a-z0-9]+){0,3}(/[a-z0-9]+){0,3}", fullmatch=True))
def test_any_name_is_routed_or_refused(name: str) -> None:
    if len(name) > 255:
        return
    for rule_set in (NO_RULES, RULES, ALLOWLIST):
        found = routed_or_refused(rule_set, name)
        if isinstance(found, OciError):
            assert found.situation in {Situation.NAME_NOT_KNOWN, Situation.DENIED}
        else:
            assert found.target.repository.name == name
