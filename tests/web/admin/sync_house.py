"""A desk with mirror lists alone: real rows, real jobs, and a syncer that does as it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from gateway.jobs import JobDesk
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet
from gateway.rules.sync_lists import SyncList
from gateway.store.admin_tables import metadata
from gateway.store.job_book import JobBook
from gateway.store.retention import RetentionBook
from gateway.store.sync_runs import SyncRuns
from gateway.sync_desk import SyncDesk
from gateway.sync_plan import Kind, SyncFailure, SyncItem, SyncPlan, SyncProgress, SyncReport
from gateway.sync_work import SyncRunning
from gateway.web.admin import sync_api
from gateway.web.admin.pages import Drawer
from gateway.web.admin.sync_pages import SyncPages
from tests.sources.helm_parts import Clock, open_catalog
from tests.web.admin_house import open_desk

LISTS = """\
version: 1
sync:
  - name: the platform
    every: 6h
    charts: [{repository: argo/argo-cd, newest: 3}]
    images: [{repository: quay.io/tools/app, newest: 1}]
  - name: by hand
    images: [{repository: quay.io/tools/other, newest: 1}]
"""


@dataclass
class ToldSyncer:
    """Comes to what it was given; waits where it is held up."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    failures: tuple[SyncFailure, ...] = ()
    is_running_elsewhere: bool = False

    async def plan(self, wanted: SyncList) -> SyncPlan:
        self.begun.set()
        await self.go_on.wait()
        items = (
            SyncItem("argo/argo-cd", "7.1.0", Kind.CHART, "argo/argo-cd", is_held=False, size_bytes=2048),
            SyncItem("argo/argo-cd", "7.0.0", Kind.CHART, "argo/argo-cd", is_held=True),
        )
        return SyncPlan(wanted.name, items, ["argo/argo-cd:6.0.0"], ["one remark"], self.failures)

    async def run(self, wanted: SyncList, actor: str, tell: Callable[[SyncProgress], None]) -> SyncReport:
        if self.is_running_elsewhere:
            raise SyncRunning(wanted.name)
        tell(SyncProgress(1, 3, 5_000_000, "argo/argo-cd:7.1.0"))
        self.begun.set()
        await self.go_on.wait()
        failed = len(self.failures)
        return SyncReport(wanted.name, 2, 1, 0, failed, 5_000_000, 1.0, failures=self.failures)


@dataclass
class SyncHouse:
    """``noted`` is the audit: who did what to what."""

    desk: httpx.AsyncClient
    sync: SyncDesk
    syncer: ToldSyncer
    jobs: JobDesk
    runs: SyncRuns
    kept: RetentionBook
    clock: Clock
    rules: list[RuleSet]
    noted: list[tuple[str, str, str]]

    async def ended(self, number: int) -> str:
        job = await self.jobs.ended(number)
        return f"{job.state.value}: {job.message}"


@asynccontextmanager
async def sync_house(folder: Path) -> AsyncIterator[SyncHouse]:
    engines, clock = open_catalog(folder), Clock()
    metadata.create_all(engines.writer)
    noted: list[tuple[str, str, str]] = []

    async def note(actor: str, action: str, subject: str, detail: str = "") -> None:
        noted.append((actor, action, subject))

    jobs, runs, kept = JobDesk(JobBook(engines), clock), SyncRuns(engines, clock), RetentionBook(engines)
    rules, syncer, drawer = [load_rules(LISTS)], ToldSyncer(), Drawer("test", clock)
    sync = SyncDesk(
        rules=lambda: rules[0], syncer=syncer, runs=runs, kept=kept, jobs=jobs, note=note, now=clock
    )
    pages = SyncPages(sync, drawer).pages()
    async with open_desk(endpoints=sync_api.operations(sync), pages=pages, drawer=drawer) as desk:
        try:
            yield SyncHouse(desk, sync, syncer, jobs, runs, kept, clock, rules, noted)
        finally:
            await jobs.close()
            await engines.close()
