"""Which of many rules is the first for a host and a name: one pass of RE2 over hundreds at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import re2

from gateway.rules.patterns import Pattern

_RULES_A_SET: Final = 500  # beyond, the automaton of a set is thrown away and built anew all the time
_MEMORY_BYTES: Final = 32 << 20  # for the automaton of a set, which grows with what is asked
_ANY: Final = "[^\\n]*"
_ALWAYS: Final = "(?s:.*)"

_Part: TypeAlias = tuple[int, int, re2.Set | None]  # from which rule, up to which, and all of them at once


@dataclass(frozen=True, slots=True)
class Look:
    """What one rule looks for; None for whatever it is."""

    host: Pattern | None
    repository: Pattern | None

    @property
    def expression(self) -> str:
        """Of both, a line each, so that ^ and $ mean what they mean alone."""
        return f"(?m:{_expression(self.host)})\\n(?m:{_expression(self.repository)})"

    def captures(self, host: str, name: str) -> tuple[str, ...] | None:
        """Those of the host's pattern, then those of the name's; None where one does not match."""
        of_host = () if self.host is None else self.host.match(host)
        of_name = () if self.repository is None else self.repository.match(name)
        return None if of_host is None or of_name is None else of_host + of_name

    def captures_of_match(self, host: str, name: str) -> tuple[str, ...]:
        """The same where it is known that both match."""
        of_host = () if self.host is None else self.host.captures_of(host)
        of_name = () if self.repository is None else self.repository.captures_of(name)
        return of_host + of_name


class Matcher:
    """The looks of all rules, in order. ``memory_bytes`` are for the automaton of a set."""

    def __init__(self, looks: Sequence[Look], memory_bytes: int = _MEMORY_BYTES) -> None:
        self._looks = tuple(looks)
        self._sets = tuple(_sets(self._looks, memory_bytes))

    def first(self, host: str, name: str) -> int | None:
        """The number of the first look that matches, from 0."""
        text = f"{host}\n{name}"
        for start, end, patterns in self._sets:
            found = None if patterns is None else patterns.Match(text)
            if found is None or end - start not in found:  # RE2 ran out of memory, and says «nothing»
                number = self._first_of(start, end, host, name)
            else:
                number = start + min(found)
            if number is not None and number < end:
                return number
        return None

    def _first_of(self, start: int, end: int, host: str, name: str) -> int | None:
        return next(
            (number for number in range(start, end) if self._looks[number].captures(host, name) is not None),
            None,
        )


def _expression(pattern: Pattern | None) -> str:
    return _ANY if pattern is None else pattern.expression


def _sets(looks: Sequence[Look], memory_bytes: int) -> Iterator[_Part]:
    for start in range(0, len(looks), _RULES_A_SET):
        yield from _parts(looks, start, min(start + _RULES_A_SET, len(looks)), memory_bytes)


def _parts(looks: Sequence[Look], start: int, end: int, memory_bytes: int) -> Iterator[_Part]:
    """One set, or of what is too large for one several; None where a single rule is."""
    patterns = _set(looks[start:end], memory_bytes)
    if patterns is not None or end - start == 1:
        yield start, end, patterns
        return
    middle = (start + end) // 2
    yield from _parts(looks, start, middle, memory_bytes)
    yield from _parts(looks, middle, end, memory_bytes)


def _set(looks: Sequence[Look], memory_bytes: int) -> re2.Set | None:
    """Behind the rules stands what always matches."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = memory_bytes
    patterns = re2.Set.FullMatchSet(options)
    try:
        for look in looks:
            patterns.Add(look.expression)
        patterns.Add(_ALWAYS)
        patterns.Compile()
    except re2.error:
        return None
    return patterns
