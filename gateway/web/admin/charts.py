"""Numbers become the shapes of a stacked bar chart.

Widths are in per cent and heights in pixels: a chart is as wide as its page, and its text never scales.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from operator import mul

HEIGHT = 200
TOP = 8  # room for the upper half of the highest label
_GRIDLINES = 4
_GAP = 0.2  # of a column's width
_LEAST = 1.0  # pixels: something is never drawn as nothing


@dataclass(frozen=True, slots=True)
class Column:
    """What was counted in one step of time, by series."""

    begins_at: int
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a bar; ``y`` and ``height`` in pixels from the top of the plot."""

    series: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """``x`` and ``width`` in per cent of the plot; ``title`` says it in words."""

    x: float
    width: float
    title: str
    boxes: Sequence[Box]


@dataclass(frozen=True, slots=True)
class Mark:
    """A label of an axis: ``at`` in pixels from the top, or in per cent from the left."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """``floor`` is where bars stand, in pixels from the top."""

    bars: Sequence[Bar]
    gridlines: Sequence[Mark]
    times: Sequence[Mark]
    floor: int = TOP + HEIGHT


def stacked_bars(
    columns: Sequence[Column],
    series: Sequence[str],
    mark_of: Callable[[int], str],
    title_of: Callable[[int], str],
) -> Chart:
    """The first of ``series`` stands at the bottom; what is not named there is not drawn.

    Both functions take the begin of a column: ``mark_of`` gives what the axis says there, or nothing.
    """
    highest = max((_total(column, series) for column in columns), default=0)
    step = _step(highest)
    top = step * max(1, -(-highest // step))
    width = 100 / max(1, len(columns))
    bars = [
        Bar(
            _rounded(at * width + width * _GAP / 2),
            _rounded(width * (1 - _GAP)),
            _title(column, series, title_of),
            _boxes(column, series, HEIGHT / top),
        )
        for at, column in enumerate(columns)
        if _total(column, series)
    ]
    gridlines = [
        Mark(_rounded(TOP + HEIGHT - HEIGHT * value / top), short_number(value))
        for value in range(0, top + 1, step)
    ]
    return Chart(bars, gridlines, _times(columns, width, mark_of))


def short_number(value: int) -> str:
    """Such as 950, 1.5k, 20M: what a label has room for."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= size:
            return f"{value / size:.1f}".removesuffix(".0") + unit
    return str(value)


def _step(highest: int) -> int:
    """Between gridlines: 1, 2 or 5 times a power of ten, so that about four lines reach the highest bar."""
    return next(
        factor * size
        for size in accumulate(repeat(10), mul, initial=1)
        for factor in (1, 2, 5)
        if factor * size * _GRIDLINES >= highest
    )


def _boxes(column: Column, series: Sequence[str], pixels_each: float) -> list[Box]:
    boxes: list[Box] = []
    y = float(TOP + HEIGHT)
    for name in series:
        number = column.counts.get(name, 0)
        if number:
            height = max(_LEAST, number * pixels_each)
            y -= height
            boxes.append(Box(name, _rounded(y), _rounded(height)))
    return boxes


def _times(columns: Sequence[Column], width: float, mark_of: Callable[[int], str]) -> list[Mark]:
    texts = (mark_of(column.begins_at) for column in columns)
    return [Mark(_rounded(at * width), text) for at, text in enumerate(texts) if text]


def _title(column: Column, series: Sequence[str], title_of: Callable[[int], str]) -> str:
    parts = [f"{column.counts[name]:,} {name}" for name in series if column.counts.get(name)]
    return f"{title_of(column.begins_at)}: {', '.join(parts)}"


def _total(column: Column, series: Sequence[str]) -> int:
    return sum(column.counts.get(name, 0) for name in series)


def _rounded(number: float) -> float:
    return round(number, 2)
