"""The real charts and indexes, where this machine has them."""

import os
from pathlib import Path

_BESIDE_THE_PROJECT = Path(__file__).resolve().parents[2] / "shared" / "corpus"
ARGO = Path("argoproj.github.io", "argo-helm")


def find_corpus() -> Path | None:
    """Return its folder, as the tests do; None where it is absent."""
    place = Path(os.environ.get("CHART_CORPUS", _BESIDE_THE_PROJECT))
    return place if (place / "digests.tsv").is_file() else None
