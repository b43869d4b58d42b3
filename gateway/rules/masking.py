"""Texts of rules without what they say of credentials: shown so at the admin's desk, and read back."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final, TypeAlias

import yaml

from gateway.rules.layout import BYTE_ORDER_MARK, Span, event_span
from gateway.rules.section import join
from gateway.rules.tree import Place, TreeError, parse_events

MASK: Final = "••••••"
SECRET_KEYS: Final = frozenset(
    {f"{word}_{where}" for word in ("username", "password", "token") for where in ("env", "file")}
    | {"cert_file", "key_file"}
)
_ANY_KEY: Final = re.compile("|".join(sorted(SECRET_KEYS)))
_ROUGHLY: Final = re.compile(rf"((?:{_ANY_KEY.pattern})['\"]?[ \t]*:[ \t]*)[^\s,}}][^\r\n,}}]*")
_ANCHOR: Final = re.compile(r"&\S+\s+")

_Path: TypeAlias = tuple[str, ...]  # keys, from the top


class NothingBehindMask(ValueError):
    """A mask stands where nothing is saved."""

    def __init__(self, path: Sequence[str], place: Place) -> None:
        super().__init__(reduce(join, path, ""))
        self.place = place

    @property
    def key_path(self) -> str:
        return str(self)


@dataclass(frozen=True, slots=True)
class Masked:
    """A text with masks, and what stands behind them."""

    text: str
    behind: Mapping[_Path, str]


def masked(text: str) -> Masked:
    """A mask for each value of a credential's key; of what is no YAML, as it looks, and nothing behind."""
    if not _ANY_KEY.search(text):
        return Masked(text, {})
    try:
        found = list(_secrets(text))
    except TreeError:
        return Masked(_ROUGHLY.sub(rf"\g<1>{MASK}", text), {})
    behind = {path: text[span.start : span.end] for path, span, _ in found}
    return Masked(_with(text, [(span, MASK) for _, span, _ in found]), behind)


def unmasked(text: str, behind: Mapping[_Path, str]) -> tuple[str, Masked | None]:
    """The same text with what is behind each mask, and what masking it would give, where that is at hand.

    Raise TreeError, or NothingBehindMask.
    """
    if MASK not in text:
        return text, None
    put: list[tuple[Span, str]] = []
    used: dict[_Path, str] = {}
    is_all = True
    for path, span, value in _secrets(text):
        is_all = is_all and value == MASK
        if value == MASK:
            if path not in behind:
                before = text[: span.start]
                column = span.start - (before.rfind("\n") + 1) + 1
                raise NothingBehindMask(path, Place(before.count("\n") + 1, column))
            put.append((span, behind[path]))
            used[path] = behind[path]
    return _with(text, put), Masked(text, used) if is_all else None


def _with(text: str, put: Sequence[tuple[Span, str]]) -> str:
    parts: list[str] = []
    end = 0
    for span, value in put:
        parts += (text[end : span.start], value)
        end = span.end
    return "".join((*parts, text[end:]))


@dataclass(slots=True)
class _Around:
    """A collection that is open; ``key`` is None in a mapping where a key comes next."""

    is_mapping: bool
    key: str | None


def _secrets(text: str) -> Iterator[tuple[_Path, Span, str]]:
    """The values of all credentials' keys, wherever they stand, by the keys that lead there."""
    shift = len(text) - len(text.removeprefix(BYTE_ORDER_MARK))
    around: list[_Around] = []
    for event in parse_events(text[shift:]):
        if isinstance(event, yaml.CollectionStartEvent):
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            around.append(_Around(is_mapping, None if is_mapping else ""))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            around.pop()
        elif not isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
            continue
        elif around and around[-1].key is None:
            around[-1].key = event.value if isinstance(event, yaml.ScalarEvent) else ""
            continue
        elif around and around[-1].key in SECRET_KEYS and isinstance(event, yaml.ScalarEvent):
            yield tuple(one.key or "" for one in around), _written(text, event, shift), event.value
        if around and around[-1].is_mapping:
            around[-1].key = None


def _written(text: str, event: yaml.ScalarEvent, shift: int) -> Span:
    """Where the value stands, without its anchor, and without the line break that ends a block of text."""
    found = event_span(event)
    end = found.end + shift
    anchor = _ANCHOR.match(text, found.start + shift, end)
    start = found.start + shift if anchor is None else anchor.end()
    return Span(start, start + len(text[start:end].rstrip()))
