"""What was served, as it is drawn: steps become columns, outcomes series."""

from gateway.activity_seen import Bar, Served, Span
from gateway.web.admin.served_shown import shown

MONDAY = 1_795_392_000  # 2026-11-23, 00:00 UTC


def served(span: Span, *rows: Bar) -> Served:
    given = {row.begins_at: row for row in rows}
    steps = range(MONDAY, MONDAY + 3600 * (24 if span is Span.DAY else 168), 3600)
    total = sum(sum(row.by_outcome.values()) for row in rows)
    return Served(span, 3600, [given.get(at, Bar(at, {}, 0)) for at in steps], {}, {}, total, 0)


def test_three_hours_of_a_week_are_one_column() -> None:
    rows = [Bar(MONDAY, {"hit": 1}, 0), Bar(MONDAY + 7200, {"hit": 2, "miss": 4}, 0)]
    week = shown(served(Span.WEEK, *rows))
    assert [dict(row.counts) for row in week.rows] == [{"hit": 3, "miss": 4}]
    assert [mark.text for mark in week.chart.times][:2] == ["Mon 23", "Tue 24"]


def test_the_hit_rate_is_of_what_was_answered() -> None:
    counts = {"hit": 6, "joined": 1, "stale": 1, "miss": 2, "not_found": 50, "error": 7}
    assert shown(served(Span.DAY, Bar(MONDAY, counts, 0))).hit_rate == 80


def test_nothing_served_has_no_hit_rate() -> None:
    day = shown(served(Span.DAY))
    assert day.hit_rate is None
    assert not day.rows


def test_refusals_of_both_kinds_are_one_series() -> None:
    day = shown(served(Span.DAY, Bar(MONDAY, {"denied": 2, "not_found": 3}, 0)))
    assert {line.series: line.number for line in day.legend}["refused"] == 5
    assert day.chart.bars[0].title == "Mon 23 Nov, 00:00: 5 refused"
