"""What a repository is called where it really lies."""

import pytest

from gateway.rules.load import load_rules
from gateway.rules.registry_names import login_places, registry_names

RULES = load_rules("""
version: 1
upstreams:
  corp.example/team: {url: "https://reg.corp:5000/prefix"}
  nexus: {urls: ["http://one.corp:8081/", "https://two.corp/a/b/"]}
  docker.io: {}
  port.example:5000: {}
""")


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("ghcr.io/org/app", ["ghcr.io/org/app"]),
        ("corp.example/team/app", ["reg.corp:5000/prefix/app"]),
        ("corp.example/team/deep/app", ["reg.corp:5000/prefix/deep/app"]),
        ("corp.example/teams/app", ["corp.example/teams/app"]),
        ("nexus/app", ["one.corp:8081/app", "two.corp/a/b/app"]),
        ("docker.io/nginx", ["registry-1.docker.io/library/nginx"]),
        ("docker.io/org/app", ["registry-1.docker.io/org/app"]),
        ("port.example:5000/app", ["port.example:5000/app"]),
    ],
)
def test_the_path_of_a_url_goes_before_the_name(name: str, places: list[str]) -> None:
    upstream = RULES.upstream_for(name.rpartition("/")[0])
    assert list(login_places(name, upstream)) == places


def test_without_rules_docker_hub_is_dialled_at_its_registry() -> None:
    ((url, name),) = registry_names("docker.io/nginx", None)
    assert (str(url), name) == ("https://registry-1.docker.io/", "library/nginx")
