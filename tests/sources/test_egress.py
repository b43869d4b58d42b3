"""Who may be dialled (threats.md 1b): the guard on resolved addresses, and what a client is told of it."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.urls import HttpUrl
from gateway.sources.egress import AddressRefused, GuardedBackend, NameUnresolved, is_public, resolve
from gateway.sources.transports import Destination, Transports, verify_guard
from tests.composed import FakeDns, composed, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.sources.raw_server import RawServer, answer, raw_server, saying


def _words(text: str) -> list[str]:
    return text.split()


PRIVATE = _words("""
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1
    127.1.2.3 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.170 192.0.2.1 192.88.99.1
    192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255
    240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1
    ::ffff:93.184.216.34 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 2001::1 2001:db8::1
    2002:7f00:1:: 2002:a9fe:a9fe:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%lo febf::1
    fec0::1 ff02::1 ff0e::1 100::1 1fff::1 4000::1 5d00::1 7fff::1 8000::1 fbff::1
""")
PUBLIC = _words("""
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.216.34 100.63.255.255 100.128.0.0 126.255.255.255
    128.0.0.1 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0
    198.17.255.255 198.20.0.0 223.255.255.255 2606:2800:220:1:248:1893:25c8:1946 2a00:1450:4001::1
    2000::1 2003::1 3ffe::1
""")


@pytest.mark.parametrize("text", PRIVATE)
def test_an_address_of_ours_or_of_nobody_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_the_neighbours_of_what_is_refused_are_public(text: str) -> None:
    assert is_public(ip_address(text))


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_public(address: IPv4Address | IPv6Address) -> None:
    if address.is_private or address.is_multicast or address.is_link_local or address.is_unspecified:
        assert not is_public(address)


class Rebinding:
    """A name server that gives another answer each time."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, _host: str, _port: int) -> Sequence[str]:
        self.asked += 1
        return self._answers[min(self.asked, len(self._answers)) - 1]


async def _dial(answers: Sequence[str], server: RawServer, *, may_be_private: bool = False) -> None:
    """Ask for a name with these answers, on the port of a listener that must see nothing."""
    transports = Transports(FakeDns({"ok.example.org": answers}))
    url = HttpUrl("http", "ok.example.org", server.port)
    transport = await transports.for_destination(Destination(url, "ok", may_be_private=may_be_private))
    try:
        await transport.handle_async_request(httpx.Request("GET", str(url)))
    finally:
        await transports.close()


@pytest.mark.anyio
@pytest.mark.parametrize("text", ["127.0.0.1", "::ffff:127.0.0.1", "::1", "64:ff9b::7f00:1", "2002:7f00:1::"])
@pytest.mark.parametrize("others", [(), ("93.184.216.34",)])
async def test_one_private_answer_is_enough_to_refuse_the_name(text: str, others: tuple[str, ...]) -> None:
    async with raw_server(saying(answer())) as server:
        for answers in ([text, *others], [*others, text]):
            with pytest.raises(httpx.ConnectError) as caught:
                await _dial(answers, server)
            assert isinstance(caught.value.__cause__, AddressRefused)
    assert server.heads == []


@pytest.mark.anyio
async def test_what_is_dialled_is_what_was_checked_and_the_name_stays_in_the_host_header() -> None:
    async with raw_server(saying(answer(b"x"))) as server:
        await _dial(["127.0.0.1"], server, may_be_private=True)
        with pytest.raises(httpx.ConnectError):
            await _dial([], server, may_be_private=True)
    assert server.headers(0)["host"] == f"ok.example.org:{server.port}"


@pytest.mark.anyio
async def test_a_name_is_looked_up_once_a_connection_so_that_it_cannot_be_rebound() -> None:
    """The first answer may be dialled (nobody listens there), the second may not (somebody does)."""
    dns = Rebinding(["127.0.0.2"], ["127.0.0.1"])
    backend = GuardedBackend(dns, lambda address: str(address) == "127.0.0.2")
    async with raw_server(saying(answer())) as server:
        with pytest.raises(httpcore.ConnectError) as first:
            await backend.connect_tcp("ok.example.org", server.port)
        assert (dns.asked, type(first.value)) == (1, httpcore.ConnectError)
        with pytest.raises(AddressRefused):
            await backend.connect_tcp("ok.example.org", server.port)
        assert dns.asked == 2
    assert server.heads == []


@pytest.mark.anyio
async def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    async with raw_server(saying(answer(b"x"))) as server:
        await _dial(["127.0.0.2", "127.0.0.1"], server, may_be_private=True)
    assert len(server.heads) == 1


@pytest.mark.anyio
async def test_no_unix_socket_is_ever_dialled(tmp_path: Path) -> None:
    with pytest.raises(AddressRefused):
        await GuardedBackend(resolve, lambda _: True).connect_unix_socket(str(tmp_path / "socket"))


@pytest.mark.anyio
@pytest.mark.parametrize("name", _words("127.0.0.1 2130706433 0x7f.1 0177.0.0.1 127.1 0 localhost"))
async def test_every_spelling_of_loopback_that_the_system_resolves_is_refused(name: str) -> None:
    with pytest.raises((AddressRefused, NameUnresolved)):
        await GuardedBackend(resolve, is_public).connect_tcp(name, 9)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["a" * 64 + ".example.org", "xn--a.example.org", "a..b", "."])
async def test_a_name_that_cannot_be_is_one_that_does_not_resolve(name: str) -> None:
    with pytest.raises(NameUnresolved):
        await resolve(name, 443)


@pytest.mark.anyio
async def test_variables_for_proxies_are_not_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(saying(answer(b"proxied"))) as proxy, raw_server(saying(answer(b"x"))) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.origin)
            monkeypatch.setenv(name.lower(), proxy.origin)
        await _dial(["127.0.0.1"], server, may_be_private=True)
    assert (len(proxy.heads), len(server.heads)) == (0, 1)


@pytest.mark.anyio
async def test_the_guard_is_found_in_order_at_start() -> None:
    await verify_guard(Transports())


@pytest.mark.anyio
async def test_a_guard_that_is_off_is_found_out_at_start() -> None:
    class Unguarded(Transports):
        async def for_destination(self, destination: Destination) -> httpx.AsyncHTTPTransport:
            return httpx.AsyncHTTPTransport(trust_env=False)

    with pytest.raises(RuntimeError, match="let a loopback address through"):
        await verify_guard(Unguarded())


NAMES = _words("""
    127.0.0.1 10.0.0.1 169.254.169.254 100.100.100.200 metadata.google.internal
    kubernetes.default.svc printer.local a.localhost a.cluster.local 0x7f.1 0177.0.0.1
    127.1 private.example.org half.example.org nip.example.org empty.example.org
""")
SHORT_NAMES = _words("localhost 2130706433 0 kubernetes")


@pytest.mark.anyio
async def test_a_name_that_may_not_be_dialled_answers_as_one_that_does_not_exist(tmp_path: Path) -> None:
    """Also for those whom DNS is not even asked for: there is nothing to tell them apart by."""
    dns = FakeDns(
        {
            "private.example.org": ["10.0.0.1"],
            "half.example.org": ["93.184.216.34", "127.0.0.1"],
            "nip.example.org": ["127.0.0.1"],
            "empty.example.org": [],
        }
    )
    async with composed(tmp_path, "", dns) as gateway:
        before = await gateway.stored()
        for nowhere, names in (("nowhere.example.org", NAMES), ("nowhere", SHORT_NAMES)):
            expected = await gateway.manifest(f"{nowhere}/x", "1.0.0")
            assert (expected.status_code, expected.json()["errors"][0]["code"]) == (404, "NAME_UNKNOWN")
            for name in names:
                got = await gateway.manifest(f"{name}/x", "1.0.0")
                told = got.text.replace(name, nowhere)
                assert (got.status_code, told) == (404, expected.text), name
        assert await gateway.stored() == before
    assert set(dns.asked) == {*dns.answers, "nowhere.example.org"}


@pytest.mark.anyio
async def test_what_is_private_is_dialled_for_its_own_target_and_those_it_trusts_and_for_nobody_else(
    tmp_path: Path,
) -> None:
    chart = make_chart("demo", "1.0.0")
    with HelmRepo(repository_of(chart)) as inside, HelmRepo() as outside:
        outside.put("index.yaml", repository_of(chart, base="https://inside.example.test/")["index.yaml"])
        rules = (
            "upstreams:\n"
            + upstream(inside.url, "inside.example.test", trusted_by="[friend.example.test]")
            + upstream(outside.url, "friend.example.test")
            + upstream(outside.url, "stranger.example.test")
        )
        async with composed(tmp_path, rules) as gateway:
            statuses = {
                name: (await gateway.manifest(f"{name}.example.test/demo", "1.0.0")).status_code
                for name in ("stranger", "friend", "inside")
            }
    assert statuses == {"stranger": 503, "friend": 200, "inside": 200}
