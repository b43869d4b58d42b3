"""An egress proxy that is down, or leads no further: told as what it is, and nothing is left behind."""

import asyncio

import httpx
import pytest

from gateway.oci.urls import HttpUrl
from gateway.sources.proxy import ProxyFailed
from gateway.sources.transports import Destination, Transports
from tests.composed import FakeDns
from tests.fakes.proxy import FakeProxy, egress_proxy
from tests.sources.raw_server import answer

pytestmark = pytest.mark.slow  # real files, sockets and databases

HOST = "charts.example.test"
URL = HttpUrl("https", HOST, 443, "/index.yaml")
HTTP_URL = HttpUrl("http", HOST, 8081, "/index.yaml")


def _refusing(status: int) -> bytes:
    return answer(b"<html>", f"Proxy-Authenticate: Basic realm={status}", status=status)


async def _error_of(proxy: FakeProxy, url: HttpUrl, timeout_seconds: float = 5.0) -> httpx.HTTPError:
    """What the transport raises on the way to ``url``."""
    transports = Transports(FakeDns())
    transport = await transports.for_destination(Destination(url, HOST, proxy=proxy.url))
    extensions = {"timeout": {"connect": timeout_seconds, "read": timeout_seconds}}
    request = httpx.Request("GET", str(url), extensions=extensions)
    with pytest.raises(httpx.HTTPError) as caught:
        await transport.handle_async_request(request)
    await transports.close()
    return caught.value


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("said", "words"),
    [
        (_refusing(407), "the proxy 127.0.0.1:PORT wants to be signed in to"),
        (_refusing(403), "the proxy 127.0.0.1:PORT does not let us through to charts.example.test:443"),
        (_refusing(502), "the proxy 127.0.0.1:PORT answered 502 for charts.example.test:443"),
        (b"HTTP/1.0 503 \r\n\r\n", "answered 503"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "answered 100"),
        (b"HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\n\r\n", "answered 302"),
        (b"", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nand more", "does not speak HTTP"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "does not speak HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1\t200 OK\r\n\r\n", "does not speak HTTP"),
    ],
)
async def test_a_tunnel_that_does_not_open_says_who_refused(said: bytes, words: str) -> None:
    proxy = FakeProxy(tunnel_answer=said)
    async with egress_proxy(proxy):
        failed = (await _error_of(proxy, URL)).__cause__
    assert isinstance(failed, ProxyFailed)
    assert words.replace("PORT", str(proxy.port)) in str(failed)
    assert failed.is_denial == ("does not let us" in words)


@pytest.mark.anyio
@pytest.mark.parametrize("url", [URL, HTTP_URL])
async def test_a_proxy_that_is_down_or_nameless_is_no_unknown_host(url: HttpUrl) -> None:
    proxy = FakeProxy()
    async with egress_proxy(proxy):
        pass
    down = (await _error_of(proxy, url)).__cause__
    assert isinstance(down, ProxyFailed)
    assert str(down) == f"no connection to the proxy 127.0.0.1:{proxy.port}"
    nameless = HttpUrl("http", "proxy.corp.example", 3128)
    transports = Transports(FakeDns())
    transport = await transports.for_destination(Destination(url, HOST, proxy=nameless))
    with pytest.raises(httpx.ProxyError, match=r"no connection to the proxy proxy\.corp\.example:3128"):
        await transport.handle_async_request(httpx.Request("GET", str(url)))
    await transports.close()


@pytest.mark.anyio
async def test_a_proxy_that_wants_a_login_is_told_from_an_upstream_that_does() -> None:
    proxy = FakeProxy(forward_answer=_refusing(407))
    async with egress_proxy(proxy):
        failed = (await _error_of(proxy, HTTP_URL)).__cause__
    assert isinstance(failed, ProxyFailed)
    assert "wants to be signed in to" in str(failed)


@pytest.mark.anyio
async def test_a_proxy_that_never_opens_the_tunnel_is_given_up_and_hung_up_on() -> None:
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    proxy = FakeProxy(port=server.sockets[0].getsockname()[1])
    async with server:
        assert isinstance(await _error_of(proxy, URL, timeout_seconds=0.05), httpx.ConnectTimeout)
        async with asyncio.timeout(5):
            await gone.wait()


@pytest.mark.anyio
@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\n\r\n", _refusing(403)])
async def test_what_failed_leaves_no_connection_behind(said: bytes) -> None:
    """A tunnel into what speaks no TLS above all: that is what httpcore's own proxy pool keeps."""
    proxy = FakeProxy(tunnel_answer=said)
    transports = Transports(FakeDns())
    async with egress_proxy(proxy):
        transport = await transports.for_destination(Destination(URL, HOST, proxy=proxy.url))
        for _ in range(5):
            with pytest.raises(httpx.HTTPError):
                await transport.handle_async_request(httpx.Request("GET", str(URL)))
        assert transport._pool.connections == []
    assert (len(proxy.heads), proxy.open_now) == (5, 0)
    await transports.close()
