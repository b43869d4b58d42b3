"""Jobs as rows: what was begun at the admin's desk, how far it is, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from gateway.store.admin_tables import jobs
from gateway.store.engine import Engines

DEAD_SECONDS: Final = 20.0  # without a sign of life, which a running one gives every few seconds
MOST_KEPT: Final = 500


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"  # the process that ran it is gone

    @property
    def is_over(self) -> bool:
        return self not in ALIVE


ALIVE: Final = (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Job:
    """``total`` is 0 where it is not known. Times are seconds since the epoch."""

    number: int
    kind: str
    subject: str
    actor: str
    state: JobState
    done: int
    total: int
    message: str
    begun_at: float
    noted_at: float
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign of life of a job."""

    number: int
    state: JobState
    done: int
    total: int
    message: str


class JobBook:
    """Errors of the database are StorageFailed. Its engines are ``DataDir.open_rule_engines``'s.

    One that is alive by its row and gave no sign for long is told as interrupted.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def add(self, kind: str, subject: str, actor: str, now: float) -> Job:
        """A new one, queued; the newest are kept, and those that are not over."""
        return await self._engines.tell(_add, kind, subject, actor, now)

    async def note(self, signs: Sequence[Sign], now: float) -> None:
        """How far some are; one whose state is an end has ended, whatever is noted of it later."""
        await self._engines.tell(_note, signs, now)

    async def list(self, states: Sequence[JobState], before: int | None, limit: int, now: float) -> list[Job]:
        """Newest first, with numbers below ``before``; of any state where none is given."""
        return await self._engines.ask(_list, states, before, limit, now)

    async def find(self, number: int, now: float) -> Job | None:
        return await self._engines.ask(_find, number, now)


def _add(connection: Connection, kind: str, subject: str, actor: str, now: float) -> Job:
    values = {"kind": kind, "subject": subject, "actor": actor, "state": JobState.QUEUED.value}
    made = connection.execute(
        insert(jobs)
        .values(**values, done=0, total=0, message="", begun_at=now, noted_at=now)
        .returning(jobs.c.number)
    )
    number = made.scalar_one()
    newest = select(jobs.c.number).order_by(jobs.c.number.desc()).limit(MOST_KEPT).subquery("newest")
    oldest = connection.execute(select(func.min(newest.c.number))).scalar_one()
    old = (jobs.c.number < oldest) & (jobs.c.state.not_in(ALIVE) | (jobs.c.noted_at < now - DEAD_SECONDS))
    connection.execute(delete(jobs).where(old))
    return Job(number, kind, subject, actor, JobState.QUEUED, 0, 0, "", now, now)


def _note(connection: Connection, signs: Sequence[Sign], now: float) -> None:
    for sign in sorted(signs, key=lambda sign: sign.number):  # one order for all: nobody deadlocks
        values = {"state": sign.state.value, "done": sign.done, "total": sign.total, "message": sign.message}
        ended_at = now if sign.state.is_over else None
        is_alive = (jobs.c.number == sign.number) & jobs.c.state.in_(ALIVE)
        connection.execute(update(jobs).where(is_alive).values(**values, noted_at=now, ended_at=ended_at))


def _list(
    connection: Connection, states: Sequence[JobState], before: int | None, limit: int, now: float
) -> list[Job]:
    asked = select(jobs).order_by(jobs.c.number.desc()).limit(limit)
    if before is not None:
        asked = asked.where(jobs.c.number < before)
    is_dead = jobs.c.state.in_(ALIVE) & (jobs.c.noted_at < now - DEAD_SECONDS)
    if states:
        is_one = jobs.c.state.in_(states) & ~is_dead
        asked = asked.where(is_one | is_dead if JobState.INTERRUPTED in states else is_one)
    return [_job(row, now) for row in connection.execute(asked)]


def _find(connection: Connection, number: int, now: float) -> Job | None:
    row = connection.execute(select(jobs).where(jobs.c.number == number)).first()
    return None if row is None else _job(row, now)


def _job(row: Row[tuple[object, ...]], now: float) -> Job:
    state, ended_at = JobState(row.state), row.ended_at
    if not state.is_over and row.noted_at < now - DEAD_SECONDS:
        state, ended_at = JobState.INTERRUPTED, row.noted_at
    return Job(
        number=row.number,
        kind=row.kind,
        subject=row.subject,
        actor=row.actor,
        state=state,
        done=row.done,
        total=row.total,
        message=row.message,
        begun_at=row.begun_at,
        noted_at=row.noted_at,
        ended_at=ended_at,
    )
