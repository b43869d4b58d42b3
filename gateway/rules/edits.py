"""Changes of single rules in the text of rules.yaml: all the rest of it stays as it is, byte for byte."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, TypeAlias

from gateway.rules.layout import Entries, Entry, Layout, NotEditable, past_line, read_layout
from gateway.rules.rule_text import RuleText, parse_rule, written
from gateway.rules.tree import TreeError

_OFF: Final = re.compile(r"enabled: false(?:, *|\r?\n *)(?=[^\s#,}])")
_NEW_FILE: Final[Entries] = (("version", ("-1",)),)


class NoSuchRule(ValueError):
    """There is none of this number."""


@dataclass(frozen=True, slots=True)
class AddRule:
    """``position`` is the number that it will have; None: at the end. ``yaml`` are its keys and values."""

    yaml: str
    position: int | None = None


@dataclass(frozen=True, slots=True)
class ReplaceRule:
    """Comments above the rule stay where ``yaml`` begins with none."""

    number: int
    yaml: str


@dataclass(frozen=True, slots=True)
class MoveRule:
    """``to`` is the number that it will have."""

    number: int
    to: int


@dataclass(frozen=True, slots=True)
class RemoveRule:
    number: int


@dataclass(frozen=True, slots=True)
class SwitchRule:
    number: int
    is_enabled: bool


Change: TypeAlias = AddRule | ReplaceRule | MoveRule | RemoveRule | SwitchRule


def edited(layout: Layout, change: Change) -> Layout:
    """The text with one change; rules count from 1.

    Raise NoSuchRule, TreeError or Unreadable for a new rule that is none, and NotEditable where the file is
    so written that anything but this rule would change.
    """
    try:
        return _verified(layout, change)
    except NotEditable:
        if layout.text.endswith("\n"):
            raise
        ended = read_layout(layout.whole + layout.line_break)
        if _meant(ended) != _meant(layout):
            raise
    return _verified(ended, change)  # a block of text needs the end of its last line


def _verified(layout: Layout, change: Change) -> Layout:
    changed, meant = _changed(layout, change)
    try:
        after = read_layout(layout.mark + changed)
    except TreeError as error:
        raise NotEditable("the rules are written in an unusual way") from error
    others = _NEW_FILE if layout.is_empty else layout.others
    if after.others != others or _meant(after) != meant:
        raise NotEditable("something else would change too")
    return after


def _meant(layout: Layout) -> list[Entries]:
    return [entry.entries for entry in layout.entries]


def _changed(layout: Layout, change: Change) -> tuple[str, Sequence[Entries]]:
    """The text, and what its rules have to say then."""
    meant = _meant(layout)
    pieces = _Pieces(layout)
    match change:
        case AddRule(yaml, position):
            at = len(meant) if position is None else _index(position, len(meant) + 1)
            rule = parse_rule(yaml)
            meant.insert(at, rule.entries)
            return (pieces.with_one(at, rule) if layout.entries else _first(layout, rule)), meant
        case ReplaceRule(number, yaml):
            at = _index(number, len(meant))
            rule = parse_rule(yaml)
            meant[at] = rule.entries
            return pieces.with_other(at, rule), meant
        case MoveRule(number, to):
            at, there = _index(number, len(meant)), _index(to, len(meant))
            meant.insert(there, meant.pop(at))
            return pieces.moved(at, there), meant
        case RemoveRule(number):
            del meant[_index(number, len(meant))]
            return pieces.without(number - 1), meant
        case switch:
            at = _index(switch.number, len(meant))
            changed, meant[at] = _switched(layout, layout.entries[at], is_enabled=switch.is_enabled)
            return changed, meant


def _index(number: int, count: int) -> int:
    if not 0 < number <= count:
        raise NoSuchRule(f"there is no rule {number}: they count from 1 to {count}")
    return number - 1


class _Pieces:
    """A file cut into what is before, between and behind its rules, and the rules, each with its comments.

    What is between stays in its place, whichever rules stand there.
    """

    def __init__(self, layout: Layout) -> None:
        text, spans = layout.text, [entry.body for entry in layout.entries]
        self._layout = layout
        self._bodies = [text[span.start : span.end] for span in spans]
        self._gaps = [text[one.end : after.start] for one, after in pairwise(spans)]
        self._head = text[: spans[0].start] if spans else text
        self._tail = text[spans[-1].end :] if spans else ""

    def moved(self, at: int, to: int) -> str:
        self._bodies.insert(to, self._bodies.pop(at))
        return self._text()

    def with_one(self, at: int, rule: RuleText) -> str:
        near = self._gaps[max(at - 2, 0) : at + 1][-1:] if self._gaps else []
        gap = ", " if self._layout.is_flow else self._layout.line_break
        if near and not _says_something(near[0]):
            gap = near[0]
        self._gaps.insert(min(at, len(self._bodies) - 1), gap)
        self._bodies.insert(at, written(rule, self._layout))
        return self._text()

    def with_other(self, at: int, rule: RuleText) -> str:
        """Comments above stay where there are no others; in brackets always."""
        entry = self._layout.entries[at]
        is_kept = self._layout.is_flow or not rule.comments
        comments = self._layout.text[entry.comments.start : entry.comments.end] if is_kept else ""
        self._bodies[at] = comments + written(rule, self._layout)
        return self._text()

    def without(self, at: int) -> str:
        """What is said between rules stays; of mere room on both sides one is enough."""
        del self._bodies[at]
        if not self._bodies:
            return self._emptied()
        if at == 0:
            self._head += self._kept(self._gaps.pop(0))
        elif at == len(self._bodies):
            self._tail = self._kept(self._gaps.pop(), is_behind=True) + self._tail
        else:
            after = self._gaps.pop(at)
            before = self._gaps[at - 1]
            if _says_something(after):
                self._gaps[at - 1] = before + self._kept(after) if _says_something(before) else after
        return self._text()

    def _kept(self, gap: str, *, is_behind: bool = False) -> str:
        """The comments of a gap that does not part two rules any more."""
        if not _says_something(gap):
            return ""
        if self._layout.is_flow:
            gap = gap.replace(",", "", 1)
        return gap.rstrip() if is_behind else gap.removeprefix(self._layout.line_break)

    def _emptied(self) -> str:
        layout = self._layout
        if layout.is_flow and layout.rules is not None:
            return f"{layout.text[: layout.rules.start]}[]{layout.text[layout.rules.end :]}"
        return self._head + self._tail.removeprefix(layout.line_break)

    def _text(self) -> str:
        within = (part for pair in zip(self._bodies, [*self._gaps, ""], strict=True) for part in pair)
        return "".join((self._head, *within, self._tail))


def _says_something(gap: str) -> bool:
    return "#" in gap


def _first(layout: Layout, rule: RuleText) -> str:
    """The file with the only rule that it has."""
    if layout.is_flow:
        return _first_in_brackets(layout, written(rule, layout))
    layout = replace(layout, indent=layout.key_indent + 2)
    text, line_break, body = layout.text, layout.line_break, written(rule, layout)
    if layout.rules is not None:
        end = past_line(text, layout.rules.end)
        before = text[: layout.rules.start].rstrip(" ") + text[layout.rules.end : end]
    else:
        end = len(text) if layout.is_empty else layout.end
        before = _ended(text[:end], line_break)
        before += f"version: 1{line_break}" if layout.is_empty else ""
        before += f"{line_break}{' ' * layout.key_indent}rules:"
    is_ended = not text or text[:end].endswith("\n")
    return f"{_ended(before, line_break)}{body}{line_break if is_ended else ''}{text[end:]}"


def _ended(text: str, line_break: str) -> str:
    return text if not text or text.endswith("\n") else text + line_break


def _first_in_brackets(layout: Layout, body: str) -> str:
    text = layout.text
    if layout.rules is not None:
        return f"{text[: layout.rules.start].rstrip(' ')} [{body}]{text[layout.rules.end :]}"
    before = text[: layout.end].rstrip()
    comma = "" if before.endswith((",", "{")) else ", "
    return f"{before}{comma}rules: [{body}]{text[len(before) :]}"


def _switched(layout: Layout, entry: Entry, *, is_enabled: bool) -> tuple[str, Entries]:
    """The text, and what the rule says then; what is off by a line of ours is on without it."""
    text, said, at = layout.text, entry.entries, entry.first_key
    if at is None:
        raise NotEditable("this rule is not written out in its place")
    if entry.switch is None:
        if is_enabled:
            return text, said
        column = at - text.rfind("\n", 0, at) - 1
        parted = ", " if entry.is_flow else layout.line_break + " " * column
        return f"{text[:at]}enabled: false{parted}{text[at:]}", (("enabled", ("=false",)), *said)
    off = _OFF.match(text, at) if is_enabled else None
    if off is not None:
        return text[:at] + text[off.end() :], said[1:]
    word = "true" if is_enabled else "false"
    changed = f"{text[: entry.switch.start]}{word}{text[entry.switch.end :]}"
    return changed, tuple((name, (f"={word}",) if name == "enabled" else value) for name, value in said)
