"""The last run of each mirror list as a row: whoever looks sees how it stands, or that it died."""

import pytest

from gateway.oci.target import Target
from gateway.store.engine import Engines
from gateway.store.job_book import DEAD_SECONDS
from gateway.store.retention import IMPORT, Retention, RetentionBook, keeper_of_list
from gateway.store.sync_runs import Ended, RunState, SyncRuns
from tests.sources.helm_parts import Clock

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # each on both databases

KEPT = Retention(Target.parse("charts.example.test/demo"), "1.0.0", "charts.example.test/demo")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def runs(engines: Engines, clock: Clock) -> SyncRuns:
    return SyncRuns(engines, clock)


async def test_a_run_is_told_as_it_was_noted_last(runs: SyncRuns, clock: Clock) -> None:
    assert await runs.find("base") is None
    await runs.begin("base", "me")
    began_at = clock()
    clock.advance(5)
    await runs.note("base", "1 of 3")
    running = await runs.find("base")
    assert running is not None
    assert (running.state, running.actor, running.report) == (RunState.RUNNING, "me", "1 of 3")
    assert (running.begun_at, running.ended_at, running.next_at) == (began_at, None, None)
    clock.advance(5)
    await runs.end(Ended("base", RunState.DONE, "{}", clock() + 60))
    (done,) = await runs.all()
    assert (done.state, done.report, done.ended_at, done.next_at) == (
        RunState.DONE,
        "{}",
        clock(),
        clock() + 60,
    )


async def test_who_gave_no_sign_for_long_was_interrupted(runs: SyncRuns, clock: Clock) -> None:
    await runs.begin("base", "me")
    clock.advance(DEAD_SECONDS + 1)
    found = await runs.find("base")
    assert found is not None
    assert (found.state, found.ended_at) == (RunState.INTERRUPTED, found.noted_at)
    assert [run.state for run in await runs.all()] == [RunState.INTERRUPTED]


async def test_a_late_sign_does_not_take_an_end_back(runs: SyncRuns) -> None:
    await runs.begin("base", "me")
    await runs.end(Ended("base", RunState.FAILED, "{}", None))
    await runs.note("base", "late")
    found = await runs.find("base")
    assert found is not None
    assert (found.state, found.report) == (RunState.FAILED, "{}")


async def test_a_list_that_is_gone_keeps_nothing_and_others_do(runs: SyncRuns, engines: Engines) -> None:
    book = RetentionBook(engines)
    await runs.begin("base", "me")
    await runs.begin("gone", "me")
    for keeper in (keeper_of_list("base"), keeper_of_list("gone"), keeper_of_list("never ran"), IMPORT):
        await book.retain(keeper, [KEPT], 1.0)
    assert await runs.forget_others(["base"]) == ["gone", "never ran"]
    assert [run.name for run in await runs.all()] == ["base"]
    assert await book.of(keeper_of_list("base")) == [KEPT]
    assert await book.of(IMPORT) == [KEPT]
    assert await book.of(keeper_of_list("gone")) == await book.of(keeper_of_list("never ran")) == []
    await runs.end(Ended("gone", RunState.DONE, "{}", None))
    assert await runs.find("gone") is None
    assert await runs.forget_others(["base"]) == []
