"""What templates reckon with: data, whether it counts as true, how it is printed, and Helm's functions on it.

Nothing here fails: where Helm would, or where something is beyond what is followed, the result is UNKNOWN.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from itertools import islice
from typing import Final, TypeAlias

from gateway.helm.document import Plain, Value

MAX_TEXT: Final = (
    4_096  # of what functions take: no image's name is longer, and texts could double at each step
)
MAX_MERGED: Final = 200
_MOST_WRITTEN: Final = 4 * MAX_TEXT
MARK: Final = "\0"  # what is not known, inside printed text; no chart can write it
_TRUE: Final = frozenset(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"))
_FALSE: Final = frozenset(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"))
_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_BROKEN: Final = re.compile(r"(-?[0-9]{1,6})\.([0-9]{1,9})", re.ASCII)
_VERB: Final = re.compile(r"%[-+0-9.]*([a-zA-Z%])", re.ASCII)


class Unknown(Enum):
    """What cannot be told without rendering."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN

_UNCHANGED: Final = frozenset(("required", "indent", "nindent", "deepCopy", "int", "int64", "html"))

Datum: TypeAlias = "str | bool | int | Unknown | Sequence[Datum] | Mapping[str, Datum] | None"
Function: TypeAlias = Callable[[Sequence[Datum]], Datum]


def datum_of(value: Value) -> Datum:
    """Values as templates see them: what is written plain has the type that YAML gives it."""
    if isinstance(value, dict):
        return {key: datum_of(member) for key, member in value.items()}
    if isinstance(value, list):
        return [datum_of(item) for item in value]
    if not isinstance(value, Plain):
        return value
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    if _WHOLE.fullmatch(value):
        return int(value)
    if broken := _BROKEN.fullmatch(value):  # a float to Helm: 1.10 is printed as 1.1
        return f"{broken[1]}.{broken[2]}".rstrip("0").rstrip(".")
    return str(value)


def printed(datum: Datum) -> str:
    match datum:
        case None:
            return ""
        case bool():
            return "true" if datum else "false"
        case str() | int():
            return str(datum)
        case _:
            return MARK


def is_true(datum: Datum) -> bool | None:
    """As Go's templates decide; None where that is not known."""
    if datum is UNKNOWN or (isinstance(datum, str) and len(datum) <= MAX_TEXT and MARK in datum):
        return None
    return bool(datum)


def field_of(datum: Datum, name: str) -> Datum:
    if datum is UNKNOWN:
        return UNKNOWN
    return datum.get(name) if isinstance(datum, Mapping) else None


def applied(name: str, arguments: Sequence[Datum]) -> Datum:
    """What a function gives that needs nothing but its arguments."""
    if name in _UNCHANGED and arguments:
        return arguments[-1]
    function = FUNCTIONS.get(name)
    texts = [len(one) for one in arguments if isinstance(one, str)]
    if function is None or any(length > MAX_TEXT for length in texts) or sum(texts) > _MOST_WRITTEN:
        return UNKNOWN
    try:
        return function(arguments)
    except (IndexError, TypeError, ValueError):  # Helm would refuse it too
        return UNKNOWN


def _default(arguments: Sequence[Datum]) -> Datum:
    return _first_true((arguments[-1], *arguments[:-1]))


def _first_true(arguments: Sequence[Datum]) -> Datum:
    """The first that is true, or the last; what is not known ends it."""
    for argument in arguments:
        match is_true(argument):
            case None:
                return argument if isinstance(argument, str) else UNKNOWN
            case True:
                return argument
    return arguments[-1]


def _and(arguments: Sequence[Datum]) -> Datum:
    for argument in arguments:
        if is_true(argument) is not True:
            return argument
    return arguments[-1]


def _not(arguments: Sequence[Datum]) -> Datum:
    known = is_true(arguments[0])
    return UNKNOWN if known is None else not known


def _ternary(arguments: Sequence[Datum]) -> Datum:
    yes, no, which = arguments
    match is_true(which):
        case None:
            return UNKNOWN
        case known:
            return yes if known else no


def _eq(arguments: Sequence[Datum]) -> Datum:
    if any(is_true(one) is None or isinstance(one, Mapping | list) for one in arguments):
        return UNKNOWN
    first = arguments[0]
    return any(first == one for one in arguments[1:])


def _ne(arguments: Sequence[Datum]) -> Datum:
    return _not((_eq(arguments),))


def _printf(arguments: Sequence[Datum]) -> Datum:
    rest = iter(arguments[1:])

    def put(match: re.Match[str]) -> str:
        if match[1] == "%":
            return "%"
        text = printed(next(rest, UNKNOWN))
        return f'"{text}"' if match[1] == "q" else text

    return _VERB.sub(put, printed(arguments[0]))


def _joined(arguments: Sequence[Datum]) -> Datum:
    return "".join(map(printed, arguments))


def _quoted(quote: str) -> Function:
    return lambda arguments: " ".join(f"{quote}{printed(one)}{quote}" for one in arguments)


def _of_text(change: Callable[..., str]) -> Function:
    """A change of the last argument's text, by those before it."""

    def apply(arguments: Sequence[Datum]) -> Datum:
        return change(printed(arguments[-1]), *map(printed, arguments[:-1]))

    return apply


def _is_in_text(check: Callable[[str, str], bool]) -> Function:
    def apply(arguments: Sequence[Datum]) -> Datum:
        part, text = map(printed, arguments)
        return UNKNOWN if MARK in part + text else check(text, part)

    return apply


def _truncated(text: str, size: str) -> str:
    return text[: int(size)] if int(size) >= 0 else text[int(size) :]


def _replaced(text: str, old: str, new: str) -> str:
    if text.count(old) * len(new) > _MOST_WRITTEN:
        raise ValueError("too long")
    return text.replace(old, new)


def _get(arguments: Sequence[Datum]) -> Datum:
    found = arguments[0]
    for key in arguments[1:]:
        if isinstance(found, list | tuple) and isinstance(key, int):
            found = found[key]
        else:
            found = field_of(found, printed(key))
    return found


def _has_key(arguments: Sequence[Datum]) -> Datum:
    members, key = arguments
    return printed(key) in members if isinstance(members, Mapping) else UNKNOWN


def _dict(arguments: Sequence[Datum]) -> Datum:
    return {printed(key): value for key, value in zip(arguments[::2], arguments[1::2], strict=True)}


def _length(arguments: Sequence[Datum]) -> Datum:
    (datum,) = arguments
    return len(datum) if isinstance(datum, str | list | Mapping) else UNKNOWN


def _compared(compare: Callable[[int, int], bool]) -> Function:
    def apply(arguments: Sequence[Datum]) -> Datum:
        first, second = arguments
        return compare(first, second) if isinstance(first, int) and isinstance(second, int) else UNKNOWN

    return apply


def _end(place: int) -> Function:
    def apply(arguments: Sequence[Datum]) -> Datum:
        (items,) = arguments
        return items[place] if isinstance(items, list | tuple) else UNKNOWN

    return apply


def _merged(arguments: Sequence[Datum]) -> Datum:
    """Of equal keys the last counts, in depth."""
    return laid_over(*arguments) if sum(map(_weight, arguments)) <= MAX_MERGED else UNKNOWN


def _weight(datum: Datum) -> int:
    """How many values are in it, counted no further than it matters."""
    count = 0
    waiting = [datum]
    while waiting and count <= MAX_MERGED:
        one = waiting.pop()
        count += 1
        if isinstance(one, Mapping):
            waiting.extend(islice(one.values(), MAX_MERGED))
    return count


def laid_over(*layers: Datum) -> Datum:
    """Mappings become one, in depth; else the last counts."""
    result = layers[0]
    for layer in layers[1:]:
        if isinstance(result, Mapping) and isinstance(layer, Mapping):
            below = result
            result = {
                **below,
                **{key: laid_over(below[key], one) if key in below else one for key, one in layer.items()},
            }
        else:
            result = layer
    return result


def _kind(datum: Datum) -> str | None:
    match datum:
        case None:
            return "invalid"
        case bool():
            return "bool"
        case str():
            return "string"
        case Mapping():
            return "map"
        case list() | tuple():
            return "slice"
    return None  # of numbers, how they came here decides


def _is_kind(arguments: Sequence[Datum]) -> Datum:
    kind = _kind(arguments[1])
    return UNKNOWN if kind is None else kind == arguments[0]


def _to_yaml(arguments: Sequence[Datum]) -> Datum:
    (datum,) = arguments
    return UNKNOWN if isinstance(datum, Mapping | list) and datum else printed(datum)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "and": _and,
    "or": _first_true,
    "not": _not,
    "empty": _not,
    "eq": _eq,
    "ne": _ne,
    "default": _default,
    "coalesce": _first_true,
    "ternary": _ternary,
    "printf": _printf,
    "print": _joined,
    "cat": lambda arguments: " ".join(map(printed, arguments)),
    "quote": _quoted('"'),
    "squote": _quoted("'"),
    "toString": _joined,
    "trim": _of_text(str.strip),
    "trimPrefix": _of_text(str.removeprefix),
    "trimSuffix": _of_text(str.removesuffix),
    "trimAll": _of_text(str.strip),
    "lower": _of_text(str.lower),
    "upper": _of_text(str.upper),
    "trunc": _of_text(_truncated),
    "replace": _of_text(_replaced),
    "contains": _is_in_text(str.__contains__),
    "hasPrefix": _is_in_text(str.startswith),
    "hasSuffix": _is_in_text(str.endswith),
    "get": _get,
    "index": _get,
    "hasKey": _has_key,
    "len": _length,
    "lt": _compared(operator.lt),
    "le": _compared(operator.le),
    "gt": _compared(operator.gt),
    "ge": _compared(operator.ge),
    "dict": _dict,
    "list": list,
    "tuple": list,
    "first": _end(0),
    "last": _end(-1),
    **dict.fromkeys(("mergeOverwrite", "mustMergeOverwrite"), _merged),
    **dict.fromkeys(("merge", "mustMerge"), lambda arguments: _merged(arguments[::-1])),
    "kindIs": _is_kind,
    "typeIs": _is_kind,
    "kindOf": lambda arguments: _kind(arguments[0]) or UNKNOWN,
    "toYaml": _to_yaml,
    "lookup": lambda _arguments: {},
}
