"""When a chart version was created, as its manifest says it: the same text for the same index entry."""

import hashlib
import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta

_TIME = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>[0-9]{2})T(?P<hour>[01]?[0-9]|2[0-3])"
    r"(?P<rest>:[0-5][0-9]:[0-5][0-9])(?:[.,](?P<fraction>[0-9]+))?"
    r"(?:Z|(?P<sign>[+-])(?P<offset_hours>[01][0-9]|2[0-4]):(?P<offset_minutes>[0-5][0-9]|60))",
    re.ASCII,
)
_ZERO = "0001-01-01T00:00:00Z"  # what Go writes for a time that was never set
_BASE = datetime(2020, 1, 1, tzinfo=UTC)


def created_at(entry_text: str | None, name: str, version: str) -> str:
    """Return the entry's ``created`` with whole seconds and its own offset.

    Without one, or with one that is no RFC 3339 time, a time in or after 2020 that follows from name and
    version alone.
    """
    text = None if entry_text is None else _whole_seconds(entry_text)
    if text is not None:
        return text
    seconds = int.from_bytes(hashlib.sha256(f"{name}@{version}".encode()).digest()[:4], "big")
    return (_BASE + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _whole_seconds(text: str) -> str | None:
    """Print an RFC 3339 time again as Go would; None for none, and for Go's zero time."""
    match = _TIME.fullmatch(text)
    if match is None or not 1 <= int(match["day"]) <= monthrange(int(match["year"]), int(match["month"]))[1]:
        return None
    date = f"{match['year']}-{match['month']}-{match['day']}"
    printed = f"{date}T{match['hour']:0>2}{match['rest']}{_offset(match)}"
    if printed == _ZERO and not (match["fraction"] or "")[:9].strip("0"):
        return None
    return printed


def _offset(match: re.Match[str]) -> str:
    if match["sign"] is None:
        return "Z"
    hours, minutes = divmod(int(match["offset_hours"]) * 60 + int(match["offset_minutes"]), 60)
    return f"{match['sign']}{hours:02}:{minutes:02}" if hours or minutes else "Z"
