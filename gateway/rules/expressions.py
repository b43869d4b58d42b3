"""What a regular expression of RE2 is made of, as far as warnings have to know."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(
    r"\\Q.*?(?:\\E|\Z)|\\[pP](?:\{[^}]*\}|.)|\\x(?:\{[^}]*\}|..)|\\."  # escapes
    r"|\[\^?\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*\]"  # a class
    r"|\(\?P?<\w+>|\(\?[A-Za-z-]*[:)]"  # how a group begins, or flags
    r"|.",
    re.ASCII | re.DOTALL,
)
_GROUP: Final = r"\((?:\?:|\?P?<[A-Za-z_][A-Za-z0-9_]*>)?"
_PIECE: Final = re.compile(
    rf"(?P<open>{_GROUP})?"
    r"(?:(?P<some>\[\^/\]\+)|(?P<all>\.[*+])|\\(?P<escaped>[._/:-])|(?P<literal>[a-z0-9_/:-]+))"
    r"(?(open)\))(?![*+?{])",
    re.ASCII,
)
_ALL: Final = "\0"  # in no piece


@dataclass(frozen=True, slots=True)
class Token:
    """A character with its backslash, a class, or how a group begins."""

    offset: int
    text: str

    @property
    def is_letter_or_digit(self) -> bool:
        return len(self.text) == 1 and self.text.isascii() and self.text.isalnum()


def tokens(expression: str) -> Iterator[Token]:
    """Those of an expression that RE2 accepts."""
    for match in _TOKEN.finditer(expression):
        yield Token(match.start(), match[0])


def without_anchors(expression: str) -> str:
    """Without ``^`` in front and ``$`` at the end, which say what holds anyway."""
    bare = expression.removeprefix("^")
    if not bare.endswith("$"):
        return bare
    *_, last = tokens(bare)
    return bare[: last.offset] if last.text == "$" else bare


def as_glob(expression: str) -> tuple[str, ...] | None:
    """The segments of the glob that matches the same names; None where that is not plain to see.

    ``[^/]+`` is ``*``. ``.+`` and ``.*`` between slashes are ``**``, since no name has an empty segment.
    """
    text = _glob_text(without_anchors(expression))
    if text is None:
        return None
    segments = text.split("/")
    if any(not _is_segment(segment) for segment in segments):
        return None
    return tuple("**" if segment == _ALL else segment for segment in segments)


def _glob_text(expression: str) -> str | None:
    text = ""
    end = 0
    while end < len(expression):
        piece = _PIECE.match(expression, end)
        if piece is None:
            return None
        text += _written(piece)
        end = piece.end()
    return text


def _written(piece: re.Match[str]) -> str:
    if piece["some"]:
        return "*"
    return _ALL if piece["all"] else piece["escaped"] or piece["literal"]


def _is_segment(text: str) -> bool:
    return text == _ALL or (bool(text) and _ALL not in text and "**" not in text)
