"""An outline says what the whole parse says, and what is written after it is the same index; or it passes."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings

from gateway.helm.index_cut import NotQuick
from gateway.helm.index_outline import outline
from gateway.helm.index_whole import BrokenIndex, normalise_index
from tests.helm.indexes import emitted, glued
from tests.helm.outlines import assert_outlined, assert_rewritten
from tests.helm.sound_indexes import sound

pytestmark = pytest.mark.slow

_QUIET = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=100)


def compare(content: bytes) -> str:
    """Ask both ways; return what came of it."""
    try:
        normalise_index(content)
    except BrokenIndex:
        with suppress(NotQuick):
            outline(content)
        return "broken"
    try:
        found = outline(content)
    except NotQuick:
        return "not quick"
    assert_outlined(content, found)
    assert_rewritten(content, found)
    return "entries" if any(found.charts.values()) else "empty"


@_QUIET
@given(glued())
def test_an_outline_of_hostile_text_is_what_the_whole_parse_finds(content: bytes) -> None:
    compare(content)


@_QUIET
@given(emitted())
def test_an_outline_of_what_emitters_write_is_what_the_whole_parse_finds(content: bytes) -> None:
    compare(content)


@_QUIET
@given(sound())
def test_an_outline_of_an_index_full_of_what_looks_like_one_is_what_the_whole_parse_finds(
    content: bytes,
) -> None:
    compare(content)
