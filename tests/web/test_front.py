"""The front as a whole, by raw socket: good answers, HEAD = GET, ranges, pages, one request at a time."""

import json
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.media_types import HELM_CHART_LAYER, OCI_IMAGE_INDEX, OCI_MANIFEST
from tests.composed import upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.web.conftest import ARCHIVES
from tests.web.live import Live, Reply, live, parse_reply, read_to_end, request_bytes
from tests.web.names import REDIS

pytestmark = pytest.mark.slow  # many small tests, seconds together

LAYER = ARCHIVES[0]
BLOB = f"/v2/{REDIS}/blobs/{Digest.of(LAYER)}"
MANIFEST = f"/v2/{REDIS}/manifests/1.2.3"
UNKNOWN = "sha256:" + "0" * 64

GOOD = [
    "/v2",
    "/v2/",
    "/charts.example.test/v2/",
    "/v2/_catalog",
    "/v2/_catalog?n=1",
    f"/v2/{REDIS}/tags/list",
    f"/v2/{REDIS}/tags/list?n=1",
    f"/v2/{REDIS}/referrers/{UNKNOWN}",
    f"/v2/{REDIS}/referrers/{UNKNOWN}?artifactType=a/b",
    MANIFEST,
    f"/v2/{REDIS}/manifests/v1.2.3",
    BLOB,
    "/healthz",
    "/readyz",
]
ABSENT = [
    (f"/v2/{REDIS}/manifests/9.9.9", "MANIFEST_UNKNOWN"),
    (f"/v2/{REDIS}/manifests/{UNKNOWN}", "MANIFEST_UNKNOWN"),
    (f"/v2/{REDIS}/blobs/{UNKNOWN}", "BLOB_UNKNOWN"),
    ("/v2/charts.example.test/nothing/tags/list", "NAME_UNKNOWN"),
    ("/v2/charts.example.test/nothing/manifests/1", "NAME_UNKNOWN"),
]


def without_age(reply: Reply) -> Reply:
    """Two answers may come a second apart."""
    return replace(reply, headers=[each for each in reply.headers if each[0] != b"age"])


def of_head(reply: Reply) -> dict[bytes, bytes]:
    """What HEAD and GET have in common; how long ago upstream was asked may differ by a second."""
    return {name: value for name, value in reply.headers if name not in (b"age", b"x-cache")}


@pytest.mark.parametrize("target", GOOD)
def test_a_good_path_is_answered_alike_to_get_and_head(gateway: Live, target: str) -> None:
    gateway.get(target)  # the first answer may have been a miss
    got, headed = gateway.get(target), gateway.raw("HEAD", target.encode())
    assert got.status == headed.status == 200
    assert of_head(got) == of_head(headed)
    assert headed.body == b""
    assert without_age(got) == without_age(gateway.asgi("GET", target.encode()))
    if not target.endswith("z"):
        assert without_age(headed) == without_age(gateway.asgi("HEAD", target.encode()))


@pytest.mark.parametrize(("target", "code"), ABSENT)
def test_what_nobody_has_is_404_alike_to_get_and_head(gateway: Live, target: str, code: str) -> None:
    got, headed = gateway.get(target), gateway.raw("HEAD", target.encode())
    assert (got.status, got.code) == (404, code)
    assert headed.status == 404
    assert of_head(got) == of_head(headed)
    assert headed.body == b""


@pytest.mark.parametrize("target", [*GOOD, *(target for target, _ in ABSENT)])
def test_lengths_are_exact_and_nothing_is_encoded_whatever_a_client_accepts(
    gateway: Live, target: str
) -> None:
    reply = gateway.get(target, {"Accept-Encoding": "gzip, br, zstd, deflate", "TE": "trailers, chunked"})
    assert reply.header("content-length") == str(len(reply.body))
    assert reply.header("content-type")
    assert reply.header("transfer-encoding") is None
    assert reply.header("content-encoding") is None
    assert reply.header("set-cookie") is None
    assert reply.header("access-control-allow-origin") is None
    assert reply.header("server") is None
    if not target.endswith("z"):
        assert reply.header("x-content-type-options") == "nosniff"
        assert reply.header("content-security-policy") == "sandbox"


def test_the_base_says_that_here_is_a_registry(gateway: Live) -> None:
    for target in ("/v2", "/v2/", "/some/prefix/v2", "/some/prefix/v2/"):
        reply = gateway.get(target)
        assert (reply.status, reply.body) == (200, b"{}")
        assert reply.header("docker-distribution-api-version") == "registry/2.0"
        assert reply.header("location") is None


def test_a_manifest_has_the_headers_that_clients_check(gateway: Live) -> None:
    reply = gateway.get(MANIFEST)
    digest = Digest.of(reply.body)
    assert reply.header("content-type") == OCI_MANIFEST
    assert reply.header("docker-content-digest") == str(digest)
    assert reply.header("etag") == f'"{digest}"'
    assert reply.header("cache-control") == "no-cache"
    assert reply.header("x-cache") == "hit"
    assert reply.header("x-cache-source") == "helm"
    by_digest = gateway.get(f"/v2/{REDIS}/manifests/{digest}")
    assert by_digest.body == reply.body
    assert by_digest.header("cache-control") == "public, max-age=31536000, immutable"
    assert by_digest.header("age") is None


@pytest.mark.parametrize("target", [MANIFEST, BLOB])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_a_client_has_already_is_not_sent_again(gateway: Live, target: str, method: str) -> None:
    etag = gateway.get(target).header("etag")
    assert etag is not None
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        reply = gateway.raw(method, target.encode(), [(b"If-None-Match", known.encode())])
        assert (reply.status, reply.body) == (304, b"")
        assert reply.header("etag") == etag
        assert reply.header("transfer-encoding") is None
    other = gateway.raw(method, target.encode(), [(b"If-None-Match", b'"other"')])
    assert other.status == 200


def test_a_blob_is_bytes_to_every_browser(gateway: Live) -> None:
    """H13: proxied content is the attacker's."""
    reply = gateway.get(BLOB)
    assert reply.body == LAYER
    assert reply.header("content-type") == "application/octet-stream"
    assert reply.header("x-content-type-options") == "nosniff"
    assert reply.header("content-security-policy") == "sandbox"
    assert reply.header("accept-ranges") == "bytes"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, len(LAYER)),
        ("bytes=5-9", 5, 10),
        ("bytes=-3", len(LAYER) - 3, len(LAYER)),
        (f"bytes=-{10**9}", 0, len(LAYER)),
        (f"bytes=7-{10**9}", 7, len(LAYER)),
    ],
)
def test_one_range_of_a_blob_is_that_part_of_it(gateway: Live, asked: str, start: int, stop: int) -> None:
    reply = gateway.get(BLOB, {"Range": asked})
    assert (reply.status, reply.body) == (206, LAYER[start:stop])
    assert reply.header("content-range") == f"bytes {start}-{stop - 1}/{len(LAYER)}"
    assert reply.header("content-length") == str(stop - start)


@pytest.mark.parametrize("asked", ["bytes=-0", f"bytes={len(LAYER)}-", f"bytes={10**300}"[:250] + "-"])
def test_a_range_outside_of_the_blob_cannot_be_met(gateway: Live, asked: str) -> None:
    reply = gateway.get(BLOB, {"Range": asked})
    assert (reply.status, reply.code) == (416, "UNSUPPORTED")
    assert reply.header("content-range") == f"bytes */{len(LAYER)}"


@pytest.mark.parametrize(
    "asked",
    [
        b"bytes=" + b"0-," * 2000,
        b"bytes=0-1,3-4",
        b"bytes=5-2",
        b"bytes=0-" + b"9" * 5000,
        "bytes=\u0661-\u0662".encode(),
        b"items=0-1",
        b"bytes=",
        b"bytes=a-b",
    ],
)
def test_a_range_that_is_none_or_many_gets_the_whole(gateway: Live, asked: bytes) -> None:
    """H7."""
    reply = gateway.raw("GET", BLOB.encode(), [(b"Range", asked)])
    assert (reply.status, reply.body) == (200, LAYER)


def test_manifests_and_lists_have_no_ranges(gateway: Live) -> None:
    for target in (MANIFEST, f"/v2/{REDIS}/tags/list"):
        reply = gateway.get(target, {"Range": "bytes=0-0"})
        assert reply.status == 200
        assert len(reply.body) > 1


@pytest.mark.parametrize("query", ["n=-1", "n=%EF%BC%91%EF%BC%90", "n=1_0", "n=9999999999999", "n=", "n=1.0"])
@pytest.mark.parametrize("path", ["/v2/_catalog", f"/v2/{REDIS}/tags/list"])
def test_a_page_that_is_none_is_refused(gateway: Live, path: str, query: str) -> None:
    """H12."""
    reply = gateway.get(f"{path}?{query}")
    assert (reply.status, reply.code) == (400, "UNSUPPORTED")


@pytest.mark.parametrize(("query", "status"), [("last=%00", 400), ("last=" + "a" * 10_000, 414)])
def test_a_last_that_no_list_can_hold_is_refused(gateway: Live, query: str, status: int) -> None:
    assert gateway.get(f"/v2/{REDIS}/tags/list?{query}").status == status


def test_a_page_of_none_is_empty_and_leads_nowhere(gateway: Live) -> None:
    reply = gateway.get(f"/v2/{REDIS}/tags/list?n=0")
    assert json.loads(reply.body) == {"name": REDIS, "tags": []}
    assert reply.header("link") is None


def test_the_catalog_has_what_was_pulled_under_the_names_it_was_asked_for(gateway: Live) -> None:
    assert json.loads(gateway.get("/v2/_catalog").body) == {"repositories": [REDIS]}


def test_referrers_of_what_nobody_refers_to_are_an_empty_image_index(gateway: Live) -> None:
    reply = gateway.get(f"/v2/{REDIS}/referrers/{UNKNOWN}")
    assert reply.header("content-type") == OCI_IMAGE_INDEX
    assert json.loads(reply.body) == {"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": []}
    filtered = gateway.get(f"/v2/{REDIS}/referrers/{UNKNOWN}?artifactType=a/b")
    assert filtered.header("oci-filters-applied") == "artifactType"


def test_the_host_a_client_names_is_in_no_answer_and_in_nothing_that_is_kept(gateway: Live) -> None:
    """H5: poisoned by one client, served to all."""
    for target in ("/v2", "/v2/", f"/v2/{REDIS}/tags/list?n=1", "/v2/_catalog?n=1", MANIFEST, "/v2/nothing"):
        for method in (b"GET", b"HEAD"):
            reply = gateway.exchange(
                method + b" " + target.encode() + b" HTTP/1.1\r\nHost: evil.com\r\n"
                b"X-Forwarded-Host: evil.com\r\nForwarded: host=evil.com\r\nConnection: close\r\n\r\n"
            )
            assert b"evil" not in reply
    link = gateway.get(f"/v2/{REDIS}/tags/list?n=1").header("link")
    assert link == f'</v2/{REDIS}/tags/list?n=1&last=1.0.0_build.5>; rel="next"'
    catalog = sqlite3.connect(gateway.composed.data_dir.catalog)
    assert "evil" not in "\n".join(catalog.iterdump())
    catalog.close()


def test_two_requests_on_one_connection_are_both_answered(gateway: Live) -> None:
    first = f"GET {BLOB} HTTP/1.1\r\nHost: gateway.test\r\n\r\n".encode()
    received = gateway.exchange(first + request_bytes("GET", b"/v2/"))
    assert received.count(b"HTTP/1.1 200") == 2
    assert LAYER in received
    assert received.endswith(b"{}")


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: gateway.test\r\n\r\n"


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_body_with_a_length_that_is_chunked_too_ends_the_connection(gateway: Live, method: bytes) -> None:
    """H1: what follows it is not run as a request."""
    received = gateway.exchange(
        method + b" /v2/ HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED
    )
    reply = parse_reply(received)
    assert (reply.status, reply.code) == (400, "NAME_INVALID")
    assert received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "body", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
def test_a_body_where_none_is_read_is_refused_and_ends_the_connection(gateway: Live, body: bytes) -> None:
    received = gateway.exchange(b"GET /v2/ HTTP/1.1\r\nHost: gateway.test\r\n" + body + SMUGGLED)
    reply = parse_reply(received)
    assert (reply.status, reply.code) == (413, "UNSUPPORTED")
    assert received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v2/ HTTP/1.1\r\nHost : gateway.test\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50 + b"\r\n\r\n",
    ],
)
def test_a_head_that_readers_could_differ_about_is_refused_and_ends_the_connection(
    gateway: Live, head: bytes
) -> None:
    received = gateway.exchange(head + SMUGGLED)
    assert received.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("version", [b"13", b"12"])
def test_no_request_becomes_a_web_socket(gateway: Live, version: bytes) -> None:
    received = gateway.exchange(
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: " + version + b"\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert (parse_reply(received).status, parse_reply(received).body) == (200, b"{}")


def test_a_client_that_leaves_in_the_middle_harms_nobody(gateway: Live) -> None:
    for _ in range(3):
        with gateway.connect() as connection:
            connection.sendall(request_bytes("GET", BLOB.encode()))
            connection.recv(10)
    assert gateway.get(BLOB).body == LAYER


@pytest.mark.parametrize("size_bytes", [0, len(LAYER) - 1, 1 << 20])
def test_a_blob_of_another_size_on_the_disk_is_fetched_again(
    size_bytes: int, tmp_path: Path, repo: HelmRepo
) -> None:
    with live(tmp_path, "upstreams:\n" + upstream(repo.url)) as gateway:
        assert gateway.get(MANIFEST).status == 200
        digest = Digest.of(LAYER)
        os.truncate(gateway.composed.data_dir.blobs / "sha256" / digest.hex[:2] / digest.hex, size_bytes)
        assert gateway.get(BLOB).body == LAYER


@pytest.mark.slow
def test_a_blob_that_shrinks_under_way_is_cut_short_of_its_length(tmp_path: Path) -> None:
    """Never a whole answer of wrong bytes: the client sees that it is not all."""
    archive = make_chart("big", "1.0.0", {f"{number}.bin": os.urandom(4 << 20) for number in range(4)})
    digest = Digest.of(archive)
    blob = f"/v2/charts.example.test/big/blobs/{digest}"
    with (
        HelmRepo(repository_of(archive)) as repo,
        live(tmp_path, "upstreams:\n" + upstream(repo.url)) as running,
    ):
        assert running.get("/v2/charts.example.test/big/manifests/1.0.0").status == 200
        with running.connect(receive_bytes=4096) as connection:
            connection.sendall(request_bytes("GET", blob.encode()))
            received = connection.recv(4096)
            os.truncate(running.composed.data_dir.blobs / "sha256" / digest.hex[:2] / digest.hex, 1 << 20)
            received += read_to_end(connection)
    reply = parse_reply(received)
    assert (reply.status, reply.header("content-length")) == (200, str(len(archive)))
    assert len(reply.body) < len(archive)
    assert archive.startswith(reply.body)


VERSIONS = [f"1.{minor}.{patch}" for minor in range(50) for patch in range(50)]


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A chart with 2,500 versions."""
    entry = "  - apiVersion: v2\n    name: many\n    urls: [many.tgz]\n    version: {}\n"
    index = "apiVersion: v1\nentries:\n  many:\n" + "".join(map(entry.format, VERSIONS))
    with HelmRepo({"index.yaml": index.encode()}) as repo:
        rules = "upstreams:\n" + upstream(repo.url, "charts.example.test")
        with live(tmp_path_factory.mktemp("crowded"), rules) as running:
            yield running


def follow(gateway: Live, target: str | None) -> Iterator[Sequence[str]]:
    while target is not None:
        reply = gateway.get(target)
        yield json.loads(reply.body)["tags"]
        link = reply.header("link")
        match = None if link is None else re.fullmatch(r'<(/v2/[^>]+)>; rel="next"', link)
        assert link is None or match is not None
        target = None if match is None else match[1]


@pytest.mark.parametrize("n", [1000, 700, 2500, 99999])
def test_pages_led_by_links_are_the_whole_list_once(crowded: Live, n: int) -> None:
    pages = list(follow(crowded, f"/v2/charts.example.test/many/tags/list?n={n}"))
    assert all(len(page) == min(n, 1000) for page in pages[:-1])
    assert [tag for page in pages for tag in page] == sorted(VERSIONS)


def test_without_n_all_tags_come_at_once(crowded: Live) -> None:
    (page,) = follow(crowded, "/v2/charts.example.test/many/tags/list")
    assert list(page) == sorted(VERSIONS)


def test_a_last_that_is_no_tag_still_has_tags_after_it(crowded: Live) -> None:
    (page,) = follow(crowded, "/v2/charts.example.test/many/tags/list?last=1.9.8zzz")
    assert list(page) == ["1.9.9"]


def test_an_empty_catalog_is_an_empty_list_and_never_null(crowded: Live) -> None:
    assert crowded.get("/v2/_catalog").body == b'{"repositories":[]}'


def test_a_layer_has_its_media_type_in_the_manifest_only(gateway: Live) -> None:
    (layer,) = json.loads(gateway.get(MANIFEST).body)["layers"]
    assert (layer["mediaType"], layer["digest"]) == (HELM_CHART_LAYER, str(Digest.of(LAYER)))
