"""The admin's desk without a server: its ASGI application, and a door that lets in whoever says who he is."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import httpx
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from gateway.access.roles import Role, SignedIn
from gateway.web.admin.app import Desk, admin_app
from gateway.web.admin.operations import Endpoint
from gateway.web.admin.pages import Drawer, Page

ORIGIN = "http://desk.example"
FORM_TOKEN = "the-form-token"
VIEWER = {"x-test-role": "viewer"}
EDITOR = {"x-test-role": "editor"}


class OpenDoor:
    """``x-test-role`` says who asks; ``x-test-session`` that it is a browser with a session."""

    async def asker(self, request: Request) -> SignedIn | None:
        role = request.headers.get("x-test-role")
        if role is None:
            return None
        form_token = FORM_TOKEN if "x-test-session" in request.headers else None
        return SignedIn(f"the {role}", Role(role), form_token)

    async def sign_in_page(self, _request: Request, form: Mapping[str, str]) -> Response:
        return HTMLResponse(f"<p>sign in; {len(form)} fields are kept</p>", 401)

    async def resume_page(self, _request: Request, _asker: SignedIn, form: Mapping[str, str]) -> Response:
        return HTMLResponse(f"<p>send it again; {len(form)} fields are kept</p>", 403)

    def routes(self) -> Sequence[Route]:
        return []


@asynccontextmanager
async def open_desk(
    *, endpoints: Sequence[Endpoint] = (), pages: Sequence[Page] = (), drawer: Drawer | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the desk with these operations and pages, and no others."""
    draw = drawer or Drawer("test", lambda: 0.0)

    desk = Desk("test", OpenDoor(), endpoints, pages, [], _nothing_runs, draw.error_page)
    transport = httpx.ASGITransport(admin_app(desk, _record_nothing))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        yield client


def as_browser(role: Role) -> dict[str, str]:
    """Headers of a form sent by a page of the desk; its fields have ``form_token`` FORM_TOKEN."""
    return {"x-test-role": role.value, "x-test-session": "yes", "origin": ORIGIN}


@asynccontextmanager
async def _nothing_runs() -> AsyncIterator[None]:
    yield


def _record_nothing(**_fields: object) -> None:
    """No access log."""
