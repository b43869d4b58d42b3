"""Garbage collection: layers evicted down to the quota, and what nothing names swept.

Either way a file is set aside first, where who wants it finds it and puts it back, and is removed later.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import structlog

from gateway.collected import Kept, Order, Report
from gateway.held_upstream import HeldUpstream
from gateway.store.blobs import StoredBlob
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.catalog import Catalog
from gateway.store.conditions import Condition, Conditions
from gateway.store.disk import in_thread, looked_at
from gateway.store.eviction import Standing
from gateway.store.gc_turn import Notes, Turn, TurnTaken, identity, restored_at, taken_turn
from gateway.store.usage import bytes_used, gently

log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 600.0
_SWEEP_SECONDS: Final = 24 * 3600.0
_QUOTA_GRACE_SECONDS: Final = 3600.0  # last use is known to the hour; a day's pulls may be many quotas
_FUSE_SHARE: Final = 0.5
_ROUND: Final = 50_000  # files that are thought of at once, the oldest first
_BATCH: Final = 200  # and asked of the catalog at once
_ASKED_AT_ONCE: Final = 4  # of upstreams
_WINDOW: Final = 16

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The data directory; the catalog's file, or None where it is on a server, and its name for people."""

    root: Path
    blobs: Path
    catalog: Path | None
    database: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """``now`` gives seconds since the epoch."""

    place: Place
    blobs: DirectoryBlobs
    catalog: Catalog
    upstream: HeldUpstream
    is_offline: Callable[[], bool]
    now: Callable[[], float]

    async def collect(self, order: Order, tell: Callable[[str], None] = lambda _what: None) -> Report:
        """Do one run; raise TurnTaken where another process is at it. ``tell`` is told how far it is."""
        with taken_turn(self.place.root / "gc") as turn:
            return await self._collect(order, turn, tell)

    async def _collect(self, order: Order, turn: Turn, tell: Callable[[str], None]) -> Report:
        now = self.now()
        self.upstream.begin()
        catalog = identity(self.place.database, self.place.catalog)
        notes = turn.notes(catalog, await self.catalog.known_since() or now, now)
        tell("counting what is held")
        before = await looked_at(bytes_used, self.place.blobs, self.place.catalog)
        report = Report(before, await in_thread(self._dying_bytes))
        run = _Run(self, order, report, await self.catalog.kept_whatever_comes(), tell)
        if now - notes.swept_at >= order.sweep_seconds or now < notes.swept_at:
            await run.sweep(self._known_for(notes, now))
            notes = replace(notes, swept_at=now)
        if order.quota_bytes is not None:
            await run.evict(report.bytes_before - report.waiting_bytes - order.quota_bytes)
        await run.remove(self._known_for(notes, now))
        if order.quota_bytes is not None:
            report.over_bytes = max(report.bytes_after - report.waiting_bytes - order.quota_bytes, 0)
        if not order.is_dry:
            turn.leave(notes)
        _log(report, order)
        return report

    def _dying_bytes(self) -> int:
        return sum(blob.size_bytes for blob in gently(self.blobs.dying()))

    def _known_for(self, notes: Notes, now: float) -> float:
        """For how many seconds the files have been beside this very catalog, as it is."""
        return now - max(notes.since, restored_at(self.place.root))


class _Run:
    """One run: what was looked at, and what it came to."""

    def __init__(
        self,
        parts: Collector,
        order: Order,
        report: Report,
        kept: frozenset[str],
        tell: Callable[[str], None],
    ) -> None:
        self._parts = parts
        self._order = order
        self._report = report
        self._kept = kept
        self._tell = tell
        quota_grace_seconds = order.quota_grace_seconds
        self._sweeps_until = parts.now() - order.grace_seconds
        self._evicts_until = parts.now() - (
            order.grace_seconds if quota_grace_seconds is None else quota_grace_seconds
        )
        self._turns = asyncio.Semaphore(_ASKED_AT_ONCE)

    async def sweep(self, known_seconds: float) -> None:
        """Set aside what nothing names, unless that is too much to be true."""
        scanned = gently(self._parts.blobs.scan())
        seen, unnamed = _Sum(), _Sum()
        found: list[StoredBlob] = []
        while batch := await in_thread(_next_of, scanned):
            seen.add(batch)
            old = [blob for blob in batch if blob.used_at <= self._sweeps_until]
            standings = await self._parts.catalog.standings([blob.digest for blob in old])
            found += [
                blob for blob in old if self._standing(blob, standings[blob.digest]) is Standing.UNNAMED
            ]
            self._tell(f"looking for what nothing names: {seen.count} files seen")
        unnamed.add(found)
        self._report.fuse = self._fuse(seen, unnamed, known_seconds)
        if self._report.fuse is not None:
            return
        for batch in _batches(found, _BATCH):
            self._report.swept += await self._set_aside(batch, self._sweeps_until)

    async def evict(self, excess_bytes: int) -> None:
        """Set layers aside, least recently used first, until so many bytes are found or none is left."""
        after = (-1.0, "")
        left = excess_bytes
        while left > 0:
            oldest = await looked_at(self._oldest, after)
            for batch in _batches(oldest, _BATCH):
                self._tell(f"looking for what may go: {excess_bytes - left} of {excess_bytes} bytes found")
                left -= await self._evict_of(await self._layers(batch), left)
                if left <= 0:
                    return
            if len(oldest) < _ROUND:
                return
            after = _age(oldest[-1])

    async def remove(self, known_seconds: float) -> None:
        """Remove what was set aside long enough ago, and put back what is wanted after all."""
        self._kept = await self._parts.catalog.kept_whatever_comes()  # pinned since this run began, too
        dying = gently(self._parts.blobs.dying())
        while batch := await in_thread(_next_of, dying):
            self._tell(f"removing what was set aside: {self._report.removed_count} removed")
            standings = await self._parts.catalog.standings([blob.digest for blob in batch])
            unnamed: list[StoredBlob] = []
            layers: list[StoredBlob] = []
            for blob in batch:
                standing = self._standing(blob, standings[blob.digest])
                if standing is Standing.NEEDED or str(blob.digest) in self._kept:
                    await self._put_back(blob)
                elif self._may_go(blob, standing, known_seconds):
                    (layers if standing is Standing.LAYER else unnamed).append(blob)
            evictable = await self._still_evictable(layers)
            self._kept = await self._parts.catalog.kept_whatever_comes()  # pinned since upstream was asked
            await self._remove(
                [blob for blob in (*unnamed, *evictable) if str(blob.digest) not in self._kept]
            )

    def _standing(self, blob: StoredBlob, standing: Standing) -> Standing:
        is_kept = standing is Standing.UNNAMED and str(blob.digest) in self._kept
        return Standing.NEEDED if is_kept else standing

    def _fuse(self, seen: "_Sum", unnamed: "_Sum", known_seconds: float) -> str | None:
        if self._order.is_forced or not unnamed.count:
            return None
        told = f"{unnamed.count} of {seen.count} files are named by nothing in the catalog"
        if known_seconds < self._order.grace_seconds:
            return f"{told}, which has been beside them for {max(known_seconds, 0):.0f} s only"
        most = _FUSE_SHARE
        if unnamed.count > most * seen.count or unnamed.size_bytes > most * seen.size_bytes:
            return f"{told}: more than half of what is held"
        return None

    def _oldest(self, after: tuple[float, str]) -> list[StoredBlob]:
        recent_count = 0

        def unused() -> Iterator[StoredBlob]:
            nonlocal recent_count
            for blob in gently(self._parts.blobs.scan()):
                if blob.used_at > self._evicts_until:
                    recent_count += 1
                elif _age(blob) > after:
                    yield blob

        oldest = nsmallest(_ROUND, unused(), key=_age)
        self._report.kept[Kept.RECENT] = recent_count
        return oldest

    async def _layers(self, batch: Sequence[StoredBlob]) -> list[StoredBlob]:
        """Those that may be evicted, as far as the catalog says."""
        standings = await self._parts.catalog.standings([blob.digest for blob in batch])
        layers = [blob for blob in batch if standings[blob.digest] is Standing.LAYER]
        self._report.kept[Kept.NO_LAYER] += len(batch) - len(layers)
        loose = [blob for blob in layers if str(blob.digest) not in self._kept]
        self._report.kept[Kept.PINNED] += len(layers) - len(loose)
        return loose

    async def _evict_of(self, layers: Sequence[StoredBlob], wanted_bytes: int) -> int:
        """Set aside as many as are wanted, in their order; return the bytes found."""
        found_bytes = asked = 0
        while asked < len(layers) and found_bytes < wanted_bytes:
            window = _enough(layers[asked : asked + _WINDOW], wanted_bytes - found_bytes)
            asked += len(window)
            gone = await self._set_aside(await self._evictable(window), self._evicts_until)
            self._report.evicted += gone
            found_bytes += sum(blob.size_bytes for blob in gone)
        return found_bytes

    async def _evictable(self, window: Sequence[StoredBlob]) -> list[StoredBlob]:
        """Those that could be fetched again, unless that does not matter."""
        if self._order.is_forced:
            return list(window)
        if self._parts.is_offline():
            self._report.kept[Kept.OFFLINE] += len(window)
            return []
        answers = await asyncio.gather(*map(self._is_upstream, window))
        self._report.kept[Kept.NOT_UPSTREAM] += answers.count(False)
        return [blob for blob, is_upstream in zip(window, answers, strict=True) if is_upstream]

    async def _still_evictable(self, layers: Sequence[StoredBlob]) -> list[StoredBlob]:
        """Upstream was asked when they were set aside; what it could not give again by now is put back."""
        evictable = await self._evictable(layers)
        for blob in layers:
            if blob not in evictable:
                await self._put_back(blob)
        return evictable

    async def _is_upstream(self, blob: StoredBlob) -> bool:
        async with self._turns:
            return await self._parts.upstream.has(blob.digest)

    async def _set_aside(self, blobs: Sequence[StoredBlob], unused_since: float) -> list[StoredBlob]:
        """Return those that were still there, and not used since."""
        aside = blobs if self._order.is_dry else await in_thread(self._set_all_aside, blobs, unused_since)
        self._report.waiting_bytes += sum(blob.size_bytes for blob in aside)
        return list(aside)

    def _set_all_aside(self, blobs: Sequence[StoredBlob], unused_since: float) -> list[StoredBlob]:
        set_aside = self._parts.blobs.set_aside
        return [blob for blob in gently(blobs) if set_aside(blob.digest, unused_since)]

    def _may_go(self, blob: StoredBlob, standing: Standing, known_seconds: float) -> bool:
        """What nothing names may still be named: by a catalog that came since."""
        if self._parts.now() - blob.kept_at < self._order.wait_seconds:
            return False
        is_known = known_seconds >= self._order.grace_seconds
        return self._order.is_forced or standing is Standing.LAYER or is_known

    async def _put_back(self, blob: StoredBlob) -> None:
        """To ask for its size is to want it."""
        if not self._order.is_dry:
            await self._parts.blobs.size(blob.digest)
        self._report.put_back_count += 1
        self._report.waiting_bytes -= blob.size_bytes

    async def _remove(self, blobs: Sequence[StoredBlob]) -> None:
        if self._order.is_dry:
            freed = [blob.size_bytes for blob in blobs]
        else:
            freed = await in_thread(self._remove_all, blobs)
        self._report.freed_bytes += sum(freed)
        self._report.removed_count += len(freed) - freed.count(0)  # those put back meanwhile freed none
        self._report.waiting_bytes -= sum(blob.size_bytes for blob in blobs)

    def _remove_all(self, blobs: Sequence[StoredBlob]) -> list[int]:
        return [self._parts.blobs.remove_dying(blob.digest) for blob in gently(blobs)]


async def collect_on_schedule(collector: Collector, conditions: Conditions, quota_bytes: int | None) -> None:
    """A run as a server does it now and then; whether the quota is exceeded for good is told."""
    order = Order(
        quota_bytes=quota_bytes, quota_grace_seconds=_QUOTA_GRACE_SECONDS, sweep_seconds=_SWEEP_SECONDS
    )
    try:
        report = await collector.collect(order)
    except TurnTaken as error:
        log.info("garbage_collected_elsewhere", reason=str(error))
        return
    if report.over_bytes:
        kept = ", ".join(f"{count} {why}" for why, count in sorted(report.kept.items()) if count)
        conditions.begin(Condition.OVER_QUOTA, f"{report.over_bytes} bytes over; files kept: {kept}")
    else:
        conditions.end(Condition.OVER_QUOTA)


@dataclass(slots=True)
class _Sum:
    count: int = 0
    size_bytes: int = 0

    def add(self, blobs: Sequence[StoredBlob]) -> None:
        self.count += len(blobs)
        self.size_bytes += sum(blob.size_bytes for blob in blobs)


def _age(blob: StoredBlob) -> tuple[float, str]:
    return (blob.used_at, blob.digest.hex)


def _enough(blobs: Sequence[StoredBlob], wanted_bytes: int) -> Sequence[StoredBlob]:
    """As many from the start as have so many bytes together."""
    total = 0
    for count, blob in enumerate(blobs, start=1):
        total += blob.size_bytes
        if total >= wanted_bytes:
            return blobs[:count]
    return blobs


def _next_of(items: Iterator[T]) -> list[T]:
    return list(islice(items, _BATCH))


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _log(report: Report, order: Order) -> None:
    if report.fuse is not None:
        log.warning("sweep_refused", reason=report.fuse)
    if report.evicted or report.swept or report.removed_count:
        log.info(
            "garbage_collected",
            evicted=len(report.evicted),
            swept=len(report.swept),
            removed=report.removed_count,
            freed_bytes=report.freed_bytes,
            used_bytes=report.bytes_after,
            quota_bytes=order.quota_bytes,
            is_dry=order.is_dry,
        )
