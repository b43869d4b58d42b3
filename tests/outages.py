"""What happens to an upstream that had everything, and what clients are told then."""

import ssl
import warnings
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import httpcore
import trustme

from tests.composed import FakeDns
from tests.fakes.messages import Faults
from tests.fakes.registry import FakeRegistry
from tests.fakes.server import server_tls
from tests.sources.raw_server import resetting_server
from tests.threats import (
    APP,
    IMAGE,
    TAG,
    Told,
)

UNKNOWN_NAME = (404, "NAME_UNKNOWN", None)
LIMITED = (429, "TOOMANYREQUESTS", None)
DOWN = (503, "UNAVAILABLE", "unavailable")
AUTHORITY = trustme.CA()
UPSTREAM_NAME = "upstream.example.org"

Fault = Callable[[FakeRegistry], AbstractAsyncContextManager[str]]


@dataclass(frozen=True, slots=True)
class Outage:
    """A fault of the upstream that had everything, and what is told where nothing is held."""

    id: str
    fault: Fault
    cold: Told = DOWN
    retry_after: str | None = "5"
    dns: Mapping[str, Exception] = field(default_factory=dict)
    is_silent: bool = False


@asynccontextmanager
async def answering(registry: FakeRegistry, status: int, headers: Mapping[str, str]) -> AsyncIterator[str]:
    registry.faults.status = status
    registry.faults.headers = {name.replace("_", "-"): value for name, value in headers.items()}
    yield registry.origin


@asynccontextmanager
async def switched(registry: FakeRegistry, name: str) -> AsyncIterator[str]:
    registry.faults = Faults(**{name: True})  # type: ignore[arg-type]
    yield registry.origin
    registry.release()


@asynccontextmanager
async def gone(registry: FakeRegistry) -> AsyncIterator[str]:
    registry.go_down()
    yield registry.origin
    registry.come_up()


@asynccontextmanager
async def reset_after(_registry: FakeRegistry, read_bytes: int) -> AsyncIterator[str]:
    async with resetting_server(read_bytes) as server:
        yield server.origin


@asynccontextmanager
async def untrusted(_registry: FakeRegistry, tls: Callable[[], ssl.SSLContext]) -> AsyncIterator[str]:
    with FakeRegistry(tls=tls()) as other:
        IMAGE.push_to(other, APP, TAG)
        yield other.origin
        assert other.requests == []


@asynccontextmanager
async def unresolved(registry: FakeRegistry) -> AsyncIterator[str]:
    yield f"http://{UPSTREAM_NAME}:{registry.port}"


def _expired() -> ssl.SSLContext:
    return _tls(AUTHORITY.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC)))


def _for_another_name() -> ssl.SSLContext:
    return _tls(AUTHORITY.issue_cert("other.example.org"))


def _self_signed() -> ssl.SSLContext:
    return server_tls(trustme.CA())


def _too_old() -> ssl.SSLContext:
    context = server_tls(AUTHORITY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def _tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def _failing(error: Exception) -> Mapping[str, Exception]:
    return {UPSTREAM_NAME: error}


def status(number: int, **headers: str) -> Fault:
    return partial(answering, status=number, headers=headers)


_CUTS = (0, 1, 100)
LATER = "Fri, 31 Dec 9999 23:59:59 GMT"
OUTAGES = [
    Outage("429", status(429), LIMITED),
    Outage("429 for 7 s", status(429, Retry_After="7"), LIMITED, "7"),
    Outage("429 for 0 s", status(429, Retry_After="0"), LIMITED, "1"),
    Outage("429 for a day", status(429, Retry_After="86400"), LIMITED, "3600"),
    Outage("429 until the end of days", status(429, Retry_After=LATER), LIMITED, "3600"),
    Outage("429 for -1 s", status(429, Retry_After="-1"), LIMITED),
    Outage("429 for 5,000 digits", status(429, Retry_After="9" * 5000), LIMITED),
    Outage("408", status(408)),
    *(Outage(str(number), status(number)) for number in (500, 502, 503, 504, 520, 599)),
    Outage("503 for 9 s", status(503, Retry_After="9"), DOWN, "9"),
    Outage("503 for ever", status(503, Retry_After="999999999"), DOWN, "3600"),
    Outage("a reset", partial(switched, name="reset")),
    Outage("silence", partial(switched, name="silent"), is_silent=True),
    Outage("nobody listens", gone),
    Outage("a name that DNS cannot tell of", unresolved, dns=_failing(httpcore.ConnectError("SERVFAIL"))),
    Outage("a name that DNS is silent about", unresolved, dns=_failing(httpcore.ConnectTimeout("DNS"))),
    Outage("a name that is not there", unresolved, UNKNOWN_NAME, None),
    Outage("an expired certificate", partial(untrusted, tls=_expired)),
    Outage("a certificate for another name", partial(untrusted, tls=_for_another_name)),
    Outage("a certificate of its own", partial(untrusted, tls=_self_signed)),
    Outage("TLS 1.1", partial(untrusted, tls=_too_old)),
    *(
        Outage(f"a reset {count} bytes into the handshake", partial(reset_after, read_bytes=count))
        for count in _CUTS
    ),
]


@dataclass(slots=True)
class FailingDns(FakeDns):
    """Fails for some names as a resolver may."""

    failures: Mapping[str, Exception] = field(default_factory=dict)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        if host in self.failures:
            raise self.failures[host]
        return await FakeDns.__call__(self, host, port)
