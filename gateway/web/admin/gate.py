"""The guard of the admin listener: what no honest browser or client sends, and headers for all answers."""

import hmac
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.access.roles import SignedIn
from gateway.oci.errors import OciError, Situation
from gateway.web.errors import failure_told
from gateway.web.gate import Watched, head_refusal, tell
from gateway.web.responses import SANDBOX, error_answer

FORM_TOKEN_HEADER = "x-form-token"  # noqa: S105 (a name)
_SECURITY = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_BODYLESS = frozenset({"GET", "HEAD"})
METHODS = _BODYLESS | {"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"}


class AdminGate:
    """Wraps the application, answers its errors: as a page below /admin/, as OCI error bodies elsewhere."""

    def __init__(
        self,
        app: ASGIApp,
        error_page: Callable[[Request, OciError], Response],
        record: Callable[..., None],
    ) -> None:
        self._app = app
        self._error_page = error_page
        self._record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        watched = Watched(_guarded(send))
        started = time.perf_counter()
        try:
            await self._pass(scope, receive, watched)
        except Exception as error:
            if watched.status:
                raise
            await self._refuse(_as_oci(error), scope, receive, watched)
        finally:
            tell(self._record, scope, watched, started)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = head_refusal(scope, METHODS, takes_body=True)
        if refused is not None:
            raise refused
        scope["app"] = self._app  # the router then raises what it does not find
        await self._app(scope, receive, send)

    async def _refuse(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        told = failure_told(error, scope)
        if scope["path"].startswith("/admin/") and not scope["path"].startswith("/admin/api/"):
            response = self._error_page(Request(scope, receive), told)
        else:
            answer = error_answer(told)
            response = Response(None if scope["method"] == "HEAD" else answer.body, answer.status)
            response.raw_headers = [header for header in answer.headers if header != SANDBOX]
        if told.situation is Situation.METHOD_NOT_OFFERED:
            response.headers["allow"] = str((told.detail or {}).get("allow", "GET, HEAD"))
        if told.situation is Situation.NOT_SIGNED_IN:
            response.headers["www-authenticate"] = 'Bearer realm="chart-gateway"'
        if told.retry_after_seconds is not None:
            response.headers["retry-after"] = str(told.retry_after_seconds)
        if scope["method"] not in _BODYLESS:  # what is left of the body is nobody's
            response.headers["connection"] = "close"
        await response(scope, receive, send)


def has_body(scope: Scope) -> bool:
    names = dict(scope["headers"])
    return b"transfer-encoding" in names or names.get(b"content-length", b"0") != b"0"


def require_own_form(request: Request) -> None:
    """Refuse what a page of somebody else sends (threats A4); before anybody is asked who they are."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        raise OciError(Situation.DENIED, "this form was sent by a page of another site")
    origin = request.headers.get("origin")
    if origin is None and site is None:
        raise OciError(Situation.DENIED, "a form says where it comes from: there is no Origin")
    if origin is not None and not _is_of_host(origin, request.headers.get("host", "")):
        raise OciError(Situation.DENIED, "this form was sent by a page of another site")


def _is_of_host(origin: str, host: str) -> bool:
    """Where either is empty, as of ``Origin: null``, nothing is known."""
    try:
        sender = urlsplit(origin).netloc
    except ValueError:
        return False
    return sender != "" and sender.lower() == host.lower()


def require_own_page(request: Request, asker: SignedIn, form_token: str | None = None) -> None:
    """Refuse what does not carry the token of its session."""
    require_own_form(request)
    given = form_token or request.headers.get(FORM_TOKEN_HEADER, "")
    if not is_of_session(asker, given):
        raise OciError(Situation.DENIED, "this form is not of this session: load the page again")


def is_of_session(asker: SignedIn, form_token: str) -> bool:
    """Whether a form was made for the session that sends it."""
    own = asker.form_token
    return own is not None and hmac.compare_digest(form_token.encode(), own.encode())


def _as_oci(error: Exception) -> Exception:
    if isinstance(error, HTTPException) and error.status_code == 404:
        return OciError(Situation.RESOURCE_NOT_KNOWN, "there is nothing here")
    if isinstance(error, HTTPException) and error.status_code == 405:
        return OciError(Situation.METHOD_NOT_OFFERED, "this method is not offered here")
    return error


def _guarded(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            own = [header for header in _SECURITY if header[0] not in given]
            message = {**message, "headers": [*message["headers"], *own]}
        await send(message)

    return guarded
