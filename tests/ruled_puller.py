"""A puller under the text of a rules.yaml, with a source for each target: for tests of what rules do."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from gateway.access.readers import admit_anyone
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.outcomes import MissingName
from gateway.oci.postgres_url import PostgresUrl
from gateway.oci.reference import Tag
from gateway.oci.repository import Repository
from gateway.parts import Parts
from gateway.pull import Puller
from gateway.pulled import Listed, Pulled
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet, SourceName
from gateway.rules.route import Route, Wanted, is_open_to_all, route
from gateway.sources.base import Found, Versions
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.catalog import Catalog
from gateway.store.engine import Engines
from gateway.store.generation import LocalGeneration
from gateway.store.locks import FileLocks
from gateway.store.memory import Memory
from gateway.store.postgres import open_postgres
from gateway.waiting import Deadlines
from tests.fakes.source import FakeSource
from tests.sources.helm_parts import Clock, open_catalog

OWN_HOST = "charts.gateway.example"


@dataclass(slots=True)
class Upstreams:
    """The Helm repositories of the world: each target has a source of its own, and the others nothing."""

    name: SourceName = SourceName.HELM
    by_target: dict[str, FakeSource] = field(default_factory=dict)

    async def find(self, route: Route, tag: str) -> Found:
        return await self._of(route).find(route, tag)

    async def versions(self, route: Route) -> Versions:
        return await self._of(route).versions(route)

    async def candidates(self, route: Route, digest: Digest, count: int) -> AsyncIterator[Found]:
        async for found in self._of(route).candidates(route, digest, count):
            yield found

    async def referrers(self, route: Route, subject: Digest) -> Sequence[Descriptor]:
        return await self._of(route).referrers(route, subject)

    def blob(self, route: Route, descriptor: Descriptor) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._of(route).blob(route, descriptor)

    async def has_blob(self, route: Route, descriptor: Descriptor) -> bool:
        return await self._of(route).has_blob(route, descriptor)

    def tells(self, route: Route) -> Sequence[str]:
        return self._of(route).tells(route)

    def is_troubled(self, route: Route) -> bool:
        return self._of(route).is_troubled(route)

    def doubt(self, route: Route) -> None:
        self._of(route).doubt(route)

    def _of(self, route: Route) -> FakeSource:
        found = self.by_target.get(str(route.target))
        if found is None:
            raise MissingName(f"there is no {route.target}")
        return found


@dataclass(slots=True)
class Ruled:
    """A puller, and what it stands on; ``rule_set`` may be changed while it runs."""

    puller: Puller
    catalog: Catalog
    blobs: DirectoryBlobs
    clock: Clock
    upstreams: Upstreams
    folder: Path
    database: PostgresUrl | None
    rule_set: RuleSet

    async def pulled(self, name: str, tag: str, **how: str) -> Pulled:
        return await self.puller.manifest(wanted(name, **how), Tag(tag))

    async def pull(self, name: str, tag: str, **how: str) -> Digest:
        return (await self.pulled(name, tag, **how)).manifest.digest

    async def listed(self, name: str, **how: str) -> Listed:
        return await self.puller.tags(wanted(name, **how))

    async def tags(self, name: str, **how: str) -> list[str]:
        return list((await self.listed(name, **how)).tags)

    async def read(self, name: str, digest: Digest, **how: str) -> bytes:
        blob = (await self.puller.blob(wanted(name, **how), digest)).blob
        content = b""
        try:
            while len(content) < blob.size:
                content += await blob.read(len(content), blob.size)
        finally:
            blob.close()
        return content

    def use(self, rules: str) -> None:
        """Put other rules in force."""
        self.rule_set = rules_of(rules)

    def blob_path(self, digest: Digest) -> Path:
        return self.folder / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex


def wanted(name: str, *, host: str = "", rewrites: str = "") -> Wanted:
    """What a client asks for; ``rewrites`` is its ``?rewrite_dependencies=``."""
    wish = {"true": True, "false": False}.get(rewrites)
    return Wanted(Repository.parse(name), host, wish)


def rules_of(text: str, own_host: str | None = OWN_HOST) -> RuleSet:
    """``text`` is a rules.yaml without its version; every target is a Helm repository."""
    return replace(load_rules(f"version: 1\n{text}"), own_host=own_host)


@asynccontextmanager
async def ruled(
    folder: Path,
    rules: str,
    upstreams: Mapping[str, FakeSource] | None = None,
    *,
    database: PostgresUrl | None = None,
    beside: Ruled | None = None,
    offline: str = "",
    deadlines: Deadlines | None = None,
    own_host: str | None = OWN_HOST,
    admit: Callable[[Route], None] = admit_anyone,
) -> AsyncIterator[Ruled]:
    """Open a puller on ``folder``.

    ``beside``: a worker that runs there too, or ran until a restart, in the same world at the same time.
    """
    place = database if beside is None else beside.database
    engines = _open_engines(folder, place)
    generation = LocalGeneration()
    catalog = Catalog(engines, generation)
    clock = Clock() if beside is None else beside.clock
    blobs = DirectoryBlobs(folder / "blobs")
    world = Upstreams(by_target=dict(upstreams or {})) if beside is None else beside.upstreams
    for source in world.by_target.values():
        source.blobs, source.now = blobs, clock
    puller = Puller(
        Parts(
            router=lambda: partial(route, made.rule_set),
            admit=admit,
            is_open=is_open_to_all,
            sources={SourceName.HELM: world},
            catalog=catalog,
            blobs=blobs,
            memory=Memory(1 << 20, generation),
            now=clock,
            locks=FileLocks(folder / "locks"),
            is_offline=bool(offline),
            deadlines=deadlines or Deadlines(),
        )
    )
    made = Ruled(puller, catalog, blobs, clock, world, folder, place, rules_of(rules, own_host))
    try:
        yield made
    finally:
        await puller.drain()
        await engines.close()


def _open_engines(folder: Path, database: PostgresUrl | None) -> Engines:
    return open_catalog(folder) if database is None else open_postgres(database)


def said(error: BaseException) -> tuple[str, str]:
    """The code and the message of a refusal."""
    assert isinstance(error, OciError)
    return error.code.value, error.message
