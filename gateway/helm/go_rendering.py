"""Templates followed with default values, as far as that goes without Helm; what is not known is marked.

It is no renderer: of a condition that is not known both ways are written, between marks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.helm.go_templates import (
    Action,
    Allowance,
    Block,
    Definition,
    Expression,
    Literal,
    Node,
    Path,
    TemplateError,
    Text,
    parse_template,
)
from gateway.helm.go_values import MARK, UNKNOWN, Datum, applied, field_of, is_true, printed

MAX_STEPS: Final = 300_000
MAX_WRITTEN: Final = 16 * 1024 * 1024
_TEXT_A_STEP: Final = 64  # characters that a function takes
MAX_DEPTH: Final = 100  # of includes, blocks and brackets inside each other


class TooMuch(ValueError):
    """The templates would take more time or room than a chart is worth."""


@dataclass(slots=True)
class _Scope:
    """What the dot and the names stand for, here and further out."""

    dot: Datum
    outer: "_Scope | None" = None
    names: dict[str, Datum] = field(default_factory=dict)

    def find(self, name: str) -> Datum:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return UNKNOWN

    def assign(self, name: str, value: Datum) -> None:
        scope: _Scope | None = self
        while scope is not None and name not in scope.names:
            scope = scope.outer
        (scope or self).names[name] = value


@dataclass(slots=True)
class Follower:
    """``definitions`` are the named templates, of all charts that go together; so are its limits."""

    definitions: Mapping[str, Sequence[Node]]
    steps: int = MAX_STEPS
    _allowance: Allowance = field(default_factory=Allowance)  # of what values have, and tpl reads
    _written: int = 0
    _depth: int = 0

    def written(self, nodes: Sequence[Node], dot: Datum) -> str:
        """What a template writes; raise TooMuch."""
        scope = _Scope(dot, None, {"$": dot})
        pieces: list[str] = []
        self._all(nodes, scope, pieces)
        return "".join(pieces)

    def _all(self, nodes: Sequence[Node], scope: _Scope, pieces: list[str]) -> None:
        for node in nodes:
            self._step()
            match node:
                case Text(text):
                    self._write(text, pieces)
                case Action(expression, names):
                    value = self._value(expression, scope)
                    if names:
                        self._name(node, value, scope)
                    else:
                        self._write(printed(value), pieces)
                case Block():
                    self._block(node, scope, pieces)
                case Definition(_, body, expression) if expression is not None:
                    self._write(self._inside(body, self._value(expression, scope)), pieces)

    def _name(self, action: Action, value: Datum, scope: _Scope) -> None:
        for name in action.names:
            if action.is_new:
                scope.names[name] = value
            else:
                scope.assign(name, value)

    def _block(self, block: Block, scope: _Scope, pieces: list[str]) -> None:
        value = self._value(block.head.expression, scope)
        known = is_true(value)
        self._depth += 1
        self._chosen(block, value, known, scope, pieces)
        self._depth -= 1

    def _chosen(
        self, block: Block, value: Datum, known: bool | None, scope: _Scope, pieces: list[str]
    ) -> None:
        if known is False:
            self._all(block.otherwise, _Scope(scope.dot, scope), pieces)
            return
        if known is None:
            self._write(MARK, pieces)
        if block.keyword == "range":
            self._range(block, value, scope, pieces)
        else:
            dot = value if block.keyword == "with" else scope.dot
            names: dict[str, Datum] = dict.fromkeys(block.head.names, value)
            self._all(block.body, _Scope(dot, scope, names), pieces)
        if known is None:
            self._write(MARK, pieces)
            self._all(block.otherwise, _Scope(scope.dot, scope), pieces)
            self._write(MARK, pieces)

    def _range(self, block: Block, value: Datum, scope: _Scope, pieces: list[str]) -> None:
        items: Sequence[tuple[Datum, Datum]] = [(UNKNOWN, UNKNOWN)]
        if isinstance(value, Mapping):
            items = sorted(value.items())
        elif isinstance(value, list | tuple):
            items = list(enumerate(value))
        for key, item in items:
            self._step()
            given = (item,) if len(block.head.names) == 1 else (key, item)
            names = dict(zip(block.head.names, given, strict=False))
            self._all(block.body, _Scope(item, scope, names), pieces)

    def _value(self, expression: Expression, scope: _Scope) -> Datum:
        self._step()
        if self._depth >= MAX_DEPTH:
            return UNKNOWN
        self._depth += 1
        value = self._found(expression, scope)
        self._depth -= 1
        return value

    def _found(self, expression: Expression, scope: _Scope) -> Datum:
        match expression:
            case Literal(value):
                return value
            case Path(fields, variable, base):
                found = scope.dot if variable is None else scope.find(variable)
                if base is not None:
                    found = self._value(base, scope)
                for name in fields:
                    found = field_of(found, name)
                return found
        values = [self._value(argument, scope) for argument in expression.arguments]
        if expression.function in ("include", "tpl") and values:
            return self._included(expression.function, values)
        self._step(sum(len(value) for value in values if isinstance(value, str)) // _TEXT_A_STEP)
        return applied(expression.function, values)

    def _included(self, function: str, values: Sequence[Datum]) -> Datum:
        name, dot = values[0], values[1] if len(values) > 1 else None
        if not isinstance(name, str) or MARK in name:
            return UNKNOWN
        if function == "tpl":
            self._step(len(name) // 16)  # it is read each time
            return self._inside(self._parsed(name), dot) if "{{" in name else name
        body = self.definitions.get(name)
        return UNKNOWN if body is None else self._inside(body, dot)

    def _inside(self, body: Sequence[Node] | None, dot: Datum) -> str:
        return MARK if body is None else self.written(body, dot)

    def _parsed(self, text: str) -> Sequence[Node] | None:
        try:
            return parse_template(text, self._allowance)
        except TemplateError:
            return None

    def _write(self, text: str, pieces: list[str]) -> None:
        self._written += len(text)
        if self._written > MAX_WRITTEN:
            raise TooMuch(f"its templates write more than {MAX_WRITTEN} characters")
        pieces.append(text)

    def _step(self, count: int = 1) -> None:
        self.steps -= count
        if self.steps < 0:
            raise TooMuch(f"its templates take more than {MAX_STEPS} steps")


def definitions_in(nodes: Sequence[Node]) -> dict[str, Sequence[Node]]:
    """The named templates, also those that stand inside others."""
    found: dict[str, Sequence[Node]] = {}
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Definition):
            found[node.name] = node.body
            waiting.extend(node.body)
        elif isinstance(node, Block):
            waiting.extend((*node.body, *node.otherwise))
    return found
