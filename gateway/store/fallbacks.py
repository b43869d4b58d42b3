"""What stands in while the storage takes nothing: memory for blobs and rows, the reserve for the catalog."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.store.blobs import BlobStore
from gateway.store.conditions import Conditions
from gateway.store.disk import in_thread
from gateway.store.engine import Engines
from gateway.store.notice import Notice
from gateway.store.overflow import OverflowBlobs
from gateway.store.reserve import Reserve
from gateway.store.unwritten import Unwritten

RESERVE_SECONDS: Final = 60.0  # so often it is made, where it is missing


@dataclass(frozen=True, slots=True)
class Fallbacks:
    """``blobs`` and ``rows`` are used in place of what they stand before."""

    blobs: OverflowBlobs
    rows: Unwritten
    reserve: Reserve | None

    async def close(self) -> None:
        await self.blobs.close()
        await self.rows.close()

    async def make_reserve(self) -> None:
        if self.reserve is not None:
            await in_thread(self.reserve.make)


def stand_before(
    disk: BlobStore,
    engines: Engines,
    conditions: Conditions,
    folder: Path,
    catalog: Path | None,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Fallbacks:
    """``folder`` is the data directory's; ``catalog``, where the catalog lies, is None for one on a server.

    The room of a server's disk is not ours to keep.
    """
    notice = Notice(folder / "unwritten", time.time)
    if catalog is None:
        return Fallbacks(
            OverflowBlobs(disk, conditions, sleep=sleep),
            Unwritten(engines, conditions, notice, sleep=sleep),
            None,
        )
    reserve = Reserve(catalog.with_name("reserve"))
    relieved = replace(engines, make_room=reserve.give_up)
    blobs = OverflowBlobs(disk, conditions, sleep=sleep, may_write=reserve.leaves_room)
    return Fallbacks(blobs, Unwritten(relieved, conditions, notice, sleep=sleep), reserve)
