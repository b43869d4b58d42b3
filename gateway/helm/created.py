"""When a chart version was created: the text that its manifest has, and the time that policies ask for."""

import hashlib
import re
from calendar import monthrange
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from gateway.helm.version import spellings

_TIME = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>[0-9]{2})T(?P<hour>[01]?[0-9]|2[0-3])"
    r"(?P<rest>:[0-5][0-9]:[0-5][0-9])(?:[.,](?P<fraction>[0-9]+))?"
    r"(?:Z|(?P<sign>[+-])(?P<offset_hours>[01][0-9]|2[0-4]):(?P<offset_minutes>[0-5][0-9]|60))",
    re.ASCII,
)
_OCI = "org.opencontainers.image."
_ZERO = "0001-01-01T00:00:00Z"  # what Go writes for a time that was never set
_BASE = datetime(2020, 1, 1, tzinfo=UTC)


def created_at(entry_text: str | None, name: str, version: str) -> str:
    """Return the entry's ``created`` with whole seconds and its own offset.

    Without one, or with one that is no RFC 3339 time, a time in or after 2020 that follows from name and
    version alone.
    """
    match = None if entry_text is None else _time(entry_text)
    if match is not None:
        return _whole_seconds(match)
    seconds = int.from_bytes(hashlib.sha256(f"{name}@{version}".encode()).digest()[:4], "big")
    return (_BASE + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def created_seconds(entry_text: str | None) -> float | None:
    """Return the entry's ``created`` in seconds since 1970; None without one, or where it is no time."""
    match = None if entry_text is None else _time(entry_text)
    if match is None or match["year"] == "0000":  # a year that Go has, and Python has not
        return None
    local = datetime.fromisoformat(f"{_local(match)}+00:00").timestamp()
    fraction = float(f"0.{(match['fraction'] or '0')[:9]}")
    return local + fraction - 60 * _offset_minutes(match)


def told_seconds(annotations: Mapping[str, str]) -> float | None:
    """Return when an artifact was made by its annotations, in seconds since 1970; None where they do not say.

    What stands there of a chart whose index entry has no ``created`` follows from its name: it says nothing.
    """
    text, name, version = (annotations.get(f"{_OCI}{key}") for key in ("created", "title", "version"))
    if name is not None and version is not None:
        is_invented = text in {created_at(None, name, spelling) for spelling in spellings(version)}
        return None if is_invented else created_seconds(text)
    return created_seconds(text)


def _time(text: str) -> re.Match[str] | None:
    """Read an RFC 3339 time as Go does; None for none, and for Go's zero time."""
    match = _TIME.fullmatch(text)
    if match is None or not 1 <= int(match["day"]) <= monthrange(int(match["year"]), int(match["month"]))[1]:
        return None
    if _whole_seconds(match) == _ZERO and not (match["fraction"] or "")[:9].strip("0"):
        return None
    return match


def _whole_seconds(match: re.Match[str]) -> str:
    """Print the time again as Go would."""
    offset = _offset_minutes(match)
    hours, minutes = divmod(abs(offset), 60)
    return f"{_local(match)}{match['sign']}{hours:02}:{minutes:02}" if offset else f"{_local(match)}Z"


def _local(match: re.Match[str]) -> str:
    return f"{match['year']}-{match['month']}-{match['day']}T{match['hour']:0>2}{match['rest']}"


def _offset_minutes(match: re.Match[str]) -> int:
    """How far its clocks are ahead of UTC."""
    if match["sign"] is None:
        return 0
    minutes = int(match["offset_hours"]) * 60 + int(match["offset_minutes"])
    return -minutes if match["sign"] == "-" else minutes
