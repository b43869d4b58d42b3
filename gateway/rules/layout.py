"""Where each rule stands in the text of rules.yaml, to the character, and what it says, to compare it by."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, TypeAlias

import yaml

from gateway.rules.tree import NULLS, parse_events

_OPENING: Final = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSING: Final = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
BYTE_ORDER_MARK: Final = "\ufeff"
_DASH: Final = r"-(?=[ \t\r\n]|\Z)"
_BLOCKS: Final = ("|", ">")
_KEEPING: Final = re.compile(r"(?:&\S+\s+)?[|>][0-9]?\+")
_MEANING_MORE: Final = NULLS | {"true", "True", "TRUE", "false", "False", "FALSE"}
_ODD_BREAK: Final = re.compile("\r(?!\n)|[\x85\u2028\u2029]")

Meaning: TypeAlias = tuple[str, ...]  # what a node says, and not where: the same wherever the values are
Entries: TypeAlias = tuple[tuple[str, Meaning], ...]  # those of a mapping; all of another node under no key
_Events: TypeAlias = tuple[int, int]  # of a node: the number of the first, and of the one behind the last


class NotEditable(ValueError):
    """Rules so written that one of them cannot be changed alone; the message says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}: edit the file as a whole")


@dataclass(frozen=True, slots=True)
class Span:
    """From one character up to another, which is not in it any more."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule. ``body`` is ``node`` with its dash and comments, without the line break at its end.

    ``comments`` are those above it, up to where its dash, or in brackets the node, begins.
    ``line`` counts from 1. ``first_key`` is where its first key stands, None where it has none, ``switch`` is
    the value of its key ``enabled``. ``entries`` are what it says.
    """

    body: Span
    comments: Span
    node: Span
    line: int
    entries: Entries
    is_flow: bool = True
    first_key: int | None = None
    switch: Span | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """``text`` is without the byte order mark that ``whole`` may begin with.

    ``others`` is all that is said beside the rules. ``rules`` is the value of that key, if there is one.
    ``is_flow``: the rules are in brackets, ``is_root_flow``: all is. Else dashes stand in the column
    ``indent``, and keys of the file in ``key_indent``. ``end`` is where what is written ends.
    """

    text: str
    others: Entries = ()
    rules: Span | None = None
    entries: Sequence[Entry] = ()
    is_flow: bool = False
    indent: int = 2
    is_root_flow: bool = False
    key_indent: int = 0
    end: int = 0
    mark: str = ""

    @property
    def whole(self) -> str:
        return self.mark + self.text

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing at all."""
        return not self.end

    @property
    def line_break(self) -> str:
        return "\r\n" if "\r\n" in self.text else "\n"


def read_layout(text: str) -> Layout:
    """Read the text of a rules file; raise TreeError, or NotEditable."""
    if _ODD_BREAK.search(text):
        raise NotEditable("a line ends with an odd character")
    if text.startswith(BYTE_ORDER_MARK):
        return replace(read_layout(text.removeprefix(BYTE_ORDER_MARK)), mark=BYTE_ORDER_MARK)
    reader = _Reader(text, parse_events(text))
    documents = sum(isinstance(event, yaml.DocumentStartEvent) for event in reader.events)
    if documents > 1:
        raise NotEditable("there is more than one document")
    root = reader.events[2] if documents else None
    if root is None or (isinstance(root, yaml.ScalarEvent) and not _width(root)):
        return Layout(text)
    if not isinstance(root, yaml.MappingStartEvent) or root.anchor is not None:
        raise NotEditable("the file does not consist of keys and values")
    return _of_root(text, reader, is_flow=bool(root.flow_style))


def past_line(text: str, at: int) -> int:
    """Where the line ends that a character is in, behind its break."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def event_span(event: yaml.Event) -> Span:
    return Span(_start(event), _end(event))


class _Reader:
    """Events by number. What anchors stood for so far is remembered, to tell what an alias means."""

    def __init__(self, text: str, events: Sequence[yaml.Event]) -> None:
        self._text = text
        self.events = events
        self._past = list(range(1, len(events) + 1))
        self._anchors: dict[str, Meaning] = {}
        begun: list[int] = []
        for number, event in enumerate(events):
            if isinstance(event, _OPENING):
                begun.append(number)
            elif isinstance(event, _CLOSING):
                self._past[begun.pop()] = number + 1

    def past(self, at: int) -> int:
        """The number of the event behind the node that begins at this one."""
        return self._past[at]

    def children(self, at: int) -> Iterator[_Events]:
        """The nodes right inside the collection that begins here."""
        start, last = at + 1, self._past[at] - 1
        while start < last:
            end = self._past[start]
            yield start, end
            start = end

    def pairs(self, at: int) -> Iterator[tuple[str, int, _Events]]:
        """Of the mapping that begins here: each key, the number of its event, and the value."""
        nodes = self.children(at)
        for start, _ in nodes:
            key = self.events[start]
            name = key.value if isinstance(key, yaml.ScalarEvent) else ""
            yield name, start, next(nodes)

    def meaning(self, node: _Events) -> Meaning:
        event = self.events[node[0]]
        if isinstance(event, yaml.ScalarEvent) and event.anchor is None:
            return (_word(event),)
        return self._meaning(node)

    def _meaning(self, node: _Events) -> Meaning:
        open_nodes: list[tuple[str | None, int]] = []
        words: list[str] = []
        for event in self.events[slice(*node)]:
            anchor, first = getattr(event, "anchor", None), len(words)
            if isinstance(event, yaml.AliasEvent):
                words.append(f"*{_digest(self._anchors.get(anchor or '', ()))}")
            elif isinstance(event, yaml.ScalarEvent):
                words.append(_word(event))
                self._name(anchor, words[first:])
            elif isinstance(event, _OPENING):
                open_nodes.append((anchor, first))
                words.append("{" if isinstance(event, yaml.MappingStartEvent) else "[")
            else:
                words.append("}")
                anchor, first = open_nodes.pop()
                self._name(anchor, words[first:])
        return tuple(words)

    def _name(self, anchor: str | None, words: Sequence[str]) -> None:
        if anchor is not None:
            self._anchors[anchor] = tuple(words)

    def end_of(self, node: _Events, otherwise: int) -> int:
        """Where the last thing ends that is written in a node; ``otherwise`` where nothing is."""
        events = reversed(self.events[slice(*node)])
        last = next((event for event in events if _width(event)), None)
        return otherwise if last is None else self._end_of_text(last)

    def _end_of_text(self, event: yaml.Event) -> int:
        """Without the empty lines behind a block of text, unless it keeps them."""
        start, end = _start(event), _end(event)
        is_block = isinstance(event, yaml.ScalarEvent) and event.style in _BLOCKS
        if not is_block or _KEEPING.match(self._text, start):
            return end
        while not self._text[(before := self._text.rfind("\n", start, end - 1) + 1) : end].strip():
            end = before
        return end

    def span(self, node: _Events) -> Span:
        start = _start(self.events[node[0]])
        return Span(start, self.end_of(node, start))


def _of_root(text: str, reader: _Reader, *, is_flow: bool) -> Layout:
    past = reader.past(2)
    column = reader.events[2].start_mark.column if reader.events[2].start_mark else 0
    end = _start(reader.events[past - 1]) if is_flow else past_line(text, reader.end_of((2, past), 0))
    told = Layout(text, is_flow=is_flow, is_root_flow=is_flow, key_indent=column, end=end)
    others: list[tuple[str, Meaning]] = []
    for name, key, value in reader.pairs(2):  # in order: an anchor holds for what comes behind
        if name != "rules":
            others.append((name, reader.meaning(value)))
        elif told.rules is None:
            told = _with_rules(told, reader, _end(reader.events[key]), value)
        else:
            raise NotEditable("the key rules stands twice")
    return replace(told, others=tuple(others))


def _with_rules(told: Layout, reader: _Reader, key_end: int, value: _Events) -> Layout:
    first = reader.events[value[0]]
    if isinstance(first, yaml.ScalarEvent) and _is_nothing(first):
        colon = told.text.find(":", key_end) + 1
        span = reader.span(value) if _width(first) else Span(colon, colon)
        return replace(told, rules=span)
    if not isinstance(first, yaml.SequenceStartEvent) or first.anchor is not None:
        raise NotEditable("rules is no list that is written out in its place")
    nodes = tuple(reader.children(value[0]))
    told = replace(told, rules=reader.span(value))
    if first.flow_style:
        return replace(
            told, entries=_in_brackets(told.text, reader, nodes), is_flow=bool(nodes) or told.is_flow
        )
    column = 0 if first.start_mark is None else first.start_mark.column
    told = replace(told, indent=column)
    return replace(told, entries=_behind_dashes(told, reader, past_line(told.text, key_end), nodes))


def _behind_dashes(told: Layout, reader: _Reader, begun: int, nodes: Sequence[_Events]) -> Sequence[Entry]:
    """``begun`` is where the line behind the key begins."""
    text, indent = told.text, told.indent
    dash = re.compile(rf"^ {{{indent}}}{_DASH}", re.MULTILINE)
    entries: list[Entry] = []
    line, counted = 1, 0
    for node in nodes:
        found = dash.search(text, begun)
        if found is None:
            raise NotEditable("a rule does not begin with a dash in a line of its own")
        end = max(found.end(), reader.end_of(node, 0))
        node_span = Span(min(_start(reader.events[node[0]]), end), end)
        body = Span(_above(text, begun, found.start(), indent), _below(text, end, indent))
        line += text.count("\n", counted, found.start())
        counted, begun = found.start(), body.end
        body = Span(body.start, _without_break(text, body.end))
        entries.append(_entry(reader, node, body, Span(body.start, found.start()), (node_span, line)))
    return entries


def _in_brackets(text: str, reader: _Reader, nodes: Sequence[_Events]) -> Sequence[Entry]:
    entries: list[Entry] = []
    before = 0
    for node in nodes:
        span = reader.span(node)
        line_start = text.rfind("\n", 0, span.start) + 1
        begun = span.start
        if not text[line_start:begun].strip() and before < line_start:
            above = _above(text, past_line(text, before), line_start, begun)
            begun = begun if above == line_start else text.index("#", above)
        before = span.end
        mark = reader.events[node[0]].start_mark
        line = 1 if mark is None else mark.line + 1
        body, comments = Span(begun, span.end), Span(begun, span.start)
        entries.append(_entry(reader, node, body, comments, (span, line)))
    return entries


def _entry(reader: _Reader, node: _Events, body: Span, comments: Span, at: tuple[Span, int]) -> Entry:
    first = reader.events[node[0]]
    if not isinstance(first, yaml.MappingStartEvent):
        return Entry(body, comments, *at, (("", reader.meaning(node)),))
    pairs = list(reader.pairs(node[0]))
    return Entry(
        body,
        comments,
        *at,
        entries=tuple((name, reader.meaning(value)) for name, _, value in pairs),
        is_flow=bool(first.flow_style),
        first_key=_start(reader.events[pairs[0][1]]) if pairs else None,
        switch=next((reader.span(value) for name, _, value in pairs if name == "enabled"), None),
    )


def _above(text: str, lowest: int, at: int, indent: int) -> int:
    """Where the comments begin that stand right above a line, not further in than it."""
    comment = re.compile(rf" {{0,{indent}}}#")
    while at > lowest:
        line_start = text.rfind("\n", 0, at - 1) + 1
        if line_start < lowest or not comment.match(text, line_start):
            break
        at = line_start
    return at


def _below(text: str, end: int, indent: int) -> int:
    """Where the line ends that something ends in, and comments further in than ``indent`` below it."""
    is_past_break = text[end - 1 : end] == "\n"  # a block of text ends there
    at = end if is_past_break else past_line(text, end)
    comment = re.compile(rf" {{{indent + 1},}}#")
    while comment.match(text, at):
        at = past_line(text, at)
    return at


def _without_break(text: str, end: int) -> int:
    if text[end - 1 : end] != "\n":
        return end
    return end - 2 if text[end - 2 : end] == "\r\n" else end - 1


def _is_nothing(event: yaml.ScalarEvent) -> bool:
    return event.implicit[0] and event.value in NULLS and event.anchor is None


def _word(event: yaml.ScalarEvent) -> str:
    """A text, and whether it means more than that, as some do without quotes."""
    return f"{'=' if event.implicit[0] and event.value in _MEANING_MORE else '-'}{event.value}"


def _digest(words: Meaning) -> str:
    return sha256(repr(words).encode()).hexdigest()


def _start(event: yaml.Event) -> int:
    return 0 if event.start_mark is None else event.start_mark.index


def _end(event: yaml.Event) -> int:
    return 0 if event.end_mark is None else event.end_mark.index


def _width(event: yaml.Event) -> int:
    return _end(event) - _start(event)
