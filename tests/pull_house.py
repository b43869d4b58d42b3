"""A puller with everything below it but the network, for tests of what is served."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.access.readers import admit_anyone
from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.outcomes import Unavailable
from gateway.oci.reference import Tag
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.pull import Cache, Deadlines, Parts, Puller
from gateway.rules.model import Policy
from gateway.rules.route import Route, Variant
from gateway.store.blobs import MemoryBlobs, OpenBlob
from gateway.store.catalog import Catalog
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from gateway.store.memory import Memory
from gateway.store.rows import TagRow
from tests.fakes.source import FakeSource, layer_of, manifest_of
from tests.sources.helm_parts import Clock, open_catalog

DEMO = Repository.parse("charts.example.test/demo")
OTHER = Repository.parse("charts.example.test/other")
POLICY = Policy()
RECHECK = POLICY.recheck_for_seconds
DOWN = Unavailable("down", 7)
QUICK = Deadlines(stale_seconds=0.01, cold_seconds=0.02)


class CountingCatalog(Catalog):
    """Tells when so many have looked a tag up."""

    def __init__(self, engines: Engines, generation: LocalGeneration) -> None:
        super().__init__(engines, generation)
        self.looked_up = 0

    async def find_tag(self, target: Target, variant: str, tag: str) -> TagRow | None:
        row = await super().find_tag(target, variant, tag)
        self.looked_up += 1
        return row


class LateBlobs(MemoryBlobs):
    """Has not yet, the next few times it is asked, what it has a moment later."""

    late_times = 0

    async def open(self, digest: Digest) -> OpenBlob | None:
        if self.late_times:
            self.late_times -= 1
            return None
        return await super().open(digest)


@dataclass(slots=True)
class House:
    """A puller, and the places it looks at."""

    source: FakeSource
    blobs: LateBlobs
    clock: Clock
    catalog: CountingCatalog
    puller: Puller
    folder: Path

    async def pull(self, tag: str = "1.0.0", name: Repository = DEMO) -> tuple[Cache, Digest]:
        pulled = await self.puller.manifest(name, Tag(tag))
        return pulled.cache, pulled.manifest.digest

    async def read(self, digest: Digest, name: Repository = DEMO) -> bytes:
        blob = await self.puller.blob(name, digest)
        try:
            return await blob.read(0, blob.size)
        finally:
            blob.close()

    async def is_confirmed(self) -> bool:
        return any(held.row.confirmed_at == self.clock.seconds for held in await self.catalog.held())

    async def all_have_looked(self) -> bool:
        await asyncio.sleep(0)
        return self.catalog.looked_up == 200

    async def code(self, reference: str | Digest = "1.0.0", name: Repository = DEMO) -> ErrorCode:
        """Pull, and return the code of the refusal."""
        with pytest.raises(OciError) as caught:
            await self.puller.manifest(name, Tag(reference) if isinstance(reference, str) else reference)
        return caught.value.code


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not await check():
            pass


def route_of(name: Repository) -> Route:
    return Route(name, Target(name), Variant.PLAIN, None, POLICY)


@asynccontextmanager
async def house(
    folder: Path, *, before: House | None = None, offline: str = "", deadlines: Deadlines | None = None
) -> AsyncIterator[House]:
    """Open a puller on ``folder``; ``before`` is the one that ran there until a restart."""
    engines = open_catalog(folder)
    generation = LocalGeneration()
    catalog = CountingCatalog(engines, generation)
    clock = before.clock if before else Clock()
    blobs = before.blobs if before else LateBlobs()
    source = before.source if before else FakeSource(blobs, {"1.0.0": layer_of("1.0.0")})
    puller = Puller(
        Parts(
            route_of=route_of,
            admit=admit_anyone,
            source=source,
            catalog=catalog,
            blobs=blobs,
            memory=Memory(1 << 20, generation),
            now=clock,
            is_offline=bool(offline),
            deadlines=deadlines or Deadlines(),
        )
    )
    try:
        yield House(source, blobs, clock, catalog, puller, folder)
    finally:
        await puller.drain()
        engines.dispose()


FIRST = manifest_of(layer_of("1.0.0")).digest
