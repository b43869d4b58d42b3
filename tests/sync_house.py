"""A composed gateway with mirror lists, before honest upstreams that count what they are asked."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.app import Gateway
from gateway.caretaker import sync_parts
from gateway.rules.sync_lists import SyncList
from gateway.store.retention import keeper_of_list
from gateway.sync_plan import SyncPlan, SyncReport
from gateway.sync_work import Syncer, SyncParts
from tests.composed import HOST, Composed, composed, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.registry import FakeRegistry
from tests.sources.registry_parts import REGISTRY_HOST, registry_at

DEMO = f"{HOST}/demo"
IMAGE = f"{REGISTRY_HOST}/team/app"
OLDEST = "defaults: {fresh_for: 1h}\n"


@dataclass(slots=True)
class Given:
    """Tells these names, whatever is asked for."""

    names: list[str] = field(default_factory=list)

    async def under(self, prefix: str, host: str = "") -> Sequence[str]:
        return [name for name in self.names if name.startswith(f"{prefix}/")]


@dataclass(frozen=True, slots=True)
class World:
    """A Helm repository and a registry."""

    repo: HelmRepo
    registry: FakeRegistry

    def publish(self, *charts: bytes) -> None:
        """These are all that the repository lists from now on."""
        for path, content in repository_of(*charts).items():
            self.repo.put(path, content)

    def rules(self, sync: str) -> str:
        """``sync`` is what stands below a list's name."""
        places = upstream(self.repo.url, kind="helm") + registry_at(self.registry.origin)
        return f"{OLDEST}upstreams:\n{places}sync:\n  - name: base\n{sync}"


@contextmanager
def world(*charts: bytes) -> Iterator[World]:
    with HelmRepo(repository_of(*(charts or (make_chart("demo", "1.0.0"),)))) as repo, FakeRegistry() as fake:
        yield World(repo, fake)


@dataclass(frozen=True, slots=True)
class Mirror:
    """A gateway, and what brings its list up to date."""

    at: Composed
    parts: SyncParts
    names: Given

    @property
    def gateway(self) -> Gateway:
        return self.at.gateway

    @property
    def wanted(self) -> SyncList:
        (wanted,) = self.gateway.switch.in_force.rule_set.sync
        return wanted

    async def run(self) -> SyncReport:
        return await Syncer(self.parts).run(self.wanted, "me")

    async def plan(self) -> SyncPlan:
        return await Syncer(self.parts).plan(self.wanted)

    async def kept(self) -> set[str]:
        """What the list keeps, as ``name:tag``, digests by their beginning."""
        kept = await self.parts.book.of(keeper_of_list("base"))
        return {f"{one.name}:{one.reference[:15]}" for one in kept}

    async def held(self) -> set[str]:
        return {f"{one.name}:{one.row.tag}" for one in await self.gateway.storage.catalog.held()}


@asynccontextmanager
async def mirror(folder: Path, rules: str, **changes: object) -> AsyncIterator[Mirror]:
    """``changes`` are of the parts."""
    names = Given()
    async with composed(folder, rules) as at:
        changed: Mapping[str, object] = {"names": names, **changes}
        yield Mirror(at, replace(sync_parts(at.gateway), **changed), names)  # type: ignore[arg-type]


def asked(server: HelmRepo | FakeRegistry, since: int = 0) -> list[str]:
    """What it was asked after so many requests."""
    return [f"{request.method} {request.path}" for request in server.requests[since:]]
