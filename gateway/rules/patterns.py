"""What a rule looks for in a host or a name: a glob, or after ``~`` a regular expression of RE2."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

import re2

MAX_LENGTH: Final = 512
_MAX_CAPTURES: Final = 99
_COMPILED: Final = 4096
_PERL: Final = re.compile(r"operator: \(\?[<=!>]|sequence: \\[0-9]", re.ASCII)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_NOT_LINES: Final = re.compile(r"\(\?[A-Za-z]*-[A-Za-z]*m", re.ASCII)
_NAMED: Final = re.compile(r"\(\?P?<([A-Za-z_][A-Za-z0-9_]*)>", re.ASCII)

OPTIONS: Final = re2.Options()
OPTIONS.log_errors = False


class PatternError(ValueError):
    """A pattern that cannot be used; ``offset`` counts from its first character."""

    def __init__(self, message: str, offset: int = 0, hint: str | None = None) -> None:
        super().__init__(message)
        self.offset = offset
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Alphabet:
    """What a glob is made of: what parts its segments, and what may stand in one beside ``*``."""

    separator: str
    literals: re.Pattern[str]
    example: str


class Subject(Enum):
    """What a pattern is matched with, always as a whole."""

    REPOSITORY = Alphabet("/", re.compile(r"[a-z0-9._*:-]+", re.ASCII), "argo/*")
    HOST = Alphabet(".", re.compile(r"[a-z0-9_*-]+", re.ASCII), "*.example.com")


@dataclass(frozen=True, slots=True)
class Pattern:
    """``expression`` is it for RE2; ``captures`` is how many ``$1``… it has, ``names`` are those by name.

    ``segments`` are a glob's, None for a regular expression.
    """

    text: str
    expression: str
    captures: int
    names: Mapping[str, int]
    segments: tuple[str, ...] | None

    @property
    def is_glob(self) -> bool:
        return self.segments is not None

    def match(self, text: str) -> tuple[str, ...] | None:
        """The captures where the whole text matches; one that took no part is empty."""
        found = _compiled(self.expression).fullmatch(text)
        return None if found is None else tuple(group or "" for group in found.groups())

    def captures_of(self, text: str) -> tuple[str, ...]:
        """The same for a text that is known to match, where most globs need no RE2."""
        if not self.captures:
            return ()
        if self.is_glob and self.captures == 1:
            head, _, tail = self.text.replace("**", "*").partition("*")
            return (text[len(head) : len(text) - len(tail)],)
        return self.match(text) or ()


def parse_pattern(text: str, subject: Subject) -> Pattern:
    """Read a pattern; raise PatternError."""
    if not text:
        raise PatternError("expected a pattern", hint=f"such as {subject.value.example}")
    if len(text) > MAX_LENGTH:
        raise PatternError(f"a pattern has at most {MAX_LENGTH} characters", MAX_LENGTH)
    return _regular(text) if text.startswith("~") else _glob(text, subject.value)


def _glob(text: str, alphabet: Alphabet) -> Pattern:
    segments = text.split(alphabet.separator)
    offset = 0
    for segment in segments:
        _check_segment(segment, offset, alphabet)
        offset += len(segment) + 1
    expression = _literally(alphabet.separator).join(
        _segment_expression(segment, alphabet.separator) for segment in segments
    )
    captures = sum(1 if segment == "**" else segment.count("*") for segment in segments)
    return Pattern(text, expression, captures, {}, tuple(segments))


def _check_segment(segment: str, offset: int, alphabet: Alphabet) -> None:
    if not segment:
        mark = alphabet.separator
        hint = f"leave out oci://, and a {mark} in front, at the end, or beside another"
        raise PatternError(f"an empty part: {mark} parts two of them", offset, hint)
    taken = alphabet.literals.match(segment)
    known = 0 if taken is None else taken.end()
    if known < len(segment):
        raise _strange(segment[known], offset + known, alphabet)
    if "**" in segment and segment != "**":
        raise PatternError(
            f"** stands for whole parts: alone between two {alphabet.separator}",
            offset + segment.index("**"),
            "for one part, or some of it, write *",
        )


def _strange(character: str, position: int, alphabet: Alphabet) -> PatternError:
    """Of what no name has."""
    if character == ":" and alphabet is Subject.HOST.value:
        return PatternError("hosts are matched without their port", position, "leave it out")
    if character.isupper():
        return PatternError("names are in lower case", position)
    return PatternError(
        f"{character!r} is in no name, and has no meaning in a glob",
        position,
        "a regular expression begins with ~",
    )


def _segment_expression(segment: str, separator: str) -> str:
    one = f"[^{separator}\\n]+"
    if segment == "**":
        return f"({one}(?:{_literally(separator)}{one})*)"
    return _literally(segment).replace("*", f"({one})")


def _literally(text: str) -> str:
    """Of all that may stand in a glob, and is not ``*``, only the dot means something to RE2."""
    return text.replace(".", "\\.")


def _regular(text: str) -> Pattern:
    expression = text[1:]
    if not expression:
        raise PatternError("expected a regular expression after ~", 1)
    try:
        compiled = re2.compile(expression, OPTIONS)
    except re2.error as error:
        raise _refused(expression, error) from error
    edge = next((one for one in _ESCAPE.finditer(expression) if one[1] in "Az"), None)
    if edge is not None:
        raise PatternError(f"{edge[0]} says nothing: always the whole name matches", 1 + edge.start())
    flag = _NOT_LINES.search(expression)
    if flag is not None:  # host and name are matched as two lines, see match.Look
        raise PatternError(f"{flag[0]} says nothing: always the whole name matches", 1 + flag.start())
    if compiled.groups > _MAX_CAPTURES:
        raise PatternError(f"more than {_MAX_CAPTURES} groups")
    names = _NAMED.findall(expression)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PatternError(f"the group {twice} stands there twice", 1 + expression.rfind(f"<{twice}>"))
    return Pattern(text, expression, compiled.groups, dict(compiled.groupindex), None)


def _refused(expression: str, error: re2.error) -> PatternError:
    """RE2 says what it stumbled over, not where: that is looked for."""
    told = _told(error)
    hint = "RE2 has no lookaround and no backreferences" if _PERL.search(told) else None
    return PatternError(f"no regular expression of RE2: {told}", 1 + _offset(expression, told), hint)


def _told(error: re2.error) -> str:
    argument = error.args[0] if error.args else b""
    return argument.decode("utf-8", "replace") if isinstance(argument, bytes) else str(argument)


def _offset(expression: str, told: str) -> int:
    """RE2 reads from left to right, so it is where the text up to there is refused for the same."""
    fault, _, stumbled_over = told.partition(": ")
    operator = ")" if fault == "unexpected )" else stumbled_over  # else that is all of the text
    places = (found.start() for found in re.finditer(re.escape(operator), expression))
    ends = ((place, place + len(operator)) for place in places if operator)
    return next((place for place, end in ends if _fault(expression[:end]) == fault), 0)


def _fault(expression: str) -> str | None:
    try:
        re2.compile(expression, OPTIONS)
    except re2.error as error:
        return _told(error).partition(": ")[0]
    return None


@lru_cache(_COMPILED)
def _compiled(expression: str) -> "re2._Regexp":
    return re2.compile(expression, OPTIONS)
