"""The last border: what is raised below becomes an OCI error body, nothing of the inside with it."""

import secrets
from http import HTTPStatus

import structlog
from starlette.types import Scope, Send

from gateway.oci.errors import OciError, Situation
from gateway.refusals import unavailable
from gateway.store.blobs import StorageFailed
from gateway.web.responses import error_answer, send_answer

log = structlog.get_logger(__name__)


async def answer_failure(error: Exception, scope: Scope, send: Send, *, has_started: bool) -> None:
    """Answer with what an error says; raise it again where an answer is under way already."""
    if has_started:  # cut short of Content-Length: the client sees that it is not whole
        log.warning("answer_cut", path=shown_path(scope), cause=ascii(error))
        raise error
    await send_answer(send, error_answer(failure_told(error, scope)), is_head=scope["method"] == "HEAD")


def log_refused(error: OciError, scope: Scope) -> None:
    """Say why: the line about the request has but its status."""
    say = log.info if error.status < HTTPStatus.INTERNAL_SERVER_ERROR else log.warning
    say(
        "refused",
        code=error.code.value,
        status=error.status,
        reason=ascii(error.message)[1:-1],
        path=shown_path(scope),
    )


def shown_path(scope: Scope) -> str:
    """The path on one line, whatever a client sent."""
    return ascii(scope["path"])[1:-1][:500]


def failure_told(error: Exception, scope: Scope) -> OciError:
    """What the client is told; the log is told more."""
    if isinstance(error, OciError):
        log_refused(error, scope)
        return error
    if isinstance(error, StorageFailed):
        cause = type(error.__cause__ or error).__name__
        log.error("storage_failed", path=shown_path(scope), reason=str(error), cause=cause)
        return unavailable(str(error))
    request_id = secrets.token_hex(8)
    log.error("request_failed", request_id=request_id, path=shown_path(scope), exc_info=error)
    return OciError(
        Situation.OUR_FAULT,
        f"this gateway failed; its log says more under {request_id}",
        {"request_id": request_id},
    )
