"""Go's templates as far as charts write image names in them: text becomes a tree, nothing is evaluated.

The grammar is that of Go's text/template; what of it is not read (``break``, complex numbers) is a
TemplateError, as is what has no end.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

MAX_DEPTH: Final = 50  # of blocks and brackets
MAX_TOKENS: Final = 200_000  # of all templates that go together; the largest charts have a tenth
METHOD: Final = "call"  # what stands for `.Files.Get "x"`
_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
    |(?P<text>"(?:\\.|[^"\\\n])*"|`[^`]*`)
    |(?P<end>-?\}\})
    |(?P<mark>:=|[=|(),])
    |(?P<variable>\$\w*(?:\.\w+)*)
    |(?P<number>-?[0-9]\w*(?:\.[0-9]+)?)
    |(?P<field>(?:\.[A-Za-z_]\w*)+|\.)
    |(?P<word>[A-Za-z_]\w*)""",
    re.VERBOSE,
)
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)  # Go has no larger ones
_CONSTANTS: Final = {"true": True, "false": False, "nil": None}
_COMMENT: Final = re.compile(r"\s*/\*.*?\*/\s*?(-?)\}\}", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)")
_ESCAPED: Final = {"n": "\n", "t": "\t"}


class TemplateError(ValueError):
    """The text is no template that is read here; the message says why."""


@dataclass(slots=True)
class Allowance:
    """What templates that go together may still cost; they share one."""

    tokens: int = MAX_TOKENS

    def take(self, tokens: int) -> None:
        self.tokens -= tokens
        if self.tokens < 0:
            raise TemplateError(f"all templates have more than {MAX_TOKENS} words")


@dataclass(frozen=True, slots=True)
class Literal:
    value: str | int | bool | None


@dataclass(frozen=True, slots=True)
class Path:
    """``.a.b``, or with a variable ``$x.a.b``; with ``base`` the fields of what that gives."""

    fields: tuple[str, ...]
    variable: str | None = None
    base: "Expression | None" = None


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: tuple["Expression", ...]


Expression: TypeAlias = Literal | Path | Call


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """What an expression gives; where it has names they stand for the value, and nothing is written.

    ``is_new``: the names begin here (``:=``), and are not those of further out.
    """

    expression: Expression
    names: tuple[str, ...] = ()
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """``if``, ``with`` or ``range``."""

    keyword: str
    head: Action
    body: tuple["Node", ...]
    otherwise: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """A named template; also a ``block``, which is used where it stands, with ``expression`` as its dot."""

    name: str
    body: tuple["Node", ...]
    expression: Expression | None = None


Node: TypeAlias = Text | Action | Block | Definition


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    is_joined: bool  # nothing stands between it and the token before


def parse_template(text: str, allowance: Allowance) -> tuple[Node, ...]:
    """Return the nodes of a template; raise TemplateError."""
    parser = _Parser(list(_pieces(text, allowance)))
    nodes, closing = parser.nodes(0)
    if closing:
        raise TemplateError(f"{closing[0].text} without a beginning")
    return nodes


def _pieces(text: str, allowance: Allowance) -> Iterator[str | list[_Token]]:
    """Text between actions, already trimmed, and the tokens of each action."""
    place = 0
    trims = False
    while (start := text.find("{{", place)) >= 0:
        before = text[place:start]
        inner = start + 2
        opens_trimming = text.startswith("-", inner) and text[inner + 1 : inner + 2].isspace()
        before = before.lstrip() if trims else before
        yield before.rstrip() if opens_trimming else before
        inner += opens_trimming
        comment = _COMMENT.match(text, inner)
        if comment is None:
            tokens, place, trims = _tokens(text, inner, allowance)
            yield tokens
        else:
            place, trims = comment.end(), bool(comment[1])
    yield text[place:].lstrip() if trims else text[place:]


def _tokens(text: str, place: int, allowance: Allowance) -> tuple[list[_Token], int, bool]:
    """The tokens of an action, where it ends, and whether it trims what follows."""
    tokens: list[_Token] = []
    is_joined = False
    while (match := _TOKEN.match(text, place)) is not None:
        place = match.end()
        allowance.take(1)
        if match.lastgroup == "end":
            return tokens, place, match[0] == "-}}"
        if match.lastgroup != "space":
            tokens.append(_Token(str(match.lastgroup), match[0], is_joined))
        is_joined = match.lastgroup != "space"
    raise TemplateError(f"an action that is not understood: {text[place : place + 20]!r}")


class _Parser:
    """One method a production."""

    def __init__(self, pieces: Sequence[str | list[_Token]]) -> None:
        self._pieces = pieces
        self._place = 0

    def nodes(self, depth: int) -> tuple[tuple[Node, ...], list[_Token]]:
        """The nodes up to an ``end`` or ``else``, and the tokens of that; none at the end of the text."""
        if depth > MAX_DEPTH:
            raise TemplateError(f"nested deeper than {MAX_DEPTH}")
        found: list[Node] = []
        while self._place < len(self._pieces):
            piece = self._pieces[self._place]
            self._place += 1
            if isinstance(piece, str):
                if piece:
                    found.append(Text(piece))
                continue
            word = piece[0].text if piece else ""
            if word in ("end", "else"):
                return tuple(found), piece
            if piece:
                found.append(self._node(word, piece, depth))
        return tuple(found), []

    def _node(self, word: str, tokens: list[_Token], depth: int) -> Node:
        if word in ("if", "with", "range"):
            return self._block(word, tokens[1:], depth)
        if word in ("define", "block"):
            name = _unquoted(tokens[1].text) if len(tokens) > 1 else ""
            body, _ = self._closed(depth)
            return Definition(name, body, _parsed(tokens[2:]) if word == "block" else None)
        if word == "template":
            return Action(_parsed([_Token("word", "include", False), *tokens[1:]]))
        return _action(tokens)

    def _block(self, keyword: str, head: list[_Token], depth: int) -> Block:
        body, closing = self.nodes(depth + 1)
        otherwise: tuple[Node, ...] = ()
        match [token.text for token in closing]:
            case []:
                raise TemplateError(f"{keyword} without an end")
            case ["else", ("if" | "with") as following, *_]:
                otherwise = (self._block(following, closing[2:], depth + 1),)
            case ["else", *_]:
                otherwise, _ = self._closed(depth)
        return Block(keyword, _action(head), body, otherwise)

    def _closed(self, depth: int) -> tuple[tuple[Node, ...], list[_Token]]:
        nodes, closing = self.nodes(depth + 1)
        if [token.text for token in closing] != ["end"]:
            raise TemplateError("a block without an end")
        return nodes, closing


def _action(tokens: list[_Token]) -> Action:
    for place, token in enumerate(tokens[:4]):
        if token.text in (":=", "="):
            names = tuple(one.text for one in tokens[:place] if one.kind == "variable")
            return Action(_parsed(tokens[place + 1 :]), names, token.text == ":=")
    return Action(_parsed(tokens))


def _parsed(tokens: Sequence[_Token]) -> Expression:
    expression, place = _pipeline(tokens, 0, 0)
    if place < len(tokens):
        raise TemplateError(f"{tokens[place].text} is not expected")
    return expression


def _pipeline(tokens: Sequence[_Token], place: int, depth: int) -> tuple[Expression, int]:
    if depth > MAX_DEPTH:
        raise TemplateError(f"brackets deeper than {MAX_DEPTH}")
    expression, place = _command(tokens, place, depth)
    while place < len(tokens) and tokens[place].text == "|":
        following, place = _command(tokens, place + 1, depth)
        if not isinstance(following, Call):
            raise TemplateError("what follows | is no function")
        expression = Call(following.function, (*following.arguments, expression))
    return expression, place


def _command(tokens: Sequence[_Token], place: int, depth: int) -> tuple[Expression, int]:
    """A function with its arguments, a method with them, or one value."""
    is_call = place < len(tokens) and tokens[place].kind == "word" and tokens[place].text not in _CONSTANTS
    function = tokens[place].text if is_call else METHOD
    operands, place = _operands(tokens, place + is_call, depth)
    if is_call or len(operands) > 1:
        return Call(function, tuple(operands)), place
    if not operands:
        raise TemplateError("a value was expected, or a function")
    return operands[0], place


def _operands(tokens: Sequence[_Token], place: int, depth: int) -> tuple[list[Expression], int]:
    found: list[Expression] = []
    while place < len(tokens) and tokens[place].text not in ("|", ")"):
        token = tokens[place]
        place += 1
        if token.text == "(":
            inner, place = _pipeline(tokens, place, depth + 1)
            if place == len(tokens):
                raise TemplateError("( without )")
            found.append(inner)
            place += 1
        elif token.kind == "field" and token.is_joined and found:
            found[-1] = Path(_fields(token.text), base=found[-1])
        else:
            found.append(_operand(token))
    return found, place


def _operand(token: _Token) -> Expression:
    match token.kind:
        case "text":
            return Literal(_unquoted(token.text))
        case "number":
            return Literal(int(token.text) if _WHOLE.fullmatch(token.text) else token.text)
        case "field":
            return Path(_fields(token.text))
        case "variable":
            name, *fields = token.text.split(".")
            return Path(tuple(fields), variable=name)
        case "word" if token.text in _CONSTANTS:
            return Literal(_CONSTANTS[token.text])
        case "word":
            return Call(token.text, ())
    raise TemplateError(f"{token.text} is not expected")


def _fields(text: str) -> tuple[str, ...]:
    return tuple(field for field in text.split(".") if field)


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), text[1:-1])
