"""Patterns that surely mean something else than they say."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from gateway.rules.expressions import Token, tokens, without_anchors
from gateway.rules.patterns import Pattern, Subject

_DOT_STAR: Final = re.compile(r"(?P<head>(?:[a-z0-9_-]*[a-z_-])?)\.\*", re.ASCII)
_BEFORE_DOT: Final = re.compile(r"[A-Za-z0-9_-]*\Z", re.ASCII)
_AFTER_DOT: Final = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Slip:
    message: str
    hint: str


def slips(pattern: Pattern, subject: Subject) -> Iterator[Slip]:
    """What is suspect in a pattern, each kind once."""
    if pattern.segments is None:
        yield from _in_expression(pattern.expression, subject)
    elif subject is Subject.REPOSITORY:
        yield from _in_glob(pattern.segments)


def _in_glob(segments: Sequence[str]) -> Iterator[Slip]:
    """``argo.*``, unless it may be a host with more behind it, or a number such as ``1.*``."""
    for position, segment in enumerate(segments):
        match = _DOT_STAR.fullmatch(segment)
        if match is None or (position == 0 < len(segments) - 1):
            continue
        meant = f"{match['head']}/*" if match["head"] else "* or **"
        yield Slip(
            f"the . in {segment} stands for itself",
            f"write {meant} for whole segments; a regular expression begins with ~",
        )
        return


def _in_expression(expression: str, subject: Subject) -> Iterator[Slip]:
    found = tuple(tokens(expression))
    dot = next(_bare_dots(found), None)
    if dot is not None:
        yield _bare_dot(expression, dot)
    if subject is Subject.REPOSITORY:
        wide = _wide_before_slash(found)
        if wide is not None:
            yield Slip(
                f"{wide} matches / too",
                "write [^/]+ for one segment; for one or more there is the glob **",
            )
    if without_anchors(expression) != expression:
        yield Slip("it always has to match the whole", "leave out ^ in front and $ at the end")


def _bare_dots(found: Sequence[Token]) -> Iterator[int]:
    """Where a ``.`` stands between two letters or digits."""
    for before, dot, after in zip(found, found[1:], found[2:], strict=False):
        if dot.text == "." and before.is_letter_or_digit and after.is_letter_or_digit:
            yield dot.offset


def _bare_dot(expression: str, offset: int) -> Slip:
    before = _BEFORE_DOT.search(expression[:offset])
    after = _AFTER_DOT.match(expression, offset + 1)
    head, tail = (before[0] if before else ""), (after[0] if after else "")
    return Slip(f"the . in {head}.{tail} is any character", rf"write {head}\.{tail}")


def _wide_before_slash(found: Sequence[Token]) -> str | None:
    """The first ``.*`` or ``.+`` with a ``/`` behind it, and no alternative in between."""
    for position, (dot, many) in enumerate(pairwise(found)):
        if dot.text != "." or many.text not in ("*", "+"):
            continue
        behind = next((token.text for token in found[position:] if token.text in ("/", "|")), None)
        if behind == "/":
            return dot.text + many.text
    return None
