"""The supervisor: workers are replaced, given up on, and stopped; each time in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.slow

_PATIENCE_SECONDS = 15.0  # less than the grace after which a worker is killed

_SUPERVISED = """
import os
import signal
import sys

from gateway.logs import configure_logs
from gateway.supervisor import CATALOG_DAMAGED, Supervisor
from gateway.settings_values import LogFormat, LogLevel

def say(text):
    os.write(1, f"{text}\\n".encode())

def wait(number, lifeline):
    say(f"worker {os.getpid()}")
    signal.pause()
    return 0

def meet_damage(number, lifeline):
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(CATALOG_DAMAGED))
    return wait(number, lifeline)

mends = 0

def mend():
    global mends
    mends += 1
    say(f"mend {mends}")
    return mends != 3

def ignore_sigterm(number, lifeline):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return meet_damage(number, lifeline)

def until_orphaned(number, lifeline):
    say(f"worker {os.getpid()}")
    os.read(lifeline, 1)
    say("orphaned")
    return 0

def end(number, lifeline):
    return 0

def fail(number, lifeline):
    raise RuntimeError("a worker that cannot start")

def end_and_pause_long(number, lifeline):
    say("ended")
    return 0

refusals = {"wait_for_a_process": 2, "get_no_process": 100}.get(sys.argv[1], 0)
wait_for_a_process = get_no_process = wait

def fork():
    global refusals
    if refusals:
        refusals -= 1
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return os.fork()

def pause(seconds):
    say(f"pause {seconds:g}")
    if sys.argv[1] == "end_and_pause_long":
        os.kill(os.getpid(), signal.SIGTERM)

configure_logs(LogLevel.INFO, LogFormat.JSON)
before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)]
fds = len(os.listdir("/proc/self/fd"))
code = Supervisor(int(sys.argv[2]), globals()[sys.argv[1]], lambda: say("stopping"), mend, pause, fork).run()
assert before == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)]
assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
assert fds == len(os.listdir("/proc/self/fd"))
say(f"returned {code}")
"""


class Supervised:
    """A supervisor whose lines a test reads."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def worker(self) -> int:
        """The process id of the next worker that says it is there."""
        word, _, pid = self.line().partition(" ")
        assert word == "worker"
        return int(pid)

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ending(self) -> list[str]:
        assert self.process.stdout is not None
        lines = self.process.stdout.read().splitlines()
        assert self.process.wait() == 0
        return lines


@contextmanager
def supervised(work: str, count: int = 1) -> Iterator[Supervised]:
    command = [sys.executable, "-c", _SUPERVISED, work, str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        impatience = threading.Timer(_PATIENCE_SECONDS, process.kill)
        impatience.start()
        try:
            yield Supervised(process)
        finally:
            impatience.cancel()
            if process.poll() is None:
                process.kill()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_stops_every_worker_and_returns_0(number: signal.Signals) -> None:
    with supervised("wait", 3) as run:
        workers = [run.worker() for _ in range(3)]
        run.tell(number)
        assert run.ending() == ["stopping", "returned 0"]
    assert not any(map(is_alive, workers))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_dead_worker_is_replaced_and_the_others_stay(number: signal.Signals) -> None:
    with supervised("wait", 2) as run:
        first, second = run.worker(), run.worker()
        os.kill(first, number)
        line = run.line()  # a death so soon is a quick one: the next start waits a little
        assert line == "pause 0.1"
        third = run.worker()
        assert third not in (first, second)
        assert is_alive(second)
        run.tell(signal.SIGTERM)
        assert run.ending() == ["stopping", "returned 0"]
    assert not any(map(is_alive, (second, third)))


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGBUS])
def test_damage_to_the_catalog_ends_all_workers_has_it_mended_and_starts_them_anew(
    number: signal.Signals,
) -> None:
    with supervised("meet_damage", 2) as run:
        before = {run.worker(), run.worker()}
        os.kill(min(before), number)
        assert run.line() == "mend 1"
        assert not any(map(is_alive, before))
        after = {run.worker(), run.worker()}
        assert not before & after
        run.tell(signal.SIGTERM)
        assert run.ending() == ["stopping", "returned 0"]


def test_damage_that_comes_again_soon_is_mended_after_longer_and_longer_pauses_until_it_is() -> None:
    with supervised("meet_damage") as run:
        os.kill(run.worker(), signal.SIGUSR1)
        assert run.line() == "mend 1"
        os.kill(run.worker(), signal.SIGUSR1)
        assert [run.line(), run.line()] == ["pause 1", "mend 2"]
        os.kill(run.worker(), signal.SIGUSR1)
        assert [run.line(), run.line()] == ["pause 2", "mend 3"]  # which fails
        assert [run.line(), run.line()] == ["pause 4", "mend 4"]
        assert is_alive(run.worker())
        run.tell(signal.SIGTERM)
        assert run.ending() == ["stopping", "returned 0"]


def test_a_worker_that_does_not_end_does_not_keep_damage_from_being_mended() -> None:
    with supervised("ignore_sigterm", 2) as run:
        before = [run.worker(), run.worker()]
        os.kill(before[0], signal.SIGUSR1)
        assert run.line() == "mend 1"
        assert not any(map(is_alive, before))


@pytest.mark.parametrize("work", ["end", "fail", "get_no_process"])
def test_workers_that_do_not_stay_alive_are_given_up_on_with_longer_and_longer_pauses(work: str) -> None:
    with supervised(work) as run:
        lines = run.ending()
    pauses = [float(line.removeprefix("pause ")) for line in lines if line.startswith("pause")]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0]
    assert lines[-2:] == ["stopping", "returned 1"]


def test_a_system_that_has_no_process_to_give_is_asked_again() -> None:
    with supervised("wait_for_a_process") as run:
        assert [run.line(), run.line()] == ["pause 0.1", "pause 0.2"]
        run.worker()
        run.tell(signal.SIGTERM)
        assert run.ending() == ["stopping", "returned 0"]


def test_told_to_end_in_a_pause_it_starts_nobody_after_it() -> None:
    with supervised("end_and_pause_long") as run:
        assert run.ending() == ["ended", "pause 0.1", "stopping", "returned 0"]


def test_told_twice_it_waits_for_nobody() -> None:
    with supervised("ignore_sigterm") as run:
        worker = run.worker()
        run.tell(signal.SIGTERM)
        assert run.line() == "stopping"
        assert is_alive(worker)
        run.tell(signal.SIGTERM)
        assert run.ending() == ["returned 0"]
        assert run.process.stderr is not None
        last = json.loads(run.process.stderr.read().splitlines()[-1])
        assert (last["event"], last["pid"]) == ("worker_killed", worker)
    assert not is_alive(worker)


def test_workers_see_that_their_supervisor_is_gone() -> None:
    with supervised("until_orphaned") as run:
        run.worker()
        run.tell(signal.SIGKILL)
        assert run.line() == "orphaned"


def test_told_to_end_while_workers_start_it_loses_none() -> None:
    """A worker that took the signal with the supervisor's own handler would never end by it."""
    for count in (8, 16, 16):
        with supervised("wait", count) as run:
            run.worker()
            run.tell(signal.SIGTERM)
            assert run.ending()[-1] == "returned 0"
