"""An honest OCI registry: pushed to by method calls, pulled from over HTTP, with the token dance."""

import json
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import parse_qs, quote, urlsplit

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.media_types import OCI_IMAGE_INDEX
from tests.fakes.messages import Answer, Faults, Request
from tests.fakes.server import FakeServer
from tests.fakes.tokens import TokenIssuer, error_answer, json_answer

Auth: TypeAlias = Literal["none", "basic", "bearer"]

_ROUTE = re.compile(r"/v2/(?P<name>.+)/(?P<what>manifests|blobs|tags|referrers)/(?P<reference>[^/]+)")
_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")


@dataclass(slots=True)
class _Repository:
    manifests: dict[Digest, tuple[bytes, str]] = field(default_factory=dict)  # with the media type
    tags: dict[str, Digest] = field(default_factory=dict)
    blobs: dict[Digest, bytes] = field(default_factory=dict)


class FakeRegistry(FakeServer):
    """Serves what was pushed; each switch may be set at any time, and holds from the next request.

    ``auth``: ``none``, ``basic``, or ``bearer`` with tokens of ``issuer``, whose realm is ``/token`` here
    unless ``realm`` names another. ``challenge`` replaces the whole WWW-Authenticate.
    """

    def __init__(self, *, auth: Auth = "none", tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.auth: Auth = auth
        self.issuer = TokenIssuer()
        self.realm: str | None = None
        self.challenge: str | None = None
        self.requires_scope = True  # off: any token that is still good opens everything
        self.has_version_header = True
        self.has_digest_header = True
        self.digest_told: Digest | None = None  # what Docker-Content-Digest says, whatever is true
        self.has_ranges = True
        self.has_referrers = True
        self.has_head = True  # off: 405 for HEAD of manifests and blobs
        self.page_size: int | None = None  # of tag lists and referrers, where the client asks for no smaller
        self.blobs_at: str | None = None  # the origin that GET of a blob is redirected to, as to a CDN
        self._repositories: dict[str, _Repository] = {}

    @property
    def address(self) -> str:
        """As clients write it in a reference: to localhost they speak plain HTTP."""
        return f"localhost:{self.port}"

    def push(self, name: str, tag: str | None, manifest: bytes, media_type: str) -> Digest:
        """Publish a manifest, by its digest alone where ``tag`` is None; nothing checks what it names."""
        repository = self._repositories.setdefault(name, _Repository())
        digest = Digest.of(manifest)
        repository.manifests[digest] = (manifest, media_type)
        if tag is not None:
            repository.tags[tag] = digest
        return digest

    def put_blob(self, name: str, content: bytes) -> Digest:
        digest = Digest.of(content)
        self._repositories.setdefault(name, _Repository()).blobs[digest] = content
        return digest

    def put_wrong_manifest(self, name: str, digest: Digest, content: bytes, media_type: str) -> None:
        """Serve ``content`` where ``digest`` is asked for, which it has not."""
        self._repositories.setdefault(name, _Repository()).manifests[digest] = (content, media_type)

    def put_wrong_blob(self, name: str, digest: Digest, content: bytes) -> None:
        self._repositories.setdefault(name, _Repository()).blobs[digest] = content

    def delete_tag(self, name: str, tag: str) -> None:
        """Forget a tag; what it named is still there by its digest."""
        del self._repositories[name].tags[tag]

    def delete_manifest(self, name: str, digest: Digest) -> None:
        """Forget a manifest and every tag of it."""
        repository = self._repositories[name]
        del repository.manifests[digest]
        repository.tags = {tag: named for tag, named in repository.tags.items() if named != digest}

    def delete_blob(self, name: str, digest: Digest) -> None:
        del self._repositories[name].blobs[digest]

    def revoke_tokens(self) -> None:
        self.issuer.revoke_tokens()

    def find_digest(self, name: str, tag: str) -> Digest | None:
        """What a tag names now."""
        repository = self._repositories.get(name)
        return None if repository is None else repository.tags.get(tag)

    def manifest_path(self, name: str, reference: object) -> str:
        return f"/v2/{name}/manifests/{reference}"

    def blob_path(self, name: str, digest: Digest) -> str:
        return f"/v2/{name}/blobs/{digest}"

    def faults_of_manifest(self, name: str, reference: object) -> Faults:
        """Return the switches of one manifest as it is asked for, by tag or by digest."""
        return self.faults_at.setdefault(self.manifest_path(name, reference), Faults())

    def faults_of_blob(self, name: str, digest: Digest) -> Faults:
        return self.faults_at.setdefault(self.blob_path(name, digest), Faults())

    def faults_of_tags(self, name: str) -> Faults:
        return self.faults_at.setdefault(f"/v2/{name}/tags/list", Faults())

    def faults_of_tokens(self) -> Faults:
        return self.faults_at.setdefault("/token", Faults())

    def count_of_manifest(self, name: str, reference: object, method: str | None = "GET") -> int:
        return self.count(self.manifest_path(name, reference), method)

    def count_of_blob(self, name: str, digest: Digest, method: str | None = "GET") -> int:
        return self.count(self.blob_path(name, digest), method)

    def answer(self, request: Request) -> Answer:
        """Say what the distribution specification has a registry say."""
        if request.path == "/token":
            return self.issuer.answer(request)
        asked = _ROUTE.fullmatch(request.path)
        if asked is None and request.path not in ("/v2/", "/v2"):
            return Answer(404, {"Content-Type": "text/plain"}, b"404 page not found\n")
        answer = self._refusal(request, asked["name"] if asked else None)
        if answer is None and request.method not in ("GET", "HEAD"):
            answer = error_answer(405, "UNSUPPORTED", "pull only", {"Allow": "GET, HEAD"})
        if answer is None:
            answer = json_answer(200, {}) if asked is None else self._answer_to(asked, request)
        if self.has_version_header:
            answer = _with_headers(answer, {"Docker-Distribution-Api-Version": "registry/2.0"})
        return answer

    def blob_answer(self, content: bytes, request: Request) -> Answer:
        """A blob, or the part of it that a Range asks for."""
        headers = {"Content-Type": "application/octet-stream"}
        asked = _RANGE.fullmatch(request.headers.get("range", "")) if self.has_ranges else None
        if self.has_ranges:
            headers["Accept-Ranges"] = "bytes"
        if asked is None:
            return Answer(200, headers, content)
        first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        if first > last:
            return Answer(416, {"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return Answer(206, headers, content[first : last + 1])

    def find_blob(self, digest: str) -> bytes | None:
        """A blob of any repository, as a CDN has it."""
        found = (repository.blobs.get(Digest.parse(digest)) for repository in self._repositories.values())
        return next((content for content in found if content is not None), None)

    def _refusal(self, request: Request, name: str | None) -> Answer | None:
        """401 with the challenge where the request does not open what it asks for."""
        scope = f"repository:{name}:pull" if name and self.requires_scope else None
        given = request.headers.get("authorization", "")
        match self.auth:
            case "none":
                return None
            case "basic":
                is_open, challenge = given == self.issuer.account.authorization, 'Basic realm="fake"'
            case "bearer":
                is_open = self.issuer.opens(given.removeprefix("Bearer "), scope)
                challenge = self._bearer_challenge(name)
        if is_open:
            return None
        headers = {"WWW-Authenticate": self.challenge or challenge}
        return error_answer(401, "UNAUTHORIZED", "authentication required", headers)

    def _bearer_challenge(self, name: str | None) -> str:
        parts = [f'realm="{self.realm or f"{self.origin}/token"}"', 'service="fake"']
        if name is not None:
            parts.append(f'scope="repository:{name}:pull"')
        return f"Bearer {','.join(parts)}"

    def _answer_to(self, asked: re.Match[str], request: Request) -> Answer:
        try:
            return self._answer_in(asked, request)
        except OciError as error:
            return error_answer(error.status, str(error.code), error.message)

    def _answer_in(self, asked: re.Match[str], request: Request) -> Answer:
        repository = self._repositories.get(asked["name"])
        if repository is None:
            return error_answer(404, "NAME_UNKNOWN", "repository name not known to registry")
        if request.method == "HEAD" and not self.has_head:
            return Answer(405, {"Allow": "GET"})
        match asked["what"]:
            case "manifests":
                return self._answer_manifest(repository, asked["reference"], request)
            case "blobs":
                return self._answer_blob(repository, asked["reference"], request)
            case "tags":
                return self._answer_tags(repository, asked["name"], request)
            case _:
                return self._answer_referrers(repository, asked["reference"], request)

    def _answer_manifest(self, repository: _Repository, reference: str, request: Request) -> Answer:
        digest = Digest.parse(reference) if ":" in reference else repository.tags.get(reference)
        content, media_type = repository.manifests.get(digest, (b"", "")) if digest else (b"", "")
        if digest is None or not media_type or not _accepts(request, media_type):
            return error_answer(404, "MANIFEST_UNKNOWN", "manifest unknown", detail={"Tag": reference})
        headers = {"ETag": f'"{digest}"'}
        if self.has_digest_header:
            headers["Docker-Content-Digest"] = str(self.digest_told or digest)
        if request.headers.get("if-none-match", "").removeprefix("W/") == headers["ETag"]:
            return Answer(304, headers)
        return Answer(200, {"Content-Type": media_type, **headers}, content)

    def _answer_blob(self, repository: _Repository, reference: str, request: Request) -> Answer:
        digest = Digest.parse(reference)
        if digest not in repository.blobs:
            return error_answer(404, "BLOB_UNKNOWN", "blob unknown to registry", detail=reference)
        if self.blobs_at is not None and request.method == "GET":
            return Answer(307, {"Location": f"{self.blobs_at}/{digest}?signature=x"})
        answer = self.blob_answer(repository.blobs[digest], request)
        if self.has_digest_header:
            answer = _with_headers(answer, {"Docker-Content-Digest": str(self.digest_told or digest)})
        return answer

    def _answer_tags(self, repository: _Repository, name: str, request: Request) -> Answer:
        query = parse_qs(urlsplit(request.target).query)
        last = query.get("last", [""])[0]
        left = [tag for tag in sorted(repository.tags) if tag > last]
        count = self._page(query.get("n", [None])[0])
        page = left[:count]
        link = (
            _link(f"/v2/{name}/tags/list?n={count}&last={quote(page[-1])}") if len(left) > len(page) else {}
        )
        return json_answer(200, {"name": name, "tags": page}, link)

    def _answer_referrers(self, repository: _Repository, subject: str, request: Request) -> Answer:
        """The referrers API, paged by a cursor of its own making."""
        if not self.has_referrers:
            return Answer(404, {"Content-Type": "text/plain"}, b"404 page not found\n")
        query = parse_qs(urlsplit(request.target).query)
        kind = query.get("artifactType", [None])[0]
        found = referrers_among(repository.manifests, Digest.parse(subject))
        kept = [one for one in found if kind in (None, one.get("artifactType"))]
        start, count = int(query.get("next", ["0"])[0]), self._page(None)
        headers = {"Content-Type": OCI_IMAGE_INDEX} | (
            {"OCI-Filters-Applied": "artifactType"} if kind else {}
        )
        if len(kept) > start + count:
            headers |= _link(f"{urlsplit(request.target).path}?next={start + count}")
        return json_answer(200, index_members(kept[start : start + count]), headers)

    def _page(self, asked: str | None) -> int:
        sizes = [size for size in (self.page_size, int(asked) if asked else None) if size is not None]
        return min(sizes, default=1_000_000)


class BlobHost(FakeServer):
    """The CDN that a registry with ``blobs_at`` redirects to; it wants no credentials, and logs what came."""

    def __init__(self, registry: FakeRegistry) -> None:
        super().__init__()
        self._registry = registry

    def answer(self, request: Request) -> Answer:
        content = self._registry.find_blob(request.path.rpartition("/")[2])
        return Answer(404) if content is None else self._registry.blob_answer(content, request)


def referrers_among(
    manifests: Mapping[Digest, tuple[bytes, str]], subject: Digest
) -> list[dict[str, object]]:
    """The descriptors of those that name ``subject``, as the referrers API gives them."""
    found = []
    for digest, (content, media_type) in manifests.items():
        descriptor = _referrer(content, media_type, digest, subject)
        if descriptor is not None:
            found.append(descriptor)
    return found


def index_members(descriptors: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """An image index of these, as JSON."""
    return {"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": list(descriptors)}


def _referrer(content: bytes, media_type: str, digest: Digest, subject: Digest) -> dict[str, object] | None:
    try:
        members = json.loads(content)
        named = members["subject"]["digest"]
    except (ValueError, KeyError, TypeError, RecursionError):  # tests push rubbish too
        return None
    if named != str(subject):
        return None
    kind = members.get("artifactType") or members.get("config", {}).get("mediaType")
    descriptor = {"mediaType": media_type, "digest": str(digest), "size": len(content)}
    optional = {"artifactType": kind, "annotations": members.get("annotations")}
    return descriptor | {name: value for name, value in optional.items() if value}


def _accepts(request: Request, media_type: str) -> bool:
    """A registry tells who does not accept what it has that it has nothing."""
    accepted = [part.partition(";")[0].strip() for part in request.headers.get("accept", "*/*").split(",")]
    return media_type in accepted or "*/*" in accepted


def _link(url: str) -> dict[str, str]:
    return {"Link": f'<{url}>; rel="next"'}


def _with_headers(answer: Answer, headers: Mapping[str, str]) -> Answer:
    return Answer(answer.status, {**answer.headers, **headers}, answer.body)
