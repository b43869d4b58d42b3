"""Flights in four real processes on one key: one try, one failure for all, and kill -9 of who leads."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.store.locks import FileLocks
from tests.store.open_files import open_below

pytestmark = pytest.mark.slow

_FLYER = """
import asyncio
import json
import os
import sys
from pathlib import Path

from gateway.flights import Flights
from gateway.oci.outcomes import Unavailable
from gateway.store.locks import FileLocks

home, fails = Path(sys.argv[1]), sys.argv[2] == "fails"

async def fetch():
    held = home / "held"
    if held.exists():
        return held.read_text()
    (home / "tries" / str(os.getpid())).touch()
    while not (home / "go").exists():
        await asyncio.sleep(0.005)
    if fails:
        raise Unavailable("registry: 503", 7, is_rate_limited=True)
    held.write_text("content")
    return "content"

async def fly():
    try:
        print(json.dumps(await Flights("pulls", FileLocks(home / "locks")).join(("demo", "1.0.0"), fetch)))
    except Unavailable as error:
        print(json.dumps([error.message, error.retry_after_seconds, error.is_rate_limited]))

asyncio.run(fly())
"""
_FAILURE = ["registry: 503", 7, True]


class Flyers:
    """Starts processes that all fly the same flight, which ends once there is a file «go»."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.tries = home / "tries"
        self.locks = home / "locks"
        self.running: list[subprocess.Popen[bytes]] = []
        self.tries.mkdir()

    def start(self, count: int, how: str) -> None:
        for _ in range(count):
            command = [sys.executable, "-c", _FLYER, str(self.home), how]
            self.running.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        until(lambda: all(open_below(self.locks, str(one.pid)) for one in self.running))
        until(lambda: self.tried() > 0)

    def tried(self) -> int:
        return len(list(self.tries.iterdir()))

    def go(self) -> list[object]:
        """Let the flight end; return what each process got."""
        (self.home / "go").touch()
        answers = [json.loads(one.communicate(timeout=20)[0].splitlines()[-1]) for one in self.running]
        self.running.clear()
        (self.home / "go").unlink()
        return answers


@pytest.fixture
def flyers(tmp_path: Path) -> Iterator[Flyers]:
    started = Flyers(tmp_path)
    yield started
    for one in started.running:
        one.kill()
        one.communicate()


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(2000):
        if is_so():
            return
        time.sleep(0.005)
    raise AssertionError("it did not come about within ten seconds")


def test_four_processes_fetch_once(flyers: Flyers) -> None:
    flyers.start(4, "succeeds")
    assert flyers.go() == ["content"] * 4
    assert flyers.tried() == 1
    assert list(flyers.locks.iterdir()) == []


def test_four_processes_see_one_failure_and_the_next_one_tries_again(flyers: Flyers) -> None:
    flyers.start(4, "fails")
    assert flyers.go() == [_FAILURE] * 4
    assert flyers.tried() == 1
    flyers.start(1, "fails")
    assert flyers.go() == [_FAILURE]
    assert flyers.tried() == 2


def test_another_takes_over_when_the_one_that_fetches_is_killed(flyers: Flyers) -> None:
    flyers.start(4, "succeeds")
    (first,) = flyers.tries.iterdir()
    (leader,) = [one for one in flyers.running if str(one.pid) == first.name]
    leader.kill()
    assert leader.wait(10) == -signal.SIGKILL
    leader.communicate()
    flyers.running.remove(leader)
    until(lambda: flyers.tried() == 2)
    assert flyers.go() == ["content"] * 3
    assert flyers.tried() == 2


def test_what_a_killed_one_left_is_swept(flyers: Flyers) -> None:
    flyers.start(1, "succeeds")
    locks = FileLocks(flyers.locks)
    assert locks.sweep() == 0
    flyers.running[0].kill()
    flyers.running[0].wait(10)
    assert locks.sweep() == 1
