"""What every test may ask for."""

import os
from pathlib import Path
from typing import NoReturn

import pytest

_BESIDE_THE_PROJECT = Path(__file__).resolve().parents[2] / "shared" / "corpus"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Real charts and indexes; a machine without them skips, CI fails instead."""
    place = Path(os.environ.get("CHART_CORPUS", _BESIDE_THE_PROJECT))
    if not (place / "digests.tsv").is_file():
        missing(f"no chart corpus at {place}: set CHART_CORPUS")
    return place


def missing(reason: str) -> NoReturn:
    """Skip for what this machine lacks; in CI nothing may be lacking."""
    if os.environ.get("GATEWAY_TESTS_SKIP_NOTHING"):
        pytest.fail(reason)
    pytest.skip(reason)
