"""Members of a YAML mapping, read as Go's typed decoding reads them for Helm."""

import re
import struct
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import TypeAlias

from gateway.helm.document import Plain, Value

_FLAGS: Mapping[str, bool] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_PREFIXED = re.compile(r"([-+]?)(?:(0[xX][0-9a-fA-F]+)|(0[bB][01]+)|0[oO]?([0-7]+))", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_DROPPED = frozenset(("Cc", "Cf", "Cs", "Co"))

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


class MetadataError(ValueError):
    """Helm would not take this for a chart's metadata; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping whose members are asked for by name and type; a null, or none, is the type's empty value.

    Go matches names whatever their case; of several that match, the last in order of their bytes counts.
    """

    where: str
    values: Mapping[str, Value]

    @classmethod
    def of(cls, value: Value, where: str) -> "Fields":
        if not isinstance(value, dict):
            raise MetadataError(f"{where} is no mapping")
        return cls(where, {name.casefold(): value[name] for name in sorted(value)})

    def text(self, name: str) -> str:
        """Return a string as written: ``1.10`` stays ``1.10``."""
        return _text(self.values.get(name.casefold()), f"{self.where}: {name}")

    def line(self, name: str) -> str:
        """Return a string as Helm cleans it, see ``printable``."""
        return printable(self.text(name))

    def lines(self, name: str) -> tuple[str, ...]:
        where = f"{self.where}: {name}"
        return tuple(printable(_text(item, where)) for item in self._items(name))

    def flag(self, name: str) -> bool:
        value = self.values.get(name.casefold())
        if value is None:
            return False
        if not isinstance(value, Plain) or value not in _FLAGS:
            raise MetadataError(f"{self.where}: {name} is neither true nor false")
        return _FLAGS[value]

    def texts_by_key(self, name: str) -> Mapping[str, str]:
        value = self.values.get(name.casefold())
        where = f"{self.where}: {name}"
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise MetadataError(f"{where} is no mapping")
        return {key: _text(value[key], f"{where}: {key}") for key in sorted(value)}

    def records(self, name: str) -> list["Fields"]:
        where = f"{self.where}: {name}"
        return [Fields.of(item, f"{where}[{place}]") for place, item in enumerate(self._items(name))]

    def untyped(self, name: str) -> tuple[Json, ...]:
        where = f"{self.where}: {name}"
        return tuple(_json(item, where) for item in self._items(name))

    def _items(self, name: str) -> list[Value]:
        value = self.values.get(name.casefold())
        if value is None:
            return []
        if not isinstance(value, list):
            raise MetadataError(f"{self.where}: {name} is no list")
        return value


def printable(text: str) -> str:
    """Return ``text`` on one line: every white space a blank, nothing that cannot be printed.

    Helm cleans most fields so when it loads a chart, and what it pushes is the clean text. Characters that
    Unicode has not assigned are kept, since which those are depends on the Python that runs.
    """
    if text.isascii() and text.isprintable():
        return text
    blanks = (" " if char.isspace() and char not in "\x1c\x1d\x1e\x1f" else char for char in text)
    return "".join(char for char in blanks if unicodedata.category(char) not in _DROPPED)


def _text(value: Value, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MetadataError(f"{where} is no string")
    return _as_helm_prints(value) if isinstance(value, Plain) else value


def _as_helm_prints(text: Plain) -> str:
    """Return the string Helm makes of a scalar that YAML takes for a flag or a number: 1.10 becomes 1.1."""
    if text in _FLAGS:
        return "true" if _FLAGS[text] else "false"
    if match := _INFINITE.fullmatch(text):
        return "NaN" if match[0][-1] in "nN" else f"{'-' if text[0] == '-' else '+'}Inf"
    whole = _whole(text)
    if whole is not None:
        return str(whole)
    number = _number(text)
    return str(text) if number is None else _shortest_single(number)


def _whole(text: str) -> int | None:
    """Return a number that fits 64 bits as Go's ParseInt and ParseUint take it, else None."""
    digits = text.replace("_", "") if text[0] in "+-0123456789" else text
    match = _PREFIXED.fullmatch(digits)
    if match is not None:
        sign, hexadecimal, binary, octal = match.groups()
        whole = int(hexadecimal or binary or f"0o{octal}", 0) * (-1 if sign == "-" else 1)
    elif re.fullmatch(r"[-+]?(?:0|[1-9][0-9]{0,19})", digits, re.ASCII):
        whole = int(digits)
    else:
        return None
    return whole if -(2**63) <= whole < (2**63 if digits[0] in "+-" else 2**64) else None


def _shortest_single(number: float) -> str:
    """Print as Go's FormatFloat(number, 'g', -1, 32): the fewest digits that are the same single float."""
    if abs(number) >= 3.4028235677973366e38:
        return "+Inf" if number > 0 else "-Inf"
    single = struct.unpack("f", struct.pack("f", number))[0]
    text = next(
        text
        for text in (f"{single:.{digits}e}" for digits in range(9))
        if struct.unpack("f", struct.pack("f", float(text)))[0] == single
    )
    exponent = int(text.partition("e")[2])
    if -4 <= exponent < 6:
        return format(Decimal(text), "f")
    return text


def _json(value: Value, where: str) -> Json:
    """Return what JSON the value becomes on its way through Helm: untyped, every number a float64."""
    if isinstance(value, list):
        return [_json(item, where) for item in value]
    if isinstance(value, dict):
        return {key: _json(value[key], where) for key in sorted(value)}
    if not isinstance(value, Plain):
        return value
    if _INFINITE.fullmatch(value):
        raise MetadataError(f"{where} has {value}, which JSON cannot say")
    if value in _FLAGS:
        return _FLAGS[value]
    number = _number(value)
    return str(value) if number is None else _spelled_as_go(number, where)


def _number(text: str) -> float | None:
    digits = text.replace("_", "") if text[0] in "+-0123456789" else text
    if match := _PREFIXED.fullmatch(digits):
        sign, hexadecimal, binary, octal = match.groups()
        whole = int(hexadecimal or binary or f"0o{octal}", 0)
        return float(f"{sign}{whole}") if whole < 2**63 else None
    if not _DECIMAL.fullmatch(digits):
        return None
    number = float(digits)
    return number if isfinite(number) else None


def _spelled_as_go(number: float, where: str) -> int | float:
    """Return a number that json.dumps writes as Go's encoding/json would."""
    if number.is_integer() and abs(number) < 1e21:
        return int(Decimal(repr(number)))
    if abs(number) < 1e-4:
        raise MetadataError(f"{where} has {number}, too small a number to stand in a chart's metadata")
    return number
