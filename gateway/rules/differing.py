"""What two texts differ in, line by line, in bounded time whoever wrote them."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

_CLOSELY: Final = 4_000  # pairs of lines that are the same: difflib may look at each some fifty times
_EFFORT: Final = 1_000_000  # beside a few looks at each line


@dataclass(frozen=True, slots=True)
class Change:
    """Lines ``start`` to ``end``, and those from ``new_start`` to ``new_end`` that stand in their place."""

    start: int
    end: int
    new_start: int
    new_end: int

    @property
    def is_one_sided(self) -> bool:
        return self.start == self.end or self.new_start == self.new_end


def changes(old: Sequence[str], new: Sequence[str]) -> Iterator[Change]:
    """In order; more than need be where the texts repeat themselves so that it would take too long to tell.

    Lines that stand once in either text divide what is long and different, and so on inside; what is short
    is left to difflib.
    """
    effort = _EFFORT + 4 * (len(old) + len(new))
    waiting = [Change(0, len(old), 0, len(new))]
    while waiting:
        span = _trimmed(old, new, waiting.pop())
        if span.is_one_sided:
            if span.start < span.end or span.new_start < span.new_end:
                yield span
            continue
        pairs = _pairs(old, new, span)
        effort -= min(pairs, _CLOSELY) + span.end - span.start + span.new_end - span.new_start
        if effort > 0 and pairs <= _CLOSELY:
            yield from _compared(old, new, span)
        elif effort > 0 and (anchors := _anchors(old, new, span)):
            waiting += reversed(list(_between(anchors, span)))
        else:
            yield span


def _trimmed(old: Sequence[str], new: Sequence[str], span: Change) -> Change:
    """Without what is the same at both ends."""
    start, end, new_start, new_end = span.start, span.end, span.new_start, span.new_end
    while start < end and new_start < new_end and old[start] == new[new_start]:
        start, new_start = start + 1, new_start + 1
    while start < end and new_start < new_end and old[end - 1] == new[new_end - 1]:
        end, new_end = end - 1, new_end - 1
    return Change(start, end, new_start, new_end)


def _pairs(old: Sequence[str], new: Sequence[str], span: Change) -> int:
    """How many pairs of lines are the same: what a close look has to go by."""
    counts = Counter(new[span.new_start : span.new_end])
    return sum(counts[line] for line in old[span.start : span.end])


def _compared(old: Sequence[str], new: Sequence[str], span: Change) -> Iterator[Change]:
    matcher = SequenceMatcher(None, old[span.start : span.end], new[span.new_start : span.new_end])
    for word, start, end, new_start, new_end in matcher.get_opcodes():
        if word != "equal":
            yield Change(
                span.start + start, span.start + end, span.new_start + new_start, span.new_start + new_end
            )


def _between(anchors: Sequence[tuple[int, int]], span: Change) -> Iterator[Change]:
    start, new_start = span.start, span.new_start
    for place, new_place in anchors:
        yield Change(start, place, new_start, new_place)
        start, new_start = place + 1, new_place + 1
    yield Change(start, span.end, new_start, span.new_end)


def _anchors(old: Sequence[str], new: Sequence[str], span: Change) -> Sequence[tuple[int, int]]:
    """Where the lines are that stand once in either, as many as stand in one order in both."""
    once, new_once = _once(old, span.start, span.end), _once(new, span.new_start, span.new_end)
    return _rising([(place, new_once[line]) for line, place in once.items() if line in new_once])


def _once(lines: Sequence[str], start: int, end: int) -> Mapping[str, int]:
    counts = Counter(lines[start:end])
    return {lines[place]: place for place in range(start, end) if counts[lines[place]] == 1}


def _rising(pairs: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """The longest selection in which the second number rises, as the first does."""
    lowest: list[int] = []  # the least that a selection of each length can end with
    ends: list[int] = []  # which of the pairs that is
    before: list[int] = []
    for number, (_, place) in enumerate(pairs):
        length = bisect_left(lowest, place)
        before.append(ends[length - 1] if length else -1)
        lowest[length : length + 1] = [place]
        ends[length : length + 1] = [number]
    number = ends[-1] if ends else -1
    found: list[tuple[int, int]] = []
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]
