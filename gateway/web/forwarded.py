"""Under which host a client asked: its Host header, or what a trusted proxy in front says it was."""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache, partial
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

_LABEL = rb"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rb"(" + _LABEL + rb"(?:\." + _LABEL + rb")*)\.?(?::[0-9]{0,5})?")
_IPV6 = re.compile(rb"\[([0-9a-f:.]{2,45})\](?::[0-9]{0,5})?")
_MAX_HOST_BYTES = 253
_MAX_HEADER_BYTES = _MAX_HOST_BYTES + len(".:65535")
_HOSTS = 1000  # each short: what clients send decides what is remembered, not how much
_PEERS = 1000
_FORWARDED = b"x-forwarded-host"


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


def _last_forwarded(scope: Scope) -> bytes:
    """Empty where the proxy says nothing, which leaves its own Host."""
    lines = [value for name, value in scope["headers"] if name == _FORWARDED]
    last: bytes = lines[-1].rpartition(b",")[2]
    return last.strip(b" \t")


def _is_within(networks: Collection[IPv4Network | IPv6Network], peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:  # of a socket for both families
        address = address.ipv4_mapped
    return any(address in network for network in networks)


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
