"""One situation, one code, one status; and the ways in which a source can fail."""

import pytest

from gateway.oci.errors import ErrorCode, OciError, Situation
from gateway.oci.outcomes import Corrupt, Denied, Missing, MissingName, Outcome, Unavailable

TABLE = {
    Situation.NAME_BREAKS_GRAMMAR: (ErrorCode.NAME_INVALID, 400),
    Situation.NAME_NOT_KNOWN: (ErrorCode.NAME_UNKNOWN, 404),
    Situation.PATH_MALFORMED: (ErrorCode.NAME_INVALID, 400),
    Situation.PAGING_MALFORMED: (ErrorCode.UNSUPPORTED, 400),
    Situation.TARGET_TOO_LONG: (ErrorCode.UNSUPPORTED, 414),
    Situation.HEADERS_TOO_LARGE: (ErrorCode.UNSUPPORTED, 431),
    Situation.BODY_NOT_ALLOWED: (ErrorCode.UNSUPPORTED, 413),
    Situation.MANIFEST_NOT_KNOWN: (ErrorCode.MANIFEST_UNKNOWN, 404),
    Situation.BLOB_NOT_KNOWN: (ErrorCode.BLOB_UNKNOWN, 404),
    Situation.DIGEST_MALFORMED: (ErrorCode.DIGEST_INVALID, 400),
    Situation.METHOD_NOT_OFFERED: (ErrorCode.UNSUPPORTED, 405),
    Situation.NOT_SIGNED_IN: (ErrorCode.UNAUTHORIZED, 401),
    Situation.DENIED: (ErrorCode.DENIED, 403),
    Situation.RATE_LIMITED: (ErrorCode.TOOMANYREQUESTS, 429),
    Situation.SOURCE_CORRUPT: (ErrorCode.UNKNOWN, 502),
    Situation.SOURCES_DOWN: (ErrorCode.UNAVAILABLE, 503),
    Situation.RANGE_NOT_SATISFIABLE: (ErrorCode.UNSUPPORTED, 416),
    Situation.OUR_FAULT: (ErrorCode.UNKNOWN, 500),
}


@pytest.mark.parametrize("situation", TABLE)
def test_a_situation_has_the_code_and_status_of_the_table(situation: Situation) -> None:
    error = OciError(situation, "why")
    assert (error.code, error.status) == TABLE[situation]


@pytest.mark.parametrize("situation", Situation)
def test_every_situation_has_an_answer(situation: Situation) -> None:
    error = OciError(situation, "why", {"n": 1}, retry_after_seconds=3)
    assert error.code in ErrorCode
    assert 400 <= error.status < 600
    assert str(error) == "why"


@pytest.mark.parametrize("kind", [Missing, MissingName, Denied, Unavailable, Corrupt])
def test_an_outcome_says_what_was_asked(kind: type[Outcome]) -> None:
    outcome = kind("charts.example.com: 404")
    assert str(outcome) == outcome.message == "charts.example.com: 404"
    assert outcome != kind("charts.example.com: 404")  # two failures are never one


def test_nobody_could_answer_never_reads_as_nobody_has_it() -> None:
    unavailable = Unavailable("timed out", retry_after_seconds=5, is_rate_limited=True)
    assert not isinstance(unavailable, Missing)
    assert (unavailable.retry_after_seconds, unavailable.is_rate_limited) == (5, True)
