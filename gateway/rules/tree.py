"""YAML as a tree that remembers where each thing stands, read under limits.

Walking libyaml's events keeps hostile nesting away from PyYAML's composer, whose C half it kills.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import yaml

MAX_SIZE_BYTES = 10 * 1024 * 1024
MAX_DEPTH = 64
MAX_ALIASES = 100
MAX_NODES = 1_000_000
NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_MERGE_MARK = re.compile(r"^(?:<<<<<<<|=======|>>>>>>>)(?= |$)", re.MULTILINE)
_NOT_YAML = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Line and column, both counted from 1."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """``is_plain``: written without quotes, so that ``true`` or nothing at all may mean more than text."""

    place: Place
    text: str
    is_plain: bool

    @property
    def is_null(self) -> bool:
        return self.is_plain and self.text in NULLS


@dataclass(frozen=True, slots=True)
class SequenceNode:
    place: Place
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class MappingNode:
    """Keys as they stand, also twice."""

    place: Place
    entries: tuple[tuple[ScalarNode, "Node"], ...]


Node: TypeAlias = ScalarNode | SequenceNode | MappingNode


@dataclass(eq=False)
class TreeError(ValueError):
    """The text is no YAML that we accept."""

    place: Place
    message: str
    hint: str | None = None

    def __post_init__(self) -> None:
        super().__init__(self.message)


def parse_tree(text: str | bytes) -> Node:
    """Return the one document in ``text`` (an empty one is a null scalar), or raise TreeError.

    Refused: tags, merge keys, keys that are no scalars, a second document, and anything beyond the limits.
    """
    decoded = _decode(text)
    loader = getattr(yaml, "CLoader", yaml.Loader)
    try:
        return _Builder(yaml.parse(decoded, Loader=loader)).document()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, decoded) from error


def parse_events(text: str) -> list[yaml.Event]:
    """The events of ``text``, which begins with no byte order mark, for who needs to know where nodes end.

    Raise TreeError for what is no YAML, or has more nodes than are read.
    """
    loader = getattr(yaml, "CLoader", yaml.Loader)
    found: list[yaml.Event] = []
    try:
        for event in yaml.parse(_decode(text), Loader=loader):
            found.append(event)
            if len(found) > 2 * MAX_NODES:
                raise TreeError(_place(event), f"more than {MAX_NODES} values")
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text) from error
    return found


class _Builder:
    """Turns an event stream into nodes."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._depth = 0
        self._nodes = 0
        self._aliases = 0
        self._anchors: dict[str, tuple[Node, int]] = {}

    def document(self) -> Node:
        next(self._events)  # the stream starts
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return ScalarNode(Place(), "", is_plain=True)
        root = self._node(next(self._events))
        next(self._events)  # the document ends
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise TreeError(_place(after), "a second document starts here", "keep one file to one document")
        return root

    def _node(self, event: yaml.Event) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._anchored(event, self._scalar(event), self._nodes)
        before = self._nodes
        self._count(event, 1)
        return self._anchored(event, self._collection(event), before)

    def _count(self, event: yaml.Event, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise TreeError(_place(event), f"more than {MAX_NODES} values")

    def _scalar(self, event: yaml.ScalarEvent) -> ScalarNode:
        self._count(event, 1)
        _refuse_tag(event)
        return ScalarNode(_place(event), event.value, is_plain=event.implicit[0])

    def _collection(self, event: yaml.Event) -> Node:
        _refuse_tag(event)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TreeError(_place(event), f"nested deeper than {MAX_DEPTH}")
        is_sequence = isinstance(event, yaml.SequenceStartEvent)
        node = self._sequence(event) if is_sequence else self._mapping(event)
        self._depth -= 1
        return node

    def _sequence(self, start: yaml.Event) -> SequenceNode:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event))
        return SequenceNode(_place(start), tuple(items))

    def _mapping(self, start: yaml.Event) -> MappingNode:
        entries: list[tuple[ScalarNode, Node]] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event)
            entries.append((key, self._node(next(self._events))))
        return MappingNode(_place(start), tuple(entries))

    def _key(self, event: yaml.Event) -> ScalarNode:
        if not isinstance(event, yaml.ScalarEvent):
            raise TreeError(_place(event), "a key has to be plain text", "put it in quotes")
        key = self._scalar(event)
        if key.is_plain and key.text == "<<":
            raise TreeError(key.place, "merge keys (<<) are not read", "write the keys out")
        return key

    def _alias(self, event: yaml.AliasEvent) -> Node:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise TreeError(_place(event), f"more than {MAX_ALIASES} aliases")
        if event.anchor not in self._anchors:
            raise TreeError(_place(event), f"the alias *{event.anchor} has no anchor before it", _QUOTE_IT)
        node, weight = self._anchors[event.anchor]
        self._count(event, weight)  # it weighs what it stands for, or nine lines become a billion values
        return node

    def _anchored(self, event: yaml.Event, node: Node, nodes_before: int) -> Node:
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self._anchors[event.anchor] = (node, self._nodes - nodes_before)
        return node


_QUOTE_IT = 'in YAML an unquoted * starts an alias: put patterns in quotes, "like/*"'


def _refuse_tag(event: yaml.Event) -> None:
    if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
        raise TreeError(_place(event), f"the tag {event.tag[:40]!r} is not read", "leave the tag out")


def _place(event: yaml.Event) -> Place:
    mark = event.start_mark
    return Place() if mark is None else Place(mark.line + 1, mark.column + 1)


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> TreeError:
    left = _MERGE_MARK.search(text)
    if left is not None:
        place = Place(text.count("\n", 0, left.start()) + 1)
        return TreeError(place, f"a mark of a merge is left: {left[0]}", _MERGED)
    mark = error.problem_mark or error.context_mark
    place = Place() if mark is None else Place(mark.line + 1, mark.column + 1)
    message = ", ".join(part for part in (error.problem, error.context) if part)
    return TreeError(place, f"it is no YAML: {message}", _hint(error, _character_at(text, place)))


def _hint(error: yaml.MarkedYAMLError, character: str) -> str | None:
    """What most people did who got this error; of what was begun, also where."""
    if character == "\t":
        return "a tab stands there: YAML is indented by spaces alone"
    if error.context == "while scanning for the next token":
        return f"text that begins with {character!r} needs quotes"
    mark = error.context_mark
    begun = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"
    return _HINTS.get(error.context or "", "").format(begun=begun) or None


_LINE_UP = "what belongs together begins in one column, here that of {begun}"
_UNCLOSED = (
    "it begins in {begun}: a quote or bracket is open, or a value that has one of {{ }} [ ] , needs quotes, "
    'such as "host/${{chart}}"'
)
_MERGED = "of what stands between <<<<<<< and >>>>>>> keep what is right, and remove the marks"
_HINTS = {
    "": "a line is indented too far, a space is missing behind a colon, or a value with a colon needs quotes",
    "while scanning an alias": _QUOTE_IT,
    "while parsing a quoted scalar": "backslashes need single quotes: '~ghcr\\.io/(.+)'",
    "while scanning a quoted scalar": "the quote in {begun} is not closed",
    "while parsing a flow mapping": _UNCLOSED,
    "while parsing a flow sequence": _UNCLOSED,
    "while parsing a block mapping": _LINE_UP,
    "while parsing a block collection": _LINE_UP,
}


def _character_at(text: str, place: Place) -> str:
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    return line[place.column - 1 : place.column]


def _decode(text: str | bytes) -> str:
    if len(text) > MAX_SIZE_BYTES:
        raise TreeError(Place(), f"larger than {MAX_SIZE_BYTES} bytes")
    if isinstance(text, bytes):
        text = _decode_utf8(text)
    text = text.removeprefix("\ufeff")
    odd = _NOT_YAML.search(text)
    if odd is not None:
        message = f"the character U+{ord(odd[0]):04X} may not stand in YAML"
        raise TreeError(_place_of(text[: odd.start()]), message)
    return text


def _decode_utf8(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        raise TreeError(_place_of(before), "it is not UTF-8") from error


def _place_of(before: str) -> Place:
    return Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
