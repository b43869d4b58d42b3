"""What a pull that failed says to its client: the second border, from outcomes to OCI errors."""

from gateway.oci.errors import OciError, Situation
from gateway.oci.outcomes import Corrupt, Denied, Missing, MissingName, Outcome, Unavailable

_RETRY_AFTER_SECONDS = 5


def refusal(outcome: Outcome, source: str, absent: Situation) -> OciError:
    """Return the error for an outcome; ``absent`` is what a plain Missing means here."""
    match outcome:
        case MissingName():
            return OciError(Situation.NAME_NOT_KNOWN, outcome.message)
        case Missing():
            return OciError(absent, outcome.message)
        case Denied():
            return OciError(Situation.DENIED, outcome.message)
        case Corrupt():
            detail = {"source": source, "reason": outcome.reason}
            return OciError(Situation.SOURCE_CORRUPT, outcome.message, detail)
        case Unavailable(is_rate_limited=True):
            return OciError(
                Situation.RATE_LIMITED,
                outcome.message,
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
        {"reason": "unavailable"},
        retry_after_seconds=asked_to_wait or _RETRY_AFTER_SECONDS,
    )
