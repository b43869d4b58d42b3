"""The only room that speaks HTTP to the world: every hop checked, every body bounded, every error named."""

import asyncio
import re
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias
from urllib.parse import urljoin
from weakref import WeakValueDictionary

import httpx
import structlog

from gateway.oci.outcomes import Corrupt, Denied, Missing, Outcome, Unavailable, UnknownHost
from gateway.oci.target import Target
from gateway.oci.urls import HttpUrl, UrlError, parse_upstream_url
from gateway.rules.route import unknown_host_message
from gateway.sources.egress import AddressRefused, NameUnresolved
from gateway.sources.transports import Destination, Transports

log = structlog.get_logger(__name__)

USER_AGENT = "chart-gateway"
_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_GZIP = 16 + zlib.MAX_WBITS
_INFLATE_BYTES = 256 * 1024
_MAX_RETRY_AFTER_SECONDS = 3600
_VALIDATOR = re.compile(r"[ -~]{1,1024}")  # what may be sent back as it came


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """How long an upstream may take, and how little it may send."""

    connect_seconds: float = 3.0
    first_byte_seconds: float = 15.0
    idle_seconds: float = 15.0
    total_seconds: float = 600.0
    least_bytes_per_second: int = 10 * 1024
    grace_seconds: float = 30.0
    concurrency: int = 16


# Is told of each transfer as it goes on: URL, bytes received, bytes in all where the upstream says.
Observer: TypeAlias = Callable[[HttpUrl, int, int | None], None]


def unobserved(_url: HttpUrl, _received_bytes: int, _total_bytes: int | None) -> None:
    """Nobody looks."""


class Directory(Protocol):
    """Decides where a URL is really dialled, and with what."""

    def destination(self, url: HttpUrl, target: Target) -> Destination:
        """Raise Denied, UnknownHost, Unavailable or Corrupt for a URL that must not be followed."""


@dataclass(slots=True)
class Answer:
    """An upstream's answer, its body still to come. ``name`` is what clients may be told of its sender."""

    url: HttpUrl
    name: str
    has_credentials: bool
    _response: httpx.Response
    _limits: HttpLimits
    _observe: Observer
    _monotonic: Callable[[], float] = field(default=time.monotonic)

    @property
    def status(self) -> int:
        return self._response.status_code

    def header(self, name: str) -> str | None:
        value = self._response.headers.get(name)
        return None if value is None else str(value)

    def validator(self, name: str) -> str | None:
        """An ETag or Last-Modified that is worth remembering."""
        value = self.header(name)
        return value if value is not None and _VALIDATOR.fullmatch(value) else None

    def require_ok(self, what: str) -> None:
        """Return for a 200; else raise the outcome of this status. ``what`` names the thing asked for."""
        if self.status != 200:
            raise _outcome_of_status(self, what)

    def chunks(self, limit_bytes: int) -> AsyncIterator[bytes]:
        """The body, decoded where one gzip layer lies on it.

        Raise Corrupt past ``limit_bytes`` as received, or twice that decoded.
        """
        received = self._limited(limit_bytes, self._raw())
        return self._limited(2 * limit_bytes, _inflate(received)) if self._is_gzip() else received

    def chunks_as_sent(self, limit_bytes: int) -> AsyncIterator[bytes]:
        """The body of a .tgz: web servers that call the file's own gzip a coding mean just its bytes."""
        self._is_gzip()
        return self._limited(limit_bytes, self._raw())

    def _is_gzip(self) -> bool:
        coding = (self.header("content-encoding") or "identity").lower()
        if coding not in ("identity", "gzip", "x-gzip"):
            raise Corrupt(f"{self.name} sent the coding {coding[:40]!r}, which was not asked for")
        return coding != "identity"

    async def _limited(self, limit_bytes: int, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self._refuse_unframed()
        received = 0
        async for piece in pieces:
            received += len(piece)
            if received > limit_bytes:
                raise Corrupt(f"{self.name} sent more than {limit_bytes} bytes", "too_large")
            yield piece

    def _refuse_unframed(self) -> None:
        """A body that ends where the connection ends cannot be told from one that was cut."""
        if self.header("content-length") is None and self.header("transfer-encoding") is None:
            raise Corrupt(f"{self.name} sent a body without a length", "truncated")

    async def _raw(self) -> AsyncIterator[bytes]:
        started = self._monotonic()
        received = 0
        length = self.header("content-length") or ""
        total_bytes = int(length) if length.isdecimal() else None
        try:
            async for chunk in self._response.aiter_raw():
                received += len(chunk)
                self._require_pace(self._monotonic() - started, received)
                self._observe(self.url, received, total_bytes)
                yield chunk
        except httpx.HTTPError as error:
            raise outcome_of_error(error, self.name) from error

    def _require_pace(self, seconds: float, received: int) -> None:
        too_slow = received < (seconds - self._limits.grace_seconds) * self._limits.least_bytes_per_second
        if too_slow or seconds > self._limits.total_seconds:
            raise Unavailable(f"{self.name} sends too slowly: {received} bytes in {seconds:.0f} s")


class Http:
    """GET with redirects followed by hand: credentials and permissions are decided anew for each hop."""

    def __init__(
        self,
        directory: Directory,
        transports: Transports,
        limits: HttpLimits,
        observe: Observer = unobserved,
    ) -> None:
        self._directory = directory
        self._transports = transports
        self._limits = limits
        self._observe = observe
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def get(self, url: HttpUrl, target: Target, headers: Mapping[str, str]) -> AsyncIterator[Answer]:
        """Ask for ``url`` on behalf of ``target``; the answer's body can be read inside the block."""
        for hop in range(_MAX_REDIRECTS + 1):
            with _on_hop(hop):
                destination = self._directory.destination(url, target)
            async with self._place(destination), self._ask(destination, headers, hop) as response:
                location = response.headers.get("location")
                if response.status_code not in _REDIRECTS or location is None:
                    yield Answer(
                        destination.url,
                        destination.name,
                        destination.authorization is not None,
                        response,
                        self._limits,
                        self._observe,
                    )
                    return
            url = _next_hop(destination, location)
        raise Corrupt(f"{destination.name} redirects more than {_MAX_REDIRECTS} times", "too_many_redirects")

    def _place(self, destination: Destination) -> asyncio.Semaphore:
        """One of the places that an origin's requests share; forgotten while nobody asks there."""
        return self._places.setdefault(destination.url.origin, asyncio.Semaphore(self._limits.concurrency))

    @asynccontextmanager
    async def _ask(
        self, destination: Destination, headers: Mapping[str, str], hop: int
    ) -> AsyncIterator[httpx.Response]:
        with _on_hop(hop):
            response = await self._send(destination, headers)
        try:
            yield response
        finally:
            await response.aclose()

    async def _send(self, destination: Destination, headers: Mapping[str, str]) -> httpx.Response:
        transport = await self._transport(destination)
        request = httpx.Request(
            "GET",
            str(destination.url),
            headers=_headers(destination, headers),
            extensions={"timeout": self._timeouts()},
        )
        try:
            async with asyncio.timeout(self._limits.connect_seconds + self._limits.first_byte_seconds):
                return await transport.handle_async_request(request)
        except TimeoutError as error:
            raise Unavailable(f"{destination.name} did not answer in time") from error
        except httpx.HTTPError as error:
            raise outcome_of_error(error, destination.name) from error

    async def _transport(self, destination: Destination) -> httpx.AsyncHTTPTransport:
        try:
            return await self._transports.for_destination(destination)
        except OSError as error:  # of which ssl.SSLError is one
            log.warning("certificates_unusable", upstream=destination.name, reason=str(error))
            raise Unavailable(f"the certificates for {destination.name} cannot be used") from error

    def _timeouts(self) -> dict[str, float]:
        return {
            "connect": self._limits.connect_seconds,
            "read": self._limits.idle_seconds,
            "write": self._limits.idle_seconds,
            "pool": self._limits.first_byte_seconds,
        }


@contextmanager
def _on_hop(hop: int) -> Iterator[None]:
    """Who redirects to an unknown host is no less known for it: that is an outage."""
    try:
        yield
    except UnknownHost as error:
        if hop == 0:
            raise
        raise Unavailable(error.message) from error


def outcome_of_error(error: httpx.HTTPError, host: str) -> Outcome:
    """Translate what httpx raises; the border that each network error crosses once."""
    if isinstance(error.__cause__, NameUnresolved | AddressRefused):
        return UnknownHost(unknown_host_message(host))
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return Unavailable(f"no connection to {host} in time")
        case httpx.TimeoutException():
            return Unavailable(f"{host} fell silent")
        case httpx.ConnectError():
            return Unavailable(f"no connection to {host}")
        case httpx.RemoteProtocolError() | httpx.DecodingError():
            return Unavailable(f"{host} broke off, or does not speak HTTP")
        case _:
            return Unavailable(f"the exchange with {host} failed")


def _outcome_of_status(answer: Answer, what: str) -> Outcome:
    host, status = answer.name, answer.status
    message = f"{host} answered {status} for {what}"
    if status in _GONE:
        return Missing(message)
    if status in (401, 403):
        return Denied(message) if answer.has_credentials else Missing(message)
    if status in (408, 429) or status >= 500:
        return Unavailable(message, _retry_after(answer), is_rate_limited=status == 429)
    return Corrupt(message, "unexpected_status")


def _retry_after(answer: Answer) -> int | None:
    text = answer.header("retry-after") or ""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return None
    return min(max(int(text), 1), _MAX_RETRY_AFTER_SECONDS)


def _headers(destination: Destination, headers: Mapping[str, str]) -> dict[str, str]:
    """Only what we name ourselves: nothing of a client's request ever travels on.

    Also Host, which httpx would make by decoding the name, and raise for one that is no good IDNA.
    """
    own = {
        "Host": destination.url.authority,
        "User-Agent": USER_AGENT,
        "Accept-Encoding": "identity",
        **headers,
    }
    if destination.authorization is not None:
        own["Authorization"] = destination.authorization
    return own


def _next_hop(destination: Destination, location: str) -> HttpUrl:
    try:
        return parse_upstream_url(urljoin(str(destination.url), location.partition("#")[0]))
    except (UrlError, ValueError) as error:
        raise Corrupt(
            f"{destination.name} redirects to a place that is not followed: {error}", "bad_redirect"
        ) from error


async def _inflate(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Undo one gzip layer, of one member or several, a bounded piece at a time."""
    inflater = zlib.decompressobj(_GZIP)
    try:
        async for chunk in chunks:
            pending = chunk
            while pending:
                if inflater.eof:
                    inflater = zlib.decompressobj(_GZIP)
                yield inflater.decompress(pending, _INFLATE_BYTES)
                pending = inflater.unconsumed_tail or inflater.unused_data
                await asyncio.sleep(0)
    except zlib.error as error:
        raise Corrupt("a body that says it is gzip is not", "bad_encoding") from error
    if not inflater.eof:
        raise Corrupt("a gzip body ends early", "truncated")
