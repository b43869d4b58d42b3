"""Bodies of requests at the admin's desk: bounded in size and in time."""

import asyncio
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from gateway.oci.errors import OciError, Situation

BODY_SECONDS = 15.0
MAX_FIELDS = 1000
MAX_KEPT_BYTES = 4 << 20  # of a form that somebody sent whose session had ended: 1 MiB of text and more
_AT_ONCE_BYTES = 4096
FORM = "application/x-www-form-urlencoded"
_WRITTEN = "gateway.form"


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Raise OciError for one that is larger, or takes longer than 15 s to come."""
    too_large = OciError(Situation.BODY_TOO_LARGE, f"a body has at most {max_bytes} bytes here")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > max_bytes:
        raise too_large
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                content += piece
                if len(content) > max_bytes:
                    raise too_large
    except TimeoutError:
        raise OciError(
            Situation.BODY_TOO_SLOW, f"the body did not come within {BODY_SECONDS:.0f} s"
        ) from None
    except ClientDisconnect as error:
        raise OciError(Situation.BODY_MALFORMED, "the body broke off") from error
    return bytes(content)


async def read_form(request: Request, max_bytes: int) -> dict[str, str]:
    """The fields of a form; of those that stand there twice the last counts."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != FORM:
        raise OciError(Situation.MEDIA_TYPE_NOT_TAKEN, f"a form comes as {FORM}")
    content = await read_body(request, max_bytes)
    if len(content) <= _AT_ONCE_BYTES:
        return _fields(content)
    return await asyncio.to_thread(_fields, content)  # a quarter of a second for the largest


def note_written(request: Request, form: dict[str, str]) -> None:
    """Have a page that tells of a failure give back what somebody wrote."""
    request.scope[_WRITTEN] = form


def written(request: Request) -> dict[str, str]:
    form: dict[str, str] = request.scope.get(_WRITTEN, {})
    return form


def _fields(content: bytes) -> dict[str, str]:
    try:
        fields = parse_qsl(
            content.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise OciError(Situation.BODY_MALFORMED, "the form cannot be read") from error
    return {name: text.replace("\r\n", "\n") for name, text in fields}
