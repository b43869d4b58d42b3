"""Proof that a line of YAML begins outside every quoted scalar, from the few lines before it.

libyaml lets the lines of a quoted scalar begin in any column, so a line that looks like a key may be prose.
Which state holds before a line cannot be known without reading all that precedes it; but most lines cannot
follow most states. So a small automaton steps over the last lines with the *set* of states that are possible,
beginning with all of them. Every answer contains the true state, or the text is no YAML.
"""

import re
from typing import Final, TypeAlias

# A quote: inside a scalar of that quote. A number: inside a block scalar, to which every line belongs that
# has at least that indentation.
_State: TypeAlias = bytes | int
_States: TypeAlias = frozenset[_State]

_OUTSIDE: Final = b""
_UNINDENTED: Final = 1 << 30  # inside a block scalar of which nothing has been seen
_QUOTES: Final = (b'"', b"'")
_ANY: Final[_States] = frozenset({_OUTSIDE, *_QUOTES, _UNINDENTED})
_LINES_BACK: Final = 20

_CLOSING: Final = {
    b'"': re.compile(rb'(?>(?:[^"\\]++|\\.)*)"', re.DOTALL),
    b"'": re.compile(rb"(?>(?:[^']++|'')*)'"),
}
_ITEMS = re.compile(rb" *+(?>(?:- ++)*)")
_KEY = re.compile(rb"[A-Za-z0-9_./-]++: ++")
_PLAIN_START: Final = rb"A-Za-z0-9_./(<$+~\x80-\xff"  # characters that begin a plain scalar, and nothing else
_PLAIN = re.compile(rb"[" + _PLAIN_START + rb"]")
# What may end a plain scalar in block or flow style, before anything but another plain scalar.
_PLAIN_END = re.compile(rb"(?:[,\[\]{}?]|:(?=[ \t]))[ \t,\[\]{}?:]*+[^ \t,\[\]{}?:" + _PLAIN_START + rb"]")
_BLOCK_SCALAR: Final = rb"[|>][-+0-9]*+[ \t]*+(?:#.*)?"
_MAY_OPEN_BLOCK_SCALAR = re.compile(_BLOCK_SCALAR + rb"$")
_OPENS_BLOCK_SCALAR = re.compile(rb"( *+(?>(?:- ++)*))[A-Za-z0-9_./-]++: ++" + _BLOCK_SCALAR)


def is_outside_quotes(content: bytes, line_start: int) -> bool:
    """Tell whether the line at ``line_start`` surely begins outside quotes; False is «not proven»."""
    return all(_is_closed(content, line_start, quote) for quote in _QUOTES)


def _is_closed(content: bytes, line_start: int, quote: bytes) -> bool:
    """Follow the lines up to the last one that has ``quote``: no scalar of that quote begins after it."""
    last = content.rfind(quote, 0, line_start)
    if last < 0:
        return True
    end = content.index(b"\n", last)
    states = _ANY
    for line in content[_some_lines_before(content, last) : end].split(b"\n"):
        states = _after_line(line.rstrip(b"\r"), states)
    return quote not in states


def _some_lines_before(content: bytes, position: int) -> int:
    for _ in range(_LINES_BACK):
        position = content.rfind(b"\n", 0, position)
        if position < 0:
            return 0
    return position + 1


def _after_line(line: bytes, states: _States) -> _States:
    return frozenset[_State]().union(*(_after(line, state) for state in states))


def _after(line: bytes, state: _State) -> _States:
    if isinstance(state, int):
        return _after_block_scalar(line, state)
    if state == _OUTSIDE:
        return _after_outside(line)
    return _after_quoted(line, state)


def _after_block_scalar(line: bytes, indent: int) -> _States:
    """Go on in a block scalar; a line less indented than any before may be its text, or what comes after."""
    own_indent = len(line) - len(line.lstrip(b" "))
    if own_indent >= indent or own_indent == len(line):
        return frozenset({indent})
    return _after_outside(line) | {own_indent}


def _after_quoted(text: bytes, quote: bytes) -> _States:
    """Go on inside ``quote``; what closes it may be followed by a comment or more of a flow collection."""
    closing = _CLOSING[quote].match(text)
    if closing is None:
        return frozenset({quote})
    rest = text[closing.end() :].lstrip(b" \t")
    if not rest or rest.startswith(b"#"):
        return frozenset({_OUTSIDE})
    return _ANY if rest.startswith((b",", b":", b"]", b"}")) else frozenset()


def _after_outside(line: bytes) -> _States:
    if opening := _OPENS_BLOCK_SCALAR.fullmatch(line):
        return frozenset(
            {len(opening[1]) + 1}
        )  # deeper than its key; in between there could only be comments
    states = _after_tokens(line) if b'"' in line or b"'" in line else frozenset({_OUTSIDE})
    return states | {_UNINDENTED} if _MAY_OPEN_BLOCK_SCALAR.search(line) else states


def _after_tokens(line: bytes) -> _States:
    """Read a line that has quotes: they open a scalar where a token begins; in a plain one they are text."""
    text = _ITEMS.sub(b"", line, count=1)
    key = _KEY.match(text)
    text = text if key is None else text[key.end() :]
    if text.startswith(_QUOTES):
        quoted = _after_quoted(text[1:], text[:1])
        return quoted if key else quoted | _after_plain(text)  # without a key, a plain scalar may go on
    if text.startswith(b"#"):
        return frozenset({_OUTSIDE})
    return _after_plain(text) if _PLAIN.match(text) else _ANY


def _after_plain(text: bytes) -> _States:
    last_quote = max(text.rfind(quote) for quote in _QUOTES)
    return _ANY if _PLAIN_END.search(text, 0, last_quote + 1) else frozenset({_OUTSIDE})
