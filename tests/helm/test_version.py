"""SemVer as Helm reads it, and which entry of an index a tag means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.helm.version import Version, newest, parse_version, resolve, tag_of

numbers = st.integers(0, 99).map(str)
identifiers = st.from_regex(r"0|[1-9][0-9]{0,3}|[0-9]{0,2}[A-Za-z-][0-9A-Za-z-]{0,3}", fullmatch=True)
suffixes = st.lists(identifiers, min_size=1, max_size=3).map(".".join)
version_texts = st.builds(
    lambda v, parts, pre, build: v + ".".join(parts) + pre + build,
    st.sampled_from(["", "v"]),
    st.lists(numbers, min_size=1, max_size=3),
    st.just("") | suffixes.map(lambda pre: f"-{pre}"),
    st.just("") | suffixes.map(lambda build: f"+{build}"),
)


def parsed(text: str) -> Version:
    version = parse_version(text)
    assert version is not None, text
    return version


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("1", "1.0.0"),
        ("1.2", "1.2.0"),
        ("v1.2.3", "1.2.3"),
        ("01.02.03", "1.2.3"),
        ("1-rc", "1.0.0-rc"),
        ("v1.2+build", "1.2.0+build"),
        ("18446744073709551615.0.0", "18446744073709551615"),
    ],
)
def test_what_helm_reads_as_one_version_is_one(text: str, same: str) -> None:
    assert parsed(text) == parsed(same)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v",
        "latest",
        "V1.2.3",
        "vv1.2.3",
        "1.2.3.4",
        "1.2.",
        "1..3",
        " 1.2.3",
        "1.2.3\n",
        "1.2.3-",
        "1.2.3-01",
        "1.2.3-rc.007",
        "1.2.3-a..b",
        "1.2.3+",
        "1.2.3+a+b",
        "1.2.3-rc_1",
        "1.2.x",
        "^1.2.3",
        "-1.2.3",
        "\u0661.2.3",
        "1.2.3-\u00e9",
        "1_0.2.3",
        "18446744073709551616.0.0",
        "1.2.3+" + "a" * 251,
        "9" * 5000,
    ],
)
def test_what_helm_does_not_take_for_a_version_is_none(text: str) -> None:
    assert parse_version(text) is None


def test_a_version_may_have_256_characters() -> None:
    assert parse_version("1.2.3+" + "a" * 250) is not None


def test_precedence_is_that_of_the_specification() -> None:
    ascending = [
        "0.9.9",
        "1.0.0-0",
        "1.0.0-2",
        "1.0.0-11",
        "1.0.0-18446744073709551615",
        "1.0.0--",
        "1.0.0-100000000000000000000000",
        "1.0.0-18446744073709551616",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "v1",
        "1.0.1-0",
        "1.0.1",
        "1.2",
        "1.10",
        "2.0.0",
        "10.0.0",
    ]
    assert sorted(set(ascending), key=parsed) == ascending


@given(version_texts, version_texts, version_texts)
def test_the_order_is_total(first: str, second: str, third: str) -> None:
    a, b, c = parsed(first), parsed(second), parsed(third)
    assert (a < b) + (a == b) + (a > b) == 1
    assert not (a < b < c) or a < c
    assert (a <= b <= a) == (a == b)


@given(version_texts)
def test_build_metadata_tells_versions_apart_and_moves_them_past_no_other(text: str) -> None:
    plain, _, _ = text.partition("+")
    built = parsed(f"{plain}+zzz")
    assert built != parsed(plain)
    assert (built.major, built.minor, built.patch, built.rank) == (
        parsed(plain).major,
        parsed(plain).minor,
        parsed(plain).patch,
        parsed(plain).rank,
    )


@pytest.mark.parametrize(
    ("version", "tag"), [("1.2.3", "1.2.3"), ("v1.2.3", "1.2.3"), ("v1.0.0+build.5", "1.0.0_build.5")]
)
def test_a_tag_has_no_v_and_no_plus(version: str, tag: str) -> None:
    assert tag_of(version) == tag


@given(version_texts, st.lists(version_texts, max_size=5))
def test_the_tag_of_a_version_means_that_version(version: str, others: list[str]) -> None:
    versions = [*others, version]
    place = resolve(tag_of(version), versions)
    assert place is not None
    assert versions[place].removeprefix("v") == version.removeprefix("v")
    assert resolve(version, versions) == versions.index(version)


@pytest.mark.parametrize(
    ("tag", "versions", "meant"),
    [
        ("1.2.3", ["1.2.2", "1.2.3"], 1),
        ("1.2.3", ["v1.2.3"], 0),
        ("v1.2.3", ["1.2.3"], 0),
        ("1.2.3", ["v1.2.3", "1.2.3"], 1),
        ("v1.2.3", ["1.2.3", "v1.2.3"], 1),
        ("1.2.3", ["1.2.3", "1.2.3"], 0),
        ("1.0.0_b.5", ["1.0.0+b.5"], 0),
        ("v1.0.0_b.5", ["1.0.0+b.5"], 0),
        ("1.0.0_b.5", ["v1.0.0+b.5"], 0),
        ("1.0.0_b", ["v1.0.0+b", "1.0.0+b"], 1),
        ("1.11", ["1.11.2", "1.11.0", "v1.11.1"], None),
        ("1.11", ["1.11.0", "v1.11"], 1),
        ("1.11.0", ["1.11"], None),
        ("latest", ["1.0.0"], None),
        ("^1", ["1.0.0"], None),
        ("", ["v", "1.0.0"], 0),
        ("1.2.3", [], None),
    ],
)
def test_a_tag_means_one_entry_and_never_a_range(tag: str, versions: list[str], meant: int | None) -> None:
    assert resolve(tag, versions) == meant


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        (["1.2.0", "1.10.0", "1.9.0"], "1.10.0"),
        (["1.0.0", "2.0.0-rc.1"], "1.0.0"),
        (["v3.0.0", "2.0.0"], "v3.0.0"),
        (["1.0.0", "v1.0.0"], "1.0.0"),
        (["v1.0.0", "1.0.0"], "v1.0.0"),
        (["1.0.0+a", "1.0.0+b"], "1.0.0+a"),
        (["1.0.0+b", "1.0.0+a"], "1.0.0+b"),
        (["latest", "1.0.0"], "1.0.0"),
        (["1.0.0-rc.1", "nightly"], None),
        ([], None),
    ],
)
def test_the_newest_is_the_highest_release(versions: list[str], expected: str | None) -> None:
    assert newest(versions) == expected
