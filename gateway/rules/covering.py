"""Which rules take every name that a later one looks for, so that this one can never match."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

import re2

from gateway.rules.expressions import as_glob, without_anchors
from gateway.rules.match import Look, Matcher
from gateway.rules.patterns import Pattern, Subject

_SOME: Final = "Z"  # stands for whatever a * took: upper case is in no glob
_MORE: Final = "Y"  # alone in its segment, for whatever a ** took
_LITERAL, _GLOB, _OPAQUE, _UNSAID = "=", "*", "~", "?"  # how a sample begins; in no word, for the sake of \b
_ANYTHING: Final = re.compile(r"(?:\.\*|\((?:\?:|\?P?<\w+>)?\.\*\))", re.ASCII)
_WILD: Final = frozenset({"*", "**"})


class Cover:
    """Compares looks by one sample each, with a fresh symbol for each wildcard.

    **Never wrong.** Where an earlier glob matches the sample, no literal of it lies on a fresh symbol, so a
    wildcard does. Put there what a ``*`` may take, one or more characters of a segment, and that wildcard
    takes it as well; put several segments for a ``**``, and the run of whole segments around it, which has
    a ``**`` too, or it would not have taken that symbol, takes them as well. So it matches all names that
    the later one matches.
    **Nothing missed** among globs with at most ``*``: the sample is itself such a name. Next to ``**`` a run
    of whole segments is read as «so many or more», in whatever order it was written.
    A regular expression is a glob where it says the same; else it covers itself, and names without
    wildcards that it matches.
    """

    def __init__(self, looks: Sequence[Look]) -> None:
        self._looks = tuple(looks)
        self._opaque: dict[str, str] = {}
        self._matcher = Matcher([self._taker(look) for look in self._looks])

    def first(self, look: Look) -> int | None:
        """The number of the first look known to match whatever this one does."""
        return self._matcher.first(
            self._sample(look.host, Subject.HOST), self._sample(look.repository, Subject.REPOSITORY)
        )

    def covered(self) -> Iterator[tuple[int, int]]:
        """The numbers of looks that an earlier one covers, each with that one's."""
        for number, look in enumerate(self._looks):
            first = self.first(look)
            if first is not None and first < number:
                yield number, first

    def _taker(self, look: Look) -> Look:
        """What matches the samples of all that ``look`` covers."""
        return Look(
            self._taker_of(look.host, Subject.HOST), self._taker_of(look.repository, Subject.REPOSITORY)
        )

    def _taker_of(self, pattern: Pattern | None, subject: Subject) -> Pattern | None:
        if pattern is None or _is_anything(pattern, subject):
            return None
        segments = _segments(pattern, subject)
        if segments is None:
            its_own = without_anchors(pattern.expression)
            expression = f"{_LITERAL}(?:{its_own})|{re2.escape(self._name(pattern))}"
        else:
            expression = f"[{_LITERAL}{_GLOB}]{_expression(segments, subject.value.separator)}"
        return Pattern(pattern.text, expression, 0, {}, None)

    def _sample(self, pattern: Pattern | None, subject: Subject) -> str:
        if pattern is None:
            return _UNSAID
        segments = _segments(pattern, subject)
        if segments is None:
            return self._name(pattern)
        text = subject.value.separator.join(segments)
        if "*" not in text:
            return _LITERAL + text
        filled = (_MORE if segment == "**" else segment.replace("*", _SOME) for segment in segments)
        return _GLOB + subject.value.separator.join(filled)

    def _name(self, pattern: Pattern) -> str:
        """What an expression that is only equal to itself is called."""
        return self._opaque.setdefault(pattern.text, f"{_OPAQUE}{len(self._opaque)}")


def _is_anything(pattern: Pattern, subject: Subject) -> bool:
    """Whether it matches everything that is asked: a name is never empty, a host may be."""
    if subject is Subject.REPOSITORY:
        return _segments(pattern, subject) == ("**",)
    return not pattern.is_glob and bool(_ANYTHING.fullmatch(without_anchors(pattern.expression)))


def _segments(pattern: Pattern, subject: Subject) -> tuple[str, ...] | None:
    if pattern.segments is not None or subject is Subject.HOST:
        return pattern.segments
    return as_glob(pattern.expression)


def _expression(segments: Sequence[str], separator: str) -> str:
    joint = re2.escape(separator)
    parts: list[str] = []
    for is_wild, run in groupby(segments, _WILD.__contains__):
        these = tuple(run)
        if is_wild and "**" in these:
            one = f"[^{joint}\\n]+"
            parts.append(f"{one}(?:{joint}{one}){{{len(these) - 1},}}")
        else:
            parts += [_segment_expression(segment, joint) for segment in these]
    return joint.join(parts)


def _segment_expression(segment: str, joint: str) -> str:
    return f"[^{joint}{_MORE}\\n]+".join(map(re2.escape, segment.split("*")))
