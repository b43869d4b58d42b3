"""Stacked bars: what is drawn is what was counted."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.web.admin.charts import HEIGHT, TOP, Chart, Column, short_number, stacked_bars

SERIES = ("hit", "miss")


def drawn(*columns: Column) -> Chart:
    return stacked_bars(columns, SERIES, _mark, lambda begins_at: f"from {begins_at}")


def _mark(begins_at: int) -> str:
    return "" if begins_at % 600 else str(begins_at)


def test_parts_of_a_bar_stand_on_each_other_from_the_floor() -> None:
    chart = drawn(Column(0, {"hit": 3, "miss": 1}))
    hit, miss = chart.bars[0].boxes
    assert hit.y + hit.height == chart.floor
    assert miss.y + miss.height == hit.y
    assert hit.height == 3 * miss.height


def test_a_step_in_which_nothing_happened_has_no_bar() -> None:
    assert [bar.title for bar in drawn(Column(0, {}), Column(60, {"hit": 2})).bars] == ["from 60: 2 hit"]


def test_nothing_at_all_is_an_empty_chart_with_its_axes() -> None:
    chart = drawn(*(Column(60 * number, {}) for number in range(60)))
    assert not chart.bars
    assert [mark.text for mark in chart.gridlines] == ["0", "1"]
    assert [mark.text for mark in chart.times] == ["0", "600", "1200", "1800", "2400", "3000"]


def test_no_columns_are_drawn_too() -> None:
    assert drawn() == Chart([], drawn(Column(0, {})).gridlines, [])


def test_a_series_that_is_not_named_is_not_drawn() -> None:
    assert not drawn(Column(0, {"other": 7})).bars


def test_one_among_a_million_is_still_seen() -> None:
    assert drawn(Column(0, {"hit": 1_000_000, "miss": 1})).bars[0].boxes[1].height == 1


def test_gridlines_are_round_numbers() -> None:
    texts = [mark.text for mark in drawn(Column(0, {"hit": 1730})).gridlines]
    assert texts == ["0", "500", "1k", "1.5k", "2k"]


def test_large_numbers_are_short() -> None:
    shown = [short_number(number) for number in (0, 999, 1000, 1500, 20_000_000, 3 * 10**9)]
    assert shown == ["0", "999", "1k", "1.5k", "20M", "3G"]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=40))
def test_bars_stay_inside_the_plot(numbers: list[int]) -> None:
    chart = drawn(*(Column(60 * at, {"hit": number}) for at, number in enumerate(numbers)))
    assert all(bar.x >= 0 and bar.x + bar.width <= 100.01 for bar in chart.bars)
    assert all(box.y >= TOP - 0.01 and box.height <= HEIGHT for bar in chart.bars for box in bar.boxes)
    assert len(chart.gridlines) <= 6
