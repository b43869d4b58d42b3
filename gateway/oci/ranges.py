"""Which part of a blob a client asks for: the Range header of RFC 9110 §14, one range at most."""

import re
from dataclasses import dataclass

from gateway.oci.errors import OciError, Situation

MAX_HEADER_LENGTH = 256
_ONE_RANGE = re.compile(r"bytes=(?:([0-9]+)-([0-9]*)|-([0-9]+))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Half open: ``start`` is sent, ``stop`` is not."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    def content_range(self, size: int) -> str:
        """The Content-Range of a 206 answer about a blob of ``size`` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the range asked for of a blob of ``size`` bytes; None means: answer 200 with the whole.

    A header that a server may ignore is ignored: absent, malformed (``bytes=5-2`` is), longer than 256
    characters, in another unit, or with several ranges. ``bytes=-0`` and a start beyond the end are well
    formed and cannot be met: OciError RANGE_NOT_SATISFIABLE.
    """
    if header is None or len(header) > MAX_HEADER_LENGTH:
        return None
    match = _ONE_RANGE.fullmatch(header)
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return _last_bytes(int(suffix), size)
    return _from_to(int(first), int(last) if last else None, size)


def unsatisfied_range(size: int) -> str:
    """The Content-Range of a 416 answer."""
    return f"bytes */{size}"


def _last_bytes(count: int, size: int) -> ByteRange | None:
    if count == 0:
        raise _not_satisfiable(size)
    if size == 0:  # satisfiable by the letter, and no Content-Range can say so
        return None
    return ByteRange(max(0, size - count), size)


def _from_to(first: int, last: int | None, size: int) -> ByteRange | None:
    if last is not None and last < first:
        return None
    if first >= size:
        raise _not_satisfiable(size)
    return ByteRange(first, size if last is None else min(last + 1, size))


def _not_satisfiable(size: int) -> OciError:
    return OciError(
        Situation.RANGE_NOT_SATISFIABLE,
        f"the blob has {size} bytes, none of them in this range",
        {"size": size},
    )
