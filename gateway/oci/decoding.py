"""JSON from strangers: one reading, or none."""

import json
from typing import TypeAlias

MAX_DEPTH = 64
MAX_PARTS = 200_000  # objects and arrays: a few bytes each as text, a hundred times that in memory
_MAX_INTEGER_DIGITS = 20  # int() of thousands of digits raises, and nothing here counts so far

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Members: TypeAlias = dict[str, Json]


class JsonError(ValueError):
    """The bytes are no JSON that we accept; the message says why."""


def parse_json(content: bytes, max_size_bytes: int) -> Json:
    """Read UTF-8 JSON, or raise JsonError.

    Refused beyond the grammar: NaN and Infinity, a member that stands twice, integers of more than 20
    digits, nesting deeper than 64, more than 200,000 objects and arrays.
    """
    if len(content) > max_size_bytes:
        raise JsonError(f"larger than {max_size_bytes} bytes")
    if content.count(b"{") + content.count(b"[") > MAX_PARTS:
        raise JsonError(f"of more than {MAX_PARTS} parts")
    try:
        value = _load(content.decode())  # json.loads would take UTF-16 as well
    except JsonError:
        raise
    except (ValueError, RecursionError) as error:
        raise JsonError("it is no JSON") from error
    _refuse_depth(value)
    return value


def _load(text: str) -> Json:
    value: Json = json.loads(
        text, object_pairs_hook=_unique_members, parse_int=_parse_int, parse_constant=_refuse_constant
    )
    return value


def _unique_members(pairs: list[tuple[str, Json]]) -> Members:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JsonError("a member stands twice in one object")
    return members


def _parse_int(text: str) -> int:
    if len(text) > _MAX_INTEGER_DIGITS:
        raise JsonError("a number is too long")
    return int(text)


def _refuse_constant(text: str) -> float:
    raise JsonError(f"{text} is no JSON")


def _refuse_depth(value: Json) -> None:
    level: list[Json] = [value]
    for _ in range(MAX_DEPTH + 1):
        nested = [item for item in level if isinstance(item, (dict, list))]
        if not nested:
            return
        level = [child for item in nested for child in (item.values() if isinstance(item, dict) else item)]
    raise JsonError(f"nested deeper than {MAX_DEPTH}")
