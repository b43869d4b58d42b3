"""The last run of each mirror list, as a row: whichever process brought it up to date."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy import Connection, Row, delete, select, update

from gateway.store.admin_tables import sync_runs
from gateway.store.engine import Engines
from gateway.store.job_book import DEAD_SECONDS
from gateway.store.retention import keeper_of_list
from gateway.store.tables import retentions
from gateway.store.upsert import Value, insert_or_update


class RunState(StrEnum):
    """How a run stands, or ended."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # cancelled, or the process that ran it is gone


@dataclass(frozen=True, slots=True)
class SyncRun:
    """A run of the list ``name``; times are seconds since the epoch, ``next_at`` when it is due again.

    ``report`` says how far it is while it runs, for people, and then what it came to, as JSON.
    """

    name: str
    state: RunState
    actor: str
    begun_at: float
    noted_at: float
    ended_at: float | None
    next_at: float | None
    report: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run of the list ``name`` ended; ``report`` is JSON, or empty."""

    name: str
    state: RunState
    report: str
    next_at: float | None


class SyncRuns:
    """Errors of the database are StorageFailed. Its engines are ``DataDir.open_rule_engines``'s.

    One that runs by its row and gave no sign for long is told as interrupted. ``now`` gives seconds since
    the epoch.
    """

    def __init__(self, engines: Engines, now: Callable[[], float]) -> None:
        self._engines = engines
        self._now = now

    async def all(self) -> list[SyncRun]:
        """By the name of their list."""
        return [self._as_it_is(run) for run in await self._engines.ask(_all)]

    async def find(self, name: str) -> SyncRun | None:
        run = await self._engines.ask(_find, name)
        return None if run is None else self._as_it_is(run)

    async def begin(self, name: str, actor: str) -> None:
        """What was told of the run before is forgotten."""
        await self._engines.tell(_begin, name, actor, self._now())

    async def note(self, name: str, told: str) -> None:
        """A sign of life, and how far it is."""
        await self._engines.tell(_note, name, told, self._now())

    async def end(self, ended: Ended) -> None:
        """Of a list that is gone meanwhile nothing is noted."""
        await self._engines.tell(_end, ended, self._now())

    async def forget_others(self, names: Collection[str]) -> list[str]:
        """Let go of what lists kept that are none of these any more; return their names. Content stays."""
        keepers = await self._engines.ask(_keepers)
        runs = {run.name for run in await self._engines.ask(_all)}
        gone = sorted((runs | keepers) - set(names))
        if gone:
            await self._engines.tell(_forget, gone)
        return gone

    def _as_it_is(self, run: SyncRun) -> SyncRun:
        if run.state is RunState.RUNNING and run.noted_at < self._now() - DEAD_SECONDS:
            return replace(run, state=RunState.INTERRUPTED, ended_at=run.noted_at)
        return run


def _all(connection: Connection) -> list[SyncRun]:
    return sorted((_run(row) for row in connection.execute(select(sync_runs))), key=lambda run: run.name)


def _find(connection: Connection, name: str) -> SyncRun | None:
    row = connection.execute(select(sync_runs).where(sync_runs.c.name == name)).first()
    return None if row is None else _run(row)


def _begin(connection: Connection, name: str, actor: str, now: float) -> None:
    values: dict[str, Value] = {"name": name, "state": RunState.RUNNING.value, "actor": actor}
    values |= {"begun_at": now, "noted_at": now, "ended_at": None, "next_at": None, "report": ""}
    insert_or_update(connection, sync_runs, values)


def _note(connection: Connection, name: str, told: str, now: float) -> None:
    running = (sync_runs.c.name == name) & (sync_runs.c.state == RunState.RUNNING.value)
    connection.execute(update(sync_runs).where(running).values(noted_at=now, report=told))


def _end(connection: Connection, ended: Ended, now: float) -> None:
    values = {"state": ended.state.value, "report": ended.report, "next_at": ended.next_at}
    chosen = update(sync_runs).where(sync_runs.c.name == ended.name)
    connection.execute(chosen.values(**values, noted_at=now, ended_at=now))


def _keepers(connection: Connection) -> set[str]:
    """The names of the lists that keep something."""
    prefix = keeper_of_list("")
    of_lists = retentions.c.keeper.startswith(prefix, autoescape=True)
    kept = connection.execute(select(retentions.c.keeper).where(of_lists).distinct())
    return {keeper.removeprefix(prefix) for keeper in kept.scalars()}


def _forget(connection: Connection, names: list[str]) -> None:
    for name in names:
        connection.execute(delete(retentions).where(retentions.c.keeper == keeper_of_list(name)))
        connection.execute(delete(sync_runs).where(sync_runs.c.name == name))


def _run(row: Row[tuple[object, ...]]) -> SyncRun:
    return SyncRun(
        name=row.name,
        state=RunState(row.state),
        actor=row.actor,
        begun_at=row.begun_at,
        noted_at=row.noted_at,
        ended_at=row.ended_at,
        next_at=row.next_at,
        report=row.report,
    )
