"""Where every entry of an index.yaml stands in its bytes, so that it can be rewritten without being parsed.

What is taken for an entry is proven to be one from the first line to the last (index_grammar); and as there
are no anchors, nothing points to an entry that is left out. All of it holds for a file that parses as a
whole: one that does not may still have an outline.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.helm.document import DocumentError, DocumentLimits, parse_document
from gateway.helm.index import ChartVersion, read_entries
from gateway.helm.index_cut import NotQuick
from gateway.helm.index_grammar import (
    API_VERSION,
    DIGEST,
    FIRST_CHART,
    GENERATED,
    HEAD,
    TAIL,
    TIME,
    VERSION,
    EntryGrammar,
    chart_line,
    entry_grammar,
)
from gateway.helm.version import parse_version

Span: TypeAlias = tuple[int, int]

_STRIDE: Final = 1 << 18  # scanned at a time: between strides a thread lets others run, not within one
_MOST_HEAD: Final = 1 << 16
_ENTRY_LIMITS: Final = DocumentLimits(events=20_000)
_MOST_PARSED_BYTES: Final = 8 << 20  # of entries that are parsed alone: a child parses a whole quicker
MOST_ENTRIES: Final = 100_000
MOST_CHARTS: Final = 20_000
MOST_ENTRY_BYTES: Final = 1 << 18

_CONTROLS: Final = bytes({*range(0x20), 0x7F} - {*b"\t\n\r"})
_LONE_RETURN = re.compile(rb"\r(?!\n)")
_OTHER_BREAKS: Final = (b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9", b"\xef\xbb\xbf")
_ANCHOR = re.compile(rb"&(?<![^\s\[{,:?-]&)[0-9A-Za-z_-]++(?![^\s,\]}])")

_SURE_NAME = re.compile(rb"(?!(?i:null|true|false)\Z)[A-Za-z][A-Za-z0-9_.-]*+")
_VERSION = re.compile(VERSION)
_SIMPLE_VERSION = re.compile(rb"v?+[0-9]{1,9}+\.[0-9]{1,9}+\.[0-9]{1,9}+")
_DIGEST_OR_NONE = re.compile(DIGEST + b"|")
_TIME = re.compile(TIME)


@dataclass(frozen=True, slots=True)
class Item:
    """The lines of one entry that Helm takes, its dash and keys in two columns; its texts as of ChartVersion.

    ``urls_at`` is from the first URL to the last, or all of ``[…]``; ``digest_at`` the scalar and its quotes;
    after ``version_end`` the line has at most a comment.
    """

    start: int
    end: int
    indent: int
    column: int
    name: str
    version: str
    version_end: int
    digest: str | None
    digest_at: Span | None
    created: str | None
    urls_at: Span | None


@dataclass(frozen=True, slots=True)
class Outline:
    """The entries of each chart in the index's order, and when it says that it was made."""

    charts: Mapping[str, Sequence[Item]]
    generated: str | None

    @property
    def count(self) -> int:
        return len(self.charts) + sum(map(len, self.charts.values()))


class TooMany(ValueError):
    """More charts, or entries, than anybody's index has: what is made of them costs many times its bytes."""

    def __init__(self) -> None:
        super().__init__(f"it has more than {MOST_CHARTS} charts, or {MOST_ENTRIES} entries")


@dataclass(slots=True)
class _Left:
    """What may still be read of an index."""

    charts: int = MOST_CHARTS
    entries: int = MOST_ENTRIES
    parsed_bytes: int = _MOST_PARSED_BYTES

    def take(self, *, charts: int = 0, entries: int = 0, parsed_bytes: int = 0) -> None:
        self.charts -= charts
        self.entries -= entries
        self.parsed_bytes -= parsed_bytes
        if self.charts < 0 or self.entries < 0:
            raise TooMany
        if self.parsed_bytes < 0:
            raise NotQuick("too many entries would be parsed alone")


def outline(content: bytes) -> Outline:
    """Return where the entries stand; raise NotQuick where the grammar does not know a line, TooMany.

    A chart may be there without entries: those that Helm would refuse are left out.
    """
    _refuse_no_text(content)
    _refuse_other_breaks(content)
    _refuse_anchors(content)
    lines = content.rstrip(b" ")
    lines = lines if lines.endswith(b"\n") else lines + b"\n"
    head = HEAD.match(lines, 0, _MOST_HEAD)
    if head is None:
        raise NotQuick("its head is in another style")
    charts, end = _read_charts(lines, head.end())
    tail = TAIL.match(lines, end, end + _MOST_HEAD)
    if tail is None or tail.end() != len(lines):
        raise NotQuick(f"an entry or what follows it, from byte {end}, is in another style")
    if not API_VERSION.search(head[0]) and not API_VERSION.search(tail[0]):
        raise NotQuick("no plain apiVersion")
    generated = GENERATED.search(head[0]) or GENERATED.search(tail[0])
    return Outline(charts, None if generated is None else generated[1].decode())


def _refuse_other_breaks(content: bytes) -> None:
    """Let lines end with LF or CRLF only: every other line break of YAML would hide lines from us."""
    for begin, end in _strides(content):
        if content.find(b"\r", begin, end) >= 0 and _LONE_RETURN.search(content, begin, end):
            raise NotQuick("a lone carriage return")
        for mark in _OTHER_BREAKS:  # its last byte is looked for first: that is many times quicker
            if content.find(mark[-1:], begin, end) >= 0 and content.rfind(mark, begin or 1, end) >= 0:
                raise NotQuick(f"the bytes {mark.hex(' ')}")


def _refuse_no_text(content: bytes) -> None:
    """What no reader of YAML takes: it would spoil other repositories' entries beside these."""
    for begin, end in _strides(content):
        lines = content[begin:end]
        if len(lines.translate(None, _CONTROLS)) != len(lines):
            raise NotQuick("a control character")
        try:
            lines.decode()
        except UnicodeDecodeError as error:
            raise NotQuick("bytes that are no UTF-8") from error


def _refuse_anchors(content: bytes) -> None:
    if any(_ANCHOR.search(content, begin, end) for begin, end in _strides(content)):
        raise NotQuick("there may be an anchor")


def _strides(content: bytes) -> Iterator[Span]:
    """Divide the content into ranges that begin and end with a line break, but for the content's own ends."""
    start = 0
    while start < len(content) - 1:
        end = content.find(b"\n", start + _STRIDE) + 1 or len(content)
        yield start, end
        start = end - 1


def _read_charts(lines: bytes, start: int) -> tuple[Mapping[str, Sequence[Item]], int]:
    """Read charts up to the first line that is no more of them; return them, and where it is."""
    first = FIRST_CHART.match(lines, start, start + _MOST_HEAD)
    if first is None:
        return {}, start
    key_line = chart_line(len(first[1]))
    charts: dict[str, Sequence[Item]] = {}
    left, end = _Left(), first.start(1)
    while (chart := key_line.match(lines, end, end + _MOST_HEAD)) is not None:
        name = chart["name"].decode()
        if name in charts:
            raise NotQuick("a chart's key stands twice")
        left.take(charts=1)
        charts[name], end = _read_items(lines, chart, left)
    return charts, end


def _read_items(lines: bytes, chart: re.Match[bytes], left: _Left) -> tuple[Sequence[Item], int]:
    end = chart.end()
    if chart["dash"] is None:
        return (), end
    indent = len(chart["dash"])
    grammar, name = entry_grammar(indent, indent + 1 + len(chart["gap"])), chart["name"]
    sure_name = name if _SURE_NAME.fullmatch(name) else None
    items: list[Item] = []
    while (entry := grammar.entry.match(lines, end, end + MOST_ENTRY_BYTES)) is not None:
        start, end = entry.span()
        left.take(entries=1)
        usual = grammar.usual.match(lines, start - 1, end)
        if usual is not None and usual["name"] == sure_name:
            item = _usual_item(usual, end, grammar)
        else:
            item = _unusual_item(lines, (start, end), grammar, name, left)
        if item is not None:
            items.append(item)
    return items, end


def _usual_item(entry: re.Match[bytes], end: int, grammar: EntryGrammar) -> Item | None:
    created, digest, name, version = entry.group("created", "digest", "name", "version")
    if not _is_version(version):
        return None
    return Item(
        entry.start() + 1,
        end,
        grammar.indent,
        grammar.column,
        name.decode(),
        version.decode(),
        entry.end("version_at"),
        None if digest is None else digest.decode(),
        None if digest is None else entry.span("digest_at"),
        None if created is None else created.decode(),
        entry.span("urls"),
    )


def _unusual_item(lines: bytes, span: Span, grammar: EntryGrammar, chart: bytes, left: _Left) -> Item | None:
    start, end = span
    found = {member[1]: member for member in grammar.member.finditer(lines, start - 1, end)}
    if b"version" not in found:
        return None
    texts = {key: _unquoted(member[2]) for key, member in found.items()}
    if _is_sure(texts, chart):
        entry = _sure_entry(texts, chart)
    else:
        left.take(parsed_bytes=end - start)
        entry = _parsed_entry(lines[start:end])
    if entry is None:
        return None
    digest, urls = found.get(b"digest"), found.get(b"urls")
    return Item(
        start,
        end,
        grammar.indent,
        grammar.column,
        entry.name,
        entry.version,
        found[b"version"].end(),
        entry.digest,
        None if digest is None else digest.span(2),
        entry.created,
        None if urls is None else urls.span(2),
    )


def _is_sure(texts: Mapping[bytes, bytes], chart: bytes) -> bool:
    """Tell whether YAML can read these as nothing but the texts that they are."""
    return (
        texts.get(b"name") == chart
        and _SURE_NAME.fullmatch(chart) is not None
        and _VERSION.fullmatch(texts[b"version"]) is not None
        and _DIGEST_OR_NONE.fullmatch(texts.get(b"digest", b"")) is not None
        and (b"created" not in texts or _TIME.fullmatch(texts[b"created"]) is not None)
    )


def _sure_entry(texts: Mapping[bytes, bytes], chart: bytes) -> ChartVersion | None:
    if not _is_version(texts[b"version"]):
        return None
    created = texts.get(b"created")
    return ChartVersion(
        chart.decode(),
        texts[b"version"].decode(),
        digest=texts.get(b"digest", b"").decode() or None,
        created=None if created is None else created.decode(),
    )


def _parsed_entry(item: bytes) -> ChartVersion | None:
    try:
        return next(iter(read_entries(parse_document(item, _ENTRY_LIMITS)).versions), None)
    except DocumentError as error:
        raise NotQuick(f"an entry does not parse alone: {error}") from error


def _is_version(text: bytes) -> bool:
    return _SIMPLE_VERSION.fullmatch(text) is not None or parse_version(text.decode()) is not None


def _unquoted(scalar: bytes) -> bytes:
    return scalar[1:-1] if scalar.startswith((b'"', b"'")) else scalar
