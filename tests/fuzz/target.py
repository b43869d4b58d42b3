"""What is fuzzed: a check of any bytes at all, and what to begin with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """``check`` raises for bytes that break a promise, and for nothing else.

    ``words`` are what its grammar is made of: chance alone would be long in finding them.
    """

    name: str
    check: Callable[[bytes], None]
    seeds: Sequence[bytes]
    words: Sequence[str] = ()
    max_bytes: int = 1024


def text_of(data: bytes) -> str:
    """Any bytes as text, as headers and paths reach Python: those that are no UTF-8 by their number."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def parts_of(data: bytes, count: int) -> Sequence[bytes]:
    """So many parts of an input, which NUL divides; those that are missing are empty."""
    parts = data.split(b"\0", count - 1)
    return [*parts, *[b""] * (count - len(parts))]
