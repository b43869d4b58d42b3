"""What a bench found, beside what was asked, and the table of it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AtMost:
    bound: float

    def is_met_by(self, value: float) -> bool:
        return value <= self.bound

    def __str__(self) -> str:
        return f"≤ {self.bound:g}"


@dataclass(frozen=True, slots=True)
class AtLeast:
    bound: float

    def is_met_by(self, value: float) -> bool:
        return value >= self.bound

    def __str__(self) -> str:
        return f"≥ {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its unit; ``target`` None is an observation. ``how`` says what it was made of."""

    what: str
    value: float
    unit: str
    target: AtMost | AtLeast | None = None
    how: str = ""

    @property
    def is_met(self) -> bool | None:
        return None if self.target is None else self.target.is_met_by(self.value)

    def to_json(self) -> dict[str, object]:
        return {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "target": None if self.target is None else str(self.target),
            "is_met": self.is_met,
            "how": self.how,
        }


_VERDICTS = {True: "met", False: "MISSED", None: ""}


def as_table(figures: Sequence[Figure]) -> str:
    """One line a figure, in columns."""
    rows = [("figure", "measured", "target", "", "how")]
    rows += [
        (
            figure.what,
            f"{figure.value:.3g} {figure.unit}",
            "" if figure.target is None else f"{figure.target} {figure.unit}",
            _VERDICTS[figure.is_met],
            figure.how,
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]])
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
