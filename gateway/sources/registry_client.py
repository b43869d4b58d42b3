"""The distribution protocol from the client's side: manifests, tags, referrers, blobs."""

from collections.abc import AsyncIterator, Callable, Sequence, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar
from urllib.parse import urljoin

import structlog
from anyio import to_thread

from gateway.oci.decoding import Json, JsonError, parse_json
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.links import parse_next_link
from gateway.oci.manifest import MAX_SIZE_BYTES, Manifest, ManifestError, ParsedManifest, parse_manifest
from gateway.oci.media_types import ACCEPTED_MANIFESTS, OCI_IMAGE_INDEX, UNTELLING
from gateway.oci.outcomes import Corrupt, Missing
from gateway.oci.reference import is_tag
from gateway.oci.urls import UrlError, parse_upstream_url
from gateway.sources.registry_asking import RegistryAsking, Reply
from gateway.sources.registry_blobs import RegistryBlobs
from gateway.sources.registry_place import UpstreamRepository

log = structlog.get_logger(__name__)

_PAGE_BYTES: Final = MAX_SIZE_BYTES
_READ_ON_THE_LOOP_BYTES: Final = 100 * 1024
_ACCEPT: Final = {"Accept": ", ".join(ACCEPTED_MANIFESTS)}
_HEAD_NOT_OFFERED: Final = frozenset({400, 404, 405, 410, 501})
_NO_REFERRERS_API: Final = frozenset({400, 404, 405, 410, 501})

_NEVER: Final[Set[int]] = frozenset()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ListLimits:
    """How long a registry's lists may be: longer ones of tags are cut off, others refused."""

    names_on_a_page: int = 1_000  # as many as registries give at most
    pages: int = 1_000
    tags: int = 100_000
    referrers: int = 10_000
    referrers_bytes: int = MAX_SIZE_BYTES  # of all pages together: the answer to a client is one document


@dataclass(frozen=True, slots=True)
class ReadManifest:
    """A manifest as it came, and what it says."""

    manifest: Manifest
    parsed: ParsedManifest
    origin: str


@dataclass(frozen=True, slots=True)
class _Page:
    """One page of a list as it came; ``next_query`` leads to the next."""

    content: bytes
    media_type: str
    next_query: str | None


_LIMITS: Final = ListLimits()


class RegistryClient:
    """Asks registries; raises outcomes. What it returns was received whole, and has the digest it should."""

    def __init__(self, asking: RegistryAsking, limits: ListLimits = _LIMITS) -> None:
        self._asking = asking
        self._limits = limits
        self._blobs = RegistryBlobs(asking)

    async def digest_of(self, repository: UpstreamRepository, tag: str) -> Digest | None:
        """What HEAD says that a tag names; None where only the manifest itself can tell, or its absence."""
        async with self._asking.ask("HEAD", repository, f"manifests/{tag}", _ACCEPT) as reply:
            if reply.answer.status in _HEAD_NOT_OFFERED:
                return None
            await reply.require_ok(f"{repository.name}:{tag}")
            return _told_digest(reply)

    async def manifest(self, repository: UpstreamRepository, reference: str | Digest) -> ReadManifest:
        """Fetch a manifest or image index as it is stored; by digest it is that very one, or Corrupt."""
        what = f"{repository.name}{'@' if isinstance(reference, Digest) else ':'}{reference}"
        async with self._asking.ask("GET", repository, f"manifests/{reference}", _ACCEPT) as reply:
            await reply.require_ok(what)
            content = b"".join([chunk async for chunk in reply.answer.chunks(MAX_SIZE_BYTES)])
            media_type = reply.answer.header("content-type")
            origin = str(reply.answer.url)
        return await _quickly(
            content, partial(_read_manifest, content, media_type, reference, origin, str(repository))
        )

    async def tags(self, repository: UpstreamRepository) -> Sequence[str]:
        """Every tag, in the registry's order; what could be asked for by nobody is left out."""
        tags: dict[str, None] = {}
        async for page in self._pages(repository, "tags/list", f"n={self._limits.names_on_a_page}"):
            tags |= dict.fromkeys(await _quickly(page.content, partial(_read_tags, page.content)))
            if len(tags) > self._limits.tags:
                log.warning("tags_cut_off", repository=str(repository), count=self._limits.tags)
                return list(tags)[: self._limits.tags]
        return list(tags)

    async def referrers(self, repository: UpstreamRepository, subject: Digest) -> Sequence[Descriptor]:
        """What refers to ``subject``: by the referrers API, or by the tag that stands for it without one."""
        found: dict[Digest, Descriptor] = {}
        left_bytes = self._limits.referrers_bytes
        async for page in self._pages(repository, f"referrers/{subject}", None, _NO_REFERRERS_API):
            if page.media_type != OCI_IMAGE_INDEX:
                return await self._referrers_by_tag(repository, subject)
            left_bytes -= len(page.content)
            if left_bytes < 0:
                raise Corrupt(f"{repository} lists more referrers than are read", "too_large")
            parsed = await _quickly(page.content, partial(_read_index, page.content, str(subject)))
            found |= {edge.descriptor.digest: edge.descriptor for edge in parsed.edges}
            if len(found) > self._limits.referrers:
                message = f"{repository} lists more than {self._limits.referrers} referrers"
                raise Corrupt(message, "too_large")
        return list(found.values())

    def blob(
        self, repository: UpstreamRepository, descriptor: Descriptor
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._blobs.open(repository, descriptor)

    async def has_blob(self, repository: UpstreamRepository, descriptor: Descriptor) -> bool:
        return await self._blobs.has(repository, descriptor)

    def is_troubled(self, repository: UpstreamRepository) -> bool:
        return self._asking.is_troubled(repository)

    async def _referrers_by_tag(
        self, repository: UpstreamRepository, subject: Digest
    ) -> Sequence[Descriptor]:
        try:
            found = await self.manifest(repository, f"{subject.algorithm}-{subject.hex}")
        except Missing:
            return ()
        if found.parsed.media_type != OCI_IMAGE_INDEX:
            return ()
        return [edge.descriptor for edge in found.parsed.edges]

    async def _pages(
        self, repository: UpstreamRepository, path: str, query: str | None, absent: Set[int] = _NEVER
    ) -> AsyncIterator[_Page]:
        """The pages of a list, each asked for by the query that the one before gave.

        With a status out of ``absent`` there is no such list: one page of no media type.
        """
        asked: set[str | None] = set()
        following = query
        while len(asked) < self._limits.pages:
            asked.add(following)
            page = await self._page(repository, path, following, absent)
            yield page
            if page.next_query is None:
                return
            following = page.next_query
            if following in asked:
                raise Corrupt(f"{repository} answers {path} with pages in a circle", "bad_link")
        raise Corrupt(f"{repository} answers {path} with more than {len(asked)} pages", "too_large")

    async def _page(
        self, repository: UpstreamRepository, path: str, query: str | None, absent: Set[int]
    ) -> _Page:
        async with self._asking.ask("GET", repository, path, query=query) as reply:
            if reply.answer.status in absent:
                return _Page(b"", "", None)
            await reply.require_ok(f"{repository.name}/{path}")
            content = b"".join([chunk async for chunk in reply.answer.chunks(_PAGE_BYTES)])
            return _Page(content, _media_type(reply.answer.header("content-type")), _next_query(reply))


async def _quickly(content: bytes, read: Callable[[], T]) -> T:
    """Read on the loop what takes no time, the rest in a thread."""
    if len(content) <= _READ_ON_THE_LOOP_BYTES:
        return read()
    return await to_thread.run_sync(read)


def _told_digest(reply: Reply) -> Digest | None:
    if reply.is_page:
        return None
    try:
        return Digest.parse(reply.answer.header("docker-content-digest") or "")
    except OciError:
        return None


def _read_manifest(
    content: bytes, media_type: str | None, reference: str | Digest, origin: str, name: str
) -> ReadManifest:
    digest = _digest(content, reference)
    if isinstance(reference, Digest) and digest != reference:
        raise Corrupt(f"what {name} gave for {reference} has the digest {digest}", "digest_mismatch")
    told = _media_type(media_type)
    try:
        parsed = parse_manifest(content, None if told in UNTELLING else told)
    except ManifestError as error:
        raise Corrupt(
            f"what {name} gave for {reference} is no manifest: {error}", "manifest_invalid"
        ) from error
    return ReadManifest(Manifest(content, parsed.media_type, digest), parsed, origin)


def _digest(content: bytes, reference: str | Digest) -> Digest:
    if not isinstance(reference, Digest):
        return Digest.of(content)
    hasher = reference.hasher()
    hasher.update(content)
    return Digest(reference.algorithm, hasher.hexdigest())


def _read_index(content: bytes, subject: str) -> ParsedManifest:
    try:
        return parse_manifest(content, OCI_IMAGE_INDEX)
    except ManifestError as error:
        raise Corrupt(
            f"the referrers of {subject} are no image index: {error}", "manifest_invalid"
        ) from error


def _read_tags(content: bytes) -> list[str]:
    try:
        members = parse_json(content, _PAGE_BYTES)
    except JsonError as error:
        raise Corrupt(f"a list of tags cannot be read: {error}", "tags_invalid") from error
    tags: Json = members.get("tags") if isinstance(members, dict) else False
    if tags is None:  # how Go writes an empty list
        return []
    if not isinstance(tags, list):
        raise Corrupt("a list of tags has no tags", "tags_invalid")
    return [tag for tag in tags if isinstance(tag, str) and is_tag(tag)]


def _next_query(reply: Reply) -> str | None:
    """The query of the next page, which has to lie where this one does."""
    reference = parse_next_link(reply.answer.header("link"))
    if reference is None:
        return None
    url = reply.answer.url
    try:
        following = parse_upstream_url(urljoin(str(url), reference))
    except (UrlError, ValueError) as error:
        raise Corrupt(
            f"{reply.answer.name} links to a page that is not followed: {error}", "bad_link"
        ) from error
    if (following.origin, following.path) != (url.origin, url.path):
        raise Corrupt(f"{reply.answer.name} links to a next page that lies elsewhere", "bad_link")
    return following.query


def _media_type(text: str | None) -> str:
    return (text or "").partition(";")[0].strip().lower()
