"""Which upstream a URL belongs to, and where that one may be asked for it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.oci.urls import HttpUrl, parse_upstream_url
from gateway.rules import docker_hub
from gateway.rules.model import Upstream, usual_url
from gateway.rules.registry_names import API

_PING: Final = f"{API}/"
_LAYOUTS: Final = ("", API)  # what stands before an upstream's own path: of files nothing, of a registry /v2


@dataclass(frozen=True, slots=True)
class Meaning:
    """``urls`` are one or more places with the same content, as they are dialled, first to last.

    ``upstream`` is whose they are. ``innermost`` is the same, or the one whose key goes deeper: what that
    denies is denied, whoever else it belongs to.
    """

    upstream: Upstream | None
    innermost: Upstream | None
    urls: Sequence[HttpUrl]


@dataclass(frozen=True, slots=True)
class _Holding:
    """A URL is below ``folder`` of an upstream: of what its key says, or of another that it stands for."""

    upstream: Upstream
    layout: str
    folder: str
    base: HttpUrl
    is_key: bool

    def urls(self, url: HttpUrl) -> Sequence[HttpUrl]:
        """One below the key or the first of ``urls`` is meant at each; one below another, there alone."""
        if not self.is_key and self.base != self.upstream.url:
            return [url]
        if url.path == _PING:
            return [replace(base, path=_PING, query=url.query) for base in self.upstream.urls]
        rest = url.path.removeprefix(self.folder)
        return [
            replace(base, path=_folder(base, self.layout) + rest, query=url.query)
            for base in self.upstream.urls
        ]


def by_authority(upstreams: Iterable[Upstream]) -> Mapping[str, Sequence[Upstream]]:
    """Upstreams by each host, with its port where it is not the usual one, that their URLs may be on."""
    found: dict[str, list[Upstream]] = {}
    for upstream in upstreams:
        for authority in {_host_of(upstream.key), *(base.authority for base in upstream.urls)}:
            found.setdefault(authority, []).append(upstream)
    return found


def meaning(url: HttpUrl, own: Upstream | None, upstreams: Iterable[Upstream]) -> Meaning:
    """What a URL means where ``own`` is the upstream on whose behalf it is asked.

    One below that upstream's ``urls``, or below its key where no key goes deeper, is its own; else the one
    whose path is longest counts. Below a key, it is moved to what the key stands for. One elsewhere on the
    own upstream's origin belongs there; so does that origin's ``/v2/``, whoever else is on it.
    """
    holdings = [held for upstream in upstreams for held in _holdings(url, upstream)]
    if not holdings or _is_own_ping(url, own):
        return _elsewhere(url, own)
    key = max((held for held in holdings if held.is_key), key=_depth, default=None)
    deepest = 0 if key is None else len(key.folder)
    of_own = [held for held in holdings if held.upstream is own]
    fit = [held for held in of_own if not held.is_key or len(held.folder) == deepest]
    chosen = max(fit or holdings, key=_depth)
    innermost = chosen if key is None or len(chosen.folder) >= deepest else key
    return Meaning(chosen.upstream, innermost.upstream, chosen.urls(url))


def _depth(held: _Holding) -> tuple[int, bool]:
    return len(held.folder), held.is_key


def _holdings(url: HttpUrl, upstream: Upstream) -> Iterator[_Holding]:
    for base, is_key in _bases(url, upstream):
        for layout in _LAYOUTS if base.origin == url.origin else ():
            folder = _folder(base, layout)
            if url.path.startswith(folder):
                yield _Holding(upstream, layout, folder, base, is_key)


def _bases(url: HttpUrl, upstream: Upstream) -> Iterator[tuple[HttpUrl, bool]]:
    """What an upstream may be called by, and whether that is its key."""
    nominal = None
    if _host_of(upstream.key) == _host_of(url.place):
        nominal = parse_upstream_url(f"https://{upstream.key}")
        yield nominal, True
    for base in upstream.urls:
        if base != nominal:
            yield base, docker_hub.is_on(upstream.key) and base == usual_url(upstream.key)


def _host_of(place: str) -> str:
    return place.partition("/")[0]


def _elsewhere(url: HttpUrl, own: Upstream | None) -> Meaning:
    if own is None or url.origin not in [base.origin for base in own.urls]:
        return Meaning(None, None, [url])
    if url.path == _PING and url.origin == own.url.origin:
        return Meaning(own, own, [replace(base, path=_PING, query=url.query) for base in own.urls])
    return Meaning(own, own, [url])


def _is_own_ping(url: HttpUrl, own: Upstream | None) -> bool:
    """Whether an upstream is asked if it is a registry, which is one question for all of its origin."""
    return own is not None and url.path == _PING and url.origin in [base.origin for base in own.urls]


def _folder(base: HttpUrl, layout: str) -> str:
    return f"{layout}{base.path.rstrip('/')}/"
