"""Ranges hold what they hold for Helm: range_cases.txt has the answers of the library that it asks."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.helm.ranges import RangeError, newest_in, parse_range
from gateway.helm.version import Version, parse_version

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

_LINES = [
    line
    for line in Path(__file__).with_name("range_cases.txt").read_text("ascii").splitlines()
    if line and not line.startswith("#")
]
JUDGED = [line.split("\t") for line in _LINES if "\t" in line]
REFUSED = [line for line in _LINES if "\t" not in line]

releases = st.builds("{}.{}.{}".format, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
spaces = st.text(" \t\n\r\f", max_size=3)


def parsed(text: str) -> Version:
    version = parse_version(text)
    assert version is not None, text
    return version


def fault(text: str) -> str:
    """Why a text is no range; nothing where it is one."""
    try:
        parse_range(text)
    except RangeError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("text", "held", "others"), JUDGED, ids=[text for text, _, _ in JUDGED])
def test_a_range_holds_what_it_holds_for_helm(text: str, held: str, others: str) -> None:
    wanted = parse_range(text)
    assert [version for version in held.split() if not wanted.holds(parsed(version))] == []
    assert [version for version in others.split() if wanted.holds(parsed(version))] == []


@pytest.mark.parametrize(
    "text", [*REFUSED, "", " ", "\u0661", "\u00a01", "1\v2", ">=\u00b2", "1\u2003<2", "\ud800"]
)
def test_what_helm_refuses_to_read_is_no_range(text: str) -> None:
    assert fault(text)


@given(releases, releases, releases, st.lists(spaces, min_size=5, max_size=5), st.sampled_from(" ,\t\n"))
def test_comparisons_hold_together_whatever_space_is_around_them(
    low: str, high: str, version: str, gaps: list[str], between: str
) -> None:
    wanted = parse_range(
        "{}>={}{low}{}{between}{}<{}{high}".format(*gaps, low=low, high=high, between=between)
    )
    assert wanted.holds(parsed(version)) == (parsed(low) <= parsed(version) < parsed(high))


@given(releases, releases, releases)
def test_a_range_with_hyphen_holds_both_its_ends(low: str, high: str, version: str) -> None:
    assert parse_range(f"{low} - {high}").holds(parsed(version)) == (
        parsed(low) <= parsed(version) <= parsed(high)
    )


@given(st.text("0123.x*vab-+=!<>~^|, \t", max_size=40))
def test_any_text_is_a_range_or_refused_and_spaces_around_it_change_nothing(text: str) -> None:
    is_range = not fault(text)
    assert is_range == (not fault(f"\t {text} "))
    assert not is_range or parse_range(f"\t {text} ").alternatives == parse_range(text).alternatives


def test_a_range_is_told_as_it_was_written_and_known_by_that() -> None:
    assert str(parse_range(" >=1,  <3")) == " >=1,  <3"
    assert {parse_range(">=1 <3"): 1}[parse_range(">=1 <3")] == 1
    assert parse_range(">=1 <3") != parse_range(">=1, <3")


def test_a_range_has_at_most_512_characters() -> None:
    assert parse_range("1".ljust(512)).holds(parsed("1.5.0"))
    assert fault("1".ljust(513)) == "a range has at most 512 characters, this one has 513"


def test_a_range_has_at_most_32_alternatives() -> None:
    assert parse_range("||".join(["1"] * 32)).holds(parsed("1.5.0"))
    assert fault("||".join(["1"] * 33)) == "|| may join at most 32 ranges, here it joins 33"


def test_a_version_in_a_range_is_no_longer_than_versions_are() -> None:
    assert parse_range("1.2.3-" + "a" * 250).holds(parsed("1.2.3-" + "a" * 250))
    assert "no version that Helm could read" in fault("1.2.3-" + "a" * 251)
    assert parse_range("1.x+" + "a" * 400).holds(parsed("1.5.0"))


@pytest.mark.parametrize(
    "text",
    [
        *(
            piece * (512 // len(piece))
            for piece in ("1", "1 ", "1 - ", "1-", "a.", "1-a.", "x|", ",", "<", "v")
        ),
        "1" + " " * 510 + "!",
        "1 -" + " " * 508,
        "1.1.1-" + "a.a-" * 126,
        "||" * 15 + "1 - 1 " * 80,
    ],
)
def test_a_hostile_text_is_read_at_once(text: str) -> None:
    """Each costs a reader seconds, or years, who tries one part in several ways."""
    assert len(fault(text)) < 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" ", "an empty text is no range: * holds every release"),
        ("latest", "character 1, 'latest': expected a comparison like >=1.2, ^1, 1.x or *"),
        (">=1 <foo", "character 5, '<foo': expected a comparison like >=1.2, ^1, 1.x or *"),
        (">=1, <2,", "at the end: expected a comparison like >=1.2, ^1, 1.x or *"),
        (">=1 || ", "at the end: expected a comparison like >=1.2, ^1, 1.x or *"),
        ("|| 1", "character 1, '|| 1': expected a comparison like >=1.2, ^1, 1.x or *"),
        ("1.2.3.4", "character 6, '.4': expected a space, a comma or || before this"),
        (">=1<3", "character 4, '<3': expected a space, a comma or || before this"),
        ("  1 1.2.3-01 2", "character 5, '1.2.3-01 2': no version that Helm could read"),
        ("1 - 2 || foo", "character 10, 'foo': expected a comparison like >=1.2, ^1, 1.x or *"),
        ("1 - 2 foo", "character 7, 'foo': expected a comparison like >=1.2, ^1, 1.x or *"),
        ("foo 1 - 2", "character 1, 'foo 1 - 2': expected a comparison like >=1.2, ^1, 1.x or *"),
        ("1 - 2 - 3", "character 7, '- 3': expected a comparison like >=1.2, ^1, 1.x or *"),
        ("5, 1x - 2", "character 4, '1x - 2': no version that Helm could read"),
        (
            "!" + "a" * 60,
            f"character 1, '!{'a' * 39}…': expected a comparison like >=1.2, ^1, 1.x or *",
        ),
    ],
)
def test_a_fault_is_told_with_its_place(text: str, message: str) -> None:
    assert fault(text) == message


@pytest.mark.parametrize(
    ("text", "versions", "expected"),
    [
        (">=5 <6", ["5.9.0", "5.10.0", "6.0.0", "4.0.0"], "5.10.0"),
        ("5", ["5.1.0-rc.1", "5.0.0"], "5.0.0"),
        ("5-0", ["5.1.0-rc.1", "5.0.0"], "5.1.0-rc.1"),
        ("^1", ["v1.1.0", "1.0.0"], "v1.1.0"),
        ("^1", ["v1.0.0", "1.0.0"], "v1.0.0"),
        ("^1", ["1.0.0", "v1.0.0"], "1.0.0"),
        ("^1", ["1.0.0+a", "1.0.0+b"], "1.0.0+a"),
        ("^1", ["0.9.0", "1.0.0+b", "1.0.0+a"], "1.0.0+b"),
        ("*", ["latest", "1.0.0", ""], "1.0.0"),
        ("^2", ["1.0.0", "3.0.0"], None),
        ("*", ["1.0.0-rc.1", "nightly"], None),
        ("*", [], None),
    ],
)
def test_the_newest_in_a_range_is_the_highest_and_of_equal_ones_the_first(
    text: str, versions: list[str], expected: str | None
) -> None:
    assert newest_in(parse_range(text), versions) == expected
