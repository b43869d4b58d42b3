"""threats.md 1a, N1 to N17, by raw socket and as ASGI: refused before anything acts."""

import json
from dataclasses import dataclass

import pytest

from tests.web.live import Headers, Live, Reply
from tests.web.names import REDIS

pytestmark = pytest.mark.slow  # many small tests, seconds together

NAME = b"charts.jetstack.io/cert-manager"
HEX = b"a" * 64


@dataclass(frozen=True, slots=True)
class Refused:
    """What an honest client never sends, and what it gets."""

    row: str
    target: bytes
    status: int = 400
    code: str = "NAME_INVALID"
    method: str = "GET"
    headers: Headers = ()

    def __str__(self) -> str:
        return f"{self.row} {self.method} {self.target[:60]!r}"


_OF_NAMES = [
    Refused("N1", b"/v2/charts.jetstack.io/%2e%2e/%2E./x/manifests/1"),
    Refused("N2", b"/v2/../../etc/passwd"),
    Refused("N2", b"/v2/a/../admin/api/rules"),
    Refused("N2", b"/v2/a/../b/manifests/1"),
    Refused("N2", b"/../v2/"),
    Refused("N2", b"/../v2/_catalog"),
    Refused("N3", b"/v2/charts.jetstack.io%2Fcert-manager/manifests/1.11.2"),
    Refused("N3", b"/v2/charts.jetstack.io%2fcert-manager/manifests/1.11.2"),
    Refused("N3", b"/v2/charts.jetstack.io%5Ccert-manager/manifests/1.11.2"),
    Refused("N3", b"/v2/charts.jetstack.io%5ccert-manager/manifests/1.11.2"),
    Refused("N3", b"/v2%2f_catalog"),
    Refused("N4", b"/v2/a%252e%252e/b/manifests/1"),
    Refused("N4", b"/v2/a%25/b/manifests/1"),
    Refused("N5", b"/v2/a%00b/manifests/1"),
    Refused("N5", b"/v2/a%0d%0aX-Evil:1/manifests/1"),
    Refused("N5", b"/v2/a%09b/manifests/1"),
    Refused("N5", b"/v2/a%7fb/manifests/1"),
    Refused("N6", b"/v2/" + NAME + b"/manifests/1.11.2%0a"),
    Refused("N6", b"/v2/" + NAME + b"%0a/manifests/1.11.2"),
    Refused("N6", b"/v2/" + NAME + b"/blobs/sha256:" + HEX + b"%0a"),
    Refused("N7", b"/v2/%EF%BC%8E%EF%BC%8E/x/manifests/1"),
    Refused("N7", b"/v2/%c0%ae%c0%ae/x/manifests/1"),
    Refused("N7", b"/v2/%ff/x/manifests/1"),
    Refused("N7", b"/v2/%ed%a0%80/x/manifests/1"),
    Refused("N7", b"/v2/caf%c3%a9.example/x/manifests/1"),
    Refused("N8", b"/v2/a/..\\b/manifests/1"),
    Refused("N8", b"/v2/a/..;/b/manifests/1"),
    Refused("N8", b"/..;/v2/_catalog"),
    Refused("N8", b"/v2/a/b#c/manifests/1"),
    Refused("N8", b"/v2/a//b/manifests/1"),
    Refused("N8", b"/v2//a/b/manifests/1"),
    Refused("N8", b"/v2/a/b//manifests/1"),
    Refused("N8", b"/v2/a/b/manifests/1/"),
    Refused("N8", b"/v2/a/b/manifests/"),
    Refused("N8", b"/v2/a/b/tags/list/"),
    Refused("N8", b"/v2/_catalog/"),
    Refused("N8", b"//evil.com/v2/"),
    Refused("N8", b"//v2/"),
    Refused("N9", b"/v2/Charts.Jetstack.io/x/manifests/1"),
    Refused("N9", b"/v2/a/b___c/manifests/1"),
    Refused("N9", b"/v2/a/-b/manifests/1"),
    Refused("N9", b"/v2/a/.b/manifests/1"),
    Refused("N9", b"/v2/a/b..c/manifests/1"),
    Refused("N9", b"/v2/a/b-/manifests/1"),
    Refused("N9", b"/v2/a/b%20c/manifests/1"),
    Refused("N10", b"/v2/" + b"a" * 256 + b"/manifests/1"),
    Refused("N10", b"/v2/" + NAME + b"/manifests/" + b"1" * 129, 404, "MANIFEST_UNKNOWN"),
    Refused("N10", b"/v2/" + b"a" * 3000, 414, "UNSUPPORTED"),
    Refused("N10", b"/v2/_catalog?last=" + b"a" * 3000, 414, "UNSUPPORTED"),
    Refused("N10", b"/v2/" + b"a" * 60_000, 414, "UNSUPPORTED"),
    Refused("N11", b"/v2/" + NAME + b"/manifests/-1", 404, "MANIFEST_UNKNOWN"),
    Refused("N11", b"/v2/" + NAME + b"/manifests/.1", 404, "MANIFEST_UNKNOWN"),
    Refused("N11", b"/v2/" + NAME + b"/manifests/1@2", 404, "MANIFEST_UNKNOWN"),
    Refused("N13", b"/v2/a/manifests/b/manifests/c", 404, "NAME_UNKNOWN"),
    Refused("N13", b"/v2/manifests/1"),
    Refused("N13", b"/v2/a/b"),
    Refused("N13", b"/v2/a/b/tags/other"),
    Refused("N14", b"http://169.254.169.254/"),
    Refused("N14", b"http://169.254.169.254/v2/"),
    Refused("N14", b"@google.com"),
    Refused("N14", b"@google.com/v2/"),
    Refused("N14", b"*"),
    Refused("N16", b"/v2/x/manifests/1?ns=169.254.169.254&rewrite_dependencies=1", 400, "UNSUPPORTED"),
    Refused("N16", b"/v2/x/manifests/1?ns=169.254.169.254", 404, "NAME_UNKNOWN"),
    Refused("N16", b"/v2/x/manifests/1?ns=localhost", 404, "NAME_UNKNOWN"),
    Refused("N16", b"/v2/x/manifests/1?ns=127.0.0.1:22", 404, "NAME_UNKNOWN"),
    Refused("N16", b"/v2/x/manifests/1?ns=metadata.google.internal", 404, "NAME_UNKNOWN"),
    Refused("N16", b"/v2/x/manifests/1?ns=a/../b"),
    Refused("N16", b"/v2/x/manifests/1?ns=Evil.COM"),
    Refused("N16", b"/v2/x/manifests/1?ns=%EF%BC%8E"),
    Refused("N16", b"/v2/x/manifests/1?ns="),
    Refused("N16", b"/v2/?ns=a%0d%0aX-Evil:1"),
    Refused("N16", b"/v2/?ns=a%0d%0aX-Evil"),
    Refused("N16", b"/v2/_catalog?ns=a%0d%0aX-Evil"),
    Refused("N16", b"/p/v2/x/manifests/1?ns=a%0d%0aX-Evil"),
    Refused("N16", b"/v2/?" + b"&".join([b"a=1"] * 17), 400, "UNSUPPORTED"),
    Refused("A11", b"/admin/", 404, "NAME_UNKNOWN"),
    Refused("A11", b"/metrics", 404, "NAME_UNKNOWN"),
    Refused("A11", b"/", 404, "NAME_UNKNOWN"),
    Refused("A11", b"/v2/../admin/"),
    Refused("A11", b"/admin%2fapi/"),
]
_OF_DIGESTS = [
    Refused("N12", b"/v2/" + NAME + b"/" + kind + b"/" + digest, 400, "DIGEST_INVALID")
    for kind in (b"blobs", b"manifests", b"referrers")
    for digest in (
        b"sha256:../../../etc/passwd",
        b"sha256:" + b"A" * 64,
        b"sha256:" + b"a" * 63,
        b"sha256:" + b"a" * 65,
        b"md5:d41d8cd98f00b204e9800998ecf8427e",
        b"sha256:",
        b":" + HEX,
        b"sha512:" + HEX,
        b"SHA256:" + HEX,
    )
] + [Refused("N12", b"/v2/" + NAME + b"/blobs/latest", 400, "DIGEST_INVALID")]
_OF_METHODS = [
    Refused("N15", target, 405, "UNSUPPORTED", method, headers)
    for method, headers in (
        ("PUT", [(b"Content-Length", b"0")]),
        ("POST", [(b"Content-Length", b"0")]),
        ("PATCH", []),
        ("DELETE", []),
        ("TRACE", []),
        ("OPTIONS", []),
        ("FROBNICATE", []),
    )
    for target in (
        b"/v2/",
        b"/v2/" + REDIS.encode() + b"/manifests/1.2.3",
        b"/v2/" + REDIS.encode() + b"/manifests/sha256:" + HEX,
        b"/v2/" + REDIS.encode() + b"/blobs/sha256:" + HEX,
        b"/v2/" + REDIS.encode() + b"/blobs/uploads/",
        b"/v2/" + REDIS.encode() + b"/tags/list",
        b"/healthz",
    )
] + [Refused("N15", b"169.254.169.254:80", 405, "UNSUPPORTED", "CONNECT")]

REFUSED = [*_OF_NAMES, *_OF_DIGESTS, *_OF_METHODS]


def served_to(live: Live, refused: Refused) -> tuple[Reply, Reply]:
    return (
        live.raw(refused.method, refused.target, refused.headers),
        live.asgi(refused.method, refused.target, [(n.lower(), v) for n, v in refused.headers]),
    )


@pytest.mark.parametrize("refused", REFUSED, ids=str)
def test_what_no_honest_client_sends_is_refused_and_nothing_happens(gateway: Live, refused: Refused) -> None:
    before, asked = gateway.run(gateway.composed.stored()), len(gateway.dns.asked)
    raw, asgi = served_to(gateway, refused)
    assert (raw.status, raw.code) == (refused.status, refused.code)
    assert raw == asgi
    assert raw.header("content-type") == "application/json"
    assert raw.header("content-length") == str(len(raw.body))
    assert raw.header("cache-control") == "no-store"
    assert (raw.header("allow") == "GET, HEAD") is (refused.status == 405)
    assert not any(b"evil" in name + value for name, value in raw.headers)
    assert gateway.dns.asked[asked:] == []
    assert gateway.run(gateway.composed.stored()) == before


@pytest.mark.parametrize("refused", [*_OF_NAMES, *_OF_DIGESTS], ids=str)
def test_head_gets_what_get_gets_without_the_body(gateway: Live, refused: Refused) -> None:
    got = gateway.raw("GET", refused.target, refused.headers)
    for head in (gateway.raw("HEAD", refused.target), gateway.asgi("HEAD", refused.target)):
        assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")


@pytest.mark.parametrize(
    "target", [b"/v2/\xc3\xa9/x/manifests/1", b"/v2/a\x00b", b"/v2/a b/manifests/1", b"/v2/a\x7f", b""]
)
def test_bytes_that_no_target_may_hold_are_refused_by_the_server(gateway: Live, target: bytes) -> None:
    assert gateway.raw("GET", target).status == 400


@pytest.mark.parametrize("tag", [b"1.0.0_build.5", b"1.0.0+build.5", b"1.0.0%2Bbuild.5"])
def test_a_version_with_build_metadata_has_its_plus_as_underscore_or_itself(
    gateway: Live, tag: bytes
) -> None:
    reply = gateway.raw("GET", b"/v2/" + REDIS.encode() + b"/manifests/" + tag)
    assert reply.status == 200
    annotations = json.loads(reply.body)["annotations"]
    assert annotations["org.opencontainers.image.version"] == "1.0.0+build.5"


def test_a_name_or_tag_as_long_as_may_be_is_no_malformed_one(gateway: Live) -> None:
    name = "charts.example.test/" + "a" * 235
    assert gateway.get(f"/v2/{name}/manifests/1").code == "NAME_UNKNOWN"
    assert gateway.get(f"/v2/{REDIS}/manifests/{'1' * 128}").code == "MANIFEST_UNKNOWN"


@pytest.mark.parametrize(
    "target",
    [
        f"/v2/{REDIS}/manifests/1.2.3",
        "/v2/redis/manifests/1.2.3?ns=charts.example.test",
        f"/v2/{REDIS}/manifests/1.2.3?ns=charts.example.test",
        "/charts.example.test/v2/redis/manifests/1.2.3",
        f"/v2/{REDIS}/manifests/1.2.3?ns=gateway.test",
        f"/v2/{REDIS}/manifests/1.2.3?ns=127.0.0.1:9000",
        f"/v2/{REDIS}/manifests/1.2.3?unknown=..%2f&ns=charts.example.test",
        f"/v2/{REDIS}/manifests/1.2.3?rewrite_dependencies=false",
    ],
)
def test_every_way_to_write_one_name_leads_to_one_manifest(gateway: Live, target: str) -> None:
    plain = gateway.get(f"/v2/{REDIS}/manifests/1.2.3")
    reply = gateway.get(target)
    assert (reply.status, reply.body) == (200, plain.body)
    is_namespace = target.endswith("ns=charts.example.test")
    assert reply.header("oci-namespace") == ("charts.example.test" if is_namespace else None)
