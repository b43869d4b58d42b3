"""Jobs as rows: the newest are kept, and one whose process is gone does not seem to run."""

import pytest

from gateway.store.engine import Engines
from gateway.store.job_book import DEAD_SECONDS, MOST_KEPT, JobBook, JobState, Sign

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # each on both databases

NOW = 1000.0


@pytest.fixture
def book(engines: Engines) -> JobBook:
    return JobBook(engines)


async def added(book: JobBook, now: float = NOW) -> int:
    return (await book.add("pull", "demo:1.0.0", "me", now)).number


async def state(book: JobBook, number: int, now: float = NOW) -> JobState | None:
    found = await book.find(number, now)
    return None if found is None else found.state


async def test_a_job_is_told_as_it_was_noted_last(book: JobBook) -> None:
    number = await added(book)
    assert await state(book, number) is JobState.QUEUED
    await book.note([Sign(number, JobState.RUNNING, 1, 3, "one of three")], NOW + 1)
    running = await book.find(number, NOW + 1)
    assert running is not None
    assert (running.kind, running.subject, running.actor) == ("pull", "demo:1.0.0", "me")
    assert (running.state, running.done, running.total) == (JobState.RUNNING, 1, 3)
    assert (running.message, running.begun_at, running.ended_at) == ("one of three", NOW, None)
    await book.note([Sign(number, JobState.DONE, 3, 3, "all")], NOW + 2)
    done = await book.find(number, NOW + 2 * DEAD_SECONDS)
    assert done is not None
    assert (done.state, done.ended_at) == (JobState.DONE, NOW + 2)
    assert await book.find(number + 1, NOW) is None


async def test_an_end_is_not_taken_back(book: JobBook) -> None:
    number = await added(book)
    await book.note([Sign(number, JobState.FAILED, 1, 3, "no")], NOW + 1)
    await book.note([Sign(number, JobState.RUNNING, 2, 3, "late")], NOW + 2)
    assert await state(book, number) is JobState.FAILED


async def test_who_gave_no_sign_for_long_was_interrupted(book: JobBook) -> None:
    number, other = await added(book), await added(book)
    later = NOW + DEAD_SECONDS + 1
    await book.note([Sign(other, JobState.RUNNING, 0, 0, "")], later)
    found = await book.find(number, later)
    assert found is not None
    assert (found.state, found.ended_at) == (JobState.INTERRUPTED, NOW)
    assert [job.number for job in await book.list([JobState.INTERRUPTED], None, 10, later)] == [number]
    assert [job.number for job in await book.list([JobState.RUNNING], None, 10, later)] == [other]
    assert await book.list([JobState.QUEUED], None, 10, later) == []


async def test_they_are_listed_newest_first_a_page_at_a_time(book: JobBook) -> None:
    numbers = [await added(book) for _ in range(5)]
    first = await book.list([], None, 2, NOW)
    assert [job.number for job in first] == [numbers[4], numbers[3]]
    rest = await book.list([], first[-1].number, 10, NOW)
    assert [job.number for job in rest] == numbers[2::-1]


async def test_the_newest_are_kept_and_those_that_live(book: JobBook) -> None:
    alive, over = await added(book), await added(book)
    await book.note([Sign(over, JobState.DONE, 1, 1, "")], NOW)
    for _ in range(MOST_KEPT):
        newest = await added(book)
    assert await state(book, over) is None
    assert await state(book, alive) is JobState.QUEUED
    await added(book, NOW + DEAD_SECONDS + 1)
    assert await state(book, alive) is None
    assert await state(book, newest) is JobState.QUEUED
