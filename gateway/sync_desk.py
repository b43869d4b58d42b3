"""Mirror lists at the desk: which there are, how their last runs went; run and planned as jobs."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from gateway.audit import Note
from gateway.jobs import JobDesk, JobFailed, JobKind, Progress
from gateway.oci.errors import OciError, Situation
from gateway.rules.model import RuleSet
from gateway.rules.sync_lists import SyncList
from gateway.store.job_book import Job
from gateway.store.retention import keeper_of_list
from gateway.store.sync_runs import RunState, SyncRun
from gateway.sync_plan import SyncFailure, SyncPlan, SyncProgress, SyncReport
from gateway.sync_work import SyncRunning

_MOST_TOLD: Final = 50


class Syncer(Protocol):
    """Runs a list, or tells what that would do; raise SyncRunning where another process is at it."""

    async def plan(self, wanted: SyncList) -> SyncPlan: ...

    async def run(self, wanted: SyncList, actor: str, tell: Callable[[SyncProgress], None]) -> SyncReport: ...


class Runs(Protocol):
    """The last run of each list, whichever process it was in."""

    async def all(self) -> Sequence[SyncRun]: ...


class Kept(Protocol):
    """How much each keeper wants kept."""

    async def counts(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True)
class SeenList:
    """A list of the rules; ``kept`` is how many tags and digests it keeps, ``run`` the last one.

    ``report`` is what that came to, None while it runs.
    """

    wanted: SyncList
    kept: int
    run: SyncRun | None
    report: SyncReport | None


@dataclass(frozen=True, slots=True)
class Planned:
    """What a run would have done at ``made_at``, in seconds since the epoch."""

    plan: SyncPlan
    made_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncDesk:
    """``rules`` are those in force; ``now`` gives seconds since the epoch."""

    rules: Callable[[], RuleSet]
    syncer: Syncer
    runs: Runs
    kept: Kept
    jobs: JobDesk
    note: Note
    now: Callable[[], float]
    _plans: dict[str, Planned] = field(default_factory=dict)
    _numbers: dict[tuple[JobKind, str], int] = field(default_factory=dict)

    async def lists(self) -> Sequence[SeenList]:
        """In the order of the rules."""
        wanted = self.rules().sync
        if not wanted:
            return []
        runs = {run.name: run for run in await self.runs.all()}
        kept = await self.kept.counts()
        return [
            SeenList(
                one,
                kept.get(keeper_of_list(one.name), 0),
                runs.get(one.name),
                _report_of(runs.get(one.name)),
            )
            for one in wanted
        ]

    async def run(self, names: Sequence[str], actor: str) -> Sequence[Job]:
        """Bring these up to date, or all where none is named; a job that is at one already will do.

        Raise OciError before any is begun.
        """
        wanted = [self._wanted(name) for name in dict.fromkeys(names)] if names else list(self.rules().sync)
        if not wanted:
            raise OciError(Situation.RESOURCE_NOT_KNOWN, "there is no list: sync: in the rules names some")
        return [await self.job(JobKind.SYNC, one.name) or await self._run(one, actor) for one in wanted]

    async def plan(self, name: str, actor: str) -> Job:
        """Find out what a run would do; ``planned`` has it then. A job that is at it already will do."""
        wanted = self._wanted(name)
        under_way = await self.job(JobKind.PLAN, name)
        if under_way is not None:
            return under_way

        async def run(progress: Progress) -> str:
            progress(0, 0, "asking what there is")
            plan = await self.syncer.plan(wanted)
            self._plans[name] = Planned(plan, self.now())
            return _told_plan(plan)

        return await self._begin(JobKind.PLAN, "sync.plan", name, actor, run)

    def planned(self, name: str) -> Planned | None:
        """The newest plan that was made here; raise OciError for a list that is not in the rules."""
        return self._plans.get(self._wanted(name).name)

    async def job(self, kind: JobKind, name: str) -> Job | None:
        """The one of this process that is at a list just now."""
        number = self._numbers.get((kind, name))
        if number is None:
            return None
        alive = (*await self.jobs.list("running"), *await self.jobs.list("queued"))
        return next((job for job in alive if job.number == number), None)

    async def _run(self, wanted: SyncList, actor: str) -> Job:
        async def run(progress: Progress) -> str:
            def tell(told: SyncProgress) -> None:
                progress(told.done, told.total, _told_progress(told))

            try:
                report = await self.syncer.run(wanted, actor, tell)
            except SyncRunning as error:
                raise JobFailed(str(error)) from error
            if report.is_failure:
                raise JobFailed(_told_report(report))
            return _told_report(report)

        return await self._begin(JobKind.SYNC, "sync.run", wanted.name, actor, run)

    async def _begin(
        self, kind: JobKind, action: str, name: str, actor: str, run: Callable[[Progress], Awaitable[str]]
    ) -> Job:
        job = await self.jobs.start(kind, name, actor, run)
        self._numbers[kind, name] = job.number
        await self.note(actor, action, name, f"job {job.number}")
        return job

    def _wanted(self, name: str) -> SyncList:
        for one in self.rules().sync:
            if one.name == name:
                return one
        raise OciError(
            Situation.RESOURCE_NOT_KNOWN, f"no list of the rules in force is called {name[:100]!r}"
        )


def told_failures(failures: Sequence[SyncFailure], failed: int) -> Sequence[str]:
    """A line each, some of them."""
    shown = failures[:_MOST_TOLD]
    more = failed - len(shown)
    return [*(f"{one.what}: {one.reason}" for one in shown), *([f"and {more} more"] if more > 0 else [])]


def _report_of(run: SyncRun | None) -> SyncReport | None:
    if run is None or run.state is RunState.RUNNING or not run.report:
        return None
    try:
        return msgspec.json.decode(run.report, type=SyncReport)
    except (msgspec.DecodeError, msgspec.ValidationError):  # written by another version
        return None


def _told_progress(told: SyncProgress) -> str:
    far = f"{told.done} of {told.total}, {told.size_bytes / 1e6:.1f} MB"
    return f"{far}: {told.message}" if told.message else far


def _told_report(report: SyncReport) -> str:
    counts = (
        *(f"{report.fetched} fetched", f"{report.held} held already"),
        *([f"{report.removed} removed"] if report.removed else []),
        *([f"{report.failed} failed"] if report.failed else []),
    )
    summary = f"{', '.join(counts)}; {report.size_bytes / 1e6:.1f} MB in {report.seconds:.0f} s"
    lines = told_failures(report.failures, report.failed)
    return "\n".join((summary, *lines, *report.remarks[:_MOST_TOLD]))


def _told_plan(plan: SyncPlan) -> str:
    fetched, removed = len(plan.fetched), len(plan.removals)
    summary = f"{fetched} of {len(plan.items)} would be fetched, {plan.size_bytes / 1e6:.1f} MB at least"
    removals = f"; {removed} would be removed" if removed else ""
    lines = told_failures(plan.failures, len(plan.failures))
    return "\n".join((summary + removals, *lines, *plan.remarks[:_MOST_TOLD]))
