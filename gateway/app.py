"""The composition root: settings become parts become an ASGI app; the one module that knows every room."""

import asyncio
import importlib.metadata
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.access.readers import admit_anyone
from gateway.explain import Explainer
from gateway.logs import access_log
from gateway.parts import Parts
from gateway.pull import Puller
from gateway.rule_following import Follower, Switch, Watcher
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
from gateway.store.blobs import BlobStore
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.catalog import Catalog
from gateway.store.conditions import Conditions
from gateway.store.data_dir import DataDir
from gateway.store.engine import Engines
from gateway.store.generation import Generation
from gateway.store.index_shelf import IndexShelf
from gateway.store.instance import instance_id
from gateway.store.memory import Memory
from gateway.store.revisions import RevisionOrigin
from gateway.upkeep import Job, Upkeep
from gateway.web.forwarded import HostOf
from gateway.web.gate import Gate
from gateway.web.health import RulesTold, Told, health_routes
from gateway.web.registry import Identity, registry_app

_MEMORY_BYTES = 32 << 20
_FROM_FILES = frozenset({RevisionOrigin.FILE, RevisionOrigin.ROLLBACK})


def version() -> str:
    return importlib.metadata.version("chart-gateway")


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts of a running gateway, for the web and the command line alike."""

    settings: Settings
    switch: Switch
    desk: RuleDesk
    puller: Puller
    sources: Sources
    catalog: Catalog
    blobs: BlobStore
    engines: Engines
    generation: Generation
    conditions: Conditions
    instance_id: str

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
            catalog=self.catalog,
            now=time.time,
            is_offline=self.settings.offline,
        )

    async def close(self) -> None:
        """End what runs, close what is open."""
        await self.puller.drain()
        await self.sources.close()
        await self.engines.close()
        await self.desk.engines.close()
        self.generation.close()


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
) -> Gateway:
    """Put the parts together; ``data_dir`` is prepared."""
    generation = data_dir.open_generation()
    engines = data_dir.open_engines()
    catalog = Catalog(engines, generation)
    blobs = DirectoryBlobs(data_dir.blobs)
    conditions = Conditions(time.time)
    locks = data_dir.open_locks()
    identity = instance_id(data_dir.instance)
    upstreams = Upstreams(
        _secrets(settings), settings.offline, may_dial_private=settings.allow_private_networks
    )
    http = Http(upstreams, Transports(resolver), _limits(settings), observe, instance_id=identity)
    keeping = Keeping(IndexShelf(engines, blobs), blobs, catalog, locks)
    sources = _sources(settings, http, upstreams, keeping)
    switch = Switch(in_force)
    puller = Puller(
        Parts(
            router=switch.router,
            admit=admit,
            sources=sources.by_name,
            catalog=catalog,
            blobs=blobs,
            memory=Memory(_MEMORY_BYTES, generation),
            now=time.time,
            locks=locks,
            is_offline=settings.offline,
            max_blob_bytes=settings.max_blob_size_bytes,
        )
    )
    desk = rule_desk(settings, data_dir)
    return Gateway(
        settings, switch, desk, puller, sources, catalog, blobs, engines, generation, conditions, identity
    )


def jobs(_gateway: Gateway) -> Sequence[Job]:
    """What is done now and then, once for each data directory."""
    return ()


def _sources(settings: Settings, http: Http, upstreams: Upstreams, keeping: Keeping) -> Sources:
    return open_sources(
        http,
        upstreams,
        keeping,
        max_index_bytes=settings.max_index_size_bytes,
        max_chart_bytes=settings.max_chart_size_bytes,
        now=time.time,
        own_host=None if settings.public_url is None else settings.public_url.host,
    )


def _never() -> bool:
    return False


def create_app(
    gateway: Gateway, is_stopping: Callable[[], bool] = _never, *, is_caretaker: bool = False
) -> ASGIApp:
    """The data port: the distribution API and the health checks, behind the gate.

    ``is_caretaker``: this worker does for all of them what one has to: the rules file, upkeep.
    """
    is_ready = False

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        nonlocal is_ready
        await verify_guard(Transports())
        await gateway.sources.http.prepare()
        async with _following(gateway, is_caretaker=is_caretaker):
            is_ready = True
            yield
        is_ready = False
        await gateway.close()

    settings = gateway.settings
    registry = registry_app(
        gateway.puller,
        time.time,
        Identity(gateway.own_hosts, gateway.instance_id),
        HostOf(settings.trusted_proxies),
    )
    health = health_routes(version(), lambda: is_ready and not is_stopping(), lambda: _told(gateway))
    app = _front(registry, Starlette(routes=health, lifespan=lifespan), frozenset(one.path for one in health))
    return Gate(app, access_log(settings.log_level, settings.log_format))


@asynccontextmanager
async def _following(gateway: Gateway, *, is_caretaker: bool) -> AsyncIterator[None]:
    """What keeps the rules up to date, for as long as the block runs."""
    seen = gateway.switch.in_force.file
    follower = Follower(gateway.desk, gateway.switch, gateway.instance_id)
    await follower.look()  # a worker that takes a dead one's place begins by what was read long ago
    running = [asyncio.create_task(follower.run())]
    if is_caretaker:
        running.append(asyncio.create_task(Watcher(gateway.desk, gateway.instance_id, seen).run()))
        running.append(asyncio.create_task(Upkeep(jobs(gateway)).run()))
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _told(gateway: Gateway) -> Told:
    troubles = gateway.conditions.told()
    return {
        "rules": _rules_told(gateway.switch.in_force),
        "storage": {name: asdict(trouble) for name, trouble in troubles.items()},
    }


def _rules_told(in_force: InForce) -> RulesTold:
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
