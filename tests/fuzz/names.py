"""Fuzz targets: what clients write: names, references, paths, ranges, pages."""

import re

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.links import parse_next_link
from gateway.oci.location import parse_location
from gateway.oci.paging import cut, parse_page
from gateway.oci.ranges import ByteRange, parse_range
from gateway.oci.reference import Tag, parse_reference
from gateway.oci.repository import MAX_LENGTH, Repository
from gateway.oci.target import Target as Place
from gateway.web.paths import (
    Base,
    BlobAsked,
    CatalogAsked,
    ManifestAsked,
    ReferrersAsked,
    TagsAsked,
    parse_namespace,
    parse_path,
)
from tests.fuzz.target import Target, parts_of, text_of

_SAFE = re.compile(r"[a-z0-9._/-]+(?::[0-9]+)?[a-z0-9._/-]*")
_SPLIT = re.compile(r"/v2/(?P<name>.*)/(?P<keyword>manifests|blobs|tags|referrers)/(?P<last>.*)", re.DOTALL)
_SHA256 = "sha256:" + "0123456789abcdef" * 4
_OWN_HOSTS = frozenset({"localhost:9000", "gw.example.test"})
_NAMES = [f"{letter}{number}" for letter in "abC_" for number in range(7)]


def check_name(data: bytes) -> None:
    """A name, a reference, a place upstream and a location come back as they were written, or not at all."""
    text = text_of(data)
    for parse in (Repository.parse, Repository.parse_with_port, parse_reference, Digest.parse, Place.parse):
        try:
            found = parse(text)
        except OciError as error:
            assert error.situation in _REFUSALS_OF_NAMES, error
            continue
        assert str(found) == (text.replace("+", "_") if isinstance(found, Tag) else text)
        assert text.isascii()
        assert not set(text) & set("%\\ \r\n\0")
        assert "//" not in text
        if isinstance(found, Repository):
            _check_segments(found)
    _check_location(text)


_REFUSALS_OF_NAMES = frozenset(
    {Situation.NAME_BREAKS_GRAMMAR, Situation.DIGEST_MALFORMED, Situation.MANIFEST_NOT_KNOWN}
)


def _check_segments(name: Repository) -> None:
    assert len(name.name) <= MAX_LENGTH
    assert _SAFE.fullmatch(name.name)
    assert not {"", ".", ".."} & set(name.segments)


def _check_location(text: str) -> None:
    try:
        location = parse_location(text, _OWN_HOSTS)
    except OciError as error:
        assert error.situation in _REFUSALS_OF_NAMES, error
        return
    assert parse_location(str(location), ()) == location


def check_path(data: bytes) -> None:
    """A path means one thing: what it is rendered as again means the same, and so does a plain splitter."""
    path, namespace = map(text_of, parts_of(data, 2))
    try:
        prefix = parse_namespace(namespace) if namespace else None
        asked = parse_path(path, prefix)
    except OciError as error:
        assert error.status in {400, 404}, error
        return
    if asked is None:
        assert "/v2/" not in path
        return
    if isinstance(asked, Base | CatalogAsked) or ":" in asked.name.name:  # a port stands in ns alone
        return
    assert parse_path(_rendered(asked)) == asked
    if prefix is not None or not path.startswith("/v2/"):
        return
    split = _SPLIT.fullmatch(path)
    assert split is not None
    assert (split["name"], split["keyword"]) == (asked.name.name, _KEYWORDS[type(asked)])


_KEYWORDS = {
    ManifestAsked: "manifests",
    BlobAsked: "blobs",
    TagsAsked: "tags",
    ReferrersAsked: "referrers",
}


def _rendered(asked: ManifestAsked | BlobAsked | TagsAsked | ReferrersAsked) -> str:
    match asked:
        case TagsAsked(name):
            last = "list"
        case ManifestAsked(name, reference):
            last = str(reference)
        case BlobAsked(name, digest) | ReferrersAsked(name, digest):
            last = str(digest)
    return f"/v2/{name}/{_KEYWORDS[type(asked)]}/{last}"


def check_range(data: bytes) -> None:
    """The bytes that a Range means are those that a plain reading of RFC 9110 gives."""
    header, size_text = parts_of(data, 2)
    size = int.from_bytes(size_text[:5], "big")
    text = header.decode("latin-1")
    try:
        found = parse_range(text or None, size)
    except OciError as error:
        assert error.situation is Situation.RANGE_NOT_SATISFIABLE
        assert _plain_range(text, size) == []
        return
    if found is None:
        assert _plain_range(text, size) is None
        return
    assert 0 <= found.start < found.stop <= size
    assert _plain_range(text, size) == [found]


def _plain_range(text: str, size: int) -> list[ByteRange] | None:
    """None for what may be ignored, else the range, or an empty list where it cannot be met."""
    unit, _, spec = text.partition("=")
    first, dash, last = spec.partition("-")
    digits = set("0123456789")
    if len(text) > 256 or unit.lower() != "bytes" or not dash or not (first or last):
        return None
    if not set(first + last) <= digits:
        return None
    if not first:
        if size == 0 and int(last):
            return None
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    return [ByteRange(start, stop)] if start < stop else []


def check_page(data: bytes) -> None:
    """Whoever follows the links of a list sees all of it once, in order."""
    n, last, *_ = (part.decode("latin-1") for part in parts_of(data, 2))
    names = sorted(_NAMES)
    parse_next_link(text_of(data))
    try:
        page = parse_page(n or None, last or None)
    except OciError as error:
        assert error.situation is Situation.PAGING_MALFORMED
        return
    seen: list[str] = []
    for _ in range(len(names) + 1):
        shown = cut(names, page, "/v2/a/tags/list")
        seen += shown.names
        link = parse_next_link(shown.next_link)
        if link is None:
            break
        assert shown.names
        assert link.startswith("/v2/a/tags/list?")
        page = parse_page(n or None, link.rpartition("last=")[2])
    left = [name for name in names if not last or name > last]
    assert seen == ([] if page.count == 0 else left)


TARGETS = (
    Target(
        "name",
        check_name,
        [
            b"charts.jetstack.io/cert-manager",
            b"charts.corp.example:8443/a/b",
            b"1.0.0+build.5",
            _SHA256.encode(),
            b"oci://localhost:9000/a/b:1.2.3@" + _SHA256.encode(),
            b"a/b__c/d-e.f:v1",
            b"a/../b",
        ],
        ["oci://", "sha256:", "sha512:", "@", ":", "/", "__", "..", "localhost:9000/", "https://"],
    ),
    Target(
        "path",
        check_path,
        [
            b"/v2/",
            b"/v2/_catalog",
            b"/v2/a/manifests/b/manifests/c",
            b"/v2/charts.jetstack.io/cert-manager/tags/list",
            b"/x/y/v2/a/b/blobs/" + _SHA256.encode(),
            b"/v2/a/referrers/" + _SHA256.encode() + b"\0docker.io",
            b"/v2/a/b/manifests/1.0+x\0ghcr.io:8443",
        ],
        ["/v2/", "/manifests/", "/blobs/", "/tags/list", "/referrers/", "sha256:", "_catalog", ".."],
    ),
    Target(
        "range",
        check_range,
        [
            b"bytes=0-0\0\0\0\x10\0\0",
            b"bytes=5-2\0\x09",
            b"BYTES=-7\0\x64",
            b"bytes=0-,1-2\0\x09",
            b"bytes=-0\0",
        ],
        ["bytes=", "-", ",", "0", "99999999999999999999"],
        320,
    ),
    Target(
        "page",
        check_page,
        [b"3\0", b"1000\0a3", b"0\0", b"\0b", b"-1\0", b'</v2/a/tags/list?n=1&last=x>; rel="next"'],
        ["rel=", '"next"', "<", ">", ";", "n=", "last="],
    ),
)
