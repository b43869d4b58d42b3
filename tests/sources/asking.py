"""The HTTP room alone, asked without rules: every URL goes where it says."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.oci.target import Target
from gateway.oci.urls import HttpUrl
from gateway.sources.egress import resolve
from gateway.sources.http import Http, HttpLimits
from gateway.sources.transports import Destination, TlsFiles, Transports

TARGET = Target.parse("charts.example.test/demo")
TLS = TlsFiles()


@dataclass(frozen=True, slots=True)
class EveryoneMay:
    """A directory that lets everything be dialled, with credentials for the origins that have some."""

    credentials: Mapping[str, str] = field(default_factory=dict)
    tls: TlsFiles = TLS

    def destination(self, url: HttpUrl, target: Target) -> Destination:
        return Destination(url, url.host, self.credentials.get(url.origin), True, self.tls)


@asynccontextmanager
async def asking(
    limits: HttpLimits | None = None, directory: EveryoneMay | None = None
) -> AsyncIterator[Http]:
    transports = Transports(resolve)
    try:
        yield Http(directory or EveryoneMay(), transports, limits or HttpLimits())
    finally:
        await transports.close()


async def fetched(http: Http, url: HttpUrl, limit_bytes: int = 1 << 20) -> bytes:
    """Ask, require a 200, and read the body to its end."""
    async with http.get(url, TARGET, {}) as answer:
        answer.require_ok("x")
        return b"".join([chunk async for chunk in answer.chunks(limit_bytes)])
