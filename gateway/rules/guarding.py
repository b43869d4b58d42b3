"""Where credentials go by the rules: what decides that is changed in the file alone."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gateway.oci.urls import HttpUrl, UrlError, parse_upstream_url
from gateway.rules.model import Policy, RuleSet, Upstream, usual_url
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
    of each upstream that is on a host that may see them by its key or by its URLs, for what is asked below
    these is moved. Nor may such a place become a chart proxy, which is asked in its own right for everybody.
    ``logins`` are places of a docker config.json; ``may_see`` says whether a realm gets the credentials of a
    registry.
    """
    signing = [one for rules in (saved, edited) for one in rules.upstreams.values() if _signs_in(one)]
    guarded = _Guarded(signing, logins, may_see)
    for key in sorted({*saved.upstreams, *edited.upstreams}):
        before, after = _at(saved, key), _at(edited, key)
        yield from (_path(key, word) for word in _changed(_SIGNING, before, after))
        leading = _changed(_LEADING, before, after)
        if leading and (guarded.is_near(before) or guarded.is_near(after)):
            yield from (_path(key, word) for word in leading)
    proxies = {*_chartproxies(edited)} - {*_chartproxies(saved)}
    yield from sorted({path for path, place, _ in proxies if guarded.is_near(_on(edited, place))})
    if signing or logins:
        for word in ("proxy", "no_proxy", "ca_file"):
            if getattr(saved.egress, word) != getattr(edited.egress, word):
                yield f"egress.{word}"


@dataclass(frozen=True, slots=True)
class _Guarded:
    """Who signs in, by rules.yaml or by a docker config.json, and who may see with what."""

    signing: Collection[Upstream]
    logins: Collection[str]
    may_see: MaySee

    def is_near(self, upstream: Upstream) -> bool:
        """Whether credentials may be sent to a host of this upstream, also those of another."""
        dialled = [usual_url(upstream.host), usual_url(upstream.key), *upstream.urls]
        hosts = {upstream.host, *(url.host for url in dialled)}
        return any(self._sees(one, hosts, dialled) for one in self.signing) or any(
            registry.host in hosts or self._is_realm_of(registry, (), dialled)
            for registry in map(_registry_of, self.logins)
            if registry is not None
        )

    def _sees(self, signing: Upstream, hosts: Collection[str], dialled: Collection[HttpUrl]) -> bool:
        own = {signing.host, *(url.host for url in signing.urls), *signing.token_hosts, *signing.trusted_by}
        return not own.isdisjoint(hosts) or any(
            self._is_realm_of(url, signing.token_hosts, dialled) for url in signing.urls
        )

    def _is_realm_of(
        self, registry: HttpUrl, token_hosts: Collection[str], dialled: Collection[HttpUrl]
    ) -> bool:
        return any(self.may_see(url, registry, token_hosts) for url in dialled)


def _signs_in(upstream: Upstream) -> bool:
    return upstream.has_credentials or upstream.cert_file is not None


def _at(rules: RuleSet, key: str) -> Upstream:
    """What holds for a key, also where it is not written."""
    return rules.upstreams.get(key) or Upstream(key, (usual_url(key),))


def _on(rules: RuleSet, place: str) -> Upstream:
    """What holds for a place, which may be below a key."""
    return rules.upstream_for(place) or Upstream(place, (usual_url(place),))


def _changed(words: Sequence[str], before: Upstream, after: Upstream) -> Sequence[str]:
    return [word for word in words if getattr(before, word) != getattr(after, word)]


def _chartproxies(rules: RuleSet) -> Iterator[tuple[str, str, str]]:
    """Where it is written (of rules, whichever it is), the place, and the key whose rights it is asked by."""
    written = [("defaults", rules.defaults)]
    written += [
        (join("upstreams", key), one.policy) for key, one in rules.upstreams.items() if one.has_own_chartproxy
    ]
    written += [("rules", one.change(Policy())) for one in rules.rules if "chartproxy" in one.stated]
    for path, policy in written:
        if policy.chartproxy is not None:
            place = policy.chartproxy
            yield join(path, "chartproxy"), place, _on(rules, place).key


def _path(key: str, word: str) -> str:
    named = {"urls": "url", "stated_access": "access"}
    return join(join("upstreams", key), named.get(word, word))


def _registry_of(login: str) -> HttpUrl | None:
    try:
        return parse_upstream_url(f"https://{login}")
    except UrlError:
        return None
