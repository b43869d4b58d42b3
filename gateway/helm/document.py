"""YAML as Helm's files use it: strings, lists and mappings, read event by event under limits.

PyYAML's C loader dies of deep nesting (a SIGSEGV, not an exception) and turns ``1.10`` into ``1.1``.
Walking libyaml's events avoids both, and building the values in the same walk is three times as fast.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import yaml

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class Plain(str):
    """A scalar written without quotes: its text as written, its YAML type not decided."""

    __slots__ = ()


Value: TypeAlias = "str | list[Value] | dict[str, Value] | None"


class DocumentError(ValueError):
    """The text is no YAML that we accept; the message says where and why."""


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """``growth``: how many times its own length (and a MiB) a document's text may have, aliases expanded."""

    depth: int = 64
    aliases: int = 100
    events: int = 5_000_000
    growth: int = 2


DEFAULT_LIMITS = DocumentLimits()


def parse_document(content: bytes, limits: DocumentLimits = DEFAULT_LIMITS) -> Value:
    """Return the one document in ``content``: plain scalars as Plain, quoted ones as str, null as None.

    Raise DocumentError for what is no YAML, and for tags, merge keys, duplicate or non-scalar keys, a
    recursive alias, a second document, and anything beyond ``limits``.
    """
    loader = getattr(yaml, "CLoader", yaml.Loader)
    try:
        return _Builder(yaml.parse(content, Loader=loader), limits, len(content)).document()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DocumentError(_one_line(error)) from error


class _Builder:
    """Turns an event stream into values, one method a production."""

    def __init__(self, events: Iterator[yaml.Event], limits: DocumentLimits, length: int) -> None:
        self._events = events
        self._limits = limits
        self._max_text_length = limits.growth * length + (1 << 20)
        self._depth = 0
        self._event_count = 0
        self._alias_count = 0
        self._text_length = 0
        self._anchors: dict[str, tuple[Value, tuple[int, int]]] = {}  # with the events and text they weigh

    def document(self) -> Value:
        self._next()  # the stream starts
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        value = self._value(self._next())
        self._next()  # the document ends
        if not isinstance(self._next(), yaml.StreamEndEvent):
            raise DocumentError("more than one document")
        return value

    def _next(self) -> yaml.Event:
        self._count(1)
        return next(self._events)

    def _count(self, events: int, text: int = 0) -> None:
        self._event_count += events
        self._text_length += text
        if self._event_count > self._limits.events:
            raise DocumentError(f"more than {self._limits.events} events")
        if self._text_length > self._max_text_length:
            raise DocumentError("aliases make the document many times as long as it is written")

    def _value(self, event: yaml.Event) -> Value:
        first, text = self._event_count, self._text_length
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if not isinstance(event, yaml.CollectionStartEvent):
            raise DocumentError(f"unexpected {type(event).__name__}{_place(event)}")
        self._refuse_tag(event)
        self._depth += 1
        if self._depth > self._limits.depth:
            raise DocumentError(f"nested deeper than {self._limits.depth}{_place(event)}")
        value = self._sequence() if isinstance(event, yaml.SequenceStartEvent) else self._mapping()
        self._depth -= 1
        return self._anchored(event, value, (self._event_count - first, self._text_length - text))

    def _sequence(self) -> Value:
        values: list[Value] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            values.append(self._value(event))
        return values

    def _mapping(self) -> Value:
        members: dict[str, Value] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._key(event)
            if key in members:
                raise DocumentError(f"the key {key!r} stands twice{_place(event)}")
            members[key] = self._value(self._next())
        return members

    def _key(self, event: yaml.Event) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise DocumentError(f"a key that is no scalar{_place(event)}")
        if event.value == "<<" and event.implicit[0]:
            raise DocumentError(f"a merge key{_place(event)}")
        self._scalar(event)
        return str(event.value)

    def _scalar(self, event: yaml.ScalarEvent) -> Value:
        self._refuse_tag(event)
        length = len(event.value)
        self._count(0, length)
        if not event.implicit[0]:  # quoted, or a block scalar
            return self._anchored(event, event.value, (1, length))
        value = None if event.value in _NULLS else Plain(event.value)
        return self._anchored(event, value, (1, length))

    def _alias(self, event: yaml.AliasEvent) -> Value:
        self._alias_count += 1
        if self._alias_count > self._limits.aliases:
            raise DocumentError(f"more than {self._limits.aliases} aliases{_place(event)}")
        if event.anchor not in self._anchors:
            raise DocumentError(f"the alias *{event.anchor} has no anchor before it{_place(event)}")
        value, weight = self._anchors[event.anchor]
        self._count(*weight)  # an alias weighs what it stands for, or nine lines become a billion values
        return value

    def _anchored(self, event: yaml.NodeEvent, value: Value, weight: tuple[int, int]) -> Value:
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, weight)
        return value

    @staticmethod
    def _refuse_tag(event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag is not None:
            raise DocumentError(f"the tag {event.tag}{_place(event)}")


def _place(event: yaml.Event) -> str:
    mark = event.start_mark
    return "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
