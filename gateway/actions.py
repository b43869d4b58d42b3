"""What people may do with what is held: refresh, purge, pin, pull: noted each time; what is long is a job."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.audit import Note
from gateway.collected import Order, Report
from gateway.jobs import JobDesk, JobFailed, JobKind, Progress
from gateway.oci.location import Location
from gateway.pins import PinDesk
from gateway.pull_whole import WholePuller
from gateway.purge import Purger
from gateway.refresh import Refreshed, Refresher, Verdict
from gateway.scrub import Scrubbed
from gateway.store.job_book import Job
from gateway.store.pins import Pin
from gateway.store.purge_rows import Doom, Purge

_MOST_TOLD = 50
_QUIET = frozenset({Verdict.UNCHANGED, Verdict.HIDDEN})


class Scrub(Protocol):
    """Hashes all that is stored, as ``Scrubber.scrub`` does."""

    async def __call__(
        self,
        bytes_per_second: float | None = None,
        tell: Callable[[int, int], None] = ...,
        *,
        fetches_missing: bool = False,
    ) -> Scrubbed: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """``actor`` is who asked, for the audit. ``own_hosts`` are those that a reference may begin with."""

    refresher: Refresher
    purger: Purger
    pins: PinDesk
    whole: WholePuller
    collect: Callable[[Order, Callable[[str], None]], Awaitable[Report]]
    scrub_all: Scrub
    quota_bytes: int | None
    jobs: JobDesk
    note: Note
    own_hosts: Collection[str]

    async def refresh(self, location: Location, actor: str) -> Job:
        """Ask upstream for a tag, or for all that is held of a name."""

        async def run(progress: Progress) -> str:
            return _told(await self.refresher.refresh(location, progress))

        return await self._begin(JobKind.REFRESH, "cache.refresh", str(location), actor, run)

    async def refresh_now(self, location: Location, actor: str) -> Refreshed:
        """The same of a tag, waited for."""
        (done,) = await self.refresher.refresh(location)
        await self.note(actor, "cache.refresh", str(location), f"{done.verdict.value}: {done.detail}")
        return done

    async def purge(self, location: Location, doom: Doom, actor: str) -> Purge:
        done = await self.purger.purge(doom)
        targets = ", ".join(map(str, doom.targets))
        told = f"{targets}: {len(done.tags)} tags, {len(done.manifests)} manifests, {len(done.blobs)} blobs"
        await self.note(actor, "cache.purge", str(location), told)
        return done

    async def pin(self, location: Location, actor: str) -> bool:
        """False where it was pinned already."""
        is_new = await self.pins.pin(location)
        await self.note(actor, "cache.pin", str(location))
        return is_new

    async def unpin(self, location: Location, actor: str) -> bool:
        """False where it was not pinned."""
        is_gone = await self.pins.unpin(location)
        await self.note(actor, "cache.unpin", str(location))
        return is_gone

    async def pinned(self) -> Sequence[Pin]:
        return await self.pins.list_all()

    async def pull(self, locations: Sequence[Location], platforms: frozenset[str], actor: str) -> Job:
        """Pull them with all their parts."""
        subject = str(locations[0]) if len(locations) == 1 else f"{len(locations)} references"

        async def run(progress: Progress) -> str:
            return await self.whole.pull_all(locations, platforms, progress)

        return await self._begin(JobKind.PULL, "cache.pull", subject, actor, run)

    async def collect_garbage(self, actor: str, *, is_dry: bool) -> Job:
        order = Order(quota_bytes=self.quota_bytes, is_dry=is_dry)

        async def run(progress: Progress) -> str:
            return _collected(await self.collect(order, lambda told: progress(0, 0, told)), is_dry=is_dry)

        subject = "what would go" if is_dry else "down to the quota"
        return await self._begin(JobKind.GC, "storage.gc", subject, actor, run)

    async def scrub(self, actor: str, *, fetches_missing: bool) -> Job:
        async def run(progress: Progress) -> str:
            return _scrubbed(await self.scrub_all(None, progress, fetches_missing=fetches_missing))

        subject = "all that is stored, and what is missing" if fetches_missing else "all that is stored"
        return await self._begin(JobKind.SCRUB, "storage.scrub", subject, actor, run)

    async def _begin(
        self, kind: JobKind, action: str, subject: str, actor: str, run: Callable[[Progress], Awaitable[str]]
    ) -> Job:
        job = await self.jobs.start(kind, subject, actor, run)
        await self.note(actor, action, subject, f"job {job.number}")
        return job


def _told(refreshed: Sequence[Refreshed]) -> str:
    """How many of each, and which were more than unchanged; raise JobFailed where some could not be asked."""
    counts = {verdict: sum(one.verdict is verdict for one in refreshed) for verdict in Verdict}
    summary = ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items() if count)
    lines = [
        f"{one.what}: {one.verdict.value}: {one.detail}" for one in refreshed if one.verdict not in _QUIET
    ]
    told = "\n".join((summary, *lines[:_MOST_TOLD]))
    if any(one.is_failure for one in refreshed):
        raise JobFailed(told)
    return told


def _collected(report: Report, *, is_dry: bool) -> str:
    would = "would be " if is_dry else ""
    parts = (
        f"{len(report.evicted)} layers {would}evicted",
        f"{len(report.swept)} files that nothing names {would}swept",
        f"{report.removed_count} set aside before {would}removed ({report.freed_bytes / 1e6:.1f} MB)",
    )
    told = "; ".join(parts)
    if report.fuse is not None:
        raise JobFailed(f"{told}\nnothing was swept: {report.fuse}")
    if report.over_bytes:
        raise JobFailed(f"{told}\n{report.over_bytes / 1e6:.1f} MB above the quota: nothing else may go")
    return told


def _scrubbed(report: Scrubbed) -> str:
    told = (
        f"{report.files} files and {report.manifests} manifests hashed ({report.size_bytes / 1e6:.1f} MB); "
        f"{len(report.damaged)} damaged, {report.healed} healed, {report.fetched} missing ones fetched"
    )
    if report.unhealed:
        lines = [f"{one.digest} ({', '.join(one.names)}): {one.reason}" for one in report.unhealed]
        raise JobFailed("\n".join((told, *lines[:_MOST_TOLD])))
    return told
