"""Alive and ready: 503 only while it starts or stops."""

import json
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette

from gateway.web.health import Told, health_routes
from tests.web.live import ask_app

pytestmark = pytest.mark.anyio

TOLD: Told = {"rules": {"revision": 7, "trouble": None}, "storage": {"disk_full": {"since": 1.5}}}


def app_of(readiness: Iterator[bool]) -> Starlette:
    routes = health_routes("1.2.3", lambda: next(readiness), lambda: TOLD)
    return Starlette(routes=routes)


async def test_alive_is_answered_whether_ready_or_not() -> None:
    reply = await ask_app(app_of(iter(())), "GET", b"/healthz")
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "ok", "version": "1.2.3"})
    assert reply.header("cache-control") == "no-store"


async def test_ready_is_asked_anew_each_time() -> None:
    app = app_of(iter((False, True, False)))
    replies = [await ask_app(app, "GET", b"/readyz") for _ in range(3)]
    assert [reply.status for reply in replies] == [503, 200, 503]
    assert [json.loads(reply.body)["status"] for reply in replies] == [
        "starting or stopping",
        "ready",
        "starting or stopping",
    ]
    assert {reply.header("cache-control") for reply in replies} == {"no-store"}
    assert json.loads(replies[1].body) == {"status": "ready", **TOLD}
