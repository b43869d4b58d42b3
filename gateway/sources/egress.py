"""Who may be dialled: one guard, at connect time, on the addresses a name resolved to."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

import httpcore

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

DNS_TIMEOUT_SECONDS = 2.0

# Every range of the IANA special-purpose registries that is not plain public unicast; of IPv6 all that IANA
# has not set apart for it (2000::/3). Python's own is_global lets NAT64, 6to4, IPv4-compatible, site-local
# and unassigned addresses through.
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        *("::/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "4000::/2", "8000::/1"),
    )
)


class NameUnresolved(httpcore.ConnectError):
    """The name does not exist, for all that DNS says."""


class AddressRefused(httpcore.ConnectError):
    """The name resolves to an address that we do not dial. Clients are never told the difference."""


def is_public(address: Address) -> bool:
    """Whether an address is plain public unicast; what embeds an IPv4 address is not."""
    return not any(address in network for network in _REFUSED if network.version == address.version)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver, once; raise NameUnresolved where there is no such name."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(DNS_TIMEOUT_SECONDS):
            answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(f"DNS did not answer for {host}") from error
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
            raise NameUnresolved(host) from error
        raise httpcore.ConnectError(f"DNS failed for {host}") from error
    except UnicodeError as error:  # IDNA refuses a label
        raise NameUnresolved(host) from error
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves once, refuses unless every answer may be dialled, and dials just what it checked."""

    def __init__(self, resolver: Resolver, may_dial: Callable[[Address], bool]) -> None:
        self._resolver = resolver
        self._may_dial = may_dial
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the signature is httpcore's)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = [ipaddress.ip_address(text) for text in await self._resolver(host.strip("[]"), port)]
        if not addresses:
            raise NameUnresolved(host)
        if not all(self._may_dial(address) for address in addresses):
            raise AddressRefused(host)
        return await self._dial_first(addresses, port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 (the signature is httpcore's)
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise AddressRefused(path)

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    async def _dial_first(
        self,
        addresses: Sequence[Address],
        port: int,
        timeout_seconds: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.AsyncNetworkStream:
        """Try the addresses in order; the last one's failure is the name's."""
        share = None if timeout_seconds is None else timeout_seconds / len(addresses)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(
                    str(address), port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(str(addresses[-1]), port, share, local_address, socket_options)
