"""What a Helm repository's index.yaml says about one chart, found without parsing the whole file."""

import re
from dataclasses import dataclass

from gateway.helm.document import DocumentError, DocumentLimits, Plain, Value, parse_document
from gateway.helm.index_cut import Block, NotQuick, find_block
from gateway.helm.index_items import cut_items
from gateway.helm.version import parse_version

# Scalars without quotes that YAML reads as numbers or booleans: Helm cannot decode them into a string.
_NO_TEXT = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?|true|false", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_SHOWN = 80
QUICK_LIMITS = DocumentLimits(events=300_000)  # a second of parsing or so: beyond, it is for a child process


@dataclass(frozen=True, slots=True)
class ChartVersion:
    """One entry of an index: texts as written, URLs not resolved, the version a SemVer as Helm takes them.

    ``digest`` is 64 lower-case hex digits, or None when the entry has none; a text that is no SHA-256 stays
    as written, so that it equals no archive's digest.
    """

    name: str
    version: str
    urls: tuple[str, ...] = ()
    digest: str | None = None
    created: str | None = None

    @property
    def has_malformed_digest(self) -> bool:
        return self.digest is not None and not _SHA256.fullmatch(self.digest)


@dataclass(frozen=True, slots=True)
class ChartEntries:
    """One chart's entries in the index's order; ``skipped``: (position, why) of those Helm would refuse."""

    versions: tuple[ChartVersion, ...] = ()
    skipped: tuple[tuple[int, str], ...] = ()


def find_chart(content: bytes, chart: str) -> ChartEntries | None:
    """Return the entries of ``chart`` by the quick way; None when the index certainly has no such chart.

    Raise NotQuick when only a whole parse can tell (index_whole). Where the whole parse succeeds, the answer
    is the same. What stands outside the chart's own lines is not checked.
    """
    block = find_block(content, chart)
    if block is None:
        return None
    return _read_block(content, block)


def find_versions(content: bytes, chart: str, versions: frozenset[str]) -> ChartEntries | None:
    """Return those entries of ``chart`` whose version is one of ``versions``, by the quick way.

    For a chart of a thousand versions that is much quicker than find_chart. None is skipped, for none is
    asked for that could be. Raise NotQuick as find_chart does.
    """
    block = find_block(content, chart)
    if block is None:
        return None
    try:
        items = cut_items(content, block, versions)
        entries = [read_entries(parse_document(item, QUICK_LIMITS)) for item in items]
    except (NotQuick, DocumentError):
        entries = [_read_block(content, block)]
    return ChartEntries(
        tuple(version for found in entries for version in found.versions if version.version in versions)
    )


def _read_block(content: bytes, block: Block) -> ChartEntries:
    try:
        return read_entries(parse_document(content[block.start : block.end], QUICK_LIMITS))
    except DocumentError as error:
        raise NotQuick(f"the chart's lines do not parse alone: {error}") from error


def read_entries(value: Value) -> ChartEntries:
    """Read what stands under a chart's name: anything but a list holds no versions."""
    entries = [_read_entry(entry) for entry in value] if isinstance(value, list) else []
    return ChartEntries(
        versions=tuple(entry for entry in entries if isinstance(entry, ChartVersion)),
        skipped=tuple((position, entry) for position, entry in enumerate(entries) if isinstance(entry, str)),
    )


def _read_entry(entry: Value) -> ChartVersion | str:
    """Return the chart version, or why Helm would leave it out."""
    if not isinstance(entry, dict):
        return "the entry is no mapping"
    name, version = _text(entry.get("name")), _text(entry.get("version"))
    if name is None:
        return f"its name is {_shown(entry.get('name'))}"
    if version is None:
        return f"its version is {_shown(entry.get('version'))}"
    if parse_version(version) is None:
        return f"its version {version[:_LONGEST_SHOWN]!a} is no SemVer"
    return ChartVersion(
        name, version, _urls(entry.get("urls")), _digest(entry.get("digest")), _created(entry)
    )


def _text(value: Value) -> str | None:
    """Return ``value`` as a plain str where Helm takes it for a text that is not empty."""
    if not isinstance(value, str) or not value or _has_surrogates(value):
        return None
    return None if isinstance(value, Plain) and _NO_TEXT.fullmatch(value) else str(value)


def _urls(value: Value) -> tuple[str, ...]:
    urls = [_text(url) for url in value] if isinstance(value, list) else []
    return tuple(url for url in urls if url is not None)


def _digest(value: Value) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or _has_surrogates(value):
        return "no text"
    bare = value.lower().removeprefix("sha256:")
    return bare if _SHA256.fullmatch(bare) else str(value)


def _created(entry: dict[str, Value]) -> str | None:
    created = entry.get("created")
    return str(created) if isinstance(created, str) and created and not _has_surrogates(created) else None


def _has_surrogates(text: str) -> bool:
    """Tell whether JSON escapes made half a character, which no UTF-8 can carry."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _shown(value: Value) -> str:
    if value is None:
        return "missing"
    if isinstance(value, Plain):
        return f"{value[:_LONGEST_SHOWN]} without quotes"
    return ascii(value[:_LONGEST_SHOWN]) if isinstance(value, str) else "no text"
