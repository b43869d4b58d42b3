"""Where registries are dialled: several urls, names of Docker Hub, docker logins, neighbours on one host."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.oci.outcomes import Denied
from gateway.oci.urls import parse_upstream_url
from gateway.rules.load import load_rules
from gateway.rules.route import Errand
from gateway.sources.credentials import Secrets, docker_logins
from gateway.sources.transports import Destination
from gateway.sources.upstreams import Upstreams
from tests.sources.asking import errand_to

SIGNED_IN = "username_env: GATEWAY_SECRET_USER, password_env: GATEWAY_SECRET_USER"
BASIC = "Basic bWU6bWU="
REGISTRIES = f"""
version: 1
upstreams:
  corp.example/team: {{url: "https://reg.corp:5000/prefix", kind: registry, allow_private: true, {SIGNED_IN}}}
  corp.example/team/secret: {{deny: "not that"}}
  moved.example:
    {{urls: ["https://one.corp/a", "http://two.corp:5000", "https://three.corp/b/c"], {SIGNED_IN}}}
  plain.example: {{{SIGNED_IN}}}
  plain.example/denied: {{deny: "not this"}}
  plain.example/other: {{}}
  bearer.example: {{token_env: GATEWAY_SECRET_USER}}
"""


UPSTREAMS = Upstreams(Secrets({"GATEWAY_SECRET_USER": "me"}))


def errand(target: str, rules: str = REGISTRIES) -> Errand:
    return errand_to(target, load_rules(rules))


def destinations(url: str, target: str, rules: str) -> Sequence[Destination]:
    return UPSTREAMS.destinations(parse_upstream_url(url), errand(target, rules))


def dialled(url: str, target: str, rules: str) -> list[str]:
    return [str(each.url) for each in destinations(url, target, rules)]


def destination(url: str, target: str, rules: str) -> Destination:
    return destinations(url, target, rules)[0]


@pytest.mark.parametrize(
    ("target", "base", "name"),
    [
        ("ghcr.io/org/app", "https://ghcr.io/v2/", "org/app"),
        ("corp.example/team/app", "https://reg.corp:5000/v2/", "prefix/app"),
        ("corp.example/team/deep/app", "https://reg.corp:5000/v2/", "prefix/deep/app"),
        ("corp.example/app", "https://corp.example/v2/", "app"),
        ("moved.example/app", "https://one.corp/v2/", "a/app"),
        ("docker.io/library/nginx", "https://registry-1.docker.io/v2/", "library/nginx"),
        ("index.docker.io/library/nginx", "https://index.docker.io/v2/", "library/nginx"),
    ],
)
def test_a_target_has_a_place_at_a_registry(target: str, base: str, name: str) -> None:
    found = UPSTREAMS.registry(errand(target))
    assert (str(found.base), found.name) == (base, name)


@pytest.mark.parametrize(
    ("url", "target", "expected"),
    [
        (
            "https://one.corp/v2/a/app/manifests/1?n=1",
            "moved.example/app",
            [
                "https://one.corp/v2/a/app/manifests/1?n=1",
                "http://two.corp:5000/v2/app/manifests/1?n=1",
                "https://three.corp/v2/b/c/app/manifests/1?n=1",
            ],
        ),
        (
            "https://one.corp/a/index.yaml",
            "moved.example/app",
            [
                "https://one.corp/a/index.yaml",
                "http://two.corp:5000/index.yaml",
                "https://three.corp/b/c/index.yaml",
            ],
        ),
        (
            "https://moved.example/v2/app/blobs/x",
            "moved.example/app",
            [
                "https://one.corp/v2/a/app/blobs/x",
                "http://two.corp:5000/v2/app/blobs/x",
                "https://three.corp/v2/b/c/app/blobs/x",
            ],
        ),
        (
            "https://one.corp/v2/",
            "moved.example/app",
            ["https://one.corp/v2/", "http://two.corp:5000/v2/", "https://three.corp/v2/"],
        ),
        (
            "http://two.corp:5000/v2/app/tags/list",
            "moved.example/app",
            ["http://two.corp:5000/v2/app/tags/list"],
        ),
        ("http://two.corp:5000/v2/", "moved.example/app", ["http://two.corp:5000/v2/"]),
        ("https://one.corp/else", "moved.example/app", ["https://one.corp/else"]),
        ("https://reg.corp:5000/v2/prefix/x", "corp.example/team/x", ["https://reg.corp:5000/v2/prefix/x"]),
        ("https://corp.example/v2/team/x", "corp.example/team/x", ["https://reg.corp:5000/v2/prefix/x"]),
        ("https://corp.example/v2/teams/x", "corp.example/team/x", ["https://corp.example/v2/teams/x"]),
        ("https://reg.corp:5000/v2/", "corp.example/team/x", ["https://reg.corp:5000/v2/"]),
        ("https://ghcr.io/v2/org/app/tags/list", "ghcr.io/org/app", ["https://ghcr.io/v2/org/app/tags/list"]),
    ],
)
def test_a_url_below_a_key_or_the_first_url_is_asked_at_each_in_order(
    url: str, target: str, expected: list[str]
) -> None:
    assert dialled(url, target, REGISTRIES) == expected


def test_the_place_at_a_registry_is_asked_with_what_the_upstream_has() -> None:
    own = errand("corp.example/team/app")
    place = UPSTREAMS.registry(own)
    for url in (f"{place.base}{place.name}/manifests/1", f"{place.base}", "https://reg.corp:5000/elsewhere"):
        (each,) = UPSTREAMS.destinations(parse_upstream_url(url), own)
        assert (str(each.url), each.name) == (url, "corp.example/team")
        assert (each.authorization, each.may_be_private) == (BASIC, True)


@pytest.mark.parametrize(
    ("url", "target", "authorization"),
    [
        ("https://one.corp/v2/a/app/tags/list", "moved.example/app", BASIC),
        ("https://one.corp/v2/a/app/tags/list", "a.example/app", None),
        ("https://reg.corp:5000/v2/prefix/x", "moved.example/x", None),
        ("https://plain.example/v2/app/tags/list", "plain.example/app", BASIC),
        ("https://plain.example/v2/other/app/tags/list", "plain.example/app", None),
        ("https://plain.example/v2/app/tags/list", "plain.example/other/app", None),
        ("https://cdn.example/v2/app", "plain.example/app", None),
        ("https://bearer.example/v2/app/tags/list", "bearer.example/app", "Bearer me"),
        ("https://bearer.example/v2/app/tags/list", "a.example/app", None),
    ],
)
def test_the_credentials_of_a_registry_are_for_its_own_targets(
    url: str, target: str, authorization: str | None
) -> None:
    found = destinations(url, target, REGISTRIES)
    assert {each.authorization for each in found} == {authorization}


@pytest.mark.parametrize(
    ("url", "target", "message"),
    [
        ("https://plain.example/v2/denied/x", "plain.example/app", "not this"),
        ("https://plain.example/denied/x.tgz", "plain.example/app", "not this"),
        ("https://plain.example/v2/denied/x", "a.example/app", "not this"),
        ("https://corp.example/v2/team/secret/x", "corp.example/team/app", "not that"),
    ],
)
def test_what_is_denied_is_denied_to_its_neighbours_and_to_registries_too(
    url: str, target: str, message: str
) -> None:
    with pytest.raises(Denied, match=message):
        destinations(url, target, REGISTRIES)


NO_RULES = "version: 1"
HUB_KEY = f"version: 1\nupstreams: {{docker.io: {{{SIGNED_IN}}}}}"


@pytest.mark.parametrize("rules", [NO_RULES, HUB_KEY])
@pytest.mark.parametrize("host", ["docker.io", "registry-1.docker.io"])
def test_docker_hub_is_dialled_at_its_registry_and_called_by_its_name(rules: str, host: str) -> None:
    found = destination(f"https://{host}/v2/library/nginx/tags/list", "docker.io/library/nginx", rules)
    assert str(found.url) == "https://registry-1.docker.io/v2/library/nginx/tags/list"
    assert (found.name, found.authorization) == ("docker.io", BASIC if rules == HUB_KEY else None)


def test_docker_hub_moved_by_a_url_is_dialled_there() -> None:
    rules = 'version: 1\nupstreams: {docker.io: {url: "https://mirror.corp/hub"}}'
    target = "docker.io/library/nginx"
    place = UPSTREAMS.registry(errand(target, rules))
    assert f"{place.base}{place.name}" == "https://mirror.corp/v2/hub/library/nginx"
    assert dialled(f"{place.base}{place.name}/tags/list", target, rules) == [
        "https://mirror.corp/v2/hub/library/nginx/tags/list"
    ]


def test_docker_hub_has_to_be_listed_and_may_be_denied_by_its_name() -> None:
    url, target = "https://registry-1.docker.io/v2/library/x/tags/list", "docker.io/library/x"
    listed = "version: 1\negress: {mode: allowlist, hosts: [docker.io]}"
    assert dialled(url, target, listed) == [url]
    for closed in ("egress: {mode: allowlist}", 'upstreams: {docker.io: {deny: "is not on our list"}}'):
        with pytest.raises(Denied, match="is not on"):
            dialled(url, target, f"version: 1\n{closed}")


def with_logins(folder: Path, rules: str, *places: str) -> Callable[[str, str], str | None]:
    """What goes along to a URL for a target, where docker is signed in to these places."""
    auths = ", ".join(f'"{place}": {{"auth": "bWU6bWU="}}' for place in places)
    (folder / "config.json").write_text(f'{{"auths": {{{auths}}}}}')
    secrets = Secrets({"GATEWAY_SECRET_USER": "you"}, None, folder)
    rule_set = replace(load_rules(rules), logins=docker_logins(secrets))
    found = Upstreams(secrets)

    def authorization(url: str, target: str) -> str | None:
        return found.destinations(parse_upstream_url(url), errand_to(target, rule_set))[0].authorization

    return authorization


@pytest.mark.parametrize(
    ("url", "target", "authorization"),
    [
        ("https://ghcr.io/v2/org/app/tags/list", "ghcr.io/org/app", BASIC),
        ("https://ghcr.io/v2/", "ghcr.io/org/app", BASIC),
        ("https://ghcr.io/v2/org/app/tags/list", "ghcr.io/orgs/app", None),
        ("https://ghcr.io/org/index.yaml", "ghcr.io/org/app", None),
        ("https://ghcr.io/v2/org/app/tags/list", "a.example/org/app", None),
        ("https://cdn.example/v2/org/app", "ghcr.io/org/app", None),
        ("https://registry-1.docker.io/v2/library/x/tags/list", "docker.io/library/x", BASIC),
        ("https://one.corp/v2/a/app/tags/list", "moved.example/app", "Basic eW91OnlvdQ=="),
        ("https://r.corp:5000/v2/p/app/tags/list", "key.example/app", BASIC),
        ("https://r.corp:5000/p/index.yaml", "key.example/app", None),
        ("https://ported.example:5000/v2/app/tags/list", "ported.example:5000/app", BASIC),
        ("https://ported.example:5000/v2/app/tags/list", "ported.example/app", None),
    ],
)
def test_a_docker_login_goes_to_its_registry_for_the_targets_there(
    url: str, target: str, authorization: str | None, tmp_path: Path
) -> None:
    rules = f'{REGISTRIES}  key.example: {{url: "https://r.corp:5000/p"}}\n  ported.example:5000: {{}}\n'
    places = ("ghcr.io/org", "one.corp", "r.corp:5000", "ported.example:5000")
    logins = ("https://index.docker.io/v1/", *places)
    assert with_logins(tmp_path, rules, *logins)(url, target) == authorization


def test_an_upstream_with_credentials_of_its_own_never_uses_a_docker_login(tmp_path: Path) -> None:
    rules = f"""
version: 1
upstreams:
  own.example: {{url: "https://shared.corp/a", {SIGNED_IN}}}
  friend.example: {{url: "https://shared.corp/b", trusted_by: [own.example]}}
"""
    authorization = with_logins(tmp_path, rules, "shared.corp")
    assert authorization("https://shared.corp/v2/b/x/tags/list", "own.example/x") is None
    assert authorization("https://shared.corp/v2/b/x/tags/list", "friend.example/x") == BASIC


NEIGHBOURS = f"""
version: 1
upstreams:
  ghcr.io: {{{SIGNED_IN}}}
  alias.example: {{url: "https://ghcr.io/org"}}
  real.example: {{deny: "use the mirror"}}
  real.example/closed: {{deny: "for nobody"}}
  mirror.example: {{url: "https://real.example", {SIGNED_IN}}}
  outer.example: {{}}
  outer.example/moved: {{url: "https://elsewhere.example/charts"}}
  moved.example: {{url: "https://there.example"}}
  there.example: {{url: "https://third.example"}}
  docker.io: {{{SIGNED_IN}}}
  docker.io/closed: {{deny: "for nobody"}}
  registry-1.docker.io: {{}}
  rooted.example: {{urls: ["https://one.corp", "https://two.corp/b"]}}
"""


@pytest.mark.parametrize(
    ("url", "target", "name", "authorization"),
    [
        ("https://ghcr.io/v2/org/x", "ghcr.io/org/x", "ghcr.io", BASIC),
        ("https://ghcr.io/v2/org/x", "alias.example/x", "alias.example", None),
        ("https://real.example/v2/x", "mirror.example/x", "mirror.example", BASIC),
        ("https://registry-1.docker.io/v2/x/y", "docker.io/x/y", "docker.io", BASIC),
        ("https://docker.io/v2/x/y", "docker.io/x/y", "docker.io", BASIC),
        ("https://registry-1.docker.io/v2/x/y", "registry-1.docker.io/x/y", "registry-1.docker.io", None),
    ],
)
def test_of_several_upstreams_that_a_url_may_belong_to_the_targets_own_is_meant(
    url: str, target: str, name: str, authorization: str | None
) -> None:
    found = destination(url, target, NEIGHBOURS)
    assert (found.name, found.authorization) == (name, authorization)


@pytest.mark.parametrize(
    ("url", "target", "expected"),
    [
        ("https://outer.example/moved/x", "outer.example/x", ["https://elsewhere.example/charts/x"]),
        ("https://outer.example/moved/x", "a.example/x", ["https://elsewhere.example/charts/x"]),
        ("https://there.example/x", "a.example/x", ["https://third.example/x"]),
        ("https://there.example/x", "moved.example/x", ["https://there.example/x"]),
        ("https://one.corp/v2/", "rooted.example/x", ["https://one.corp/v2/", "https://two.corp/v2/"]),
    ],
)
def test_the_deepest_key_moves_a_url_unless_it_is_the_targets_own_already(
    url: str, target: str, expected: list[str]
) -> None:
    assert dialled(url, target, NEIGHBOURS) == expected


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://real.example/closed/x", "mirror.example/x"),
        ("https://real.example/v2/closed/x", "mirror.example/closed/x"),
        ("https://registry-1.docker.io/v2/closed/x", "docker.io/open/x"),
        ("https://registry-1.docker.io/v2/closed/x", "registry-1.docker.io/closed/x"),
    ],
)
def test_what_a_deeper_key_denies_is_denied_whoever_else_leads_there(url: str, target: str) -> None:
    with pytest.raises(Denied, match="for nobody"):
        destination(url, target, NEIGHBOURS)
