"""What is wrong with rules.yaml: everything at once, each with its place and a hint."""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.rules.tree import Node, Place

MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """Line and column count from 1; ``key_path`` is empty for the document itself."""

    file: str
    line: int
    column: int
    key_path: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        subject = f"{self.key_path}: " if self.key_path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {subject}{self.message}{hint}"


class RulesError(ValueError):
    """The rules cannot be used; ``problems`` in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class Fault:
    place: Place
    message: str
    hint: str | None = None


class Unreadable(ValueError):
    """A value is not what its key needs."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.message for fault in faults))


def unreadable(node: Node, message: str, hint: str | None = None) -> Unreadable:
    return Unreadable(Fault(node.place, message, hint))


class Report:
    """Collects the problems of one file while it is read; a hundred are told, then reading ends."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._problems: list[Problem] = []

    def add(self, place: Place, key_path: str, message: str, hint: str | None = None) -> None:
        self._problems.append(Problem(self._file, place.line, place.column, key_path, message, hint))
        if len(self._problems) == MAX_PROBLEMS:
            self.raise_if_any()

    @property
    def count(self) -> int:
        """How many there are so far."""
        return len(self._problems)

    def raise_if_any(self) -> None:
        if self._problems:
            raise RulesError(sorted(self._problems, key=lambda problem: (problem.line, problem.column)))
