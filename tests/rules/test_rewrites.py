"""Where a rule leads: captures in their order, and what is refused before anybody asks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.errors import OciError
from gateway.oci.target import Target
from gateway.rules.load import load_rules
from gateway.rules.patterns import Pattern, Subject, parse_pattern
from gateway.rules.problems import Problem, RulesError
from gateway.rules.rewrites import MAX_LENGTH, Captures, Rewrite, RewriteError, capture_names, parse_rewrite

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

TWO = (
    parse_pattern("*.example", Subject.HOST),
    parse_pattern("~(?P<team>[a-z]+)/(?P<chart>.+)", Subject.REPOSITORY),
)


def filled(text: str, *captures: str, whole: str = "whole/name") -> str:
    pattern = Pattern("", "", len(captures), {}, None)
    return parse_rewrite(text, [pattern]).fill(Captures(whole, captures))


def refusal(text: str, *patterns: Pattern) -> RewriteError:
    with pytest.raises(RewriteError) as caught:
        parse_rewrite(text, patterns)
    return caught.value


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("charts.example/stable/x", "charts.example/stable/x"),
        ("charts.example/$1", "charts.example/one"),
        ("charts.example/$2/$1", "charts.example/two/one"),
        ("charts.example/${1}0/${2}", "charts.example/one0/two"),
        ("$1.example/a-$2-b", "one.example/a-two-b"),
        ("$0", "whole/name"),
        ("charts.example/$0", "charts.example/whole/name"),
        ("charts.example/${0}/$01", "charts.example/whole/name/one"),
        ("$1$2/x", "onetwo/x"),
    ],
)
def test_captures_fill_the_holes(text: str, target: str) -> None:
    assert filled(text, "one", "two") == target


def test_a_capture_is_put_in_once_and_never_read_again() -> None:
    assert filled("a.example/$1", "$0$1${1}") == "a.example/$0$1${1}"


def test_captures_of_the_host_come_before_those_of_the_name() -> None:
    rewrite = parse_rewrite("$1.example.com/$2/${chart}/${team}", TWO)
    captures = Captures("a/b/c", ("eu", "a", "b/c"), tuple(capture_names(TWO).items()))
    assert rewrite.fill(captures) == "eu.example.com/a/b/c/a"
    assert rewrite.used == {1, 2, 3}
    assert captures.told() == {"$1": "eu", "$2": "a", "$3": "b/c", "${team}": "a", "${chart}": "b/c"}


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("charts.example/$1", "charts.example"),
        ("charts.example/x", "charts.example"),
        ("$1/x", None),
        ("$0", None),
        ("charts.$1/x", None),
        ("charts.example$1", None),
    ],
)
def test_the_host_is_known_where_it_is_written_and_no_capture_says_any_of_it(
    text: str, host: str | None
) -> None:
    assert parse_rewrite(text, [parse_pattern("*", Subject.REPOSITORY)]).host == host


ONE = parse_pattern("argo/*", Subject.REPOSITORY)


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("", 0, "expected a place"),
        ("a" * (MAX_LENGTH + 1), MAX_LENGTH, "at most 512"),
        ("charts.example/$2", 15, "no capture $2"),
        ("charts.example/$10", 15, "no capture $10"),
        ("charts.example/$1/${chart}", 18, "no capture ${chart}"),
        ("charts.example/${99}", 15, "no capture ${99}"),
        ("charts.example/$", 15, "followed by a number or a {name}"),
        ("charts.example/$x", 15, "followed by a number or a {name}"),
        ("charts.example/${1", 15, "followed by a number or a {name}"),
        ("charts.example/${}", 15, "followed by a number or a {name}"),
        ("charts.example/$$1", 15, "followed by a number or a {name}"),
        ("charts.example/$1/${a-b}", 18, "followed by a number or a {name}"),
        ("https://charts.example/$1", 0, "no scheme"),
        ("oci://$0", 0, "no scheme"),
        ("charts.example:5000/$1", 14, "no port"),
        ("charts.example/$1:80", 17, "no port"),
        ("charts.Example/$1", 0, "lower case"),
        ("charts.example", 0, "a host alone"),
        ("../admin", 0, "no repository name"),
        ("charts.example/../$1", 0, "no repository name"),
        ("charts.example//$1", 0, "no repository name"),
        ("charts.example/$1/", 0, "no repository name"),
        ("/charts.example/$1", 0, "no repository name"),
        ("user@charts.example/$1", 0, "no repository name"),
        ("charts.example:$1/x", 0, "no repository name"),
        ("charts.example./$1", 0, "no repository name"),
        ("127。0。0。1/$1", 0, "no repository name"),
        ("charts.example%2f/$1", 0, "no repository name"),
        ("charts.example\\@evil.com/$1", 0, "no repository name"),
        ("charts.example/$1\n", 0, "no repository name"),
        ("-$1/x", 0, "no repository name"),
        ("a/" * 200 + "$1", 0, "at most 255"),
    ],
)
def test_a_rewrite_that_can_lead_nowhere_is_told_with_the_place_of_the_mistake(
    text: str, offset: int, message: str
) -> None:
    error = refusal(text, ONE)
    assert (error.offset, message in str(error)) == (offset, True)


def test_an_unknown_capture_is_answered_with_those_there_are() -> None:
    assert refusal("a.example/$9", *TWO).hint == "this rule has $0, $1, $2, $3, ${chart}, ${team}"
    assert refusal("a.example/$1").hint == "this rule has $0"


def test_a_scheme_is_answered_with_the_rest() -> None:
    assert refusal("oci://charts.example/$1", ONE).hint == "write charts.example/$1"


def test_a_hole_may_be_all_there_is() -> None:
    assert parse_rewrite("$1", [ONE]) == Rewrite("$1", (1,))


def problem_of(rule: str) -> Problem:
    with pytest.raises(RulesError) as caught:
        load_rules(f"version: 1\nrules:\n- repository: argo/*\n  {rule}\n")
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("rule", "line", "column"),
    [
        ("rewrite: a.example/$2", 4, 22),
        ("rewrite: 'a.example/$2'", 4, 23),
        ('rewrite: "a.example/$2"', 4, 23),
        ("rewrite: [a.example/$1, b.example/$x]", 4, 37),
        ("rewrite:\n  - a.example/$1\n  - b.example:80/$1", 6, 14),
        ("rewrite:", 4, 11),
        ("rewrite: {a: b}", 4, 12),
        ("rewrite: []", 4, 12),
        ("rewrite: [[a.example/$1]]", 4, 13),
    ],
)
def test_the_place_is_that_in_the_file(rule: str, line: int, column: int) -> None:
    problem = problem_of(rule)
    assert (problem.line, problem.column, problem.key_path) == (line, column, "rules[1].rewrite")


_PIECES = st.sampled_from(
    ["a.example/", "b", "/", "-", ".", "$1", "$2", "${two}", "$0", "$", ":80", "A", "://"]
)
_TEXTS = st.sampled_from(["a", "b-c", "a/b", "..", "/", "", "a.b", "A", "x:80", "$1"])


@given(st.lists(_PIECES, max_size=6).map("".join), _TEXTS, _TEXTS)
def test_a_rewrite_is_refused_or_gives_what_it_says(text: str, one: str, two: str) -> None:
    rewrite = rewrite_or_refusal(text)
    if isinstance(rewrite, RewriteError):
        assert 0 <= rewrite.offset <= len(text)
        return
    said = rewrite.fill(Captures("w", (one, two)))
    holes = {"${two}": two, "$1": one, "$2": two, "$0": "w"}
    assert said == "".join(holes.get(piece, piece) for piece in _pieces(text))
    assert rewrite.host is None or said.startswith(f"{rewrite.host}/")


def rewrite_or_refusal(text: str) -> Rewrite | RewriteError:
    try:
        return parse_rewrite(text, [parse_pattern("~(.*)/(?P<two>.*)", Subject.REPOSITORY)])
    except RewriteError as error:
        return error


def _pieces(text: str) -> list[str]:
    for hole in ("${two}", "$1", "$2", "$0"):
        if text.startswith(hole):
            return [hole, *_pieces(text[len(hole) :])]
    return [text[0], *_pieces(text[1:])] if text else []


@given(st.lists(_PIECES, max_size=6).map("".join))
def test_with_a_simple_word_for_every_capture_it_is_a_name(text: str) -> None:
    rewrite = rewrite_or_refusal(text)
    if isinstance(rewrite, Rewrite):
        said = rewrite.fill(Captures("w", ("one", "two")))
        assert str(Target.parse(said)) == said


def test_a_capture_that_is_no_part_of_a_name_shows_only_when_it_is_asked() -> None:
    with pytest.raises(OciError):
        Target.parse(filled("a.example/$1", ".."))
