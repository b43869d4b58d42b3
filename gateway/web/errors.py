"""The last border: what is raised below becomes an OCI error body, nothing of the inside with it."""

import secrets

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.oci.errors import OciError, Situation
from gateway.refusals import unavailable
from gateway.store.blobs import StorageFailed
from gateway.web.responses import error_answer, send_answer

log = structlog.get_logger(__name__)


def with_errors(app: ASGIApp) -> ASGIApp:
    """Wrap an application: OciError is answered as it says, anything else as our own fault."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        has_started = False

        async def noting_send(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await app(scope, receive, noting_send)
        except Exception as error:
            if has_started:  # cut short of Content-Length: the client sees that it is not whole
                raise
            await send_answer(send, error_answer(_told(error)), is_head=scope["method"] == "HEAD")

    return guarded


def _told(error: Exception) -> OciError:
    if isinstance(error, OciError):
        return error
    if isinstance(error, StorageFailed):
        log.error("storage_failed", exc_info=error)
        return unavailable(str(error))
    request_id = secrets.token_hex(8)
    log.error("request_failed", request_id=request_id, exc_info=error)
    return OciError(
        Situation.OUR_FAULT,
        f"this gateway failed; its log says more under {request_id}",
        {"request_id": request_id},
    )
