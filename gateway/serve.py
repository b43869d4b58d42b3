"""Runs the gateway: binds once, keeps N worker processes alive, ends them gently."""

import asyncio
import gc
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NoReturn

import structlog
import uvloop

from gateway import hypercorn_fit
from gateway.app import compose, create_app, rule_desk
from gateway.caretaker import take_care
from gateway.hypercorn_fit import Application
from gateway.listener import authority, bind
from gateway.logs import configure_logs
from gateway.rule_revisions import InForce, RulesFileError
from gateway.rules.problems import RulesError
from gateway.settings import Settings
from gateway.store.blobs import StorageFailed
from gateway.store.damage import CatalogWatch
from gateway.store.data_dir import DataDir, DataDirError
from gateway.store.instance import instance_id
from gateway.store.schema import SchemaError

log = structlog.get_logger(__name__)

GRACE_SECONDS = 20.0
_KILL_AFTER_SECONDS = 28.0  # Kubernetes kills all of us after 30
_QUICK_DEATH_SECONDS = 1.0
_MAX_QUICK_DEATHS = 10
_LONGEST_PAUSE_SECONDS = 5.0
CATALOG_DAMAGED = 75  # how a worker ends that met damage in the catalog
_MENDING = (CATALOG_DAMAGED, -signal.SIGBUS)  # what it has mapped of it was cut short
_MEND_GRACE_SECONDS = 0.5  # for what runs: it may end by itself
_SOON_SECONDS = 30.0
_ENDING = (signal.SIGTERM, signal.SIGINT)
_YOUNG_OBJECTS = 10_000
_SWITCH_SECONDS = 0.0002  # threads that parse let the event loop in this often


def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    configure_logs(settings.log_level, settings.log_format, for_good=True)
    for name in settings.ignored:
        log.info("setting_ignored", name=name, reason="injected by Kubernetes for a Service")
    _raise_file_limit()
    data_dir = DataDir(settings.data_dir, settings.database_url)
    migrated = data_dir.prepare()
    in_force = _start_rules(settings, data_dir)
    listener = bind(settings.host, settings.port)
    log.info(
        "listening",
        url=f"http://{authority(listener)}",
        workers=settings.workers,
        data_dir=str(settings.data_dir.absolute()),
        rules=str(settings.rules.absolute()) if settings.rules.exists() else None,
        revision=in_force.revision,
        migrated=list(migrated),
    )
    gc.collect()
    gc.freeze()  # what is here now is shared by all workers, and stays

    def work(number: int, lifeline: int) -> int:
        worker = Worker(listener, lifeline, is_caretaker=number == 0)
        return worker.run(settings, data_dir, in_force)

    def mend() -> bool:
        nonlocal in_force
        in_force, is_mended = _mend(settings, data_dir, in_force)
        return is_mended

    try:
        code = Supervisor(settings.workers, work, listener.close, mend).run()
        log.info("stopped", code=code)
        return code
    finally:
        listener.close()
        data_dir.close()


def _start_rules(settings: Settings, data_dir: DataDir) -> InForce:
    desk = rule_desk(settings, data_dir)
    try:
        in_force = desk.start()
        with suppress(StorageFailed):  # the worker that watches the file notes it once it can
            desk.note_trouble(instance_id(data_dir.instance), in_force.trouble)
        return in_force
    finally:
        desk.engines.dispose()  # no worker may inherit a connection


def _mend(settings: Settings, data_dir: DataDir, in_force: InForce) -> tuple[InForce, bool]:
    """Replace a damaged catalog. Rules that cannot be read now are those that were in force."""
    try:
        data_dir.mend()
        return _start_rules(settings, data_dir), True
    except (RulesError, RulesFileError) as error:
        log.warning("rules_unusable", reason=str(error), kept_revision=in_force.revision)
        return replace(in_force, trouble=str(error)), True
    except (DataDirError, SchemaError, StorageFailed, OSError) as error:
        log.warning("catalog_not_mended", reason=str(error), until="it can be")
        return in_force, False


def _raise_file_limit() -> None:
    """Take all the open files that we may have: each client and each upstream needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS says no to what it calls unlimited
        log.debug("file_limit_kept", soft=soft, hard=hard, reason=str(error))


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
        self._end_workers(_MEND_GRACE_SECONDS)
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


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker: an event loop, the application, Hypercorn on the inherited socket."""

    listener: socket.socket
    lifeline: int
    is_caretaker: bool

    def run(self, settings: Settings, data_dir: DataDir, in_force: InForce) -> int:
        """Return the exit code."""
        stop = asyncio.Event()
        gateway = compose(settings, data_dir, in_force)
        app = create_app(gateway, stop.is_set, partial(take_care, gateway) if self.is_caretaker else None)
        tune_interpreter()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(app, self.listener, stop, self.lifeline, data_dir.watch))


def tune_interpreter() -> None:
    """What a worker asks of Python once all is there that it keeps."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()  # no collection has to look at it
    gc.set_threshold(_YOUNG_OBJECTS)  # requests leave little in cycles


async def _serve(
    app: Application, listener: socket.socket, stop: asyncio.Event, lifeline: int, watch: CatalogWatch
) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_reader(lifeline, stop.set)
    watching = asyncio.create_task(_end_when_damaged(watch, stop))
    await hypercorn_fit.run(app, listener, stop, GRACE_SECONDS)
    watching.cancel()
    return 0 if watch.damage is None else CATALOG_DAMAGED


async def _end_when_damaged(watch: CatalogWatch, stop: asyncio.Event) -> None:
    """What runs may end by itself, but no grace is given that would keep all the others waiting."""
    reason = await watch.damaged()
    log.error("catalog_damaged", reason=reason, until="it is replaced by its newest copy")
    asyncio.get_running_loop().call_later(_MEND_GRACE_SECONDS, os._exit, CATALOG_DAMAGED)
    stop.set()
