"""A Helm repository as a source, on a shelf and blobs in a folder, with a clock that a test turns."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.oci.repository import Repository
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet
from gateway.rules.route import Route, Wanted, route
from gateway.sources.base import Fetched
from gateway.sources.credentials import Secrets
from gateway.sources.helm_indexes import HelmIndexes
from gateway.sources.helm_repo import HelmRepo
from gateway.sources.http import Http, HttpLimits
from gateway.sources.index_registries import IndexRegistries
from gateway.sources.registry_artifacts import Artifacts
from gateway.sources.registry_asking import RegistryAsking
from gateway.sources.registry_client import RegistryClient
from gateway.sources.tokens import Tokens
from gateway.sources.transports import Transports
from gateway.sources.upstreams import Upstreams
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.engine import Engines, open_sqlite
from gateway.store.index_shelf import IndexShelf
from gateway.store.tables import metadata
from tests.composed import HOST, FakeDns, upstream

MAX_BYTES = 1 << 20
FRESH_SECONDS = 300.0


@dataclass(slots=True)
class Clock:
    seconds: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass(frozen=True, slots=True)
class HelmParts:
    source: HelmRepo
    indexes: HelmIndexes
    shelf: IndexShelf
    blobs: DirectoryBlobs
    folder: Path
    clock: Clock
    rule_set: RuleSet

    def route(self, chart: str = "demo", host: str = HOST, rules: RuleSet | None = None) -> Route:
        return route(rules or self.rule_set, Wanted(Repository.parse(f"{host}/{chart}"))).first

    async def versions(self, chart: str = "demo") -> list[str]:
        return list((await self.source.versions(self.route(chart))).names)

    async def fetch(self, tag: str, chart: str = "demo") -> Fetched:
        found = await self.source.find(self.route(chart), tag)
        return await found.fetch()

    def blob_names(self) -> set[str]:
        return {path.name for path in self.folder.glob("blobs/**/*") if path.is_file()}


def open_catalog(folder: Path) -> Engines:
    """Open the catalog in ``folder``, made there if there is none: quicker than by migrations, and equal."""
    folder.mkdir(exist_ok=True)
    engines = open_sqlite(folder / "catalog.sqlite3")
    metadata.create_all(engines.writer)
    return engines


@asynccontextmanager
async def helm_parts(
    folder: Path,
    url: str,
    *,
    max_bytes: int = MAX_BYTES,
    clock: Clock | None = None,
    more_upstreams: str = "",
    environment: Mapping[str, str] | None = None,
    may_dial_private: bool = False,
    **policy: str,
) -> AsyncIterator[HelmParts]:
    """Open the parts on ``folder``; opening it anew is a restart."""
    now = clock or Clock()
    engines = open_catalog(folder)
    rule_set = load_rules(f"version: 1\nupstreams:\n{upstream(url, **policy)}{more_upstreams}")
    upstreams = Upstreams(Secrets(environment or {}), may_dial_private=may_dial_private)
    transports = Transports(FakeDns())
    http = Http(upstreams, transports, HttpLimits(), monotonic=now, now=now)
    blobs = DirectoryBlobs(folder / "blobs")
    shelf = IndexShelf(engines, blobs)
    indexes = HelmIndexes(http, shelf, lambda route: upstreams.home(route.errand), now, max_bytes)
    client = RegistryClient(RegistryAsking(http, Tokens(http, upstreams, time.monotonic)))
    registries = IndexRegistries(Artifacts(client, blobs, max_bytes), upstreams)
    source = HelmRepo(http, indexes, registries, blobs, max_bytes)
    try:
        yield HelmParts(source, indexes, shelf, blobs, folder, now, rule_set)
    finally:
        await source.drain()
        await transports.close()
        engines.dispose()
