"""The egress proxy: TLS through a tunnel, the rest by its whole URL, and the target guarded all the same."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpcore
import httpx
import pytest
import trustme

from gateway.oci.outcomes import Unavailable, UnknownHost
from gateway.oci.urls import HttpUrl
from gateway.sources.egress import AddressRefused, NameUnresolved, Resolver
from gateway.sources.http import Http
from gateway.sources.transports import Destination, TlsFiles, Transports
from tests.composed import FakeDns
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.proxy import FakeProxy, egress_proxy
from tests.fakes.server import server_tls
from tests.sources.asking import asking, fetched, outcome_of
from tests.sources.raw_server import RawServer, answer, raw_server, saying

pytestmark = pytest.mark.slow  # real files, sockets and databases

AUTHORITY = trustme.CA()
HOST = "charts.example.test"
URL = HttpUrl("https", HOST, 443, "/index.yaml", "a=b%20c")
HTTP_URL = HttpUrl("http", HOST, 8081, "/index.yaml", "a=b%20c")


@dataclass(frozen=True, slots=True)
class ByProxy:
    """A directory by which everything goes by a proxy."""

    proxy: HttpUrl
    tls: TlsFiles = TlsFiles()  # noqa: RUF009 (frozen)
    may_be_private: bool = False

    def destinations(self, url: HttpUrl, errand: object) -> Sequence[Destination]:
        return [Destination(url, url.host, None, self.may_be_private, self.tls, proxy=self.proxy)]


@pytest.fixture
def tls(tmp_path: Path) -> TlsFiles:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    return TlsFiles(ca_file=tmp_path / "ca.pem")


def _server_tls(*names: str) -> ssl.SSLContext:
    return server_tls(AUTHORITY, *names)


@asynccontextmanager
async def by_proxy(
    proxy: FakeProxy, server: RawServer, tls: TlsFiles, resolver: Resolver | None = None
) -> AsyncIterator[Http]:
    """An Http that goes by ``proxy``, to which HOST is ``server``; nobody here can resolve a name."""
    proxy.leads_to = {
        f"{HOST}:443": server.port,
        f"{HOST}:8081": server.port,
        "public.example:443": server.port,
    }
    async with (
        egress_proxy(proxy),
        asking(directory=ByProxy(proxy.url, tls), resolver=resolver or FakeDns()) as http,
    ):
        yield http


@pytest.mark.anyio
async def test_tls_goes_through_a_tunnel_whose_inside_the_proxy_does_not_see(tls: TlsFiles) -> None:
    proxy = FakeProxy()
    async with (
        raw_server(saying(answer(b"x")), _server_tls(HOST)) as server,
        by_proxy(proxy, server, tls) as http,
    ):
        assert await fetched(http, URL) == b"x"
    assert proxy.heads == [
        b"CONNECT charts.example.test:443 HTTP/1.1\r\nHost: charts.example.test:443\r\n\r\n"
    ]
    assert server.heads[0].startswith("GET /index.yaml?a=b%20c HTTP/1.1\r\n")
    assert server.headers(0)["host"] == HOST


@pytest.mark.anyio
async def test_without_tls_the_proxy_is_told_the_whole_url(tls: TlsFiles) -> None:
    proxy = FakeProxy()
    async with raw_server(saying(answer(b"x"))) as server, by_proxy(proxy, server, tls) as http:
        assert await fetched(http, HTTP_URL) == b"x"
    assert proxy.asked == ["GET http://charts.example.test:8081/index.yaml?a=b%20c"]
    assert server.headers(0)["host"] == f"{HOST}:8081"


@pytest.mark.anyio
async def test_a_tunnel_is_used_again_and_not_for_another_host(tls: TlsFiles) -> None:
    proxy, other = FakeProxy(), HttpUrl("https", "public.example", 443, "/x")
    with HelmRepo({"index.yaml": b"x", "x": b"x"}, tls=_server_tls(HOST, "public.example")) as repo:
        async with by_proxy(proxy, RawServer(port=repo.port), tls) as http:
            for url in (URL, URL, other, URL, other):
                assert await fetched(http, url) == b"x"
    assert proxy.asked == ["CONNECT charts.example.test:443", "CONNECT public.example:443"]
    assert (repo.count(), repo.connection_count) == (5, 2)


@pytest.mark.anyio
async def test_the_certificate_is_the_targets_and_not_the_proxys(tls: TlsFiles) -> None:
    proxy = FakeProxy()
    other = _server_tls("other.example.test")
    async with raw_server(saying(answer(b"x")), other) as server, by_proxy(proxy, server, tls) as http:
        assert isinstance(await outcome_of(http, URL), Unavailable)
    assert server.heads == []


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "private.example",
        "2130706433",
    ],
)
async def test_what_resolves_here_to_private_addresses_alone_is_not_asked_for(scheme: str, host: str) -> None:
    proxy = FakeProxy()
    dns = FakeDns({"private.example": ["10.0.0.1", "::1"], "2130706433": ["127.0.0.1"]})
    async with egress_proxy(proxy), asking(directory=ByProxy(proxy.url), resolver=dns) as http:
        outcome = await outcome_of(http, HttpUrl(scheme, host, 443, "/x"))
    assert isinstance(outcome, UnknownHost)
    assert outcome.is_refused
    assert proxy.heads == []


async def _silent(host: str, _port: int) -> Sequence[str]:
    raise httpcore.ConnectTimeout(host)


async def _failing(host: str, _port: int) -> Sequence[str]:
    raise httpcore.ConnectError(host)


async def _unknown(host: str, _port: int) -> Sequence[str]:
    raise NameUnresolved(host)


def _only_for(host: str, resolver: Resolver) -> Resolver:
    """For the proxy's own address, the address."""

    async def resolve(asked: str, port: int) -> Sequence[str]:
        return await resolver(asked, port) if asked == host else [asked]

    return resolve


@pytest.mark.anyio
@pytest.mark.parametrize(
    "resolver",
    [
        FakeDns({HOST: ["93.184.216.34"]}),
        FakeDns({HOST: ["10.0.0.1", "93.184.216.34"]}),
        FakeDns({HOST: ["64:ff9b::5db8:d822", "93.184.216.34"]}),
        FakeDns({HOST: []}),
        _only_for(HOST, _unknown),
        _only_for(HOST, _failing),
        _only_for(HOST, _silent),
    ],
)
async def test_a_name_that_may_be_public_is_for_the_proxy_to_resolve(
    tls: TlsFiles, resolver: Resolver
) -> None:
    proxy = FakeProxy()
    async with (
        raw_server(saying(answer(b"x")), _server_tls(HOST)) as server,
        by_proxy(proxy, server, tls, resolver) as http,
    ):
        assert await fetched(http, URL) == b"x"
    assert len(proxy.heads) == 1


@pytest.mark.anyio
async def test_a_name_server_that_is_silent_is_not_waited_for_at_each_connection(tls: TlsFiles) -> None:
    waited: list[str] = []

    async def resolver(host: str, _port: int) -> Sequence[str]:
        if host == "127.0.0.1":
            return [host]
        waited.append(host)
        raise httpcore.ConnectTimeout(host)

    proxy = FakeProxy()
    async with (
        raw_server(saying(answer(b"x")), _server_tls(HOST)) as server,
        by_proxy(proxy, server, tls, resolver) as http,
    ):
        for _ in range(3):
            assert await fetched(http, URL) == b"x"
    assert (len(proxy.heads), waited) == (3, [HOST])


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_who_may_be_private_is_asked_for_by_the_proxy_too(scheme: str, tls: TlsFiles) -> None:
    proxy = FakeProxy()
    context = _server_tls() if scheme == "https" else None
    async with raw_server(saying(answer(b"x")), context) as server, egress_proxy(proxy):
        proxy.leads_to = {f"127.0.0.1:{server.port}": server.port}
        directory = ByProxy(proxy.url, tls, may_be_private=True)
        async with asking(directory=directory) as http:
            assert await fetched(http, server.url()) == b"x"
    assert len(proxy.heads) == 1


@pytest.mark.anyio
async def test_an_address_in_brackets_is_asked_for_in_brackets() -> None:
    proxy = FakeProxy()
    public = HttpUrl("https", "[2606:2800:220:1::1]", 443)
    async with egress_proxy(proxy), asking(directory=ByProxy(proxy.url)) as http:
        await outcome_of(http, public)
    assert proxy.asked == ["CONNECT [2606:2800:220:1::1]:443"]


@pytest.mark.anyio
async def test_a_proxy_is_found_by_its_name_at_whichever_address_answers() -> None:
    dns = FakeDns({"proxy.corp.example": ["127.0.0.2", "127.0.0.1"]})
    proxy = FakeProxy(forward_answer=answer(b"x"))
    async with egress_proxy(proxy):
        named = HttpUrl("http", "proxy.corp.example", proxy.port)
        async with asking(directory=ByProxy(named), resolver=dns) as http:
            assert await fetched(http, HTTP_URL) == b"x"


@pytest.mark.anyio
@pytest.mark.parametrize("url", [URL, HTTP_URL])
async def test_variables_for_proxies_are_not_obeyed_beside_it(
    url: HttpUrl, tls: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = FakeProxy()
    context = _server_tls(HOST) if url.scheme == "https" else None
    async with raw_server(saying(answer(b"stray"))) as stray:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
            monkeypatch.setenv(name, "*" if name == "NO_PROXY" else stray.origin)
            monkeypatch.setenv(name.lower(), "*" if name == "NO_PROXY" else stray.origin)
        async with raw_server(saying(answer(b"x")), context) as server, by_proxy(proxy, server, tls) as http:
            assert await fetched(http, url) == b"x"
    assert (len(proxy.heads), stray.heads) == (1, [])


@pytest.mark.anyio
async def test_ways_that_differ_share_no_connections() -> None:
    transports = Transports(FakeDns())
    proxies = (None, HttpUrl("http", "a.example", 1), HttpUrl("http", "b.example", 1))
    ways = [
        await transports.for_destination(Destination(url, HOST, None, is_private, proxy=proxy))
        for proxy in proxies
        for is_private in (False, True)
        for url in (URL, HTTP_URL)
    ]
    assert len({id(way) for way in ways}) == 12
    assert await transports.for_destination(Destination(URL, "other", proxy=proxies[1])) is ways[4]
    await transports.close()


@pytest.mark.anyio
async def test_no_unix_socket_is_dialled_by_a_proxy_either(tmp_path: Path) -> None:
    transports = Transports(FakeDns())
    transport = await transports.for_destination(
        Destination(URL, HOST, proxy=HttpUrl("http", "a.example", 1))
    )
    assert isinstance(transport, httpx.AsyncHTTPTransport)
    with pytest.raises(AddressRefused):
        await transport._pool._network_backend.connect_unix_socket(str(tmp_path / "socket"))
    await transports.close()
