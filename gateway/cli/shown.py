"""How the commands write times."""

from datetime import UTC, datetime


def iso_time(seconds: float) -> str:
    """To the second, for programs."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def minute(seconds: float) -> str:
    """To the minute, in UTC, for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
