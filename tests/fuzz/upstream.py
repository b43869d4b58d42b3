"""Fuzz targets: what upstreams send and operators point at: URLs, challenges, JSON, manifests."""

import ipaddress
import json
import socket
from collections.abc import Mapping
from dataclasses import replace

import httpx

from gateway.oci.challenge import MAX_CHALLENGES, Challenge, ChallengeError, parse_challenges
from gateway.oci.decoding import JsonError, parse_json
from gateway.oci.manifest import (
    MAX_EDGES,
    Edge,
    EdgeKind,
    ManifestError,
    ParsedManifest,
    image_index,
    parse_manifest,
)
from gateway.oci.media_types import DOCKER_MANIFEST, OCI_IMAGE_INDEX, OCI_MANIFEST
from gateway.oci.outcome_text import outcome_from_text, outcome_to_text
from gateway.oci.postgres_url import PostgresUrlError, parse_postgres_url
from gateway.oci.registry_url import parse_registry_url
from gateway.oci.urls import HttpUrl, UrlError, parse_upstream_url
from gateway.sources.docker_config import DockerConfigError, parse_docker_config
from gateway.sources.egress import is_public
from tests.fakes.charts import make_chart
from tests.fakes.images import DOCKER, OCI, attached, helm_artifact
from tests.fuzz.target import Target, text_of

_SHA256 = "sha256:" + "0123456789abcdef" * 4


def check_url(data: bytes) -> None:
    """What is taken for a URL is read alike by httpx, which dials it, and by nobody as another address."""
    text = text_of(data)
    _check_registry_url(text)
    try:
        url = parse_upstream_url(text)
    except UrlError:
        return
    assert parse_upstream_url(str(url)) == url
    assert text.isascii()
    for read in (httpx.URL(text), httpx.URL(str(url))):
        assert read.scheme == url.scheme
        assert _usual(read.raw_host.decode()) == url.host.strip("[]")
        assert (read.port or {"http": 80, "https": 443}[url.scheme]) == url.port
        assert not read.userinfo
        assert not read.fragment
    dialled = httpx.URL(str(url)).raw_path.decode()
    assert dialled == url.path + ("" if url.query is None else f"?{url.query}") or _only_escapes(dialled)
    assert not {".", ".."} & set(url.path.split("/"))
    _check_address(url)


def _only_escapes(dialled: str) -> bool:
    """httpx writes some characters as %XX that may not stand in a URL as they are."""
    return "%" in dialled


def _usual(host: str) -> str:
    """httpx leaves IPv6 as it is spelt."""
    return str(ipaddress.IPv6Address(host)) if ":" in host else host


def _check_address(url: HttpUrl) -> None:
    """Where the system's own lenient reading sees an address, there is one in its usual spelling."""
    if url.host.startswith("["):
        assert str(ipaddress.IPv6Address(url.host[1:-1])) == url.host[1:-1]
        return
    try:
        packed = socket.inet_aton(url.host)
    except OSError:
        return
    assert str(ipaddress.IPv4Address(packed)) == url.host


def _check_registry_url(text: str) -> None:
    try:
        url = parse_registry_url(text)
    except UrlError:
        return
    assert parse_registry_url(str(url)) == url
    assert httpx.URL(f"https://{url.root.authority}/").raw_host.decode() == url.root.host.strip("[]")


def check_address(data: bytes) -> None:
    """What may be dialled is global for Python too, and embeds no address that is not."""
    if len(data) not in (4, 16):
        return
    address = ipaddress.ip_address(data)
    if not is_public(address):
        return
    assert address.is_global
    assert not any((address.is_multicast, address.is_unspecified, address.is_loopback, address.is_reserved))
    if isinstance(address, ipaddress.IPv6Address):
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None
        assert not address.is_site_local


def check_postgres_url(data: bytes) -> None:
    """A password is never shown, whatever is wrong with the URL."""
    text = text_of(data)
    try:
        url = parse_postgres_url(text)
    except PostgresUrlError as error:
        password = text.rpartition("@")[0].rpartition(":")[2]
        assert len(password) < 12 or password not in str(error)
        return
    other = replace(url, password="another one")
    assert (str(other), repr(other)) == (str(url), repr(url))
    assert 1 <= (url.port or 1) <= 65535


def check_challenge(data: bytes) -> None:
    """A challenge that was read is read the same once it is written by the standard."""
    text = data.decode("latin-1")
    try:
        challenges = parse_challenges(text)
    except ChallengeError:
        return
    assert len(challenges) <= MAX_CHALLENGES
    if len(", ".join(map(_written, challenges))) <= 8192:
        assert parse_challenges(", ".join(map(_written, challenges))) == challenges
    for challenge in challenges:
        assert challenge.scheme == challenge.scheme.lower()
        assert not set("\r\n\0") & set("".join([challenge.scheme, *challenge.parameters.values()]))


def _written(challenge: Challenge) -> str:
    pairs = (
        '{}="{}"'.format(name, value.replace("\\", "\\\\").replace('"', '\\"'))
        for name, value in challenge.parameters.items()
    )
    return f"{challenge.scheme} {', '.join(pairs)}".rstrip()


def check_json(data: bytes) -> None:
    """Strict JSON is JSON for everybody, and means the same; what else is read of it is read or refused."""
    _check_docker_config(data)
    try:
        outcome = outcome_from_text(text_of(data))
    except (ValueError, UnicodeEncodeError):
        pass
    else:
        assert outcome_to_text(outcome_from_text(outcome_to_text(outcome))) == outcome_to_text(outcome)
    try:
        value = parse_json(data, 4096)
    except JsonError:
        return
    assert json.loads(data) == value


def _check_docker_config(data: bytes) -> None:
    try:
        config = parse_docker_config(data)
    except DockerConfigError as error:
        assert len(str(error)) < 300
        return
    assert all(":" in pair and not pair.startswith(":") for pair in config.pairs.values())
    for pair in config.pairs.values():
        assert len(pair) < 12 or not any(pair in line for line in config.unused)
        assert len(pair) < 12 or pair not in repr(config)


def check_manifest(data: bytes) -> None:
    """A manifest that is taken is one thing only, whatever type it comes with."""
    found = {kind: parsed for kind in _MEDIA_TYPES if (parsed := _parsed(data, kind)) is not None}
    if not found:
        return
    members = json.loads(data)
    for parsed in found.values():
        _check_parsed(parsed, members)
    if members.get("mediaType"):
        assert len(set(map(_told, found.values()))) == 1


_MEDIA_TYPES = (None, OCI_MANIFEST, OCI_IMAGE_INDEX, DOCKER_MANIFEST, "text/html; charset=utf-8")


def _parsed(data: bytes, media_type: str | None) -> ParsedManifest | None:
    try:
        return parse_manifest(data, media_type)
    except ManifestError:
        return None


def _check_parsed(parsed: ParsedManifest, members: Mapping[str, object]) -> None:
    is_index = all(edge.kind is EdgeKind.MANIFEST for edge in parsed.edges)
    assert ("config" in members) != ("manifests" in members)
    assert is_index == ("config" not in members)
    assert len(parsed.edges) <= MAX_EDGES + 1
    assert parsed.media_type.isascii()
    assert all(0 <= edge.descriptor.size < 2**63 for edge in parsed.edges)
    again = parse_manifest(image_index([edge.descriptor for edge in parsed.edges]), OCI_IMAGE_INDEX)
    assert [edge.descriptor for edge in again.edges] == [edge.descriptor for edge in parsed.edges]


def _told(parsed: ParsedManifest) -> tuple[str, tuple[str, ...], str | None]:
    return parsed.media_type, tuple(map(_edge, parsed.edges)), parsed.artifact_type


def _edge(edge: Edge) -> str:
    return f"{edge.kind} {edge.descriptor.digest} {edge.descriptor.size}"


_CHART = make_chart("demo", "1.0.0")
_MANIFESTS = [
    OCI.image(10, 20).manifest,
    OCI.image_index(5).manifest,
    DOCKER.image(7).manifest,
    helm_artifact(_CHART).manifest,
    attached(OCI.image(1), "application/vnd.example", b"x", note="é").manifest,
]

TARGETS = (
    Target(
        "url",
        check_url,
        [
            b"https://charts.example.test/a/b.tgz?x=1",
            b"http://127.0.0.1:8080/%41/../x",
            b"https://[2001:db8::1]:8443/",
            b"https://a@b/",
            b"https://0x7f.1/",
            b"https://2130706433/",
            b"oci://ghcr.io/a/b:1.0+x@" + _SHA256.encode(),
            b"oci://[::1]:5000/a",
        ],
        ["https://", "http://", "oci://", "@", "\\", "%2e", "..", "[::1]", "0x7f", "0177", ":443", "?", "#"],
    ),
    Target(
        "address",
        check_address,
        [
            bytes([127, 0, 0, 1]),
            bytes([93, 184, 216, 34]),
            bytes(15) + b"\1",
            b"\x26\x06" + bytes(13) + b"\1",
        ],
        max_bytes=16,
    ),
    Target(
        "postgres",
        check_postgres_url,
        [
            b"postgresql://user:p%40ss-word@host:5432/database?sslmode=require",
            b"postgres:///db?host=/var/run",
            b"postgresql://[::1]/x",
        ],
        ["postgresql://", "postgres://", "sslmode=", "host=", "&", "%00", "%ff", "@", "/"],
    ),
    Target(
        "challenge",
        check_challenge,
        [
            b'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"',
            b'Basic realm="a\\"b", Negotiate YWJj==, Bearer x=y',
            b',, Digest a = b ,c=""',
        ],
        ["Bearer ", "Basic ", "realm=", "service=", '"', "\\", ", ", "="],
        2048,
    ),
    Target(
        "json",
        check_json,
        [
            b'{"auths": {"https://index.docker.io/v1/": {"auth": "dXNlcjpwYXNzd29yZA=="}},"credsStore": 1}',
            b'{"auths": {"a.example:5000/x": {"username": "u", "password": "pass-pass-pass"}}}',
            b'{"kind": "Unavailable", "message": "m", "retry_after_seconds": 7,'
            b' "is_rate_limited": true, "tried": ["a"]}',
            b'{"kind": "Corrupt", "message": "m", "reason": "r", "tried": []}',
            b'[1e400, NaN, "\\ud800", 123456789012345678901]',
        ],
        [
            '{"',
            '":',
            '"auths"',
            '"auth"',
            '"username"',
            '"identitytoken"',
            '"kind"',
            '"tried"',
            "\\ud800",
            "[[",
        ],
    ),
    Target(
        "manifest",
        check_manifest,
        _MANIFESTS,
        [
            *('"schemaVersion":2', '"mediaType":', '"config":', '"layers":', '"manifests":', '"subject":'),
            *('"annotations":', '"digest":', '"size":', '"artifactType":', "null", _SHA256, OCI_IMAGE_INDEX),
        ],
        4096,
    ),
)
