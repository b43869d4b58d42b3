"""The way out by the proxy that rules.yaml names: that is dialled, and the target is guarded all the same."""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from typing import Final, TypeAlias

import httpcore
import httpx
from cachetools import TTLCache

from gateway.oci.urls import HttpUrl
from gateway.sources.egress import Address, AddressRefused, GuardedBackend, Resolver, is_public

_END: Final = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r\n")
_MAX_HEAD_BYTES = 16 * 1024
_SILENCE_SECONDS = 60.0
_SILENT_NAMES = 1000

# Raises AddressRefused for a host and port that nobody may be asked to dial for us.
Guard: TypeAlias = Callable[[str, int], Awaitable[None]]


class ProxyFailed(httpcore.ProxyError):
    """The proxy is down, or leads no further; the message names it, and is fit for clients.

    ``is_denial``: it said no, and would say so again.
    """

    def __init__(self, message: str, *, is_denial: bool = False) -> None:
        super().__init__(message)
        self.is_denial = is_denial


class TargetGuard:
    """Refuses a target that resolves here to nothing but addresses that are not public.

    Who dials is the proxy, by what it resolves itself. So this holds literal addresses, and names that are
    known here as there. It does not hold a name that only the proxy can resolve, as is usual behind one, nor
    one whose server answers the two of us differently: what these lead to is for the proxy to refuse. One
    public address among others is enough, since where IPv6 is translated each name has a private one too.
    """

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._silent: TTLCache[str, bool] = TTLCache(_SILENT_NAMES, _SILENCE_SECONDS)

    async def __call__(self, host: str, port: int) -> None:
        if host in self._silent:  # a name server that cannot see out would cost each connection its time
            return
        try:
            addresses = await self._resolver(host, port)
        except httpcore.ConnectTimeout:
            self._silent[host] = True
            return
        except httpcore.ConnectError:  # of which NameUnresolved is one
            return
        if addresses and not any(is_public(ip_address(text)) for text in addresses):
            raise AddressRefused(host)


async def unguarded(_host: str, _port: int) -> None:
    """For who may lie on a private network."""


class ProxyBackend(GuardedBackend):
    """Connects to the proxy, wherever that lies, whoever is meant; ``opens_tunnels`` through it for TLS.

    httpcore's own proxy pool keeps, for ever, each connection whose tunnel opened and whose TLS then failed;
    and it would not say whom a connection is for when it is made.
    """

    def __init__(self, proxy: HttpUrl, resolver: Resolver, guard: Guard, *, opens_tunnels: bool) -> None:
        super().__init__(resolver, _anywhere)
        self._proxy = proxy
        self._guard = guard
        self._opens_tunnels = opens_tunnels

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the signature is httpcore's)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        plain_host = host.strip("[]")
        await self._guard(plain_host, port)
        stream = await self._dial(timeout, local_address, socket_options)
        if self._opens_tunnels:
            await self._open_tunnel(stream, plain_host, port, timeout)
        return stream

    async def _dial(
        self,
        timeout_seconds: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await super().connect_tcp(
                self._proxy.host, self._proxy.port, timeout_seconds, local_address, socket_options
            )
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise ProxyFailed(f"no connection to the proxy {self._proxy.authority}") from error

    async def _open_tunnel(
        self, stream: httpcore.AsyncNetworkStream, host: str, port: int, timeout_seconds: float | None
    ) -> None:
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._ask_for_tunnel(stream, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except TimeoutError as error:
            await stream.aclose()
            raise httpcore.ConnectTimeout("the proxy did not open the tunnel in time") from error
        except BaseException:
            await stream.aclose()
            raise

    async def _ask_for_tunnel(self, stream: httpcore.AsyncNetworkStream, authority: str) -> None:
        try:
            await stream.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
            head = await _read_head(stream)
        except (httpcore.NetworkError, httpcore.ReadTimeout, httpcore.WriteTimeout) as error:
            raise self._failed("broke off") from error
        match = _STATUS.match(head)
        if match is None or (match[1].startswith(b"2") and not head.endswith(_END)):
            raise self._failed("does not speak HTTP as a proxy does")
        if not match[1].startswith(b"2"):
            raise refusal(self._proxy, int(match[1]), authority)

    def _failed(self, what: str) -> ProxyFailed:
        return ProxyFailed(f"the proxy {self._proxy.authority} {what}")


class ForwardingTransport(httpx.AsyncHTTPTransport):
    """For ``http://``: no tunnel, the proxy is told the whole URL, and asks in our place."""

    def __init__(self, proxy: HttpUrl, context: ssl.SSLContext) -> None:
        super().__init__(verify=context, trust_env=False)
        self._proxy = proxy

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        target = b"http://" + request.url.netloc + request.url.raw_path
        request.extensions = {**request.extensions, "target": target}
        response = await super().handle_async_request(request)
        if response.status_code != 407:  # nobody but a proxy says that
            return response
        await response.aclose()
        failed = refusal(self._proxy, 407, request.url.netloc.decode("ascii"))
        raise httpx.ProxyError(str(failed)) from failed


def refusal(proxy: HttpUrl, status: int, authority: str) -> ProxyFailed:
    """What an answer of the proxy's own means to who wanted to go to ``authority``."""
    name = f"the proxy {proxy.authority}"
    if status == 403:
        return ProxyFailed(f"{name} does not let us through to {authority}", is_denial=True)
    if status == 407:
        return ProxyFailed(f"{name} wants to be signed in to, which this gateway does not do")
    return ProxyFailed(f"{name} answered {status} for {authority}")


def _anywhere(_address: Address) -> bool:
    return True


async def _read_head(stream: httpcore.AsyncNetworkStream) -> bytes:
    """What came up to the end of an answer's head, and behind it; less where the answer ends early."""
    head = bytearray()
    while _END not in head and len(head) < _MAX_HEAD_BYTES:
        piece = await stream.read(_MAX_HEAD_BYTES)
        if not piece:
            break
        head += piece
    return bytes(head)
