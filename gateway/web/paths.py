"""What a path of the distribution API asks for, as a value, before anything acts."""

import re
from dataclasses import dataclass

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.reference import Reference, parse_reference
from gateway.oci.repository import Repository

_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_KEYWORDS = ("manifests", "blobs", "tags", "referrers")
_OF_REGISTRY = re.compile(rf"/v2/.+/(?:{'|'.join(_KEYWORDS)})/")
_CLASSIC_FILES = ("/index.yaml", ".tgz", ".tgz.prov")


@dataclass(frozen=True, slots=True)
class Base:
    """``/v2/``."""


@dataclass(frozen=True, slots=True)
class CatalogAsked:
    """``/v2/_catalog``."""


@dataclass(frozen=True, slots=True)
class TagsAsked:
    name: Repository


@dataclass(frozen=True, slots=True)
class ManifestAsked:
    name: Repository
    reference: Reference


@dataclass(frozen=True, slots=True)
class BlobAsked:
    name: Repository
    digest: Digest


@dataclass(frozen=True, slots=True)
class ReferrersAsked:
    name: Repository
    digest: Digest


Asked = Base | CatalogAsked | TagsAsked | ManifestAsked | BlobAsked | ReferrersAsked


@dataclass(frozen=True, slots=True)
class ClassicAsked:
    """A file of a classic chart repository; ``prefix`` is empty at the root of a host."""

    prefix: str
    file_name: str

    @property
    def is_index(self) -> bool:
        return self.file_name == "index.yaml"


def is_classic(path: str) -> bool:
    """Whether a path is one that clients of classic repositories ask for; a tag may be called like a file."""
    return path.endswith(_CLASSIC_FILES) and _OF_REGISTRY.search(path) is None


def parse_classic(path: str) -> ClassicAsked:
    """Read a classic path without the slash that it begins with; raise OciError for what is no name."""
    prefix, slash, file_name = path.rpartition("/")
    if slash:
        Repository.parse_with_port(f"{prefix}/x")
    return ClassicAsked(prefix, file_name)


def parse_namespace(text: str) -> Repository:
    """Read the value of ``ns``: the host that a mirroring client means, held to the grammar of names.

    One with a port is a name only where it is a key of ``upstreams``: the rules say so of the whole.
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        return Repository.parse(text)
    if not _PORT.fullmatch(port):
        raise OciError(Situation.NAME_NOT_KNOWN, f"no upstream has the key {text[:300]!r}")
    Repository.parse(host)
    return Repository(text)


def within(name: str, prefix: Repository | None, *, is_namespace: bool) -> Repository:
    """The name that is matched: ``prefix`` stands in front, unless it is a namespace that leads already."""
    leads_already = is_namespace and name.startswith(f"{prefix}/")
    if prefix is None or leads_already:
        return Repository.parse(name)
    return Repository.parse_with_port(f"{prefix}/{name}")


def parse_path(path: str, namespace: Repository | None = None) -> Asked | None:
    """Read a decoded path; None where it is none of the distribution API's.

    What stands before the first ``/v2/`` is put in front of the name (clients of registries with a path
    prefix ask so); without that, ``namespace`` is, unless it leads the name already.
    """
    before, found, rest = path.partition("/v2/")
    if not found and path.endswith("/v2"):
        before, found = path.removesuffix("/v2"), "/v2"
    if not found:
        return None
    prefix = Repository.parse(before.removeprefix("/")) if before else namespace
    if not rest:
        return Base()
    if rest == "_catalog":
        return CatalogAsked()
    name, keyword, last = _split(rest)
    repository = within(name, prefix, is_namespace=not before)
    match keyword:
        case "manifests":
            return ManifestAsked(repository, _reference(last))
        case "blobs":
            return BlobAsked(repository, Digest.parse(last))
        case "referrers":
            return ReferrersAsked(repository, Digest.parse(last))
        case _:
            return _tags(repository, last)


def _split(rest: str) -> tuple[str, str, str]:
    """Split at the last keyword: a name may hold the words itself."""
    place, keyword = max((rest.rfind(f"/{word}/"), word) for word in _KEYWORDS)
    if place < 0:
        raise OciError(
            Situation.PATH_MALFORMED,
            f"/v2/{rest[:80]} asks for nothing: expected <name>/manifests/<reference>, "
            "<name>/blobs/<digest>, <name>/referrers/<digest> or <name>/tags/list",
        )
    return rest[:place], keyword, rest[place + len(keyword) + 2 :]


def _reference(text: str) -> Reference:
    if not text or ("/" in text and ":" not in text):
        raise OciError(Situation.PATH_MALFORMED, "/manifests/ is followed by one tag or digest")
    return parse_reference(text)


def _tags(repository: Repository, last: str) -> TagsAsked:
    if last != "list":
        raise OciError(Situation.PATH_MALFORMED, f"/tags/ is followed by list, not by {last[:80]!r}")
    return TagsAsked(repository)
