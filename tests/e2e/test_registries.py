"""Real clients copy artifacts of every kind through us, from a real registry into another, byte for byte."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from tests import clients
from tests.e2e.client_commands import Client
from tests.e2e.gateway_process import Server, Site
from tests.e2e.real_registry import ACCOUNT, RealRegistry, running_registry
from tests.fakes.charts import make_chart, pack
from tests.fakes.images import DOCKER, OCI, Artifact, signature_by_tag, tag_of

pytestmark = pytest.mark.e2e

HOST = "registry.example.test"
LAYERS = [pack({f"etc/{name}": name.encode() * 5000}) for name in ("first", "second")]
IMAGE = OCI.image(*LAYERS)
INDEX = OCI.image_index(*LAYERS)
DOCKER_LIST = DOCKER.image_index(*LAYERS)
ARTIFACTS = {"team/app": IMAGE, "team/multi": INDEX, "team/docker": DOCKER_LIST}
CHART = make_chart("demo", "1.2.3", {"values.yaml": b"a: 1\n"}, description="Signed")
SIGNATURE_TYPE = "application/vnd.example.signature"


@dataclass(frozen=True, slots=True)
class House:
    """A registry with content, us in front of it, and an empty registry to copy into."""

    upstream: RealRegistry
    gateway: Server
    destination: RealRegistry
    chart: Digest
    signature: Digest

    def ours(self, name: str) -> str:
        return f"{self.gateway.address}/{HOST}/{name}"

    def there(self, name: str) -> str:
        return f"{self.destination.address}/{name}"


def rules_for(registry: RealRegistry, *more: str) -> str:
    keys = "kind: registry, allow_private: true, access: anonymous"
    return f"version: 1\nupstreams:\n  {HOST}: {{url: '{registry.url}', {', '.join([keys, *more])}}}\n"


@pytest.fixture(scope="module", params=clients.REGISTRIES)
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    program = clients.registry(request.param)
    with (
        running_registry(program, folder / "upstream") as upstream,
        running_registry(program, folder / "destination") as destination,
    ):
        chart, signature = _fill(upstream, folder)
        site = Site(folder)
        site.write_rules(rules_for(upstream))
        with site.serve() as gateway:
            yield House(upstream, gateway, destination, chart, signature)


def _fill(registry: RealRegistry, folder: Path) -> tuple[Digest, Digest]:
    """Push an image, an image index, and a chart as people sign them: twice, attached and under a tag."""
    for name, artifact in ARTIFACTS.items():
        artifact.push_to(registry, name, "1.0")
    tag, signature = signature_by_tag(IMAGE)
    signature.push_to(registry, "team/app", tag)
    helm = Client(clients.helm("4"), folder)
    oras = Client(clients.oras(), folder)
    (folder / "demo-1.2.3.tgz").write_bytes(CHART)
    helm.ok("push", "demo-1.2.3.tgz", f"oci://{registry.address}/charts", "--plain-http")
    (folder / "signature").write_text("MEUCIQ==")
    name = f"{registry.address}/charts/demo"
    attached = oras.ok(
        "attach",
        "--plain-http",
        "--artifact-type",
        SIGNATURE_TYPE,
        "--format",
        "json",
        f"{name}:1.2.3",
        "signature",
    )
    chart = Digest.parse(oras.ok("resolve", "--plain-http", f"{name}:1.2.3").strip())
    return chart, Digest.parse(json.loads(attached)["digest"])


@pytest.mark.parametrize(("name", "artifact"), ARTIFACTS.items(), ids=ARTIFACTS)
def test_crane_copies_without_changing_a_digest(
    crane: Client, house: House, name: str, artifact: Artifact
) -> None:
    crane.ok("copy", "--insecure", f"{house.ours(name)}:1.0", f"{house.there(f'crane/{name}')}:1.0")
    assert crane.ok("digest", "--insecure", f"{house.there(f'crane/{name}')}:1.0").strip() == str(
        artifact.digest
    )
    assert "PASS" in crane.ok("validate", "--insecure", "--remote", f"{house.ours(name)}:1.0")


@pytest.mark.parametrize(("name", "artifact"), ARTIFACTS.items(), ids=ARTIFACTS)
def test_skopeo_copies_without_changing_a_digest(
    skopeo: Client, house: House, name: str, artifact: Artifact
) -> None:
    skopeo.ok(
        *("copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"),
        f"docker://{house.ours(name)}:1.0",
        f"docker://{house.there(f'skopeo/{name}')}:1.0",
    )
    assert house.destination.has(f"skopeo/{name}", artifact.digest)
    assert all(house.destination.has(f"skopeo/{name}", part.digest) for part in artifact.parts)


@pytest.mark.parametrize(("name", "artifact"), ARTIFACTS.items(), ids=ARTIFACTS)
def test_oras_copies_without_changing_a_digest(
    oras: Client, house: House, name: str, artifact: Artifact
) -> None:
    _copy_with_referrers(oras, f"{house.ours(name)}:1.0", f"{house.there(f'oras/{name}')}:1.0")
    assert house.destination.has(f"oras/{name}", artifact.digest)
    assert all(house.destination.has(f"oras/{name}", part.digest) for part in artifact.parts)


def test_oras_copies_a_chart_with_the_signature_that_is_attached_to_it(oras: Client, house: House) -> None:
    _copy_with_referrers(oras, f"{house.ours('charts/demo')}:1.2.3", f"{house.there('oras/demo')}:1.2.3")
    found = oras.ok("resolve", "--plain-http", f"{house.there('oras/demo')}:1.2.3")
    assert found.strip() == str(house.chart)
    assert _referrers(oras, house.there("oras/demo"), house.chart) == [str(house.signature)]


def test_referrers_are_seen_through_us(oras: Client, house: House) -> None:
    """Distribution has no referrers API: what it holds of them lies under the tag schema."""
    assert _referrers(oras, house.ours("charts/demo"), house.chart) == [str(house.signature)]
    answer = house.gateway.get(f"/v2/{HOST}/charts/demo/referrers/{house.chart}")
    (referrer,) = answer.json()["manifests"]
    assert (referrer["digest"], referrer["artifactType"]) == (str(house.signature), SIGNATURE_TYPE)


def test_a_signature_under_a_tag_is_copied_like_any_artifact(crane: Client, house: House) -> None:
    tag, signature = signature_by_tag(IMAGE)
    assert tag == f"{tag_of(IMAGE.digest)}.sig"
    crane.ok("copy", "--insecure", f"{house.ours('team/app')}:{tag}", f"{house.there('sig/app')}:{tag}")
    assert house.destination.has("sig/app", signature.digest)


def test_helm_pulls_a_chart_that_was_pushed_as_an_artifact(
    helm: Client, house: House, tmp_path: Path
) -> None:
    reference = f"oci://{house.ours('charts/demo')}"
    assert helm.pull(reference, "--version", "1.2.3", into=tmp_path / "pulled") == CHART


def test_tags_are_listed_as_they_are(crane: Client, house: House) -> None:
    tag, _ = signature_by_tag(IMAGE)
    assert sorted(crane.ok("ls", "--insecure", house.ours("team/app")).split()) == sorted(["1.0", tag])


def test_what_the_registry_has_not_is_said_so(crane: Client, house: House) -> None:
    ran = crane.run("manifest", "--insecure", f"{house.ours('team/app')}:9.9")
    assert (ran.code, "MANIFEST_UNKNOWN" in ran.errors) == (1, True)
    assert house.gateway.get(f"/v2/{HOST}/team/nothing/manifests/1.0").status_code == 404


@pytest.mark.parametrize("series", clients.REGISTRIES)
def test_what_was_pulled_is_there_when_the_registry_is_gone(
    crane: Client, site: Site, tmp_path: Path, series: str
) -> None:
    with running_registry(clients.registry(series), tmp_path / "upstream") as upstream:
        INDEX.push_to(upstream, "team/multi", "1.0")
        site.write_rules(rules_for(upstream))
        with site.serve() as server:
            crane.ok("validate", "--insecure", "--remote", f"{server.address}/{HOST}/team/multi:1.0")
    with site.serve() as server:
        crane.ok("validate", "--insecure", "--remote", f"{server.address}/{HOST}/team/multi:1.0")


@pytest.mark.parametrize("series", clients.REGISTRIES)
def test_a_registry_with_a_password_is_asked_with_ours_alone(
    crane: Client, site: Site, tmp_path: Path, series: str
) -> None:
    secrets = {"GATEWAY_SECRET_USER": ACCOUNT.user, "GATEWAY_SECRET_WORD": ACCOUNT.password}
    login = ("username_env: GATEWAY_SECRET_USER", "password_env: GATEWAY_SECRET_WORD")
    program = clients.registry(series)
    with running_registry(program, tmp_path / "upstream", has_password=True) as upstream:
        IMAGE.push_to(upstream, "team/app", "1.0")
        site.write_rules(rules_for(upstream))
        with site.serve() as server:  # without a password nothing can be told from what is not there
            assert server.get(f"/v2/{HOST}/team/app/manifests/1.0").status_code == 404
        site.write_rules(rules_for(upstream, *login))
        with site.serve(environment={**secrets, "GATEWAY_SECRET_WORD": "wrong"}) as server:
            assert server.get(f"/v2/{HOST}/team/app/manifests/1.0").status_code == 403
        with site.serve(environment=secrets) as server:
            crane.ok("validate", "--insecure", "--remote", f"{server.address}/{HOST}/team/app:1.0")
            assert ACCOUNT.password not in server.log


def test_a_login_of_docker_is_used_for_the_registry_it_was_made_for(
    crane: Client, site: Site, tmp_path: Path
) -> None:
    with running_registry(clients.registry("3"), tmp_path / "upstream", has_password=True) as upstream:
        IMAGE.push_to(upstream, "team/app", "1.0")
        place = upstream.url.removeprefix("http://")
        crane.ok("auth", "login", place, "-u", ACCOUNT.user, "-p", ACCOUNT.password)
        site.write_rules(rules_for(upstream))
        with site.serve(environment={"DOCKER_CONFIG": str(crane.home / ".docker")}) as server:
            crane.ok("validate", "--insecure", "--remote", f"{server.address}/{HOST}/team/app:1.0")


def _copy_with_referrers(oras: Client, source: str, destination: str) -> None:
    oras.ok("copy", "-r", "--from-plain-http", "--to-plain-http", source, destination)


def _referrers(oras: Client, name: str, subject: Digest) -> list[str]:
    told = json.loads(oras.ok("discover", "--plain-http", "--format", "json", f"{name}@{subject}"))
    return [referrer["digest"] for referrer in told.get("referrers") or told.get("manifests") or []]
