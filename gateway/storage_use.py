"""What the storage holds, and how much room is left: counted in threads now and then, not by who asks."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from gateway.activity_seen import StorageUse
from gateway.store import counts as queries
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.conditions import Trouble
from gateway.store.counts import Counts
from gateway.store.disk import in_thread, looked_at
from gateway.store.engine import Engines
from gateway.store.usage import bytes_used, gently

COUNT_SECONDS: Final = 60.0
_PATIENCE_SECONDS: Final = 0.3

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Places:
    """The data directory; ``catalog`` is the catalog's file, None where it is on a server."""

    root: Path
    quarantine: Path
    catalog: Path | None
    disk: DirectoryBlobs


@dataclass(frozen=True, slots=True)
class _Files:
    blob_bytes: int
    blob_count: int
    quarantine_bytes: int
    dying_bytes: int
    counted_at: float


class StorageDesk:
    """``now`` gives seconds since the epoch, ``monotonic`` seconds."""

    def __init__(
        self,
        places: Places,
        engines: Engines,
        quota_bytes: int | None,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._places = places
        self._engines = engines
        self._quota_bytes = quota_bytes
        self._now = now
        self._files: _Kept[_Files] = _Kept(self._count_files, monotonic)
        self._counts: _Kept[Counts] = _Kept(self._count_rows, monotonic)

    async def use(self, troubles: Mapping[str, Trouble]) -> StorageUse:
        """As it was counted last, a minute ago at most unless that takes longer; raise StorageFailed."""
        rows = await self._counts.value()
        files = await self._files.soon(_PATIENCE_SECONDS)
        room = await in_thread(shutil.disk_usage, self._places.root)
        counted = files or _Files(rows.blob_row_bytes, rows.blob_rows, 0, 0, self._now())
        catalog_bytes = await in_thread(self._catalog_bytes)
        return StorageUse(
            blob_bytes=counted.blob_bytes,
            blob_count=counted.blob_count,
            is_exact=files is not None,
            catalog_bytes=rows.database_bytes if catalog_bytes is None else catalog_bytes,
            quarantine_bytes=counted.quarantine_bytes,
            dying_bytes=counted.dying_bytes,
            quota_bytes=self._quota_bytes,
            disk_free_bytes=room.free,
            disk_total_bytes=room.total,
            tags=rows.tags,
            manifests=rows.manifests,
            repositories=rows.repositories,
            pins=rows.pins,
            counted_at=counted.counted_at,
            troubles=troubles,
        )

    async def jobs(self) -> Mapping[str, int]:
        """How many jobs are in each state."""
        return await self._engines.ask(queries.jobs_by_state)

    async def close(self) -> None:
        """Leave what is being counted to itself."""
        for kept in (self._files, self._counts):
            await kept.close()

    async def _count_rows(self) -> Counts:
        return await self._engines.ask(queries.counts)

    async def _count_files(self) -> _Files:
        return await looked_at(_files, self._places, self._now)

    def _catalog_bytes(self) -> int | None:
        catalog = self._places.catalog
        return None if catalog is None else bytes_used(self._places.root / "no blobs", catalog)


class _Kept(Generic[T]):
    """A value that takes its time: made anew behind whoever asks, every COUNT_SECONDS at most."""

    def __init__(self, make: Callable[[], Awaitable[T]], monotonic: Callable[[], float]) -> None:
        self._make = make
        self._monotonic = monotonic
        self._made: tuple[float, T] | None = None
        self._making: asyncio.Task[T] | None = None

    async def value(self) -> T:
        """What was made last; where nothing was yet, the first one, or what keeps it from being made."""
        making = self._begun()
        return await asyncio.shield(making) if self._made is None else self._made[1]

    async def soon(self, seconds: float) -> T | None:
        """What was made last; None where nothing is, for so long."""
        making = self._begun()
        if self._made is None:
            await asyncio.wait([making], timeout=seconds)
        return None if self._made is None else self._made[1]

    async def close(self) -> None:
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)

    def _begun(self) -> asyncio.Task[T]:
        is_old = self._made is None or self._monotonic() - self._made[0] >= COUNT_SECONDS
        if self._making is None or (is_old and self._making.done()):
            self._making = asyncio.create_task(self._keep())
            self._making.add_done_callback(_seen)
        return self._making

    async def _keep(self) -> T:
        value = await self._make()
        self._made = (self._monotonic(), value)
        return value


def _seen(making: asyncio.Task[T]) -> None:
    """Whoever asked may have left."""
    if not making.cancelled():
        making.exception()


def _files(places: Places, now: Callable[[], float]) -> _Files:
    blob_bytes = blob_count = 0
    for blob in gently(places.disk.scan()):
        blob_bytes += blob.size_bytes
        blob_count += 1
    dying_bytes = sum(blob.size_bytes for blob in gently(places.disk.dying()))
    return _Files(blob_bytes, blob_count, bytes_used(places.quarantine, None), dying_bytes, now())
