"""What a client is told when the answer is no: one situation, one code, one status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Situation(StrEnum):
    """Everything that can go wrong with a request, by the name of what happened."""

    NAME_BREAKS_GRAMMAR = "name breaks the grammar"
    NAME_NOT_KNOWN = "no source has the name"
    HOST_NOT_KNOWN = "the name's host cannot be reached"
    PATH_MALFORMED = "malformed path"
    PAGING_MALFORMED = "bad n or last"
    QUERY_MALFORMED = "bad query"
    BODY_NOT_ALLOWED = "a body where none is read"
    TARGET_TOO_LONG = "request target too long"
    HEADERS_TOO_LARGE = "request headers too large"
    MANIFEST_NOT_KNOWN = "no such manifest"
    NOT_HELD_OFFLINE = "not held, and nobody is asked"
    HIDDEN = "hidden by a rule"
    BLOB_NOT_KNOWN = "no such blob"
    DIGEST_MALFORMED = "malformed digest"
    METHOD_NOT_OFFERED = "method not offered"
    NOT_SIGNED_IN = "no credentials"
    DENIED = "denied"
    RATE_LIMITED = "rate limited"
    SOURCE_CORRUPT = "upstream sent wrong bytes"
    LOOP = "gateways ask each other in a circle"
    SOURCES_DOWN = "every source is down"
    RANGE_NOT_SATISFIABLE = "range cannot be met"
    BODY_MALFORMED = "a body that cannot be read"
    BODY_TOO_LARGE = "a body larger than is read"
    BODY_TOO_SLOW = "a body that does not come"
    MEDIA_TYPE_NOT_TAKEN = "a body of another media type"
    RESOURCE_NOT_KNOWN = "there is nothing here"
    CONFLICT = "what is asked does not go with what is there"
    OUTDATED = "somebody changed it meanwhile"
    CONDITION_MISSING = "no If-Match"
    RULES_INVALID = "rules that cannot be used"
    BUNDLE_REFUSED = "a bundle that cannot be taken"
    OUR_FAULT = "our own fault"


class ErrorCode(StrEnum):
    """The codes of the OCI distribution specification, and distribution's two for 5xx."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    DENIED = "DENIED"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    TOOMANYREQUESTS = "TOOMANYREQUESTS"
    UNAUTHORIZED = "UNAUTHORIZED"
    UNAVAILABLE = "UNAVAILABLE"
    UNKNOWN = "UNKNOWN"
    UNSUPPORTED = "UNSUPPORTED"


_ANSWERS: Mapping[Situation, tuple[ErrorCode, int]] = {
    Situation.NAME_BREAKS_GRAMMAR: (ErrorCode.NAME_INVALID, 400),
    Situation.NAME_NOT_KNOWN: (ErrorCode.NAME_UNKNOWN, 404),
    Situation.HOST_NOT_KNOWN: (ErrorCode.NAME_UNKNOWN, 404),
    Situation.PATH_MALFORMED: (ErrorCode.NAME_INVALID, 400),
    Situation.PAGING_MALFORMED: (ErrorCode.UNSUPPORTED, 400),
    Situation.QUERY_MALFORMED: (ErrorCode.UNSUPPORTED, 400),
    Situation.BODY_NOT_ALLOWED: (ErrorCode.UNSUPPORTED, 413),
    Situation.TARGET_TOO_LONG: (ErrorCode.UNSUPPORTED, 414),
    Situation.HEADERS_TOO_LARGE: (ErrorCode.UNSUPPORTED, 431),
    Situation.MANIFEST_NOT_KNOWN: (ErrorCode.MANIFEST_UNKNOWN, 404),
    Situation.NOT_HELD_OFFLINE: (ErrorCode.MANIFEST_UNKNOWN, 404),
    Situation.HIDDEN: (ErrorCode.MANIFEST_UNKNOWN, 404),
    Situation.BLOB_NOT_KNOWN: (ErrorCode.BLOB_UNKNOWN, 404),
    Situation.DIGEST_MALFORMED: (ErrorCode.DIGEST_INVALID, 400),
    Situation.METHOD_NOT_OFFERED: (ErrorCode.UNSUPPORTED, 405),
    Situation.NOT_SIGNED_IN: (ErrorCode.UNAUTHORIZED, 401),
    Situation.DENIED: (ErrorCode.DENIED, 403),
    Situation.RATE_LIMITED: (ErrorCode.TOOMANYREQUESTS, 429),
    Situation.SOURCE_CORRUPT: (ErrorCode.UNKNOWN, 502),
    Situation.LOOP: (ErrorCode.UNKNOWN, 502),
    Situation.SOURCES_DOWN: (ErrorCode.UNAVAILABLE, 503),
    Situation.RANGE_NOT_SATISFIABLE: (ErrorCode.UNSUPPORTED, 416),
    Situation.BODY_MALFORMED: (ErrorCode.UNSUPPORTED, 400),
    Situation.BODY_TOO_LARGE: (ErrorCode.UNSUPPORTED, 413),
    Situation.BODY_TOO_SLOW: (ErrorCode.UNSUPPORTED, 408),
    Situation.MEDIA_TYPE_NOT_TAKEN: (ErrorCode.UNSUPPORTED, 415),
    Situation.RESOURCE_NOT_KNOWN: (ErrorCode.NAME_UNKNOWN, 404),
    Situation.CONFLICT: (ErrorCode.UNSUPPORTED, 409),
    Situation.OUTDATED: (ErrorCode.UNSUPPORTED, 412),
    Situation.CONDITION_MISSING: (ErrorCode.UNSUPPORTED, 428),
    Situation.RULES_INVALID: (ErrorCode.UNSUPPORTED, 422),
    Situation.BUNDLE_REFUSED: (ErrorCode.UNSUPPORTED, 422),
    Situation.OUR_FAULT: (ErrorCode.UNKNOWN, 500),
}

Detail: TypeAlias = Mapping[str, str | int | Sequence[str] | Sequence[Mapping[str, str | int | None]]]


@dataclass(eq=False)
class OciError(Exception):
    """A refusal a client understands; ``message`` says what was asked and what was tried.

    ``retry_after_seconds`` becomes the Retry-After header.
    """

    situation: Situation
    message: str
    detail: Detail | None = None
    retry_after_seconds: int | None = None

    def __post_init__(self) -> None:
        super().__init__(self.message)

    @property
    def code(self) -> ErrorCode:
        return _ANSWERS[self.situation][0]

    @property
    def status(self) -> int:
        return _ANSWERS[self.situation][1]
