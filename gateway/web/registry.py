"""The OCI distribution API, read-only: /v2/ and all that lies below it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.admission import note_client
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.manifest import image_index
from gateway.oci.media_types import OCI_IMAGE_INDEX, OCTET_STREAM
from gateway.oci.paging import cut, parse_page
from gateway.oci.reference import Reference, Tag
from gateway.oci.repository import Repository
from gateway.pull import Puller
from gateway.pulled import Cache, Pulled
from gateway.recording import Record
from gateway.rules.route import Wanted
from gateway.sources.via import is_loop, note_incoming
from gateway.web.forwarded import ClientOf, HostOf
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
from gateway.web.responses import (
    IMMUTABLE,
    Answer,
    BlobAnswer,
    CountedBlob,
    Headers,
    blob_answer,
    body_answer,
    cache_headers,
    content_length,
    etag,
    is_known,
    json_answer,
    send_answer,
)

_KNOWN_QUERIES = frozenset({"n", "last", "ns", "artifactType", "rewrite_dependencies"})
_MAX_QUERIES = 16
_PATHS = 2000
_COUNTED = ManifestAsked | BlobAsked | TagsAsked

Query = dict[str, str]
RequestHeaders = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Named:
    """What is asked of a name, and the name as rules look at it."""

    asked: ManifestAsked | BlobAsked | TagsAsked | ReferrersAsked
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this gateway is: hosts of its own, which mean nothing in ``?ns=``, and what it calls itself."""

    own_hosts: frozenset[str]
    instance_id: str


@dataclass(frozen=True, slots=True)
class Asker:
    """Reads off a request who asks, and under which host."""

    host_of: HostOf
    client_of: ClientOf


def registry_app(
    puller: Puller,
    now: Callable[[], float],
    identity: Identity,
    asker: Asker,
    record: Record,
) -> ASGIApp:
    """The ASGI application of the data port; ``now`` gives seconds since the epoch."""
    registry = Registry(puller, now, record)
    parse = lru_cache(_PATHS)(_parse)  # a path of a distribution client is asked for again and again

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        query = _parse_query(scope["query_string"])
        headers = dict(scope["headers"])
        if b"via" in headers:
            note_gateways(scope["headers"], identity.instance_id)
        note_client(asker.client_of(scope, headers))
        host = asker.host_of(scope, headers)
        namespace = _namespace(query.get("ns"), host, headers, identity)
        asked = parse(scope["path"], namespace, host, query.get("rewrite_dependencies"))
        is_head = scope["method"] == "HEAD"
        try:
            answer = await registry.answer(asked, host, query, headers, is_head=is_head)
        except Exception as error:
            _note_refusal(record, error, asked)
            raise
        if namespace is not None and scope["path"].startswith("/v2/"):
            answer.headers.append((b"oci-namespace", namespace.name.encode()))
        await send_answer(send, answer, is_head=is_head, receive=receive)

    return app


class Registry:
    """Answers what was asked; a HEAD and a GET by the same lines."""

    def __init__(self, puller: Puller, now: Callable[[], float], record: Record) -> None:
        self._puller = puller
        self._now = now
        self._record = record

    async def answer(
        self,
        asked: Named | CatalogAsked | Base,
        host: str,
        query: Query,
        headers: RequestHeaders,
        *,
        is_head: bool,
    ) -> Answer | BlobAnswer:
        match asked:
            case Named(ManifestAsked(_, reference), wanted):
                pulled = await self._puller.manifest(wanted, reference)
                answer = self._manifest(pulled, headers, is_tag=isinstance(reference, Tag))
                pull = _pull(reference, is_head=is_head)
                self._record.manifest(wanted, pull, pulled, 0 if is_head else len(answer.body))
                return answer
            case Named(BlobAsked(_, digest), wanted) if is_head:
                return await self._blob_head(wanted, digest, headers)
            case Named(BlobAsked(_, digest), wanted):
                return await self._blob(wanted, digest, headers)
            case Named(TagsAsked(), wanted):
                return await self._tags(wanted, query)
            case Named(ReferrersAsked(_, digest), wanted):
                return await self._referrers(wanted, digest, query.get("artifactType"))
            case CatalogAsked():
                return await self._catalog(host, query)
            case _:
                return json_answer({})  # Base

    def _manifest(self, pulled: Pulled, headers: RequestHeaders, *, is_tag: bool) -> Answer:
        manifest = pulled.manifest
        own = [
            *_content_headers(manifest.digest),
            (b"cache-control", b"no-cache") if is_tag else IMMUTABLE,
            *cache_headers(pulled, self._now()),
        ]
        if is_known(headers.get(b"if-none-match"), manifest.digest):
            return Answer(304, own)
        return body_answer(200, manifest.media_type.encode(), manifest.content, own)

    async def _blob_head(self, wanted: Wanted, digest: Digest, headers: RequestHeaders) -> Answer:
        descriptor = await self._puller.describe_blob(wanted, digest)
        self._record.served(Cache.HIT, None, 0)
        if is_known(headers.get(b"if-none-match"), digest):
            return _unchanged_blob(digest)
        return Answer(200, [*_blob_headers(digest, Cache.HIT), content_length(descriptor.size)])

    async def _blob(self, wanted: Wanted, digest: Digest, headers: RequestHeaders) -> Answer | BlobAnswer:
        pulled = await self._puller.blob(wanted, digest)
        blob = CountedBlob(pulled.blob, partial(self._record.served, pulled.cache, pulled.source))
        if is_known(headers.get(b"if-none-match"), digest):
            blob.close()
            return _unchanged_blob(digest)
        return blob_answer(blob, _blob_headers(digest, pulled.cache), headers)

    async def _tags(self, wanted: Wanted, query: Query) -> Answer:
        page = parse_page(query.get("n"), query.get("last"))
        listed = await self._puller.tags(wanted)
        shown = cut(listed.tags, page, f"/v2/{wanted}/tags/list")
        own = [*_link(shown.next_link), *cache_headers(listed, self._now())]
        answer = json_answer({"name": wanted.name.name, "tags": list(shown.names)}, own)
        self._record.served(listed.cache, listed.source, len(answer.body))
        return answer

    async def _catalog(self, host: str, query: Query) -> Answer:
        page = parse_page(query.get("n"), query.get("last"))
        listed = cut(await self._puller.repositories(host), page, "/v2/_catalog")
        return json_answer({"repositories": list(listed.names)}, _link(listed.next_link))

    async def _referrers(self, wanted: Wanted, digest: Digest, artifact_type: str | None) -> Answer:
        found = await self._puller.referrers(wanted, digest)
        own: Headers = []
        if artifact_type is not None:
            found = [descriptor for descriptor in found if descriptor.artifact_type == artifact_type]
            own.append((b"oci-filters-applied", b"artifactType"))
        return body_answer(200, OCI_IMAGE_INDEX.encode(), image_index(found), own)


def _pull(reference: Reference, *, is_head: bool) -> str:
    """What a request pulls; nothing where it only looks whether a digest is there."""
    if isinstance(reference, Tag):
        return reference.name
    return "" if is_head else str(reference)


def _note_refusal(record: Record, error: Exception, asked: Named | CatalogAsked | Base) -> None:
    if isinstance(asked, Named) and isinstance(asked.asked, _COUNTED):
        record.refused(error, asked.wanted if isinstance(asked.asked, ManifestAsked) else None)


def _parse(
    path: str, namespace: Repository | None, host: str, rewrite_dependencies: str | None
) -> Named | CatalogAsked | Base:
    """What a request asks for; the same value for the same request, so that what follows finds it quickly."""
    asked = parse_path(path, namespace)
    if asked is None:
        raise OciError(Situation.NAME_NOT_KNOWN, "this is an OCI registry: its API is at /v2/")
    wish = _wish(rewrite_dependencies)
    if isinstance(asked, Base | CatalogAsked):
        return asked
    return Named(asked, Wanted(asked.name, host, wish))


def _unchanged_blob(digest: Digest) -> Answer:
    return Answer(304, [(b"etag", etag(digest)), IMMUTABLE])


@lru_cache(_PATHS)
def _content_headers(digest: Digest) -> Sequence[tuple[bytes, bytes]]:
    return ((b"docker-content-digest", str(digest).encode()), (b"etag", etag(digest)))


def _blob_headers(digest: Digest, cache: Cache) -> Headers:
    return [
        (b"content-type", OCTET_STREAM.encode()),
        *_content_headers(digest),
        (b"accept-ranges", b"bytes"),
        (b"content-security-policy", b"sandbox"),
        (b"x-cache", cache.encode()),
        IMMUTABLE,
    ]


def note_gateways(headers: Headers, instance_id: str) -> None:
    """Remember what a request came through; raise OciError where that is this gateway itself, or too many.

    A proxy in between may write a line of its own.
    """
    via = b",".join(value for name, value in headers if name == b"via").decode("latin-1")
    if is_loop(via, instance_id):
        raise OciError(
            Situation.LOOP, "this request came through this gateway before, or too many", {"reason": "loop"}
        )
    note_incoming(via)


def _link(next_page: str | None) -> Headers:
    return [] if next_page is None else [(b"link", next_page.encode())]


def _namespace(
    asked: str | None, host: str, headers: RequestHeaders, identity: Identity
) -> Repository | None:
    """None where it is this gateway itself that is meant, however it was reached."""
    if asked is None or asked == host or asked in identity.own_hosts:
        return None
    return None if asked.encode() == headers.get(b"host") else parse_namespace(asked)


def _parse_query(text: bytes) -> Query:
    """Read the parameters that mean something here; the first of each counts."""
    if not text:
        return {}
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_QUERIES)
    except ValueError as error:
        raise OciError(Situation.QUERY_MALFORMED, "the query cannot be read") from error
    query: Query = {}
    for key, value in pairs:
        if key in _KNOWN_QUERIES:
            query.setdefault(key, value)
    return query


def _wish(rewrite_dependencies: str | None) -> bool | None:
    match rewrite_dependencies:
        case None:
            return None
        case "true" | "false":
            return rewrite_dependencies == "true"
        case _:
            raise OciError(Situation.QUERY_MALFORMED, "rewrite_dependencies is true or false")
