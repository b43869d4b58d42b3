"""An editor may not lead a saved credential anywhere: not by its own upstream, and by no other."""

from collections.abc import Collection

import pytest

from gateway.oci.urls import HttpUrl
from gateway.rules.guarding import changed_guards
from gateway.rules.load import load_rules

SAVED = """\
  nexus.example.com: {url: "https://nexus-1.example.com", username_env: GATEWAY_SECRET_U, password_file: p}
  open.example.com: {url: "https://mirror.example.com/open"}
"""
NEAR = '{url: "https://evil.example.com"}'


def sees(realm: HttpUrl, registry: HttpUrl, token_hosts: Collection[str]) -> bool:
    return realm.host in {registry.host, f"auth.{registry.host}", *token_hosts}


def guarded(before: str, after: str, logins: Collection[str] = ()) -> list[str]:
    saved, edited = (load_rules(f"version: 1\n{text}") for text in (before, after))
    return list(changed_guards(saved, edited, logins, sees))


def upstreams(text: str) -> str:
    return f"upstreams:\n{text}"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("nexus-1.", "evil.", "url"),
        ('url: "https://nexus-1.example.com", ', "", "url"),
        ("GATEWAY_SECRET_U", "GATEWAY_SECRET_V", "username"),
        ("password_file: p", "password_file: q", "password"),
        ("password_file: p", "password_file: p, trusted_by: [evil.example.com]", "trusted_by"),
        ("password_file: p", "password_file: p, token_hosts: [evil.example.com]", "token_hosts"),
        ("password_file: p", "password_file: p, ca_file: mine.pem", "ca_file"),
        ("password_file: p", "password_file: p, allow_private: true", "allow_private"),
        ("password_file: p", "password_file: p, access: anonymous", "access"),
    ],
)
def test_what_leads_a_credential_is_guarded(old: str, new: str, key: str) -> None:
    assert f'upstreams."nexus.example.com".{key}' in guarded(
        upstreams(SAVED), upstreams(SAVED.replace(old, new))
    )


def test_an_upstream_with_credentials_is_neither_removed_nor_added() -> None:
    assert guarded(upstreams(SAVED), "")
    assert guarded("", upstreams(SAVED))
    assert guarded("", upstreams("  new.example.com: {token_file: harbor-token}\n"))


@pytest.mark.parametrize("key", ["nexus.example.com/sub", "nexus-1.example.com", "auth.nexus-1.example.com"])
def test_another_upstream_on_a_host_that_may_see_credentials_is_guarded(key: str) -> None:
    assert guarded(upstreams(SAVED), upstreams(f"{SAVED}  {key}: {NEAR}\n")) == [f'upstreams."{key}".url']


@pytest.mark.parametrize("host", ["nexus.example.com", "nexus-1.example.com", "auth.nexus-1.example.com"])
def test_an_upstream_whose_urls_are_on_such_a_host_is_guarded(host: str) -> None:
    """What is asked of the host is asked of the second URL, too, where the first fails: with credentials."""
    moving = f'  far.example.com: {{urls: ["https://{host}", "https://evil.example.com"]}}\n'
    assert guarded(upstreams(SAVED), upstreams(SAVED + moving)) == ['upstreams."far.example.com".url']
    assert guarded(upstreams(SAVED + moving), upstreams(SAVED)) == ['upstreams."far.example.com".url']


@pytest.mark.parametrize("place", ["nexus.example.com", "nexus.example.com/team", "open.example.com/nexus"])
@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("defaults: {{chartproxy: {place}}}\n{saved}", "defaults.chartproxy"),
        (
            "{saved}  far.example.com: {{chartproxy: {place}}}\n",
            'upstreams."far.example.com".chartproxy',
        ),
        (
            '{saved}rules: [{{repository: "a/*", rewrite: "far.example.com/$1", chartproxy: {place}}}]\n',
            "rules.chartproxy",
        ),
    ],
)
def test_what_credentials_open_does_not_become_a_chart_proxy_that_is_open_to_all(
    text: str, key: str, place: str
) -> None:
    saved = upstreams(SAVED + '  open.example.com/nexus: {url: "https://nexus-1.example.com/x"}\n')
    after = text.format(place=place, saved=saved)
    assert guarded(saved, after) == [key]
    assert not guarded(after, after)
    assert not guarded(saved, text.format(place="open.example.com", saved=saved))


def test_a_chart_proxy_does_not_come_by_credentials_as_its_own_key_goes() -> None:
    before = "defaults: {chartproxy: nexus.example.com/open}\n" + upstreams(SAVED)
    own = "  nexus.example.com/open: {kind: chartproxy}\n"
    assert guarded(before + own, before) == ["defaults.chartproxy"]
    assert not guarded(before + own, before + own.replace("chartproxy}", "registry}"))


@pytest.mark.parametrize("key", ["ghcr.io", "ghcr.io/token", "auth.ghcr.io"])
def test_a_docker_login_is_guarded_as_well(key: str) -> None:
    after = upstreams(f"  {key}: {NEAR}\n")
    assert guarded("", after, ["ghcr.io/org"])
    for url in ("http://ghcr.io", "https://auth.ghcr.io"):
        assert guarded("", upstreams(f'  new.example.com: {{url: "{url}"}}\n'), ["ghcr.io/org"])
    assert guarded("", "defaults: {chartproxy: ghcr.io/org}\n", ["ghcr.io/org"]) == ["defaults.chartproxy"]
    assert not guarded("", after)


def test_a_proxy_is_guarded_where_there_are_credentials() -> None:
    proxy = "egress: {proxy: 'http://evil.example.com:3128'}\n"
    assert guarded(upstreams(SAVED), proxy + upstreams(SAVED)) == ["egress.proxy"]
    assert guarded("", proxy, ["ghcr.io/org"]) == ["egress.proxy"]
    assert not guarded("", proxy)


def test_all_else_is_free() -> None:
    after = SAVED.replace("mirror.example.com", "other.example.com").replace(
        "password_file: p", "password_file: p, deny: no, kind: helm"
    )
    rules = 'rules: [{repository: "a/*", rewrite: "nexus.example.com/$1"}]\n'
    more = "  new.example.com: {kind: registry}\n  nexus.example.com/sub: {deny: no}\n"
    assert not guarded(upstreams(SAVED), rules + upstreams(after + more), ["ghcr.io", "no url"])
