"""What every test may ask for."""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import structlog
from hypothesis import settings

pytest_plugins = ["tests.postgres", "tests.pull_house"]

_ALL_SLOW = re.compile(r"^pytestmark = \[?pytest\.mark\.slow", re.MULTILINE)
_BESIDE_THE_PROJECT = Path(__file__).resolve().parents[2] / "shared" / "corpus"


settings.register_profile("quick", max_examples=20)


def pytest_configure(config: pytest.Config) -> None:
    """Fewer examples where only the quick tests run: `make unit` is for every few minutes."""
    if "not slow" in config.getoption("markexpr"):
        settings.load_profile("quick")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import what is slow as a whole, where the slow is left out."""
    if "not slow" not in config.getoption("markexpr") or collection_path.suffix != ".py":
        return None
    return True if _ALL_SLOW.search(collection_path.read_text("utf-8")) else None


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command that a test runs in this process sets up logging for it alone."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        logging.basicConfig(handlers=[logging.NullHandler()], level=logging.WARNING, force=True)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Real charts and indexes; a machine without them skips, CI fails instead."""
    place = Path(os.environ.get("CHART_CORPUS", _BESIDE_THE_PROJECT))
    if not (place / "digests.tsv").is_file():
        missing(f"no chart corpus at {place}: set CHART_CORPUS")
    return place


def missing(reason: str) -> NoReturn:
    """Skip for what this machine lacks; in CI nothing may be lacking."""
    if os.environ.get("TESTS_SKIP_NOTHING"):
        pytest.fail(reason)
    pytest.skip(reason)
