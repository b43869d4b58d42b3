"""The composition root: settings become parts become an ASGI app; the one module that knows every room."""

import asyncio
import importlib.metadata
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Final

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.access.readers import admit_anyone, admit_operator
from gateway.admission import Admission
from gateway.chart_names import ChartNames
from gateway.classic import ClassicIndexes
from gateway.classic_archives import ClassicRepositories
from gateway.explain import Explainer
from gateway.flights import Locks
from gateway.logs import access_log
from gateway.parts import Parts
from gateway.pull import Puller
from gateway.recording import Facts, Process, Recorder
from gateway.rule_following import Follower, Switch
from gateway.rule_revisions import InForce, RuleDesk, RuleReader, RulesFile
from gateway.rules.route import Route
from gateway.settings import Settings
from gateway.settings_values import RulesEditedIn
from gateway.sources.assembly import Keeping, Sources, open_sources
from gateway.sources.credentials import Secrets
from gateway.sources.egress import Resolver, resolve
from gateway.sources.http import Http, HttpLimits, Observer, unobserved
from gateway.sources.transports import Transports, verify_guard
from gateway.sources.upstreams import Upstreams
from gateway.store.activity_book import ActivityBook
from gateway.store.conditions import Condition
from gateway.store.data_dir import DataDir
from gateway.store.held_charts import HeldCharts
from gateway.store.index_shelf import IndexShelf
from gateway.store.instance import instance_id
from gateway.store.memory import Memory
from gateway.store.recovery import show_restored
from gateway.store.revisions import RevisionOrigin
from gateway.store.storage import Storage, open_storage
from gateway.web.charts import Charts, charts_app
from gateway.web.forwarded import ClientOf, HostOf
from gateway.web.gate import Gate
from gateway.web.health import RulesTold, Told, health_routes
from gateway.web.registry import Asker, Identity, registry_app

_MEMORY_BYTES = 32 << 20
_FROM_FILES = frozenset({RevisionOrigin.FILE, RevisionOrigin.ROLLBACK})


def version() -> str:
    return importlib.metadata.version("chart-gateway")


@dataclass(frozen=True, slots=True)
class Clock:
    """``now`` gives seconds since the epoch."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


_CLOCK: Final = Clock()
_ALONE: Final = Process()


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts of a running gateway, for the web and the command line alike.

    ``operator`` pulls whatever the rules know, also what is private, and ``names`` lists it: for what nobody
    sees who may not.
    """

    settings: Settings
    switch: Switch
    desk: RuleDesk
    puller: Puller
    classic: ClassicRepositories
    operator: Puller
    names: ChartNames
    sources: Sources
    storage: Storage
    instance_id: str
    clock: Clock
    recorder: Recorder

    @property
    def own_hosts(self) -> frozenset[str]:
        """Host and port as clients may write them for this gateway itself."""
        host = self.settings.host
        hosts = {f"[{host}]:{self.settings.port}" if ":" in host else f"{host}:{self.settings.port}"}
        if self.settings.public_url is not None:
            hosts.add(self.settings.public_url.authority)
        return frozenset(hosts)

    @property
    def explainer(self) -> Explainer:
        """Tells what a pull would do by the rules in force now."""
        return Explainer(
            rule_set=self.switch.in_force.rule_set,
            route_of=self.puller.route,
            sources=self.sources.by_name,
            catalog=self.storage.catalog,
            now=self.clock.now,
            is_offline=self.settings.offline,
        )

    async def close(self) -> None:
        """End what runs, close what is open."""
        await self.classic.drain()
        await asyncio.gather(self.puller.drain(), self.operator.drain())
        await self.sources.close()
        await asyncio.gather(self.storage.close(), self.desk.engines.close())


def rule_reader(settings: Settings) -> RuleReader:
    """Reads rules with what a server of these settings has at hand."""
    own_host = None if settings.public_url is None else settings.public_url.authority
    return RuleReader(_secrets(settings), own_host)


def rule_desk(settings: Settings, data_dir: DataDir) -> RuleDesk:
    """The rules file and the book of its revisions; close its engines."""
    return RuleDesk(
        RulesFile(settings.rules, is_named="RULES" in settings.given),
        rule_reader(settings),
        data_dir.open_rule_engines(),
        origins=_FROM_FILES if settings.rules_edited_in is RulesEditedIn.FILE else None,
        is_seeded_by_file=settings.rules_edited_in is RulesEditedIn.ADMIN,
    )


def compose(
    settings: Settings,
    data_dir: DataDir,
    in_force: InForce,
    *,
    resolver: Resolver = resolve,
    observe: Observer = unobserved,
    admit: Callable[[Route], None] = admit_anyone,
    clock: Clock = _CLOCK,
    process: Process = _ALONE,
) -> Gateway:
    """Put the parts together; ``data_dir`` is prepared."""
    storage = open_storage(data_dir, clock.sleep)
    locks, identity = data_dir.open_locks(), instance_id(data_dir.instance)
    may_dial_private = settings.allow_private_networks
    upstreams = Upstreams(_secrets(settings), settings.offline, may_dial_private=may_dial_private)
    http = _http(settings, upstreams, Transports(resolver), observe, clock=clock, identity=identity)
    shelf = IndexShelf(storage.fallbacks.rows, storage.blobs)
    keeping = Keeping(shelf, storage.blobs, storage.catalog, locks)
    sources = _sources(settings, http, upstreams, keeping, clock.now)
    switch, desk = Switch(in_force), rule_desk(settings, data_dir)
    parts = _parts(settings, switch, storage, sources, locks=locks, clock=clock)
    held = HeldCharts(storage.fallbacks.rows)
    bounded, unbounded = replace(parts, admit=admit), replace(parts, admit=admit_operator)
    names, all_names = (
        ChartNames(one, switch.rule_set, sources.indexes, held) for one in (bounded, unbounded)
    )
    puller = Puller(bounded)
    indexes = ClassicIndexes(bounded, puller, names, held)
    facts = Facts(lambda: switch.rule_set().rules, http.origins.told, storage.conditions.told)
    return Gateway(
        settings=settings,
        switch=switch,
        desk=desk,
        puller=puller,
        classic=ClassicRepositories(bounded, puller, indexes),
        operator=puller if admit is admit_operator else Puller(unbounded),
        names=all_names,
        sources=sources,
        storage=storage,
        instance_id=identity,
        clock=clock,
        recorder=Recorder(ActivityBook(storage.engines), identity, process, facts, clock.now),
    )


def _parts(
    settings: Settings,
    switch: Switch,
    storage: Storage,
    sources: Sources,
    *,
    locks: Locks,
    clock: Clock,
) -> Parts:
    return Parts(
        router=switch.router,
        admit=admit_anyone,
        sources=sources.by_name,
        catalog=storage.catalog,
        blobs=storage.blobs,
        memory=Memory(_MEMORY_BYTES, storage.generation),
        now=clock.now,
        locks=locks,
        admission=Admission(storage.catalog, now=clock.monotonic),
        is_offline=settings.offline,
        max_blob_bytes=settings.max_blob_size_bytes,
    )


def _http(
    settings: Settings,
    upstreams: Upstreams,
    transports: Transports,
    observe: Observer,
    *,
    clock: Clock,
    identity: str,
) -> Http:
    return Http(
        upstreams,
        transports,
        _limits(settings),
        observe,
        instance_id=identity,
        monotonic=clock.monotonic,
        now=clock.now,
    )


def _sources(
    settings: Settings, http: Http, upstreams: Upstreams, keeping: Keeping, now: Callable[[], float]
) -> Sources:
    return open_sources(
        http,
        upstreams,
        keeping,
        max_index_bytes=settings.max_index_size_bytes,
        max_chart_bytes=settings.max_chart_size_bytes,
        now=now,
        own_host=None if settings.public_url is None else settings.public_url.host,
    )


def _never() -> bool:
    return False


def create_app(
    gateway: Gateway,
    is_stopping: Callable[[], bool] = _never,
    caretaker: Callable[[], Awaitable[None]] | None = None,
) -> ASGIApp:
    """The data port: the distribution API and the health checks, behind the gate.

    ``caretaker`` runs beside it: what one worker does for all of them.
    """
    is_ready = False

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        nonlocal is_ready
        await verify_guard(Transports())
        await gateway.sources.http.prepare()
        async with following(gateway, caretaker):
            is_ready = True
            yield
        is_ready = False
        await gateway.close()

    settings = gateway.settings
    identity = Identity(gateway.own_hosts, gateway.instance_id)
    asker = Asker(HostOf(settings.trusted_proxies), ClientOf(settings.trusted_proxies))
    registry = registry_app(gateway.puller, gateway.clock.now, identity, asker, gateway.recorder)
    charts = Charts(gateway.classic, gateway.clock.now, gateway.recorder)
    data_port = charts_app(registry, charts, identity, asker)
    health = health_routes(version(), lambda: is_ready and not is_stopping(), lambda: _told(gateway))
    app = _front(
        data_port, Starlette(routes=health, lifespan=lifespan), frozenset(one.path for one in health)
    )
    return Gate(app, access_log(settings.log_level, settings.log_format))


@asynccontextmanager
async def following(
    gateway: Gateway, caretaker: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[None]:
    """What keeps the rules up to date, and what else goes on beside, for as long as the block runs."""
    follower = Follower(gateway.desk, gateway.switch, gateway.instance_id)
    _show_restored(gateway)
    await follower.look()  # a worker that takes a dead one's place begins by what was read long ago
    beside = (follower.run, gateway.recorder.run, caretaker)
    running = [asyncio.ensure_future(one()) for one in beside if one is not None]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await gateway.recorder.flush()


def _show_restored(gateway: Gateway) -> None:
    """For a day after it."""
    lasts_seconds = show_restored(gateway.storage.data_dir.restored, gateway.storage.conditions, time.time())
    if lasts_seconds is not None:
        end = gateway.storage.conditions.end
        asyncio.get_running_loop().call_later(lasts_seconds, end, Condition.CATALOG_RESTORED)


def _told(gateway: Gateway) -> Told:
    troubles = gateway.storage.conditions.told()
    return {
        "rules": rules_told(gateway.switch.in_force),
        "storage": {name: asdict(trouble) for name, trouble in troubles.items()},
    }


def rules_told(in_force: InForce) -> RulesTold:
    """Where something is wrong, and not what: strangers read it, and rules name what is inside."""
    trouble = in_force.trouble
    told = None if trouble is None else f"{trouble.partition(': ')[0]}: newer rules are refused, see the log"
    return {"revision": in_force.revision, "trouble": told}


def _front(registry: ASGIApp, starlette: ASGIApp, own_paths: Collection[str]) -> ASGIApp:
    """Hand all but Starlette's own to the registry at once: routing costs as much as a manifest in memory."""

    def front(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        is_registry = scope["type"] == "http" and scope["path"] not in own_paths
        return (registry if is_registry else starlette)(scope, receive, send)

    return front


def _secrets(settings: Settings) -> Secrets:
    return Secrets(settings.secrets, settings.secrets_dir, settings.docker_config)


def _limits(settings: Settings) -> HttpLimits:
    return HttpLimits(
        first_byte_seconds=settings.upstream_timeout_seconds,
        idle_seconds=settings.upstream_timeout_seconds,
        concurrency=settings.upstream_concurrency,
    )
