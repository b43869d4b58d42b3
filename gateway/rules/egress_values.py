"""The way out: what ``egress.proxy`` and ``no_proxy`` may be, and which hosts go by the proxy."""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gateway.oci.urls import HttpUrl, UrlError, parse_upstream_url
from gateway.rules import values
from gateway.rules.model import Egress
from gateway.rules.problems import Unreadable, unreadable
from gateway.rules.tree import Node, ScalarNode

_ADDRESS = re.compile(r"(?:[0-9][0-9.]*|[0-9a-fA-F.]*:[0-9a-fA-F:.]*)(?:/[0-9]{1,3})?")
_PATTERNS = 1000
_PROXY_EXPECTED = "expected http://host:port, such as http://proxy.corp.example:3128"
_EXCEPTION_EXPECTED = (
    "expected a host such as nexus.corp.example, *.corp.example for one label, .corp.example for all below, "
    "or an address or network such as 10.0.0.0/8"
)


def proxy_url(node: Node) -> HttpUrl:
    """A proxy that is itself asked without TLS; what goes through it to ``https://`` has its own."""
    try:
        found = parse_upstream_url(values.scalar(node, "a URL").text)
    except UrlError as error:
        raise unreadable(node, f"no usable URL of a proxy: {error}", _PROXY_EXPECTED) from error
    if found.scheme != "http" or found.path != "/" or found.query is not None:
        raise unreadable(node, "no usable URL of a proxy", _PROXY_EXPECTED)
    return found


def proxy_exception(node: Node) -> str:
    """A host, a pattern of hosts as in ``egress.hosts``, ``.domain``, or an address or network."""
    found = values.scalar(node, "a host or network")
    text = found.text
    if _ADDRESS.fullmatch(text):
        return _network_text(found)
    if text == "*":
        raise unreadable(node, "this would leave nothing to the proxy", "remove `proxy` in its place")
    try:
        return _domain(found) if text.startswith(".") else values.host_pattern(node)
    except Unreadable as error:
        raise unreadable(node, _EXCEPTION_EXPECTED, "in lower case, without a port") from error


def goes_by_proxy(egress: Egress, host: str) -> bool:
    """Whether a host, as in a URL, is dialled by the proxy; this machine itself never is.

    Networks are compared with addresses in URLs: what a name resolves to is not looked up for it.
    """
    if egress.proxy is None:
        return False
    address = _address(host)
    if address is not None:
        return not address.is_loopback and not any(_is_in(address, text) for text in egress.no_proxy)
    return host != "localhost" and not any(_expression(text).fullmatch(host) for text in egress.no_proxy)


def _network_text(node: ScalarNode) -> str:
    try:
        network = ip_network(node.text)
    except ValueError as error:
        hint = _nearest_network(node.text)
        raise unreadable(node, "no address or network in its usual spelling", hint) from error
    is_one = network.num_addresses == 1
    return str(network.network_address if is_one else network)


def _nearest_network(text: str) -> str:
    try:
        return f"did you mean {ip_network(text, strict=False)}?"
    except ValueError:
        return "such as 10.1.2.3, 10.0.0.0/8 or fd00::/8"


def _domain(node: ScalarNode) -> str:
    values.host(ScalarNode(node.place, node.text.removeprefix("."), is_plain=node.is_plain))
    return node.text


@lru_cache(_PATTERNS)
def _expression(text: str) -> re.Pattern[str]:
    label = r"[^.]+"
    if text.startswith("."):
        return re.compile(rf"(?:{label}\.)+{re.escape(text[1:])}")
    return re.compile(label.join(map(re.escape, text.split("*"))))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def _is_in(address: IPv4Address | IPv6Address, text: str) -> bool:
    network = _network(text)
    return network is not None and address in network


@lru_cache(_PATTERNS)
def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None
