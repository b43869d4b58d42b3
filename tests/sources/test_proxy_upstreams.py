"""Which upstreams go by the egress proxy of rules.yaml."""

from dataclasses import replace

import pytest

from gateway.oci.target import Target
from gateway.oci.urls import HttpUrl, parse_upstream_url
from gateway.rules.load import load_rules
from gateway.rules.model import Egress
from gateway.rules.route import Errand
from gateway.sources.credentials import Secrets
from gateway.sources.upstreams import Upstreams

PROXY = HttpUrl("http", "proxy.corp.example", 3128)
RULES = """\
version: 1
upstreams:
  nexus.corp.example: {url: 'http://nexus.corp.example:8081/helm', allow_private: true}
  mirror.example.org: {urls: ['https://mirror.corp.example/', 'https://mirror.example.org/']}
"""


def proxies_of(url: str, own: str, egress: Egress) -> list[HttpUrl | None]:
    errand = Errand(Target.parse(own), replace(load_rules(RULES), egress=egress))
    found = Upstreams(Secrets({}, None)).destinations(parse_upstream_url(url), errand)
    return [destination.proxy for destination in found]


@pytest.mark.parametrize(
    ("url", "own", "proxies"),
    [
        ("https://charts.example.org/index.yaml", "charts.example.org/x", [PROXY]),
        ("https://elsewhere.example.org/x.tgz", "charts.example.org/x", [PROXY]),
        ("https://a.b.corp.example/x.tgz", "charts.example.org/x", [None]),
        ("https://10.1.2.3/x.tgz", "charts.example.org/x", [None]),
        ("https://11.1.2.3/x.tgz", "charts.example.org/x", [PROXY]),
        ("https://nexus.corp.example/index.yaml", "nexus.corp.example/x", [None]),
        ("https://mirror.example.org/index.yaml", "mirror.example.org/x", [None, PROXY]),
    ],
)
def test_what_is_not_excepted_goes_by_the_proxy_whoever_led_there(
    url: str, own: str, proxies: list[HttpUrl | None]
) -> None:
    exceptions = (".corp.example", "10.0.0.0/8")
    assert proxies_of(url, own, Egress(proxy=PROXY, no_proxy=exceptions)) == proxies
    assert set(proxies_of(url, own, Egress(no_proxy=exceptions))) == {None}
