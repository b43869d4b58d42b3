"""From a name to the place upstream: what is a host, whose upstream it is, and who says no."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.errors import ErrorCode, OciError, Situation
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.rules.load import load_rules
from gateway.rules.model import Access, Policy, RuleSet
from gateway.rules.route import (
    PLAIN,
    PROVENANCE,
    Route,
    Wanted,
    is_open_to_all,
    route,
    unknown_host_message,
)

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


def routed(rule_set: RuleSet, name: str) -> Route:
    return route(rule_set, Wanted(Repository.parse_with_port(name))).first


def routed_or_refused(rule_set: RuleSet, name: str) -> Route | OciError:
    try:
        return routed(rule_set, name)
    except OciError as error:
        return error


def refusal(rule_set: RuleSet, name: str) -> OciError:
    error = routed_or_refused(rule_set, name)
    assert isinstance(error, OciError)
    return error


@pytest.mark.parametrize("name", ["reg.example/team/app", "reg.example/team/app/sub", "docker.io/nginx"])
def test_a_key_that_is_all_of_a_name_denies_it_also_where_the_place_above_has_a_url(name: str) -> None:
    rule_set = load_rules("""
version: 1
upstreams:
  reg.example: {url: http://10.0.0.7:5000, allow_private: true}
  reg.example/team/app: {url: http://10.0.0.7:5000/team/app, deny: not this one}
  docker.io/library/nginx: {deny: not this one}
""")
    error = refusal(rule_set, name)
    assert (error.situation, error.message) == (Situation.DENIED, f"{name}: not this one")
    assert isinstance(routed_or_refused(rule_set, "reg.example/team/apps"), Route)


def test_a_key_that_is_all_of_a_name_makes_it_private() -> None:
    rule_set = load_rules("version: 1\nupstreams: {reg.example/team/app: {access: private}}")
    assert routed(rule_set, "reg.example/team/app").access is Access.PRIVATE
    assert routed(rule_set, "reg.example/team/apps").access is Access.ANONYMOUS


def test_a_name_without_a_rule_is_its_own_target() -> None:
    wanted = Wanted(Repository.parse("argoproj.github.io/argo-helm/argo-cd"))
    routing = route(NO_RULES, wanted)
    (found,) = routing.routes
    assert (routing.rule, routing.captures, routing.refusal) == (None, None, None)
    assert found.name == found.target.repository == wanted.name
    assert (found.variant, found.upstream, found.policy) == (PLAIN, None, Policy())


@pytest.mark.parametrize(
    "host", ["a.io", "xn--e1afmkfd.xn--p1ai", "a-b--c.example", "1.2.example", "x" * 63 + ".io"]
)
def test_a_dotted_name_with_an_alphabetic_top_level_is_a_host(host: str) -> None:
    assert routed(NO_RULES, f"{host}/x").target.host == host


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
def test_a_name_without_a_host_is_not_known_and_the_message_says_how_a_rule_would_help(segment: str) -> None:
    error = refusal(NO_RULES, f"{segment}/x")
    assert error.situation is Situation.NAME_NOT_KNOWN
    assert f'`repository: "{segment}/*"`' in error.message
    assert "`rewrite: <host>/<path>/$1`" in error.message


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
    assert error.situation in {Situation.NAME_NOT_KNOWN, Situation.HOST_NOT_KNOWN}
    assert (error.code, error.status, error.message) == (
        ErrorCode.NAME_UNKNOWN,
        404,
        unknown_host_message(host),
    )


@pytest.mark.parametrize("name", ["nexus/x", "10.0.0.5/x", "charts.kube.svc.cluster.local/x"])
def test_a_key_of_upstreams_makes_any_name_a_host(name: str) -> None:
    found = routed(RULES, name)
    assert found.upstream is not None
    assert found.upstream.key == found.target.host


def test_a_host_alone_is_no_target() -> None:
    error = refusal(NO_RULES, "charts.jetstack.io")
    assert error.situation is Situation.NAME_NOT_KNOWN
    assert "charts.jetstack.io/…" in error.message
    assert refusal(NO_RULES, "argo").message.startswith("no rule matches argo, and argo is no host")


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
    assert routed(RULES, "charts.corp.example/x").policy.fresh_for_seconds == 1
    assert routed(RULES, "other.example/x").policy == Policy()


def test_provenance_is_another_variant() -> None:
    assert routed(RULES, "charts.corp.example/team-a/x").variant == PROVENANCE


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
    assert routed(ALLOWLIST, name).target.repository.name == name


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
    assert refusal(ALLOWLIST, "printer.local/x").message == unknown_host_message("printer.local")


def test_places_of_urls_are_judged_by_their_host() -> None:
    assert ALLOWLIST.denial("charts.jetstack.io:8443/x") is None
    assert ALLOWLIST.denial("cdn-.example.com") is not None
    assert ALLOWLIST.denial("[::1]:8443/x") is not None
    assert NO_RULES.denial("[::1]/x") is None
    assert NO_RULES.is_local_name("a.local:8443/x")
    assert NO_RULES.is_local_name("svc")
    assert not NO_RULES.is_local_name("local.example/x.local")
    assert not RULES.is_local_name("charts.kube.svc.cluster.local/x")


def test_a_port_in_a_name_is_part_of_the_place_and_has_to_be_a_key() -> None:
    found = routed(RULES, "a.example:8443/x/app")
    assert found.upstream is not None
    assert (found.upstream.key, found.target.place) == ("a.example:8443/x", "a.example:8443/x")
    for name in ("charts.corp.example:8443/x", "a.example:8443/y", "a.example:8444/x/y", "nexus:80/x"):
        error = refusal(RULES, name)
        assert (error.code, error.situation) == (ErrorCode.NAME_UNKNOWN, Situation.NAME_NOT_KNOWN)


@pytest.mark.parametrize(
    ("own_names", "other"),
    [
        ("charts.corp.example/x", "charts.corp.example:8443/x"),
        ("a.example:8443/x/y", "a.example/x/y"),
        ("nexus/x", "nexus/x/y"),
    ],
)
def test_what_is_cached_for_one_spelling_is_never_found_under_another(own_names: str, other: str) -> None:
    rule_set = load_rules(
        "version: 1\nupstreams: {charts.corp.example: {}, 'charts.corp.example:8443': {}, nexus: {}, "
        "'a.example:8443': {}, a.example: {}}"
    )
    assert routed(rule_set, own_names).cache_key != routed(rule_set, other).cache_key


@pytest.mark.parametrize("name", ["jetstack.io./x", "Jetstack.io/x", "jetstack.io/X", "jetstack.io/x:1"])
def test_another_spelling_of_a_host_is_no_name(name: str) -> None:
    error = refusal(NO_RULES, name)
    assert (error.code, error.status) == (ErrorCode.NAME_INVALID, 400)


@given(st.from_regex(r"[a-z0-9]+((\.|_|-)[a-z0-9]+){0,3}(/[a-z0-9]+){0,3}", fullmatch=True))
def test_any_name_is_routed_or_refused(name: str) -> None:
    if len(name) > 255:
        return
    for rule_set in (NO_RULES, RULES, ALLOWLIST):
        found = routed_or_refused(rule_set, name)
        if isinstance(found, OciError):
            assert found.code in {ErrorCode.NAME_UNKNOWN, ErrorCode.DENIED}
        else:
            assert found.target.repository.name == name


@pytest.mark.parametrize(
    ("name", "is_open"),
    [
        ("a.example/x", True),
        ("login.example/x", False),
        ("private.example/x", False),
        ("denied.example/x", False),
    ],
)
def test_what_everybody_may_read_is_what_needs_no_signing_in_and_is_not_denied(
    name: str, is_open: bool
) -> None:
    loaded = load_rules(
        "version: 1\nupstreams: {private.example: {access: private}, denied.example: {deny: no}}"
    )
    rule_set = replace(loaded, logins=frozenset({"login.example"}))
    assert is_open_to_all(rule_set, Target.parse(name)) is is_open
    assert not is_open_to_all(rule_set, Target.parse("nowhere/x"))
