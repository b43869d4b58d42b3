"""How the commands write times and digests."""

from datetime import UTC, datetime

from gateway.oci.digest import Digest

_SHORT = len("sha256:") + 12


def iso_time(seconds: float) -> str:
    """To the second, for programs."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def minute(seconds: float) -> str:
    """To the minute, in UTC, for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def short_digest(digest: Digest) -> str:
    """As much of it as tells it from others."""
    return str(digest)[:_SHORT]
