"""The fake registry is one to real clients too: what holds against it holds against a registry."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from tests import clients
from tests.e2e.client_commands import Client
from tests.e2e.real_registry import running_registry
from tests.fakes.charts import make_chart, pack
from tests.fakes.images import IN_TOTO, OCI, attestation_of, helm_artifact, signature_of
from tests.fakes.registry import Auth, BlobHost, FakeRegistry

pytestmark = pytest.mark.e2e

LAYERS = [pack({f"etc/{name}": name.encode() * 5000}) for name in ("first", "second")]
INDEX = OCI.image_index(*LAYERS)
ATTACHED = (signature_of(INDEX), attestation_of(INDEX))
CHART = make_chart("demo", "1.2.3")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake:
        INDEX.push_to(fake, "team/multi", "1.0")
        for artifact in ATTACHED:
            artifact.push_to(fake, "team/multi")
        helm_artifact(CHART).push_to(fake, "charts/demo", "1.2.3")
        fake.realm = f"http://{fake.address}/token"  # crane follows from localhost to no bare address
        yield fake


@pytest.mark.parametrize("auth", ["none", "bearer"])
def test_crane_validates_every_byte_also_with_an_anonymous_token(
    crane: Client, fake: FakeRegistry, auth: Auth
) -> None:
    fake.auth = auth
    fake.page_size = 1
    assert "PASS" in crane.ok("validate", "--insecure", "--remote", f"{fake.address}/team/multi:1.0")
    assert crane.ok("ls", "--insecure", f"{fake.address}/team/multi").split() == ["1.0"]
    assert fake.count("/token") == (2 if auth == "bearer" else 0)


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_crane_signs_in_and_follows_blobs_to_their_host(
    crane: Client, fake: FakeRegistry, auth: Auth
) -> None:
    fake.auth = auth
    fake.issuer.has_anonymous = False
    account = fake.issuer.account
    crane.ok("auth", "login", fake.address, "-u", account.user, "-p", account.password)
    with BlobHost(fake) as blob_host:
        fake.blobs_at = f"http://localhost:{blob_host.port}"
        crane.ok("validate", "--insecure", "--remote", f"{fake.address}/team/multi:1.0")
        assert blob_host.count() > 0
        assert all("authorization" not in request.headers for request in blob_host.requests)


def test_oras_discovers_what_is_attached_by_the_referrers_api(oras: Client, fake: FakeRegistry) -> None:
    name = f"{fake.address}/team/multi:1.0"
    told = json.loads(oras.ok("discover", "--plain-http", "--format", "json", name))
    assert {one["digest"] for one in told["referrers"]} == {str(one.digest) for one in ATTACHED}
    command = ("discover", "--plain-http", "--format", "json", "--artifact-type", IN_TOTO, name)
    (referrer,) = json.loads(oras.ok(*command))["referrers"]
    assert referrer["digest"] == str(ATTACHED[1].digest)


def test_helm_pulls_a_chart(helm: Client, fake: FakeRegistry, tmp_path: Path) -> None:
    reference = f"oci://{fake.address}/charts/demo"
    assert helm.pull(reference, "--version", "1.2.3", into=tmp_path / "pulled") == CHART


@pytest.mark.parametrize("series", clients.REGISTRIES)
def test_distribution_mirrors_it(crane: Client, fake: FakeRegistry, tmp_path: Path, series: str) -> None:
    with running_registry(clients.registry(series), tmp_path / "mirror", mirrors=fake.origin) as mirror:
        crane.ok("validate", "--insecure", "--remote", f"{mirror.address}/team/multi:1.0")
        crane.ok("validate", "--insecure", "--remote", f"{mirror.address}/team/multi@{INDEX.digest}")
    assert fake.count_of_blob("team/multi", Digest.of(LAYERS[0])) >= 1
