"""One byte range, read as RFC 9110 says, never outside the blob."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.errors import OciError, Situation
from gateway.oci.ranges import ByteRange, parse_range, unsatisfied_range

WHOLE = None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=0-99", ByteRange(0, 100)),
        ("bytes=0-", ByteRange(0, 100)),
        ("bytes=99-", ByteRange(99, 100)),
        ("bytes=10-5000", ByteRange(10, 100)),
        ("bytes=-1", ByteRange(99, 100)),
        ("bytes=-5000", ByteRange(0, 100)),
        ("Bytes=1-2", ByteRange(1, 3)),
        ("bytes=00-007", ByteRange(0, 8)),
    ],
)
def test_one_range_is_cut_to_the_blob(header: str, expected: ByteRange) -> None:
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-2",
        "bytes=0-1,3-4",
        "bytes=" + "0-," * 20_000,
        "bytes=0-" + "9" * 5000,
        "bytes=\u0661-\u0662",
        "bytes=²-",
        "bytes=+1-2",
        "bytes=1_0-20",
        "bytes= 0-1",
        "bytes=0-1\n",
        "bytes=0x0-0x9",
        "items=0-1",
        "bytes=--1",
    ],
)
def test_a_header_that_may_be_ignored_means_the_whole_blob(header: str | None) -> None:
    assert parse_range(header, 100) is WHOLE


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=100-", 100), ("bytes=100-200", 100), ("bytes=-0", 100), ("bytes=0-", 0), ("bytes=-0", 0)],
)
def test_a_range_that_holds_no_byte_cannot_be_met(header: str, size: int) -> None:
    with pytest.raises(OciError) as caught:
        parse_range(header, size)
    assert caught.value.situation is Situation.RANGE_NOT_SATISFIABLE
    assert caught.value.status == 416
    assert caught.value.detail == {"size": size}


def test_the_last_bytes_of_an_empty_blob_are_the_whole_of_it() -> None:
    assert parse_range("bytes=-5", 0) is WHOLE


def test_a_header_is_read_up_to_256_characters() -> None:
    digits = 256 - len("bytes=0-")
    assert parse_range("bytes=0-" + "9" * digits, 100) == ByteRange(0, 100)
    assert parse_range("bytes=0-" + "9" * (digits + 1), 100) is WHOLE


def test_content_range_counts_the_last_byte_in() -> None:
    assert ByteRange(5, 10).content_range(20) == "bytes 5-9/20"
    assert ByteRange(5, 10).size == 5
    assert unsatisfied_range(20) == "bytes */20"


HEADERS = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"bytes=[0-9]{0,4}-[0-9]{0,4}(,[0-9]{0,4}-[0-9]{0,4})?", fullmatch=True),
)


@given(HEADERS, st.integers(0, 3000))
def test_any_header_gives_a_slice_inside_the_blob(header: str, size: int) -> None:
    found = range_or_situation(header, size)
    if isinstance(found, ByteRange):
        assert 0 <= found.start < found.stop <= size
    else:
        assert found in {WHOLE, Situation.RANGE_NOT_SATISFIABLE}


def range_or_situation(header: str, size: int) -> ByteRange | Situation | None:
    try:
        return parse_range(header, size)
    except OciError as error:
        return error.situation
