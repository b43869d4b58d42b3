"""What was served, as the overview shows it: a chart, its legend, a table, and a few figures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from gateway.activity_seen import Outcome, Served, Span
from gateway.web.admin.charts import Chart, Column, stacked_bars

SERIES: Mapping[str, str] = {
    Outcome.HIT: "held here, served at once",
    Outcome.JOINED: "shared a fetch that was running already",
    Outcome.STALE: "held here, served while upstream was slow or away",
    Outcome.MISS: "fetched from upstream",
    "refused": "not found, or denied",
    Outcome.ERROR: "nobody could answer",
}
_DRAWN_AS: Mapping[str, str] = {Outcome.NOT_FOUND: "refused", Outcome.DENIED: "refused"}
_FROM_CACHE = (Outcome.HIT, Outcome.JOINED, Outcome.STALE)


@dataclass(frozen=True, slots=True)
class _Scale:
    """How a span is drawn: so many seconds a column, and what is written below which of them."""

    column_seconds: int
    mark_seconds: int
    mark: str


_SCALES: Mapping[Span, _Scale] = {
    Span.HOUR: _Scale(60, 600, "%H:%M"),
    Span.DAY: _Scale(3600, 4 * 3600, "%H:%M"),
    Span.WEEK: _Scale(3 * 3600, 24 * 3600, "%a %d"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One series in the legend: how many, and what it means."""

    series: str
    number: int
    means: str


@dataclass(frozen=True, slots=True)
class ServedShown:
    """``rows`` are the columns in which anything happened, newest first; ``hit_rate`` in per cent."""

    chart: Chart
    legend: Sequence[Line]
    rows: Sequence[Column]
    by_source: Sequence[tuple[str, int]]
    total: int
    hit_rate: float | None
    sent_bytes: int


def shown(served: Served) -> ServedShown:
    scale = _SCALES[served.span]
    columns = _columns(served, scale.column_seconds)
    totals = Counter[str]()
    for column in columns:
        totals.update(column.counts)
    answered = sum(totals[name] for name in (*_FROM_CACHE, Outcome.MISS))
    from_cache = sum(totals[name] for name in _FROM_CACHE)
    return ServedShown(
        chart=stacked_bars(columns, list(SERIES), lambda at: _mark(at, scale), when),
        legend=[Line(name, totals[name], means) for name, means in SERIES.items()],
        rows=[column for column in reversed(columns) if column.counts],
        by_source=sorted(served.by_source.items(), key=lambda one: -one[1]),
        total=served.total,
        hit_rate=100 * from_cache / answered if answered else None,
        sent_bytes=served.sent_bytes,
    )


def when(begins_at: int) -> str:
    """Such as ``Mon 23 Nov, 14:05``; times are UTC here."""
    return datetime.fromtimestamp(begins_at, UTC).strftime("%a %d %b, %H:%M")


def _columns(served: Served, seconds: int) -> list[Column]:
    """Steps joined to columns, which begin at round times; also those in which nothing happened."""
    return [
        Column(number * seconds, _joined([row.by_outcome for row in rows]))
        for number, rows in groupby(served.rows, lambda row: row.begins_at // seconds)
    ]


def _joined(counts: Sequence[Mapping[str, int]]) -> Mapping[str, int]:
    total = Counter[str]()
    for by_outcome in counts:
        for outcome, number in by_outcome.items():
            total[_DRAWN_AS.get(outcome, outcome)] += number
    return total


def _mark(begins_at: int, scale: _Scale) -> str:
    if begins_at % scale.mark_seconds:
        return ""
    return datetime.fromtimestamp(begins_at, UTC).strftime(scale.mark)
