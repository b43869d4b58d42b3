"""Two people edited one text: what both did, joined line by line, and what a change is, as a diff."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.rules.differing import Change, changes

MINE: Final = "<<<<<<< yours"
BASE: Final = "======="
THEIRS: Final = ">>>>>>> saved meanwhile"
_AROUND: Final = 3  # lines that a diff shows before a change, and behind it


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
    parts = [f"--- {old_name}", f"+++ {new_name}"]
    for group in _grouped(changes(before, after)):
        first, last = group[0], group[-1]
        ahead, behind = min(_AROUND, first.start), min(_AROUND, len(before) - last.end)
        told = _range(first.start - ahead, last.end + behind)
        new_told = _range(first.new_start - ahead, last.new_end + behind)
        parts.append(f"@@ -{told} +{new_told} @@")
        at = first.start - ahead
        for one in group:
            parts += (f" {line}" for line in before[at : one.start])
            parts += (f"-{line}" for line in before[one.start : one.end])
            parts += (f"+{line}" for line in after[one.new_start : one.new_end])
            at = one.end
        parts += (f" {line}" for line in before[at : at + behind])
    return "\n".join(parts) if len(parts) > 2 else ""


def _grouped(changed: Iterator[Change]) -> Iterator[Sequence[Change]]:
    """Those together between which no more stands than is shown around them."""
    group: list[Change] = []
    for one in changed:
        if group and one.start - group[-1].end > 2 * _AROUND:
            yield group
            group = []
        group.append(one)
    if group:
        yield group


def _range(start: int, end: int) -> str:
    """As unified diffs count: from 1, and before it where there is nothing."""
    count = end - start
    return str(start + 1) if count == 1 else f"{start + 1 if count else start},{count}"


def _hunks(base: Sequence[str], other: Sequence[str]) -> list[_Hunk]:
    return [_Hunk(one.start, one.end, other[one.new_start : one.new_end]) for one in changes(base, other)]


def _together(
    theirs: Sequence[_Hunk], mine: Sequence[_Hunk]
) -> Iterator[tuple[int, int, Sequence[_Hunk], Sequence[_Hunk]]]:
    """The places of the base that anybody changed, those that touch each other as one, with who did what."""
    marked = deque(sorted([*((one, 0) for one in theirs), *((one, 1) for one in mine)], key=_by_place))
    while marked:
        sides: tuple[list[_Hunk], list[_Hunk]] = ([], [])
        start, end = marked[0][0].start, marked[0][0].end
        while marked and marked[0][0].start <= end:
            hunk, side = marked.popleft()
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
