"""What has to be done now and then, by one worker of each data directory: copies, eviction, checks."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_JITTER: Final = 0.1  # of several replicas not all at once


@dataclass(frozen=True, slots=True)
class Job:
    """Something done every so often, first after ``first_seconds``; it decides itself whether it is due."""

    name: str
    every_seconds: float
    run: Callable[[], Awaitable[object]]
    first_seconds: float = 10.0


class Upkeep:
    """Runs each job by itself: one that fails or takes long keeps none of the others."""

    def __init__(
        self, jobs: Sequence[Job], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._jobs = jobs
        self._sleep = sleep

    async def run(self) -> None:
        """Never ends by itself."""
        async with asyncio.TaskGroup() as group:
            for job in self._jobs:
                group.create_task(self._repeat(job))

    async def _repeat(self, job: Job) -> None:
        await self._sleep(job.first_seconds)
        while True:
            try:
                await job.run()
            except Exception:  # whatever it is, the next time it may be over
                log.exception("upkeep_failed", job=job.name)
            await self._sleep(job.every_seconds * (1 + random.uniform(-_JITTER, _JITTER)))  # noqa: S311
