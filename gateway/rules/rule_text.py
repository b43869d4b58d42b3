"""The text of one rule by itself: taken out of a file, and written into one as its neighbours are."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from gateway.rules.layout import BYTE_ORDER_MARK, Entries, Entry, Layout, read_layout
from gateway.rules.problems import Fault, Unreadable
from gateway.rules.tree import (
    Node,
    Place,
    ScalarNode,
    SequenceNode,
    parse_events,
    parse_tree,
)

_PLAIN: Final = re.compile(r"[A-Za-z0-9~./$](?:[A-Za-z0-9 ~./$_@+-]*[A-Za-z0-9~./$_@+-])?", re.ASCII)
_NO_RULE: Final = Fault(Place(), "expected the keys and values of one rule", "such as repository: …")


@dataclass(frozen=True, slots=True)
class RuleText:
    """``lines`` are those of its keys and values, ``comments`` those above it; all from column 0.

    ``entries`` is what it says.
    """

    comments: Sequence[str]
    lines: Sequence[str]
    entries: Entries

    def __str__(self) -> str:
        return "\n".join([*self.comments, *self.lines, ""])


def parse_rule(text: str) -> RuleText:
    """Read a rule that somebody wrote, with a dash in front or without; raise TreeError, or Unreadable."""
    text = f"{text.removeprefix(BYTE_ORDER_MARK)}\n".replace("\r\n", "\n")
    events = parse_events(text)
    if len(events) < 3 or (isinstance(events[2], yaml.SequenceStartEvent) and events[2].flow_style):
        raise Unreadable(_NO_RULE)
    if not isinstance(events[2], yaml.SequenceStartEvent):
        text = _dashed(text, events[2])
    found = read_layout(f"rules:\n{text}")
    if len(found.entries) != 1 or found.entries[0].first_key is None or found.others:
        raise Unreadable(_NO_RULE)
    return rule_text(found, found.entries[0])


def rule_text(layout: Layout, entry: Entry) -> RuleText:
    """Take a rule out of a file."""
    text = layout.text
    above = text[entry.body.start : entry.node.start].split("\n")
    comments = [line.strip() for line in above if line.lstrip().startswith("#")]
    column = entry.node.start - (text.rfind("\n", 0, entry.node.start) + 1)
    content = text[entry.node.start : max(entry.node.end, entry.body.end)]
    return RuleText(comments, _outdented(content, column), entry.entries)


def written(rule: RuleText, layout: Layout) -> str:
    """A rule as the body of one in this file."""
    if layout.is_flow:
        return _in_brackets(rule)
    margin = " " * layout.indent
    first, *others = rule.lines
    lines = [*(f"{margin}{comment}" for comment in rule.comments), f"{margin}- {first}"]
    lines += [f"{margin}  {line}" if line else "" for line in others]
    return layout.line_break.join(lines)


def _dashed(text: str, root: yaml.Event) -> str:
    mark = root.start_mark
    start, column = (0, 0) if mark is None else (mark.index, mark.column)
    above = [line.strip() for line in text[:start].split("\n")[:-1]]
    first, *others = _outdented(text[start:], column)
    return "\n".join([*above, f"- {first}", *(f"  {line}" if line else "" for line in others), ""])


def _outdented(content: str, column: int) -> Sequence[str]:
    """The lines of a node; all but the first of them begin so much further in than they should."""
    first, *others = content.replace("\r\n", "\n").rstrip("\n").split("\n")
    return [first, *(line[min(column, len(line) - len(line.lstrip(" "))) :] for line in others)]


def _in_brackets(rule: RuleText) -> str:
    """On one line; what is in brackets on one already stays as it is."""
    if len(rule.lines) == 1 and rule.lines[0].startswith("{"):
        return rule.lines[0]
    return _flow(parse_tree("\n".join(rule.lines)))


def _flow(node: Node) -> str:
    """In the words of JSON, but for what needs no quotes."""
    match node:
        case ScalarNode():
            is_plain = node.is_plain and (node.is_null or _PLAIN.fullmatch(node.text))
            return node.text if is_plain else json.dumps(node.text, ensure_ascii=False)
        case SequenceNode():
            return f"[{', '.join(map(_flow, node.items))}]"
        case mapping:
            return f"{{{', '.join(f'{_flow(key)}: {_flow(value)}' for key, value in mapping.entries)}}}"
