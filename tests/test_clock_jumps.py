"""A clock that is wrong for a while: upstream is asked more often, and no answer lasts for years."""

from pathlib import Path

import pytest

from gateway.oci.errors import ErrorCode
from gateway.oci.outcomes import Unavailable
from gateway.pulled import Cache
from tests.fakes.source import layer_of
from tests.pull_house import FIRST, house

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

DAY = 86_400.0
_JUMPS = [pytest.param(-2 * DAY, id="two-days-back"), pytest.param(3650 * DAY, id="ten-years-on")]


@pytest.mark.parametrize("jump_seconds", _JUMPS)
async def test_what_was_confirmed_by_a_wrong_clock_is_confirmed_anew_and_served_while_upstream_is_down(
    tmp_path: Path, jump_seconds: float
) -> None:
    async with house(tmp_path) as before:
        before.clock.seconds += jump_seconds
        assert await before.pull() == (Cache.MISS, FIRST)
        before.clock.seconds -= jump_seconds
        before.source.failure = Unavailable("down")
        assert (await before.pull())[1] == FIRST
        before.source.failure = None
    async with house(tmp_path, before=before) as at:
        asked = len(at.source.asked)
        assert (await at.pull())[1] == FIRST
        assert await at.pull() == (Cache.HIT, FIRST)
        assert len(at.source.asked) == asked + 1
        assert await at.is_confirmed()


@pytest.mark.parametrize("jump_seconds", _JUMPS)
async def test_a_jump_while_it_runs_and_back_changes_no_answer(tmp_path: Path, jump_seconds: float) -> None:
    async with house(tmp_path) as at:
        assert await at.pull() == (Cache.MISS, FIRST)
        for _ in range(2):
            at.clock.seconds += jump_seconds
            assert (await at.pull())[1] == FIRST
            at.clock.seconds -= jump_seconds
            assert (await at.pull())[1] == FIRST


@pytest.mark.parametrize("jump_seconds", _JUMPS)
async def test_that_nobody_had_it_is_not_believed_for_longer_than_ever(
    tmp_path: Path, jump_seconds: float
) -> None:
    async with house(tmp_path) as at:
        at.clock.seconds += jump_seconds
        assert await at.code("2.0.0") is ErrorCode.MANIFEST_UNKNOWN
        at.clock.seconds -= jump_seconds
        at.source.layers["2.0.0"] = layer_of("2.0.0")
        assert (await at.pull("2.0.0"))[0] is Cache.MISS
