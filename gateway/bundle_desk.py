"""Bundles at the desk: made while they are sent, taken in while they come; each of them a job."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeVar

from gateway.audit import Note
from gateway.bundle_checks import BundleRefused
from gateway.bundle_export import Exported, ExportFailed, ExportOptions
from gateway.bundle_import import ImportOptions, ImportReport
from gateway.bundle_selection import NotWhole, Selected, Selector
from gateway.bundle_staging import ImportRunning
from gateway.jobs import JobDesk, JobFailed, JobKind, Progress
from gateway.oci.errors import OciError, Situation
from gateway.oci.location import Location
from gateway.rules.spelling import counted
from gateway.store.blobs import StorageFailed
from gateway.store.import_rows import Fate
from gateway.store.job_book import Job

_MOST_KEPT: Final = 20
_MOST_TOLD: Final = 50

Done = TypeVar("Done")


class Inflow(Protocol):
    """A bundle that comes: read in a thread, and closed here where nobody wants it any more."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class Importer(Protocol):
    """Takes a bundle in, all of it or nothing; raise BundleRefused, ImportRunning, StorageFailed."""

    async def import_(
        self, stream: Inflow, options: ImportOptions, tell: Callable[[int, int], None]
    ) -> ImportReport: ...


class Outflow(Protocol):
    """A bundle that leaves: written in a thread, ended here; ``write`` raises where nobody takes it."""

    def write(self, content: memoryview, /) -> object: ...

    def finish(self) -> None: ...

    def fail(self, error: Exception) -> None: ...


class Exporter(Protocol):
    """Writes a bundle; raise ExportFailed, StorageFailed, and what the sink raises."""

    async def export(
        self, selected: Selected, out: Outflow, options: ExportOptions, tell: Callable[[int, int], None]
    ) -> Exported: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """One of: the list ``sync``, what ``locations`` name, or everything held."""

    sync: str = ""
    locations: Sequence[Location] = ()
    skips_unheld: bool = False
    compresses: bool = False

    @property
    def told(self) -> str:
        if self.sync:
            return f"the list {self.sync}"
        first = str(self.locations[0]) if len(self.locations) == 1 else f"{len(self.locations)} references"
        return first if self.locations else "everything held"


@dataclass(frozen=True, slots=True)
class Taken:
    """What an import came to, as job ``number``."""

    number: int
    report: ImportReport


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleDesk:
    """``key`` is where the public key lies, if it does, that every bundle must be signed with."""

    selector: Selector
    exporter: Exporter
    importer: Importer
    key: Path
    jobs: JobDesk
    note: Note
    _taken: OrderedDict[int, ImportReport] = field(default_factory=OrderedDict)

    async def send(self, wanted: Wanted, out: Outflow, actor: str) -> Job:
        """Export it as a job that ends with ``out``; raise OciError for what is not held, StorageFailed."""
        selected = await self._selected(wanted)

        async def run(progress: Progress) -> str:
            try:
                options = ExportOptions(is_compressed=wanted.compresses)
                exporting = self.exporter.export(selected, out, options, _in_loop(progress))
                exported = await _unless_cancelled(exporting, lambda: out.fail(_cancelled()))
            except (ExportFailed, OciError, StorageFailed) as error:
                out.fail(_told_refusal(error))
                raise JobFailed(str(error)) from error
            out.finish()
            return _told_export(exported)

        job = await self.jobs.start(JobKind.EXPORT, wanted.told, actor, run)
        await self.note(actor, "bundle.export", wanted.told, f"job {job.number}")
        return job

    async def take(self, flow: Inflow, options: ImportOptions) -> Taken:
        """Import what comes as a job, and wait for its end.

        Raise OciError where it is refused or cancelled, StorageFailed; then nothing was changed.
        """
        if options.signature is not None and not await self.has_key():
            message = f"there is no key here to check the signature with: it would lie at {self.key.name}"
            raise OciError(Situation.CONFLICT, f"{message} in the data directory")
        outcome: asyncio.Future[ImportReport] = asyncio.get_running_loop().create_future()

        async def run(progress: Progress) -> str:
            try:
                importing = self.importer.import_(flow, options, _in_loop(progress))
                report = await _unless_cancelled(importing, flow.close)
            except (BundleRefused, ImportRunning, OciError, StorageFailed) as error:
                outcome.set_exception(_told_refusal(error))
                raise JobFailed(str(error)) from error
            outcome.set_result(report)
            if report.is_failure:
                raise JobFailed(_told_report(report))
            return _told_report(report)

        subject = "a bundle, to look at it" if options.is_dry else "a bundle"
        job = await self.jobs.start(JobKind.IMPORT, subject, options.actor, run)
        await self.note(options.actor, "bundle.import", subject, _told_options(job, options))
        await self.jobs.ended(job.number)
        if not outcome.done():
            raise _cancelled()
        report = outcome.result()
        self._keep(job.number, report)
        return Taken(job.number, report)

    async def has_key(self) -> bool:
        """Whether bundles must be signed."""
        return await asyncio.to_thread(self.key.is_file)

    def taken(self, number: int) -> ImportReport:
        """What one of the newest imports came to; raise OciError for any other."""
        report = self._taken.get(number)
        if report is None:
            message = f"what import {number} came to is not known here any more: the job has it in words"
            raise OciError(Situation.RESOURCE_NOT_KNOWN, message)
        return report

    async def _selected(self, wanted: Wanted) -> Selected:
        try:
            if wanted.sync:
                return await self.selector.of_list(wanted.sync, skips_unheld=wanted.skips_unheld)
            if wanted.locations:
                return await self.selector.of(wanted.locations, skips_unheld=wanted.skips_unheld)
            return await self.selector.all()
        except NotWhole as error:
            told = [str(one) for one in error.unheld[:_MOST_TOLD]]
            message = f"not all of {wanted.told} is held, and could not be fetched: {'; '.join(told)}"
            raise OciError(Situation.CONFLICT, message, {"missing": told}) from error

    def _keep(self, number: int, report: ImportReport) -> None:
        self._taken[number] = report
        while len(self._taken) > _MOST_KEPT:
            self._taken.popitem(last=False)


async def _unless_cancelled(work: Awaitable[Done], cut: Callable[[], None]) -> Done:
    """Whoever is cancelled cuts off what the work waits for in a thread, and lets it end."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        cut()
        running.cancel()
        await asyncio.wait((running,))
        raise


def _in_loop(progress: Progress) -> Callable[[int, int], None]:
    """Told in a thread, heard where jobs live."""
    loop = asyncio.get_running_loop()

    def tell(done: int, total: int) -> None:
        far = f"{done / 1e6:.1f} MB" + (f" of {total / 1e6:.1f} MB" if total else "")
        loop.call_soon_threadsafe(progress, done, total, far)

    return tell


def _cancelled() -> OciError:
    return OciError(Situation.CONFLICT, "it was cancelled at the desk")


def _told_refusal(error: Exception) -> Exception:
    """As clients are told it."""
    match error:
        case BundleRefused():
            return OciError(Situation.BUNDLE_REFUSED, str(error), {"faults": error.faults})
        case ImportRunning() | ExportFailed():
            return OciError(Situation.CONFLICT, str(error))
        case _:
            return error


def _told_options(job: Job, options: ImportOptions) -> str:
    wished = {"replaces tags": options.replaces, "applies rules": options.applies_rules}
    return ", ".join((f"job {job.number}", *(word for word, is_so in wished.items() if is_so)))


def _told_export(exported: Exported) -> str:
    files, size = counted(exported.blobs, "file"), f"{exported.size_bytes / 1e6:.1f} MB"
    tags, targets = counted(exported.tags, "tag"), counted(exported.targets, "target")
    told = f"{tags} of {targets}: {counted(exported.manifests, 'manifest')} and {files}, {size}"
    skipped = [f"left out, not held whole: {one}" for one in exported.skipped[:_MOST_TOLD]]
    return "\n".join((told, *skipped))


def _told_report(report: ImportReport) -> str:
    would = "would be " if report.is_dry else ""
    words = {
        Fate.ADDED: f"{would}added",
        Fate.REPLACED: f"{would}replaced",
        Fate.KEPT: "kept as they are held",
        Fate.UNCHANGED: "unchanged",
    }
    counts = {fate: len(report.tags_that_are(fate)) for fate in words}
    tags = ", ".join(f"{count} {words[fate]}" for fate, count in counts.items() if count)
    blobs = f"{report.new_blobs} new blobs ({report.size_bytes / 1e6:.1f} MB)"
    conflicts = [*report.tags_that_are(Fate.KEPT), *report.tags_that_are(Fate.REPLACED)]
    lines = [
        f"{one.row.target}:{one.row.tag}: held {one.held}, in the bundle {one.row.digest}"
        for one in conflicts[:_MOST_TOLD]
    ]
    rules = report.rules
    failure = (
        [] if rules is None or rules.failure is None else [f"its rules are not in force: {rules.failure}"]
    )
    return "\n".join((f"tags: {tags or 'none'}; {blobs}", *failure, *lines))
