"""A puller with everything below it but the network, for tests of what is served."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from gateway.access.readers import admit_anyone
from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.outcomes import Unavailable
from gateway.oci.postgres_url import PostgresUrl
from gateway.oci.reference import Tag
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.parts import Parts
from gateway.pull import Puller
from gateway.pulled import Cache
from gateway.rules.model import Access, Policy, SourceName
from gateway.rules.route import PLAIN, Route, Routing, Wanted
from gateway.store.blobs import MemoryBlobs, OpenBlob
from gateway.store.catalog import Catalog
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from gateway.store.memory import Memory
from gateway.store.postgres import open_postgres
from gateway.store.rows import TagRow
from gateway.waiting import Deadlines
from tests.fakes.source import FakeSource, layer_of, manifest_of
from tests.sources.helm_parts import Clock, open_catalog

DEMO = Repository.parse("charts.example.test/demo")
OTHER = Repository.parse("charts.example.test/other")
POLICY = Policy()
RECHECK = POLICY.recheck_for_seconds
DUE = RECHECK + POLICY.fresh_for_seconds  # and more than a little past fresh
DOWN = Unavailable("down", 7)
QUICK = Deadlines(stale_seconds=0.01, cold_seconds=0.02)


class CountingCatalog(Catalog):
    """Tells when so many have looked a tag up."""

    def __init__(self, engines: Engines, generation: LocalGeneration) -> None:
        super().__init__(engines, generation)
        self.looked_up = 0

    async def find_tags(self, target: Target, variant: str, tag: str) -> list[TagRow]:
        rows = await super().find_tags(target, variant, tag)
        self.looked_up += 1
        return rows


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
    access: dict[str, Access]

    async def pull(self, tag: str = "1.0.0", name: Repository = DEMO) -> tuple[Cache, Digest]:
        pulled = await self.puller.manifest(Wanted(name), Tag(tag))
        return pulled.cache, pulled.manifest.digest

    async def read(self, digest: Digest, name: Repository = DEMO) -> bytes:
        blob = (await self.puller.blob(Wanted(name), digest)).blob
        content = b""
        try:
            while len(content) < blob.size:
                content += await blob.read(len(content), blob.size)
        finally:
            blob.close()
        return content

    async def is_confirmed(self) -> bool:
        return any(held.row.confirmed_at == self.clock.seconds for held in await self.catalog.held())

    async def all_have_looked(self) -> bool:
        await asyncio.sleep(0)
        return self.catalog.looked_up == 201  # the flight looks too

    async def code(self, reference: str | Digest = "1.0.0", name: Repository = DEMO) -> ErrorCode:
        """Pull, and return the code of the refusal."""
        meant = Tag(reference) if isinstance(reference, str) else reference
        with pytest.raises(OciError) as caught:
            await self.puller.manifest(Wanted(name), meant)
        return caught.value.code


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await check():
            pass


@dataclass(slots=True)
class _Database:
    """Where the catalogs of a test lie: on a server, or on SQLite in the test's folder."""

    url: PostgresUrl | None = None


_DATABASE = _Database()


@pytest.fixture
def on_both_databases(database: PostgresUrl | None) -> Iterator[None]:
    """Run a test once on SQLite, once on PostgreSQL; a module takes it by ``usefixtures``."""
    _DATABASE.url = database
    yield
    _DATABASE.url = None


def _open_engines(folder: Path) -> Engines:
    return open_catalog(folder) if _DATABASE.url is None else open_postgres(_DATABASE.url)


def route_with(
    policy: Policy, chain: Sequence[SourceName], access: Mapping[str, Access] = MappingProxyType({})
) -> Callable[[Wanted], Routing]:
    """Routes as rules without rewrites give them; ``access`` by target."""

    def route_of(wanted: Wanted) -> Routing:
        name = wanted.name
        granted = access.get(name.name, Access.ANONYMOUS)
        return Routing((Route(name, Target(name), PLAIN, None, policy, tuple(chain), access=granted),))

    return route_of


@asynccontextmanager
async def house(
    folder: Path,
    *,
    before: House | None = None,
    offline: str = "",
    deadlines: Deadlines | None = None,
    policy: Policy = POLICY,
    others: Sequence[FakeSource] = (),
    only: FakeSource | None = None,
) -> AsyncIterator[House]:
    """Open a puller on ``folder``; ``before`` is the one that ran there until a restart.

    ``others`` are asked before the house's own source, which is a Helm repository, or ``only``.
    """
    engines = _open_engines(folder)
    generation = LocalGeneration()
    catalog = CountingCatalog(engines, generation)
    clock = before.clock if before else Clock()
    blobs = before.blobs if before else LateBlobs()
    source = before.source if before else only or FakeSource(blobs, {"1.0.0": layer_of("1.0.0")})
    sources = {one.name: one for one in (*others, source)}
    for one in sources.values():
        one.blobs, one.now = blobs, clock
    access: dict[str, Access] = {}
    route_of = route_with(policy, list(sources), access)
    puller = Puller(
        Parts(
            router=lambda: route_of,
            admit=admit_anyone,
            is_open=lambda _rules, target: access.get(str(target)) is not Access.PRIVATE,
            sources=sources,
            catalog=catalog,
            blobs=blobs,
            memory=Memory(1 << 20, generation),
            now=clock,
            is_offline=bool(offline),
            deadlines=deadlines or Deadlines(),
        )
    )
    try:
        yield House(source, blobs, clock, catalog, puller, folder, access)
    finally:
        await puller.drain()
        await engines.close()


FIRST = manifest_of(layer_of("1.0.0")).digest
