"""The only room that speaks HTTP to the world: every hop checked, every body bounded, every error named."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass, field, replace
from typing import Final, Protocol
from urllib.parse import urljoin

import httpx
import structlog

from gateway.oci.outcomes import Corrupt, Denied, Outcome, Unavailable, UnknownHost
from gateway.oci.urls import HttpUrl, UrlError, parse_upstream_url
from gateway.rules.route import Errand
from gateway.sources.answers import Answer, Observer, outcome_of_error, parse_retry_after, unobserved
from gateway.sources.breaker import Ending
from gateway.sources.origins import Attempt, HttpLimits, Origins
from gateway.sources.transports import Destination, Transports
from gateway.sources.via import LOOP_HEADER, new_instance_id, outgoing

__all__ = ["Answer", "Directory", "Http", "HttpLimits", "Observer", "outcome_of_error", "unobserved"]

log = structlog.get_logger(__name__)

USER_AGENT = "chart-gateway"
ANONYMOUS: Final = ""  # in place of an Authorization header: no credentials of ours go along
_MAX_REDIRECTS = 5
_REST_SECONDS: Final = 0.25


class Directory(Protocol):
    """Decides where a URL is really dialled, and with what."""

    def destinations(self, url: HttpUrl, errand: Errand) -> Sequence[Destination]:
        """One or more places with the same content, to be tried first to last.

        Raise Denied, UnknownHost, Unavailable or Corrupt for a URL that must not be followed.
        """


@dataclass(frozen=True, slots=True)
class _Request:
    """What is asked; whom, is decided hop by hop. ``authorization`` stands for the destination's own."""

    method: str
    headers: Mapping[str, str]
    authorization: str | None = field(repr=False)
    hop: int = 0


@dataclass(slots=True)
class _Dialled:
    """Is told by httpcore what it does for a request: ``is_new`` once that is to open a connection."""

    is_new: bool = False

    async def __call__(self, event: str, _info: Mapping[str, object]) -> None:
        self.is_new = self.is_new or event == "connection.connect_tcp.started"


class Http:
    """GET and HEAD, redirects followed by hand: credentials and permissions are decided for each hop anew.

    ``now`` gives seconds since the epoch; ``instance_id`` is what other gateways know us by.
    """

    def __init__(
        self,
        directory: Directory,
        transports: Transports,
        limits: HttpLimits,
        observe: Observer = unobserved,
        *,
        instance_id: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.instance_id = instance_id or new_instance_id()
        self._directory = directory
        self._transports = transports
        self._limits = limits
        self._observe = observe
        self._now = now
        self.origins = Origins(limits, monotonic, now=now)

    def get(
        self,
        url: HttpUrl,
        errand: Errand,
        headers: Mapping[str, str],
        *,
        authorization: str | None = None,
        follow: int = _MAX_REDIRECTS,
    ) -> AbstractAsyncContextManager[Answer]:
        """Ask for ``url`` on ``errand``; the answer's body can be read inside the block.

        ``authorization``, or ANONYMOUS, is sent in place of the destination's own, to where ``url`` lies and
        to nobody that it redirects to; ``follow`` is how many redirects are followed.
        """
        return self._asked(url, errand, _Request("GET", headers, authorization), follow)

    def head(
        self,
        url: HttpUrl,
        errand: Errand,
        headers: Mapping[str, str],
        *,
        authorization: str | None = None,
        follow: int = _MAX_REDIRECTS,
    ) -> AbstractAsyncContextManager[Answer]:
        """As ``get``, for the head of the answer alone."""
        return self._asked(url, errand, _Request("HEAD", headers, authorization), follow)

    async def prepare(self) -> None:
        """Have at hand what most upstreams are dialled with, before the first one is."""
        await self._transports.prepare()

    async def close(self) -> None:
        """End all connections."""
        await self._transports.close()

    def is_troubled(self, url: HttpUrl, errand: Errand) -> bool:
        """Whether everybody who could be asked failed the last time, or keeps somebody waiting just now."""
        try:
            destinations = self._directory.destinations(url, errand)
        except Outcome:  # asking will say so at once
            return False
        return all(self.origins.is_troubled(_service(destination.url)) for destination in destinations)

    @asynccontextmanager
    async def _asked(
        self, url: HttpUrl, errand: Errand, request: _Request, follow: int
    ) -> AsyncIterator[Answer]:
        home: frozenset[str] | None = None
        for hop in range(follow + 1):
            destinations = self._destinations(url, errand, hop)
            origins = frozenset(destination.url.origin for destination in destinations)
            home = home or origins
            if not origins <= home:  # once it led away, it does not come back signed either
                request = replace(request, authorization=None)
            async with self._first_answer(replace(request, hop=hop), destinations) as answer:
                if answer.location is None:
                    yield answer
                    return
                sender, url = answer.name, _next_hop(answer, answer.location, follow)
        raise Corrupt(f"{sender} redirects more than {follow} times", "too_many_redirects")

    def _destinations(self, url: HttpUrl, errand: Errand, hop: int) -> Sequence[Destination]:
        """Where to ask, whoever is troubled last."""
        with _on_hop(hop):
            destinations = self._directory.destinations(url, errand)
        return sorted(destinations, key=lambda each: self.origins.is_troubled(_service(each.url)))

    @asynccontextmanager
    async def _first_answer(
        self, request: _Request, destinations: Sequence[Destination]
    ) -> AsyncIterator[Answer]:
        """The first that is no outage; the last one's, whatever it is."""
        for destination in destinations:
            is_last = destination is destinations[-1]
            async with AsyncExitStack() as stack:
                try:
                    answer = await stack.enter_async_context(self._answered(request, destination))
                except (Unavailable, UnknownHost) as error:
                    if is_last or (isinstance(error, UnknownHost) and error.is_refused):
                        raise
                    continue
                if is_last or not answer.is_outage:
                    yield answer
                    return

    @asynccontextmanager
    async def _answered(self, request: _Request, destination: Destination) -> AsyncIterator[Answer]:
        """One request to one destination; its place is held until its answer is done with."""
        origin = self.origins.get(_service(destination.url))
        name = destination.name
        async with origin.place(name):
            with origin.attempt(name) as attempt:
                with _on_hop(request.hop), attempt.waiting():
                    response = await self._send(request, destination, attempt)
                try:
                    yield self._noted(response, destination, attempt)
                    await _read_rest(response, request)
                finally:
                    await response.aclose()

    def _noted(self, response: httpx.Response, destination: Destination, attempt: Attempt) -> Answer:
        """Take from the head of an answer what it says of its origin's health."""
        retry_after_seconds = parse_retry_after(response.headers.get("retry-after"), self._now())
        if response.status_code in (429, 503) and retry_after_seconds is not None:
            attempt.end(Ending.PUT_OFF, f"answered {response.status_code}: to be asked later")
            attempt.origin.wait(retry_after_seconds, is_rate_limited=response.status_code == 429)
        attempt.end(_ending_with(response, destination), f"answered {response.status_code}")
        return Answer(
            url=destination.url,
            name=destination.name,
            has_credentials=destination.authorization is not None,
            retry_after_seconds=retry_after_seconds,
            _response=response,
            _attempt=attempt,
            _observe=self._observe,
        )

    async def _send(self, request: _Request, destination: Destination, attempt: Attempt) -> httpx.Response:
        transport = await self._transport(destination)
        try:
            async with asyncio.timeout(self._limits.connect_seconds + self._limits.first_byte_seconds):
                return await self._exchange(request, destination, transport)
        except TimeoutError as error:
            attempt.end(Ending.SILENT, "did not answer in time")
            raise Unavailable(f"{destination.name} did not answer in time") from error
        except httpx.HTTPError as error:
            outcome = outcome_of_error(error, destination.name)
            cause = str(error.__cause__ or error) or type(error).__name__
            attempt.end(_ending_of(error, outcome), cause)
            _tell_operator(destination, cause, outcome)
            raise outcome from error

    async def _exchange(
        self, request: _Request, destination: Destination, transport: httpx.AsyncHTTPTransport
    ) -> httpx.Response:
        """Ask, and ask again where a connection of an earlier request was closed as this one came by."""
        dialled = _Dialled()
        prepared = httpx.Request(
            request.method,
            str(destination.url),
            headers=self._headers(request, destination),
            extensions={"timeout": self._timeouts(), "trace": dialled},
        )
        try:
            return await transport.handle_async_request(prepared)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if dialled.is_new:
                raise
            return await transport.handle_async_request(prepared)

    async def _transport(self, destination: Destination) -> httpx.AsyncHTTPTransport:
        try:
            return await self._transports.for_destination(destination)
        except OSError as error:  # of which ssl.SSLError is one
            log.warning("certificates_unusable", upstream=destination.name, reason=str(error))
            raise Unavailable(f"the certificates for {destination.name} cannot be used") from error

    def _headers(self, request: _Request, destination: Destination) -> dict[str, str]:
        """Only what we name ourselves: nothing of a client's request ever travels on.

        Also Host, which httpx would make by decoding the name, and raise for one that is no good IDNA.
        """
        own = {
            "Host": destination.url.authority,
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",
            "Via": outgoing(self.instance_id),
            **request.headers,
        }
        authorization = destination.authorization if request.authorization is None else request.authorization
        return {**own, "Authorization": authorization} if authorization else own

    def _timeouts(self) -> dict[str, float]:
        return {
            "connect": self._limits.connect_seconds,
            "read": self._limits.idle_seconds,
            "write": self._limits.idle_seconds,
            "pool": self._limits.first_byte_seconds,
        }


def _service(url: HttpUrl) -> str:
    """Whose health is judged, and whose places are shared.

    A host's registry and its files fail apart, often they are two servers; and blobs, which take long, keep
    no manifest waiting.
    """
    if not url.path.startswith("/v2/"):
        return url.origin
    return f"{url.origin}/v2/…/blobs" if "/blobs/" in url.path else f"{url.origin}/v2"


@contextmanager
def _on_hop(hop: int) -> Iterator[None]:
    """Who redirects to an unknown host is no less known for it: that is an outage."""
    try:
        yield
    except UnknownHost as error:
        if hop == 0:
            raise
        raise Unavailable(error.message) from error


def _ending_with(response: httpx.Response, destination: Destination) -> Ending:
    """What a foreign host answers to who was sent there says nothing of it: who sent us chose the URL."""
    if _is_well(response):
        return Ending.ANSWERED
    return Ending.FAILED if destination.is_own else Ending.NOTHING_LEARNT


def _is_well(response: httpx.Response) -> bool:
    """Whether an origin answers; a gateway that found a loop does."""
    name, value = LOOP_HEADER
    return response.status_code < 500 or response.headers.get(name) == value


def _tell_operator(destination: Destination, cause: str, outcome: Outcome) -> None:
    """What clients are not told: where it was dialled, and why that failed."""
    told = {"upstream": destination.name, "url": str(destination.url)}
    if isinstance(outcome, UnknownHost) and outcome.is_refused:
        hint = "an upstream on a private network needs `allow_private: true` in rules.yaml"
        log.warning("address_refused", hint=hint, **told)
    else:
        log.info("request_failed", cause=cause, **told)


async def _read_rest(response: httpx.Response, request: _Request) -> None:
    """Read what little nobody wanted, the end of a HEAD's answer above all: else its connection is closed."""
    is_bodiless = request.method == "HEAD" or response.status_code in (204, 304)
    length = response.headers.get("content-length", "")
    is_short = length.isascii() and length.isdigit() and len(length) <= 4
    if response.is_stream_consumed or not (is_bodiless or is_short):
        return
    with suppress(httpx.HTTPError, httpx.StreamError, TimeoutError):
        async with asyncio.timeout(_REST_SECONDS):
            async for _ in response.aiter_raw():
                pass


def _ending_of(error: httpx.HTTPError, outcome: Outcome) -> Ending:
    if isinstance(outcome, UnknownHost):
        return Ending.NO_SUCH_HOST
    if isinstance(outcome, Denied):  # by the proxy that we go by
        return Ending.NOTHING_LEARNT
    return Ending.SILENT if isinstance(error, httpx.TimeoutException) else Ending.FAILED


def _next_hop(answer: Answer, location: str, follow: int) -> HttpUrl:
    if not follow:
        raise Corrupt(f"{answer.name} redirects where no redirect is followed", "bad_redirect")
    try:
        return parse_upstream_url(urljoin(str(answer.url), location.partition("#")[0]))
    except (UrlError, ValueError) as error:
        raise Corrupt(
            f"{answer.name} redirects to a place that is not followed: {error}", "bad_redirect"
        ) from error
