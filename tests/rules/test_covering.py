"""A rule is said to be covered only where it is, and of globs wherever it is."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.covering import Cover
from gateway.rules.match import Look
from gateway.rules.patterns import Pattern, Subject, parse_pattern

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

_NOT_IN_GLOBS = "q"

glob_segments = st.sampled_from(["a", "b", "*", "**", "a*", "*b", "a*b"])
globs = st.lists(glob_segments, min_size=1, max_size=5).map("/".join)
expression_parts = st.sampled_from(
    ["a", "b", "[^/]+", "(.+)", ".*", "(?:a|b)", "a*", r"\ba", r"\Ba", "[ab]q?"]
)
expressions = st.lists(expression_parts, min_size=1, max_size=4).map(lambda parts: "~" + "/".join(parts))
names = st.lists(st.sampled_from(["a", "b", "ab", "q", "aqb", "aa"]), min_size=1, max_size=6).map("/".join)


def look(host: str | None = None, repository: str | None = None) -> Look:
    return Look(
        None if host is None else parse_pattern(host, Subject.HOST),
        None if repository is None else parse_pattern(repository, Subject.REPOSITORY),
    )


def covers(earlier: Look, later: Look) -> bool:
    return list(Cover([earlier, later]).covered()) == [(1, 0)]


def pattern(text: str) -> Pattern:
    return parse_pattern(text, Subject.REPOSITORY)


def names_of(glob: str) -> list[str]:
    """Names that a glob matches: a letter that no glob has for every *, one to six of it for every **."""
    more = ["/".join(_NOT_IN_GLOBS * length) for length in range(1, 7)]
    choices = [more if part == "**" else [part.replace("*", _NOT_IN_GLOBS)] for part in glob.split("/")]
    return ["/".join(parts) for parts in product(*choices)]


@given(globs, globs)
def test_a_glob_covers_another_where_it_matches_all_its_names(earlier: str, later: str) -> None:
    matches_all = all(pattern(earlier).match(name) is not None for name in names_of(later))
    assert covers(look(repository=earlier), look(repository=later)) == matches_all


@given(globs | expressions, globs | expressions | names, names)
def test_what_covers_a_pattern_matches_whatever_that_one_does(earlier: str, later: str, name: str) -> None:
    if covers(look(repository=earlier), look(repository=later)) and pattern(later).match(name) is not None:
        assert pattern(earlier).match(name) is not None


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("argo/*", "argo/argo-cd"),
        ("argo/*", "argo/argo-*"),
        ("argo/**", "argo/*"),
        ("**", "argo/**"),
        ("**", "~[a-z]+"),
        ("*/**", "**/argo-cd/x"),
        ("**/*", "*/**"),
        ("~.*", "argo/**"),
        ("~^(.+)$", "~a|b"),
        ("~argo/(.+)", "argo/*"),
        ("argo/*", "~argo/([^/]+)"),
        ("~argo/(.*)", "argo/x/**"),
        ("~team-[a-z]+/.*", "team-blue/web"),
        ("~team-([a-z]+)/(.*)", "~team-([a-z]+)/(.*)"),
        ("~^team-[a-z]+$", "team-blue"),
    ],
)
def test_an_earlier_pattern_covers_a_later_one(earlier: str, later: str) -> None:
    assert covers(look(repository=earlier), look(repository=later))


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("argo/*", "argo/**"),
        ("argo/*", "**"),
        ("argo/*", "argo*/x"),
        ("*/**", "**"),
        ("a*", "*a"),
        ("~argo/.", "argo/*"),
        ("~argo/[A-Z]", "argo/*"),
        ("~argo/(Z|Y)", "argo/*"),
        ("~team-[a-z]+", "~team-[a-y]+"),
        (r"~\Bargo", "argo"),
        ("~.*/x", "**"),
    ],
)
def test_a_pattern_that_may_leave_something_covers_nothing(earlier: str, later: str) -> None:
    assert not covers(look(repository=earlier), look(repository=later))


@pytest.mark.parametrize(
    ("earlier", "later", "is_covered"),
    [
        (None, "a.example", True),
        ("~.*", None, True),
        ("~(.*)", None, True),
        ("~.*", "~[a-z]+", True),
        ("~.+", None, False),
        ("**", None, False),
        ("*.example", None, False),
        ("*.example", "a.example", True),
        ("**.example", "*.b.example", True),
        ("*.example", "a.b.example", False),
        (r"~[a-z]\.example", "a.example", True),
        (r"~[a-z]+\.example", "*.example", False),
        ("a.example", "b.example", False),
    ],
)
def test_hosts_have_to_be_covered_too(earlier: str | None, later: str | None, *, is_covered: bool) -> None:
    assert covers(look(earlier, "argo/*"), look(later, "argo/x")) == is_covered
    assert not covers(look(earlier, "argo/*"), look(later, "prom/x"))


def test_a_rule_for_a_host_alone_covers_all_names_there() -> None:
    assert covers(look(host="a.example"), look("a.example", "argo/*"))
    assert covers(look("a.example", "**"), look(host="a.example"))
    assert not covers(look("a.example", "argo/*"), look(host="a.example"))


def test_of_several_the_first_is_told() -> None:
    looks = [look(repository=text) for text in ("x", "argo/**", "argo/*", "argo/x", "y")]
    assert list(Cover(looks).covered()) == [(2, 1), (3, 1)]
