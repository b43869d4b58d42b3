"""One running fetch per key: its result, or its error, reaches every waiter."""

import asyncio
from contextvars import ContextVar

import pytest

from gateway.flights import FLIGHT_SECONDS, Flights


class Work:
    """Counts how often it was started, and ends when told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.started = 0
        self.gate = asyncio.Event()
        self._error = error

    async def __call__(self) -> int:
        self.started += 1
        await self.gate.wait()
        if self._error is not None:
            raise self._error
        return self.started


@pytest.mark.anyio
async def test_all_who_ask_meanwhile_get_the_one_result() -> None:
    flights, work = Flights[int](), Work()
    waiting = [asyncio.create_task(flights.join("a", work)) for _ in range(200)]
    await asyncio.sleep(0)
    work.gate.set()
    assert await asyncio.gather(*waiting) == [1] * 200
    assert work.started == 1


@pytest.mark.anyio
async def test_all_who_ask_meanwhile_get_the_one_error_and_the_next_one_tries_again() -> None:
    flights, work = Flights[int](), Work(ValueError("down"))
    waiting = [asyncio.create_task(flights.join("a", work)) for _ in range(200)]
    await asyncio.sleep(0)
    work.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {str(result) for result in results} == {"down"}
    assert work.started == 1
    with pytest.raises(ValueError, match="down"):
        await flights.join("a", work)
    assert work.started == 2


@pytest.mark.anyio
async def test_keys_do_not_wait_for_each_other() -> None:
    flights, slow, quick = Flights[int](), Work(), Work()
    waiting = asyncio.create_task(flights.join("slow", slow))
    quick.gate.set()
    assert await flights.join("quick", quick) == 1
    slow.gate.set()
    assert await waiting == 1


@pytest.mark.anyio
async def test_a_client_that_leaves_ends_nothing() -> None:
    flights, work = Flights[int](), Work()
    leaver = asyncio.create_task(flights.join("a", work))
    stayer = asyncio.create_task(flights.join("a", work))
    await asyncio.sleep(0)
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    assert flights.is_running("a")
    work.gate.set()
    assert await stayer == 1
    assert work.started == 1


@pytest.mark.anyio
async def test_an_error_that_nobody_waits_for_is_nobodys_problem() -> None:
    """Asyncio would complain of an exception never retrieved; filterwarnings makes that an error."""
    flights, work = Flights[int](), Work(ValueError("down"))
    flights.launch("a", work)
    work.gate.set()
    await flights.settle()
    assert not flights.is_running("a")


@pytest.mark.anyio
async def test_one_that_has_just_ended_is_not_joined() -> None:
    """Whoever asks after the end gets news, also in the moment before its key is cleared."""
    flights, work = Flights[int](), Work()
    work.gate.set()
    second: list[asyncio.Task[int]] = []
    first = flights.launch("a", work)
    first.add_done_callback(lambda _: None)
    while not first.done():
        await asyncio.sleep(0)
        if first.done() and not second:
            second.append(flights.launch("a", work))
    assert (await first, await second[0]) == (1, 2)
    await asyncio.sleep(0)
    assert not flights.is_running("a")


@pytest.mark.anyio
async def test_draining_ends_what_runs() -> None:
    flights, work = Flights[int](), Work()
    waiting = asyncio.create_task(flights.join("a", work))
    await asyncio.sleep(0)
    await flights.drain()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not flights.is_running("a")


@pytest.mark.anyio
async def test_settling_waits_for_what_runs() -> None:
    flights, work = Flights[int](), Work()
    running = flights.launch("a", work)
    settling = asyncio.create_task(flights.settle())
    await asyncio.sleep(0)
    assert not settling.done()
    work.gate.set()
    await settling
    assert running.done()


@pytest.mark.anyio
async def test_a_flight_that_takes_too_long_ends_and_its_key_is_free() -> None:
    flights, work = Flights[int](limit_seconds=0.01), Work()
    with pytest.raises(TimeoutError):
        await flights.join("a", work)
    await asyncio.sleep(0)
    assert not flights.is_running("a")


def test_the_published_limit_is_ten_minutes() -> None:
    assert FLIGHT_SECONDS == 600


@pytest.mark.anyio
async def test_a_flight_tells_how_long_it_has_been_running() -> None:
    clock = iter([100.0, 103.5])
    flights, work = Flights[int](now=lambda: next(clock)), Work()
    assert flights.age_seconds("a") is None
    running = flights.launch("a", work)
    assert flights.age_seconds("a") == 3.5
    work.gate.set()
    await running
    assert flights.age_seconds("a") is None


@pytest.mark.anyio
async def test_a_flight_knows_who_launched_it() -> None:
    """What is bound for a request, its id for one, stands in the log lines of the flight too."""
    request: ContextVar[str] = ContextVar("request")
    request.set("r-1")

    async def work() -> str:
        return request.get()

    assert await Flights[str]().join("a", work) == "r-1"
