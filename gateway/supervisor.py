"""Keeps worker processes alive: forks them, replaces dead ones, ends them gently."""

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

import structlog

log = structlog.get_logger(__name__)

GRACE_SECONDS = 20.0
_KILL_AFTER_SECONDS = 28.0  # Kubernetes kills all of us after 30
_QUICK_DEATH_SECONDS = 1.0
_MAX_QUICK_DEATHS = 10
_LONGEST_PAUSE_SECONDS = 5.0
CATALOG_DAMAGED = 75  # how a worker ends that met damage in the catalog
_MENDING = (CATALOG_DAMAGED, -signal.SIGBUS)  # what it has mapped of it was cut short
MEND_GRACE_SECONDS = 0.5  # for what runs: it may end by itself
_SOON_SECONDS = 30.0
_ENDING = (signal.SIGTERM, signal.SIGINT)


@dataclass(slots=True)
class Supervisor:
    """Forks workers, replaces a dead one at once, and stops them all when told to, ``on_stop`` first.

    A worker gets its number, from 0, which its replacement has too, and the reading end of a pipe that nobody
    writes to: its end is the supervisor's end. Its work returns its exit code. Where that says that the
    catalog is damaged, all are ended, ``mend`` says whether it is whole again, and new ones begin.
    """

    count: int
    work: Callable[[int, int], int]
    on_stop: Callable[[], None]
    mend: Callable[[], bool]
    sleep: Callable[[float], None] = time.sleep
    fork: Callable[[], int] = os.fork
    _started: dict[int, float] = field(default_factory=dict)
    _numbers: dict[int, int] = field(default_factory=dict)
    _quick_deaths: int = 0
    _is_stopping: bool = False
    _is_damaged: bool = False
    _mended_at: float = float("-inf")
    _mends: int = 0
    _lifeline: int = -1
    _to_close: tuple[int, ...] = ()

    def run(self) -> int:
        """Return 0 after an orderly end, 1 when workers do not stay alive."""
        wake_reader, wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._lifeline, lifeline_writer = os.pipe2(os.O_CLOEXEC)
        before = {number: signal.signal(number, self._on_signal) for number in _ENDING}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        wakeup = signal.set_wakeup_fd(wake_writer)
        self._to_close = (wake_reader, wake_writer, lifeline_writer)
        try:
            return self._supervise(wake_reader)
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            for fd in (*self._to_close, self._lifeline):
                os.close(fd)

    def _supervise(self, wake_reader: int) -> int:
        while not self._is_stopping:
            self._reap()
            if self._is_damaged:
                self._mend()
            if self._has_given_up:
                log.error("workers_do_not_start", hint="the lines above say why")
                self._stop()
                return 1
            while len(self._started) < self.count and not self._is_to_wait:
                self._start()
            _wait_for_signal(wake_reader)
        self._stop()
        return 0

    @property
    def _is_to_wait(self) -> bool:
        return self._is_stopping or self._is_damaged or self._has_given_up

    def _mend(self) -> None:
        """Soon after the last time only after a pause: what stays damaged must not keep the machine busy."""
        self._end_workers(MEND_GRACE_SECONDS)
        self._mends = self._mends + 1 if time.monotonic() - self._mended_at < _SOON_SECONDS else 0
        if self._mends:
            self.sleep(min(0.5 * 2**self._mends, _LONGEST_PAUSE_SECONDS))
        self._is_damaged = not self.mend()
        self._mended_at = time.monotonic()

    @property
    def _has_given_up(self) -> bool:
        return self._quick_deaths > _MAX_QUICK_DEATHS

    def _start(self) -> None:
        if self._quick_deaths:
            self.sleep(min(0.05 * 2**self._quick_deaths, _LONGEST_PAUSE_SECONDS))
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)  # one that met a worker with our handler was lost
        try:
            if not self._is_stopping:
                self._fork()
        except OSError as error:  # no process or no memory to be had: the same as a worker that died at once
            self._quick_deaths += 1
            log.warning("worker_not_started", cause=error.strerror)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)

    def _fork(self) -> None:
        taken = {self._numbers[pid] for pid in self._started}
        number = next(number for number in range(self.count) if number not in taken)
        pid = self.fork()
        if pid == 0:
            self._run_worker(number)
        self._started[pid] = time.monotonic()
        self._numbers[pid] = number

    def _run_worker(self, number: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for one in (*_ENDING, signal.SIGCHLD):
                signal.signal(one, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
            for fd in self._to_close:
                os.close(fd)
            code = self.work(number, self._lifeline)
        except Exception:
            log.exception("worker_failed")
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        for pid in list(self._started):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done:
                continue
            lived_seconds = time.monotonic() - self._started.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            log.warning("worker_died", pid=pid, status=code)
            if code in _MENDING:
                self._is_damaged = True
            else:
                self._quick_deaths = self._quick_deaths + 1 if lived_seconds < _QUICK_DEATH_SECONDS else 0

    def _stop(self) -> None:
        """SIGTERM to all; SIGKILL to who is still there after the grace."""
        log.info("stopping", grace_seconds=GRACE_SECONDS)
        self.on_stop()
        self._end_workers(_KILL_AFTER_SECONDS)

    def _end_workers(self, grace_seconds: float) -> None:
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        while self._started and time.monotonic() < deadline:
            self._reap_quietly()
            time.sleep(0.02)
        self._signal_all(signal.SIGKILL)
        while self._started:
            self._reap_quietly()
            time.sleep(0.02)

    def _reap_quietly(self) -> None:
        for pid in list(self._started):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done:
                continue
            del self._started[pid]
            if os.waitstatus_to_exitcode(status) == -signal.SIGKILL:
                log.warning("worker_killed", pid=pid)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._started:
            os.kill(pid, number)

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._is_stopping:  # asked twice: at once, then
            self._signal_all(signal.SIGKILL)
        self._is_stopping = True


def _wait_for_signal(wake_reader: int) -> None:
    select.select([wake_reader], [], [], 1.0)
    try:
        os.read(wake_reader, 512)
    except BlockingIOError:
        return
