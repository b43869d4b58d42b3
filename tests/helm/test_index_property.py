"""The quick way never says anything else than the whole parse; it may only pass."""

from collections import Counter

from hypothesis import HealthCheck, given, settings

from gateway.helm.index import find_chart
from gateway.helm.index_cut import NotQuick
from gateway.helm.index_whole import BrokenIndex, find_in_normalised, normalise_index
from tests.helm.indexes import CHARTS, emitted, glued

_QUIET = settings(deadline=None, suppress_health_check=list(HealthCheck))


def compare(content: bytes) -> Counter[str]:
    """Ask both ways for every chart; return how often each outcome was."""
    try:
        normalised = normalise_index(content)
    except BrokenIndex:
        return Counter({"broken": 1})
    outcomes = Counter({"whole": 1})
    for chart in (*CHARTS, "absent", "a", "key"):
        try:
            quick = find_chart(content, chart)
        except NotQuick:
            outcomes["not quick"] += 1
        else:
            assert quick == find_in_normalised(normalised, chart), chart
            outcomes["absent" if quick is None else "found"] += 1
    return outcomes


@settings(_QUIET, max_examples=150)
@given(glued())
def test_the_quick_way_gives_what_the_whole_parse_gives_for_hostile_text(content: bytes) -> None:
    compare(content)


@settings(_QUIET, max_examples=150)
@given(emitted())
def test_the_quick_way_gives_what_the_whole_parse_gives_for_what_emitters_write(content: bytes) -> None:
    compare(content)
