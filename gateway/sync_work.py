"""Brings a mirror list up to date, one process of all at a time, or tells what that would do."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec
import structlog
from anyio import to_thread

from gateway.oci.errors import OciError, Situation
from gateway.oci.location import Location
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.pull import Puller
from gateway.purge import Purger
from gateway.rules.model import SourceName
from gateway.rules.route import Wanted
from gateway.rules.sync_lists import SyncList
from gateway.sources.base import Source
from gateway.store.blobs import StorageFailed
from gateway.store.catalog import Catalog
from gateway.store.conditions import Conditions
from gateway.store.held_whole import HeldWhole
from gateway.store.retention import Retention, RetentionBook
from gateway.store.sync_runs import Ended, RunState, SyncRun, SyncRuns
from gateway.sync_items import Bringer, Held, Tell, Walk, Walked, Wholes
from gateway.sync_keeping import Keeping
from gateway.sync_names import Meant, Names, Resolver, TagAsker, twice
from gateway.sync_plan import (
    SyncFailure,
    SyncItem,
    SyncPlan,
    SyncProgress,
    SyncReport,
    Wish,
    asker_of,
    asks_needs,
    bounded,
    by_present_names,
    doubtful_names,
    key_of,
    shortened,
    written,
)
from gateway.sync_ready import Charts, Ready
from gateway.sync_sizes import Sizes

log = structlog.get_logger(__name__)

SCHEDULE: Final = "schedule"  # the actor of a run that nobody asked for
JITTER: Final = 0.1  # of several lists, and replicas, not all at once
SIGN_SECONDS: Final = 5.0


class SyncRunning(Exception):
    """Another process is at this list just now, or another task of this one."""


class Locks(Protocol):
    """Locks by key for all processes that share the catalog."""

    def try_hold(self, key: str) -> AbstractAsyncContextManager[bool]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncParts:
    """``puller`` lets through what the rules know, also private. ``copy`` copies a catalog that is a file.

    ``now`` gives seconds since the epoch.
    """

    puller: Puller
    wholes: Wholes
    charts: Charts
    names: Names
    catalog: Catalog
    held_whole: HeldWhole
    sources: Mapping[SourceName, Source]
    book: RetentionBook
    runs: SyncRuns
    purger: Purger
    locks: Locks
    conditions: Conditions
    is_offline: Callable[[], bool]
    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    copy: Callable[[], Awaitable[bool]] | None = None


@dataclass(slots=True)
class _Run:
    """One list, looked at once: what of it is meant, and what came of that."""

    wanted: SyncList
    began_at: float
    meant: Meant = field(default_factory=Meant)
    walked: Walked = field(default_factory=Walked)
    stopped: str = ""

    @property
    def failures(self) -> Sequence[SyncFailure]:
        found = [SyncFailure(what, reason) for what, reason in self.meant.failures.items()]
        for location, error in self.walked.failures.items():
            by = asker_of(location.name.name, self.walked.wishes[location].wanted_by)
            found.append(SyncFailure(f"{location}{f' (for {by})' if by else ''}", error.message))
        return [*found, *([SyncFailure("the rest", self.stopped)] if self.stopped else [])]

    @property
    def remarks(self) -> Sequence[str]:
        return [*self.meant.remarks, *self.walked.remarks]

    @property
    def keys(self) -> frozenset[tuple[str, str]]:
        """All that is meant, by its entries or by charts that need it."""
        return frozenset(map(key_of, self.walked.wishes))


class Syncer:
    """May be asked for several lists at once; each has one run at a time."""

    def __init__(self, parts: SyncParts) -> None:
        self._parts = parts

    async def plan(self, wanted: SyncList) -> SyncPlan:
        """What a run would do: charts whose needs are asked for are pulled to be read, and nothing else.

        Raise OciError offline; whatever else is wrong is told in the plan.
        """
        self._require_online()
        run, parts = _Run(wanted, self._parts.now()), self._parts
        asker, bringer = TagAsker(parts.puller, run.began_at), self._bringer(run)
        run.meant = await Resolver(parts.puller, parts.names, asker, _unheard).resolve(wanted)
        ready = Ready(parts.puller, parts.held_whole, parts.charts)

        async def step(location: Location, wish: Wish) -> Held:
            return ready.take(location, wish) or await bringer.look(location, wish)

        await ready.look(run.meant.items)
        walk = Walk(step, ready.needs, asker, lambda _told: None)
        run.walked = await walk.go(run.meant.items)
        sizes = await self._sizes(run)
        keeping = self._keeping(wanted)
        kept = await self._kept(run, keeping)
        self._doubt(run, [one.name for one in kept])
        going = await keeping.going(kept, run.keys, run.meant.doubts)
        items = await to_thread.run_sync(_items, run, sizes)
        removed = [written(one.name, one.reference) for one in going]
        return SyncPlan(wanted.name, items, removed, shortened(run.remarks), run.failures)

    async def run(self, wanted: SyncList, actor: str, tell: Tell = lambda _told: None) -> SyncReport:
        """Bring a list up to date.

        Raise SyncRunning where somebody is at it, OciError offline, StorageFailed where not even that it
        runs can be noted; whatever else goes wrong is told in the report. What has come stays, however it
        ends, and the next run goes on from there.
        """
        self._require_online()
        async with self._turn(wanted):
            return await self._noted(wanted, actor, tell)

    async def run_if(
        self, wanted: SyncList, is_due: Callable[[SyncRun | None], bool], tell: Tell = lambda _told: None
    ) -> SyncReport | None:
        """The same on schedule; None where it is not due any more: another process was quicker."""
        self._require_online()
        async with self._turn(wanted):
            if not is_due(await self._parts.runs.find(wanted.name)):
                return None
            return await self._noted(wanted, SCHEDULE, tell)

    def _require_online(self) -> None:
        if self._parts.is_offline():
            message = "offline: nobody is asked, and mirror lists stay as they are"
            raise OciError(Situation.NOT_HELD_OFFLINE, message)

    @asynccontextmanager
    async def _turn(self, wanted: SyncList) -> AsyncIterator[None]:
        async with self._parts.locks.try_hold(f"sync:{wanted.name}") as is_mine:
            if not is_mine:
                raise SyncRunning(f"the list {wanted.name} is being brought up to date just now")
            yield

    async def _noted(self, wanted: SyncList, actor: str, tell: Tell) -> SyncReport:
        """Under a row of its own: whoever looks sees how far it is, and that it lives."""
        runs, far = self._parts.runs, SyncProgress(0, 0, 0)

        def heard(told: SyncProgress) -> None:
            nonlocal far
            far = told
            tell(told)

        async def give_signs() -> None:
            while True:
                await self._parts.sleep(SIGN_SECONDS)
                try:
                    await runs.note(wanted.name, _far(far))
                except StorageFailed as error:
                    log.warning("sync_not_noted", list=wanted.name, reason=str(error))

        await runs.begin(wanted.name, actor)
        signs = asyncio.create_task(give_signs())
        is_stopped = actor == SCHEDULE  # nobody cancels it but the end of its process: due at once
        ended = Ended(wanted.name, RunState.INTERRUPTED, "", None if is_stopped else self._next_at(wanted))
        try:
            report = await self._bring(wanted, heard)
            state = RunState.FAILED if report.is_failure else RunState.DONE
            text = msgspec.json.encode(bounded(report)).decode()
            ended = Ended(wanted.name, state, text, self._next_at(wanted))
        finally:
            signs.cancel()
            await asyncio.gather(signs, return_exceptions=True)
            try:
                await runs.end(ended)
            except StorageFailed as error:
                log.warning("sync_not_noted", list=wanted.name, reason=str(error))
        if self._parts.copy is not None and (report.fetched or report.removed):
            await self._parts.copy()
        return report

    async def _bring(self, wanted: SyncList, tell: Tell) -> SyncReport:
        parts, run = self._parts, _Run(wanted, self._parts.now())
        keeping, bringer = self._keeping(wanted), self._bringer(run)
        asker = TagAsker(parts.puller, run.began_at)
        ready, removed = Ready(parts.puller, parts.held_whole, parts.charts), 0

        async def step(location: Location, wish: Wish) -> Held:
            held = ready.take(location, wish) or await bringer.bring(location, wish, walk.came)
            keeping.keep(location, held.targets)
            for signature in held.signatures:
                keeping.keep(signature, await bringer.held_at(signature))
            return held

        walk = Walk(step, ready.needs, asker, tell)
        run.walked = walk.walked
        try:
            async with keeping.marking(parts.sleep):
                tell_name = _naming(tell)
                run.meant = await Resolver(parts.puller, parts.names, asker, tell_name).resolve(wanted)
                await ready.look(run.meant.items)
                await walk.go(run.meant.items)
            removed = await self._remove(run, keeping)
        except StorageFailed as error:
            run.stopped = str(error)
        return self._report(run, removed)

    async def _remove(self, run: _Run, keeping: Keeping) -> int:
        kept = await self._kept(run, keeping)
        self._doubt(run, [one.name for one in kept])
        return await keeping.forget(await keeping.going(kept, run.keys, run.meant.doubts))

    async def _kept(self, run: _Run, keeping: Keeping) -> Sequence[Retention]:
        """By the names that the list has by now."""
        kept, meant = await keeping.kept(), run.keys
        if all((one.name, one.reference) in meant for one in kept):
            return kept
        leading = await to_thread.run_sync(self._leading, run)
        return await to_thread.run_sync(by_present_names, kept, leading, meant)

    def _leading(self, run: _Run) -> Mapping[Target, Sequence[str]]:
        """The names of the list that lead to each place."""
        found: dict[Target, list[str]] = {}
        needed = {location.name.name for location in run.walked.wishes}
        for name in sorted(needed.union(run.meant.names, run.meant.doubts.names)):
            with suppress(OciError):  # it leads nowhere by now
                for route in self._parts.puller.route(Wanted(Repository.parse_with_port(name))).routes:
                    found.setdefault(route.target, []).append(name)
        return found

    def _doubt(self, run: _Run, kept_names: Sequence[str]) -> None:
        """What is gone from upstream's lists altogether is no reason to forget all of it."""
        meant = run.meant
        for name in doubtful_names(kept_names, meant.names):
            meant.doubts.names.add(name)
            meant.remarks[f"{name}: nothing is meant any more, so nothing of it is removed"] = None
        is_unread = any(run.walked.wishes[location].has_needs for location in run.walked.failures)
        is_in_doubt = bool(meant.doubts.names or meant.doubts.entries) or is_unread
        meant.doubts.are_needs_unknown = is_in_doubt and any(map(asks_needs, run.wanted.charts))

    async def _sizes(self, run: _Run) -> Mapping[Location, int | None]:
        """Of what is not held; what nobody has is among the failures then."""
        sizes: dict[Location, int | None] = {}
        asking = Sizes(self._parts.puller, self._parts.sources)

        async def ask(location: Location) -> None:
            sizes[location] = await asking.of(location, run.walked.wishes[location].platforms)

        absent = [one for one in run.walked.wishes if not _is_held(run, one)]
        for location, error in await twice(absent, ask):
            run.walked.fail(location, error)
        return sizes

    def _bringer(self, run: _Run) -> Bringer:
        parts = self._parts
        return Bringer(parts.puller, parts.wholes, parts.catalog, parts.conditions, run.began_at)

    def _keeping(self, wanted: SyncList) -> Keeping:
        parts = self._parts
        return Keeping(wanted, parts.book, parts.catalog, parts.purger, parts.now)

    def _next_at(self, wanted: SyncList) -> float | None:
        if wanted.every_seconds is None:
            return None
        return self._parts.now() + wanted.every_seconds * (1 + random.uniform(-JITTER, JITTER))  # noqa: S311

    def _report(self, run: _Run, removed: int) -> SyncReport:
        held, failures = run.walked.held.values(), run.failures
        fetched = sum(one.is_new for one in held)
        return SyncReport(
            name=run.wanted.name,
            fetched=fetched,
            held=len(held) - fetched,
            removed=removed,
            failed=len(failures),
            size_bytes=sum(one.size_bytes or 0 for one in held),
            seconds=self._parts.now() - run.began_at,
            failures=failures,
            remarks=shortened(run.remarks),
        )


def _is_held(run: _Run, location: Location) -> bool:
    held = run.walked.held.get(location)
    return held is not None and bool(held.targets)


def _items(run: _Run, sizes: Mapping[Location, int | None]) -> Sequence[SyncItem]:
    """By name; of each the newest first."""
    wishes = sorted(run.walked.wishes.items(), key=lambda one: one[0].name.name)
    return [
        SyncItem(*key_of(location), wish.kind, wish.wanted_by, _is_held(run, location), sizes.get(location))
        for location, wish in wishes
        if location not in run.walked.absent
    ]


def _naming(tell: Tell) -> Callable[[str], None]:
    return lambda name: tell(SyncProgress(0, 0, 0, f"asking for the tags of {name}"))


def _unheard(_name: str) -> None:
    """For who waits for the end."""


def _far(far: SyncProgress) -> str:
    return f"{far.done} of {far.total}, {far.size_bytes / 1e6:.1f} MB"
