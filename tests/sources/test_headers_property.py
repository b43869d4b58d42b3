"""Headers that others write: any text at all is read, or read over."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sources.answers import parse_retry_after
from gateway.sources.via import is_loop, new_instance_id, note_incoming, outgoing

pytestmark = pytest.mark.slow

_NOW = 1_700_000_000.0
_DATES = st.lists(
    st.sampled_from(
        ("Tue,", "14", "Nov", "2023", "22:13:20", "GMT", "+2500", "-", "99999999999", ":", "", "٣")
    ),
    max_size=8,
).map(" ".join)


@given(text=st.text(max_size=40) | _DATES)
def test_whatever_retry_after_says_the_wait_is_bounded(text: str) -> None:
    seconds = parse_retry_after(text, _NOW)
    assert seconds is None or 1 <= seconds <= 3600


@given(seconds=st.integers(0, 10**9))
def test_a_wait_is_the_same_in_seconds_and_as_a_date(seconds: int) -> None:
    expected = min(max(seconds, 1), 3600)
    assert parse_retry_after(str(seconds), _NOW) == expected
    assert parse_retry_after(formatdate(_NOW + seconds, usegmt=True), _NOW) == expected


@given(text=st.text(max_size=200), own_id=st.from_regex(r"[0-9a-f]{16}", fullmatch=True))
def test_no_other_header_is_taken_for_our_own(text: str, own_id: str) -> None:
    assert is_loop(text, own_id) == (
        f"1.1 chart-gateway-{own_id}" in [part.strip(" \t") for part in text.split(",")]
    )


@given(
    count=st.integers(0, 5),
    noise=st.text(st.characters(exclude_characters=",", codec="latin-1"), max_size=20),
)
def test_what_we_send_on_names_each_gateway_before_us(count: int, noise: str) -> None:
    before = [new_instance_id() for _ in range(count)]
    note_incoming(", ".join((noise, *(f"1.1 chart-gateway-{gateway}" for gateway in before))))
    sent = outgoing("f" * 16)
    note_incoming("")
    assert all(is_loop(sent, gateway) for gateway in (*before, "f" * 16))
    assert noise.strip() == "" or len(noise) < 3 or noise not in sent
