"""Decides where a URL is really dialled, and what may go along: the one place that reads ``upstreams``."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from gateway.oci.outcomes import Corrupt, Denied, Unavailable, UnknownHost
from gateway.oci.urls import HttpUrl, parse_upstream_url
from gateway.rules import docker_hub
from gateway.rules.egress_values import goes_by_proxy
from gateway.rules.model import Egress, EgressMode, RuleSet, Upstream, UpstreamKind, usual_url
from gateway.rules.registry_names import API, registry_names
from gateway.rules.route import Errand, unknown_host_message
from gateway.sources import realms
from gateway.sources.credentials import CredentialError, Secrets
from gateway.sources.places import meaning
from gateway.sources.rule_sets import RuleSets
from gateway.sources.transports import Destination, TlsFiles

log = structlog.get_logger(__name__)

_HTTPS_PORT = 443
_DOCKER_HUB: Final = Upstream(docker_hub.HOST, (usual_url(docker_hub.HOST),), UpstreamKind.REGISTRY)


@dataclass(frozen=True, slots=True)
class RegistryPlace:
    """A repository as its registry knows it: ``base`` (its ``/v2/``) + ``name`` + ``/manifests/…``."""

    base: HttpUrl
    name: str


@dataclass(frozen=True, slots=True)
class Upstreams:
    """``upstreams`` and ``egress`` as decisions about URLs, by the rules of each errand."""

    secrets: Secrets
    is_offline: bool = False
    may_dial_private: bool = False
    _rule_sets: RuleSets = field(default_factory=RuleSets, init=False, repr=False, compare=False)

    def home(self, errand: Errand) -> HttpUrl:
        """The folder of the target's Helm repository, with a slash at its end."""
        own = _own(errand)
        if own is None:
            return parse_upstream_url(f"https://{errand.target.place}/")
        rest = errand.target.place.removeprefix(own.key).lstrip("/")
        folder = f"{own.url.path.rstrip('/')}/{rest}".rstrip("/")
        return replace(own.url, path=f"{folder}/")

    def registry(self, errand: Errand) -> RegistryPlace:
        """Where the target's repository lies in its registry."""
        url, name = next(_registry_names(errand))
        return RegistryPlace(replace(url, path=f"{API}/", query=None), name)

    def number_of(self, rules: RuleSet) -> int:
        """A number that no other rule set ever has."""
        return self._rule_sets.of(rules).number

    def destinations(self, url: HttpUrl, errand: Errand) -> Sequence[Destination]:
        """One or more places with the same content, to be tried first to last.

        Raise Unavailable (offline), Denied, UnknownHost or Corrupt for what must not be followed.
        """
        if self.is_offline or errand.rules.egress.mode is EgressMode.OFFLINE:
            raise Unavailable("offline: nothing is asked upstream")
        own = _own(errand)
        meant = meaning(url, own, self._known(url, own, errand.rules))
        _require_allowed(url, meant.upstream, errand.rules)
        _require_allowed(url, meant.innermost, errand.rules)
        if meant.upstream is None:
            _require_https(url)
            return [_on_its_way(self._unlisted(url, errand), errand.rules.egress)]
        found = [self._listed(dialled, meant.upstream, errand) for dialled in meant.urls]
        return [_on_its_way(destination, errand.rules.egress) for destination in found]

    def require_realm(self, realm: HttpUrl, errand: Errand) -> None:
        """Raise Corrupt for a place that must not be asked for tokens for the target."""
        realms.require_realm(realm, [url for url, _ in _registry_names(errand)])

    def realm_authorization(self, realm: HttpUrl, errand: Errand) -> str | None:
        """The Authorization header that a realm may see for the target; None: it is asked anonymously.

        A ``token`` of rules.yaml is for the registry itself, and goes to no realm.
        """
        own = _own(errand)
        token_hosts = () if own is None else own.token_hosts
        registries = [url for url, _ in _registry_names(errand)]
        known = [url for url in registries if realms.may_see_credentials(realm, url, token_hosts)]
        found = (self._basic(url, own, errand) for url in known)
        return next((authorization for authorization in found if authorization is not None), None)

    def _basic(self, registry: HttpUrl, own: Upstream | None, errand: Errand) -> str | None:
        if own is None or not own.has_credentials:
            return self._login(registry, errand)
        return None if own.username is None else self._authorization(own)

    def _known(self, url: HttpUrl, own: Upstream | None, rules: RuleSet) -> Iterable[Upstream]:
        """The upstreams that a URL may belong to."""
        listed = self._rule_sets.of(rules).upstreams_at(url)
        return [*listed, _DOCKER_HUB] if own is _DOCKER_HUB else listed

    def _unlisted(self, url: HttpUrl, errand: Errand) -> Destination:
        is_api = url.path.startswith(f"{API}/")
        login = self._login(url, errand) if is_api and _own(errand) is None else None
        is_own = url.host == errand.target.host
        return Destination(url, url.host, login, self.may_dial_private, self._tls(None, errand.rules), is_own)

    def _listed(self, url: HttpUrl, upstream: Upstream, errand: Errand) -> Destination:
        tls = self._tls(upstream, errand.rules)
        if not _is_trusted(upstream, errand):
            tls = replace(tls, cert_file=None, key_file=None)
            return Destination(url, upstream.key, None, self.may_dial_private, tls, is_own=False)
        authorization = self._authorization(upstream)
        if authorization is None and url.path.startswith(f"{API}/"):
            authorization = self._login(url, errand)
        may_be_private = self.may_dial_private or upstream.allow_private
        return Destination(url, upstream.key, authorization, may_be_private, tls)

    def _authorization(self, upstream: Upstream) -> str | None:
        """Read anew for each request; a secret that has gone meanwhile is an outage, not our own fault."""
        with _as_outage(upstream.key):
            return self.secrets.authorization(upstream)

    def _login(self, url: HttpUrl, errand: Errand) -> str | None:
        """What a docker config.json has for the target's repository, where ``url`` is at its registry."""
        own = _own(errand)
        if own is not None and own.has_credentials:
            return None
        for registry, name in _registry_names(errand):
            login = errand.rules.login_for(f"{registry.authority}/{name}")
            if login is not None and registry.origin == url.origin:
                with _as_outage(login):
                    return self.secrets.login(login)
        return None

    def _tls(self, upstream: Upstream | None, rules: RuleSet) -> TlsFiles:
        names = (upstream.ca_file, upstream.cert_file, upstream.key_file) if upstream else (None, None, None)
        ca_file = names[0] or rules.egress.ca_file
        ca, certificate, key = (
            None if name is None else self.secrets.path(name) for name in (ca_file, *names[1:])
        )
        return TlsFiles(ca, certificate, key)


def _own(errand: Errand) -> Upstream | None:
    """The upstream that the target is on."""
    found = errand.rules.upstream_for(errand.target.place)
    return _DOCKER_HUB if found is None and errand.target.host == docker_hub.HOST else found


def _registry_names(errand: Errand) -> Iterator[tuple[HttpUrl, str]]:
    return registry_names(errand.target.repository.name, _own(errand))


def _is_trusted(upstream: Upstream, errand: Errand) -> bool:
    own = _own(errand)
    return (own is not None and own.key == upstream.key) or errand.target.host in upstream.trusted_by


def _require_allowed(url: HttpUrl, upstream: Upstream | None, rules: RuleSet) -> None:
    place = url.place if upstream is None else upstream.key
    denial = rules.denial(place)
    if denial is not None:
        raise Denied(denial)
    if rules.is_local_name(place):
        raise UnknownHost(unknown_host_message(url.host))


def _on_its_way(destination: Destination, egress: Egress) -> Destination:
    """By the proxy, unless its host is excepted."""
    is_proxied = goes_by_proxy(egress, destination.url.host)
    return replace(destination, proxy=egress.proxy) if is_proxied else destination


@contextmanager
def _as_outage(place: str) -> Iterator[None]:
    try:
        yield
    except CredentialError as error:
        log.warning("credentials_unusable", upstream=place, reason=str(error))
        raise Unavailable(f"the credentials for {place} cannot be read") from error


def _require_https(url: HttpUrl) -> None:
    if url.scheme != "https" or url.port != _HTTPS_PORT:
        raise Corrupt(
            "a URL is not followed: only https on port 443 is, and what `upstreams` lists", "bad_url"
        )
