"""Who asked, and under which host: as the connection says, or a trusted proxy in front of us."""

import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

_LABEL = rb"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rb"(" + _LABEL + rb"(?:\." + _LABEL + rb")*)\.?(?::[0-9]{0,5})?")
_IPV6 = re.compile(rb"\[([0-9a-f:.]{2,45})\](?::[0-9]{0,5})?")
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([0-9.]{7,15}):[0-9]{1,5}", re.ASCII)
_MAX_HOST_BYTES = 253
_MAX_HEADER_BYTES = _MAX_HOST_BYTES + len(".:65535")
_HOSTS = 1000  # each short: what clients send decides what is remembered, not how much
_PEERS = 1000
_FORWARDED = b"x-forwarded-host"
_FORWARDED_FOR = b"x-forwarded-for"
_IPV6_SITE = 64  # what one customer of a provider has at least, and takes addresses from as he likes
_MAX_HOPS = 32


class HostOf:
    """Gives the host that rules match: in lower case, without a port, a trailing dot, or IPv6's brackets.

    ``trusted`` are the addresses of proxies whose X-Forwarded-Host counts. Of several values the last one
    does. nginx and HAProxy, as they are usually set up, and Traefik by itself send one; Apache and Envoy add
    what they saw behind what their own client wrote there. So the last is the one that the trusted peer
    vouches for, in a second header as well as behind a comma, and what stands before it may be anybody's
    invention. Werkzeug counts from the end too; those that take the first believe the client.
    """

    def __init__(self, trusted: Collection[IPv4Network | IPv6Network]) -> None:
        self._has_proxies = bool(trusted)
        self._is_trusted = lru_cache(_PEERS)(partial(_is_within, tuple(trusted)))
        self._host = lru_cache(_HOSTS)(_parse_host)

    def __call__(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        """Empty where none is given, or what is given is no host. ``headers`` are the scope's, by name."""
        given = headers.get(b"host", b"")
        if self._has_proxies and _FORWARDED in headers and self._is_from_proxy(scope):
            given = _last_forwarded(scope) or given
        return self._host(given) if len(given) <= _MAX_HEADER_BYTES else ""

    def _is_from_proxy(self, scope: Scope) -> bool:
        """A client without an address, on a Unix socket, is none that could be listed."""
        client = scope.get("client")
        return client is not None and self._is_trusted(client[0])


class ClientOf:
    """Gives what counts as one client: an IPv4 address, or the /64 network of an IPv6 one.

    Behind ``trusted`` proxies it is the last address of X-Forwarded-For that is none of theirs: each of them
    vouches for the one before it, and what stands further to the front may be anybody's invention.
    """

    def __init__(self, trusted: Collection[IPv4Network | IPv6Network]) -> None:
        self._has_proxies = bool(trusted)
        self._client = lru_cache(_PEERS)(_client_at)
        self._vouched_for = partial(_vouched_for, lru_cache(_PEERS)(partial(_is_within, tuple(trusted))))
        self._vouched_for_of_late = lru_cache(_PEERS)(self._vouched_for)

    def __call__(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        """Empty for all who come without an address, by a Unix socket. ``headers``: the scope's, by name."""
        peer: str = (scope.get("client") or ("",))[0]
        if not self._has_proxies or _FORWARDED_FOR not in headers:
            return self._client(peer)
        forwarded = b",".join([value for name, value in scope["headers"] if name == _FORWARDED_FOR])
        if len(forwarded) > _MAX_HEADER_BYTES:  # what clients send decides what is remembered, not how much
            return self._client(self._vouched_for(peer, forwarded))
        return self._client(self._vouched_for_of_late(peer, forwarded))


def _vouched_for(is_trusted: Callable[[str], bool], peer: str, forwarded: bytes) -> str:
    """The nearest address that is no trusted proxy's, as far as trusted ones say."""
    for value in reversed(forwarded.rsplit(b",", _MAX_HOPS)):
        address = _parse_address(value.strip(b" \t").decode("latin-1")) if is_trusted(peer) else None
        if address is None:
            break
        peer = str(address)
    return peer


def _last_forwarded(scope: Scope) -> bytes:
    """Empty where the proxy says nothing, which leaves its own Host."""
    lines = [value for name, value in scope["headers"] if name == _FORWARDED]
    last: bytes = lines[-1].rpartition(b",")[2]
    return last.strip(b" \t")


def _is_within(networks: Collection[IPv4Network | IPv6Network], peer: str) -> bool:
    address = _address(peer)
    return address is not None and any(address in network for network in networks)


def _client_at(peer: str) -> str:
    address = _address(peer)
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address) >> _IPV6_SITE << _IPV6_SITE, _IPV6_SITE)))
    return peer if address is None else str(address)


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address as proxies write it: some add the port."""
    match = _WITH_PORT.fullmatch(text)
    return _address(text if match is None else match[1] or match[2])


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """That of a socket for both families is the IPv4 one."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _parse_host(given: bytes) -> str:
    lower = given.lower()
    if lower.startswith(b"["):
        return _parse_ipv6(lower)
    match = _NAME.fullmatch(lower)
    return match[1].decode() if match is not None and len(match[1]) <= _MAX_HOST_BYTES else ""


def _parse_ipv6(given: bytes) -> str:
    match = _IPV6.fullmatch(given)
    try:
        return "" if match is None else str(IPv6Address(match[1].decode()))
    except ValueError:
        return ""
