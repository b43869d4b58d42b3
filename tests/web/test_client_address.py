"""Who counts as one client: its address, and what a proxy says of it only where that proxy is trusted."""

from ipaddress import ip_network

import pytest

from gateway.web.forwarded import ClientOf

NOBODY = ClientOf(())
PROXIES = ClientOf([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
FORWARDED = b"x-forwarded-for"


def client_of(peer: str | None, *forwarded: bytes, client: ClientOf = PROXIES) -> str:
    headers = [(FORWARDED, one) for one in forwarded]
    scope = {"type": "http", "headers": headers, "client": None if peer is None else (peer, 1)}
    return client(scope, dict(headers))


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::6", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", "unix"),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_network(peer: str, client: str) -> None:
    assert client_of(peer) == client


def test_all_without_an_address_are_one_client() -> None:
    assert client_of(None) == client_of(None, b"192.0.2.7") == ""


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ([b"192.0.2.7"], "192.0.2.7"),
        ([b"192.0.2.7:4711"], "192.0.2.7"),
        ([b"[2001:db8::1]:4711"], "2001:db8::/64"),
        ([b"[2001:db8::1]"], "2001:db8::/64"),
        ([b"2001:db8::1"], "2001:db8::/64"),
        ([b"203.0.113.9, 192.0.2.7"], "192.0.2.7"),
        ([b"203.0.113.9", b"192.0.2.7"], "192.0.2.7"),
        ([b"203.0.113.9,192.0.2.7 ,\t10.1.2.3"], "192.0.2.7"),
        ([b"203.0.113.9, 192.0.2.7, 10.1.2.3, 10.1.2.4"], "192.0.2.7"),
        ([b"192.0.2.7", b"10.1.2.3"], "192.0.2.7"),
        ([b"10.1.2.3"], "10.1.2.3"),
    ],
)
def test_behind_proxies_it_is_the_last_one_that_is_no_proxy(forwarded: list[bytes], client: str) -> None:
    assert client_of("10.0.0.1", *forwarded) == client
    assert client_of("fd00::1", *forwarded) == client


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"unknown", b"_hidden", b"192.0.2", b"192.0.2.7:", b"192.0.2.7:x", b"300.0.0.1", b"[::1"),
        *(b"\xff", b"192.0.2.7, ", b"192.0.2.7, unknown", "\uff11.2.3.4".encode(), b"a" * 8000),
    ],
)
def test_where_a_proxy_says_no_address_it_is_the_client_itself(value: bytes) -> None:
    assert client_of("10.0.0.1", value) == "10.0.0.1"


def test_what_anybody_else_says_means_nothing() -> None:
    assert client_of("192.0.2.7", b"203.0.113.9") == "192.0.2.7"
    assert client_of("10.0.0.1", b"203.0.113.9", client=NOBODY) == "10.0.0.1"


def test_a_header_of_many_addresses_is_looked_at_only_so_far() -> None:
    assert client_of("10.0.0.1", b"192.0.2.7," + b"10.9.9.9," * 40 + b"10.1.1.1") == "10.9.9.9"
