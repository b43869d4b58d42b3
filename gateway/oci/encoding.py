"""Compact JSON, byte for byte as Go's encoding/json writes it."""

import json

_GO_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def dump_compact(value: object) -> bytes:
    """Encode in UTF-8 without spaces, members in the order given, HTML characters escaped.

    Go escapes ``<`` ``>`` ``&`` U+2028 U+2029, and writes backspace and form feed as ``\\b`` ``\\f``.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_GO_ESCAPES).encode()
