"""A puller and what explains it, on one catalog, before upstreams that say whom a pull asked."""

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from gateway.access.readers import admit_anyone
from gateway.explain import Explainer
from gateway.explained import Explanation
from gateway.oci.errors import OciError
from gateway.oci.location import Location
from gateway.oci.outcomes import MissingName
from gateway.oci.reference import Tag
from gateway.parts import Parts
from gateway.pull import Puller
from gateway.rule_following import Switch
from gateway.rule_revisions import InForce
from gateway.rules.model import RuleSet, SourceName
from gateway.rules.route import Route, Wanted
from gateway.sources.base import Found, Versions
from gateway.store.blobs import MemoryBlobs
from gateway.store.catalog import Catalog
from gateway.store.generation import LocalGeneration
from gateway.store.memory import Memory
from tests.fakes.source import FakeSource, layer_of
from tests.sources.helm_parts import Clock, open_catalog

Asked: TypeAlias = tuple[str, SourceName]  # a target, and the source that was asked for it


@dataclass(slots=True)
class Upstream:
    """All upstreams at once: what has a tag, and the log of who was asked for what."""

    having: set[Asked] = field(default_factory=set)
    asked: list[Asked] = field(default_factory=list)


@dataclass(slots=True)
class Recorder(FakeSource):
    """A source of all targets; it has tags of those alone that ``upstream`` says."""

    upstream: Upstream = field(default_factory=Upstream)

    async def find(self, route: Route, tag: str) -> Found:
        self._note(route)
        return await FakeSource.find(self, route, tag)

    async def versions(self, route: Route) -> Versions:
        self._note(route)
        return await FakeSource.versions(self, route)

    def tells(self, route: Route) -> Sequence[str]:
        return [f"https://{route.target}"]

    def _note(self, route: Route) -> None:
        here = (str(route.target), self.name)
        self.upstream.asked.append(here)
        if here not in self.upstream.having:
            raise MissingName("nobody knows it")


@dataclass(frozen=True, slots=True)
class Teller:
    """A puller, and what tells of it, on one catalog."""

    puller: Puller
    explainer: Explainer
    upstream: Upstream
    clock: Clock
    catalog: Catalog

    async def explain(self, wanted: Wanted, tag: str | None = "1.0.0") -> Explanation:
        return await self.explainer.explain(Location(wanted.name, None if tag is None else Tag(tag)), wanted)

    async def pull(self, wanted: Wanted, tag: str) -> OciError | None:
        """Pull; return the refusal, if it is one. ``upstream.asked`` tells who was asked."""
        self.upstream.asked.clear()
        try:
            await self.puller.manifest(wanted, Tag(tag))
        except OciError as error:
            return error
        return None


@asynccontextmanager
async def telling(
    rule_set: RuleSet, having: set[Asked] | None = None, admit: Callable[[Route], None] = admit_anyone
) -> AsyncIterator[Teller]:
    with tempfile.TemporaryDirectory() as folder:
        engines = open_catalog(Path(folder))
        generation, clock, blobs = LocalGeneration(), Clock(), MemoryBlobs()
        catalog, upstream = Catalog(engines, generation), Upstream(having or set())
        layers = {version: layer_of(version) for version in ("1.0.0", "2.0.0", "latest")}
        sources = {
            name: Recorder(blobs, dict(layers), name, now=clock, upstream=upstream) for name in SourceName
        }
        puller = Puller(
            Parts(
                router=Switch(InForce(rule_set)).router,
                admit=admit,
                sources=sources,
                catalog=catalog,
                blobs=blobs,
                memory=Memory(1 << 20, generation),
                now=clock,
            )
        )
        explainer = Explainer(
            rule_set=rule_set, route_of=puller.route, sources=sources, catalog=catalog, now=clock
        )
        try:
            yield Teller(puller, explainer, upstream, clock, catalog)
        finally:
            await puller.drain()
            await engines.close()
