"""Runs the gateway: binds once, prepares the data directory, has N workers and the admin's desk run."""

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import structlog
import uvloop

from gateway import hypercorn_fit
from gateway.access.readers import admit_operator
from gateway.app import compose, create_app, rule_desk
from gateway.caretaker import take_care
from gateway.event_tap import EventTap
from gateway.hypercorn_fit import Application
from gateway.listener import BindError, authority, bind, local_authority
from gateway.logs import configure_logs
from gateway.recording import Process
from gateway.rule_revisions import InForce, RulesFileError
from gateway.rules.problems import RulesError
from gateway.settings import Settings
from gateway.store.blobs import StorageFailed
from gateway.store.damage import CatalogWatch
from gateway.store.data_dir import DataDir, DataDirError
from gateway.store.instance import instance_id
from gateway.store.schema import SchemaError
from gateway.supervisor import CATALOG_DAMAGED, GRACE_SECONDS, MEND_GRACE_SECONDS, Supervisor

log = structlog.get_logger(__name__)

_YOUNG_OBJECTS = 10_000
_SWITCH_SECONDS = 0.0002  # threads that parse let the event loop in this often


def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    tap = EventTap()
    configure_logs(settings.log_level, settings.log_format, for_good=True, tap=tap)
    for name in settings.ignored:
        log.info("setting_ignored", name=name, reason="injected by Kubernetes for a Service")
    _raise_file_limit()
    data_dir = DataDir(settings.data_dir, settings.database_url)
    migrated = data_dir.prepare()
    in_force = _start_rules(settings, data_dir)
    listeners = _bind(settings)
    _tell_start(settings, listeners, in_force, migrated)
    gc.collect()
    gc.freeze()  # what is here now is shared by all workers, and stays

    count = settings.workers + (listeners.admin is not None)

    def work(number: int, lifeline: int) -> int:
        process = Process(number, count, tap)
        if number == settings.workers and listeners.admin is not None:
            registry = local_authority(listeners.data)
            listeners.data.close()
            return AdminWorker(listeners.admin, registry, lifeline, process).run(settings, data_dir, in_force)
        if listeners.admin is not None:
            listeners.admin.close()
        worker = Worker(listeners.data, lifeline, process, is_caretaker=number == 0)
        return worker.run(settings, data_dir, in_force)

    def mend() -> bool:
        nonlocal in_force
        in_force, is_mended = _mend(settings, data_dir, in_force)
        return is_mended

    try:
        code = Supervisor(count, work, listeners.close, mend, fork=partial(_fork, tap)).run()
        log.info("stopped", code=code)
        return code
    finally:
        listeners.close()
        data_dir.close()


def _fork(tap: EventTap) -> int:
    """What the supervisor's log tells of goes with the next process, which writes it down."""
    pid = os.fork()
    if pid:
        tap.taken()
    return pid


@dataclass(frozen=True, slots=True)
class Listeners:
    """The sockets, bound once; ``admin`` is None where there is no admin's desk."""

    data: socket.socket
    admin: socket.socket | None

    def close(self) -> None:
        self.data.close()
        if self.admin is not None:
            self.admin.close()


def _tell_start(settings: Settings, listeners: Listeners, in_force: InForce, migrated: Sequence[str]) -> None:
    log.info(
        "listening",
        url=f"http://{authority(listeners.data)}",
        admin=None if listeners.admin is None else f"http://{authority(listeners.admin)}/admin/",
        workers=settings.workers,
        data_dir=str(settings.data_dir.absolute()),
        rules=str(settings.rules.absolute()) if settings.rules.exists() else None,
        revision=in_force.revision,
        migrated=list(migrated),
    )


def _bind(settings: Settings) -> Listeners:
    """Raise BindError."""
    data = bind(settings.host, settings.port, "--port")
    if settings.admin_port is None:
        return Listeners(data, None)
    try:
        return Listeners(data, bind(settings.admin_host, settings.admin_port, "--admin-port"))
    except BindError:
        data.close()
        raise


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


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker: an event loop, the application, Hypercorn on the inherited socket."""

    listener: socket.socket
    lifeline: int
    process: Process
    is_caretaker: bool

    def run(self, settings: Settings, data_dir: DataDir, in_force: InForce) -> int:
        """Return the exit code."""
        stop = asyncio.Event()
        gateway = compose(settings, data_dir, in_force, process=self.process)
        app = create_app(gateway, stop.is_set, partial(take_care, gateway) if self.is_caretaker else None)
        tune_interpreter()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(app, self.listener, stop, self.lifeline, data_dir.watch))


@dataclass(frozen=True, slots=True)
class AdminWorker:
    """The process of the admin's desk, with a gateway of its own on the same data directory.

    What the desk is made of is imported here alone: it takes 8 MB, which workers need not have. ``registry``
    is where somebody on this machine reaches that.
    """

    listener: socket.socket
    registry: str
    lifeline: int
    process: Process

    def run(self, settings: Settings, data_dir: DataDir, in_force: InForce) -> int:
        """Return the exit code."""
        from gateway.admin import Places, create_admin

        gateway = compose(settings, data_dir, in_force, admit=admit_operator, process=self.process)
        app = create_admin(gateway, Places(local_authority(self.listener), self.registry))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            stop = asyncio.Event()
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
    asyncio.get_running_loop().call_later(MEND_GRACE_SECONDS, os._exit, CATALOG_DAMAGED)
    stop.set()
