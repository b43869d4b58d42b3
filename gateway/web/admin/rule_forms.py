"""One rule as the fields of a form, and back into YAML: what nobody changed stays as it was written."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from gateway.rules.tree import MappingNode, Node, ScalarNode, SequenceNode, TreeError, parse_tree

LISTS: Final = ("rewrite", "chain")  # one entry a line; a single one is written without a list
_WORDS: Final = ("enabled", "provenance")  # their values are written without quotes
KEYS: Final = (
    *("name", "host", "repository", "rewrite", "deny", "enabled", "versions", "min_age"),
    *("chain", "fresh_for", "stale_for", "drift", "provenance"),
)
_PLAIN: Final = re.compile(r"[A-Za-z$/][A-Za-z0-9._/$@+-]*(?: [A-Za-z0-9._/$@+-]+)*|[0-9]+[smhdw]", re.ASCII)
_NO_TEXT: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_WIDE: Final = re.compile("[\x7f-\xa0\xad\u2000-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff0-\uffff]")


@dataclass(frozen=True, slots=True)
class RuleForm:
    """``values`` by key, only those that are there, lists with an entry a line.

    ``more`` is YAML: every other key, with the comments that stand among them.
    """

    values: Mapping[str, str]
    more: str = ""

    def value(self, key: str) -> str:
        return self.values.get(key, "")


@dataclass(frozen=True, slots=True)
class _Part:
    """A key of a rule, the lines that it stands on with the comments above them, and its value."""

    key: str
    text: str
    value: Node


def read_rule(yaml: str) -> RuleForm:
    """What the fields show of a rule; one that no form can hold is all in ``more``."""
    parts = _parts(yaml)
    if parts is None:
        return RuleForm({}, yaml)
    shown = {part.key: found for part in parts if (found := _field(part)) is not None}
    return RuleForm(shown, "".join(part.text for part in parts if part.key not in shown))


def write_rule(form: RuleForm, before: str = "") -> str:
    """The YAML of a rule as the form says; ``before`` is what it was read from.

    The lines of a key that was not changed stay as they are.
    """
    known = _parts(before) or []
    was = read_rule(before)
    is_more_kept = _ended(form.more) == _ended(was.more)
    kept = [part for part in known if part.key in was.values or is_more_kept]
    written = {key for key in was.values if form.value(key).strip()}
    lines = [_rewritten(part, was, form) for part in kept]
    added = [key for key in KEYS if form.value(key).strip() and key not in written]
    lines[:0] = [_line(key, form.value(key)) for key in added if key == "name"]
    lines += [_line(key, form.value(key)) for key in added if key != "name"]
    if not is_more_kept or not known:
        lines.append(_ended(form.more))
    return "".join(map(_ended, lines))


def read_fields(fields: Mapping[str, str]) -> RuleForm:
    """What was posted; a field that is empty says nothing."""
    values = {key: fields[key] for key in KEYS if fields.get(key, "").strip()}
    return RuleForm(values, fields.get("more", ""))


def quoted(text: str) -> str:
    """The text as a scalar that YAML reads as this very text, in the plainest way."""
    if _PLAIN.fullmatch(text) and text.lower() not in _NO_TEXT:
        return text
    if "\\" in text and text.isprintable() and text.strip() == text and not _WIDE.search(text):
        return "'" + text.replace("'", "''") + "'"
    return _WIDE.sub(lambda odd: f"\\u{ord(odd[0]):04x}", json.dumps(text, ensure_ascii=False))


def _parts(yaml: str) -> Sequence[_Part] | None:
    """Key by key; None where the text is no mapping that stands for itself."""
    try:
        root = parse_tree(yaml)
    except TreeError:
        return None
    if not isinstance(root, MappingNode) or len({key.text for key, _ in root.entries}) < len(root.entries):
        return None
    found = list(_blocks(yaml, root))
    return found if found and _says_the_same(found, root) else list(_anew(root))


def _blocks(yaml: str, root: MappingNode) -> Iterator[_Part]:
    """The lines of each key, where each begins on a line of its own."""
    lines = yaml.splitlines(keepends=True)
    starts = [_with_comments(lines, key.place.line - 1) for key, _ in root.entries]
    starts[:1] = [0]
    for (key, value), start, end in zip(root.entries, starts, [*starts[1:], len(lines)], strict=True):
        yield _Part(key.text, "".join(lines[start:end]), value)


def _with_comments(lines: Sequence[str], start: int) -> int:
    """Where the comments begin that stand right above a line."""
    while start and lines[start - 1].startswith("#"):
        start -= 1
    return start


def _says_the_same(parts: Sequence[_Part], root: MappingNode) -> bool:
    """Whether each part alone is the key that it stands for."""
    try:
        read = [parse_tree(part.text) for part in parts]
    except TreeError:
        return False
    return all(
        isinstance(one, MappingNode)
        and len(one.entries) == 1
        and _dumped(one.entries[0][0]) == _dumped(key)
        and _dumped(one.entries[0][1]) == _dumped(value)
        for one, (key, value) in zip(read, root.entries, strict=True)
    )


def _anew(root: MappingNode) -> Iterator[_Part]:
    """A rule in braces, or written in another way that shares lines: each key on a line of its own."""
    for key, value in root.entries:
        yield _Part(key.text, f"{quoted(key.text)}: {_dumped(value)}\n", value)


def _dumped(node: Node) -> str:
    """On one line; what was text stays text, and what was none stays none."""
    match node:
        case ScalarNode(text=text, is_plain=True):
            return text if re.fullmatch(r"[A-Za-z0-9._/$+-]+", text, re.ASCII) else quoted(text)
        case ScalarNode(text=text):
            return json.dumps(text) if text.isascii() and text.isprintable() else quoted(text)
        case SequenceNode(items=items):
            return f"[{', '.join(map(_dumped, items))}]"
        case MappingNode(entries=entries):
            return f"{{{', '.join(f'{_dumped(key)}: {_dumped(value)}' for key, value in entries)}}}"


def _field(part: _Part) -> str | None:
    """The value in its field; None where that cannot show it."""
    match part.value:
        case ScalarNode(text=text) if part.key in KEYS and text.strip():
            return text if part.key not in LISTS or _is_line(text) else None
        case SequenceNode(items=items) if part.key in LISTS and items:
            texts = [item.text for item in items if isinstance(item, ScalarNode)]
            return "\n".join(texts) if len(texts) == len(items) and all(map(_is_line, texts)) else None
    return None


def _is_line(text: str) -> bool:
    return bool(text.strip()) and text == text.strip() and len(text.splitlines()) == 1


def _rewritten(part: _Part, was: RuleForm, form: RuleForm) -> str:
    """The lines of a part as the form wants them: the same, others, or none."""
    if part.key not in was.values or _same(part.key, form.value(part.key), was.values[part.key]):
        return part.text
    text = form.value(part.key)
    line = _line(part.key, text) if text.strip() else ""
    lines = part.text.splitlines(keepends=True)
    above = list(takewhile(_is_aside, lines))
    below = list(takewhile(_is_aside, reversed(lines)))
    return "".join([*above, line, *reversed(below)])


def _same(key: str, one: str, other: str) -> bool:
    """Whether two contents of a field mean the same; a browser may end it with a line."""
    if key in LISTS:
        return _entries(one) == _entries(other)
    return one.rstrip("\n") == other.rstrip("\n")


def _is_aside(line: str) -> bool:
    """Whether a line is none of the key's own: a comment in its column, or nothing."""
    return not line.strip() or line.startswith("#")


def _line(key: str, text: str) -> str:
    if key in LISTS:
        entries = [quoted(entry) for entry in _entries(text)]
        if len(entries) == 1 and key == "rewrite":
            return f"{key}: {entries[0]}\n"
        return f"{key}:\n" + "".join(f"  - {entry}\n" for entry in entries)
    is_word = key in _WORDS and text.strip() in ("true", "false")
    return f"{key}: {text.strip() if is_word else quoted(text.strip())}\n"


def _entries(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
