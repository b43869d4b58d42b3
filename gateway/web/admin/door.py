"""The door of the admin's desk: tokens of programs, sessions of browsers, the pages of signing in and out."""

import re
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.access.roles import SignedIn
from gateway.access.throttle import Throttle
from gateway.oci.errors import OciError, Situation
from gateway.sign_in import LINK_PATH, Opened, SignIn
from gateway.web.admin.bodies import MAX_KEPT_BYTES, read_form
from gateway.web.admin.gate import require_own_form, require_own_page
from gateway.web.admin.pages import Drawer, path_of, redirect
from gateway.web.forwarded import ClientOf

COOKIE = "__Host-session"
PROBE = "__Host-probe"  # tells whether this browser would keep the session's
SIGN_IN_PATH = "/admin/sign-in"
_HOME = "/admin/"
_BEARER = re.compile(r"bearer +([!-~]{1,1024})", re.IGNORECASE)
_OWN_PATH = re.compile(r"/admin(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?")
_OF_THE_DOOR = (SIGN_IN_PATH, "/admin/sign-out", LINK_PATH)
_KEPT = "kept:"
_MAX_PATH = 2000


class SessionDoor:
    """Knows who asks. What somebody posts whose session is over is kept, and sent on once they are in."""

    def __init__(self, sign_in: SignIn, throttle: Throttle, client_of: ClientOf, drawer: Drawer) -> None:
        self._sign_in = sign_in
        self._throttle = throttle
        self._client_of = client_of
        self._drawer = drawer

    async def asker(self, request: Request) -> SignedIn | None:
        """By a token, which counts if there is one, or by a session; raise OciError for a wrong token."""
        authorization = request.headers.get("authorization")
        if authorization is not None:
            return await self._by_token(request, authorization)
        secret = request.cookies.get(COOKIE)
        return None if secret is None else await self._sign_in.by_session(secret)

    async def sign_in_page(self, request: Request, form: dict[str, str]) -> Response:
        kept = {name: text for name, text in form.items() if name != "form_token"}
        return self._ask(request, own_path(path_of(request)), kept, is_posted=request.method == "POST")

    async def resume_page(self, request: Request, asker: SignedIn, form: dict[str, str]) -> Response:
        """For a form of a session before this one, sent by a page of ours: it is offered to be sent again."""
        kept = {name: text for name, text in form.items() if name != "form_token"}
        return self._resume(own_path(path_of(request)), kept, asker, status=403)

    def routes(self) -> Sequence[Route]:
        return (
            Route(SIGN_IN_PATH, self._show, methods=["GET"]),
            Route(SIGN_IN_PATH, self._let_in, methods=["POST"]),
            Route("/admin/sign-out", self._let_out, methods=["POST"]),
            Route(LINK_PATH, self._show_link, methods=["GET"]),
            Route(LINK_PATH, self._use_link, methods=["POST"]),
        )

    async def _by_token(self, request: Request, authorization: str) -> SignedIn:
        found = _BEARER.fullmatch(authorization)
        if found is None:
            raise OciError(Situation.NOT_SIGNED_IN, "sign in with Authorization: Bearer TOKEN")
        client = self._client(request)
        self._throttle.require(client)
        asker = await self._sign_in.by_secret(found[1])
        self._throttle.judge(client, is_right=asker is not None)
        if asker is None:
            raise OciError(Situation.NOT_SIGNED_IN, "this token is not known, was revoked, or has expired")
        return asker

    async def _show(self, request: Request) -> Response:
        return self._ask(request, own_path(request.query_params.get("next", "")), {}, status=200)

    async def _let_in(self, request: Request) -> Response:
        require_own_form(request)
        form = await read_form(request, MAX_KEPT_BYTES)
        target, is_posted = own_path(form.get("next", "")), "posted" in form
        kept = {key.removeprefix(_KEPT): text for key, text in form.items() if key.startswith(_KEPT)}
        if PROBE not in request.cookies:
            return self._ask(request, target, kept, is_posted=is_posted, trouble="cookie")
        try:
            opened = await self._opened(request, form.get("token", "").strip())
        except OciError as error:
            return self._ask(request, target, kept, is_posted=is_posted, error=error)
        await self._end_session(request)
        if not is_posted:
            return _with_session(redirect(target), opened)
        return _with_session(self._resume(target, kept, opened.asker), opened)

    async def _opened(self, request: Request, secret: str) -> Opened:
        client = self._client(request)
        self._throttle.require(client)
        opened = await self._sign_in.begin(secret)
        self._throttle.judge(client, is_right=opened is not None)
        if opened is None:
            raise OciError(Situation.NOT_SIGNED_IN, "This token is not known, was revoked, or has expired.")
        return opened

    async def _let_out(self, request: Request) -> Response:
        require_own_form(request)
        form = await read_form(request, MAX_KEPT_BYTES)
        asker = await self.asker(request)
        if asker is not None:
            require_own_page(request, asker, form.get("form_token"))
            await self._end_session(request)
        response = redirect(SIGN_IN_PATH, out="1")
        response.delete_cookie(COOKIE, "/", secure=True, httponly=True, samesite="strict")
        return response

    async def _show_link(self, request: Request) -> Response:
        """Looking at a link, as programs do that meet one in a log or a chat, does not use it up."""
        link = request.query_params.get("link", "")
        is_link = await self._is_link(request, link)
        return await self._welcome(request, link, trouble="" if is_link else "over")

    async def _use_link(self, request: Request) -> Response:
        require_own_form(request)
        link = (await read_form(request, MAX_KEPT_BYTES)).get("link", "")
        if not await self._is_link(request, link):
            return await self._welcome(request, link, trouble="over")
        if PROBE not in request.cookies:
            return await self._welcome(request, link, trouble="cookie")
        opened = await self._sign_in.begin_by_link(link)
        if opened is None:
            return await self._welcome(request, link, trouble="over")
        return _with_session(redirect("/admin/access"), opened)

    async def _is_link(self, request: Request, link: str) -> bool:
        client = self._client(request)
        self._throttle.require(client)
        is_link = await self._sign_in.is_link(link)
        self._throttle.judge(client, is_right=is_link)
        return is_link

    async def _welcome(self, request: Request, link: str, *, trouble: str) -> Response:
        status = {"": 200, "over": 404, "cookie": 400}[trouble]
        host = request.headers.get("host", "")
        return _with_probe(
            self._drawer.page("welcome.html", None, status, link=link, trouble=trouble, host=host)
        )

    async def _end_session(self, request: Request) -> None:
        """Whoever signs in, or out, has no other session in this browser."""
        secret = request.cookies.get(COOKIE)
        asker = None if secret is None else await self._sign_in.by_session(secret)
        if secret is not None and asker is not None:
            await self._sign_in.end(secret, asker)

    def _resume(self, target: str, kept: dict[str, str], asker: SignedIn, *, status: int = 200) -> Response:
        values = {"target": target, "kept": kept, "form_token": asker.form_token or ""}
        return self._drawer.page("resume.html", None, status, **values)

    def _ask(
        self,
        request: Request,
        target: str,
        kept: dict[str, str],
        *,
        is_posted: bool = False,
        status: int = 401,
        trouble: str = "",
        error: OciError | None = None,
    ) -> Response:
        """Show the form; it sends ``kept`` along."""
        response = self._drawer.page(
            "sign_in.html",
            None,
            status if error is None else error.status,
            target=target,
            kept={f"{_KEPT}{name}": text for name, text in kept.items()},
            is_posted=is_posted,
            trouble=trouble,
            message="" if error is None else error.message,
            host=request.headers.get("host", ""),
            is_out=request.query_params.get("out") == "1",
            is_from_elsewhere=request.headers.get("sec-fetch-site") == "cross-site",
        )
        if response.status_code == 401:
            response.headers["www-authenticate"] = 'Bearer realm="chart-gateway"'
        if error is not None and error.retry_after_seconds is not None:
            response.headers["retry-after"] = str(error.retry_after_seconds)
        return _with_probe(response)

    def _client(self, request: Request) -> str:
        return self._client_of(request.scope, dict(request.scope["headers"]))


def own_path(text: str) -> str:
    """A page of the desk to go on to; anything else, also of another host, is the first page."""
    is_own = len(text) <= _MAX_PATH and _OWN_PATH.fullmatch(text) and not text.startswith(_OF_THE_DOOR)
    return text if is_own and text != "/admin" else _HOME


def _with_session(response: Response, opened: Opened) -> Response:
    response.set_cookie(COOKIE, opened.secret, path="/", secure=True, httponly=True, samesite="strict")
    return response


def _with_probe(response: Response) -> Response:
    response.set_cookie(PROBE, "kept", path="/", secure=True, httponly=True, samesite="strict")
    return response
