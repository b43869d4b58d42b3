"""What two texts differ in: all of it, nothing beside it in short ones, and told in time in any."""

import random
from collections.abc import Sequence
from difflib import SequenceMatcher, unified_diff

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.differing import changes
from gateway.rules.merging import unified

LINES = st.lists(st.sampled_from("abcdefgh"), max_size=40)


def applied(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """The old text with every change made to it."""
    lines: list[str] = []
    at = 0
    for one in changes(old, new):
        assert at <= one.start <= one.end
        lines += [*old[at : one.start], *new[one.new_start : one.new_end]]
        at = one.end
    return [*lines, *old[at:]]


@pytest.mark.slow
@given(LINES, LINES)
def test_the_changes_of_a_text_make_the_other_one_of_it(old: list[str], new: list[str]) -> None:
    assert applied(old, new) == new


@pytest.mark.slow
@given(LINES, LINES)
def test_a_short_text_is_told_as_difflib_tells_it(old: list[str], new: list[str]) -> None:
    old, new = ["first", *old, "last"], ["another", *new, "end"]
    told = [
        (start, end, new_start, new_end)
        for word, start, end, new_start, new_end in SequenceMatcher(None, old, new).get_opcodes()
        if word != "equal"
    ]
    assert [(one.start, one.end, one.new_start, one.new_end) for one in changes(old, new)] == told
    expected = "\n".join(unified_diff(old, new, "before", "after", lineterm=""))
    assert unified("\n".join(old), "\n".join(new), "before", "after") == expected


def test_a_long_text_is_told_as_closely_where_its_lines_have_names() -> None:
    old = [line for number in range(300) for line in (f"name: {number}", "enabled: true", "chain: helm")]
    new = [*old[:1], "enabled: false", *old[2:450], "name: new", *old[450:897], "name: moved", *old[898:]]
    assert applied(old, new) == new
    assert sum(one.end - one.start + one.new_end - one.new_start for one in changes(old, new)) == 5


def test_what_repeats_itself_without_a_name_is_told_as_a_whole() -> None:
    old, new = ["a", "b"] * 150, ["b", "a"] * 150
    assert [(one.start, one.end, one.new_start, one.new_end) for one in changes(old, new)] == [
        (0, 300, 0, 300)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("words", [150, 100_000])
def test_no_text_keeps_whoever_compares_it(words: int) -> None:
    """What took difflib three minutes, and hours where it is longer."""
    chance = random.Random(1)
    old, new = ([f"#{chance.randrange(words)}" for _ in range(200_000)] for _ in range(2))
    assert applied(old, new) == new
