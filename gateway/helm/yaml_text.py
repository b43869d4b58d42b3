"""Values written as YAML that every parser reads alike: blocks, each text in double quotes on one line."""

import json
import re
from collections.abc import Mapping, Sequence

from gateway.helm.document import Plain

# What JSON leaves as it is and YAML must not have, or no file (half a character); and what might begin an
# anchor, if it were not in quotes: index_outline has to know that there are none.
_UNSAFE = re.compile("[&\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*", re.ASCII)
_NO_TEXTS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
_PLAIN_VALUE = re.compile(r"[-+.]{0,2}[A-Za-z0-9_][A-Za-z0-9_.+-]*", re.ASCII)


def quoted(text: str) -> str:
    return _UNSAFE.sub(_escaped, json.dumps(text, ensure_ascii=False))


def plain_key(name: str) -> str:
    """Return a key as it is where no parser could take it for anything but this text, else in quotes."""
    is_plain = _PLAIN_KEY.fullmatch(name) is not None and name.lower() not in _NO_TEXTS
    return name if is_plain else quoted(name)


def after_colon(value: object, column: int) -> str:
    """Return what is written after a key's colon, or a dash; further lines begin in ``column``.

    A Plain one, of which YAML decides the type, stays as it was written where it may be no text.
    """
    line = "\n" + " " * column
    match value:
        case Plain():
            return f" {value}" if _PLAIN_VALUE.fullmatch(value) else f" {quoted(value)}"
        case str():
            return f" {quoted(value)}"
        case Mapping() if value:
            return "".join(
                f"{line}{plain_key(str(key))}:{after_colon(member, column + 2)}"
                for key, member in value.items()
            )
        case Sequence() if value:
            return "".join(f"{line}- {after_colon(item, column + 2).lstrip()}" for item in value)
        case _:  # nothing inside, or a number, a flag, a null
            return f" {json.dumps(value)}"


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    return "\\ufffd" if "\ud800" <= character <= "\udfff" else f"\\u{ord(character):04x}"
