"""Rules as clients meet them over HTTP: by host, by query, by method; a HEAD is the GET without its body."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.composed import Composed
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.threats import Told, serving, settings_of, told

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

CHARTS = [make_chart("cd", version) for version in ("4.9.0", "5.0.0", "5.10.0", "6.0.0")]
SHOP = make_chart("cd", "1.0.0")
RULES = """
upstreams:
  main.example.test: {{kind: helm, url: '{main}', allow_private: true}}
  shop.example.test: {{kind: helm, url: '{shop}', allow_private: true}}
  shop.example.test:8443: {{kind: helm, url: '{shop}', allow_private: true}}
rules:
  - {{host: shop.example.org, rewrite: shop.example.test/$0}}
  - {{host: "*.teams.example.org", rewrite: $1.example.test/$0}}
  - {{repository: "argo/*", rewrite: main.example.test/$1, channels: {{"5": ">=5 <6"}}, versions: "<6"}}
  - {{repository: "both/*", rewrite: [shop.example.test/$1, main.example.test/$1]}}
  - {{repository: "gone/**", deny: moved}}
"""
UNKNOWN_NAME: Told = (404, "NAME_UNKNOWN", None)


@pytest.fixture(scope="module")
def origins() -> Iterator[Mapping[str, str]]:
    with HelmRepo(repository_of(*CHARTS)) as main, HelmRepo(repository_of(SHOP)) as shop:
        yield {"main": main.url, "shop": shop.url}


@asynccontextmanager
async def gateway(folder: Path, origins: Mapping[str, str], trusted: str = "") -> AsyncIterator[Composed]:
    """``trusted`` is the network whose X-Forwarded-Host counts."""
    settings = settings_of(folder, trusted_proxies=(ip_network(trusted),) if trusted else ())
    async with serving(folder, RULES.format(**origins), settings=settings) as at:
        yield at


async def tags_under(at: Composed, name: str, **headers: str) -> list[str] | Told:
    """The tags of a name; what is told instead where there are none."""
    told_headers = {key.replace("_", "-"): value for key, value in headers.items()}
    answer = await at.client.get(f"/v2/{name}/tags/list", headers=told_headers)
    return answer.json()["tags"] if answer.status_code == 200 else told(answer)


async def test_the_host_header_selects_rules_whatever_its_case_and_port(
    origins: Mapping[str, str], tmp_path: Path
) -> None:
    async with gateway(tmp_path, origins) as at:
        for host in (
            "shop.example.org",
            "SHOP.example.org:443",
            "shop.example.org.",
            "shop.teams.example.org",
        ):
            assert await tags_under(at, "cd", Host=host) == ["1.0.0"]
        for host in (
            "example.org",
            "shop.example.org.evil.test",
            "evil-shop.example.org",
            "a,shop.example.org",
        ):
            assert await tags_under(at, "cd", Host=host) == UNKNOWN_NAME


async def test_behind_a_trusted_proxy_the_host_that_it_forwards_selects_rules(
    origins: Mapping[str, str], tmp_path: Path
) -> None:
    async with gateway(tmp_path, origins, "127.0.0.0/8") as at:
        assert await tags_under(at, "cd", X_Forwarded_Host="shop.example.org") == ["1.0.0"]
        assert await tags_under(at, "cd", X_Forwarded_Host="made.up, shop.example.org") == ["1.0.0"]
        forwarded = {"Host": "shop.example.org", "X_Forwarded_Host": "other.example.org"}
        assert await tags_under(at, "cd", **forwarded) == UNKNOWN_NAME
        assert await tags_under(at, "cd", Host="shop.example.org") == ["1.0.0"]


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8"])
async def test_what_anybody_else_forwards_selects_nothing(
    origins: Mapping[str, str], tmp_path: Path, trusted: str
) -> None:
    async with gateway(tmp_path, origins, trusted) as at:
        assert await tags_under(at, "cd", X_Forwarded_Host="shop.example.org") == UNKNOWN_NAME
        forwarded = {"Host": "shop.example.org", "X_Forwarded_Host": "other.example.org"}
        assert await tags_under(at, "cd", **forwarded) == ["1.0.0"]


async def test_the_catalog_lists_what_a_client_may_ask_for_under_its_host(
    origins: Mapping[str, str], tmp_path: Path
) -> None:
    async with gateway(tmp_path, origins) as at:
        of_shop = {"Host": "shop.example.org"}
        for name, tag, headers in (("argo/cd", "5", {}), ("cd", "1.0.0", of_shop)):
            answer = await at.client.get(f"/v2/{name}/manifests/{tag}", headers=headers)
            assert answer.status_code == 200
        assert (await at.client.get("/v2/_catalog")).json() == {"repositories": ["argo/cd"]}
        listed = await at.client.get("/v2/_catalog", headers=of_shop)
        assert listed.json() == {"repositories": ["cd"]}


ASKED = [
    "argo/cd/manifests/5",
    "argo/cd/manifests/5.0.0",
    "argo/cd/manifests/6.0.0",
    "argo/cd/tags/list",
    "both/cd/manifests/1.0.0",
    "both/cd/manifests/4.9.0",
    "both/cd/manifests/9.9.9",
    "both/cd/tags/list",
    "gone/cd/manifests/1.0.0",
    "gone/cd/tags/list",
    "short/manifests/1.0.0",
    "bitnami/redis/tags/list",
    "cd/manifests/1.0.0?ns=shop.example.test",
    "cd/manifests/1.0.0?ns=shop.example.test:8443",
    "cd/manifests/1.0.0?ns=shop.example.test:9443",
    "argo/cd/manifests/5.0.0?rewrite_dependencies=true",
    "argo/cd/manifests/5.0.0?rewrite_dependencies=false",
    "argo/cd/manifests/5.0.0?rewrite_dependencies=1",
]


@pytest.mark.parametrize("first", ["HEAD", "GET"])
async def test_a_head_says_what_a_get_says(origins: Mapping[str, str], tmp_path: Path, first: str) -> None:
    """Whichever comes first, and finds it cold; but for how old and where from."""
    async with gateway(tmp_path, origins) as at:
        for path in ASKED:
            answers = {}
            for method in (first, "GET", "HEAD"):
                answer = await at.client.request(method, f"/v2/{path}")
                kept = {"content-type", "content-length", "docker-content-digest", "etag", "oci-namespace"}
                shown = {name: value for name, value in answer.headers.items() if name in kept}
                answers[method] = (answer.status_code, shown)
            assert answers["HEAD"] == answers["GET"], path


async def test_an_answer_says_in_one_line_why_it_is_no(origins: Mapping[str, str], tmp_path: Path) -> None:
    expected = {
        "argo/cd/manifests/6.0.0": ("MANIFEST_UNKNOWN", "argo/cd:6.0.0 is hidden: versions <6"),
        "gone/cd/tags/list": ("DENIED", "gone/cd: moved"),
        "bitnami/redis/tags/list": (
            "NAME_UNKNOWN",
            "no rule matches bitnami/redis, and bitnami is no host: in rules.yaml a rule with "
            '`repository: "bitnami/*"` and `rewrite: <host>/<path>/$1` would say where it leads',
        ),
        "argo/cd/manifests/5?rewrite_dependencies=true": (
            "UNSUPPORTED",
            "dependencies cannot be rewritten: this gateway does not know its own name (setting PUBLIC_URL)",
        ),
        "argo/cd/manifests/5?rewrite_dependencies=yes": (
            "UNSUPPORTED",
            "rewrite_dependencies is true or false",
        ),
    }
    async with gateway(tmp_path, origins) as at:
        for path, (code, message) in expected.items():
            (error,) = (await at.client.get(f"/v2/{path}")).json()["errors"]
            assert (error["code"], error["message"]) == (code, message)


@pytest.mark.parametrize("port", ["%C2%B2", "%D9%A3", "0", "9" * 30])
async def test_an_ns_whose_port_is_none_is_an_unknown_name_on_every_path(
    origins: Mapping[str, str], tmp_path: Path, port: str
) -> None:
    async with gateway(tmp_path, origins) as at:
        for path in ("/v2/", "/v2/_catalog", "/v2/cd/tags/list"):
            answer = await at.client.get(f"{path}?ns=shop.example.test:{port}")
            assert told(answer) == UNKNOWN_NAME
            assert "oci-namespace" not in answer.headers
