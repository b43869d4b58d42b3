"""Every way in which asking an upstream can fail has a name: the border that network errors cross once."""

import asyncio
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpcore
import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.oci.outcomes import Corrupt, Denied, Missing, Outcome, Unavailable, UnknownHost
from gateway.oci.urls import HttpUrl, UrlError, parse_upstream_url
from gateway.sources.egress import AddressRefused, NameUnresolved
from gateway.sources.http import Http, HttpLimits, outcome_of_error
from gateway.sources.transports import TlsFiles, Transports
from tests.sources.asking import EveryoneMay, asking, fetched
from tests.sources.raw_server import Say, answer, raw_server, saying

pytestmark = pytest.mark.slow  # real sockets, seconds together

# What httpx raises that is no HTTPError, and why it never comes to us.
NEVER_MET = {
    httpx.InvalidURL: "our own reading of URLs is narrower than httpx's: the property below",
    httpx.CookieConflict: "a client's, and we use transports",
    httpx.StreamConsumed: "a body is read once: our own fault",
    httpx.StreamClosed: "a body is read while its answer is open: our own fault",
    httpx.ResponseNotRead: "we stream: our own fault",
    httpx.RequestNotRead: "our requests have no body: our own fault",
    httpx.StreamError: "the base of the four above",
}


def _exceptions_of(module: object) -> Iterator[type[Exception]]:
    for _, found in inspect.getmembers(module, inspect.isclass):
        if issubclass(found, Exception):
            yield found


def test_every_exception_that_httpx_has_is_mapped_or_never_met() -> None:
    for kind in _exceptions_of(httpx):
        if kind not in NEVER_MET:
            assert issubclass(kind, httpx.HTTPError), kind
            error = kind("boom") if kind is not httpx.HTTPStatusError else _status_error()
            outcome = outcome_of_error(error, "charts.example.test")
            assert isinstance(outcome, Unavailable), kind
            assert "charts.example.test" in outcome.message
            assert "boom" not in outcome.message


def _status_error() -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "https://charts.example.test")
    return httpx.HTTPStatusError("boom", request=request, response=httpx.Response(500))


@pytest.mark.parametrize("cause", [NameUnresolved("x"), AddressRefused("x")])
def test_a_name_that_is_refused_reads_as_one_that_does_not_resolve(cause: httpcore.ConnectError) -> None:
    error = httpx.ConnectError("boom")
    error.__cause__ = cause
    outcome = outcome_of_error(error, "a.example.org")
    assert isinstance(outcome, UnknownHost)
    assert outcome.is_refused == isinstance(cause, AddressRefused)
    assert outcome.message.startswith("a.example.org cannot be reached from here: ")


_URLS = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(("https", "http")),
    st.one_of(
        st.from_regex(r"[a-z0-9_.-]{1,20}", fullmatch=True),
        st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,4}){3}", fullmatch=True),
        st.sampled_from(
            ("[::1]", "[1::]", "xn--a.example", "xn--.org", "1a2a3a4", "_a._b", "127.0.0.1:99999")
        ),
    ),
    st.sampled_from(("", ":1", ":65535", ":0", ":00443")),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30).map(lambda text: f"/{text}"),
)


async def _knows_nobody(host: str, _port: int) -> Sequence[str]:
    raise NameUnresolved(host)


def test_what_our_reading_of_urls_lets_through_can_be_asked_for() -> None:
    transports = Transports(_knows_nobody)
    http = Http(EveryoneMay(), transports, HttpLimits())
    with asyncio.Runner() as runner:

        @given(_URLS)
        @example("https://xn--a.example/")
        def ask(text: str) -> None:
            try:
                url = parse_upstream_url(text)
            except UrlError:
                return
            with pytest.raises(UnknownHost):
                runner.run(fetched(http, url))

        ask()
        runner.run(transports.close())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "headers", "kind", "words"),
    [
        (404, (), Missing, "404 for x"),
        (410, (), Missing, "410 for x"),
        (401, (), Missing, "401 for x"),
        (403, (), Missing, "403 for x"),
        (429, (), Unavailable, "429 for x"),
        (500, (), Unavailable, "500 for x"),
        (502, (), Unavailable, "502 for x"),
        (503, (), Unavailable, "503 for x"),
        (599, (), Unavailable, "599 for x"),
        (206, (), Corrupt, "206 for x"),
        (201, (), Corrupt, "201 for x"),
        (400, (), Corrupt, "400 for x"),
        (418, (), Corrupt, "418 for x"),
        (302, (), Corrupt, "302 for x"),
        (301, (), Corrupt, "301 for x"),
        (300, ("Location: /y",), Corrupt, "300 for x"),
    ],
)
async def test_a_status_is_an_outcome(
    status: int, headers: tuple[str, ...], kind: type[Outcome], words: str
) -> None:
    async with raw_server(saying(answer(b"", *headers, status=status))) as server, asking() as http:
        with pytest.raises(kind) as caught:
            await fetched(http, server.url())
    assert type(caught.value) is kind
    assert words in caught.value.message


@pytest.mark.anyio
@pytest.mark.parametrize("head", [b"HTTP/1.1 204 X\r\n\r\n", b"HTTP/1.1 304 X\r\nETag: x\r\n\r\n"])
async def test_an_answer_that_has_no_body_was_not_asked_for(head: bytes) -> None:
    async with raw_server(saying(head)) as server, asking() as http:
        with pytest.raises(Corrupt) as caught:
            await fetched(http, server.url())
    assert caught.value.reason == "unexpected_status"


@pytest.mark.anyio
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_of_our_credentials_is_told_apart(status: int) -> None:
    async with (
        raw_server(saying(answer(status=status))) as server,
        asking(directory=EveryoneMay({server.origin: "Basic Zm9v"})) as http,
    ):
        with pytest.raises(Denied):
            await fetched(http, server.url())
    assert server.headers(0)["authorization"] == "Basic Zm9v"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 7", 7),
        ("Retry-After: 0", 1),
        ("Retry-After: 999999", 3600),
        ("Retry-After: 99999999999999999999", None),
        ("Retry-After: -1", None),
        ("Retry-After: soon", None),
        ("Retry-After: \xb2", None),
        ("X: y", None),
    ],
)
async def test_the_time_to_wait_is_taken_over_within_bounds(header: str, seconds: int | None) -> None:
    for status in (429, 503):
        async with raw_server(saying(answer(b"", header, status=status))) as server, asking() as http:
            with pytest.raises(Unavailable) as caught:
                await fetched(http, server.url())
        assert caught.value.retry_after_seconds == seconds
        assert caught.value.is_rate_limited == (status == 429)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n0123456789",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nAAAAAXX2\r\n45\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nAAAAA\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
    ],
)
async def test_what_is_no_http_or_breaks_off_is_an_outage(said: bytes) -> None:
    async with raw_server(saying(said)) as server, asking() as http:
        with pytest.raises(Unavailable):
            await fetched(http, server.url())


@pytest.mark.anyio
async def test_nobody_listening_and_silence_are_outages() -> None:
    async def silent(_target: str, _say: Say) -> None:
        await asyncio.Event().wait()

    limits = HttpLimits(connect_seconds=0.02, first_byte_seconds=0.03)
    async with raw_server(silent) as server, asking(limits) as http:
        with pytest.raises(Unavailable, match="did not answer in time"):
            await fetched(http, server.url())
    async with asking(limits) as http:
        with pytest.raises(Unavailable, match="no connection"):
            await fetched(http, server.url())


@pytest.mark.anyio
async def test_a_body_that_falls_silent_is_an_outage() -> None:
    async def stalls(_target: str, say: Say) -> None:
        await say(answer(b"x" * 10)[:-5])
        await asyncio.Event().wait()

    async with raw_server(stalls) as server, asking(HttpLimits(idle_seconds=0.03)) as http:
        with pytest.raises(Unavailable, match="fell silent"):
            await fetched(http, server.url())


@pytest.mark.anyio
@pytest.mark.parametrize("content", [None, b"no certificate"])
async def test_certificates_that_went_bad_are_an_outage(content: bytes | None, tmp_path: Path) -> None:
    place = tmp_path / "ca.pem"
    if content is not None:
        place.write_bytes(content)
    async with asking(directory=EveryoneMay(tls=TlsFiles(ca_file=place))) as http:
        with pytest.raises(Unavailable, match="cannot be used"):
            await fetched(http, HttpUrl("https", "127.0.0.1", 9))
