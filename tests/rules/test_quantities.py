"""Durations and sizes, and the word that was meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.quantities import parse_duration, parse_size, written_size
from gateway.rules.spelling import counted, nearest


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15s", 15),
        ("5m", 300),
        ("12h", 43_200),
        ("1d", 86_400),
        ("2w", 1_209_600),
        ("250ms", 0.25),
        ("2.5s", 2.5),
        ("90", 90),
        ("0", 0),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1 s", "1S", "1y", "1e3", "\uff15m", "1m30s", "9" * 400, "5201w1", "99999d"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="15s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("1024", 1024),
        ("500K", 512_000),
        ("64M", 2**26),
        ("20G", 20 * 2**30),
        ("1Gi", 2**30),
        ("1TiB", 2**40),
    ],
)
def test_a_size_is_read_in_bytes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "M", "-1", "1.5M", "64m", "64 M", "64MB", "\uff16M", "9" * 5000, "9" * 15 + "T"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="64M"):
        parse_size(text)


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    for parse in (parse_duration, parse_size):
        try:
            quantity = parse(text)
        except ValueError:
            continue
        assert quantity >= 0


@given(st.integers(0, 10**15 - 1))
def test_a_size_that_is_written_reads_as_the_same(size_bytes: int) -> None:
    assert parse_size(written_size(size_bytes)) == size_bytes


def test_a_size_is_written_in_the_largest_unit_that_holds_it_whole() -> None:
    assert [written_size(one) for one in (0, 1000, 500 * 2**10, 2**26, 3 * 2**30)] == [
        "0",
        "1000",
        "500K",
        "64M",
        "3G",
    ]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("allow_privat", "allow_private"), ("URL", "url"), ("zzz", None), ("", None), ("url" * 1_000_000, None)],
)
def test_the_nearest_known_word_is_offered(word: str, expected: str | None) -> None:
    assert nearest(word, ["allow_private", "url", "kind"]) == expected


def test_one_thing_is_told_as_one() -> None:
    assert [counted(number, "tag") for number in (0, 1, 2)] == ["0 tags", "1 tag", "2 tags"]
