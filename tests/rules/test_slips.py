"""Patterns are questioned where they surely mean something else, and only there."""

import pytest

from gateway.rules.patterns import Subject, parse_pattern
from gateway.rules.slips import Slip, slips

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests


def messages(text: str, subject: Subject = Subject.REPOSITORY) -> list[str]:
    return [slip.message for slip in slips(parse_pattern(text, subject), subject)]


def one(text: str) -> Slip:
    (slip,) = slips(parse_pattern(text, Subject.REPOSITORY), Subject.REPOSITORY)
    return slip


@pytest.mark.parametrize(
    ("glob", "meant"),
    [("argo.*", "argo/*"), ("a/prom-x.*", "prom-x/*"), ("a/.*", "* or **"), ("a/b.*/c", "b/*")],
)
def test_a_dot_before_a_star_asks_whether_a_segment_was_meant(glob: str, meant: str) -> None:
    slip = one(glob)
    assert "stands for itself" in slip.message
    assert slip.hint == f"write {meant} for whole segments; a regular expression begins with ~"


@pytest.mark.parametrize(
    "glob", ["argo.*/x", "charts.example.*/**", "a/1.*", "a/v2.*", "a/*.*", "a/b.c", "a/x.*y"]
)
def test_a_dot_that_may_be_meant_is_not_questioned(glob: str) -> None:
    assert messages(glob) == []


def test_a_dot_between_letters_of_an_expression_is_any_character() -> None:
    assert one("~ghcr.io/x") == Slip("the . in ghcr.io is any character", r"write ghcr\.io")
    assert one("~(my-charts.example)/x").hint == r"write my-charts\.example"
    assert messages("~a.example", Subject.HOST) == ["the . in a.example is any character"]


@pytest.mark.parametrize(
    "expression",
    [r"~ghcr\.io/x", "~ghcr[.]io/x", "~[a.b]/x", "~a.?b", "~a/.b", r"~\Qghcr.io\E/x", r"~\d.b", "~a.b?"],
)
def test_a_dot_with_a_reason_is_not_questioned(expression: str) -> None:
    assert messages(expression) == (["the . in a.b is any character"] if expression == "~a.b?" else [])


@pytest.mark.parametrize("expression", ["~.*/x", "~(.+)/x", "~a-.+(/x)?", "~(?P<a>.*)-(.+)/x"])
def test_a_dot_star_before_a_slash_matches_slashes_too(expression: str) -> None:
    assert [message for message in messages(expression) if message.endswith("matches / too")] != []


@pytest.mark.parametrize("expression", ["~x/.*", "~[^/]+/x", r"~a\.+/x", "~[.+]/x", "~.+|a/b", "~.{2}/x"])
def test_an_expression_that_keeps_to_its_segment_is_not_questioned(expression: str) -> None:
    assert messages(expression) == []


def test_hosts_have_no_slashes_and_globs_of_hosts_no_slips() -> None:
    assert messages("~.*/x", Subject.HOST) == []
    assert messages("argo.*", Subject.HOST) == []


@pytest.mark.parametrize("expression", ["~^a/b", "~a/b$", "~^a/b$"])
def test_anchors_say_what_holds_anyway(expression: str) -> None:
    assert messages(expression) == ["it always has to match the whole"]


def test_each_kind_is_told_once() -> None:
    assert len(messages("~^a.b/.*/c.d/.*/e.f$")) == 3
