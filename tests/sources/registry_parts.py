"""A registry and a chart proxy as sources, in front of fakes, with clocks that a test turns."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from gateway.oci.digest import Digest
from gateway.oci.repository import Repository
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet
from gateway.rules.route import Route, Wanted, route
from gateway.sources.base import Fetched
from gateway.sources.chartproxy import ChartProxy
from gateway.sources.credentials import Secrets
from gateway.sources.http import Http, HttpLimits
from gateway.sources.registry import Registry
from gateway.sources.registry_artifacts import Artifacts
from gateway.sources.registry_asking import RegistryAsking
from gateway.sources.registry_client import ListLimits, RegistryClient
from gateway.sources.registry_kinds import RegistryKinds
from gateway.sources.registry_place import UpstreamRepository, own_repository
from gateway.sources.tokens import Tokens
from gateway.sources.transports import Transports
from gateway.sources.upstreams import Upstreams
from gateway.store.blobs import MemoryBlobs, read_whole
from tests.composed import FakeDns, upstream
from tests.sources.asking import errand_to
from tests.sources.helm_parts import Clock

REGISTRY_HOST = "registry.example.test"
PROXY_HOST = "proxy.example.test"
NAME = "team/app"
MAX_CHART_BYTES = 1 << 20
SIGNED = {"username_env": "GATEWAY_SECRET_USER", "password_env": "GATEWAY_SECRET_PASSWORD"}
SECRETS = {"GATEWAY_SECRET_USER": "robot", "GATEWAY_SECRET_PASSWORD": "s3cret"}


@dataclass(frozen=True, slots=True)
class Known:
    is_registry: bool
    learnt_at: float


@dataclass(slots=True)
class Memory:
    """Remembers in a dict which places are registries."""

    known: dict[str, Known] = field(default_factory=dict)

    async def find_registry(self, place: str) -> Known | None:
        return self.known.get(place)

    async def keep_registry(self, place: str, is_registry: bool, learnt_at: float) -> None:
        self.known[place] = Known(is_registry, learnt_at)


@dataclass(frozen=True, slots=True)
class RegistryParts:
    registry: Registry
    proxy: ChartProxy
    client: RegistryClient
    kinds: RegistryKinds
    tokens: Tokens
    memory: Memory
    http: Http
    upstreams: Upstreams
    blobs: MemoryBlobs
    dns: FakeDns
    clock: Clock
    rule_set: RuleSet

    def route(self, name: str = NAME, *, is_guessed: bool = False, host: str = REGISTRY_HOST) -> Route:
        found = self.route_by(self.rule_set, f"{host}/{name}")
        return replace(found, is_registry_guessed=is_guessed, chartproxy=PROXY_HOST)

    def route_by(self, rules: RuleSet, name: str = f"{REGISTRY_HOST}/{NAME}") -> Route:
        """A route as other rules, which came into force meanwhile, make it."""
        return route(rules, Wanted(Repository.parse_with_port(name))).first

    def repository(self, name: str = NAME) -> UpstreamRepository:
        return own_repository(self.upstreams, errand_to(f"{REGISTRY_HOST}/{name}", self.rule_set))

    async def fetch(self, tag: str, name: str = NAME) -> Fetched:
        found = await self.registry.find(self.route(name), tag)
        return await found.fetch()

    async def content(self, digest: Digest) -> bytes | None:
        return await read_whole(self.blobs, digest)


@asynccontextmanager
async def registry_parts(*lines: str, limits: ListLimits | None = None) -> AsyncIterator[RegistryParts]:
    """Open the parts; ``lines`` are lines below ``upstreams:``."""
    rule_set = load_rules(f"version: 1\nupstreams:\n{''.join(lines)}")
    upstreams = Upstreams(Secrets(SECRETS))
    dns, clock, memory, blobs = FakeDns(), Clock(), Memory(), MemoryBlobs()
    transports = Transports(dns)
    http = Http(upstreams, transports, HttpLimits(), monotonic=clock, now=clock)
    tokens = Tokens(http, upstreams, clock)
    client = RegistryClient(RegistryAsking(http, tokens), limits or ListLimits())
    artifacts = Artifacts(client, blobs, MAX_CHART_BYTES)
    kinds = RegistryKinds(http, memory, clock)
    registry = Registry(artifacts, upstreams, kinds, clock)
    proxy = ChartProxy(artifacts, upstreams, clock)
    try:
        yield RegistryParts(
            registry, proxy, client, kinds, tokens, memory, http, upstreams, blobs, dns, clock, rule_set
        )
    finally:
        await tokens.drain()
        await kinds.drain()
        await transports.close()


def registry_at(url: str, key: str = REGISTRY_HOST, **more: str) -> str:
    """The line that makes ``key`` stand for a fake registry."""
    return upstream(url, key, **{"kind": "registry", **more})
