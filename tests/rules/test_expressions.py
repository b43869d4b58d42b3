"""Expressions of RE2 taken apart, as far as warnings look at them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.expressions import as_glob, tokens, without_anchors
from gateway.rules.patterns import Subject, parse_pattern

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

segments = st.sampled_from(["a", "b-1", "x.y"])
names = st.lists(segments, min_size=1, max_size=4).map("/".join)
pieces = st.sampled_from(["a", r"x\.y", "[^/]+", "([^/]+)", "(?:.+)", ".+", "(.*)", ".*", "b-1"])
expressions = st.lists(pieces, min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a.b", ["a", ".", "b"]),
        (r"a\.b\/", ["a", r"\.", "b", r"\/"]),
        (r"[a.b][^/]+[]x][^]\]]", ["[a.b]", "[^/]", "+", "[]x]", r"[^]\]]"]),
        ("[[:alpha:].]x", ["[[:alpha:].]", "x"]),
        (
            "(?P<chart>a)(?:b)(?i)(?<n>c)",
            ["(?P<chart>", "a", ")", "(?:", "b", ")", "(?i)", "(?<n>", "c", ")"],
        ),
        (r"\Qa.b\E.c", [r"\Qa.b\E", ".", "c"]),
        (r"a\Qb.c", ["a", r"\Qb.c"]),
        (r"\pL\p{Greek}\x{2e}\x2e", [r"\pL", r"\p{Greek}", r"\x{2e}", r"\x2e"]),
    ],
)
def test_an_expression_falls_apart_into_what_it_is_made_of(expression: str, expected: list[str]) -> None:
    parse_pattern(f"~{expression}", Subject.REPOSITORY)
    found = list(tokens(expression))
    assert [token.text for token in found] == expected
    assert "".join(token.text for token in found) == expression
    assert all(expression.startswith(token.text, token.offset) for token in found)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("^a$", "a"), ("^a", "a"), ("a$", "a"), (r"a\$", r"a\$"), ("a[$]", "a[$]"), ("a", "a"), ("^$", "")],
)
def test_only_anchors_at_the_ends_are_taken_off(expression: str, expected: str) -> None:
    assert without_anchors(expression) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("argo/([^/]+)", ("argo", "*")),
        ("^argo/(?P<chart>.+)$", ("argo", "**")),
        ("argo/.*", ("argo", "**")),
        (".+", ("**",)),
        (r"ghcr\.io/(x-[^/]+)", None),
        (r"ghcr\.io/x-([^/]+)-y", ("ghcr.io", "x-*-y")),
        ("ghcr.io/x", None),
        ("argo.+", None),
        ("argo/", None),
        ("[^/]+[^/]+", None),
        ("(argo)/x", ("argo", "x")),
        ("a|b", None),
        ("ab*", None),
        ("[a-z]+/x", None),
        ("", None),
    ],
)
def test_an_expression_is_a_glob_where_that_is_plain_to_see(
    expression: str, expected: tuple[str, ...] | None
) -> None:
    assert as_glob(expression) == expected


@given(expressions, names)
def test_the_glob_of_an_expression_matches_the_same_names(expression: str, name: str) -> None:
    glob = as_glob(expression)
    assert glob is not None
    found = parse_pattern("/".join(glob), Subject.REPOSITORY).match(name)
    assert (found is None) == (parse_pattern(f"~{expression}", Subject.REPOSITORY).match(name) is None)
