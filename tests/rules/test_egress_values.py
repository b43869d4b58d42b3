"""The way out in rules.yaml: a proxy, and the hosts that do not go by it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.urls import HttpUrl
from gateway.rules.egress_values import goes_by_proxy, proxy_exception, proxy_url
from gateway.rules.model import Egress
from gateway.rules.problems import Unreadable
from gateway.rules.tree import Node, Place, ScalarNode, SequenceNode

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

PROXY = HttpUrl("http", "proxy.corp.example", 3128)


def written(text: str) -> Node:
    return ScalarNode(Place(3, 9), text, is_plain=True)


def fault_of(error: Unreadable) -> str:
    (fault,) = error.faults
    assert fault.place == Place(3, 9)
    return f"{fault.message} ({fault.hint})"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://proxy.corp.example:3128", PROXY),
        ("HTTP://Proxy.corp.example:3128/", PROXY),
        ("http://proxy", HttpUrl("http", "proxy", 80)),
        ("http://10.1.2.3:8080", HttpUrl("http", "10.1.2.3", 8080)),
        ("http://[fd00::1]:8080", HttpUrl("http", "[fd00::1]", 8080)),
    ],
)
def test_a_proxy_is_a_host_and_a_port(text: str, url: HttpUrl) -> None:
    assert proxy_url(written(text)) == url


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://user:S3CR3T@proxy.corp.example:3128", "user and password may not stand in a URL"),
        ("https://proxy.corp.example:3128", "expected http://host:port"),
        ("socks5://proxy.corp.example:1080", "it has to start with https:// or http://"),
        ("proxy.corp.example:3128", "it has to start with https:// or http://"),
        ("http://proxy.corp.example/proxy.pac", "expected http://host:port"),
        ("http://proxy.corp.example/?", "expected http://host:port"),
        ("http://proxy.corp.example:99999", "no port 99999"),
        ("", "expected a URL"),
        ("null", "expected a URL"),
    ],
)
def test_what_is_no_proxy_is_told_without_its_password(text: str, words: str) -> None:
    with pytest.raises(Unreadable) as caught:
        proxy_url(written(text))
    assert words in fault_of(caught.value)
    assert "S3CR3T" not in fault_of(caught.value)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("nexus.corp.example", "nexus.corp.example"),
        ("nexus", "nexus"),
        ("*.corp.example", "*.corp.example"),
        (".corp.example", ".corp.example"),
        (".example", ".example"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3/32", "10.1.2.3"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("FD00::/8", "fd00::/8"),
        ("fd00:0:0::1", "fd00::1"),
        ("0x7f.example", "0x7f.example"),
        ("1.example", "1.example"),
    ],
)
def test_an_exception_is_a_host_a_pattern_a_domain_or_a_network(text: str, kept: str) -> None:
    assert proxy_exception(written(text)) == kept


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("*", "would leave nothing to the proxy"),
        ("nexus.corp.example:8081", "expected a host such as nexus.corp.example"),
        ("http://nexus.corp.example", "expected a host"),
        ("nexus.corp.example/helm", "expected a host"),
        ("Nexus.corp.example", "in lower case"),
        ("*.*x*.example", "expected a host"),
        (".*.example", "expected a host"),
        (".", "expected a host"),
        ("..example", "expected a host"),
        ("a..b", "expected a host"),
        ("[::1]", "expected a host"),
        ("10.1.2.3/8", "did you mean 10.0.0.0/8?"),
        ("10.0.0.0/33", "such as 10.1.2.3"),
        ("10.1", "no address or network"),
        ("010.0.0.1", "no address or network"),
        ("10.0.0.1:80", "no address or network"),
        ("::g", "expected a host"),
        ("\uff11.1.1.1", "expected a host"),
        ("a" * 9000, "at most"),
        ("", "expected a host"),
    ],
)
def test_what_is_no_exception_is_told_with_what_is(text: str, words: str) -> None:
    with pytest.raises(Unreadable) as caught:
        proxy_exception(written(text))
    assert words in fault_of(caught.value)


def test_a_list_is_no_exception() -> None:
    with pytest.raises(Unreadable):
        proxy_exception(SequenceNode(Place(), ()))


@given(st.text(max_size=40) | st.from_regex(r"[a-z0-9.:*/-]{1,30}", fullmatch=True), st.text(max_size=20))
def test_whatever_is_written_is_an_exception_or_a_fault(text: str, host: str) -> None:
    try:
        kept = proxy_exception(written(text))
    except Unreadable:
        return
    assert proxy_exception(written(kept)) == kept
    goes_by_proxy(Egress(proxy=PROXY, no_proxy=(kept,)), host)


@pytest.mark.parametrize(
    ("pattern", "excepted", "proxied"),
    [
        ("a.corp.example", ["a.corp.example"], ["b.a.corp.example", "xa.corp.example", "a.corp.example.org"]),
        ("*.corp.example", ["a.corp.example"], ["corp.example", "a.b.corp.example", "evil-corp.example"]),
        ("a*.corp.example", ["ab.corp.example"], ["a.corp.example", "ba.corp.example"]),
        (".corp.example", ["a.corp.example", "a.b.corp.example"], ["corp.example", "evil-corp.example"]),
        ("10.0.0.0/8", ["10.1.2.3"], ["11.0.0.1", "10.example", "a10.0.0.1.example", "[fd00::1]"]),
        ("10.1.2.3", ["10.1.2.3"], ["10.1.2.4"]),
        ("fd00::/8", ["[fd12::1]"], ["[fe80::1]", "10.0.0.1"]),
        ("::ffff:10.0.0.0/104", ["[::ffff:10.0.0.1]"], ["10.0.0.1"]),
    ],
)
def test_an_exception_holds_for_what_it_says_and_not_for_its_neighbours(
    pattern: str, excepted: list[str], proxied: list[str]
) -> None:
    egress = Egress(proxy=PROXY, no_proxy=("other.example", proxy_exception(written(pattern))))
    assert [host for host in [*excepted, *proxied] if goes_by_proxy(egress, host)] == proxied


def test_without_a_proxy_everything_is_dialled_from_here() -> None:
    assert not goes_by_proxy(Egress(no_proxy=("a.example",)), "b.example")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_this_machine_is_never_asked_for_at_the_proxy(host: str) -> None:
    assert not goes_by_proxy(Egress(proxy=PROXY), host)
