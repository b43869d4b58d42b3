"""Decides where a URL is really dialled, and what may go along: the one place that reads ``upstreams``."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from gateway.oci.outcomes import Corrupt, Denied, Unavailable, UnknownHost
from gateway.oci.target import Target
from gateway.oci.urls import HttpUrl, parse_upstream_url
from gateway.rules import docker_hub
from gateway.rules.model import EgressMode, RuleSet, Upstream, UpstreamKind, usual_url
from gateway.rules.registry_names import API, registry_names
from gateway.rules.route import unknown_host_message
from gateway.sources import realms
from gateway.sources.credentials import CredentialError, Secrets
from gateway.sources.places import by_authority, meaning
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
    """The rules' ``upstreams`` and ``egress`` as decisions about URLs."""

    rule_set: RuleSet
    secrets: Secrets
    is_offline: bool = False
    may_dial_private: bool = False
    _by_authority: Mapping[str, Sequence[Upstream]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_authority", by_authority(self.rule_set.upstreams.values()))

    def home(self, target: Target) -> HttpUrl:
        """The folder of the target's Helm repository, with a slash at its end."""
        own = self._own(target)
        if own is None:
            return parse_upstream_url(f"https://{target.place}/")
        rest = target.place.removeprefix(own.key).lstrip("/")
        folder = f"{own.url.path.rstrip('/')}/{rest}".rstrip("/")
        return replace(own.url, path=f"{folder}/")

    def registry(self, target: Target) -> RegistryPlace:
        """Where the target's repository lies in its registry."""
        url, name = next(registry_names(target.repository.name, self._own(target)))
        return RegistryPlace(replace(url, path=f"{API}/", query=None), name)

    def destinations(self, url: HttpUrl, target: Target) -> Sequence[Destination]:
        """One or more places with the same content, to be tried first to last.

        Raise Unavailable (offline), Denied, UnknownHost or Corrupt for what must not be followed.
        """
        if self.is_offline or self.rule_set.egress.mode is EgressMode.OFFLINE:
            raise Unavailable("offline: nothing is asked upstream")
        own = self._own(target)
        meant = meaning(url, own, self._known(url, own))
        self._require_allowed(url, meant.upstream)
        self._require_allowed(url, meant.innermost)
        if meant.upstream is None:
            _require_https(url)
            return [self._unlisted(url, target, own)]
        return [self._listed(dialled, meant.upstream, target) for dialled in meant.urls]

    def require_realm(self, realm: HttpUrl, target: Target) -> None:
        """Raise Corrupt for a place that must not be asked for tokens for the target."""
        realms.require_realm(realm, [url for url, _ in self._registry_names(target)])

    def realm_authorization(self, realm: HttpUrl, target: Target) -> str | None:
        """The Authorization header that a realm may see for the target; None: it is asked anonymously.

        A ``token`` of rules.yaml is for the registry itself, and goes to no realm.
        """
        own = self._own(target)
        token_hosts = () if own is None else own.token_hosts
        registries = [url for url, _ in self._registry_names(target)]
        known = [url for url in registries if realms.may_see_credentials(realm, url, token_hosts)]
        found = (self._basic(url, own, target) for url in known)
        return next((authorization for authorization in found if authorization is not None), None)

    def _basic(self, registry: HttpUrl, own: Upstream | None, target: Target) -> str | None:
        if own is None or not own.has_credentials:
            return self._login(registry, target)
        return None if own.username is None else self._authorization(own)

    def _registry_names(self, target: Target) -> Iterator[tuple[HttpUrl, str]]:
        return registry_names(target.repository.name, self._own(target))

    def _own(self, target: Target) -> Upstream | None:
        found = self.rule_set.upstream_for(target.place)
        return _DOCKER_HUB if found is None and target.host == docker_hub.HOST else found

    def _known(self, url: HttpUrl, own: Upstream | None) -> Collection[Upstream]:
        """The upstreams that a URL may belong to."""
        listed = self._by_authority.get(url.authority, ())
        return [*listed, _DOCKER_HUB] if own is _DOCKER_HUB else listed

    def _unlisted(self, url: HttpUrl, target: Target, own: Upstream | None) -> Destination:
        login = self._login(url, target) if own is None and url.path.startswith(f"{API}/") else None
        is_own = url.host == target.host
        return Destination(url, url.host, login, self.may_dial_private, self._tls(None), is_own)

    def _listed(self, url: HttpUrl, upstream: Upstream, target: Target) -> Destination:
        if not self._is_trusted(upstream, target):
            tls = replace(self._tls(upstream), cert_file=None, key_file=None)
            return Destination(url, upstream.key, None, self.may_dial_private, tls, is_own=False)
        authorization = self._authorization(upstream)
        if authorization is None and url.path.startswith(f"{API}/"):
            authorization = self._login(url, target)
        may_be_private = self.may_dial_private or upstream.allow_private
        return Destination(url, upstream.key, authorization, may_be_private, self._tls(upstream))

    def _require_allowed(self, url: HttpUrl, upstream: Upstream | None) -> None:
        place = url.place if upstream is None else upstream.key
        denial = self.rule_set.denial(place)
        if denial is not None:
            raise Denied(denial)
        if self.rule_set.is_local_name(place):
            raise UnknownHost(unknown_host_message(url.host))

    def _is_trusted(self, upstream: Upstream, target: Target) -> bool:
        own = self._own(target)
        return (own is not None and own.key == upstream.key) or target.host in upstream.trusted_by

    def _authorization(self, upstream: Upstream) -> str | None:
        """Read anew for each request; a secret that has gone meanwhile is an outage, not our own fault."""
        with _as_outage(upstream.key):
            return self.secrets.authorization(upstream)

    def _login(self, url: HttpUrl, target: Target) -> str | None:
        """What a docker config.json has for the target's repository, where ``url`` is at its registry."""
        own = self._own(target)
        if own is not None and own.has_credentials:
            return None
        for registry, name in self._registry_names(target):
            login = self.rule_set.login_for(f"{registry.authority}/{name}")
            if login is not None and registry.origin == url.origin:
                with _as_outage(login):
                    return self.secrets.login(login)
        return None

    def _tls(self, upstream: Upstream | None) -> TlsFiles:
        names = (upstream.ca_file, upstream.cert_file, upstream.key_file) if upstream else (None, None, None)
        ca_file = names[0] or self.rule_set.egress.ca_file
        ca, certificate, key = (
            None if name is None else self.secrets.path(name) for name in (ca_file, *names[1:])
        )
        return TlsFiles(ca, certificate, key)


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
