"""What a pattern matches, what it captures, and where the mistake stands in one that cannot be used."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.load import load_rules
from gateway.rules.patterns import MAX_LENGTH, Pattern, PatternError, Subject, parse_pattern
from gateway.rules.problems import Problem, RulesError

SEPARATORS = {Subject.REPOSITORY: "/", Subject.HOST: "."}
LITERALS = {Subject.REPOSITORY: "ab.-_:9", Subject.HOST: "ab-_9"}


def name_pattern(text: str) -> Pattern:
    return parse_pattern(text, Subject.REPOSITORY)


def matched(text: str, name: str, subject: Subject = Subject.REPOSITORY) -> tuple[str, ...] | None:
    return parse_pattern(text, subject).match(name)


def refusal(text: str, subject: Subject = Subject.REPOSITORY) -> PatternError:
    with pytest.raises(PatternError) as caught:
        parse_pattern(text, subject)
    return caught.value


@pytest.mark.parametrize(
    ("glob", "name", "captures"),
    [
        ("argo/argo-cd", "argo/argo-cd", ()),
        ("argo/*", "argo/argo-cd", ("argo-cd",)),
        ("argo/*", "argo/a/b", None),
        ("argo/*", "argo", None),
        ("argo/*", "argo/", None),
        ("argo/*", "my/argo/x", None),
        ("argo/*", "argo2/x", None),
        ("argo*", "argo", None),
        ("argo*", "argo-cd", ("-cd",)),
        ("a-*-b", "a-x-b", ("x",)),
        ("a-*-b", "a--b", None),
        ("*/*", "a/b", ("a", "b")),
        ("*-*", "a-b-c", ("a-b", "c")),
        ("**", "a", ("a",)),
        ("**", "a/b/c", ("a/b/c",)),
        ("argo/**", "argo/a/b", ("a/b",)),
        ("argo/**", "argo", None),
        ("**/x/*", "a/b/x/c", ("a/b", "c")),
        ("**/**", "a/b/c", ("a/b", "c")),
        ("a/**/z", "a/z", None),
        ("a/**/z", "a/b/c/z", ("b/c",)),
        ("a.b", "axb", None),
        ("reg.example:5000/*", "reg.example:5000/x", ("x",)),
    ],
)
def test_a_star_is_some_of_a_segment_and_two_are_whole_segments(
    glob: str, name: str, captures: tuple[str, ...] | None
) -> None:
    assert name_pattern(glob).is_glob
    assert matched(glob, name) == captures
    assert captures is None or name_pattern(glob).captures_of(name) == captures


@pytest.mark.parametrize(
    ("glob", "host", "captures"),
    [
        ("*.example.com", "charts.example.com", ("charts",)),
        ("*.example.com", "a.b.example.com", None),
        ("*.example.com", "example.com", None),
        ("**.example.com", "a.b.example.com", ("a.b",)),
        ("*.example.com", "charts.example.com.evil.com", None),
        ("*.example.com", "charts-example.com", None),
        ("charts-*.example", "charts-eu.example", ("eu",)),
        ("*", "localhost", ("localhost",)),
        ("**", "", None),
        ("**", "a.b", ("a.b",)),
    ],
)
def test_a_glob_of_hosts_is_parted_by_dots(glob: str, host: str, captures: tuple[str, ...] | None) -> None:
    assert matched(glob, host, Subject.HOST) == captures


@pytest.mark.parametrize(
    ("expression", "name", "captures"),
    [
        ("~argo", "argo", ()),
        ("~argo", "argo-cd", None),
        ("~argo", "my-argo", None),
        ("~argo|cd", "argo-cd", None),
        ("~^argo/(.*)$", "argo/x", ("x",)),
        ("~(?:^argo/(.*)$)", "argo/x", ("x",)),
        ("~team-([a-z0-9]+)/(?P<chart>.+)", "team-a/x/y", ("a", "x/y")),
        ("~(?<name>.+)", "a", ("a",)),
        ("~(a)|(b)|(c)", "b", ("", "b", "")),
        ("~(a)?(b*)(c)?", "a", ("a", "", "")),
        ("~(?i)ARGO", "argo", ()),
        ("~(.*)", "", ("",)),
        ("~.", "\n", None),
    ],
)
def test_a_regular_expression_matches_the_whole_and_groups_that_took_no_part_are_empty(
    expression: str, name: str, captures: tuple[str, ...] | None
) -> None:
    assert not name_pattern(expression).is_glob
    assert matched(expression, name) == captures
    assert captures is None or name_pattern(expression).captures_of(name) == captures


def test_a_pattern_knows_its_captures_before_it_is_asked() -> None:
    assert name_pattern("*/a-*-*/**").captures == 4
    assert name_pattern("a/b").captures == 0
    found = name_pattern("~(a)(?:b)(?P<one>c)((?P<two>d))")
    assert (found.captures, dict(found.names)) == (4, {"one": 2, "two": 4})
    assert name_pattern("*").names == {}


def test_no_text_is_slow_to_match() -> None:
    started = time.process_time()
    for text in ("~(a+)+$", "~(a|a)*b", "~(.*)*x", "*a" * 60 + "b"):
        assert name_pattern(text).match("a" * 5000 + "!") is None
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("", 0, "expected a pattern"),
        ("~", 1, "a regular expression after ~"),
        ("a" * (MAX_LENGTH + 1), MAX_LENGTH, "at most 512"),
        ("~" + "a" * MAX_LENGTH, MAX_LENGTH, "at most 512"),
        ("/a", 0, "an empty part"),
        ("a/", 2, "an empty part"),
        ("a//b", 2, "an empty part"),
        ("a**", 1, "** stands for whole parts"),
        ("a/***", 2, "** stands for whole parts"),
        ("x/a**b/c", 3, "** stands for whole parts"),
        ("Argo/*", 0, "lower case"),
        ("argO/*", 3, "lower case"),
        ("a b", 1, "' ' is in no name"),
        ("[a-z]+", 0, "'[' is in no name"),
        ("é", 0, "'é' is in no name"),
        ("a?", 1, "'?' is in no name"),
        ("~(?=x)", 1, "(?="),
        ("~team-(?!x).*", 6, "(?!"),
        (r"~(a)\1", 4, r"\1"),
        ("~[b-a]", 2, "b-a"),
        ("~a{1001}", 2, "{1001}"),
        ("~a[b", 2, "missing ]"),
        ("~(ab", 1, "missing )"),
        ("~a**", 2, "**"),
        ("~*", 1, "*"),
        ("~(?P<a-b>x)", 1, "named capture group"),
        ("~(?P<n>a)/(?P<n>b)", 13, "the group n stands there twice"),
        ("~" + ".{1000}" * 60, 1, "too large"),
        ("~" + "(a)" * 100, 0, "more than 99 groups"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_told_with_the_place_of_the_mistake(
    text: str, offset: int, message: str
) -> None:
    error = refusal(text)
    assert error.offset == offset
    assert message in str(error)


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        (".", 0, "an empty part"),
        ("a..b", 2, "an empty part"),
        ("charts.EXAMPLE", 7, "lower case"),
        ("a/b", 1, "'/' is in no name"),
    ],
)
def test_so_is_one_of_hosts(text: str, offset: int, message: str) -> None:
    error = refusal(text, Subject.HOST)
    assert error.offset == offset
    assert message in str(error)


@pytest.mark.parametrize(
    ("text", "subject", "offset", "message"),
    [
        ("abc/d!e", Subject.REPOSITORY, 5, "'!' is in no name"),
        ("abc/Def", Subject.REPOSITORY, 4, "lower case"),
        ("a.example:5000", Subject.HOST, 9, "without their port"),
        ("~a*b|*", Subject.REPOSITORY, 5, "*"),
        ("~ab)", Subject.REPOSITORY, 3, "unexpected )"),
    ],
)
def test_the_wrong_character_is_the_one_that_is_told(
    text: str, subject: Subject, offset: int, message: str
) -> None:
    error = refusal(text, subject)
    assert (error.offset, message in str(error)) == (offset, True)


@pytest.mark.parametrize(
    "expression",
    [
        r"~\Aargo",
        r"~argo\z",
        r"~\\\Aa",
        pytest.param("~(?-m)^argo"),
        pytest.param("~(?i-sm:argo$)"),
        pytest.param("~(?-m:^a)|b"),
    ],
)
def test_what_would_mean_the_ends_of_host_and_name_together_is_refused(expression: str) -> None:
    error = refusal(expression)
    assert "whole" in str(error)
    assert expression[error.offset] in "\\("


def test_an_escaped_backslash_before_a_letter_is_no_anchor() -> None:
    assert matched(r"~\\A|x", "x") == ()


def column_of(text: str) -> int:
    with pytest.raises(RulesError) as caught:
        load_rules(text)
    (problem,) = caught.value.problems
    assert isinstance(problem, Problem)
    return problem.column


@pytest.mark.parametrize(
    ("lines", "column"),
    [
        ("- repository: ~x(?=y)", 17),
        ('- repository: "~x(?=y)"', 18),
        ("- repository: '~x(?=y)'", 18),
        ("- host: '~x(?=y)'", 12),
        ("- {repository: a/B}", 18),
        ('- {name: é, repository: "a/B"}', 28),
        ("- repository: 'argo/[a]'", 21),
    ],
)
def test_the_column_is_that_of_the_file(lines: str, column: int) -> None:
    assert column_of(f"version: 1\nrules:\n{lines}\n") == column


_SEGMENTS = st.sampled_from(["a", "b", "ab", "*", "a*", "*b", "a*b", "*a*", "*-*", "**"])


@st.composite
def globs(draw: st.DrawFn) -> tuple[Subject, str]:
    subject = draw(st.sampled_from(list(Subject)))
    segment = _SEGMENTS | st.text(f"{LITERALS[subject]}*", min_size=1, max_size=5).filter(
        lambda text: "**" not in text
    )
    return subject, SEPARATORS[subject].join(draw(st.lists(segment, min_size=1, max_size=4)))


@given(globs(), st.data())
def test_a_glob_matches_what_a_walk_through_the_segments_matches(
    glob: tuple[Subject, str], data: st.DataObject
) -> None:
    subject, text = glob
    separator = SEPARATORS[subject]
    segment = st.text(LITERALS[subject], min_size=1, max_size=4) | st.sampled_from(
        text.replace("*", "a").split(separator)
    )
    name = separator.join(data.draw(st.lists(segment, min_size=1, max_size=5)))
    pattern = parse_pattern(text, subject)
    expected = _walk(text.split(separator), name.split(separator), separator)
    assert pattern.match(name) == expected
    assert expected is None or pattern.captures_of(name) == expected
    assert expected is None or len(expected) == pattern.captures


@given(globs())
def test_a_glob_matches_itself_with_something_for_every_star(glob: tuple[Subject, str]) -> None:
    subject, text = glob
    assert (
        matched(text, text.replace("**", f"x{SEPARATORS[subject]}y").replace("*", "x"), subject) is not None
    )


@given(st.text("ab/*~()[]?+.\\^$|{}:<>P=!A1 é", max_size=30) | st.text(max_size=20))
def test_any_text_is_a_pattern_or_a_mistake_inside_it(text: str) -> None:
    for subject in Subject:
        found = pattern_or_mistake(text, subject)
        if isinstance(found, PatternError):
            assert 0 <= found.offset <= len(text)
        else:
            captures = found.match("a/b")
            assert captures is None or len(captures) == found.captures


def pattern_or_mistake(text: str, subject: Subject) -> Pattern | PatternError:
    try:
        return parse_pattern(text, subject)
    except PatternError as error:
        return error


def _walk(globs: list[str], parts: list[str], separator: str) -> tuple[str, ...] | None:
    """The obvious reading, first stars taking most: segment by segment, ``**`` one or more of them."""
    if not globs or not parts:
        return () if not globs and not parts else None
    if globs[0] == "**":
        for count in range(len(parts), 0, -1):
            rest = _walk(globs[1:], parts[count:], separator)
            if rest is not None:
                return (separator.join(parts[:count]), *rest)
        return None
    taken = _walk_segment(globs[0], parts[0])
    rest = _walk(globs[1:], parts[1:], separator)
    return None if taken is None or rest is None else (*taken, *rest)


def _walk_segment(glob: str, text: str) -> tuple[str, ...] | None:
    head, star, tail = glob.partition("*")
    if not star:
        return () if text == glob else None
    if not text.startswith(head):
        return None
    for end in range(len(text), len(head), -1):
        rest = _walk_segment(tail, text[end:])
        if rest is not None:
            return (text[len(head) : end], *rest)
    return None
