"""What fuzzing begins with, and what it found once, holds without a fuzzer too."""

import pytest

from tests.fuzz.all_targets import TARGETS, found_once

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", TARGETS)
def test_no_seed_and_no_former_finding_breaks_a_promise(name: str) -> None:
    target = TARGETS[name]
    for content in (*target.seeds, *(path.read_bytes() for path in found_once(name))):
        target.check(content)
