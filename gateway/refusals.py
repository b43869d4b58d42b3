"""What a pull that failed says to its client: the second border, from outcomes to OCI errors."""

from collections.abc import Sequence

from gateway.oci.errors import OciError, Situation
from gateway.oci.outcomes import Corrupt, Denied, Missing, MissingName, Outcome, Unavailable, UnknownHost

_RETRY_AFTER_SECONDS = 5


def refusal(outcome: Outcome, absent: Situation) -> OciError:
    """Return the error for an outcome; ``absent`` is what a plain Missing means here."""
    match outcome:
        case UnknownHost():
            return OciError(Situation.HOST_NOT_KNOWN, outcome.message, _tried(outcome) or None)
        case MissingName():
            return OciError(Situation.NAME_NOT_KNOWN, outcome.message, _tried(outcome) or None)
        case Missing():
            return OciError(absent, outcome.message, _tried(outcome) or None)
        case Denied():
            return OciError(Situation.DENIED, outcome.message, _tried(outcome) or None)
        case Corrupt():
            return OciError(
                Situation.SOURCE_CORRUPT, outcome.message, {"reason": outcome.reason, **_tried(outcome)}
            )
        case Unavailable(is_rate_limited=True):
            return OciError(
                Situation.RATE_LIMITED,
                outcome.message,
                _tried(outcome) or None,
                retry_after_seconds=outcome.retry_after_seconds or _RETRY_AFTER_SECONDS,
            )
        case _:
            return unavailable(outcome.message, outcome)


def unavailable(message: str, outcome: Outcome | None = None) -> OciError:
    """Nobody could answer, and nothing is held that could be served instead."""
    asked_to_wait = outcome.retry_after_seconds if isinstance(outcome, Unavailable) else None
    return OciError(
        Situation.SOURCES_DOWN,
        message,
        {"reason": "unavailable", **(_tried(outcome) if outcome else {})},
        retry_after_seconds=asked_to_wait or _RETRY_AFTER_SECONDS,
    )


def _tried(outcome: Outcome) -> dict[str, Sequence[str]]:
    """What each source said, for programs and for those who look after them."""
    return {"tried": list(outcome.tried)} if outcome.tried else {}
