"""Connections to upstreams: one pool for each way of dialling (private or not, certificates, proxy)."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

import httpcore
import httpx
from anyio import to_thread
from httpcore._async.http11 import AsyncHTTP11Connection

from gateway.oci.urls import HttpUrl
from gateway.sources.egress import Address, AddressRefused, GuardedBackend, Resolver, is_public, resolve
from gateway.sources.proxy import ForwardingTransport, ProxyBackend, TargetGuard, unguarded

_KEEPALIVE_SECONDS = 30.0
_READ_BYTES = 256 << 10  # of a big body: each read costs the same, whatever it brings


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Certificates beside the system's trust store; the client's own, where it has one."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a URL is really dialled, and with what. ``name`` is what clients may be told of it.

    ``is_own``: the target's own place, or one that is trusted with it; not one that it merely points at.
    ``proxy``: the one to go by.
    """

    url: HttpUrl
    name: str
    authorization: str | None = field(default=None, repr=False)
    may_be_private: bool = False
    tls: TlsFiles = TlsFiles()
    is_own: bool = True
    proxy: HttpUrl | None = None


@dataclass(frozen=True, slots=True)
class _Way:
    """What connections must have in common to be of one pool; ``tls`` is None for ``http://``."""

    may_be_private: bool
    tls: TlsFiles | None
    proxy: HttpUrl | None


class Transports:
    """Makes and keeps the connection pools. Proxy variables of the environment are not looked at."""

    def __init__(self, resolver: Resolver = resolve) -> None:
        self._resolver = resolver
        self._guard = TargetGuard(resolver)
        self._contexts: dict[TlsFiles, ssl.SSLContext] = {}
        self._transports: dict[_Way, httpx.AsyncHTTPTransport] = {}

    async def prepare(self) -> None:
        """Have at hand what most upstreams are dialled with, before the first one is."""
        await self._context(TlsFiles())

    async def for_destination(self, destination: Destination) -> httpx.AsyncHTTPTransport:
        tls = destination.tls if destination.url.scheme == "https" else None
        way = _Way(destination.may_be_private, tls, destination.proxy)
        if way not in self._transports:
            context = await self._context(tls)
            self._transports.setdefault(way, self._transport(way, context))
        return self._transports[way]

    def _transport(self, way: _Way, context: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
        if way.proxy is None:
            may_dial = _anyone if way.may_be_private else is_public
            return _pooled(_plain(context), context, GuardedBackend(self._resolver, may_dial))
        guard = unguarded if way.may_be_private else self._guard
        backend = ProxyBackend(way.proxy, self._resolver, guard, opens_tunnels=way.tls is not None)
        transport = _plain(context) if way.tls is not None else ForwardingTransport(way.proxy, context)
        return _pooled(transport, context, backend)

    async def _context(self, tls: TlsFiles | None) -> ssl.SSLContext:
        """In a thread: to read the system's trust store takes longer than the event loop may be kept."""
        if tls is None:
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if tls not in self._contexts:
            self._contexts[tls] = await to_thread.run_sync(_ssl_context, tls)
        return self._contexts[tls]

    async def close(self) -> None:
        for transport in self._transports.values():
            await transport.aclose()


def _anyone(_address: Address) -> bool:
    return True


def _plain(context: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(verify=context, trust_env=False)


def _pooled(
    transport: httpx.AsyncHTTPTransport, context: ssl.SSLContext, backend: httpcore.AsyncNetworkBackend
) -> httpx.AsyncHTTPTransport:
    """The transport, with a pool that dials by the backend.

    httpx has no public way to hand a network backend to its pool; httpcore's pool has. The attribute is
    private, so the version is pinned and verify_guard() proves at start that the guard bites. How much a
    connection reads at once is private too; where it is called otherwise, transfers only cost more.
    """
    AsyncHTTP11Connection.READ_NUM_BYTES = _READ_BYTES
    transport._pool = httpcore.AsyncConnectionPool(
        ssl_context=context,
        max_connections=None,  # each origin has its own limit, see Http: a hung one keeps no other waiting
        keepalive_expiry=_KEEPALIVE_SECONDS,
        network_backend=backend,
    )
    return transport


def _ssl_context(tls: TlsFiles) -> ssl.SSLContext:
    trusted = ssl.get_default_verify_paths()  # named, they are read without keeping other threads waiting
    context = ssl.create_default_context(cafile=trusted.cafile, capath=trusted.capath)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.ca_file is not None:
        context.load_verify_locations(cafile=tls.ca_file)
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


async def verify_guard(transports: Transports) -> None:
    """Dial loopback through the guard; raise RuntimeError if anything but a refusal comes back."""
    transport = await transports.for_destination(Destination(HttpUrl("http", "127.0.0.1", 9), "loopback"))
    try:
        await transport.handle_async_request(httpx.Request("GET", "http://127.0.0.1:9/"))
    except httpx.ConnectError as error:
        if isinstance(error.__cause__, AddressRefused):
            return
    finally:
        await transport.aclose()
    raise RuntimeError("the egress guard let a loopback address through: is httpx another version?")
