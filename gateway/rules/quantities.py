"""Durations and sizes as people write them: ``15s``, ``5m``, ``1d``; ``64M``, ``20G``."""

import re

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d|w)?")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_MAX_DURATION_SECONDS = 100 * 365 * 86400
_SIZE = re.compile(r"([0-9]{1,15})(?:([KMGT])(?:iB?)?)?")
_BYTES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_MAX_SIZE_BYTES = 2**60
_ROUGH = (("d", 86_400), ("h", 3_600), ("min", 60))

DURATION_EXPECTED = "a duration such as 15s, 5m, 12h or 1d"
SIZE_EXPECTED = "a size such as 500K, 64M or 20G"


def parse_duration(text: str) -> float:
    """Return seconds; a number without a unit is seconds. Raise ValueError, also beyond a hundred years."""
    match = _DURATION.fullmatch(text)
    seconds = -1.0 if match is None else float(match[1]) * _SECONDS[match[2] or "s"]
    if not 0 <= seconds <= _MAX_DURATION_SECONDS:
        raise ValueError(f"expected {DURATION_EXPECTED}")
    return seconds


def written_size(size_bytes: int) -> str:
    """As people write it: what parse_size reads as the same."""
    units = (unit for unit in reversed(_BYTES) if size_bytes and size_bytes % _BYTES[unit] == 0)
    unit = next(units, "")
    return f"{size_bytes // _BYTES.get(unit, 1)}{unit}"


def parse_size(text: str) -> int:
    """Return bytes; K, M, G and T are powers of 1024. Raise ValueError, also beyond an exbibyte."""
    match = _SIZE.fullmatch(text)
    size_bytes = -1 if match is None else int(match[1]) * _BYTES.get(match[2], 1)
    if not 0 <= size_bytes <= _MAX_SIZE_BYTES:
        raise ValueError(f"expected {SIZE_EXPECTED}")
    return size_bytes


def rough_duration(seconds: float) -> str:
    """In the largest unit that fits, for people: ``3 h``."""
    whole = max(0, round(seconds))
    unit, size = next(((unit, size) for unit, size in _ROUGH if whole >= size), ("s", 1))
    return f"{whole // size} {unit}"
