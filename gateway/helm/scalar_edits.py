"""Other scalars in a YAML text whose every other character stays: comments, order, quotes, line ends."""

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import yaml

from gateway.helm.document import DocumentError, Value, parse_document

Path: TypeAlias = "tuple[str | int, ...]"

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_NEEDS_NO_QUOTES = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9./_:-]*[A-Za-z0-9/_-]", re.ASCII)


def with_scalars(content: bytes, changes: Mapping[Path, str]) -> bytes:
    """Return the document with these strings at these paths, each of which leads to a string now.

    Raise DocumentError for what ``parse_document`` refuses, and where the text cannot be changed in place
    without changing something else: where an alias stands for a whole mapping or list that has one of them.
    """
    document = parse_document(content)  # under its limits, so what follows may recurse
    if not changes:
        return content
    mark, encoding = _encoding(content)
    text = content[len(mark) :].decode(encoding)
    edited = mark + _edited(text, changes).encode(encoding)
    if parse_document(edited) != _changed(document, changes, ()):
        raise DocumentError("an alias stands for what would have to be changed in one place only")
    return edited


def _encoding(content: bytes) -> tuple[bytes, str]:
    """Return the byte order mark, which libyaml does not count in its places, and the encoding."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return mark, encoding
    return b"", "utf-8"


def _edited(text: str, changes: Mapping[Path, str]) -> str:
    pieces: list[str] = []
    done = 0
    for start, end, written in _Editor(text, changes).edits():
        pieces += (text[done:start], written)
        done = end
    return "".join((*pieces, text[done:]))


class _Editor:
    """Walks the events, and tells which places of the text become what."""

    def __init__(self, text: str, changes: Mapping[Path, str]) -> None:
        self._text = text
        self._changes = changes
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=getattr(yaml, "CLoader", yaml.Loader))
        self._anchors: dict[str, tuple[str, str]] = {}  # a scalar's text before and after

    def edits(self) -> Iterator[tuple[int, int, str]]:
        for event in self._events:  # the one value, and what starts and ends around it
            yield from self._value(event, ())

    def _value(self, event: yaml.Event, path: Path) -> Iterator[tuple[int, int, str]]:
        match event:
            case yaml.MappingStartEvent():
                yield from self._mapping(path)
            case yaml.SequenceStartEvent():
                yield from self._sequence(path)
            case yaml.AliasEvent():
                yield from self._alias(event, path)
            case yaml.ScalarEvent():
                yield from self._scalar(event, path)

    def _mapping(self, path: Path) -> Iterator[tuple[int, int, str]]:
        while isinstance(key := next(self._events), yaml.ScalarEvent):
            if key.anchor is not None:
                self._anchors[key.anchor] = (key.value, key.value)
            yield from self._value(next(self._events), (*path, key.value))

    def _sequence(self, path: Path) -> Iterator[tuple[int, int, str]]:
        place = 0
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield from self._value(event, (*path, place))
            place += 1

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> Iterator[tuple[int, int, str]]:
        wanted = self._changes.get(path, event.value)
        if event.anchor is not None:
            self._anchors[event.anchor] = (event.value, wanted)
        if path not in self._changes:
            return
        start, end = _span(event)
        anchor = "" if event.anchor is None else f"&{event.anchor} "
        written = self._text[start:end]
        breaks = written[len(written.rstrip()) :]  # a block scalar ends where the next line begins
        yield start, end, f"{anchor}{_quoted(wanted, event.style)}{breaks}"

    def _alias(self, event: yaml.AliasEvent, path: Path) -> Iterator[tuple[int, int, str]]:
        """Write an alias out where it and what it stands for shall no longer be the same."""
        if event.anchor not in self._anchors:  # it stands for a mapping or list
            return
        before, after = self._anchors[event.anchor]
        wanted = self._changes.get(path, before)
        if wanted != after:
            yield (*_span(event), _quoted(wanted, '"'))


def _span(event: yaml.Event) -> tuple[int, int]:
    """From its anchor to its end, as places in the text; a parser marks every event."""
    start, end = (mark.index for mark in (event.start_mark, event.end_mark) if mark is not None)
    return start, end


def _quoted(text: str, style: str | None) -> str:
    if style == '"' or not _NEEDS_NO_QUOTES.fullmatch(text):
        return json.dumps(text, ensure_ascii=False)
    return f"'{text}'" if style == "'" else text


def _changed(value: Value, changes: Mapping[Path, str], path: Path) -> Value:
    if path in changes:
        return changes[path]
    if isinstance(value, list):
        return [_changed(item, changes, (*path, place)) for place, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: _changed(item, changes, (*path, key)) for key, item in value.items()}
    return value
