"""The outermost guard: refuses what no honest client sends, and logs each request."""

import re
import time
from collections.abc import Callable, Collection
from itertools import chain

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.oci.errors import OciError, Situation
from gateway.web.errors import answer_failure, log_refused, shown_path
from gateway.web.responses import error_answer, send_answer

log = structlog.get_logger("gateway.access")

MAX_TARGET_BYTES = 2048
MAX_HEADER_BYTES = 16 * 1024
MAX_HEADERS = 100
MAX_ACCEPT_BYTES = 8 * 1024
_VERSIONS = frozenset({"1.0", "1.1"})
_METHODS = frozenset({"GET", "HEAD"})
_PATH = re.compile(r"/(?!/)[ -$&-\[\]-~]*")  # printable ASCII without % and \
_HIDDEN_SLASH = re.compile(rb"%(?:2f|5c)", re.IGNORECASE)


def _log_request(**fields: object) -> None:
    log.info("request", **fields)


class Gate:
    """Wraps the application, and answers its errors. What it refuses by itself also ends the connection.

    ``record`` is given what there is to say of each request, as keywords.
    """

    def __init__(self, app: ASGIApp, record: Callable[..., None] = _log_request) -> None:
        self._app = app
        self._record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:  # a WebSocket: closing before it is accepted answers 403
            await send({"type": "websocket.close"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        watched = Watched(send)
        started = time.perf_counter()
        try:
            refused = _refusal(scope)
            if refused is None:
                await self._app(scope, receive, watched)
            else:
                log_refused(refused, scope)
                answer = error_answer(refused, [(b"connection", b"close")])
                await send_answer(watched, answer, is_head=scope["method"] == "HEAD")
        except Exception as error:
            await answer_failure(error, scope, watched, has_started=watched.status != 0)
        finally:
            tell(self._record, scope, watched, started)


class Watched:
    """Passes messages on to the server, and notes what it took."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.sent_bytes = 0
        self.cache: str | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.cache = dict(message["headers"]).get(b"x-cache", b"").decode() or None
        await self._send(message)
        self.sent_bytes += len(message.get("body", b""))


def tell(record: Callable[..., None], scope: Scope, watched: Watched, started: float) -> None:
    """Say what came of a request; ``started`` is by ``time.perf_counter``."""
    record(
        method=scope["method"],
        path=shown_path(scope),
        status=watched.status,
        bytes=watched.sent_bytes,
        ms=round((time.perf_counter() - started) * 1000, 1),
        cache=watched.cache,
    )


def _refusal(scope: Scope) -> OciError | None:
    """Why a request is refused before its path is looked at; None where it may pass."""
    return head_refusal(scope, _METHODS, takes_body=False)


def head_refusal(scope: Scope, methods: Collection[str], *, takes_body: bool) -> OciError | None:
    """Why a request is refused for what its head says alone."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    if len(raw_path) + len(scope["query_string"]) > MAX_TARGET_BYTES:
        return OciError(Situation.TARGET_TOO_LONG, f"a request target has at most {MAX_TARGET_BYTES} bytes")
    if _are_too_large(headers):
        return OciError(
            Situation.HEADERS_TOO_LARGE,
            f"at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes, Accept of {MAX_ACCEPT_BYTES}",
        )
    refused = _body_refusal(headers, takes_body=takes_body)
    if refused is not None and refused.situation is Situation.PATH_MALFORMED:
        return refused
    if scope["http_version"] not in _VERSIONS and scope["scheme"] == "http":
        return OciError(Situation.PATH_MALFORMED, "without TLS, only HTTP/1.1 is spoken here")
    if scope["method"] not in methods:
        return OciError(Situation.METHOD_NOT_OFFERED, f"{scope['method'][:20]} is not offered here")
    return _path_refusal(raw_path, scope["path"]) or refused


def _are_too_large(headers: list[tuple[bytes, bytes]]) -> bool:
    if len(headers) > MAX_HEADERS:
        return True
    total_bytes = sum(map(len, chain.from_iterable(headers)))
    if total_bytes <= MAX_ACCEPT_BYTES:
        return False
    accept_bytes = sum(len(value) for name, value in headers if name == b"accept")
    return total_bytes > MAX_HEADER_BYTES or accept_bytes > MAX_ACCEPT_BYTES


def _path_refusal(raw_path: bytes, path: str) -> OciError | None:
    if not _PATH.fullmatch(path) or (b"%" in raw_path and _HIDDEN_SLASH.search(raw_path)):
        return OciError(Situation.PATH_MALFORMED, "the path holds what no name or reference can hold")
    return None


def _body_refusal(headers: list[tuple[bytes, bytes]], *, takes_body: bool) -> OciError | None:
    names = dict(headers)
    is_chunked = b"transfer-encoding" in names
    if not is_chunked and b"content-length" not in names:
        return None
    lengths = [value for name, value in headers if name == b"content-length"]
    if is_chunked and lengths:
        return OciError(Situation.PATH_MALFORMED, "a body has a length or is chunked, not both")
    if not takes_body and (is_chunked or any(value != b"0" for value in lengths)):
        return OciError(Situation.BODY_NOT_ALLOWED, "a body is not read here")
    return None
