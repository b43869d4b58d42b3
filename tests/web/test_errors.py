"""The last border: nothing of the inside gets out, and the log says what the client is not told."""

import json
from collections.abc import MutableMapping

import pytest
import structlog

from gateway.oci.errors import OciError, Situation
from gateway.store.blobs import StorageFailed
from gateway.web.errors import answer_failure
from gateway.web.gate import Gate
from tests.web.live import App, Receive, Send, ask_app

pytestmark = pytest.mark.anyio


class Failing:
    """An application that fails, before or after its answer began."""

    def __init__(self, error: Exception, sends_first: int = 0) -> None:
        self._error = error
        self._sends_first = sends_first

    async def __call__(self, _scope: MutableMapping[str, object], _receive: Receive, send: Send) -> None:
        if self._sends_first:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise self._error


def guarded(app: Failing) -> Gate:
    """The gate without its line for each request."""
    return Gate(app, record=lambda **_fields: None)


async def test_an_oci_error_is_answered_as_it_says() -> None:
    error = OciError(Situation.SOURCES_DOWN, "registry: 404", {"reason": "unavailable"}, 5)
    reply = await ask_app(guarded(Failing(error)), "GET", b"/v2/")
    assert (reply.status, reply.code, reply.header("retry-after")) == (503, "UNAVAILABLE", "5")


@pytest.mark.parametrize("error", [RuntimeError("S3CR3T /etc/x"), KeyError("S3CR3T"), OSError(28, "S3CR3T")])
async def test_what_nobody_foresaw_is_500_without_a_word_of_the_inside(error: Exception) -> None:
    with structlog.testing.capture_logs() as logs:
        reply = await ask_app(guarded(Failing(error)), "GET", b"/v2/")
    assert (reply.status, reply.code) == (500, "UNKNOWN")
    assert b"S3CR3T" not in reply.body
    assert type(error).__name__.encode() not in reply.body
    request_id = json.loads(reply.body)["errors"][0]["detail"]["request_id"]
    assert len(request_id) == 16
    (line,) = logs
    assert (line["request_id"], line["exc_info"]) == (request_id, error)


async def test_a_disk_or_a_database_that_refuses_is_an_outage() -> None:
    with structlog.testing.capture_logs() as logs:
        reply = await ask_app(guarded(Failing(StorageFailed("the catalog cannot be read"))), "GET", b"/v2/")
    assert (reply.status, reply.code) == (503, "UNAVAILABLE")
    assert reply.header("retry-after") is not None
    assert len(logs) == 1


async def test_two_failures_have_two_ids() -> None:
    app = guarded(Failing(RuntimeError()))
    assert (await ask_app(app, "GET", b"/v2/")).body != (await ask_app(app, "GET", b"/v2/")).body


async def test_a_head_of_a_failure_has_no_body() -> None:
    reply = await ask_app(guarded(Failing(RuntimeError())), "HEAD", b"/v2/")
    assert (reply.status, reply.body) == (500, b"")
    assert reply.header("content-length") is not None


async def test_an_answer_that_began_is_cut_and_not_continued_with_an_error() -> None:
    with pytest.raises(RuntimeError, match="midway"):
        await ask_app(guarded(Failing(RuntimeError("midway"), sends_first=1)), "GET", b"/v2/")


def answering(error: Exception, *, has_started: bool) -> App:
    """Answers a failure of what was asked under any path, also one that the gate itself refuses."""

    async def app(scope: MutableMapping[str, object], _receive: Receive, send: Send) -> None:
        await answer_failure(error, scope, send, has_started=has_started)

    return app


async def test_an_answer_that_is_cut_is_told_to_the_log_on_one_line() -> None:
    app = answering(TimeoutError("nobody\nreads"), has_started=True)
    with structlog.testing.capture_logs() as logs, pytest.raises(TimeoutError):
        await ask_app(app, "GET", b"/v2/a%0Ab")
    assert logs == [
        {
            "event": "answer_cut",
            "log_level": "warning",
            "path": "/v2/a\\nb",
            "cause": "TimeoutError('nobody\\nreads')",
        }
    ]


@pytest.mark.parametrize(
    ("situation", "code", "status", "level"),
    [
        (Situation.NAME_NOT_KNOWN, "NAME_UNKNOWN", 404, "info"),
        (Situation.SOURCES_DOWN, "UNAVAILABLE", 503, "warning"),
    ],
)
async def test_the_reason_of_a_refusal_is_one_line_of_the_log(
    situation: Situation, code: str, status: int, level: str
) -> None:
    app = answering(OciError(situation, "no such\nplace: é"), has_started=False)
    with structlog.testing.capture_logs() as logs:
        await ask_app(app, "GET", b"/v2/x%0Ay")
    assert logs == [
        {
            "event": "refused",
            "log_level": level,
            "code": code,
            "status": status,
            "reason": "no such\\nplace: \\xe9",
            "path": "/v2/x\\ny",
        }
    ]
