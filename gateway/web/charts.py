"""The classic protocol of chart repositories: index.yaml, archives and .prov files, beside /v2/."""

from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import partial
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.admission import note_client
from gateway.classic import ClassicIndex
from gateway.classic_archives import ClassicFile, ClassicRepositories, FileAsked
from gateway.classic_listing import Body
from gateway.recording import Record
from gateway.web.paths import ClassicAsked, is_classic, parse_classic
from gateway.web.registry import Asker, Identity, note_gateways
from gateway.web.responses import (
    SANDBOX,
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
    send_answer,
)

PLACE: Final = "/charts/"
_PROBE: Final = "x"


def charts_app(registry: ASGIApp, charts: "Charts", identity: Identity, asker: Asker) -> ASGIApp:
    """Has classic paths below ``/charts/`` answered, and those of hosts that a rule says are classic.

    All others are ``registry``'s.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        host = asker.host_of(scope, headers)
        asked = charts.asked(scope["path"], host)
        if asked is None:
            await registry(scope, receive, send)
            return
        if b"via" in headers:
            note_gateways(scope["headers"], identity.instance_id)
        note_client(asker.client_of(scope, headers))
        is_head = scope["method"] == "HEAD"
        answer = await charts.answer(asked, host, headers, is_head=is_head)
        await send_answer(send, answer, is_head=is_head, receive=receive)

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        await (app if is_classic(scope["path"]) else registry)(scope, receive, send)

    return front


class Charts:
    """Answers what was asked; a HEAD and a GET by the same lines. ``now`` gives seconds since the epoch."""

    def __init__(self, classic: ClassicRepositories, now: Callable[[], float], record: Record) -> None:
        self._classic = classic
        self._now = now
        self._record = record

    def asked(self, path: str, host: str) -> ClassicAsked | None:
        """What a classic path asks for; None where it means nothing here.

        A host that is classic is as it is on the internet, also below its own ``/charts/``.
        """
        place = path.removeprefix("/")
        above = place.rpartition("/")[0]
        if self._classic.is_classic(host, f"{above}/{_PROBE}" if above else _PROBE):
            return parse_classic(place)
        return parse_classic(path.removeprefix(PLACE)) if path.startswith(PLACE) else None

    async def answer(
        self, asked: ClassicAsked, host: str, headers: Mapping[bytes, bytes], *, is_head: bool
    ) -> Answer | BlobAnswer:
        try:
            if not asked.is_index:
                return await self._file(asked, host, headers, is_head=is_head)
            index = await self._classic.index(asked.prefix, host)
        except Exception as error:
            self._record.refused(error, None)
            raise
        answer = self._index(index, headers)
        self._record.served(index.cache, None, 0 if is_head else len(answer.body))
        return answer

    async def _file(
        self, asked: ClassicAsked, host: str, headers: Mapping[bytes, bytes], *, is_head: bool
    ) -> Answer | BlobAnswer:
        file = await self._classic.file(FileAsked(asked.prefix, host, asked.file_name))
        own = self._file_headers(file, b"text/plain" if file.is_provenance else b"application/gzip")
        tell = partial(self._record.manifest, file.wanted, file.tag, file.pulled)
        if is_known(headers.get(b"if-none-match"), file.descriptor.digest):
            tell(0)
            return Answer(304, own)
        if is_head:
            tell(0)
            return Answer(200, [*own, content_length(file.descriptor.size)])
        blob = CountedBlob((await self._classic.open(file)).blob, tell)
        return blob_answer(blob, own, _unless_other(headers, file))

    def _index(self, index: ClassicIndex, headers: Mapping[bytes, bytes]) -> Answer:
        """The digest of what is sent is its ETag: packed it is another. Who has either has the index."""
        packed = index.gzipped if _takes_gzip(headers.get(b"accept-encoding", b"")) else None
        body: Body = packed or index.plain
        known = headers.get(b"if-none-match")
        has_plain = is_known(known, index.plain.digest)
        own: Headers = [
            (b"etag", etag(index.plain.digest if has_plain else body.digest)),
            (b"cache-control", b"no-cache"),
            (b"vary", b"Accept-Encoding"),
            (b"last-modified", formatdate(index.made_at, usegmt=True).encode()),
            (b"age", b"%d" % max(self._now() - index.confirmed_at, 0)),
            (b"x-cache", index.cache.encode()),
        ]
        if has_plain or is_known(known, body.digest):
            return Answer(304, own)
        if packed is not None:
            own.append((b"content-encoding", b"gzip"))
        return body_answer(200, b"application/yaml", body.content, own)

    def _file_headers(self, file: ClassicFile, content_type: bytes) -> Headers:
        """A name may mean other bytes one day, where the rules follow upstream."""
        return [
            (b"content-type", content_type),
            (b"etag", etag(file.descriptor.digest)),
            (b"accept-ranges", b"bytes"),
            (b"cache-control", b"no-cache"),
            SANDBOX,
            *cache_headers(file.pulled, self._now()),
        ]


def _unless_other(headers: Mapping[bytes, bytes], file: ClassicFile) -> Mapping[bytes, bytes]:
    """The headers without a range of what the name meant before (RFC 9110, §13.1.5)."""
    wanted = headers.get(b"if-range")
    is_other = wanted is not None and wanted.strip() != etag(file.descriptor.digest)
    return {} if is_other else headers


def _takes_gzip(accepted: bytes) -> bool:
    """Go's clients say ``gzip`` and nothing else; who weighs encodings is given the plain text."""
    return b"gzip" in [word.strip() for word in accepted.split(b",")]
