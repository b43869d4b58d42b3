"""A list outside, a bundle, and clients of every age behind an air-gap, with real clients."""

from pathlib import Path

import pytest

from tests.e2e.air_gap_story import tell_all

pytestmark = pytest.mark.e2e


def test_a_bundle_crosses_an_air_gap_and_serves_clients_of_every_age(tmp_path: Path) -> None:
    print("\n".join(tell_all(tmp_path).lines))  # noqa: T201 (for a test that fails)
