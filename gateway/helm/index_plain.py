"""A whole index.yaml, or index.json under that name, written anew in a style that has an outline."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.helm.document import Value
from gateway.helm.index import read_entries
from gateway.helm.index_outline import MOST_CHARTS, MOST_ENTRIES, MOST_ENTRY_BYTES, TooMany
from gateway.helm.index_whole import BrokenIndex, read_index
from gateway.helm.yaml_text import after_colon

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
_NO_WORD = re.compile(r"[^A-Za-z0-9_.:+-]")
# Helm refuses a whole YAML index for one member that it does not know; from JSON it takes any.
_MEMBERS: Final = (
    *("annotations", "apiVersion", "appVersion", "condition", "deprecated", "description", "home", "icon"),
    *("keywords", "kubeVersion", "removed", "sources", "tags", "type"),
)
_RECORDS: Final = {
    "dependencies": frozenset(
        ("name", "version", "repository", "condition", "tags", "enabled", "import-values", "alias")
    ),
    "maintainers": frozenset(("name", "email", "url")),
}


def plain_index(content: bytes) -> bytes:
    """Return an index of the same entries, whose outline is never NotQuick; raise BrokenIndex.

    Left out is what Helm would refuse, or does not know, charts that no URL of ours could name, and entries
    too long for an outline. With a big index it takes seconds and hundreds of megabytes: it belongs into a
    process of its own.
    """
    parts = ["apiVersion: v1\nentries:\n"]
    left = MOST_ENTRIES
    for chart, entries in _bounded(read_index(content)).items():
        written = [_entry(entry) for entry in entries[: left + 1]] if isinstance(entries, list) else []
        left -= len(written)
        if left < 0:
            raise BrokenIndex(str(TooMany()))
        if _NAME.fullmatch(chart) and any(written):
            parts += [f'  "{chart}":\n', *written]
    return "".join(parts).encode()


def _bounded(entries: Mapping[str, Value]) -> Mapping[str, Value]:
    if len(entries) > MOST_CHARTS:
        raise BrokenIndex(str(TooMany()))
    return entries


def _entry(entry: Value) -> str:
    """Write an entry as an item; nothing where Helm would refuse it."""
    versions = read_entries([entry]).versions
    if not isinstance(entry, dict) or not versions or not _NAME.fullmatch(versions[0].name):
        return ""
    read = versions[0]
    members: dict[str, object] = {name: entry[name] for name in _MEMBERS if name in entry}
    members |= {name: _records(entry.get(name), known) for name, known in _RECORDS.items() if name in entry}
    members |= {"name": read.name, "version": read.version}
    if read.created is not None and not _NO_WORD.search(read.created):
        members["created"] = read.created
    if read.digest is not None:
        members["digest"] = _NO_WORD.sub("_", read.digest)  # malformed, it equals no archive's
    if read.urls:
        members["urls"] = read.urls
    text = f"  - {after_colon(dict(sorted(members.items())), 4).lstrip()}\n"
    return text if len(text.encode()) < MOST_ENTRY_BYTES else ""


def _records(value: Value, known: frozenset[str]) -> Sequence[object]:
    items = value if isinstance(value, list) else []
    return [
        {name: member for name, member in item.items() if name in known}
        for item in items
        if isinstance(item, dict)
    ]
