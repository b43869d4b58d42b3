"""Two people edited one text: what both did, joined line by line, and what a change is, as a diff."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

MINE: Final = "<<<<<<< yours"
BASE: Final = "======="
THEIRS: Final = ">>>>>>> saved meanwhile"


@dataclass(frozen=True, slots=True)
class Joined:
    """``conflicts`` is how often both changed the same lines: both are there, between marks."""

    text: str
    conflicts: int


@dataclass(frozen=True, slots=True)
class _Hunk:
    """Lines ``start`` to ``end`` of the base, and what stands there instead."""

    start: int
    end: int
    lines: Sequence[str]


def join_edits(base: str, theirs: str, mine: str) -> Joined:
    """What changed on either side, against what both began with; nothing of either is lost."""
    lines = base.splitlines(keepends=True)
    their_hunks, my_hunks = (_hunks(lines, other.splitlines(keepends=True)) for other in (theirs, mine))
    parts: list[str] = []
    at = conflicts = 0
    for start, end, of_theirs, of_mine in _together(their_hunks, my_hunks):
        parts += lines[at:start]
        at = end
        told, own = _side(lines, start, end, of_theirs), _side(lines, start, end, of_mine)
        if not of_mine or told == own:
            parts += told
        elif not of_theirs:
            parts += own
        else:
            conflicts += 1
            parts += (_ended(f"{MINE}\n"), *map(_ended, own), f"{BASE}\n", *map(_ended, told), f"{THEIRS}\n")
    return Joined("".join((*parts, *lines[at:])), conflicts)


def unified(old: str, new: str, old_name: str, new_name: str) -> str:
    """A unified diff; empty where nothing changed."""
    before, after = old.split("\n"), new.split("\n")
    return "\n".join(difflib.unified_diff(before, after, old_name, new_name, lineterm=""))


def _hunks(base: Sequence[str], other: Sequence[str]) -> list[_Hunk]:
    """What is another than in the base; the ends that are the same are not even looked at."""
    head = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(base, other, strict=False)))
    rest = min(len(base), len(other)) - head
    tails = zip(reversed(base), reversed(other), strict=False)
    tail = min(rest, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], tails)))
    old, new = base[head : len(base) - tail], other[head : len(other) - tail]
    codes = difflib.SequenceMatcher(None, old, new).get_opcodes()
    return [
        _Hunk(head + start, head + end, new[new_start:new_end])
        for word, start, end, new_start, new_end in codes
        if word != "equal"
    ]


def _together(
    theirs: Sequence[_Hunk], mine: Sequence[_Hunk]
) -> Iterator[tuple[int, int, Sequence[_Hunk], Sequence[_Hunk]]]:
    """The places of the base that anybody changed, those that touch each other as one, with who did what."""
    marked = sorted([*((one, 0) for one in theirs), *((one, 1) for one in mine)], key=_by_place)
    while marked:
        sides: tuple[list[_Hunk], list[_Hunk]] = ([], [])
        start, end = marked[0][0].start, marked[0][0].end
        while marked and marked[0][0].start <= end:
            hunk, side = marked.pop(0)
            sides[side].append(hunk)
            end = max(end, hunk.end)
        yield start, end, sides[0], sides[1]


def _by_place(marked: tuple[_Hunk, int]) -> tuple[int, int]:
    return marked[0].start, marked[0].end


def _side(base: Sequence[str], start: int, end: int, hunks: Sequence[_Hunk]) -> list[str]:
    """What one of them made of these lines."""
    lines: list[str] = []
    for hunk in hunks:
        lines += [*base[start : hunk.start], *hunk.lines]
        start = hunk.end
    return lines + list(base[start:end])


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n"
