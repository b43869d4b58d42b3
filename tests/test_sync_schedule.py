"""Mirror lists on schedule: due when their time has come, at once after a crash, and by one replica alone."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.app import Gateway, compose
from gateway.caretaker import sync_parts
from gateway.oci.postgres_url import PostgresUrl
from gateway.rule_revisions import InForce
from gateway.rules.load import load_rules
from gateway.rules.sync_lists import SyncList
from gateway.settings import Settings
from gateway.store.data_dir import DataDir
from gateway.store.job_book import DEAD_SECONDS
from gateway.store.retention import keeper_of_list
from gateway.store.sync_runs import Ended, RunState, SyncRuns
from gateway.sync_schedule import SyncSchedule
from gateway.sync_work import SCHEDULE, Syncer
from tests.composed import FakeDns
from tests.sources.helm_parts import Clock
from tests.sync_house import DEMO, Mirror, World, mirror, world

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # whole gateways, live servers

HOUR = 3600.0
RULES = f"    every: 1h\n    charts:\n      - repository: {DEMO}\n"


@dataclass(slots=True)
class House:
    """A schedule on a mirror, with a clock that a test turns, and lists that it changes."""

    mirror: Mirror
    clock: Clock
    lists: list[SyncList]
    is_offline: str = ""

    @property
    def schedule(self) -> SyncSchedule:
        parts = self.mirror.parts
        return SyncSchedule(
            lambda: self.lists, Syncer(parts), parts.runs, lambda: bool(self.is_offline), self.clock
        )

    @property
    def runs(self) -> SyncRuns:
        return self.mirror.parts.runs

    async def is_due(self) -> bool:
        return bool(await self.schedule.due())


@pytest.fixture
def upstreams() -> Iterator[World]:
    with world() as made:
        yield made


@pytest.fixture
async def at(tmp_path: Path, upstreams: World) -> AsyncIterator[House]:
    clock = Clock(time.time())  # of runs alone: upstreams are asked by the real one
    async with mirror(tmp_path / "data", upstreams.rules(RULES)) as made:
        runs = SyncRuns(made.gateway.desk.engines, clock)
        ticking = Mirror(made.at, replace(made.parts, runs=runs), made.names)
        yield House(ticking, clock, [made.wanted])


async def test_a_new_list_is_due_soon_and_not_at_once_with_all_others(at: House) -> None:
    schedule = at.schedule
    await schedule.due()
    at.clock.advance(HOUR / 10)
    assert [one.name for one in await schedule.due()] == ["base"]


async def test_it_is_due_again_after_its_interval_give_or_take_a_tenth(at: House) -> None:
    await at.mirror.run()
    assert not await at.is_due()
    at.clock.advance(0.89 * HOUR)
    assert not await at.is_due()
    at.clock.advance(0.22 * HOUR)
    assert await at.is_due()


async def test_a_shorter_interval_counts_at_once(at: House) -> None:
    await at.mirror.run()
    at.lists = [replace(at.lists[0], every_seconds=60.0)]
    at.clock.advance(67)
    assert await at.is_due()


async def test_without_an_interval_it_never_is(at: House) -> None:
    at.lists = [replace(at.lists[0], every_seconds=None)]
    at.clock.advance(100 * HOUR)
    assert not await at.is_due()


async def test_a_run_that_died_is_due_at_once_and_one_that_lives_goes_on_alone(
    at: House, upstreams: World
) -> None:
    await at.runs.begin("base", SCHEDULE)
    assert await at.is_due()
    async with at.mirror.parts.locks.try_hold("sync:base") as is_alive:
        assert is_alive
        await at.schedule.bring(at.lists[0])
    assert upstreams.repo.requests == []
    at.clock.advance(DEAD_SECONDS + 1)
    assert await at.is_due()
    await at.schedule.bring(at.lists[0])
    assert await at.mirror.held() == {f"{DEMO}:1.0.0"}


async def test_a_run_that_somebody_cancelled_waits_for_its_turn(at: House) -> None:
    await at.runs.begin("base", "me")
    await at.runs.end(Ended("base", RunState.INTERRUPTED, "", at.clock() + HOUR))
    assert not await at.is_due()


async def test_a_clock_that_was_set_back_does_not_keep_it(at: House) -> None:
    await at.mirror.run()
    at.clock.advance(-1000 * HOUR)
    assert await at.is_due()


async def test_offline_nothing_is_due(at: House) -> None:
    at.is_offline = "yes"
    await at.runs.begin("base", SCHEDULE)
    at.clock.advance(10 * HOUR)
    assert not await at.is_due()


async def test_a_list_that_is_gone_keeps_nothing_and_its_content_stays(at: House) -> None:
    await at.mirror.run()
    at.lists = []
    with capture_logs() as logs:
        assert await at.schedule.due() == []
    assert [log["list"] for log in logs if log["event"] == "sync_list_gone"] == ["base"]
    assert await at.runs.all() == []
    assert await at.mirror.parts.book.of(keeper_of_list("base")) == []
    assert await at.mirror.held() == {f"{DEMO}:1.0.0"}


async def test_what_came_of_it_is_told(at: House, upstreams: World) -> None:
    await at.runs.begin("base", SCHEDULE)
    at.clock.advance(DEAD_SECONDS + 1)
    with capture_logs() as logs:
        await at.schedule.bring(at.lists[0])
    (done,) = [log for log in logs if log["event"] == "sync_done"]
    assert (done["list"], done["fetched"], done["removed"], done["failures"]) == ("base", 1, 0, 0)
    upstreams.repo.go_down()
    at.clock.advance(2 * HOUR)
    with capture_logs() as logs:
        await at.schedule.bring(at.lists[0])
    (failed,) = [log for log in logs if log["event"] == "sync_failed"]
    assert (failed["list"], failed["failures"]) == ("base", 1)
    run = await at.runs.find("base")
    assert run is not None
    assert (run.state, run.actor) == (RunState.FAILED, SCHEDULE)


async def test_a_look_that_fails_is_told_and_the_next_one_comes(at: House) -> None:
    looked = asyncio.Event()

    def lists() -> Sequence[SyncList]:
        if not logs:
            raise RuntimeError("a test")
        looked.set()
        return []

    async def sleep(_seconds: float) -> None:
        await asyncio.sleep(0)

    schedule = SyncSchedule(lists, Syncer(at.mirror.parts), at.runs, lambda: True, at.clock, sleep=sleep)
    with capture_logs() as logs:
        running = asyncio.create_task(schedule.run())
        await asyncio.wait_for(looked.wait(), 30)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [(one["event"], one["job"]) for one in logs] == [("upkeep_failed", "sync")]


@asynccontextmanager
async def replica(folder: Path, url: PostgresUrl, rules: str) -> AsyncIterator[Gateway]:
    data_dir = DataDir(folder, url)
    data_dir.prepare()
    gateway = compose(
        Settings(data_dir=folder), data_dir, InForce(load_rules(f"version: 1\n{rules}")), resolver=FakeDns()
    )
    try:
        yield gateway
    finally:
        await gateway.close()
        data_dir.close()


async def test_of_several_replicas_one_brings_a_list_up_to_date(
    tmp_path: Path, postgres_url: PostgresUrl, upstreams: World
) -> None:
    clock = Clock(time.time())
    async with AsyncExitStack() as stack:
        schedules: list[SyncSchedule] = []
        for number in range(3):
            opened = replica(tmp_path / str(number), postgres_url, upstreams.rules(RULES))
            gateway = await stack.enter_async_context(opened)
            runs = SyncRuns(gateway.desk.engines, clock)
            parts = replace(sync_parts(gateway), runs=runs)
            (wanted,) = gateway.switch.in_force.rule_set.sync
            schedules.append(
                SyncSchedule(lambda one=wanted: [one], Syncer(parts), runs, lambda: False, clock)  # type: ignore[misc]
            )
        await runs.begin("base", SCHEDULE)
        clock.advance(DEAD_SECONDS + 1)  # who began it is gone
        assert [len(await schedule.due()) for schedule in schedules] == [1, 1, 1]
        with capture_logs() as logs:
            await asyncio.gather(*(schedule.bring(wanted) for schedule in schedules))
            await schedules[0].bring(wanted)  # that it was due was true a moment ago
        assert [log["event"] for log in logs if log["event"].startswith("sync")] == ["sync_done"]
    assert upstreams.repo.count_of("demo-1.0.0.tgz") == 1
