"""The desk's view of activity on a catalog in memory: a recorder to fill it, and all that reads it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.activity import ActivityDesk
from gateway.event_tap import EventTap
from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.pulled import Cache, Pulled
from gateway.recording import Facts, Process, Recorder
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet
from gateway.rules.route import Wanted
from gateway.sources.credentials import Secrets
from gateway.sources.http import Http
from gateway.sources.origins import HttpLimits, Origins
from gateway.sources.tokens import Tokens
from gateway.sources.transports import Transports
from gateway.sources.upstream_check import UpstreamCheck
from gateway.sources.upstreams import Upstreams
from gateway.storage_use import Places, StorageDesk
from gateway.store import admin_tables
from gateway.store.activity_book import ActivityBook
from gateway.store.activity_rows import Harvest, RecentPull, Teller
from gateway.store.blobs import StorageFailed
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.conditions import Trouble
from gateway.store.engine import Engines, open_in_memory
from gateway.store.tables import metadata
from gateway.upstream_states import UpstreamDesk
from tests.sources.asking import Clock

RULES = """
version: 1
upstreams:
  charts.example.test: {kind: helm}
rules:
  - name: short
    repository: apps/*
    rewrite: charts.example.test/$1
  - name: closed
    repository: closed/**
    deny: not here
"""
DEMO = Wanted(Repository.parse("apps/demo"), "localhost:9000")
CLOSED = Wanted(Repository.parse("closed/demo"), "localhost:9000")
TARGET = Target.parse("charts.example.test/demo")
MANIFEST = Manifest(b"{}", "application/json", Digest.of(b"{}"))
HIT = Pulled(MANIFEST, Cache.HIT, "helm", 1.0, TARGET)


class FailingBook(ActivityBook):
    """Takes nothing while ``is_down``."""

    is_down = False

    async def keep(self, teller: Teller, harvest: Harvest, now: float) -> None:
        if self.is_down:
            raise StorageFailed("the disk is full")
        await super().keep(teller, harvest, now)


@dataclass(slots=True)
class Worker:
    """A recorder with all that it looks at."""

    book: FailingBook
    clock: Clock
    rules: RuleSet
    tap: EventTap = field(init=False)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    origins: Origins = field(init=False)
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.tap = EventTap(self.clock)
        self.origins = Origins(HttpLimits(), self.clock, now=self.clock)
        facts = Facts(lambda: self.rules.rules, self.origins.told, lambda: self.troubles)
        self.recorder = Recorder(self.book, "ours", Process(0, 1, self.tap), facts, self.clock)

    def restarted(self) -> "Worker":
        return Worker(self.book, self.clock, self.rules)

    async def last_pulls(self) -> Sequence[RecentPull]:
        return await self.book.newest_pulls(10_000)


@dataclass(frozen=True, slots=True)
class ActivityHouse:
    worker: Worker
    desk: ActivityDesk
    disk: DirectoryBlobs
    engines: Engines

    async def lose_the_catalog(self) -> None:
        await self.engines.tell(admin_tables.metadata.drop_all)


@asynccontextmanager
async def activity_house(folder: Path, rules: str = RULES) -> AsyncIterator[ActivityHouse]:
    engines = open_in_memory(64 << 20)
    await engines.tell(metadata.create_all)
    await engines.tell(admin_tables.metadata.create_all)
    rule_set, clock = load_rules(rules), Clock(1_800_000_000.0)
    book = FailingBook(engines)
    worker = Worker(book, clock, rule_set)
    upstreams = Upstreams(Secrets({}, None, None))
    http = Http(upstreams, Transports(), HttpLimits())
    check = UpstreamCheck(http, upstreams, Tokens(http, upstreams, clock))
    disk = DirectoryBlobs(folder / "blobs")
    places = Places(folder, folder / "blobs" / "quarantine", None, disk)
    storage = StorageDesk(places, engines, 1 << 30, clock, clock)
    desk = ActivityDesk(book, UpstreamDesk(book, check, "ours", lambda: rule_set, clock), storage, clock)
    try:
        yield ActivityHouse(worker, desk, disk, engines)
    finally:
        await storage.close()
        await http.close()
        await engines.close()
