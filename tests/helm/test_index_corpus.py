"""On real indexes the quick way is taken for every chart, and gives what the whole parse gives."""

import json
from collections import Counter
from pathlib import Path

import pytest

from gateway.helm.index import find_chart
from gateway.helm.index_cut import NotQuick
from gateway.helm.index_whole import find_in_normalised, normalise_index

pytestmark = pytest.mark.slow  # many small tests, seconds together

_ABSENT = ("absent", "arg", "cd", "cloudnative", "entries", "generated", "name")


@pytest.mark.parametrize(
    ("place", "charts"), [("argoproj.github.io/argo-helm", 11), ("cloudnative-pg.github.io/charts", 5)]
)
def test_the_quick_way_is_taken_on_real_indexes(corpus: Path, place: str, charts: int) -> None:
    content = (corpus / place / "index.yaml").read_bytes()
    normalised = normalise_index(content)
    names = [json.loads(line.split(b"\t")[0]) for line in normalised.splitlines()[1:]]
    assert len(names) == charts
    ways: Counter[str] = Counter()
    for name in (*names, *_ABSENT):
        try:
            assert find_chart(content, name) == find_in_normalised(normalised, name)
            ways["quick"] += 1
        except NotQuick:
            ways["whole"] += 1
    assert ways == {"quick": len(names) + len(_ABSENT)}
