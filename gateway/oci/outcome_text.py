"""An outcome as one line of text and back: for those in other processes who waited for it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from gateway.oci.decoding import Json, parse_json
from gateway.oci.outcomes import (
    Corrupt,
    Denied,
    Missing,
    MissingName,
    NotThisKind,
    Outcome,
    Skipped,
    Unavailable,
    UnknownHost,
    Withheld,
)

_MAX_BYTES: Final = 1 << 20
_PLAIN: Mapping[str, type[Outcome]] = {
    kind.__name__: kind for kind in (Outcome, Missing, MissingName, Skipped, NotThisKind, Denied, Withheld)
}


def outcome_to_text(outcome: Outcome) -> str:
    """Write the kind and every field; what led to it, its ``__cause__``, is not told."""
    return json.dumps({"kind": type(outcome).__name__, **asdict(outcome)})


def outcome_from_text(text: str) -> Outcome:
    """Make a new outcome of the same kind with the same fields; raise ValueError for any other text."""
    members = parse_json(text.encode(), _MAX_BYTES)
    match members:
        case {"tried": list(tried)}:
            outcome = _read(members)
            outcome.tried = tuple(line for line in tried if isinstance(line, str))
            return outcome
    raise ValueError("it is no outcome")


def _read(members: Json) -> Outcome:
    match members:
        case {"kind": "UnknownHost", "message": str(message), "is_refused": bool(is_refused)}:
            return UnknownHost(message, is_refused)
        case {
            "kind": "Unavailable",
            "message": str(message),
            "retry_after_seconds": int() | None as seconds,
            "is_rate_limited": bool(is_rate_limited),
        }:
            return Unavailable(message, seconds, is_rate_limited)
        case {"kind": "Corrupt", "message": str(message), "reason": str(reason)}:
            return Corrupt(message, reason)
        case {"kind": str(kind), "message": str(message)} if kind in _PLAIN:
            return _PLAIN[kind](message)
    raise ValueError("it is no outcome that we know")
