"""The soak that runs for 20 minutes by hand holds its promises for half a minute too, as far as it gets."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

_MINUTES = "0.4"
_PATIENCE_SECONDS = 180.0


def test_a_short_soak_ends_without_a_broken_promise() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.soak", _MINUTES],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
