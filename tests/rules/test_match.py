"""Of many rules the first that matches, whatever RE2 makes of all of them at once."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.match import Look, Matcher
from gateway.rules.patterns import Subject, parse_pattern

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests


def look(repository: str | None = None, host: str | None = None) -> Look:
    return Look(
        None if host is None else parse_pattern(host, Subject.HOST),
        None if repository is None else parse_pattern(repository, Subject.REPOSITORY),
    )


def scanned(looks: Sequence[Look], host: str, name: str) -> int | None:
    """The plain reading: one after the other."""
    return next((number for number, one in enumerate(looks) if one.captures(host, name) is not None), None)


def test_without_rules_nothing_matches() -> None:
    assert Matcher([]).first("", "a") is None


def test_the_first_that_matches_decides() -> None:
    matcher = Matcher([look("argo/argo-cd"), look("argo/*"), look("~argo/.*"), look("**")])
    found = [matcher.first("", name) for name in ("argo/argo-cd", "argo/x", "argo/x/y", "x")]
    assert found == [0, 1, 2, 3]
    assert Matcher([look("**"), look("argo/*")]).first("", "argo/x") == 0


def test_host_and_name_have_to_match_both() -> None:
    matcher = Matcher([look("a/*", "*.example"), look(host="b.example"), look("a/*")])
    asked = [("a.example", "a/x"), ("b.example", "c"), ("", "a/x"), ("a.example", "b/x"), ("", "b/x")]
    assert [matcher.first(*one) for one in asked] == [0, 1, 2, None, None]


@pytest.mark.parametrize(
    ("rule", "host", "name"),
    [
        (look("~.*x"), "x", "a"),
        (look(host="~x.*"), "a", "x"),
        (look("~[^a]*", "~[^a]*"), "b\nb", "a"),
        (look("~(?s:.*)b", "a"), "b", "b"),
        (look("~a|b", "~a|b"), "ab", "a"),
        (look("~a|.*\n.*b"), "", "cb"),
    ],
)
def test_a_pattern_sees_no_more_than_its_own_text(rule: Look, host: str, name: str) -> None:
    assert Matcher([rule]).first(host, name) is None


@pytest.mark.parametrize(
    "rule",
    [
        look("~^a/(.*)$"),
        look("~(?:^a/.*$)"),
        look("~^b$|^a/x$"),
        look(host="~^h$"),
        look("~^a/x$", "~^h$"),
        look("~^^a/x$$", "~^h"),
    ],
)
def test_whole_names_may_also_be_written_with_their_ends(rule: Look) -> None:
    assert rule.captures("h", "a/x") is not None
    assert Matcher([rule]).first("h", "a/x") == 0


@pytest.mark.parametrize("rule", [look("~a/^x"), look("~a$/x"), look("~^a"), look("~x$"), look(host="~^a")])
def test_an_end_is_no_place_within(rule: Look) -> None:
    assert Matcher([rule]).first("h", "a/x") is None


@pytest.mark.parametrize("count", [1, 499, 500, 501, 999, 1000, 1001, 1500])
def test_among_very_many_it_is_still_the_first(count: int) -> None:
    looks = [look(f"team-{number}/*", "*.example" if number % 7 == 0 else None) for number in range(count)]
    matcher = Matcher([*looks, look("team-0/*"), look("~team-[0-9]*5/.*")])
    for number in {0, 1, 5, 7, 498, 499, 500, 501, 999, 1000, count - 1, count}:
        for host in ("", "a.example"):
            name = f"team-{number}/x"
            rest = count if number == 0 else count + 1 if number % 10 == 5 else None
            is_there = number < count and (number % 7 != 0 or host == "a.example")
            assert matcher.first(host, name) == (number if is_there else rest)


@pytest.mark.parametrize("memory_bytes", [1 << 10, 1 << 17, 1 << 20])
def test_rules_that_are_too_large_for_one_set_are_matched_all_the_same(memory_bytes: int) -> None:
    looks = [look(f"~t{number}-.{{100}}") for number in range(60)] + [look("last/*")]
    matcher = Matcher(looks, memory_bytes=memory_bytes)
    assert matcher.first("", "t59-" + "x" * 100) == 59
    assert matcher.first("", "t59-" + "x" * 99) is None
    assert matcher.first("", "last/x") == 60


_EXPLOSIVE = [look(f"~(.*)(a|b).{{12}}x{number}") for number in range(20)]
_HOST = "abababab-aabbaabb.example"


@pytest.mark.parametrize("memory_bytes", [1 << 14, 1 << 16, 1 << 18, 1 << 20])
def test_an_automaton_that_ran_out_of_memory_changes_no_answer(memory_bytes: int) -> None:
    matcher = Matcher([*_EXPLOSIVE, look("**/last"), look("never")], memory_bytes=memory_bytes)
    names = [f"{number:b}".replace("1", "a").replace("0", "b") + "y" * 12 for number in range(400)]
    for name in names:
        assert matcher.first(_HOST, f"{name}x7") == 7
        assert matcher.first(_HOST, f"{name}/last") == 20
        assert matcher.first(_HOST, name) is None


_HOSTS = st.sampled_from([None, "a", "*.b", "**", "~a|b", "~[ab].*", "~.*"])
_REPOSITORIES = st.sampled_from(
    [
        None,
        "a",
        "a/*",
        "*",
        "**",
        "*/b",
        "a/**/b",
        "~a.*",
        "~.*b",
        "~(a|b)/(.+)",
        "~[^/]*",
        "a*b",
        "c",
        "~(?i)A/.*",
    ]
)
_LOOKS = st.builds(look, _REPOSITORIES, _HOSTS)
_NAMES = st.lists(st.sampled_from(["a", "b", "ab", "c"]), min_size=1, max_size=4)


@given(st.lists(_LOOKS, max_size=12), st.sampled_from(["", "a", "a.b", "b", "x.y.b"]), _NAMES.map("/".join))
def test_the_answer_is_that_of_asking_one_after_the_other(looks: list[Look], host: str, name: str) -> None:
    assert Matcher(looks).first(host, name) == scanned(looks, host, name)


@given(st.lists(_LOOKS, max_size=6), st.sampled_from(["", "a", "a.b"]), _NAMES.map("/".join))
def test_what_matches_gives_a_capture_for_every_star_and_group(
    looks: list[Look], host: str, name: str
) -> None:
    number = Matcher(looks).first(host, name)
    if number is not None:
        found = looks[number].captures(host, name)
        patterns = [one for one in (looks[number].host, looks[number].repository) if one is not None]
        assert found is not None
        assert len(found) == sum(pattern.captures for pattern in patterns)
