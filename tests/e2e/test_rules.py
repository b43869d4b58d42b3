"""What rules make of names, as helm, crane, oras and mirroring clients meet it."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gateway.oci.digest import Digest
from tests.e2e.client_commands import Client
from tests.e2e.gateway_process import Server, Site
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.e2e

PROXY = "chartproxy.container-registry.com"
VERSIONS = ("4.9.0", "5.0.0", "5.10.0", "5.11.0-rc.1", "6.0.0")
ARGO = {version: make_chart("argo-cd", version) for version in VERSIONS}
WEB, FIRST_REDIS, SECOND_REDIS = (
    make_chart("web", "1.2.3"),
    make_chart("redis", "1.0.0", {"from": b"the first"}),
    make_chart("redis", "2.0.0", {"from": b"the second"}),
)
BY_LOCALHOST, BY_ADDRESS = (make_chart("shop", "1.0.0", {"asked": host}) for host in (b"name", b"address"))
IMAGE = OCI.image(3000, seed="app")
RULES = """
version: 1
upstreams:
  argo.example.test/charts: {{kind: helm, url: '{argo}', allow_private: true}}
  corp.example.test: {{kind: helm, url: '{corp}', allow_private: true}}
  first.example.test: {{kind: helm, url: '{first}', allow_private: true}}
  second.example.test: {{kind: helm, url: '{second}', allow_private: true}}
  images.example.test: {{kind: registry, url: '{images}', allow_private: true}}
  images.example.test:5443: {{kind: registry, url: '{images}', allow_private: true}}
rules:
  - {{host: localhost, repository: shop/*, rewrite: first.example.test/$1}}
  - {{host: 127.0.0.1, repository: shop/*, rewrite: second.example.test/$1}}
  - {{host: chartproxy.container-registry.com, rewrite: $0}}
  - repository: "argo/*"
    rewrite: argo.example.test/charts/$1
    channels: {{"5": ">=5 <6", "4": "<5.10", stable: "*"}}
  - {{repository: "old/*", rewrite: argo.example.test/charts/$1, versions: "<6"}}
  - {{repository: "~team-([a-z0-9]+)/(?P<chart>.+)", rewrite: "corp.example.test/$1/${{chart}}"}}
  - {{repository: "prom/*", rewrite: [first.example.test/$1, second.example.test/$1]}}
  - {{repository: "images/**", rewrite: images.example.test/$1}}
  - {{repository: "gone/**", deny: "the team has moved: see https://wiki.example.test/charts"}}
tests:
  - {{ask: argo/argo-cd, target: argo.example.test/charts/argo-cd}}
  - {{ask: team-web/web, target: corp.example.test/web/web}}
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer to a client that is no program here: mirrors of containerd, curl with a Host."""

    server: Server

    def get(self, path: str, method: str = "GET", host: str | None = None) -> httpx.Response:
        headers = {} if host is None else {"Host": host}
        return httpx.request(method, self.server.url + path, headers=headers, trust_env=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One gateway for all, in front of four repositories and a registry."""
    site = Site(tmp_path_factory.mktemp("site"))
    with ExitStack() as stack:
        repositories = {
            "argo": repository_of(*ARGO.values()),
            "corp": {f"web/{path}": content for path, content in repository_of(WEB).items()},
            "first": repository_of(FIRST_REDIS, BY_LOCALHOST),
            "second": repository_of(SECOND_REDIS, BY_ADDRESS),
        }
        origins = {name: stack.enter_context(HelmRepo(files)).url for name, files in repositories.items()}
        registry = stack.enter_context(FakeRegistry())
        IMAGE.push_to(registry, "team/app", "1.0")
        site.write_rules(RULES.format(images=registry.origin, **origins))
        yield stack.enter_context(site.serve())


@pytest.fixture
def asked(server: Server) -> Asked:
    return Asked(server)


@pytest.fixture
def place(server: Server) -> str:
    return f"oci://{server.address}"


@pytest.mark.parametrize("version", ["5.10.0", "5.11.0-rc.1"])
def test_helm_pulls_by_a_short_reference(helm: Client, place: str, tmp_path: Path, version: str) -> None:
    pulled = helm.pull(f"{place}/argo/argo-cd", "--version", version, into=tmp_path / "out")
    assert pulled == ARGO[version]


@pytest.mark.parametrize(
    ("how", "newest"),
    [("argo-cd:5", "5.10.0"), ("argo-cd --version 5", "5.10.0"), ("argo-cd --version 4", "5.0.0")],
)
def test_helm_pulls_by_a_channel_that_looks_like_a_version(
    helm: Client, place: str, tmp_path: Path, how: str, newest: str
) -> None:
    chart, *flags = how.split()
    assert helm.pull(f"{place}/argo/{chart}", *flags, into=tmp_path / "out") == ARGO[newest]


def test_a_channel_with_a_word_for_a_name_is_for_other_clients(
    helm: Client, crane: Client, place: str
) -> None:
    """Helm takes what is no version for a range, and never asks."""
    name = f"{place.removeprefix('oci://')}/argo/argo-cd"
    assert crane.ok("digest", "--insecure", f"{name}:stable") == crane.ok(
        "digest", "--insecure", f"{name}:6.0.0"
    )
    assert "improper constraint" in helm.run("pull", f"oci://{name}:stable", "--plain-http").errors


def test_without_a_version_helm_pulls_the_newest_that_is_shown(
    helm: Client, place: str, tmp_path: Path
) -> None:
    assert helm.pull(f"{place}/old/argo-cd", into=tmp_path / "old") == ARGO["5.10.0"]
    assert helm.pull(f"{place}/argo/argo-cd", into=tmp_path / "all") == ARGO["6.0.0"]
    ran = helm.run("pull", f"{place}/old/argo-cd", "--version", "6.0.0", "--plain-http")
    assert ran.code == 1
    assert "not found" in ran.errors


def test_helm_pulls_by_a_regular_expression_with_named_groups(
    helm: Client, place: str, tmp_path: Path
) -> None:
    assert helm.pull(f"{place}/team-web/web", "--version", "1.2.3", into=tmp_path / "out") == WEB


def test_the_same_name_is_another_chart_under_another_host(
    helm: Client, server: Server, tmp_path: Path
) -> None:
    for host, archive in (("localhost", BY_LOCALHOST), ("127.0.0.1", BY_ADDRESS)):
        reference = f"oci://{host}:{server.port}/shop/shop"
        assert helm.pull(reference, "--version", "1.0.0", into=tmp_path / host) == archive


def test_a_chart_comes_from_the_first_of_several_targets_that_has_it(
    helm: Client, place: str, tmp_path: Path
) -> None:
    for version, archive in (("1.0.0", FIRST_REDIS), ("2.0.0", SECOND_REDIS)):
        pulled = helm.pull(f"{place}/prom/redis", "--version", version, into=tmp_path / version)
        assert pulled == archive


def test_the_chart_proxys_own_name_leads_to_us(asked: Asked) -> None:
    path = "/v2/argo.example.test/charts/argo-cd/tags/list"
    listed = asked.get(path, host=PROXY).json()
    assert listed == asked.get(path).json()
    assert listed["tags"] == sorted(VERSIONS)
    assert asked.get("/v2/argo/argo-cd/tags/list", host=PROXY).status_code == 404


def test_crane_and_oras_pull_by_short_references(
    crane: Client, oras: Client, server: Server, tmp_path: Path
) -> None:
    name = f"{server.address}/images/team/app"
    assert crane.ok("digest", "--insecure", f"{name}:1.0").strip() == str(IMAGE.digest)
    assert crane.ok("ls", "--insecure", f"{server.address}/old/argo-cd").split() == [
        version for version in sorted(VERSIONS) if version not in {"6.0.0", "5.11.0-rc.1"}
    ]
    oras.ok("copy", "--from-plain-http", f"{name}:1.0", "--to-oci-layout", f"{tmp_path / 'layout'}:1.0")
    blobs = {path.name for path in (tmp_path / "layout" / "blobs" / "sha256").iterdir()}
    assert {IMAGE.digest.hex, *(Digest.of(blob).hex for blob in IMAGE.blobs)} <= blobs


def test_what_a_rule_denies_reaches_who_asked(helm: Client, place: str, crane: Client) -> None:
    message = "the team has moved: see https://wiki.example.test/charts"
    ran = helm.run("pull", f"{place}/gone/app", "--plain-http")
    assert ran.code == 1
    assert message in ran.errors
    ran = helm.run("pull", f"{place}/gone/app", "--plain-http", "--version", "1.0.0")
    assert ran.code == 1
    assert ("403" if helm.series == "3.17" else message) in ran.errors  # which asks HEAD: no body, no message
    told = crane.run("manifest", "--insecure", f"{place.removeprefix('oci://')}/gone/app:1.0.0")
    assert f"DENIED: gone/app: {message}" in told.errors


def test_who_asks_for_an_unknown_short_name_is_told_how_a_rule_would_help(
    helm: Client, crane: Client, place: str
) -> None:
    ran = helm.run("pull", f"{place}/bitnami/redis", "--plain-http")
    assert ran.code == 1
    assert 'in rules.yaml a rule with `repository: "bitnami/*"`' in ran.errors.replace("\\", "")
    told = crane.run("manifest", "--insecure", f"{place.removeprefix('oci://')}/bitnami/redis:1.0.0")
    assert "NAME_UNKNOWN: no rule matches bitnami/redis" in told.errors


MIRRORED = [
    ("images.example.test", "/v2/team/app"),
    ("images.example.test:5443", "/v2/team/app"),
    ("images.example.test", "/v2/images.example.test/team/app"),
]


@pytest.mark.parametrize(("namespace", "path"), MIRRORED)
def test_a_mirroring_client_names_the_host_in_ns_and_is_told_so(
    asked: Asked, namespace: str, path: str
) -> None:
    blob = Digest.of(IMAGE.blobs[1])
    for what in (f"manifests/{IMAGE.digest}", "manifests/1.0", f"blobs/{blob}"):
        get, head = (asked.get(f"{path}/{what}?ns={namespace}", method) for method in ("GET", "HEAD"))
        for answer in (get, head):
            assert (answer.status_code, answer.headers["oci-namespace"]) == (200, namespace)
        for name in ("docker-content-digest", "content-length", "content-type"):
            assert get.headers[name] == head.headers[name]
        assert (len(get.content), head.content) == (int(get.headers["content-length"]), b"")


def test_a_mirroring_client_that_names_us_means_nobody_else(asked: Asked, server: Server) -> None:
    own = server.address
    answer = asked.get(f"/v2/images/team/app/manifests/1.0?ns={own}", host=own)
    assert (answer.status_code, "oci-namespace" in answer.headers) == (200, False)


@pytest.mark.parametrize("namespace", ["images.example.test:5000", "elsewhere.example.test:443"])
def test_an_ns_with_a_port_that_is_no_key_is_an_unknown_name(asked: Asked, namespace: str) -> None:
    answer = asked.get(f"/v2/team/app/manifests/1.0?ns={namespace}")
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["code"] == "NAME_UNKNOWN"


@pytest.mark.parametrize(
    ("path", "archive"),
    [
        ("/argo/v2/argo-cd/manifests/5", ARGO["5.10.0"]),
        ("/argo.example.test/charts/v2/argo-cd/manifests/4.9.0", ARGO["4.9.0"]),
        ("/team-web/v2/web/manifests/1.2.3", WEB),
    ],
)
def test_a_path_before_v2_stands_in_front_of_the_name(asked: Asked, path: str, archive: bytes) -> None:
    manifest = asked.get(path)
    layer = manifest.json()["layers"][0]["digest"]
    before, _, _ = path.rpartition("/manifests/")
    assert asked.get(f"{before}/blobs/{layer}").content == archive
    assert asked.get(f"{before}/tags/list").status_code == 200


def test_a_digest_is_pulled_whatever_the_rule_hides(
    helm: Client, asked: Asked, place: str, tmp_path: Path
) -> None:
    digest = asked.get("/v2/argo/argo-cd/manifests/6.0.0").headers["docker-content-digest"]
    assert helm.pull(f"{place}/old/argo-cd@{digest}", into=tmp_path / "out") == ARGO["6.0.0"]
