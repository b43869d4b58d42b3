"""Real indexes have an outline, and what is written after it is the same index with our URLs."""

from pathlib import Path

import pytest

from gateway.helm.index_outline import outline
from tests.helm.outlines import assert_outlined, assert_rewritten

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("place", "entries"), [("argoproj.github.io/argo-helm", 1628), ("cloudnative-pg.github.io/charts", 86)]
)
def test_a_real_index_is_rewritten_without_being_parsed(corpus: Path, place: str, entries: int) -> None:
    content = (corpus / place / "index.yaml").read_bytes()
    found = outline(content)
    assert sum(map(len, found.charts.values())) == entries
    assert_outlined(content, found)
    assert_rewritten(content, found)
