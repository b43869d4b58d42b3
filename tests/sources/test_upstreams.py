"""Where a URL is really dialled, and what may go along."""

from pathlib import Path

import pytest

from gateway.oci.outcomes import Corrupt, Denied, Outcome, Unavailable, UnknownHost
from gateway.oci.urls import parse_upstream_url
from gateway.rules.load import load_rules
from gateway.rules.route import Errand
from gateway.sources.credentials import Secrets
from gateway.sources.transports import Destination, TlsFiles
from gateway.sources.upstreams import Upstreams
from tests.sources.asking import errand_to

SIGNED_IN = "username_env: GATEWAY_SECRET_USER, password_env: GATEWAY_SECRET_USER"
RULES = f"""
version: 1
upstreams:
  corp.example.org: {{url: "http://nexus.example.org:8081/repository/helm", allow_private: true, {SIGNED_IN}}}
  corp.example.org/team:
    {{url: "https://team.example.org/charts/", trusted_by: [friend.example.org], {SIGNED_IN}}}
  ported.example.org:8443: {{}}
  mirror.example.org: {{url: "https://real.example.org"}}
  denied.example.org: {{deny: "use corp.example.org"}}
  denied.example.org/but/this: {{}}
  inside.corp.local: {{allow_private: true}}
  one.example.org: {{url: "https://shared.example.org/helm"}}
  two.example.org: {{url: "https://shared.example.org/helm", {SIGNED_IN}}}
"""
BASIC = "Basic bWU6bWU="


def upstreams(folder: Path | None = None) -> Upstreams:
    return Upstreams(Secrets({"GATEWAY_SECRET_USER": "me"}, folder))


def errand(target: str, rules: str = RULES) -> Errand:
    return errand_to(target, load_rules(rules))


def destination(url: str, target: str, rules: str = RULES) -> Destination:
    return upstreams().destinations(parse_upstream_url(url), errand(target, rules))[0]


@pytest.mark.parametrize(
    ("target", "home"),
    [
        ("a.example.org/x", "https://a.example.org/"),
        ("a.example.org/path/x", "https://a.example.org/path/"),
        ("corp.example.org/x", "http://nexus.example.org:8081/repository/helm/"),
        ("corp.example.org/more/x", "http://nexus.example.org:8081/repository/helm/more/"),
        ("corp.example.org/team/x", "https://team.example.org/charts/"),
        ("corp.example.org/team/more/x", "https://team.example.org/charts/more/"),
        ("corp.example.org/teams/x", "http://nexus.example.org:8081/repository/helm/teams/"),
        ("mirror.example.org/x", "https://real.example.org/"),
    ],
)
def test_a_target_has_a_home(target: str, home: str) -> None:
    assert str(upstreams().home(errand(target))) == home


@pytest.mark.parametrize(
    ("url", "moved"),
    [
        ("https://a.example.org/x.tgz?a=b", "https://a.example.org/x.tgz?a=b"),
        ("https://corp.example.org/x.tgz?a=b", "http://nexus.example.org:8081/repository/helm/x.tgz?a=b"),
        ("https://corp.example.org/team/x.tgz", "https://team.example.org/charts/x.tgz"),
        ("https://corp.example.org/teams/x", "http://nexus.example.org:8081/repository/helm/teams/x"),
        (
            "http://nexus.example.org:8081/repository/helm/x",
            "http://nexus.example.org:8081/repository/helm/x",
        ),
        ("http://nexus.example.org:8081/else/x", "http://nexus.example.org:8081/else/x"),
        ("https://ported.example.org:8443/x", "https://ported.example.org:8443/x"),
        ("https://mirror.example.org/x", "https://real.example.org/x"),
        ("https://real.example.org/x", "https://real.example.org/x"),
    ],
)
def test_a_url_is_moved_where_its_upstream_is(url: str, moved: str) -> None:
    assert str(destination(url, "corp.example.org/x").url) == moved


@pytest.mark.parametrize(
    ("url", "target", "authorization", "may_be_private"),
    [
        ("https://corp.example.org/x", "corp.example.org/x", BASIC, True),
        ("http://nexus.example.org:8081/repository/helm/x", "corp.example.org/x", BASIC, True),
        ("http://nexus.example.org:8081/else/x", "corp.example.org/x", BASIC, True),
        ("https://corp.example.org/x", "a.example.org/x", None, False),
        ("http://nexus.example.org:8081/repository/helm/x", "a.example.org/x", None, False),
        ("https://corp.example.org/team/x", "corp.example.org/x", None, False),
        ("https://corp.example.org/team/x", "corp.example.org/team/x", BASIC, False),
        ("https://corp.example.org/team/x", "friend.example.org/x", BASIC, False),
        ("https://corp.example.org/team/x", "friend.example.org/any/x", BASIC, False),
        ("https://corp.example.org/team/x", "not.friend.example.org/x", None, False),
        ("https://a.example.org/x", "corp.example.org/x", None, False),
        ("https://shared.example.org/helm/x", "one.example.org/x", None, False),
        ("https://shared.example.org/helm/x", "two.example.org/x", BASIC, False),
        ("https://shared.example.org/else", "two.example.org/x", BASIC, False),
        ("https://shared.example.org/else", "one.example.org/x", None, False),
        ("https://shared.example.org/helm/x", "shared.example.org/helm/x", None, False),
    ],
)
def test_credentials_and_permission_go_along_only_for_the_targets_own_upstream_or_one_that_trusts_it(
    url: str, target: str, authorization: str | None, may_be_private: bool
) -> None:
    found = destination(url, target)
    assert (found.authorization, found.may_be_private) == (authorization, may_be_private)


@pytest.mark.parametrize(
    ("url", "outcome"),
    [
        ("https://denied.example.org/x", Denied),
        ("https://denied.example.org/but/that", Denied),
        ("https://kubernetes.default.svc/x", UnknownHost),
        ("https://metadata.google.internal/x", UnknownHost),
        ("https://printer.local/x", UnknownHost),
        ("https://other.corp.local/x", UnknownHost),
        ("http://a.example.org/x", Corrupt),
        ("https://a.example.org:8443/x", Corrupt),
        ("http://a.example.org:443/x", Corrupt),
        ("https://ported.example.org:9443/x", Corrupt),
        ("http://real.example.org/x", Corrupt),
        ("http://nexus.example.org:8081/else/x", Corrupt),
    ],
)
def test_a_place_that_may_not_be_asked_is_refused(url: str, outcome: type[Outcome]) -> None:
    with pytest.raises(outcome):
        destination(url, "a.example.org/x")


@pytest.mark.parametrize("url", ["https://denied.example.org/but/this/x", "https://inside.corp.local/x"])
def test_a_longer_key_may_except_a_place(url: str) -> None:
    assert str(destination(url, "a.example.org/x").url) == url


def test_a_denial_says_what_the_rules_say() -> None:
    with pytest.raises(Denied, match=r"^use corp\.example\.org$"):
        destination("https://denied.example.org/x", "a.example.org/x")


_ALLOWLIST = """
version: 1
egress: {mode: allowlist, hosts: ["*.jetstack.io", cdn.example.org]}
upstreams: {key.example.org/org: {}, moved.example.org: {url: "https://real.example.org/"}}
"""


@pytest.mark.parametrize(
    "place",
    [
        "charts.jetstack.io/x",
        "cdn.example.org/x",
        "key.example.org/org/x",
        "moved.example.org/x",
        "real.example.org/x",
    ],
)
def test_a_listed_place_may_be_asked(place: str) -> None:
    assert destination(f"https://{place}", "a.example.org/x", _ALLOWLIST)


@pytest.mark.parametrize(
    "place",
    [
        *("evil-jetstack.io/x", "jetstack.io/x", "a.b.jetstack.io/x", "jetstack.io.evil.com/x"),
        *(
            "charts.jetstack.io.evil.com/x",
            "key.example.org/org-evil/x",
            "key.example.org/x",
            "cdn.example.org.a.io",
        ),
    ],
)
def test_a_place_that_only_looks_like_a_listed_one_may_not(place: str) -> None:
    with pytest.raises(Denied, match="is not on this gateway's list of hosts"):
        destination(f"https://{place}", "a.example.org/x", _ALLOWLIST)


@pytest.mark.parametrize(
    ("offline", "rules"),
    [
        (Upstreams(Secrets(), is_offline=True), RULES),
        (Upstreams(Secrets()), "version: 1\negress: {mode: offline}\n"),
    ],
)
def test_offline_nobody_is_dialled_whoever_it_is(offline: Upstreams, rules: str) -> None:
    for url in ("https://a.example.org/x", "https://denied.example.org/x", "https://corp.example.org/x"):
        with pytest.raises(Unavailable, match="offline"):
            offline.destinations(parse_upstream_url(url), errand("corp.example.org/x", rules))


def test_where_private_networks_are_allowed_they_are_for_everyone_and_credentials_are_not() -> None:
    lenient = Upstreams(Secrets({"GATEWAY_SECRET_USER": "me"}), may_dial_private=True)
    for url in ("https://a.example.org/x", "https://corp.example.org/x"):
        found = lenient.destinations(parse_upstream_url(url), errand("a.example.org/x"))[0]
        assert (found.may_be_private, found.authorization) == (True, None)


def test_certificates_of_our_own_are_credentials_and_authorities_are_not(tmp_path: Path) -> None:
    rules = """
version: 1
egress: {ca_file: corp.pem}
upstreams: {tls.example.org: {ca_file: its.pem, cert_file: c.pem, key_file: k.pem}, plain.example.org: {}}
"""
    found = upstreams(tmp_path)

    def tls_of(place: str, target: str) -> TlsFiles:
        url = parse_upstream_url(f"https://{place}/x")
        return found.destinations(url, errand(f"{target}/x", rules))[0].tls

    own = TlsFiles(tmp_path / "its.pem", tmp_path / "c.pem", tmp_path / "k.pem")
    assert tls_of("tls.example.org", "tls.example.org") == own
    assert tls_of("tls.example.org", "a.example.org") == TlsFiles(tmp_path / "its.pem")
    assert tls_of("plain.example.org", "a.example.org") == TlsFiles(tmp_path / "corp.pem")
    assert tls_of("a.example.org", "a.example.org") == TlsFiles(tmp_path / "corp.pem")


def test_a_secret_that_has_gone_while_we_run_is_an_outage_that_does_not_say_where_it_was(
    tmp_path: Path,
) -> None:
    rules = "version: 1\nupstreams: {a.example.org: {username_file: user, password_file: user}}\n"
    with pytest.raises(Unavailable, match=r"the credentials for a\.example\.org cannot be read") as caught:
        upstreams(tmp_path).destinations(
            parse_upstream_url("https://a.example.org/x"), errand("a.example.org/x", rules)
        )
    assert str(tmp_path) not in caught.value.message


PORTED = f"""
version: 1
upstreams:
  reg.example.org: {{{SIGNED_IN}, allow_private: true}}
  reg.example.org:5000: {{url: "http://10.0.0.5:5000/prefix", token_env: GATEWAY_SECRET_USER}}
  reg.example.org:8443/team: {{}}
"""


@pytest.mark.parametrize(
    ("target", "key", "home", "place"),
    [
        (
            "reg.example.org:5000/app",
            "reg.example.org:5000",
            "http://10.0.0.5:5000/prefix/",
            "http://10.0.0.5:5000/v2/prefix/app",
        ),
        (
            "reg.example.org:5000/a/app",
            "reg.example.org:5000",
            "http://10.0.0.5:5000/prefix/a/",
            "http://10.0.0.5:5000/v2/prefix/a/app",
        ),
        (
            "reg.example.org:8443/team/a/app",
            "reg.example.org:8443/team",
            "https://reg.example.org:8443/team/a/",
            "https://reg.example.org:8443/v2/team/a/app",
        ),
    ],
)
def test_a_target_whose_host_has_a_port_lies_where_the_key_with_that_port_says(
    target: str, key: str, home: str, place: str
) -> None:
    asked = errand(target, PORTED)
    found = upstreams().registry(asked)
    assert str(upstreams().home(asked)) == home
    assert f"{found.base}{found.name}" == place
    for url in (f"{home}index.yaml", f"{place}/tags/list"):
        (own,) = upstreams().destinations(parse_upstream_url(url), asked)
        assert (str(own.url), own.name, own.is_own) == (url, key, True)


@pytest.mark.parametrize(
    ("url", "target", "authorization", "may_be_private"),
    [
        ("https://reg.example.org:5000/v2/app/x", "reg.example.org:5000/app", "Bearer me", False),
        ("https://reg.example.org:5000/v2/app/x", "reg.example.org/app", None, False),
        ("https://reg.example.org/v2/app/x", "reg.example.org:5000/app", None, False),
        ("https://reg.example.org/v2/app/x", "reg.example.org/app", BASIC, True),
    ],
)
def test_a_host_with_a_port_and_the_host_without_share_nothing(
    url: str, target: str, authorization: str | None, may_be_private: bool
) -> None:
    found = destination(url, target, PORTED)
    assert (found.authorization, found.may_be_private) == (authorization, may_be_private)


def test_clients_are_told_the_name_in_the_rules_not_the_place_behind_it() -> None:
    assert destination("https://corp.example.org/x", "corp.example.org/x").name == "corp.example.org"
    assert destination("https://a.example.org/x", "a.example.org/x").name == "a.example.org"
