"""Answers as values, and the one way they are sent."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field

from starlette.types import Receive, Send

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.ranges import ByteRange, parse_range, unsatisfied_range
from gateway.pulled import Listed, Pulled
from gateway.sources.via import LOOP_HEADER
from gateway.store.blobs import OpenBlob

Headers = list[tuple[bytes, bytes]]

IMMUTABLE = (b"cache-control", b"public, max-age=31536000, immutable")
SANDBOX = (b"content-security-policy", b"sandbox")
_FIRST_PIECE_BYTES = 128 << 10
_MAX_PIECE_BYTES = 1 << 20
_LOOP = (LOOP_HEADER[0].lower().encode(), LOOP_HEADER[1].encode())
_ALWAYS = ((b"docker-distribution-api-version", b"registry/2.0"), (b"x-content-type-options", b"nosniff"))


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers and a body that is in memory; a HEAD gets the same without the body."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class BlobAnswer:
    """A blob, or one range of it, read piece by piece as it is sent.

    The last byte is sent once the whole is verified: it may still be arriving, or be read for the first time
    since the start.
    """

    status: int
    headers: Headers
    blob: OpenBlob
    part: ByteRange


class CountedBlob:
    """A blob that counts what is read of it, and tells that as it is closed."""

    def __init__(self, blob: OpenBlob, tell: Callable[[int], None]) -> None:
        self._blob = blob
        self._tell = tell
        self._read_bytes = 0

    @property
    def size(self) -> int:
        return self._blob.size

    async def read(self, offset: int, length: int) -> bytes:
        piece = await self._blob.read(offset, length)
        self._read_bytes += len(piece)
        return piece

    def close(self) -> None:
        self._blob.close()
        self._tell(self._read_bytes)


def json_answer(value: object, headers: Headers | None = None, status: int = 200) -> Answer:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return body_answer(status, b"application/json", body, headers or [])


def body_answer(status: int, content_type: bytes, body: bytes, headers: Headers) -> Answer:
    own = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), SANDBOX]
    return Answer(status, [*own, *headers], body)


def error_answer(error: OciError, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """The specification's error body; never cached."""
    entry: dict[str, object] = {"code": error.code.value, "message": error.message}
    if error.detail is not None:
        entry["detail"] = dict(error.detail)
    own: Headers = [(b"cache-control", b"no-store"), *headers]
    if error.retry_after_seconds is not None:
        own.append((b"retry-after", b"%d" % error.retry_after_seconds))
    if error.situation is Situation.NOT_SIGNED_IN:
        own.append((b"www-authenticate", b'Basic realm="chart-gateway"'))
    if error.situation is Situation.METHOD_NOT_OFFERED:
        own.append((b"allow", b"GET, HEAD"))
    if error.situation is Situation.LOOP:
        own.append(_LOOP)
    return json_answer({"errors": [entry]}, own, error.status)


def blob_answer(blob: OpenBlob, headers: Headers, asked: Mapping[bytes, bytes]) -> Answer | BlobAnswer:
    """All of a blob, or the range that the request's headers ``asked`` for; closed where none is sent."""
    try:
        part = parse_range(asked.get(b"range", b"").decode("latin-1") or None, blob.size)
    except OciError as error:
        blob.close()
        return error_answer(error, [(b"content-range", unsatisfied_range(blob.size).encode())])
    if part is None:
        return BlobAnswer(200, [*headers, content_length(blob.size)], blob, ByteRange(0, blob.size))
    own = [content_length(part.size), (b"content-range", part.content_range(blob.size).encode())]
    return BlobAnswer(206, [*headers, *own], blob, part)


def content_length(size_bytes: int) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % size_bytes)


def cache_headers(pulled: Pulled | Listed, now: float) -> Headers:
    """Where an answer came from; ``now`` is in seconds since the epoch."""
    own = [(b"x-cache", pulled.cache.encode())]
    if pulled.source is not None:
        own.append((b"x-cache-source", pulled.source.encode()))
    if pulled.confirmed_at is not None:
        own.append((b"age", b"%d" % max(now - pulled.confirmed_at, 0)))
    return own


def etag(digest: Digest) -> bytes:
    return f'"{digest}"'.encode()


def is_known(if_none_match: bytes | None, digest: Digest) -> bool:
    """Whether the client says that it has this content (RFC 9110, §13.1.2)."""
    if if_none_match is None:
        return False
    tags = [text.strip().removeprefix(b"W/") for text in if_none_match.split(b",")]
    return b"*" in tags or etag(digest) in tags


async def send_answer(
    send: Send, answer: Answer | BlobAnswer, *, is_head: bool, receive: Receive | None = None
) -> None:
    """Send an answer; stop, without an error, when ``receive`` tells that the client has gone.

    Whoever takes nothing of it is the server's matter: then the client has gone.
    """
    start = {"type": "http.response.start", "status": answer.status, "headers": [*answer.headers, *_ALWAYS]}
    if isinstance(answer, BlobAnswer):
        try:
            await send(start)
            sending = _send_blob(send, answer)
            if receive is None or answer.part.size <= _MAX_PIECE_BYTES:  # a few pieces cost no tasks
                await sending
            else:
                await _until_gone(sending, receive)
        finally:
            answer.blob.close()
        return
    await send(start)
    await _send_body(send, b"" if is_head else answer.body)


async def _send_body(send: Send, body: bytes) -> None:
    """What is long goes piece by piece: what a client does not take would be held for each of them."""
    position, piece_bytes = 0, _FIRST_PIECE_BYTES
    while len(body) - position > piece_bytes:
        piece = body[position : position + piece_bytes]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)
        position += piece_bytes
        piece_bytes = min(position, _MAX_PIECE_BYTES)
    await send({"type": "http.response.body", "body": body[position:]})


async def _until_gone(sending: Coroutine[None, None, None], receive: Receive) -> None:
    """Cancel ``sending`` when the client has gone: the server takes what is sent after that, and drops it."""
    sender = asyncio.create_task(sending)
    watcher = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait((sender, watcher), return_when=asyncio.FIRST_COMPLETED)
    finally:
        sender.cancel()
        watcher.cancel()
        await asyncio.wait((sender, watcher))  # nobody reads the blob any more
    if not sender.cancelled():
        sender.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_blob(send: Send, answer: BlobAnswer) -> None:
    part, blob = answer.part, answer.blob
    if 0 < part.size < blob.size:  # a blob withholds its end by itself, and of a range we do
        await _send_part(send, blob, ByteRange(part.start, part.stop - 1))
        last = await blob.read(part.stop - 1, 1)  # read in order: there are blobs that are read once
        if part.stop < blob.size:
            await blob.read(blob.size - 1, 1)  # not to be had before the digest is right
        await send({"type": "http.response.body", "body": last, "more_body": True})
    else:
        await _send_part(send, blob, part)
    await send({"type": "http.response.body", "body": b""})


async def _send_part(send: Send, blob: OpenBlob, part: ByteRange) -> None:
    """Send as much at once as was taken already: large pieces are fast, and who stalls has but one."""
    position = part.start
    while position < part.stop:
        wanted = min(max(position - part.start, _FIRST_PIECE_BYTES), _MAX_PIECE_BYTES)
        piece = await blob.read(position, min(wanted, part.stop - position))
        if not piece:
            raise EOFError("a blob is shorter than it was when it was opened")
        position += len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)  # a fast reader lets nobody else in
