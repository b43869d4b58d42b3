"""Who is asked for tokens, and who of those sees our credentials: the inputs that others were caught by."""

import base64
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gateway.oci.outcomes import Corrupt, Unavailable
from gateway.oci.urls import HttpUrl, UrlError, parse_upstream_url
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet
from gateway.sources.credentials import Secrets, docker_logins
from gateway.sources.upstreams import Upstreams
from tests.sources.asking import errand_to

SIGNED_IN = "username_env: GATEWAY_SECRET_USER, password_env: GATEWAY_SECRET_USER"
RULES = f"""
version: 1
upstreams:
  reg.example.org: {{{SIGNED_IN}}}
  docker.io: {{{SIGNED_IN}}}
  registry.gitlab.com: {{{SIGNED_IN}}}
  nvcr.io: {{{SIGNED_IN}}}
  known.example.org: {{token_hosts: [auth.example.net], {SIGNED_IN}}}
  plain.example.org: {{url: "http://10.0.0.5:5000", allow_private: true, {SIGNED_IN}}}
  local.example.org: {{url: "https://localhost:5000/prefix", allow_private: true, {SIGNED_IN}}}
  two.example.org: {{urls: ["https://one.corp", "http://two.corp:5000"], {SIGNED_IN}}}
  mirror.example.org: {{url: "https://mirror.corp", {SIGNED_IN}}}
  docker.io/mirrored: {{url: "https://hub.corp", {SIGNED_IN}}}
  bearer.example.org: {{token_env: GATEWAY_SECRET_USER}}
"""
BASIC = "Basic bWU6bWU="


@dataclass(frozen=True, slots=True)
class Realms:
    """What some rules say of realms."""

    upstreams: Upstreams
    rule_set: RuleSet

    def authorization(self, url: str, target: str) -> str | None:
        return self.upstreams.realm_authorization(realm(url), errand_to(target, self.rule_set))

    def require(self, url: str, target: str) -> None:
        self.upstreams.require_realm(realm(url), errand_to(target, self.rule_set))


def realms(docker_config: Path | None = None, rules: str = RULES) -> Realms:
    secrets = Secrets({"GATEWAY_SECRET_USER": "me"}, None, docker_config)
    return Realms(Upstreams(secrets), replace(load_rules(rules), logins=docker_logins(secrets)))


def realm(text: str) -> HttpUrl:
    return parse_upstream_url(text)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://reg.example.org/token", "reg.example.org/x"),
        ("https://reg.example.org:8443/token", "reg.example.org/x"),
        ("https://auth.docker.io/token", "docker.io/nginx"),
        ("https://auth.docker.io/token", "docker.io/org/x"),
        ("https://gitlab.com/jwt/auth", "registry.gitlab.com/group/x"),
        ("https://authn.nvidia.com/token", "nvcr.io/nvidia/x"),
        ("https://auth.example.net/token", "known.example.org/x"),
        ("http://10.0.0.5:5000/token", "plain.example.org/x"),
        ("https://localhost:5000/token", "local.example.org/x"),
        ("https://one.corp/token", "two.example.org/x"),
        ("http://two.corp:5000/token", "two.example.org/x"),
        ("https://mirror.corp/token", "mirror.example.org/x"),
    ],
)
def test_credentials_go_to_the_registry_itself_and_to_who_is_known_to_work_for_it(
    url: str, target: str
) -> None:
    found = realms()
    found.require(url, target)
    assert found.authorization(url, target) == BASIC


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://evil.test/t", "reg.example.org/x"),
        ("https://evil-reg.example.org/t", "reg.example.org/x"),
        ("https://reg.example.org.evil.test/t", "reg.example.org/x"),
        ("https://auth.reg.example.org/t", "reg.example.org/x"),
        ("https://example.org/t", "reg.example.org/x"),
        ("https://evil-docker.io/token", "docker.io/nginx"),
        ("https://docker.io/token", "docker.io/nginx"),
        ("https://auth.docker.io.evil.test/token", "docker.io/nginx"),
        ("https://xauth.docker.io/token", "docker.io/nginx"),
        ("https://auth.docker.io/token", "reg.example.org/x"),
        ("https://auth.docker.io/token", "docker.io/mirrored/x"),
        ("https://gitlab.com/jwt/auth", "nvcr.io/x"),
        ("https://auth.example.net/token", "reg.example.org/x"),
        ("https://not.auth.example.net/token", "known.example.org/x"),
        ("https://mirror.example.org/token", "mirror.example.org/x"),
        ("https://reg.example.org/token", "other.example.org/x"),
        ("https://bearer.example.org/token", "bearer.example.org/x"),
    ],
)
def test_everyone_else_is_asked_anonymously(url: str, target: str) -> None:
    found = realms()
    found.require(url, target)
    assert found.authorization(url, target) is None


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://reg.example.org/token", "reg.example.org/x"),
        ("http://evil.test/t", "reg.example.org/x"),
        ("http://evil.test/t", "plain.example.org/x"),
        ("http://auth.example.net/t", "known.example.org/x"),
        ("http://one.corp/token", "two.example.org/x"),
        ("https://169.254.169.254/", "reg.example.org/x"),
        ("https://127.0.0.1/t", "reg.example.org/x"),
        ("https://93.184.216.34/t", "reg.example.org/x"),
        ("https://[::1]/t", "reg.example.org/x"),
        ("https://[2606:4700::1]/t", "reg.example.org/x"),
        ("https://localhost/t", "reg.example.org/x"),
        ("https://a.localhost/t", "reg.example.org/x"),
        ("https://10.0.0.6/t", "plain.example.org/x"),
        ("https://localhost/t", "docker.io/nginx"),
    ],
)
def test_a_realm_that_no_honest_registry_names_is_not_asked_at_all(url: str, target: str) -> None:
    with pytest.raises(Corrupt) as caught:
        realms().require(url, target)
    assert caught.value.reason == "bad_realm"


@pytest.mark.parametrize(
    "text",
    ["https://u:p@reg.example.org/", "https://2130706433/", "https://0x7f.1/", "//evil.test/", "file:///etc"],
)
def test_a_realm_with_a_user_or_an_odd_address_is_no_url(text: str) -> None:
    with pytest.raises(UrlError):
        realm(text)


@pytest.mark.parametrize(
    ("url", "target", "pair"),
    [
        ("https://ghcr.io/token", "ghcr.io/org/x", "org:1"),
        ("https://ghcr.io/token", "ghcr.io/orgs/x", "all:1"),
        ("https://auth.docker.io/token", "docker.io/mine/x", "me:me"),
        ("https://evil.test/token", "ghcr.io/org/x", None),
        ("https://reg.example.org/token", "reg.example.org/x", "me:me"),
        ("https://quay.io/token", "quay.io/x/x", None),
    ],
)
def test_a_docker_login_is_credentials_too_and_those_in_the_rules_come_first(
    url: str, target: str, pair: str | None, tmp_path: Path
) -> None:
    entries = {
        "ghcr.io": "all:1",
        "ghcr.io/org": "org:1",
        "reg.example.org": "docker:1",
        "docker.io": "docker:1",
    }
    auths = ", ".join(f'"{place}": {{"auth": "{_base64(one)}"}}' for place, one in entries.items())
    (tmp_path / "config.json").write_text(f'{{"auths": {{{auths}}}}}')
    found = realms(tmp_path).authorization(url, target)
    assert found == (None if pair is None else f"Basic {_base64(pair)}")


def test_a_login_that_has_gone_is_an_outage(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(f'{{"auths": {{"ghcr.io": {{"auth": "{_base64("me:1")}"}}}}}}')
    found = realms(tmp_path)
    config.write_text("{}")
    with pytest.raises(Unavailable, match=r"the credentials for ghcr\.io cannot be read"):
        found.authorization("https://ghcr.io/token", "ghcr.io/x/x")


def test_a_login_of_the_second_url_is_found_too(tmp_path: Path) -> None:
    upstream = "{urls: [https://one.corp, https://two.corp], token_hosts: [t.corp]}"
    rules = f"version: 1\nupstreams: {{a.example: {upstream}}}"
    (tmp_path / "config.json").write_text(f'{{"auths": {{"two.corp": {{"auth": "{_base64("me:2")}"}}}}}}')
    found = realms(tmp_path, rules)
    assert found.authorization("https://t.corp/token", "a.example/x") == f"Basic {_base64('me:2')}"
    assert found.authorization("https://one.corp/token", "a.example/x") is None


def test_a_realm_on_another_port_is_dialled_where_a_key_lists_it() -> None:
    rules = """
version: 1
upstreams:
  plain.example.org: {url: "http://10.0.0.5:5000", allow_private: true}
  10.0.0.5:5001: {url: "http://10.0.0.5:5001", allow_private: true, trusted_by: [plain.example.org]}
"""
    found, errand = Upstreams(Secrets()), errand_to("plain.example.org/x", load_rules(rules))
    (listed,) = found.destinations(realm("http://10.0.0.5:5001/token"), errand)
    assert (str(listed.url), listed.may_be_private) == ("http://10.0.0.5:5001/token", True)
    with pytest.raises(Corrupt, match="only https on port 443"):
        found.destinations(realm("http://10.0.0.5:5002/token"), errand)


def _base64(pair: str) -> str:
    return base64.b64encode(pair.encode()).decode()
