"""An index.yaml of our own: entries in upstream's own lines, and entries of charts that we hold."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.helm.archive import ChartFiles
from gateway.helm.index_outline import Item
from gateway.helm.metadata import ChartMetadata, MetadataError, parse_metadata
from gateway.helm.version import Version, is_complete, parse_version
from gateway.helm.yaml_text import after_colon, plain_key, quoted

_INDENT: Final = 2  # the column of charts, and the least one of their entries
_OLDEST: Final = Version(0, 0, 0, (), "")
_TIME = re.compile(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9])T(?:[01][0-9]|2[0-3])(?::[0-5][0-9]){2}"
    r"(?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])",
    re.ASCII,
)
_PLAIN_URL = re.compile(r"[A-Za-z][A-Za-z0-9._+-]*\.tgz", re.ASCII)
_ARCHIVE = re.compile(r"([A-Za-z0-9._+%-]{1,511})\.tgz(?:\.prov)?", re.ASCII)
_CHART = re.compile(r"[A-Za-z0-9._-]{1,250}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry in its own lines of ``content``, but for its archive's URL, and its SHA-256 if known."""

    content: bytes
    item: Item
    url: str
    digest: str | None


@dataclass(frozen=True, slots=True)
class Made:
    """An entry of a chart that stands in no index; ``created`` is left out where it is no RFC 3339 time."""

    metadata: ChartMetadata
    url: str
    digest: str | None
    created: str | None


Entry: TypeAlias = Kept | Made


def write_index(charts: Mapping[str, Sequence[Entry]], generated: str | None) -> bytes:
    """Return the index of these charts, sorted, without those that have no entry; always the same bytes.

    Kept entries keep their order; each that is made is put before the first of them that is older.
    """
    filled = {chart: entries for chart, entries in charts.items() if entries}
    parts = [b"apiVersion: v1\nentries:\n" if filled else b"apiVersion: v1\nentries: {}\n"]
    for chart in sorted(filled):
        parts.append(f"  {plain_key(chart)}:\n".encode())
        parts.extend(_entries(filled[chart]))
    if generated is not None and _TIME.fullmatch(generated):
        parts.append(f'generated: "{generated}"\n'.encode())
    return b"".join(parts)


def metadata_of_config(config: bytes) -> ChartMetadata:
    """Read a chart's config in a registry, its Chart.yaml as JSON; raise MetadataError.

    Helm reads no entry of an index where it cannot read one: so nothing else gets in.
    """
    try:
        text = after_colon(
            json.loads(config), 0
        )  # YAML has no half characters, as some JSON writes whole ones
    except (ValueError, RecursionError) as error:
        raise MetadataError(f"the config is no JSON: {error}") from error
    return parse_metadata(ChartFiles(text.encode()))


def bare_metadata(name: str, version: str) -> ChartMetadata:
    """Return what is known of a chart that is not held; raise MetadataError where it could be none."""
    return metadata_of_config(json.dumps({"apiVersion": "v2", "name": name, "version": version}).encode())


def archive_name(chart: str, version: str) -> str:
    return f"{chart}-{version}.tgz"


def parse_archive_name(file_name: str) -> Sequence[tuple[str, str]]:
    """Return which chart and version may be meant, the likeliest first; the same of ``….tgz.prov``.

    Both may have dashes and numbers, so there may be many. The right one is always among them.
    """
    match = _ARCHIVE.fullmatch(file_name)
    if match is None:
        return []
    stem = match[1].replace("%2B", "+").replace("%2b", "+")
    dashes = (place for place, character in enumerate(stem) if character == "-")
    pairs = ((stem[:dash], stem[dash + 1 :]) for dash in dashes)
    possible = [pair for pair in pairs if _CHART.fullmatch(pair[0]) and parse_version(pair[1])]
    return sorted(possible, key=lambda pair: not is_complete(pair[1]))


def _entries(entries: Sequence[Entry]) -> Iterator[bytes]:
    """Write a chart's entries, all in the column of the rightmost."""
    column = max([_INDENT, *(entry.item.indent for entry in entries if isinstance(entry, Kept))])
    for entry in _in_order(entries):
        if isinstance(entry, Made):
            yield _made(entry, column)
        elif entry.item.indent == column:
            yield from _kept(entry)
        else:
            yield _moved(b"".join(_kept(entry)), column - entry.item.indent)


def _in_order(entries: Sequence[Entry]) -> Iterator[Entry]:
    made = sorted((entry for entry in entries if isinstance(entry, Made)), key=_made_version)
    for entry in entries:
        if isinstance(entry, Made):
            continue
        while made and _made_version(made[-1]) > _version(entry.item.version):
            yield made.pop()
        yield entry
    yield from reversed(made)


def _made_version(entry: Made) -> Version:
    return _version(entry.metadata.version)


def _version(text: str) -> Version:
    return parse_version(text) or _OLDEST


def _kept(entry: Kept) -> Iterator[bytes]:
    """Write the entry's own lines with our URL, and our digest or an empty one, which is as good as none."""
    content, item = entry.content, entry.item
    position = item.start
    for start, end, text in sorted((_url_edit(entry), _digest_edit(entry))):
        yield content[position:start]
        yield text
        position = end
    rest = content[position : item.end]
    yield rest if rest.endswith(b"\n") else rest + b"\n"


def _url_edit(entry: Kept) -> tuple[int, int, bytes]:
    url = entry.url if _PLAIN_URL.fullmatch(entry.url) else quoted(entry.url)
    if entry.item.urls_at is None:
        return _new_member(entry.item, f"urls: [{url}]")
    start, end = entry.item.urls_at
    is_flow = entry.content.startswith(b"[", start)
    return start, end, (f"[{url}]" if is_flow else url).encode()


def _digest_edit(entry: Kept) -> tuple[int, int, bytes]:
    if entry.item.digest_at is None:
        return _new_member(entry.item, f'digest: "{entry.digest}"' if entry.digest else "")
    return *entry.item.digest_at, f'"{entry.digest or ""}"'.encode()


def _new_member(item: Item, text: str) -> tuple[int, int, bytes]:
    """Put a line behind the version; nothing where there is no text."""
    if not text:
        return item.version_end, item.version_end, b""
    return item.version_end, item.version_end, f"\n{' ' * item.column}{text}".encode()


def _moved(lines: bytes, by: int) -> bytes:
    """Move lines to the right: nothing in YAML is absolute but what begins no line."""
    indent = b" " * by
    return indent + lines.removesuffix(b"\n").replace(b"\n", b"\n" + indent) + b"\n"


def _made(entry: Made, column: int) -> bytes:
    members = {**entry.metadata.to_json(), "urls": [entry.url]}
    if entry.digest is not None:
        members["digest"] = entry.digest
    if entry.created is not None and _TIME.fullmatch(entry.created):
        members["created"] = entry.created
    lines = after_colon(dict(sorted(members.items())), column + 2)
    return f"{' ' * column}- {lines.lstrip()}\n".encode()
