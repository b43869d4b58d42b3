"""One running fetch per key in all processes; each Flights here stands for a process of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.flights import Flights, Hold
from gateway.oci.outcomes import Outcome, Unavailable
from gateway.store.locks import FileLocks
from tests.store.open_files import until_open

pytestmark = pytest.mark.anyio

KEY = ("charts.example.com/demo", "1.0.0")
DOWN = Unavailable("registry: 503", 7, is_rate_limited=True)


async def at_once(_seconds: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture
def open_flights(tmp_path: Path) -> Callable[[], Flights[str]]:
    return lambda: Flights("pulls", FileLocks(tmp_path / "locks", at_once))


class Work:
    """Is begun once for each process that does not find what it is to fetch; ends when told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.tries = 0
        self.held: list[str] = []
        self.error = error

    async def __call__(self) -> str:
        if not self.held:
            self.tries += 1
            self.begun.set()
            await self.gate.wait()
            if self.error is not None:
                raise self.error
            self.held.append("content")
        return self.held[0]


async def fly_together(
    open_flights: Callable[[], Flights[str]], work: Work, folder: Path
) -> list[str | BaseException]:
    flying = [asyncio.create_task(open_flights().join(KEY, work)) for _ in range(4)]
    await until_open(folder / "locks", 4)
    work.gate.set()
    return await asyncio.gather(*flying, return_exceptions=True)


async def test_one_process_fetches_and_the_others_find_what_it_has_kept(
    open_flights: Callable[[], Flights[str]], tmp_path: Path
) -> None:
    work = Work()
    assert await fly_together(open_flights, work, tmp_path) == ["content"] * 4
    assert work.tries == 1


async def test_one_failure_reaches_all_processes_that_waited_and_the_next_flight_tries_again(
    open_flights: Callable[[], Flights[str]], tmp_path: Path
) -> None:
    work = Work(DOWN)
    results = await fly_together(open_flights, work, tmp_path)
    failures = [result for result in results if isinstance(result, Unavailable)]
    assert [(one.message, one.retry_after_seconds, one.is_rate_limited) for one in failures] == [
        (DOWN.message, 7, True)
    ] * 4
    assert work.tries == 1
    with pytest.raises(Outcome):
        await open_flights().join(KEY, work)
    assert work.tries == 2


async def test_what_is_no_outcome_is_not_handed_on(
    open_flights: Callable[[], Flights[str]], tmp_path: Path
) -> None:
    work = Work(RuntimeError("a fault of this process"))
    results = await fly_together(open_flights, work, tmp_path)
    assert [type(result) for result in results] == [RuntimeError] * 4
    assert work.tries == 4


class Seen:
    """What other processes wait for beyond the result; fails where it has an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.gate = asyncio.Event()
        self._error = error

    async def __call__(self, _result: str) -> None:
        await self.gate.wait()
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("error", [None, RuntimeError("not shelved")])
async def test_the_result_is_had_here_at_once_and_elsewhere_when_it_can_be_seen(
    open_flights: Callable[[], Flights[str]], tmp_path: Path, error: Exception | None
) -> None:
    work, seen = Work(), Seen(error)
    work.gate.set()
    here = Flights[str]("pulls", FileLocks(tmp_path / "locks", at_once), until_seen=seen)
    assert await here.join(KEY, work) == "content"
    elsewhere = asyncio.create_task(open_flights().join(KEY, work))
    await until_open(tmp_path / "locks", 2)
    assert not elsewhere.done()
    with capture_logs() as logs:
        seen.gate.set()
        assert await elsewhere == "content"
        await here.settle()
    assert [line["event"] for line in logs] == ["flight_not_seen"] * (error is not None)
    assert work.tries == 1


async def test_a_failure_is_told_at_once(open_flights: Callable[[], Flights[str]], tmp_path: Path) -> None:
    work = Work(DOWN)
    work.gate.set()
    here = Flights[str]("pulls", FileLocks(tmp_path / "locks", at_once), until_seen=Seen())
    with pytest.raises(Unavailable):
        await here.join(KEY, work)
    with pytest.raises(Unavailable):
        await open_flights().join(KEY, work)
    assert work.tries == 2


async def test_other_keys_and_other_names_do_not_wait(tmp_path: Path) -> None:
    work, other = Work(), Work()
    other.gate.set()
    locks = FileLocks(tmp_path, at_once)
    slow = asyncio.create_task(Flights[str]("pulls", locks).join(KEY, work))
    await work.begun.wait()
    assert await Flights[str]("pulls", locks).join("|".join(KEY), other) == "content"
    assert await Flights[str]("heals", locks).join(KEY, other) == "content"
    work.gate.set()
    await slow


async def test_draining_leaves_no_failure_to_those_who_wait(
    open_flights: Callable[[], Flights[str]], tmp_path: Path
) -> None:
    work, leaving, staying = Work(), open_flights(), open_flights()
    leaving.launch(KEY, work)
    await work.begun.wait()
    waiting = asyncio.create_task(staying.join(KEY, work))
    await until_open(tmp_path / "locks", 2)
    await leaving.drain()
    work.gate.set()
    assert await waiting == "content"
    assert work.tries == 2


@dataclass
class OddHold:
    failure: str | None

    def leave(self, text: str) -> None:
        raise AssertionError(text)


@dataclass
class OddLocks:
    """Fail where they have an error; else tell of a failure."""

    error: OSError | None = None
    failure: str | None = None

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[Hold]:
        if self.error is not None:
            raise self.error
        yield OddHold(self.failure)


class NeverFree:
    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[Hold]:
        await asyncio.Event().wait()
        yield OddHold(None)


async def test_without_a_lock_the_flight_goes_on_with_one_warning() -> None:
    work = Work()
    work.gate.set()
    flights = Flights[str]("pulls", OddLocks(OSError(28, "No space left on device")))
    with capture_logs() as logs:
        assert await flights.join(KEY, work) == "content"
    assert [(line["event"], line["log_level"], line["flight"]) for line in logs] == [
        ("flight_without_lock", "warning", "pulls")
    ]
    assert "No space left" in logs[0]["reason"]


async def test_a_lock_that_is_held_for_too_long_is_waited_for_no_more() -> None:
    work = Work()
    work.gate.set()
    with capture_logs() as logs:
        assert await Flights[str]("pulls", NeverFree(), limit_seconds=0.01).join(KEY, work) == "content"
    assert logs[0]["reason"] == "held for too long"


async def test_an_oserror_of_the_fetch_itself_is_no_trouble_with_the_lock(
    open_flights: Callable[[], Flights[str]],
) -> None:
    work = Work(OSError(5, "of the fetch"))
    work.gate.set()
    with pytest.raises(OSError, match="of the fetch"):
        await open_flights().join(KEY, work)
    assert work.tries == 1


async def test_a_failure_that_cannot_be_read_is_found_out_anew() -> None:
    work = Work()
    work.gate.set()
    assert await Flights[str]("pulls", OddLocks(failure="{half a te")).join(KEY, work) == "content"


@pytest.mark.parametrize("key", [("a", None), ("a", ("b",)), pytest.param(object(), id="an object")], ids=str)
async def test_a_key_that_no_other_process_would_know_again_is_refused(
    open_flights: Callable[[], Flights[str]], key: Hashable
) -> None:
    with pytest.raises(TypeError, match="know"):
        open_flights().launch(key, Work())
