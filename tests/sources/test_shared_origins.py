"""Several upstreams on one origin: whether it is a registry is asked in each one's own right."""

from gateway.oci.target import Target
from gateway.oci.urls import parse_upstream_url
from gateway.rules.load import load_rules
from gateway.rules.route import Errand
from gateway.sources.credentials import Secrets
from gateway.sources.upstreams import Upstreams

RULES = load_rules("""version: 1
upstreams:
  registry.corp.example: {kind: registry, url: 'http://nexus.corp.example:8081', allow_private: true}
  charts.corp.example: {url: 'http://nexus.corp.example:8081/repository/helm', allow_private: true}
""")


def test_a_place_below_another_upstream_on_its_origin_may_be_asked_whether_it_is_a_registry() -> None:
    errand = Errand(Target.parse("charts.corp.example/demo"), RULES)
    ping = parse_upstream_url("http://nexus.corp.example:8081/v2/")
    (destination,) = Upstreams(Secrets()).destinations(ping, errand)
    assert (destination.name, destination.may_be_private, destination.url) == (
        "charts.corp.example",
        True,
        ping,
    )
