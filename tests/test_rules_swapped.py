"""Rules are swapped a thousand times while requests run: none fails, and each is of one rule set."""

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.parts import Parts
from gateway.pull import Puller
from gateway.pulled import Pulled
from gateway.rule_following import Switch
from gateway.rule_revisions import InForce
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet, SourceName
from gateway.rules.route import Route, Routing, Wanted
from gateway.sources.base import Comparable, Found, Versions
from gateway.store.blobs import MemoryBlobs
from gateway.store.catalog import Catalog
from gateway.store.generation import LocalGeneration
from gateway.store.memory import Memory
from gateway.web.forwarded import ClientOf, HostOf
from gateway.web.registry import Asker, Identity, registry_app
from tests.fakes.source import FakeSource, image_of
from tests.sources.helm_parts import open_catalog
from tests.web.live import App, ask_app

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

RELOADS = 1_000
CLIENTS = 20
VERSIONS = 1_000
_REQUEST: ContextVar[int] = ContextVar("request")


class Unrecorded:
    """Nobody counts."""

    def served(self, outcome: str, source: str | None, sent_bytes: int) -> None:
        """Nothing is done."""

    def manifest(self, wanted: Wanted, reference: str, pulled: Pulled, sent_bytes: int) -> None:
        """Nothing is done."""

    def refused(self, error: Exception, wanted: Wanted | None) -> None:
        """Nothing is done."""


@dataclass(slots=True)
class Seen:
    """Which rule sets each request was seen with, and what its answer was."""

    rules: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    places: Counter[str] = field(default_factory=Counter)

    def note(self, place: str, rules: RuleSet) -> None:
        self.places[place] += 1
        self.rules[_REQUEST.get()].add(id(rules))


@dataclass(slots=True)
class NotingSource(FakeSource):
    """A registry that notes by which rules it is asked, and takes a few turns of the loop to answer."""

    seen: Seen = field(default_factory=Seen)

    async def find(self, route: Route, tag: str) -> Found:
        await self._note("find", route)
        return await FakeSource.find(self, route, tag)

    async def versions(self, route: Route) -> Versions:
        await self._note("versions", route)
        return await FakeSource.versions(self, route)

    def candidates(self, route: Route, digest: Digest, count: int) -> AsyncIterator[Found]:
        self.seen.note("candidates", route.rules)
        return FakeSource.candidates(self, route, digest, count)

    async def referrers(self, route: Route, subject: Digest) -> Sequence[Descriptor]:
        await self._note("referrers", route)
        return await FakeSource.referrers(self, route, subject)

    @asynccontextmanager
    async def blob(self, route: Route, descriptor: Descriptor) -> AsyncIterator[AsyncIterator[bytes]]:
        await self._note("blob", route)
        async with FakeSource.blob(self, route, descriptor) as pieces:
            yield pieces

    async def _note(self, place: str, route: Route) -> None:
        for _ in range(5):
            self.seen.note(place, route.rules)
            await asyncio.sleep(0)


@dataclass(slots=True)
class Load:
    """Clients that pull, list and look for what refers to what.

    ``overtaken`` counts the requests at whose end other rules were in force than when they began.
    """

    app: App
    switch: Switch
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    statuses: Counter[int] = field(default_factory=Counter)
    asked: int = 0
    overtaken: int = 0
    is_over: bool = False

    async def client(self, number: int) -> None:
        version = number
        while not self.is_over:
            await self._pull(f"v{version}")
            version = (version + CLIENTS) % VERSIONS

    async def _pull(self, tag: str) -> None:
        body = await self._ask(f"/v2/team/app/manifests/{tag}")
        layer = json.loads(body)["layers"][0]["digest"]
        await self._ask(f"/v2/team/app/blobs/{layer}")
        await self._ask(f"/v2/team/app/manifests/{Digest.of(body)}")
        await self._ask(f"/v2/team/app/referrers/{Digest.of(body)}")
        await self._ask("/v2/team/app/tags/list?n=1")

    async def _ask(self, path: str) -> bytes:
        self.asked += 1
        _REQUEST.set(self.asked)
        before = self.switch.in_force.revision
        reply = await ask_app(self.app, "GET", path.encode())
        self.overtaken += before != self.switch.in_force.revision
        self.statuses[reply.status] += 1
        self.answered.set()
        return reply.body


def rule_set(number: int) -> RuleSet:
    return load_rules(
        f"version: 1\ndefaults: {{fresh_for: {number}s}}\n"
        'rules: [{repository: "team/*", rewrite: a.example.com/$1, chain: [registry], missing_for: 0s}]\n'
    )


async def test_each_request_is_of_one_rule_set_though_a_thousand_come_and_go(tmp_path: Path) -> None:
    rule_sets = [rule_set(number) for number in range(RELOADS + 1)]  # all kept: each has an id of its own
    switch = Switch(InForce(rule_sets[0]))
    seen = Seen()

    def route_of(wanted: Wanted) -> Routing:
        routing = switch.router()(wanted)
        seen.note("routed", routing.first.rules)
        return routing

    def admit(route: Route) -> None:
        seen.note("admitted", route.rules)

    blobs = MemoryBlobs()
    layers = {f"v{n}": f"the layer of v{n}".encode() for n in range(VERSIONS)}
    source = NotingSource(blobs, layers, SourceName.REGISTRY, Comparable.MANIFEST, image_of, seen=seen)
    engines, generation = open_catalog(tmp_path), LocalGeneration()
    puller = Puller(
        Parts(
            router=lambda: route_of,
            admit=admit,
            sources={SourceName.REGISTRY: source},
            catalog=Catalog(engines, generation),
            blobs=blobs,
            memory=Memory(1 << 20, generation),
            now=time.time,
        )
    )
    asker = Asker(HostOf(()), ClientOf(()))
    load = Load(registry_app(puller, time.time, Identity(frozenset(), "0" * 16), asker, Unrecorded()), switch)
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(load.client(number))
        for number, rules in enumerate(rule_sets[1:], start=1):
            await load.answered.wait()
            load.answered.clear()
            switch.put(InForce(rules, number))
        load.is_over = True
    await puller.drain()
    await engines.close()
    assert set(load.statuses) == {200}
    assert {len(rules) for rules in seen.rules.values()} == {1}
    assert seen.places["routed"] == len(seen.rules) == load.asked >= RELOADS
    assert {"admitted", "find", "blob", "referrers", "versions"} <= set(seen.places)
    assert load.overtaken > RELOADS / 2
    assert len({next(iter(rules)) for rules in seen.rules.values()}) > RELOADS / 4
