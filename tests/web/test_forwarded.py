"""Which host rules see: the client's own, and what a proxy says of it only where that proxy is trusted."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from gateway import hypercorn_fit
from gateway.web.forwarded import HostOf
from tests.web.live import Headers, parse_reply

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

NOBODY = HostOf(())
LOOPBACK = HostOf([ip_network("127.0.0.0/8")])
FORWARDED = b"x-forwarded-host"


def host_of(value: bytes, *forwarded: bytes, peer: tuple[str, int] | None = ("127.0.0.1", 1)) -> str:
    return _asked(LOOPBACK, [(b"host", value), *((FORWARDED, one) for one in forwarded)], peer)


def _asked(host: HostOf, headers: Headers, peer: tuple[str, int] | None) -> str:
    return host({"type": "http", "headers": headers, "client": peer}, dict(headers))


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"charts.example.org", "charts.example.org"),
        (b"Charts.EXAMPLE.org:9000", "charts.example.org"),
        (b"charts.example.org.", "charts.example.org"),
        (b"charts.example.org.:443", "charts.example.org"),
        (b"charts.example.org:", "charts.example.org"),
        (b"localhost:9000", "localhost"),
        (b"my_gateway", "my_gateway"),
        (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
        (b"127.0.0.1:9000", "127.0.0.1"),
        (b"[::1]:9000", "::1"),
        (b"[2001:DB8:0:0::1]", "2001:db8::1"),
        (b"a" * 63 + b".example", "a" * 63 + ".example"),
        (b".".join([b"a" * 62] * 4) + b".:65535", ".".join(["a" * 62] * 4)),
    ],
)
def test_a_host_is_told_in_lower_case_without_port_dot_or_brackets(value: bytes, host: str) -> None:
    assert host_of(value) == host


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b".", b"..", b":9000", b"a..b", b".a", b"-a", b"a-", b"a..", b"a b", b"a\tb", b"a\n", b"a,b"),
        *(
            b"a/b",
            b"a@b",
            b"u:p@a",
            b"http://a",
            b"a:b",
            b"a:1:2",
            b"a:-1",
            b"a:123456",
            b"a%2eb",
            b"*",
            b"~",
        ),
        *(
            b"[::1",
            b"::1",
            b"[::1]x",
            b"[]",
            b"[::g]",
            b"[fe80::1%25eth0]",
            b"[1.2.3.4]",
            b"[::1].",
            b"a[::1]",
        ),
        *("bücher.example".encode(), b"b\xfccher.example", "\uff11.example".encode(), b"a\0"),
        *(b"a" * 64, b".".join([b"a" * 63] * 4), b"a." * 4000, b"a" * 16_000),
    ],
)
def test_what_is_no_host_is_nothing(value: bytes) -> None:
    assert host_of(value) == ""


def test_a_request_without_a_host_has_none() -> None:
    assert _asked(LOOPBACK, [], ("127.0.0.1", 1)) == ""


@given(st.binary(max_size=300) | st.from_regex(rb"[A-Za-z0-9._:\[\]-]{1,40}", fullmatch=True))
def test_whatever_is_sent_gives_a_host_that_reads_as_itself(value: bytes) -> None:
    host = host_of(value)
    assert host.isascii()
    assert host == host.lower()
    written = f"[{host}]" if ":" in host else host
    assert host_of(written.encode()) == host


@pytest.mark.parametrize(
    ("forwarded", "host"),
    [
        ([b"charts.example.org"], "charts.example.org"),
        ([b"Charts.example.org:443"], "charts.example.org"),
        ([b"invented.example.org, charts.example.org"], "charts.example.org"),
        ([b"invented.example.org,\tcharts.example.org "], "charts.example.org"),
        ([b"invented.example.org", b"charts.example.org"], "charts.example.org"),
        (
            [b"invented.example.org, also.example.org", b"a.example.org, charts.example.org"],
            "charts.example.org",
        ),
        ([b"a b"], ""),
        ([b"charts.example.org, a b"], ""),
        ([b"a" * 16_000], ""),
        ([b""], "proxy.example.org"),
        ([b"charts.example.org,"], "proxy.example.org"),
    ],
)
def test_of_what_a_trusted_proxy_says_the_last_counts(forwarded: list[bytes], host: str) -> None:
    assert host_of(b"proxy.example.org", *forwarded) == host


@pytest.mark.parametrize(
    "peer",
    [
        *(("128.0.0.1", 1), ("::1", 1), ("::ffff:10.0.0.1", 1), ("::127.0.0.1", 1), ("64:ff9b::7f00:1", 1)),
        *(("", 0), ("unix:/run/gateway.sock", 0), ("localhost", 1), None),
    ],
)
def test_what_anybody_else_says_means_nothing(peer: tuple[str, int] | None) -> None:
    assert host_of(b"gateway.example.org", b"charts.example.org", peer=peer) == "gateway.example.org"


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.255.255.255", "::ffff:127.0.0.1", "::ffff:7f00:1"])
def test_a_proxy_is_known_also_on_a_socket_for_both_families(peer: str) -> None:
    assert host_of(b"gateway.example.org", b"charts.example.org", peer=(peer, 1)) == "charts.example.org"


@pytest.mark.parametrize(("network", "peer"), [("fd00::/8", "fd12::1"), ("fe80::/10", "fe80::1%eth0")])
def test_a_proxy_may_come_over_ipv6(network: str, peer: str) -> None:
    headers = [(b"host", b"gateway"), (FORWARDED, b"charts.example.org")]
    assert _asked(HostOf([ip_network(network)]), headers, (peer, 1)) == "charts.example.org"
    assert _asked(HostOf([ip_network(network)]), headers, ("::1", 1)) == "gateway"


def test_without_trusted_proxies_nobody_is_believed() -> None:
    headers = [(b"host", b"gateway"), (FORWARDED, b"charts.example.org")]
    assert _asked(NOBODY, headers, ("127.0.0.1", 1)) == "gateway"


class Teller:
    """An application that answers with the host it was asked under."""

    def __init__(self, host: HostOf) -> None:
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for stage in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{stage}.complete"})
            return
        body = self._host(scope, dict(scope["headers"])).encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def hypercorn(host: HostOf, listener: socket.socket) -> AsyncIterator[None]:
    listener.listen()
    listener.setblocking(False)
    stop = asyncio.Event()
    running = asyncio.create_task(hypercorn_fit.run(Teller(host), listener, stop, 1.0))
    try:
        yield
    finally:
        stop.set()
        await running


async def told(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], *lines: bytes) -> str:
    """Send a request of these header lines, and read the host that the other side saw."""
    reader, writer = connection
    writer.write(b"\r\n".join([b"GET /v2/ HTTP/1.1", b"Connection: close", *lines, b"", b""]))
    reply = parse_reply(await reader.read())
    writer.close()
    return reply.body.decode() if reply.status == 200 else str(reply.status)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("lines", "host"),
    [
        ([b"Host: Gateway.example.org:9000"], "gateway.example.org"),
        ([b"HOST: gateway", b"X-FORWARDED-HOST: charts.example.org"], "charts.example.org"),
        ([b"X-Forwarded-Host: a", b"Host: gateway", b"x-forwarded-host: b, c"], "c"),
        ([b"Host: gateway", b"X_Forwarded_Host: charts.example.org"], "gateway"),
        ([b"Host: gateway", b"Forwarded: host=charts.example.org"], "gateway"),
        ([b"Host:"], ""),
        ([b"Host: a", b"Host: b"], "400"),
        ([b"X-Forwarded-Host: a"], "400"),
    ],
)
async def test_what_comes_over_the_wire_is_read_so(lines: list[bytes], host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with hypercorn(LOOPBACK, listener):
            assert await told(await asyncio.open_connection("127.0.0.1", port), *lines) == host


@pytest.mark.anyio
async def test_who_connects_decides_and_not_what_it_says_of_itself() -> None:
    lines = [b"Host: gateway", b"X-Forwarded-Host: charts.example.org", b"X-Forwarded-For: 127.0.0.1"]
    only_two = HostOf([ip_network("127.0.0.2")])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        async with hypercorn(only_two, listener):
            for own, host in (("127.0.0.1", "gateway"), ("127.0.0.2", "charts.example.org")):
                connection = await asyncio.open_connection(*address, local_addr=(own, 0))
                assert await told(connection, *lines) == host


@pytest.mark.anyio
@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_on_a_socket_for_both_families_an_ipv4_proxy_is_trusted_by_its_ipv4_address() -> None:
    lines = [b"Host: gateway", b"X-Forwarded-Host: charts.example.org"]
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        async with hypercorn(LOOPBACK, listener):
            assert (
                await told(await asyncio.open_connection("127.0.0.1", port), *lines) == "charts.example.org"
            )
            assert await told(await asyncio.open_connection("::1", port), *lines) == "gateway"


@pytest.mark.anyio
async def test_who_comes_by_a_unix_socket_is_trusted_by_nobody(tmp_path: Path) -> None:
    lines = [b"Host: gateway", b"X-Forwarded-Host: charts.example.org"]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        async with hypercorn(LOOPBACK, listener):
            connection = await asyncio.open_unix_connection(tmp_path / "socket")
            assert await told(connection, *lines) == "gateway"
