"""The admin's desk as one ASGI application: pages below /admin/, the API below /admin/api/."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from gateway.access.roles import Role, SignedIn
from gateway.oci.errors import OciError, Situation
from gateway.store.blobs import StorageFailed
from gateway.web.admin.bodies import MAX_KEPT_BYTES, note_written, read_form
from gateway.web.admin.gate import (
    METHODS,
    AdminGate,
    has_body,
    is_of_session,
    require_own_form,
    require_own_page,
)
from gateway.web.admin.openapi import openapi
from gateway.web.admin.operations import API, Endpoint
from gateway.web.admin.pages import STATIC, Page, Visit

Respond = Callable[[Request], Awaitable[Response]]
_READING = frozenset({"GET", "HEAD"})


class Door(Protocol):
    """Who asks, and what is shown to whom nobody knows."""

    async def asker(self, request: Request) -> SignedIn | None:
        """By a bearer token or a session; raise OciError for one that is wrong."""

    async def sign_in_page(self, request: Request, form: dict[str, str]) -> Response:
        """401; ``form`` is what was sent by somebody whose session is over: it must survive."""

    async def resume_page(self, request: Request, asker: SignedIn, form: dict[str, str]) -> Response:
        """For a form that a page of ours sent for a session before this one: it must survive, too."""

    def routes(self) -> Sequence[Route]:
        """Those of signing in and out, which are nobody else's."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the application is made of; ``running`` holds as long as it serves."""

    version: str
    door: Door
    endpoints: Sequence[Endpoint]
    pages: Sequence[Page]
    routes: Sequence[Route]
    running: Callable[[], AbstractAsyncContextManager[None]]
    error_page: Callable[[Request, OciError], Response]


def admin_app(desk: Desk, record: Callable[..., None]) -> ASGIApp:
    """The application of the admin listener; ``record`` is given what there is to say of each request."""

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        async with desk.running():
            yield

    description = openapi(desk.version, desk.endpoints)
    routes = [
        *desk.routes,
        *desk.door.routes(),
        _by_method(
            f"{API}/openapi.json", {"GET": _signed_in(desk.door, _constant(description), Role.VIEWER)}
        ),
        *_api_routes(desk),
        *_page_routes(desk),
        Mount("/admin/static", StaticFiles(directory=STATIC)),
        Route("/", _to_desk),
    ]
    router = Router(routes, redirect_slashes=False, lifespan=lifespan)
    return AdminGate(router, desk.error_page, record)


async def _to_desk(_request: Request) -> Response:
    return RedirectResponse("/admin/", 302)


def _constant(value: object) -> Callable[[Request, SignedIn], Awaitable[Response]]:
    async def openapi_json(_request: Request, _asker: SignedIn) -> Response:
        return JSONResponse(value, headers={"Cache-Control": "no-store"})

    return openapi_json


def _api_routes(desk: Desk) -> list[Route]:
    """One route a path: what it does not offer is said with what it does."""
    ordered = sorted(desk.endpoints, key=lambda one: one.path.replace("{", "~"))
    return [
        _by_method(f"{API}{path}", {one.method: _operated(desk.door, one) for one in of_path})
        for path, of_path in groupby(ordered, lambda one: one.path)
    ]


def _page_routes(desk: Desk) -> list[Route]:
    ordered = sorted(desk.pages, key=lambda one: one.path.replace("{", "~"))
    return [
        _by_method(f"/admin{path}", {one.method: _visited(desk.door, one) for one in of_path})
        for path, of_path in groupby(ordered, lambda one: one.path)
    ]


def _by_method(path: str, answers: dict[str, Respond]) -> Route:
    allowed = sorted({*answers, *({"HEAD"} if "GET" in answers else ())})

    async def answer(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        if method not in answers:
            offered = ", ".join(allowed)
            message = f"{request.method[:20]} is not offered here: {offered}"
            raise OciError(Situation.METHOD_NOT_OFFERED, message, {"allow": offered})
        if method == "GET" and has_body(request.scope):
            raise OciError(Situation.BODY_NOT_ALLOWED, "a body is not read here")
        return await answers[method](request)

    return Route(path, answer, methods=sorted(METHODS))


def _operated(door: Door, endpoint: Endpoint) -> Respond:
    return _signed_in(door, endpoint.answer, endpoint.role)


def _signed_in(door: Door, answer: Callable[[Request, SignedIn], Awaitable[Response]], role: Role) -> Respond:
    """For the API: a token, or the session of a page of ours."""

    async def respond(request: Request) -> Response:
        asker = await door.asker(request)
        if asker is None:
            raise OciError(Situation.NOT_SIGNED_IN, "sign in with Authorization: Bearer TOKEN")
        require_role(asker, role)
        if request.method not in _READING and asker.form_token is not None:
            require_own_page(request, asker)
        return await answer(request, asker)

    return respond


def _visited(door: Door, page: Page) -> Respond:
    async def respond(request: Request) -> Response:
        if page.method != "POST":
            asker = await door.asker(request)
            return await (page.do(_visit(request, asker, page)) if asker else door.sign_in_page(request, {}))
        require_own_form(request)
        try:
            asker = await door.asker(request)
        except StorageFailed:
            await _written(request, page, None)  # the page that tells of it gives it back
            raise
        form = await _written(request, page, asker)
        if asker is None:
            return await door.sign_in_page(request, form)
        if asker.form_token is not None and not is_of_session(asker, form.get("form_token", "")):
            return await door.resume_page(request, asker, form)
        require_own_page(request, asker, form.get("form_token"))
        return await page.do(_visit(request, asker, page, form))

    return respond


async def _written(request: Request, page: Page, asker: SignedIn | None) -> dict[str, str]:
    """The form; of who is not known as whom they may send it, no more than is kept for them."""
    may_send = asker is not None and asker.role.may_act_as(page.role)
    most = page.max_form_bytes if may_send else min(page.max_form_bytes, MAX_KEPT_BYTES)
    form = await read_form(request, most)
    note_written(request, form)
    return form


def _visit(request: Request, asker: SignedIn, page: Page, form: Mapping[str, str] | None = None) -> Visit:
    require_role(asker, page.role)
    return Visit(request, asker, form or {})


def require_role(asker: SignedIn, role: Role) -> None:
    if not asker.role.may_act_as(role):
        message = f"{asker.name} may look, not change: this needs the role {role.value}"
        raise OciError(Situation.DENIED, message)
