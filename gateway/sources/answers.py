"""What upstreams answer: statuses as outcomes, and bodies that are whole and bounded, or nothing."""

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeAlias

import httpx

from gateway.oci.decoding import JsonError, parse_json
from gateway.oci.outcomes import Corrupt, Denied, Missing, Outcome, Skipped, Unavailable, UnknownHost
from gateway.oci.urls import HttpUrl
from gateway.rules.route import unknown_host_message
from gateway.sources.egress import AddressRefused, NameUnresolved
from gateway.sources.origins import Attempt
from gateway.sources.proxy import ProxyFailed
from gateway.sources.via import LOOP_HEADER

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_GZIP = 16 + zlib.MAX_WBITS
_INFLATE_BYTES = 256 * 1024
_MAX_RETRY_AFTER_SECONDS = 3600
_MAX_REFUSAL_BYTES = 16 * 1024
_CRUMBS = 64  # so many pieces in a row the loop takes without letting anybody else in
_LEAST_PIECE_BYTES = 128  # on average; each piece costs the loop as much as a large one
_GRACE_PIECES = 2_000
_VALIDATOR = re.compile(r"[ -~]{1,1024}")  # what may be sent back as it came
_SECONDS = re.compile(r"[0-9]{1,18}", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.ASCII)


# Is told of each transfer as it goes on: URL, bytes received, bytes in all where the upstream says.
Observer: TypeAlias = Callable[[HttpUrl, int, int | None], None]


def unobserved(_url: HttpUrl, _received_bytes: int, _total_bytes: int | None) -> None:
    """Nobody looks."""


@dataclass(slots=True)
class Answer:
    """An upstream's answer, its body still to come. ``name`` is what clients may be told of its sender."""

    url: HttpUrl
    name: str
    has_credentials: bool
    retry_after_seconds: int | None
    _response: httpx.Response
    _attempt: Attempt
    _observe: Observer

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def location(self) -> str | None:
        """Where it redirects to; None where it does not."""
        return self.header("location") if self.status in _REDIRECTS else None

    @property
    def content_length(self) -> int | None:
        """What the Content-Length says, also where no body comes with it (HEAD)."""
        text = self.header("content-length") or ""
        return int(text) if _LENGTH.fullmatch(text) else None

    @property
    def bytes_received(self) -> int:
        """How much of the body has come, as it was sent."""
        return self._attempt.received_bytes

    @property
    def is_outage(self) -> bool:
        """Whether another place with the same content may do better."""
        return self.status in (408, 429) or self.status >= 500

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
            raise self._outcome(what)

    async def require_ok_or_loop(self, what: str) -> None:
        """As ``require_ok``; and raise Skipped where a gateway says that we lead back to ourselves."""
        if self.status == 502 and await self._says_loop():
            raise _skipped(self.name)
        self.require_ok(what)

    def require_range(self, start: int, size: int) -> int:
        """Return where in the content of ``size`` bytes the body begins: at ``start``, or at 0 after all.

        ``start`` was asked for with a Range header; who does not know ranges answers 200 and sends all.
        """
        if self.status != 206:
            self.require_ok(f"bytes {start} to {size - 1}")
            return 0
        match = _RANGE.fullmatch(self.header("content-range") or "")
        if match is None or match.groups() not in _ranges(start, size):
            raise Corrupt(f"{self.name} sent another range than bytes {start} to {size - 1}", "bad_range")
        return start

    def chunks(self, limit_bytes: int) -> AsyncIterator[bytes]:
        """The body, decoded where one gzip layer lies on it.

        Raise Corrupt past ``limit_bytes`` as received, or twice that decoded.
        """
        received = self._limited(limit_bytes, self._raw(self._attempt.origin.limits.total_seconds))
        return self._limited(2 * limit_bytes, _inflate(received)) if self._is_gzip() else received

    def chunks_as_sent(self, limit_bytes: int) -> AsyncIterator[bytes]:
        """The body of a .tgz: web servers that call the file's own gzip a coding mean just its bytes."""
        self._is_gzip()
        return self._limited(limit_bytes, self._raw(self._attempt.origin.limits.total_seconds))

    async def chunks_exact(self, size: int) -> AsyncIterator[bytes]:
        """A body of ``size`` bytes, for however long it comes at a fair pace.

        Raise Corrupt for another size, and Unavailable where it breaks off: ``bytes_received`` has come.
        """
        if self._coding() != "identity":
            raise Corrupt(f"{self.name} sent a coding where none was asked for", "bad_encoding")
        if self.content_length not in (None, size):
            message = f"{self.name} sends {self.content_length} bytes in place of {size}"
            raise Corrupt(message, "size_mismatch")
        async for piece in self._limited(size, self._raw(None)):
            yield piece
        if self.bytes_received < size:
            raise Unavailable(f"{self.name} broke off after {self.bytes_received} of {size} bytes")

    def _is_gzip(self) -> bool:
        coding = self._coding()
        if coding not in ("identity", "gzip", "x-gzip"):
            raise Corrupt(f"{self.name} sent the coding {coding[:40]!r}, which was not asked for")
        return coding != "identity"

    def _coding(self) -> str:
        return (self.header("content-encoding") or "identity").lower()

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

    async def _raw(self, total_seconds: float | None) -> AsyncIterator[bytes]:
        attempt, pieces = self._attempt, self._response.aiter_raw()
        started, waited_before = attempt.origin.monotonic(), attempt.waited_seconds
        count, received_before = 0, attempt.received_bytes
        with attempt.reading():
            while chunk := await self._next(pieces):
                attempt.received_bytes += len(chunk)
                count += 1
                self._require_pieces(count, attempt.received_bytes - received_before)
                if not count % _CRUMBS:  # what is buffered comes without a pause
                    await asyncio.sleep(0)
                self._require_pace(attempt.waited_seconds - waited_before)
                self._require_end(attempt.origin.monotonic() - started, total_seconds)
                self._observe(self.url, attempt.received_bytes, self.content_length)
                yield chunk

    async def _next(self, pieces: AsyncIterator[bytes]) -> bytes:
        """The next piece, empty after the last."""
        try:
            with self._attempt.waiting():
                return await anext(pieces, b"")
        except httpx.HTTPError as error:
            self._attempt.origin.has_failed = True
            raise outcome_of_error(error, self.name) from error

    def _require_pace(self, waited_seconds: float) -> None:
        limits = self._attempt.origin.limits
        if self.bytes_received < (waited_seconds - limits.grace_seconds) * limits.least_bytes_per_second:
            self._fail_as_too_slow(waited_seconds)

    def _require_pieces(self, count: int, received: int) -> None:
        """A body in chunks of a byte each costs us minutes where its sender pays nothing."""
        if count > _GRACE_PIECES and received < count * _LEAST_PIECE_BYTES:
            raise Corrupt(f"{self.name} sends its content in crumbs", "bad_encoding")

    def _require_end(self, seconds: float, total_seconds: float | None) -> None:
        if total_seconds is not None and seconds > total_seconds:
            self._fail_as_too_slow(seconds)

    def _fail_as_too_slow(self, seconds: float) -> None:
        self._attempt.origin.has_failed = True
        raise Unavailable(f"{self.name} sends too slowly: {self.bytes_received} bytes in {seconds:.0f} s")

    async def _says_loop(self) -> bool:
        name, value = LOOP_HEADER
        if self.header(name) == value:
            return True
        try:
            body = b"".join([chunk async for chunk in self.chunks(_MAX_REFUSAL_BYTES)])
            return _reason_of(body) == "loop"
        except (Corrupt, Unavailable):  # whatever it is, it does not say so
            return False

    def _outcome(self, what: str) -> Outcome:
        message = f"{self.name} answered {self.status} for {what}"
        if self.status in _GONE:
            return Missing(message)
        if self.status in (401, 403):
            return Denied(message) if self.has_credentials else Missing(message)
        if self.is_outage:
            return Unavailable(message, self.retry_after_seconds, is_rate_limited=self.status == 429)
        return Corrupt(message, "unexpected_status")


def outcome_of_error(error: httpx.HTTPError, host: str) -> Outcome:
    """Translate what httpx raises; the border that each network error crosses once."""
    if isinstance(error.__cause__, NameUnresolved | AddressRefused):
        is_refused = isinstance(error.__cause__, AddressRefused)
        return UnknownHost(unknown_host_message(host), is_refused=is_refused)
    if isinstance(error.__cause__, ProxyFailed):
        return (Denied if error.__cause__.is_denial else Unavailable)(str(error.__cause__))
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


def parse_retry_after(text: str | None, now: float) -> int | None:
    """Read seconds or an HTTP date as seconds to wait; None for what is neither. ``now``: since the epoch."""
    if text is None:
        return None
    seconds = int(text) if _SECONDS.fullmatch(text) else _seconds_until(text, now)
    return None if seconds is None else min(max(seconds, 1), _MAX_RETRY_AFTER_SECONDS)


def _seconds_until(date: str, now: float) -> int | None:
    try:
        return round(parsedate_to_datetime(date).timestamp() - now)
    except (ValueError, OverflowError, TypeError):
        return None


def _ranges(start: int, size: int) -> tuple[tuple[str, str, str], ...]:
    first, last = str(start), str(size - 1)
    return (first, last, str(size)), (first, last, "*")


def _skipped(name: str) -> Skipped:
    return Skipped(f"{name} leads back to this gateway")


def _reason_of(body: bytes) -> str | None:
    """The reason in the detail of a gateway's refusal."""
    try:
        match parse_json(body, _MAX_REFUSAL_BYTES):
            case {"errors": [{"detail": {"reason": str(reason)}}, *_]}:
                return reason
            case _:
                return None
    except JsonError:
        return None


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
