"""A mapping of rules.yaml read by a table: one row a key, and no branch for any of them."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from gateway.rules.problems import Report, Unreadable, unreadable
from gateway.rules.spelling import nearest
from gateway.rules.tree import MappingNode, Node, ScalarNode

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_]{1,100}")

Subject = TypeVar("Subject")
Whole = TypeVar("Whole")
Value = TypeVar("Value")

Change: TypeAlias = Callable[[Subject], Subject]


@dataclass(frozen=True, slots=True)
class Row(Generic[Subject]):
    """A key: ``read`` turns its value into a change of the subject, or raises Unreadable."""

    name: str
    read: Callable[[Node], Change[Subject]]
    is_obeyed: bool = True


Table: TypeAlias = Mapping[str, Row[Subject]]


def table(rows: Iterable[Row[Subject]]) -> Table[Subject]:
    return {row.name: row for row in rows}


def row(name: str, read: Callable[[Node], Value], put: Callable[[Subject, Value], Subject]) -> Row[Subject]:
    """A key that is obeyed: ``read`` its value, ``put`` it into the subject."""

    def read_change(node: Node) -> Change[Subject]:
        value = read(node)
        return lambda subject: put(subject, value)

    return Row(name, read_change)


def elsewhere(name: str, message: str, hint: str | None = None) -> Row[Subject]:
    """A key that is none here; ``message`` says where it stands."""

    def read_change(node: Node) -> Change[Subject]:
        raise unreadable(node, message, hint)

    return Row(name, read_change, is_obeyed=False)


def lift(
    part: Row[Subject], take: Callable[[Whole], Subject], put: Callable[[Whole, Subject], Whole]
) -> Row[Whole]:
    """The same key on something that holds the subject."""

    def read_change(node: Node) -> Change[Whole]:
        change = part.read(node)
        return lambda whole: put(whole, change(take(whole)))

    return Row(part.name, read_change, part.is_obeyed)


def fold(node: Node, start: Subject, rows: Table[Subject], path: str, report: Report) -> Subject:
    """Change ``start`` by every key of ``node``; what cannot be read is reported and skipped."""
    subject = start
    for key, value in entries(node, path, report):
        known = rows.get(key.text)
        if known is None:
            _report_unknown(key, rows, path, report)
            continue
        try:
            subject = known.read(value)(subject)
        except Unreadable as error:
            for fault in error.faults:
                report.add(fault.place, join(path, key.text), fault.message, fault.hint)
    return subject


def entries(node: Node, path: str, report: Report) -> Iterable[tuple[ScalarNode, Node]]:
    """The entries of a mapping, each key once; nothing at all is an empty mapping."""
    if isinstance(node, ScalarNode) and node.is_null:
        return ()
    if not isinstance(node, MappingNode):
        report.add(node.place, path, "expected keys and values")
        return ()
    unique: dict[str, tuple[ScalarNode, Node]] = {}
    for key, value in node.entries:
        if key.text in unique:
            report.add(key.place, join(path, key.text), "this key stands twice", "remove one of them")
        unique[key.text] = (key, value)
    return unique.values()


def join(path: str, key: str) -> str:
    """``upstreams."charts.corp.example".url``"""
    shown = key if _PLAIN_KEY.fullmatch(key) else json.dumps(key[:100])  # escapes: it goes to terminals
    return f"{path}.{shown}" if path else shown


def _report_unknown(key: ScalarNode, rows: Table[Subject], path: str, report: Report) -> None:
    near = nearest(key.text, rows)
    hint = (
        f"did you mean {near}?"
        if near
        else "known here: " + ", ".join(name for name in sorted(rows) if rows[name].is_obeyed)
    )
    report.add(key.place, join(path, key.text), "unknown key", hint)
