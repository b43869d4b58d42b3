"""What the Rules pages show beside the rules: problems at their line, differences, what is tried."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.oci.errors import OciError
from gateway.rule_edited import Compared
from gateway.rules.problems import Problem
from gateway.web.admin.rule_forms import KEYS
from gateway.web.admin.rule_told import Told, told

MAX_TEXT: Final = 60_000
_MAX_LINES: Final = 600  # of a difference on a page
_MAX_LINE: Final = 2000  # characters
_MAX_SHOWN: Final = 240  # characters of a line that something is wrong with
_OF_RULE: Final = re.compile(r"rules\[([0-9]+)\]\.([a-z_]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Flaw:
    """A problem with the line that it is in, and the mark below it. ``field`` is the form's, if it has it."""

    line: int
    column: int
    key_path: str
    message: str
    hint: str | None
    source: str
    mark: str
    field: str | None


@dataclass(frozen=True, slots=True)
class DiffLine:
    look: str
    text: str


@dataclass(frozen=True, slots=True)
class DiffShown:
    """``cut`` is how many lines more there are."""

    lines: Sequence[DiffLine] = ()
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Tried:
    """One reference by the saved rules and the edited ones; ``edited`` is None where nothing is edited."""

    reference: str
    saved: Told | None
    edited: Told | None
    is_same: bool
    error: str | None


def flaws(problems: Sequence[Problem], content: str) -> Sequence[Flaw]:
    if not problems:
        return []
    lines = content.splitlines()
    found = [_OF_RULE.match(problem.key_path) for problem in problems]
    of_one = len({match[1] for match in found if match is not None}) == 1
    return [
        _flaw(problem, lines, match[2] if match is not None and of_one and match[2] in KEYS else None)
        for problem, match in zip(problems, found, strict=True)
    ]


def flaws_told(error: OciError, content: str) -> Sequence[Flaw]:
    """The problems that an error tells of, if any."""
    told = None if error.detail is None else error.detail.get("problems")
    listed = told if isinstance(told, Sequence) else ()
    return flaws([_problem(one) for one in listed if isinstance(one, Mapping)], content)


def _problem(told: Mapping[str, str | int | None]) -> Problem:
    line, column, hint = told["line"], told["column"], told["hint"]
    return Problem(
        "",
        line if isinstance(line, int) else 0,
        column if isinstance(column, int) else 1,
        str(told["key"]),
        str(told["message"]),
        None if hint is None else str(hint),
    )


def _flaw(problem: Problem, lines: Sequence[str], field: str | None) -> Flaw:
    source = lines[problem.line - 1] if 0 < problem.line <= len(lines) else ""
    start = max(0, problem.column - _MAX_SHOWN // 2)
    before = re.sub(r"[^\t]", " ", source[start : problem.column - 1])
    return Flaw(
        problem.line,
        problem.column,
        problem.key_path,
        problem.message,
        problem.hint,
        source[start : start + _MAX_SHOWN],
        f"{before}^",
        field,
    )


def diff_shown(text: str) -> DiffShown:
    """The beginning of a unified difference, without the names of the two; it may have a million lines."""
    lines = text.split("\n", _MAX_LINES + 2)[2:]
    cut = text.count("\n") - 1 - _MAX_LINES
    shown = (f"{line[:_MAX_LINE]}…" if len(line) > _MAX_LINE else line for line in lines[:_MAX_LINES])
    return DiffShown([DiffLine(_look(line), line) for line in shown], max(0, cut))


def _look(line: str) -> str:
    return {"+": "add", "-": "del", "@": "muted"}.get(line[:1], "same")


def tried(compared: Sequence[Compared]) -> Sequence[Tried]:
    return [
        Tried(
            one.reference,
            None if one.saved is None else told(one.saved),
            None if one.edited is None else told(one.edited),
            one.is_same,
            None if one.error is None else one.error.message,
        )
        for one in compared
    ]
