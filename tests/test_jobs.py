"""Jobs: a few at a time, told while they run, ended on request, and never left as if they ran."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.jobs import NOTE_SECONDS, QUEUED, RUNNING, JobDesk, JobFailed, JobKind, Progress
from gateway.oci.errors import OciError, Situation
from gateway.store.admin_tables import metadata
from gateway.store.engine import Engines
from gateway.store.job_book import DEAD_SECONDS, Job, JobBook, JobState
from tests.sources.helm_parts import Clock, open_catalog

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # a catalog each


@dataclass
class Ticking:
    """A sleep that a test ends; a tick moves the clock on."""

    clock: Clock
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    is_asleep: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, seconds: float) -> None:
        assert seconds == NOTE_SECONDS
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        self.is_asleep.set()
        await future

    async def tick(self, seconds: float = NOTE_SECONDS) -> None:
        """One turn of who sleeps, from sleep to sleep."""
        await self.is_asleep.wait()
        self.is_asleep.clear()
        self.clock.advance(seconds)
        self.waiting.pop().set_result(None)
        await self.is_asleep.wait()


@dataclass
class House:
    desk: JobDesk
    book: JobBook
    clock: Clock
    sleep: Ticking

    async def start(self, run: Callable[[Progress], Awaitable[str]]) -> Job:
        return await self.desk.start(JobKind.PULL, "demo", "me", run)

    async def written(self, number: int) -> Job:
        """As another process sees it."""
        found = await self.book.find(number, self.clock())
        assert found is not None
        return found


@pytest.fixture
async def engines(tmp_path: Path) -> AsyncIterator[Engines]:
    opened = open_catalog(tmp_path)
    metadata.create_all(opened.writer)
    yield opened
    await opened.close()


@pytest.fixture
async def at(engines: Engines) -> AsyncIterator[House]:
    clock, book = Clock(), JobBook(engines)
    sleep = Ticking(clock)
    desk = JobDesk(book, clock, sleep)
    yield House(desk, book, clock, sleep)
    await desk.close()


async def for_ever(_progress: Progress) -> str:
    await asyncio.Event().wait()
    return "never"


async def test_what_a_job_came_to_is_told(at: House) -> None:
    async def run(progress: Progress) -> str:
        progress(1, 1, "there")
        return "all of it"

    job = await at.start(run)
    done = await at.desk.ended(job.number)
    assert (done.state, done.message, done.done, done.total) == (JobState.DONE, "all of it", 1, 1)
    assert await at.written(job.number) == done


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (JobFailed("two were not had"), "two were not had"),
        (OciError(Situation.SOURCES_DOWN, "nobody answers"), "nobody answers"),
        (RuntimeError("secret"), "a fault of the gateway's own: the log has it"),
    ],
)
async def test_why_a_job_failed_is_told(at: House, error: Exception, told: str) -> None:
    async def run(_progress: Progress) -> str:
        raise error

    job = await at.start(run)
    done = await at.desk.ended(job.number)
    assert (done.state, done.message) == (JobState.FAILED, told)


async def test_how_far_it_is_is_written_once_a_second(at: House) -> None:
    go_on = asyncio.Event()

    async def run(progress: Progress) -> str:
        for done in range(1000):
            progress(done, 1000)
        await go_on.wait()
        return ""

    job = await at.start(run)
    await at.sleep.tick()
    written = await at.written(job.number)
    assert (written.state, written.done, written.total) == (JobState.RUNNING, 999, 1000)
    go_on.set()
    await at.desk.ended(job.number)


async def test_this_process_tells_at_once(at: House) -> None:
    told = asyncio.Event()

    async def run(progress: Progress) -> str:
        progress(5, 7, "on the way")
        told.set()
        return await for_ever(progress)

    job = await at.start(run)
    await told.wait()
    assert (await at.desk.find(job.number)).message == "on the way"
    assert [one.done for one in await at.desk.list()] == [5]


async def test_one_that_says_nothing_still_lives(at: House) -> None:
    job = await at.start(for_ever)
    for _ in range(12):
        await at.sleep.tick(DEAD_SECONDS / 4)
    assert (await at.written(job.number)).state is JobState.RUNNING


async def test_a_few_run_the_others_wait_and_too_many_are_refused(at: House) -> None:
    jobs = [await at.start(for_ever) for _ in range(RUNNING + QUEUED)]
    with pytest.raises(OciError, match="100 jobs wait already") as caught:
        await at.start(for_ever)
    assert caught.value.situation is Situation.RATE_LIMITED
    states = [(await at.desk.find(job.number)).state for job in jobs]
    assert states == [JobState.RUNNING] * RUNNING + [JobState.QUEUED] * QUEUED
    assert await at.desk.cancel(jobs[0].number)
    assert (await at.desk.find(jobs[RUNNING].number)).state is JobState.RUNNING


async def test_one_that_runs_or_waits_can_be_cancelled_once(at: House) -> None:
    jobs = [await at.start(for_ever) for _ in range(RUNNING + 1)]
    for job in (jobs[-1], jobs[0]):
        assert await at.desk.cancel(job.number)
        assert (await at.written(job.number)).state is JobState.CANCELLED
        assert not await at.desk.cancel(job.number)
    assert not await at.desk.cancel(999)


async def test_with_the_process_its_jobs_are_interrupted(at: House) -> None:
    jobs = [await at.start(for_ever) for _ in range(RUNNING + 2)]
    await asyncio.sleep(0)
    await at.desk.close()
    assert {(await at.written(job.number)).state for job in jobs} == {JobState.INTERRUPTED}


async def test_jobs_of_a_process_that_died_read_as_interrupted(at: House, engines: Engines) -> None:
    dead = (await at.book.add("pull", "demo", "me", at.clock())).number
    at.clock.advance(DEAD_SECONDS + 1)
    desk = JobDesk(JobBook(engines), at.clock)
    assert (await desk.find(dead)).state is JobState.INTERRUPTED
    assert [job.number for job in await desk.list("interrupted")] == [dead]
    assert not await desk.cancel(dead)


async def test_a_job_that_is_not_there_is_said_so(at: House) -> None:
    with pytest.raises(OciError, match="no job 7"):
        await at.desk.find(7)
