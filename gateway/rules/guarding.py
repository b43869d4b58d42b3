"""Where credentials go by the rules: what decides that is changed in the file alone."""

from collections.abc import Callable, Collection, Iterator
from typing import TypeAlias

from gateway.oci.urls import HttpUrl, UrlError, parse_upstream_url
from gateway.rules.model import RuleSet, Upstream, usual_url
from gateway.rules.section import join

MaySee: TypeAlias = Callable[[HttpUrl, HttpUrl, Collection[str]], bool]  # a realm, of a registry, token_hosts
_SIGNING: tuple[str, ...] = ("username", "password", "token", "cert_file", "key_file")
_LEADING: tuple[str, ...] = (
    *("urls", "token_hosts", "ca_file", "allow_private", "trusted_by", "stated_access"),
)


def changed_guards(
    saved: RuleSet, edited: RuleSet, logins: Collection[str], may_see: MaySee
) -> Iterator[str]:
    """The paths of keys that an edit must leave alone, and does not.

    They are those of credentials; where there are any, here or there, what says where these go; and the same
    of each upstream whose key is on a host that may see them, for a key moves what is asked below it.
    ``logins`` are places of a docker config.json; ``may_see`` says whether a realm gets the credentials of a
    registry.
    """
    held = [one for rules in (saved, edited) for one in rules.upstreams.values() if _signs_in(one)]
    for key in sorted({*saved.upstreams, *edited.upstreams}):
        before, after = _at(saved, key), _at(edited, key)
        yield from (_path(key, word) for word in _SIGNING if getattr(before, word) != getattr(after, word))
        is_near = any(_is_near(before, one, may_see) for one in held)
        if is_near or any(_is_near_login(one, logins, may_see) for one in (before, after)):
            yield from (
                _path(key, word) for word in _LEADING if getattr(before, word) != getattr(after, word)
            )
    if held or logins:
        for word in ("proxy", "no_proxy", "ca_file"):
            if getattr(saved.egress, word) != getattr(edited.egress, word):
                yield f"egress.{word}"


def _signs_in(upstream: Upstream) -> bool:
    return upstream.has_credentials or upstream.cert_file is not None


def _at(rules: RuleSet, key: str) -> Upstream:
    """What holds for a key, also where it is not written."""
    return rules.upstreams.get(key) or Upstream(key, (usual_url(key),))


def _path(key: str, word: str) -> str:
    named = {"urls": "url", "stated_access": "access"}
    return join(join("upstreams", key), named.get(word, word))


def _is_near(upstream: Upstream, signing: Upstream, may_see: MaySee) -> bool:
    hosts = {signing.host, *(url.host for url in signing.urls), *signing.token_hosts, *signing.trusted_by}
    return upstream.host in hosts or any(
        _may_see(upstream, url, signing.token_hosts, may_see) for url in signing.urls
    )


def _is_near_login(upstream: Upstream, logins: Collection[str], may_see: MaySee) -> bool:
    dialled = {url.host for url in (usual_url(upstream.key), *upstream.urls)}
    for login in logins:
        try:
            registry = parse_upstream_url(f"https://{login}")
        except UrlError:
            continue
        if registry.host in dialled or _may_see(upstream, registry, (), may_see):
            return True
    return False


def _may_see(upstream: Upstream, registry: HttpUrl, token_hosts: Collection[str], may_see: MaySee) -> bool:
    return may_see(usual_url(upstream.host), registry, token_hosts)
