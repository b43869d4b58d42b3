"""Scrubbing: all that is stored is hashed again; what is damaged goes into quarantine, and is fetched anew.

It may run beside a server, and end at any point: the next one begins anew.
"""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import structlog

from gateway.healing import Healer, Unhealed
from gateway.oci.digest import Digest
from gateway.store.blobs import StoredBlob
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.catalog import Catalog
from gateway.store.disk import in_thread, looked_at
from gateway.store.engine import Engines
from gateway.store.eviction import Standing
from gateway.store.scrub_queries import check_manifests, index_urls, kept_blobs

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 3600.0  # so often, whether the next one is due
_PERIOD_SECONDS: Final = 7 * 24 * 3600.0
_GENTLE_BYTES_PER_SECOND: Final = 20 << 20
_QUARANTINE_SECONDS: Final = 30 * 24 * 3600.0
_BATCH: Final = 500

Tell: TypeAlias = Callable[[int, int], None]
_Heal: TypeAlias = Callable[[Digest], Awaitable[Unhealed | None]]


@dataclass(slots=True)
class Scrubbed:
    """What a scrub found. Damaged are files and manifests; each is healed, or not, or nobody needs it.

    ``missing_layers`` were evicted, or lost; ``missing_others`` are configs and the like, which never are
    evicted: both are fetched when they are asked for, ``fetched`` were at once.
    """

    files: int = 0
    manifests: int = 0
    size_bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    healed: int = 0
    unneeded: int = 0
    unhealed: list[Unhealed] = field(default_factory=list)
    unnamed_files: int = 0
    missing_layers: int = 0
    missing_others: int = 0
    fetched: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrubber:
    """Hashes what lies in a data directory and its catalog."""

    blobs: DirectoryBlobs
    catalog: Catalog
    engines: Engines
    healer: Healer

    async def scrub(
        self,
        bytes_per_second: float | None = None,
        tell: Tell = lambda _done, _total: None,
        *,
        fetches_missing: bool = False,
    ) -> Scrubbed:
        """Do all of it; ``tell`` is told how many bytes of how many files are done."""
        run = _Run(self, _Pace(bytes_per_second, tell))
        await run.check_manifests()
        await run.check_files()
        await run.heal()
        await run.count_missing(fetches_missing=fetches_missing)
        report = run.report
        log.info(
            "scrubbed",
            files=report.files,
            manifests=report.manifests,
            size_bytes=report.size_bytes,
            damaged=len(report.damaged),
            healed=report.healed,
            unhealed=[one.digest for one in report.unhealed],
        )
        return report


async def scrub_when_due(scrubber: Scrubber, note: Path, now: Callable[[], float]) -> None:
    """Scrub gently, once a week; the time of the file ``note`` says when that was.

    The first one comes in the course of the first week: of several replicas not all at once.
    """
    last = await in_thread(_noted_at, note)
    if last is None:
        await in_thread(_note, note, now() - random.uniform(0, _PERIOD_SECONDS))  # noqa: S311
    elif not 0 <= now() - last < _PERIOD_SECONDS:
        await scrubber.scrub(_GENTLE_BYTES_PER_SECOND)
        await in_thread(scrubber.blobs.empty_quarantine, now() - _QUARANTINE_SECONDS)
        await in_thread(_note, note, now())


class _Run:
    """One scrub: what was found, and how it may be healed."""

    def __init__(self, parts: Scrubber, pace: "_Pace") -> None:
        self._blobs = parts.blobs
        self._catalog = parts.catalog
        self._ask = parts.engines.ask
        self._healer = parts.healer
        self._pace = pace
        self._held: set[Digest] = set()
        self._to_heal: list[tuple[Digest, _Heal]] = []
        self.report = Scrubbed()

    async def check_manifests(self) -> None:
        after = ""
        while (checked := await self._ask(check_manifests, after)) is not None:
            after = checked.last
            self.report.manifests += checked.count
            self.report.size_bytes += checked.size_bytes
            for digest in checked.damaged:
                log.error("manifest_damaged", digest=str(digest))
                self._note_damage(digest, self._healer.manifest)
            await self._pace(checked.size_bytes)
        if self._to_heal:
            self._catalog.generation.advance()  # else it is served from memory, and not fetched

    async def check_files(self) -> None:
        urls = await self._ask(index_urls)

        def heal(digest: Digest) -> _Heal:
            return partial(self._healer.index, urls[digest]) if digest in urls else self._healer.blob

        for digest in await looked_at(list, self._blobs.odd()):
            await self._blobs.quarantine(digest)
            self._note_damage(digest, heal(digest))
        stored = await looked_at(sorted, self._blobs.scan())
        self._pace.begin(sum(blob.size_bytes for blob in stored))
        for start in range(0, len(stored), _BATCH):
            batch = stored[start : start + _BATCH]
            standings = await self._catalog.standings([blob.digest for blob in batch])
            for blob in batch:
                is_named = standings[blob.digest] is not Standing.UNNAMED or blob.digest in urls
                self.report.unnamed_files += not is_named
                if not await self._is_right(blob):
                    self._note_damage(blob.digest, heal(blob.digest))

    async def _is_right(self, blob: StoredBlob) -> bool:
        """One that was set aside meanwhile, or forgotten, is not wrong."""
        self._held.add(blob.digest)
        is_right = await self._blobs.verify(blob.digest, self._pace)
        if is_right is not None:
            self.report.files += 1
            self.report.size_bytes += blob.size_bytes
        return is_right is not False

    def _note_damage(self, digest: Digest, heal: _Heal) -> None:
        self.report.damaged.append(str(digest))
        self._to_heal.append((digest, heal))

    async def heal(self) -> None:
        for digest, heal in self._to_heal:
            failure = await heal(digest)
            if failure is None:
                self.report.healed += 1
            elif failure.names:
                self.report.unhealed.append(failure)
            else:
                self.report.unneeded += 1

    async def count_missing(self, *, fetches_missing: bool) -> None:
        """A row whose file is gone is a miss, and no damage: the next pull fetches it."""
        after = ""
        aside = {blob.digest for blob in await in_thread(list, self._blobs.dying())}
        while kept := await self._ask(kept_blobs, after):
            after = str(kept[-1])
            asked = [digest for digest in kept if digest not in self._held and digest not in aside]
            missing = [digest for digest in asked if await self._blobs.size(digest) is None]
            standings = await self._catalog.standings(missing)
            for digest in missing:
                if fetches_missing and await self._healer.blob(digest) is None:
                    self.report.fetched += 1
                elif standings[digest] is Standing.LAYER:
                    self.report.missing_layers += 1
                else:
                    self.report.missing_others += 1


class _Pace:
    """Takes as long as so many bytes may take, and tells how far it is."""

    def __init__(self, bytes_per_second: float | None, tell: Tell) -> None:
        self._bytes_per_second = bytes_per_second
        self._tell = tell
        self._total = self._done = 0
        self._free_at = 0.0

    def begin(self, total: int) -> None:
        self._total, self._done = total, 0

    async def __call__(self, count: int) -> None:
        self._done += count
        self._tell(self._done, self._total)
        if self._bytes_per_second is not None:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + count / self._bytes_per_second
            await asyncio.sleep(self._free_at - now)


def _noted_at(note: Path) -> float | None:
    try:
        return note.lstat().st_mtime
    except FileNotFoundError:
        return None


def _note(note: Path, at: float) -> None:
    with suppress(FileExistsError):
        note.touch(mode=0o600, exist_ok=False)
    os.utime(note, (at, at))
