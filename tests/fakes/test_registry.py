"""The fake registry and its kin are honest, and each of their faults is the fault it says."""

import base64
import hashlib
from collections.abc import Iterator

import httpx
import pytest

from gateway.oci.digest import Digest
from gateway.oci.media_types import OCI_IMAGE_INDEX, OCI_MANIFEST
from tests.fakes.chart_proxy import FakeChartProxy, converted
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.images import (
    IN_TOTO,
    OCI,
    attached,
    attestation_of,
    referrers_index,
    signature_of,
)
from tests.fakes.registry import BlobHost, FakeRegistry
from tests.fakes.tokens import TokenServer

pytestmark = pytest.mark.slow  # many small tests, seconds together

IMAGE = OCI.image(1000, 2000)
CHART = make_chart("demo", "1.2.3", description="A demo")
UNHEARD_OF = Digest.of(b"unheard of")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        IMAGE.push_to(registry, "team/app", "1.0")
        yield registry


@pytest.fixture
def client(registry: FakeRegistry) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=registry.origin, trust_env=False, timeout=10) as client:
        yield client


def _code(answer: httpx.Response) -> tuple[int, str]:
    (error,) = answer.json()["errors"]
    return answer.status_code, error["code"]


def test_it_says_that_it_is_a_registry_until_it_must_not(
    registry: FakeRegistry, client: httpx.Client
) -> None:
    assert client.get("/v2/").headers["docker-distribution-api-version"] == "registry/2.0"
    registry.has_version_header = False
    assert "docker-distribution-api-version" not in client.get("/v2/").headers


def test_a_manifest_is_the_same_by_tag_and_by_digest_and_head_is_get_without_the_body(
    registry: FakeRegistry, client: httpx.Client
) -> None:
    for reference in ("1.0", IMAGE.digest):
        path = registry.manifest_path("team/app", reference)
        told, given = client.head(path), client.get(path)
        assert (given.content, given.headers["content-type"]) == (IMAGE.manifest, OCI_MANIFEST)
        assert given.headers["docker-content-digest"] == str(IMAGE.digest)
        assert (told.status_code, told.headers, told.content) == (200, given.headers, b"")
        assert registry.count_of_manifest("team/app", reference) == 1
        assert client.get(path, headers={"if-none-match": given.headers["etag"]}).status_code == 304


def test_what_is_not_there_is_named_for_what_is_missing(client: httpx.Client) -> None:
    assert _code(client.get("/v2/team/none/manifests/1.0")) == (404, "NAME_UNKNOWN")
    assert _code(client.get("/v2/team/app/manifests/2.0")) == (404, "MANIFEST_UNKNOWN")
    assert _code(client.get(f"/v2/team/app/manifests/{UNHEARD_OF}")) == (404, "MANIFEST_UNKNOWN")
    assert _code(client.get(f"/v2/team/app/blobs/{UNHEARD_OF}")) == (404, "BLOB_UNKNOWN")
    assert _code(client.get("/v2/team/app/blobs/sha256:short")) == (400, "DIGEST_INVALID")
    assert _code(client.put("/v2/team/app/manifests/1.0")) == (405, "UNSUPPORTED")
    assert client.get("/index.yaml").status_code == 404


def test_a_kind_that_is_not_accepted_is_not_there(client: httpx.Client) -> None:
    asked = [
        client.get("/v2/team/app/manifests/1.0", headers={"accept": kind})
        for kind in (OCI_IMAGE_INDEX, OCI_MANIFEST)
    ]
    assert [answer.status_code for answer in asked] == [404, 200]


def test_deleting_a_tag_leaves_the_digest_and_deleting_the_manifest_leaves_neither(
    registry: FakeRegistry, client: httpx.Client
) -> None:
    by_tag, by_digest = (registry.manifest_path("team/app", what) for what in ("1.0", IMAGE.digest))
    registry.delete_tag("team/app", "1.0")
    assert [client.get(path).status_code for path in (by_tag, by_digest)] == [404, 200]
    IMAGE.push_to(registry, "team/app", "1.0")
    registry.delete_manifest("team/app", IMAGE.digest)
    assert [client.get(path).status_code for path in (by_tag, by_digest)] == [404, 404]


def test_the_digest_header_can_be_absent_or_a_lie(registry: FakeRegistry, client: httpx.Client) -> None:
    path = registry.manifest_path("team/app", "1.0")
    registry.digest_told = UNHEARD_OF
    assert client.head(path).headers["docker-content-digest"] == str(UNHEARD_OF)
    registry.has_digest_header = False
    assert "docker-content-digest" not in client.head(path).headers


def test_head_can_be_refused_where_get_is_not(registry: FakeRegistry, client: httpx.Client) -> None:
    registry.has_head = False
    path = registry.manifest_path("team/app", "1.0")
    assert (client.head(path).status_code, client.get(path).status_code) == (405, 200)


def test_tags_come_in_pages_that_lead_to_each_other(registry: FakeRegistry, client: httpx.Client) -> None:
    for patch in range(5):
        registry.push("team/app", f"2.{patch}", IMAGE.manifest, IMAGE.media_type)
    assert len(client.get("/v2/team/app/tags/list").json()["tags"]) == 6
    registry.page_size = 4
    pages, path = [], "/v2/team/app/tags/list?n=100"
    while path:
        answer = client.get(path)
        pages.append(answer.json()["tags"])
        path = answer.links.get("next", {}).get("url", "")
    assert pages == [["1.0", "2.0", "2.1", "2.2"], ["2.3", "2.4"]]


def test_a_blob_comes_whole_or_from_a_byte_on(registry: FakeRegistry, client: httpx.Client) -> None:
    content = IMAGE.blobs[2]
    path = registry.blob_path("team/app", Digest.of(content))
    assert client.get(path).content == content
    part = client.get(path, headers={"range": "bytes=1500-"})
    assert (part.status_code, part.content) == (206, content[1500:])
    assert part.headers["content-range"] == "bytes 1500-1999/2000"
    assert client.get(path, headers={"range": "bytes=2000-"}).status_code == 416
    registry.has_ranges = False
    assert client.get(path, headers={"range": "bytes=1500-"}).content == content
    assert client.head(path).headers["content-length"] == "2000"


def test_a_blob_breaks_where_it_shall_and_as_often(registry: FakeRegistry, client: httpx.Client) -> None:
    content = IMAGE.blobs[2]
    digest = Digest.of(content)
    registry.faults_of_blob("team/app", digest).breaks_at = [700, 0]
    path, received = registry.blob_path("team/app", digest), b""
    assert client.head(path).status_code == 200
    for come in (700, 700, 2000):
        with client.stream("GET", path, headers={"range": f"bytes={len(received)}-"}) as answer:
            try:
                for chunk in answer.iter_raw():
                    received += chunk
            except httpx.RemoteProtocolError:
                assert come < 2000
        assert len(received) == come
    assert received == content


def test_a_blob_can_lie_on_another_host_that_logs_what_it_was_sent(
    registry: FakeRegistry, client: httpx.Client
) -> None:
    content = IMAGE.blobs[1]
    path = registry.blob_path("team/app", Digest.of(content))
    with BlobHost(registry) as blob_host:
        registry.blobs_at = blob_host.origin
        sent = client.get(
            path, headers={"authorization": "Basic x", "range": "bytes=10-"}, follow_redirects=True
        )
        assert (sent.history[0].status_code, sent.status_code, sent.content) == (307, 206, content[10:])
        assert "authorization" not in blob_host.requests[0].headers
        assert httpx.get(f"{blob_host.origin}/{UNHEARD_OF}", trust_env=False).status_code == 404


def test_wrong_content_is_served_under_another_digest(registry: FakeRegistry, client: httpx.Client) -> None:
    registry.put_wrong_blob("team/app", UNHEARD_OF, b"other")
    registry.put_wrong_manifest("team/app", UNHEARD_OF, IMAGE.manifest, OCI_MANIFEST)
    assert client.get(registry.blob_path("team/app", UNHEARD_OF)).content == b"other"
    answer = client.get(registry.manifest_path("team/app", UNHEARD_OF))
    assert (answer.content, answer.headers["docker-content-digest"]) == (IMAGE.manifest, str(UNHEARD_OF))


def test_basic_opens_with_the_password_and_nothing_else(registry: FakeRegistry, client: httpx.Client) -> None:
    registry.auth = "basic"
    refused = client.get("/v2/team/app/manifests/1.0", auth=("robot", "wrong"))
    assert _code(refused) == (401, "UNAUTHORIZED")
    assert refused.headers["www-authenticate"] == 'Basic realm="fake"'
    assert client.get("/v2/team/app/manifests/1.0", auth=("robot", "s3cret")).content == IMAGE.manifest
    assert registry.requests[-1].headers["authorization"] == registry.issuer.account.authorization


def _dance(client: httpx.Client, path: str, authorization: str | None = None) -> httpx.Response:
    """Ask, follow the challenge to its realm, and ask again with the token."""
    refused = client.get(path)
    kind, _, rest = refused.headers["www-authenticate"].partition(" ")
    assert (refused.status_code, kind) == (401, "Bearer")
    parts = dict(part.split("=", 1) for part in rest.split(","))
    challenge = {name: value.strip('"') for name, value in parts.items()}
    realm = challenge.pop("realm")
    headers = {"authorization": authorization} if authorization else {}
    given = client.get(realm, params=challenge, headers=headers)
    if given.status_code != 200:
        return given
    token = given.json().get("token") or given.json()["access_token"]
    return client.get(path, headers={"authorization": f"Bearer {token}"})


def test_a_token_opens_what_it_was_given_for_until_it_is_revoked(
    registry: FakeRegistry, client: httpx.Client
) -> None:
    registry.auth = "bearer"
    IMAGE.push_to(registry, "team/other", "1.0")
    assert _dance(client, "/v2/team/app/manifests/1.0").content == IMAGE.manifest
    token = {"authorization": f"Bearer {registry.issuer.issued[-1]}"}
    assert client.get("/v2/", headers=token).status_code == 200
    assert client.get("/v2/team/other/manifests/1.0", headers=token).status_code == 401
    registry.requires_scope = False
    assert client.get("/v2/team/other/manifests/1.0", headers=token).status_code == 200
    registry.revoke_tokens()
    assert client.get("/v2/team/app/manifests/1.0", headers=token).status_code == 401
    assert registry.count("/token") == 1


def test_who_may_have_a_token_is_a_switch(registry: FakeRegistry, client: httpx.Client) -> None:
    registry.auth = "bearer"
    path, account = "/v2/team/app/manifests/1.0", registry.issuer.account.authorization
    registry.issuer.private_names = {"team/app"}
    assert _code(_dance(client, path)) == (401, "UNAUTHORIZED")
    registry.issuer.has_anonymous = False
    assert registry.count("/token") == 1
    assert _code(_dance(client, path)) == (401, "UNAUTHORIZED")
    wrong = f"Basic {base64.b64encode(b'robot:wrong').decode()}"
    assert _code(_dance(client, path, wrong)) == (401, "UNAUTHORIZED")
    assert len(registry.issuer.issued) == 1
    registry.issuer.member = "access_token"
    assert _dance(client, path, account).content == IMAGE.manifest


def test_the_realm_can_be_another_host_and_say_any_lifetime(
    registry: FakeRegistry, client: httpx.Client
) -> None:
    registry.auth = "bearer"
    with TokenServer(registry.issuer) as token_server:
        registry.realm = token_server.realm
        assert _dance(client, "/v2/team/app/manifests/1.0").status_code == 200
        assert (registry.count("/token"), token_server.count("/token")) == (0, 1)
        registry.issuer.expires_in = "x"
        assert httpx.get(token_server.realm, trust_env=False).json()["expires_in"] == "x"
        registry.issuer.expires_in = None
        assert "expires_in" not in httpx.get(token_server.realm, trust_env=False).json()
    registry.challenge = 'Bearer realm="https://evil.test/t"'
    assert client.get("/v2/").headers["www-authenticate"] == registry.challenge


def test_referrers_are_those_that_name_the_subject_in_pages_and_by_kind(
    registry: FakeRegistry, client: httpx.Client
) -> None:
    attachments = [signature_of(IMAGE), attestation_of(IMAGE), attached(IMAGE, "text/plain", b"hi", by="me")]
    for artifact in (*attachments, OCI.image(10), attached(OCI.image(10), "text/plain", b"no")):
        artifact.push_to(registry, "team/app")
    path = f"/v2/team/app/referrers/{IMAGE.digest}"
    found = client.get(path)
    assert found.headers["content-type"] == OCI_IMAGE_INDEX
    assert found.json() == referrers_index(*attachments).members
    filtered = client.get(path, params={"artifactType": IN_TOTO})
    assert filtered.headers["oci-filters-applied"] == "artifactType"
    assert [one["digest"] for one in filtered.json()["manifests"]] == [str(attachments[1].digest)]
    registry.page_size = 2
    first = client.get(path)
    second = client.get(first.links["next"]["url"])
    assert first.json()["manifests"] + second.json()["manifests"] == found.json()["manifests"]
    assert "link" not in second.headers
    assert client.get(f"/v2/team/app/referrers/{UNHEARD_OF}").json()["manifests"] == []
    registry.has_referrers = False
    assert client.get(path).status_code == 404


def test_faults_of_one_path_leave_the_others_alone(registry: FakeRegistry, client: httpx.Client) -> None:
    registry.faults_of_manifest("team/app", "1.0").wrong_bytes = True
    by_tag = client.get(registry.manifest_path("team/app", "1.0")).content
    assert hashlib.sha256(by_tag).hexdigest() != IMAGE.digest.hex
    assert client.get(registry.manifest_path("team/app", IMAGE.digest)).content == IMAGE.manifest
    registry.faults_of_tags("team/app").status = 503
    assert client.get("/v2/team/app/tags/list").status_code == 503
    registry.faults_of_tokens().html = True
    assert client.get("/token").headers["content-type"].startswith("text/html")


def test_the_chart_proxy_converts_as_the_gateway_does_also_what_is_published_later() -> None:
    files = repository_of(CHART, make_chart("demo", "2.0.0+build.5"), make_chart("other", "v1.0.0"))
    with (
        FakeChartProxy({"charts.test/stable": files}) as proxy,
        httpx.Client(base_url=proxy.origin, trust_env=False) as client,
    ):
        name = "charts.test/stable/demo"
        assert client.get(f"/v2/{name}/tags/list").json()["tags"] == ["1.2.3", "2.0.0_build.5"]
        expected = converted(files, "demo")["1.2.3"]
        given = client.get(proxy.manifest_path(name, "1.2.3"))
        assert (given.content, Digest.of(given.content)) == (expected.manifest, expected.manifest_digest)
        assert client.get(proxy.blob_path(name, Digest.of(CHART))).content == CHART
        assert _code(client.get("/v2/elsewhere.test/demo/manifests/1.2.3")) == (404, "NAME_UNKNOWN")
        assert client.get("/v2/charts.test/stable/other/tags/list").json()["tags"] == ["v1.0.0"]
        proxy.repositories["charts.test/stable"] = repository_of(CHART, make_chart("demo", "3.0.0"))
        assert client.head(proxy.manifest_path(name, "3.0.0")).status_code == 200
