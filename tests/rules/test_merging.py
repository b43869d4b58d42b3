"""What two people did to one text, joined: what does not touch is there from both, the rest is marked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.merging import BASE, MINE, THEIRS, join_edits, unified

TEXT = "a\nb\nc\nd\ne\n"
TEXTS = st.lists(st.sampled_from("abcd"), max_size=8).map(lambda lines: "".join(f"{one}\n" for one in lines))


def test_changes_apart_are_both_taken() -> None:
    joined = join_edits(TEXT, "a\nB\nc\nd\ne\n", "a\nb\nc\nd\nnew\n")
    assert (joined.text, joined.conflicts) == ("a\nB\nc\nd\nnew\n", 0)


def test_the_same_change_twice_is_one() -> None:
    assert join_edits(TEXT, "a\nX\nc\nd\ne\n", "a\nX\nc\nd\ne\n").text == "a\nX\nc\nd\ne\n"


def test_a_conflict_shows_both_sides() -> None:
    joined = join_edits(TEXT, "a\ntheirs\nc\nd\ne\n", "a\nmine\nc\nd\ne\n")
    assert joined.text == f"a\n{MINE}\nmine\n{BASE}\ntheirs\n{THEIRS}\nc\nd\ne\n"
    assert joined.conflicts == 1


def test_a_last_line_without_an_end_is_a_line_all_the_same() -> None:
    assert join_edits("a", "b", "c").text == f"{MINE}\nc\n{BASE}\nb\n{THEIRS}\n"


@pytest.mark.slow
@given(TEXTS, TEXTS)
def test_who_changed_nothing_takes_the_others_text(base: str, other: str) -> None:
    assert join_edits(base, other, base).text == other
    assert join_edits(base, base, other).text == other


@pytest.mark.slow
@given(TEXTS, TEXTS, TEXTS)
def test_nothing_that_anybody_wrote_is_lost(base: str, theirs: str, mine: str) -> None:
    joined = join_edits(base, theirs, mine)
    written = joined.text.splitlines()
    for side in (theirs, mine):
        added = [line for line in set(side.splitlines()) if line not in base.splitlines()]
        assert all(line in written for line in added)
    assert (MINE in written) == bool(joined.conflicts)


def test_a_difference_is_a_unified_diff() -> None:
    assert unified("a\n", "b\n", "revision 1", "edited").splitlines() == [
        "--- revision 1",
        "+++ edited",
        "@@ -1,2 +1,2 @@",
        "-a",
        "+b",
        " ",
    ]
    assert not unified(TEXT, TEXT, "one", "other")


@pytest.mark.parametrize("other", ["", "x\n" * 3, TEXT * 2])
def test_texts_of_any_length_are_joined(other: str) -> None:
    assert join_edits(TEXT, other, other).text == other
