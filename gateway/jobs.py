"""What takes long at the admin's desk: run behind, a few at once, told while it runs, ended on request."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol

import structlog

from gateway.oci.errors import OciError, Situation
from gateway.store.blobs import StorageFailed
from gateway.store.gc_turn import TurnTaken
from gateway.store.job_book import ALIVE, Job, JobBook, JobState, Sign

log = structlog.get_logger(__name__)

RUNNING: Final = 4
QUEUED: Final = 100
NOTE_SECONDS: Final = 1.0
SIGN_SECONDS: Final = 5.0
_MESSAGE_LENGTH: Final = 10_000
_RETRY_AFTER_SECONDS: Final = 30


class JobKind(StrEnum):
    PULL = "pull"
    REFRESH = "refresh"
    GC = "gc"
    SCRUB = "scrub"
    SYNC = "sync"
    PLAN = "sync plan"
    EXPORT = "export"
    IMPORT = "import"


class JobFailed(Exception):
    """It came to its end, and not everything was done; the message says what was not."""


class Progress(Protocol):
    """Told as often as one likes; what is told is seen once a second."""

    def __call__(self, done: int, total: int, message: str = "") -> None: ...


Run = Callable[[Progress], Awaitable[str]]


@dataclass(slots=True, eq=False)
class _Running:
    """A job of this process; ``noted_at`` is when its row was written last."""

    job: Job
    run: Run
    noted_at: float
    task: asyncio.Task[None] | None = None
    is_cancelled: bool = False
    is_told: bool = False  # something is to be noted
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, done: int, total: int, message: str = "") -> None:
        if not self.job.state.is_over:
            self.job = replace(self.job, done=done, total=total, message=message[:_MESSAGE_LENGTH])
            self.is_told = True

    @property
    def sign(self) -> Sign:
        job = self.job
        return Sign(job.number, job.state, job.done, job.total, job.message)


class JobDesk:
    """Jobs of one process; the rows of all. ``now`` gives seconds since the epoch.

    They end with the process. What they began upstream is finished: flights are nobody's.
    """

    def __init__(
        self,
        book: JobBook,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._book = book
        self._now = now
        self._sleep = sleep
        self._queue: deque[_Running] = deque()
        self._running: dict[int, _Running] = {}
        self._ticker: asyncio.Task[None] | None = None

    async def start(self, kind: JobKind, subject: str, actor: str, run: Run) -> Job:
        """Begin it as soon as there is room; raise OciError RATE_LIMITED where too much waits already.

        ``run`` returns what it came to, for people.
        """
        if len(self._queue) >= QUEUED:
            message = f"{QUEUED} jobs wait already: cancel some, or wait until they are done"
            raise OciError(Situation.RATE_LIMITED, message, retry_after_seconds=_RETRY_AFTER_SECONDS)
        job = await self._book.add(kind.value, subject, actor, self._now())
        self._queue.append(_Running(job, run, job.noted_at))
        self._go_on()
        if self._ticker is None or self._ticker.done():
            self._ticker = asyncio.create_task(self._tick())
        return job

    async def list(self, state: str = "", before: int | None = None, limit: int = 50) -> Sequence[Job]:
        """Newest first; those of this process as far as they are this moment."""
        wanted = JobState(state) if state else None
        if wanted is None or wanted.is_over:
            found = await self._book.list([] if wanted is None else [wanted], before, limit, self._now())
            return [self._as_it_is(job) for job in found]
        alive = await self._book.list(ALIVE, before, limit + RUNNING + QUEUED, self._now())
        known = [self._as_it_is(job) for job in alive]  # which may have begun since its row was written
        return [job for job in known if job.state is wanted][:limit]

    async def find(self, number: int) -> Job:
        """Raise OciError RESOURCE_NOT_KNOWN."""
        found = await self._book.find(number, self._now())
        if found is None:
            raise OciError(Situation.RESOURCE_NOT_KNOWN, f"there is no job {number}, or it is long over")
        return self._as_it_is(found)

    async def cancel(self, number: int) -> bool:
        """End it; what it has done stays. False where it is over, or another process runs it."""
        one = self._mine(number)
        if one is None or one.job.state.is_over:
            return False
        one.is_cancelled = True
        if one.task is None:
            self._queue.remove(one)
            await self._end([one], JobState.CANCELLED, "cancelled before it began")
        else:
            one.task.cancel()
            await one.ended.wait()
        return True

    async def ended(self, number: int) -> Job:
        """Wait for the end of a job of this process."""
        one = self._mine(number)
        if one is not None:
            await one.ended.wait()
        return await self.find(number)

    async def close(self) -> None:
        """End all, which they are told as interrupted for."""
        waiting = list(self._queue)
        self._queue.clear()
        if waiting:
            await self._end(waiting, JobState.INTERRUPTED, "the gateway was stopped before it began")
        tasks = [one.task for one in self._running.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)

    def _mine(self, number: int) -> _Running | None:
        waiting = next((one for one in self._queue if one.job.number == number), None)
        return self._running.get(number) or waiting

    def _as_it_is(self, job: Job) -> Job:
        one = self._mine(job.number)
        return job if one is None else one.job

    def _go_on(self) -> None:
        while self._queue and len(self._running) < RUNNING:
            one = self._queue.popleft()
            one.job = replace(one.job, state=JobState.RUNNING)
            one.is_told = True
            self._running[one.job.number] = one
            one.task = asyncio.create_task(self._run(one))

    async def _run(self, one: _Running) -> None:
        try:
            state, message = JobState.DONE, await one.run(one.tell)
        except asyncio.CancelledError:
            state = JobState.CANCELLED if one.is_cancelled else JobState.INTERRUPTED
            message = "cancelled: what it had done stays" if one.is_cancelled else "the gateway was stopped"
        except (JobFailed, OciError, StorageFailed, TurnTaken) as error:
            state, message = JobState.FAILED, str(error)
        except Exception:
            log.exception("job_failed", job=one.job.number, kind=one.job.kind)
            state, message = JobState.FAILED, "a fault of the gateway's own: the log has it"
        try:
            await self._end([one], state, message)
        finally:
            del self._running[one.job.number]
            self._go_on()

    async def _end(self, ended: Sequence[_Running], state: JobState, message: str) -> None:
        now = self._now()
        for one in ended:
            one.job = replace(one.job, state=state, message=message[:_MESSAGE_LENGTH], ended_at=now)
        try:
            await self._book.note([one.sign for one in ended], now)
        except StorageFailed as error:
            log.warning("jobs_not_noted", reason=str(error))
        finally:
            for one in ended:
                one.ended.set()

    async def _tick(self) -> None:
        """Note what was told, and that those who say nothing still live."""
        while alive := [*self._running.values(), *self._queue]:
            due = [one for one in alive if one.is_told or self._now() - one.noted_at >= SIGN_SECONDS]
            try:
                if due:
                    await self._note(due)
            except StorageFailed as error:
                log.warning("jobs_not_noted", reason=str(error))
            await self._sleep(NOTE_SECONDS)

    async def _note(self, due: Sequence[_Running]) -> None:
        now = self._now()
        for one in due:
            one.is_told, one.noted_at = False, now
        await self._book.note([one.sign for one in due if not one.job.state.is_over], now)
