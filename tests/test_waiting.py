"""What is remembered for a while, and for no longer when the clock is set back."""

from gateway.waiting import Span


def test_a_span_holds_for_so_long_from_its_beginning() -> None:
    span = Span(1000.0, 60.0)
    assert [span.holds(now) for now in (999.0, 1000.0, 1059.0, 1060.0)] == [False, True, True, False]


def test_a_clock_that_is_set_back_ends_it() -> None:
    """Else «nobody has it» would be told for years."""
    assert not Span(1_700_000_000.0, 60.0).holds(1_600_000_000.0)
