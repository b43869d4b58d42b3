"""The quick way never says anything else than the whole parse; it may only pass."""

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings

from gateway.helm.index import ChartEntries, find_chart, find_versions
from gateway.helm.index_cut import NotQuick
from gateway.helm.index_whole import BrokenIndex, find_in_normalised, normalise_index
from tests.helm.indexes import CHARTS, emitted, glued

pytestmark = pytest.mark.slow

_QUIET = settings(deadline=None, suppress_health_check=list(HealthCheck))


_VERSIONS = frozenset(("1.0.0", "v1.0.0", "v1.2.3-rc.1", "2", "9.9.9"))


def compare(content: bytes) -> Counter[str]:
    """Ask both ways for every chart; return how often each outcome was."""
    try:
        normalised = normalise_index(content)
    except BrokenIndex:
        return Counter({"broken": 1})
    outcomes = Counter({"whole": 1})
    for chart in (*CHARTS, "absent", "a", "key"):
        expected = find_in_normalised(normalised, chart)
        try:
            assert find_chart(content, chart) == expected, chart
            outcomes["absent" if expected is None else "found"] += 1
        except NotQuick:
            outcomes["not quick"] += 1
        with suppress(NotQuick):
            assert find_versions(content, chart, _VERSIONS) == _only(expected, _VERSIONS), chart
            outcomes["versions"] += 1
    return outcomes


def _only(entries: ChartEntries | None, versions: frozenset[str]) -> ChartEntries | None:
    if entries is None:
        return None
    return ChartEntries(tuple(version for version in entries.versions if version.version in versions))


@settings(_QUIET, max_examples=100)
@given(glued())
def test_the_quick_way_gives_what_the_whole_parse_gives_for_hostile_text(content: bytes) -> None:
    compare(content)


@settings(_QUIET, max_examples=100)
@given(emitted())
def test_the_quick_way_gives_what_the_whole_parse_gives_for_what_emitters_write(content: bytes) -> None:
    compare(content)
