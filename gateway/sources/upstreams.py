"""Decides where a URL is really dialled, and what may go along: the one place that reads ``upstreams``."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import structlog

from gateway.oci.outcomes import Corrupt, Denied, Unavailable, UnknownHost
from gateway.oci.target import Target
from gateway.oci.urls import HttpUrl, parse_upstream_url
from gateway.rules.model import EgressMode, RuleSet, Upstream
from gateway.rules.route import unknown_host_message
from gateway.sources.credentials import CredentialError, Secrets
from gateway.sources.transports import Destination, TlsFiles

log = structlog.get_logger(__name__)

_HTTPS_PORT = 443


@dataclass(frozen=True, slots=True)
class Upstreams:
    """The rules' ``upstreams`` and ``egress`` as decisions about URLs."""

    rule_set: RuleSet
    secrets: Secrets
    is_offline: bool = False
    may_dial_private: bool = False

    def home(self, target: Target) -> HttpUrl:
        """The folder of the target's Helm repository, with a slash at its end."""
        upstream = self.rule_set.upstream_for(target.place)
        nominal = parse_upstream_url(f"https://{target.place}/")
        return nominal if upstream is None else _moved(nominal, upstream)

    def destination(self, url: HttpUrl, target: Target) -> Destination:
        """Raise Unavailable (offline), Denied, UnknownHost or Corrupt for what must not be followed."""
        if self.is_offline or self.rule_set.egress.mode is EgressMode.OFFLINE:
            raise Unavailable("offline: nothing is asked upstream")
        upstream, actual = self._upstream_of(url, target)
        self._require_allowed(url, upstream)
        if upstream is None:
            _require_https(url)
            return Destination(url, url.host, None, self.may_dial_private, self._tls(None))
        if not self._is_trusted(upstream, target):
            tls = replace(self._tls(upstream), cert_file=None, key_file=None)
            return Destination(actual, upstream.key, None, self.may_dial_private, tls)
        return Destination(
            actual,
            upstream.key,
            self._authorization(upstream),
            self.may_dial_private or upstream.allow_private,
            self._tls(upstream),
        )

    def _upstream_of(self, url: HttpUrl, target: Target) -> tuple[Upstream | None, HttpUrl]:
        """The upstream that a URL belongs to, and the URL as that upstream is dialled.

        A URL below some upstream's ``url`` is meant as it stands; one below a key is moved to its ``url``;
        of several the target's own is meant, and one elsewhere on its origin belongs to it too.
        """
        own = self.rule_set.upstream_for(target.place)
        holding = max(
            self._with_url_holding(url),
            key=lambda found: (found is own, len(found.url.path.rstrip("/"))),
            default=None,
        )
        if holding is not None:
            return holding, url
        named = self.rule_set.upstream_for(url.place)
        if named is not None:
            return named, _moved(url, named)
        return own if own is not None and own.url.origin == url.origin else None, url

    def _with_url_holding(self, url: HttpUrl) -> Iterator[Upstream]:
        for upstream in self.rule_set.upstreams.values():
            folder = upstream.url.path.rstrip("/") + "/"
            if upstream.url.origin == url.origin and url.path.startswith(folder):
                yield upstream

    def _require_allowed(self, url: HttpUrl, upstream: Upstream | None) -> None:
        place = url.place if upstream is None else upstream.key
        denial = self.rule_set.denial(place)
        if denial is not None:
            raise Denied(denial)
        if self.rule_set.is_local_name(place):
            raise UnknownHost(unknown_host_message(url.host))

    def _is_trusted(self, upstream: Upstream, target: Target) -> bool:
        own = self.rule_set.upstream_for(target.place)
        return (own is not None and own.key == upstream.key) or target.host in upstream.trusted_by

    def _authorization(self, upstream: Upstream) -> str | None:
        """Read anew for each request; a secret that has gone meanwhile is an outage, not our own fault."""
        try:
            return self.secrets.authorization(upstream)
        except CredentialError as error:
            log.warning("credentials_unusable", upstream=upstream.key, reason=str(error))
            raise Unavailable(f"the credentials for {upstream.key} cannot be read") from error

    def _tls(self, upstream: Upstream | None) -> TlsFiles:
        names = (upstream.ca_file, upstream.cert_file, upstream.key_file) if upstream else (None, None, None)
        ca_file = names[0] or self.rule_set.egress.ca_file
        ca, certificate, key = (
            None if name is None else self.secrets.path(name) for name in (ca_file, *names[1:])
        )
        return TlsFiles(ca, certificate, key)


def _moved(url: HttpUrl, upstream: Upstream) -> HttpUrl:
    """The same place below ``upstream.url`` that ``url`` is below the upstream's key."""
    key_path = upstream.key.partition("/")[2]
    rest = url.path.removeprefix(f"/{key_path}" if key_path else "").lstrip("/")
    return replace(upstream.url, path=f"{upstream.url.path.rstrip('/')}/{rest}", query=url.query)


def _require_https(url: HttpUrl) -> None:
    if url.scheme != "https" or url.port != _HTTPS_PORT:
        raise Corrupt(
            "a URL is not followed: only https on port 443 is, and what `upstreams` lists", "bad_url"
        )
