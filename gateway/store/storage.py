"""All that one process keeps things in, opened together on a data directory that is prepared."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.store.blobs import BlobStore
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.catalog import Catalog
from gateway.store.conditions import Conditions
from gateway.store.data_dir import DataDir
from gateway.store.engine import Engines
from gateway.store.fallbacks import Fallbacks, stand_before
from gateway.store.generation import Generation


@dataclass(frozen=True, slots=True)
class Storage:
    """``catalog`` and ``blobs`` are what pulls use; ``engines`` and ``disk`` what stands behind them."""

    data_dir: DataDir
    catalog: Catalog
    engines: Engines
    disk: DirectoryBlobs
    generation: Generation
    conditions: Conditions
    fallbacks: Fallbacks

    @property
    def blobs(self) -> BlobStore:
        return self.fallbacks.blobs

    async def close(self) -> None:
        """Write what waits in memory, end all connections."""
        await self.fallbacks.close()
        await self.engines.close()
        self.generation.close()


def open_storage(data_dir: DataDir, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> Storage:
    """``sleep`` is how long what waits for a disk waits before it looks again."""
    generation, engines = data_dir.open_generation(), data_dir.open_engines()
    conditions = Conditions(time.time)
    disk = DirectoryBlobs(data_dir.blobs, conditions=conditions)
    catalog_file = data_dir.catalog if data_dir.server is None else None
    fallbacks = stand_before(disk, engines, conditions, data_dir.root, catalog_file, sleep=sleep)
    catalog = Catalog(fallbacks.rows, generation)
    return Storage(data_dir, catalog, engines, disk, generation, conditions, fallbacks)
