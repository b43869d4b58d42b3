"""An outcome arrives in another process as what it was."""

from collections.abc import Iterator
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oci.outcome_text import outcome_from_text, outcome_to_text
from gateway.oci.outcomes import (
    Corrupt,
    Denied,
    Missing,
    MissingName,
    NotThisKind,
    Outcome,
    Skipped,
    Unavailable,
    UnknownHost,
    Withheld,
)

EVERY_KIND = [
    Missing("demo:1.0.0: 404"),
    MissingName("no such repository"),
    UnknownHost("charts.example.com has no address", is_refused=True),
    NotThisKind("a host that is none"),
    Withheld("not for everyone"),
    Skipped("not for this route"),
    Denied("401"),
    Unavailable("timed out", 7, is_rate_limited=True),
    Unavailable("down"),
    Corrupt("another digest", "digest"),
]
NO_OUTCOMES = [
    '{"kind":"Missing","message":"x"}',
    '{"kind":"Missing","message":1,"tried":[]}',
    '{"kind":"Unavailable","message":"x","tried":[]}',
    '{"kind":"KeyError","message":"x","tried":[]}',
    "[]",
]


def kinds_below(kind: type[Outcome]) -> Iterator[type[Outcome]]:
    for below in kind.__subclasses__():
        if below.__module__ == Outcome.__module__:
            yield below
            yield from kinds_below(below)


@pytest.mark.parametrize("outcome", EVERY_KIND, ids=repr)
def test_every_kind_is_told_with_every_field(outcome: Outcome) -> None:
    outcome.tried = ("registry: 404", "chartproxy: timed out after 5 s")
    told = outcome_from_text(outcome_to_text(outcome))
    assert type(told) is type(outcome)
    assert asdict(told) == asdict(outcome)
    assert str(told) == outcome.message
    assert told is not outcome


def test_no_kind_is_left_out() -> None:
    assert set(kinds_below(Outcome)) == {type(outcome) for outcome in EVERY_KIND}


@given(st.text())
def test_any_message_survives(message: str) -> None:
    assert outcome_from_text(outcome_to_text(Missing(message))).message == message


@given(
    st.text() | st.sampled_from(['{"kind":"Unavailable","message":"x"}', '{"kind":"KeyError","message":""}'])
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        outcome_from_text(text)
