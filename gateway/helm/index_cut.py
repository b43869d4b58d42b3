"""Find one chart's lines in the bytes of a huge index.yaml, where its style lets us prove they are it.

The style is what Helm, ChartMuseum and most others write: simple ``key: value`` lines, then ``entries:``, its
charts as plain keys in one column, each with a block sequence. What is proven, and against what:

- the key's line is a key: not prose in a quoted scalar (index_quotes), nor in a block scalar (whose lines
  lie deeper than the charts, as long as no line begins in column 0), nor in a flow collection (where no
  ``- `` may follow);
- it is a key of ``entries``: no line between begins in column 0;
- its lines end before the next one that is no deeper: a scalar cut in two by that does not parse.

All of it holds for a file that parses as a whole. One that does not may still yield the charts it has.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.helm.index_quotes import is_outside_quotes

_STRIDE: Final = 1 << 18  # scanned at a time: between strides a thread lets others run, not within one
_MOST_PLACES: Final = 8
_MOST_HEAD: Final = 1 << 16  # what stands before the first chart is short, or no index of a known style

_BOM: Final = b"\xef\xbb\xbf"
_OTHER_BREAKS: Final = (
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\xe2\x80\xa9",
    _BOM,
)  # each may begin a line in YAML 1.1

_CHART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_NAME: Final = rb"[A-Za-z0-9_.][A-Za-z0-9_./+-]*"
_BLANK: Final = rb" *+(?>(?:#[^\r\n]*+)?)\r?"
_BLANKS: Final = rb"(?>(?:\n" + _BLANK + rb"(?=\n))*)"
_SCALAR: Final = (
    rb"(?:\"[^\"\\\r\n]*+\"|'[^'\r\n]*+'|\{\}|\[\]|[A-Za-z0-9](?>(?:[A-Za-z0-9_./+@ -]++|:(?=[0-9/]))*))"
)
_API_VERSION: Final = rb"apiVersion: ++(?:v[0-9]++|\"v[0-9]++\"|'v[0-9]++') *+\r?"
_MEMBER: Final = rb" *+(?!entries:)" + _NAME + rb":(?>(?: ++" + _SCALAR + rb")?) *+\r?"
_HEAD = re.compile(
    rb"(?:" + _BOM + rb")?(?>(?:" + _BLANK + rb"\n)*)(?:--- *+\r?\n)?"
    rb"(?:(?:" + _BLANK + rb"|(?P<version>" + _API_VERSION + rb")|" + _MEMBER + rb")\n)*"
    rb"entries: *+\r?" + _BLANKS + rb"(?=\n(?P<indent> +)" + _NAME + rb":[ \r\n])"
)
_COLUMN_0 = re.compile(rb"\n[^ \n\r#]")


class NotQuick(Exception):
    """The index is written in a style that the quick way does not know; only a whole parse can tell."""


@dataclass(frozen=True, slots=True)
class Block:
    """Where the items of one chart begin and end, and the columns of its key and of its items."""

    start: int
    end: int
    indent: int
    item_indent: int


@dataclass(frozen=True, slots=True)
class _Entries:
    """Where the charts begin (the line break before the first), and their column."""

    start: int
    indent: int


def find_block(content: bytes, chart: str) -> Block | None:
    """Return where the items of ``chart`` are; None when ``entries`` certainly has no such key.

    Raise NotQuick where neither can be proven. The block's end is right only if its lines parse alone.
    """
    if not _CHART.fullmatch(chart):
        raise NotQuick(f"{chart!r} is no plain chart name")
    _refuse_other_breaks(content)
    entries = _find_entries(content)
    key = b"\n%b%b:" % (b" " * entries.indent, chart.encode())
    places = _find_places(content, key, entries.start)
    if not places:
        _refuse_other_keys(content, entries)
        return None
    _refuse_twice(content, places)
    _refuse_other_column(content, entries, places[0])
    return _block(content, places[0], places[0] + len(key), entries.indent)


def ends_for_sure(content: bytes, block: Block) -> bool:
    """Tell whether the block's end is right, parsed or not: outside of quotes and flow collections."""
    if block.end == len(content):
        return True
    if not is_outside_quotes(content, block.end):
        return False
    key = re.compile(rb" {%d}%b:" % (block.indent, _NAME)).match(content, block.end)
    if key is not None and _first_item(content, key.end(), block.indent) is not None:
        return True
    return content.find(b"]", block.end) < 0 and content.find(b"}", block.end) < 0


def _refuse_other_breaks(content: bytes) -> None:
    """Let lines end with LF or CRLF only: every other line break of YAML would hide lines from us."""
    for begin, end in _strides(content, 0, len(content)):
        if content.find(b"\r", begin, end) >= 0 and _has_lone_return(content, begin, end):
            raise NotQuick("a lone carriage return")
        for mark in _OTHER_BREAKS:  # its last byte is looked for first: that is many times quicker
            if content.find(mark[-1:], begin, end) >= 0 and content.rfind(mark, begin or 1, end) >= 0:
                raise NotQuick(f"the bytes {mark.hex(' ')}")


def _has_lone_return(content: bytes, begin: int, end: int) -> bool:
    return content.count(b"\r", begin, end) != content.count(b"\r\n", begin, end)


def _find_entries(content: bytes) -> _Entries:
    head = _HEAD.match(content, 0, _MOST_HEAD)
    if head is None or head["version"] is None:
        raise NotQuick("no plain apiVersion and entries at its head")
    return _Entries(head.end(), len(head["indent"]))


def _find_places(content: bytes, key: bytes, start: int) -> list[int]:
    """Return where ``key`` stands, first place first. (rfind is twice as quick as find.)"""
    places: list[int] = []
    for begin, end in _strides(content, start, len(content)):
        before = end
        while (place := content.rfind(key, begin, before)) >= 0:
            places.append(place)
            before = place + 1
            if len(places) > _MOST_PLACES:
                raise NotQuick("the chart's key stands in many places")
    return sorted(places)


def _refuse_other_keys(content: bytes, entries: _Entries) -> None:
    """A key of ``entries`` begins a line in its column: let those lines all be names as they stand there."""
    other = re.compile(rb"\n {%d}(?! |\r?\n|\Z|#|-[ \r\n]|%b:[ \r\n])" % (entries.indent, _NAME))
    for begin, end in _strides(content, entries.start, len(content)):
        if other.search(content, begin, end):
            raise NotQuick("a key in another style")


def _refuse_twice(content: bytes, places: list[int]) -> None:
    if len(places) > 1 and not _has_column_0(content, places[0], places[1]):
        raise NotQuick("the chart's key stands twice")


def _refuse_other_column(content: bytes, entries: _Entries, place: int) -> None:
    if _has_column_0(content, entries.start, place):
        raise NotQuick("a line in column 0 before the chart's key")


def _has_column_0(content: bytes, start: int, stop: int) -> bool:
    return any(_COLUMN_0.search(content, begin, end) for begin, end in _strides(content, start, stop))


def _block(content: bytes, place: int, key_end: int, indent: int) -> Block:
    item = _first_item(content, key_end, indent)
    if item is None:
        raise NotQuick("the chart's key has no block sequence")
    if not is_outside_quotes(content, place + 1):
        raise NotQuick("the chart's key may stand inside quotes")
    after = re.compile(rb"\n(?! {%d}-(?:[ \r\n]|\Z))(?= {0,%d}[^ \r\n#])" % (indent, indent))
    ends = (after.search(content, *stride) for stride in _strides(content, key_end, len(content)))
    end = next(filter(None, ends), None)
    return Block(item.start(1), len(content) if end is None else end.start() + 1, indent, len(item[1]))


def _first_item(content: bytes, key_end: int, indent: int) -> re.Match[bytes] | None:
    """Match up to the first item of the sequence after a key; its indentation is the group."""
    return re.compile(rb" *+\r?" + _BLANKS + rb"\n( {%d,})-[ \r\n]" % indent).match(content, key_end)


def _strides(content: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Divide [start, stop) into ranges that begin and end with a line break."""
    while start < stop - 1:
        end = content.find(b"\n", start + _STRIDE, stop) + 1 or stop
        yield start, end
        start = end - 1
