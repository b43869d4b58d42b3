"""The composition root: settings become parts become an ASGI app; the one module that knows every room."""

import importlib.metadata
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.access.readers import admit_anyone
from gateway.logs import access_log
from gateway.pull import Parts, Puller
from gateway.rules.load import load_rules
from gateway.rules.model import EgressMode, RuleSet
from gateway.rules.route import Route, route
from gateway.settings import Settings
from gateway.sources.assembly import Keeping, Sources, open_sources
from gateway.sources.credentials import Secrets, docker_logins, verify
from gateway.sources.egress import Resolver, resolve
from gateway.sources.http import Http, HttpLimits, Observer, unobserved
from gateway.sources.transports import Transports, verify_guard
from gateway.sources.upstreams import Upstreams
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.catalog import Catalog
from gateway.store.data_dir import DataDir
from gateway.store.engine import Engines
from gateway.store.generation import Generation
from gateway.store.index_shelf import IndexShelf
from gateway.store.instance import instance_id
from gateway.store.memory import Memory
from gateway.web.gate import Gate
from gateway.web.health import health_routes
from gateway.web.registry import registry_app

_MEMORY_BYTES = 32 << 20
_ROUTES = 10_000


def version() -> str:
    return importlib.metadata.version("chart-gateway")


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts of a running gateway, for the web and the command line alike."""

    settings: Settings
    rule_set: RuleSet
    puller: Puller
    sources: Sources
    catalog: Catalog
    engines: Engines
    generation: Generation
    instance_id: str

    @property
    def own_hosts(self) -> frozenset[str]:
        """Host and port as clients may write them for this gateway itself."""
        host = self.settings.host
        hosts = {f"[{host}]:{self.settings.port}" if ":" in host else f"{host}:{self.settings.port}"}
        if self.settings.public_url is not None:
            hosts.add(self.settings.public_url.authority)
        return frozenset(hosts)

    async def close(self) -> None:
        """End what runs, close what is open."""
        await self.puller.drain()
        await self.sources.close()
        await self.engines.close()
        self.generation.close()


def read_rules(settings: Settings) -> RuleSet:
    """Read rules.yaml and look up what it names; raise RulesError or ConfigError.

    No file at the default place means no rules.
    """
    path = settings.rules
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if "RULES" not in settings.given:
            return _checked(RuleSet(), settings)
        raise ConfigError(f"there is no rules file {path} (setting RULES)") from None
    except OSError as error:
        raise ConfigError(f"the rules file {path} cannot be read: {error.strerror}") from error
    return _checked(load_rules(content, str(path)), settings)


def _checked(rule_set: RuleSet, settings: Settings) -> RuleSet:
    """The rules with all that they name at hand, and with the places that Docker is signed in to."""
    secrets = _secrets(settings)
    problems = verify(secrets, rule_set)
    if problems:
        raise ConfigError("\n".join(f"{settings.rules}: {problem}" for problem in problems))
    return replace(rule_set, logins=docker_logins(secrets))


class ConfigError(Exception):
    """The gateway cannot start as it is configured; the message says what to do."""


def compose(
    settings: Settings,
    data_dir: DataDir,
    rule_set: RuleSet,
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
    locks = data_dir.open_locks()
    identity = instance_id(data_dir.instance)
    upstreams = Upstreams(
        rule_set, _secrets(settings), settings.offline, may_dial_private=settings.allow_private_networks
    )
    http = Http(upstreams, Transports(resolver), _limits(settings), observe, instance_id=identity)
    keeping = Keeping(IndexShelf(engines, blobs), blobs, catalog, locks)
    sources = open_sources(
        http,
        upstreams,
        keeping,
        max_index_bytes=settings.max_index_size_bytes,
        max_chart_bytes=settings.max_chart_size_bytes,
        now=time.time,
        own_host=None if settings.public_url is None else settings.public_url.host,
    )
    puller = Puller(
        Parts(
            route_of=lru_cache(_ROUTES)(partial(route, rule_set)),
            admit=admit,
            sources=sources.by_name,
            catalog=catalog,
            blobs=blobs,
            memory=Memory(_MEMORY_BYTES, generation),
            now=time.time,
            locks=locks,
            is_offline=settings.offline or rule_set.egress.mode is EgressMode.OFFLINE,
            max_blob_bytes=settings.max_blob_size_bytes,
        )
    )
    return Gateway(settings, rule_set, puller, sources, catalog, engines, generation, identity)


def _never() -> bool:
    return False


def create_app(gateway: Gateway, is_stopping: Callable[[], bool] = _never) -> ASGIApp:
    """The data port: the distribution API and the health checks, behind the gate."""
    is_ready = False

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        nonlocal is_ready
        await verify_guard(Transports())
        await gateway.sources.http.prepare()
        is_ready = True
        yield
        is_ready = False
        await gateway.close()

    registry = registry_app(gateway.puller, time.time, gateway.own_hosts, gateway.instance_id)
    health = health_routes(version(), lambda: is_ready and not is_stopping())
    settings = gateway.settings
    app = _front(registry, Starlette(routes=health, lifespan=lifespan), frozenset(one.path for one in health))
    return Gate(app, access_log(settings.log_level, settings.log_format))


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
