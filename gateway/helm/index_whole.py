"""A whole index.yaml, or index.json under that name, parsed once into a form in which a chart is one line.

The whole parse of a big index takes seconds and hundreds of megabytes: it belongs into a process of its own.
"""

import json
from typing import Final, NoReturn, TypeAlias

from gateway.helm.document import DEFAULT_LIMITS, DocumentError, Plain, Value, parse_document
from gateway.helm.index import ChartEntries, ChartVersion, read_entries

NORMAL_FORM: Final = b"helm-index/1"  # the first line; another number makes what is stored unreadable

_Json: TypeAlias = "bool | str | list[_Json] | dict[str, _Json] | None"

_BOM: Final = b"\xef\xbb\xbf"
_MARKUP: Final = (b"<!doctype html", b"<html")


class BrokenIndex(ValueError):
    """The bytes are no Helm index; the message says why."""


class HtmlInstead(BrokenIndex):
    """The bytes are a web page: there is no index at this place."""


def normalise_index(content: bytes) -> bytes:
    """Return the index as lines: the chart's name in JSON, a tab, its entries in JSON. Raise BrokenIndex."""
    entries = read_index(content)
    lines = [_line(chart, read_entries(value)) for chart, value in entries.items()]
    return b"\n".join([NORMAL_FORM, *lines, b""])


def find_in_normalised(normalised: bytes, chart: str) -> ChartEntries | None:
    """Return the entries of ``chart``, None when the index has no such chart; ValueError for another form."""
    if not normalised.startswith(NORMAL_FORM + b"\n"):
        raise ValueError(f"not in the form {NORMAL_FORM.decode()}")
    key = f"\n{json.dumps(chart)}\t".encode()
    place = normalised.find(key)
    if place < 0:
        return None
    start = place + len(key)
    return _entries(normalised[start : normalised.index(b"\n", start)])


def read_index(content: bytes) -> dict[str, Value]:
    """Return what stands under ``entries``; raise BrokenIndex."""
    index = _parse(content)
    if not isinstance(index, dict):
        raise BrokenIndex("no mapping")
    api_version = index.get("apiVersion")
    if not isinstance(api_version, str) or not api_version:
        raise BrokenIndex("no apiVersion")
    if "entries" not in index:
        raise BrokenIndex("no entries")
    entries = index["entries"]
    if entries is None:
        return {}
    if not isinstance(entries, dict):
        raise BrokenIndex("the entries are no mapping")
    return entries


def _line(chart: str, entries: ChartEntries) -> bytes:
    versions = [[v.name, v.version, v.urls, v.digest, v.created] for v in entries.versions]
    return f"{json.dumps(chart)}\t{json.dumps([versions, entries.skipped])}".encode()


def _entries(line: bytes) -> ChartEntries:
    versions: list[tuple[str, str, list[str], str | None, str | None]]
    skipped: list[tuple[int, str]]
    versions, skipped = json.loads(line)
    return ChartEntries(
        tuple(ChartVersion(n, v, tuple(urls), digest, created) for n, v, urls, digest, created in versions),
        tuple((position, reason) for position, reason in skipped),
    )


def _parse(content: bytes) -> Value:
    head = content[:1024].removeprefix(_BOM).lstrip()
    if not head:
        raise BrokenIndex("empty")
    if head.lower().startswith(_MARKUP):
        raise HtmlInstead("a web page")
    if not head.startswith(b"{"):
        return _parse_yaml(content)
    try:
        return _parse_json(content)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return _parse_yaml(content)  # in flow style it begins alike; Helm, too, tries JSON first


def _parse_yaml(content: bytes) -> Value:
    try:
        return parse_document(content)
    except DocumentError as error:
        raise BrokenIndex(str(error)) from error


def _parse_json(content: bytes) -> Value:
    """Read JSON into what YAML would give: numbers and booleans stay text, unconverted, however long."""
    try:
        loaded: _Json = json.loads(
            content.removeprefix(_BOM).decode(),
            parse_int=Plain,
            parse_float=Plain,
            parse_constant=_refuse_constant,
            object_pairs_hook=_members,
        )
    except RecursionError as error:
        raise BrokenIndex("JSON nested deeper than Python goes") from error
    return _value(loaded, DEFAULT_LIMITS.depth)


def _refuse_constant(name: str) -> NoReturn:
    raise BrokenIndex(f"{name} is no JSON")


def _members(pairs: list[tuple[str, _Json]]) -> dict[str, _Json]:
    members: dict[str, _Json] = {}
    for name, value in pairs:
        if name in members:
            raise BrokenIndex(f"the key {name!r} stands twice")
        members[name] = value
    return members


def _value(loaded: _Json, depth: int) -> Value:
    if isinstance(loaded, bool):
        return Plain(str(loaded).lower())
    if loaded is None or isinstance(loaded, str):
        return loaded
    if depth == 0:
        raise BrokenIndex(f"JSON nested deeper than {DEFAULT_LIMITS.depth}")
    if isinstance(loaded, list):
        return [_value(item, depth - 1) for item in loaded]
    return {key: _value(item, depth - 1) for key, item in loaded.items()}
