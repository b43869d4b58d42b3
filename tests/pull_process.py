"""A puller as one of several worker processes has it: own memory, common catalog, blobs and locks."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.access.readers import admit_anyone
from gateway.flights import Locks
from gateway.oci.digest import Digest
from gateway.oci.reference import Tag
from gateway.oci.repository import Repository
from gateway.parts import MAX_BLOB_BYTES, Parts
from gateway.pull import Puller
from gateway.rules.model import Policy
from gateway.rules.route import Wanted
from gateway.store.blobs import BlobStore
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.catalog import Catalog
from gateway.store.generation import LocalGeneration
from gateway.store.locks import FileLocks
from gateway.store.memory import Memory
from gateway.waiting import Deadlines
from tests.fakes.source import FakeSource
from tests.pull_house import DEMO, route_with
from tests.sources.helm_parts import Clock, open_catalog


@dataclass(frozen=True, slots=True)
class Process:
    """What one process has."""

    puller: Puller
    catalog: Catalog
    blobs: BlobStore
    clock: Clock

    async def pull(self, tag: str = "1.0.0", name: Repository = DEMO) -> Digest:
        return (await self.puller.manifest(Wanted(name), Tag(tag))).manifest.digest

    async def read(self, digest: Digest, name: Repository = DEMO) -> bytes:
        pulled = await self.puller.blob(Wanted(name), digest)
        content = b""
        try:
            while len(content) < pulled.blob.size:
                content += await pulled.blob.read(len(content), pulled.blob.size)
        finally:
            pulled.blob.close()
        return content


@asynccontextmanager
async def process(
    folder: Path,
    sources: Sequence[FakeSource],
    *,
    blobs: BlobStore | None = None,
    clock: Clock | None = None,
    policy: Policy | None = None,
    deadlines: Deadlines | None = None,
    locks: Locks | None = None,
    offline: str = "",
    max_blob_bytes: int = MAX_BLOB_BYTES,
) -> AsyncIterator[Process]:
    """Open a process on ``folder``; ``sources`` are its chain."""
    engines = open_catalog(folder)
    generation = LocalGeneration()
    time = Clock() if clock is None else clock
    route_of = route_with(policy or Policy(), [one.name for one in sources])
    made = Process(
        Puller(
            Parts(
                router=lambda: route_of,
                admit=admit_anyone,
                sources={one.name: one for one in sources},
                catalog=Catalog(engines, generation),
                blobs=(kept := DirectoryBlobs(folder / "blobs") if blobs is None else blobs),
                memory=Memory(1 << 20, generation),
                now=time,
                locks=locks or FileLocks(folder / "locks"),
                is_offline=bool(offline),
                deadlines=deadlines or Deadlines(),
                max_blob_bytes=max_blob_bytes,
            )
        ),
        Catalog(engines, generation),
        kept,
        time,
    )
    for one in sources:
        one.blobs, one.now = kept, time
    try:
        yield made
    finally:
        await made.puller.drain()
        engines.dispose()
