"""The breaker as a table: what happened, and whether the next request passes."""

from collections.abc import Sequence
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sources.breaker import Breaker, Ending, Pause

# At which second what ends that just began; or, as text, what Breaker says then.
Step: TypeAlias = tuple[float, Ending | str]

WELL, FAILED, SILENT, LEFT = Ending.ANSWERED, Ending.FAILED, Ending.SILENT, Ending.NOTHING_LEARNT


def said(breaker: Breaker, now: float) -> str:
    pause = breaker.pause(now)
    if pause is None:
        return "passes" if breaker.is_closed else "one passes"
    return f"{pause.seconds} s, limited" if pause.is_rate_limited else f"{pause.seconds} s"


@pytest.mark.parametrize(
    "steps",
    [
        [(0, "passes")],
        [(0, WELL), (0, "passes")],
        [(0, FAILED), (0, FAILED), (0, "passes")],
        [(0, FAILED), (0, FAILED), (0, FAILED), (0, "15 s")],
        [(0, FAILED), (0, FAILED), (0, WELL), (0, FAILED), (0, FAILED), (0, "passes")],
        [(0, FAILED), (0, FAILED), (0, LEFT), (0, FAILED), (0, "15 s")],
        [(0, LEFT), (0, LEFT), (0, LEFT), (0, LEFT), (0, "passes")],
        [(0, SILENT), (0, "15 s"), (0.1, "15 s"), (14.5, "1 s"), (15, "one passes")],
        [(0, FAILED), (0, SILENT), (0, "15 s")],
        [(0, SILENT), (15, WELL), (15, "passes"), (15, FAILED), (15, FAILED), (15, "passes")],
        [(0, SILENT), (15, FAILED), (15, "15 s"), (30, "one passes"), (31, SILENT), (31, "15 s")],
        [(0, SILENT), (15, LEFT), (15, "one passes")],
        [(0, SILENT), (1e9, "one passes")],
    ],
)
def test_what_happened_decides_whether_the_next_request_passes(steps: Sequence[Step]) -> None:
    breaker = Breaker()
    for now, step in steps:
        if isinstance(step, Ending):
            assert breaker.pause(now) is None
            breaker.end(step, now, is_probe=breaker.begin())
        else:
            assert said(breaker, now) == step, (now, step)


def test_only_one_probe_passes_at_a_time() -> None:
    breaker = Breaker()
    breaker.end(SILENT, 0, is_probe=breaker.begin())
    is_probe = breaker.begin()
    assert is_probe
    assert breaker.pause(20) == Pause(1, is_rate_limited=False)
    breaker.end(LEFT, 21, is_probe=is_probe)
    assert breaker.pause(21) is None


@pytest.mark.parametrize("late", [WELL, FAILED, SILENT, Ending.PUT_OFF, LEFT])
def test_what_began_before_the_pause_does_not_change_it(late: Ending) -> None:
    breaker = Breaker()
    was_probe = breaker.begin()
    breaker.end(SILENT, 0, is_probe=breaker.begin())
    breaker.end(late, 5, is_probe=was_probe)
    assert said(breaker, 5) == "10 s"
    assert breaker.begin()
    breaker.end(late, 16, is_probe=was_probe)
    assert said(breaker, 16) == "1 s"  # the probe is still out


def test_the_origins_own_word_holds_to_the_second_and_then_one_asks() -> None:
    breaker = Breaker()
    breaker.end(Ending.PUT_OFF, 0, is_probe=breaker.begin())
    breaker.wait(60, 0, is_rate_limited=True)
    assert said(breaker, 0) == "60 s, limited"
    assert said(breaker, 59.9) == "1 s, limited"
    assert said(breaker, 60) == "one passes"
    breaker.end(Ending.PUT_OFF, 61, is_probe=breaker.begin())
    breaker.wait(5, 61, is_rate_limited=False)
    assert said(breaker, 61) == "5 s"
    breaker.end(WELL, 66, is_probe=breaker.begin())
    assert said(breaker, 66) == "passes"


@pytest.mark.parametrize(("first", "second", "expected"), [(60, 10, "60 s"), (10, 60, "60 s")])
def test_of_two_words_the_longer_one_holds(first: int, second: int, expected: str) -> None:
    breaker = Breaker()
    breaker.wait(first, 0, is_rate_limited=False)
    breaker.wait(second, 0, is_rate_limited=False)
    assert said(breaker, 0) == expected


@given(st.lists(st.tuples(st.sampled_from(Ending), st.floats(0, 40)), max_size=30))
def test_whatever_happens_a_pause_ends_and_one_good_answer_then_closes(
    events: list[tuple[Ending, float]],
) -> None:
    breaker, now = Breaker(), 0.0
    for ending, seconds in events:
        now += seconds
        if breaker.pause(now) is None:
            breaker.end(ending, now, is_probe=breaker.begin())
        pause = breaker.pause(now)
        assert pause is None or 1 <= pause.seconds <= 15
    assert breaker.pause(now + 15.001) is None
    breaker.end(WELL, now + 15.001, is_probe=breaker.begin())
    assert breaker.is_closed
