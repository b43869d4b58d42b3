"""Ranges of versions, ``>=1.2 <3``, as Helm reads them: Masterminds/semver 3.5.0, in Helm 3.22 and 4.3."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from gateway.helm.version import Version, parse_version

MAX_LENGTH = 512
MAX_ALTERNATIVES = 32

# What follows a part can never be in it, so nothing is tried twice. No group is repeated possessively: there
# Python before 3.11.5 loses its place (gh-106052).
_SPACE = r"[\t\n\f\r ]"
_NUMBER = r"[0-9xX*|]++"  # the | is Masterminds': harmless but in `1||2 - 3`, which means >=1 || =2 <=3
_IDENTIFIERS = r"[0-9A-Za-z-]++(?:\.[0-9A-Za-z-]++)*"
_BOUND = rf"v?+({_NUMBER})(?:\.({_NUMBER}))?(?:\.({_NUMBER}))?(-{_IDENTIFIERS})?(?:\+{_IDENTIFIERS})?"
_COMPARISON = re.compile(rf"{_SPACE}*+([<>!]=|=[<>]|~>|[=<>~^]?+){_SPACE}*+({_BOUND})({_SPACE}*+,?+)")
_HYPHEN = re.compile(rf"{_SPACE}*+({_BOUND}){_SPACE}++-{_SPACE}++({_BOUND}){_SPACE}*+")
_UNGIVEN = (None, "x", "X", "*")

_Order: TypeAlias = tuple[int, int, int, tuple[tuple[int, int, str], ...]]


class RangeError(ValueError):
    """A text that is no range; the message says what is wrong, and at which character."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """``>=1.2``; of its three numbers ``given`` were written: none in ``*``, one in ``1`` and ``1.x``."""

    operator: str
    bound: Version
    given: int

    def holds(self, version: Version) -> bool:
        return _TESTS[self.operator](_order(version), _order(self.bound), self.given)


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A range as it was written; ``alternatives`` stood between ``||``, each a list of what must hold."""

    text: str
    alternatives: tuple[tuple[Comparison, ...], ...] = field(repr=False, compare=False)

    def __str__(self) -> str:
        return self.text

    def holds(self, version: Version) -> bool:
        """Whether the version is in the range: a pre-release only where the alternative itself names one."""
        return any(
            all(comparison.holds(version) for comparison in comparisons)
            for comparisons in self.alternatives
            if not version.is_prerelease or any(one.bound.is_prerelease for one in comparisons)
        )


def parse_range(text: str) -> VersionRange:
    """Read a range, or raise RangeError; what Helm refuses is refused, the empty text too."""
    if len(text) > MAX_LENGTH:
        raise RangeError(f"a range has at most {MAX_LENGTH} characters, this one has {len(text)}")
    if not text.strip():
        raise RangeError("an empty text is no range: * holds every release")
    reader = _Reader(text, _HYPHEN.sub(_written_out, text))
    return VersionRange(text, tuple(reader.alternatives()))


def newest_in(wanted: VersionRange, versions: Iterable[str]) -> str | None:
    """Return the highest version that the range holds; of equal ones the first, as Helm does."""
    parsed = ((parse_version(text), text) for text in versions)
    held = [(_order(version), text) for version, text in parsed if version and wanted.holds(version)]
    return max(held, key=lambda one: one[0])[1] if held else None


def newest_tag_in(wanted: VersionRange, names: Sequence[str]) -> str | None:
    """The same of tags, whose ``_`` is the ``+`` that no tag can have."""
    tags = {name.replace("_", "+"): name for name in reversed(names)}
    found = newest_in(wanted, tags)
    return None if found is None else tags[found]


def _order(version: Version) -> _Order:
    """What versions are compared by: all but build metadata."""
    return (version.major, version.minor, version.patch, version.rank)


def _written_out(hyphen: re.Match[str]) -> str:
    """``1 - 2`` is ``>= 1, <= 2``; Helm puts it so into the text, before it reads anything else of it."""
    return f">= {hyphen[1]}, <= {hyphen[6]} "


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads ``plain``, which is ``text`` with its hyphens written out; faults are told of ``text``."""

    text: str
    plain: str

    def alternatives(self) -> Iterator[tuple[Comparison, ...]]:
        parts = self.plain.split("||")
        if len(parts) > MAX_ALTERNATIVES:
            raise RangeError(f"|| may join at most {MAX_ALTERNATIVES} ranges, here it joins {len(parts)}")
        start = 0
        for part in parts:
            yield tuple(self._comparisons(start, start + len(part)))
            start += len(part) + len("||")

    def _comparisons(self, start: int, end: int) -> Iterator[Comparison]:
        is_more = True
        while is_more:
            match = _COMPARISON.match(self.plain, start, end)
            if match is None:
                raise self._fault(start, "expected a comparison like >=1.2, ^1, 1.x or *")
            yield self._comparison(match)
            start, gap = match.end(), match[7]
            if start < end and not gap:
                raise self._fault(start, "expected a space, a comma or || before this")
            is_more = start < end or gap.endswith(",")

    def _comparison(self, match: re.Match[str]) -> Comparison:
        numbers = match.group(3, 4, 5)
        given = next((place for place, number in enumerate(numbers) if number in _UNGIVEN), 3)
        filled = ".".join([*numbers[:given], *"000"[given:]]) + (match[6] or "")
        bound = parse_version(match[2] if given == 3 else filled)
        if bound is None:
            raise self._fault(match.start(2), "no version that Helm could read")
        return Comparison(match[1], bound, given)

    def _fault(self, offset: int, what: str) -> RangeError:
        """``offset`` counts in ``plain``; the message says where that is in ``text``."""
        for hyphen in _HYPHEN.finditer(self.text):
            if offset <= hyphen.start():
                break
            offset = max(hyphen.start(), offset - len(_written_out(hyphen)) + len(hyphen[0]))
        rest = self.text[offset:].lstrip()
        if not rest:
            return RangeError(f"at the end: {what}")
        shown = rest if len(rest) <= 40 else f"{rest[:40]}…"
        return RangeError(f"character {len(self.text) - len(rest) + 1}, {shown!r}: {what}")


def _is_equal(order: _Order, bound: _Order, given: int) -> bool:
    return order == bound if given == 3 else _is_near(order, bound, given)


def _is_unequal(order: _Order, bound: _Order, given: int) -> bool:
    if given == 2:
        return (order[:2], order[3]) != (bound[:2], bound[3])
    return order[0] != bound[0] if given == 1 else order != bound


def _is_above(order: _Order, bound: _Order, given: int) -> bool:
    return order[:given] > bound[:given] if given in {1, 2} else order > bound


def _is_below(order: _Order, bound: _Order, given: int) -> bool:
    return order < bound


def _is_at_least(order: _Order, bound: _Order, given: int) -> bool:
    return order >= bound


def _is_at_most(order: _Order, bound: _Order, given: int) -> bool:
    if given == 3:
        return order <= bound
    width = given or 2  # <=* holds 0.0.x, and so it does for Helm
    return order[:width] <= bound[:width]


def _is_near(order: _Order, bound: _Order, given: int) -> bool:
    """``~``: nothing below, and the same minor, or major where no minor is given; ~0.0.0 is >=0.0.0."""
    if given in {0, 3} and bound[:3] == (0, 0, 0):
        return order >= bound
    width = 1 if given == 1 else 2
    return order >= bound and order[:width] == bound[:width]


def _is_compatible(order: _Order, bound: _Order, given: int) -> bool:
    """``^``: nothing below, and the same numbers up to the first that is not 0; ^* is 0.0.0 alone."""
    width = 3
    if bound[0] > 0 or given == 1:
        width = 1
    elif bound[1] > 0 or given == 2:
        width = 2
    return order >= bound and order[:width] == bound[:width]


_TESTS: Mapping[str, Callable[[_Order, _Order, int], bool]] = {
    "": _is_equal,
    "=": _is_equal,
    "!=": _is_unequal,
    ">": _is_above,
    "<": _is_below,
    ">=": _is_at_least,
    "=>": _is_at_least,
    "<=": _is_at_most,
    "=<": _is_at_most,
    "~": _is_near,
    "~>": _is_near,
    "^": _is_compatible,
}
