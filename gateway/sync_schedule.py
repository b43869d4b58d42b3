"""Mirror lists brought up to date when they are due, by one worker of a replica; of replicas by one."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import structlog

from gateway.oci.errors import OciError
from gateway.rules.sync_lists import SyncList
from gateway.store.blobs import StorageFailed
from gateway.store.sync_runs import RunState, SyncRun, SyncRuns
from gateway.sync_plan import SyncReport
from gateway.sync_work import JITTER, Syncer, SyncRunning

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 60.0
_SETTLED_SECONDS: Final = 10.0
_AT_ONCE: Final = 3  # lists; each pulls several things at once
_FIRST_SHARE: Final = 0.1  # of the interval: of many new lists not all at once
_FIRST_SECONDS: Final = 300.0  # at the most


class SyncSchedule:
    """``lists`` are those of the rules in force; ``now`` gives seconds since the epoch."""

    def __init__(
        self,
        lists: Callable[[], Sequence[SyncList]],
        syncer: Syncer,
        runs: SyncRuns,
        is_offline: Callable[[], bool],
        now: Callable[[], float],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._lists = lists
        self._syncer = syncer
        self._runs = runs
        self._is_offline = is_offline
        self._now = now
        self._sleep = sleep
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._running: set[str] = set()
        self._first_at: dict[str, float] = {}  # of lists that never ran

    async def run(self) -> None:
        """Never ends by itself."""
        await self._sleep(_SETTLED_SECONDS)
        async with asyncio.TaskGroup() as group:
            while True:
                for wanted in await self._due():
                    if wanted.name not in self._running:
                        self._running.add(wanted.name)
                        group.create_task(self._in_turn(wanted))
                await self._sleep(LOOK_SECONDS * (1 + random.uniform(-JITTER, JITTER)))  # noqa: S311

    async def due(self) -> Sequence[SyncList]:
        """Let go of what lists that are gone kept; return those of the rules that are due."""
        try:
            for name in await self._runs.forget_others([one.name for one in self._lists()]):
                log.info("sync_list_gone", list=name, means="what it kept stays, and may be evicted again")
            if self._is_offline():
                return []
            runs = {run.name: run for run in await self._runs.all()}
        except StorageFailed as error:
            log.warning("sync_not_looked_at", reason=str(error))
            return []
        return [one for one in self._lists() if self._is_due(one, runs.get(one.name))]

    async def _due(self) -> Sequence[SyncList]:
        try:
            return await self.due()
        except Exception:  # whatever it is, the next time it may be over, and others run beside this
            log.exception("upkeep_failed", job="sync")
            return []

    async def bring(self, wanted: SyncList) -> None:
        """Bring one up to date, unless another process is at it, or was."""
        try:
            report = await self._syncer.run_if(wanted, partial(self._is_due, wanted))
        except SyncRunning:
            return
        except (OciError, StorageFailed, OSError) as error:  # the last: no lock is to be had
            log.warning("sync_failed", list=wanted.name, reason=str(error))
            return
        if report is not None:
            _tell(report)

    async def _in_turn(self, wanted: SyncList) -> None:
        try:
            async with self._turns:
                await self.bring(wanted)
        except Exception:  # whatever it is, the next time it may be over
            log.exception("upkeep_failed", job=f"sync {wanted.name}")
        finally:
            self._running.discard(wanted.name)

    def _is_due(self, wanted: SyncList, run: SyncRun | None) -> bool:
        every, now = wanted.every_seconds, self._now()
        if every is None:
            return False
        if run is None:
            first = random.uniform(0, min(every * _FIRST_SHARE, _FIRST_SECONDS))  # noqa: S311
            return now >= self._first_at.setdefault(wanted.name, now + first)
        if run.state is RunState.RUNNING or (run.state is RunState.INTERRUPTED and run.next_at is None):
            return True  # unless its lock is held: else who ran it is gone
        latest = (run.ended_at or run.noted_at) + every * (1 + JITTER)  # the rules may say more often by now
        due_at = latest if run.next_at is None else min(run.next_at, latest)
        return not run.begun_at <= now < due_at  # a clock that was set back would keep it for years


def _tell(report: SyncReport) -> None:
    told = {
        "list": report.name,
        "fetched": report.fetched,
        "removed": report.removed,
        "failures": report.failed,
        "seconds": round(report.seconds, 1),
    }
    if report.is_failure:
        first = report.failures[0]
        log.warning("sync_failed", reason=f"{first.what}: {first.reason}", **told)
    else:
        log.info("sync_done", **told)
