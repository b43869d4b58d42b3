"""Puts the sources together, on one Http: the only place that knows each of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.flights import Locks
from gateway.rules.model import SourceName
from gateway.sources.base import Sink, Source
from gateway.sources.chartproxy import ChartProxy
from gateway.sources.helm_indexes import HelmIndexes, Shelf
from gateway.sources.helm_repo import HelmRepo
from gateway.sources.http import Http
from gateway.sources.index_registries import IndexRegistries
from gateway.sources.registry import Registry
from gateway.sources.registry_artifacts import Artifacts
from gateway.sources.registry_asking import RegistryAsking
from gateway.sources.registry_client import RegistryClient
from gateway.sources.registry_kinds import KindMemory, RegistryKinds
from gateway.sources.tokens import Tokens
from gateway.sources.upstream_check import UpstreamCheck
from gateway.sources.upstreams import Upstreams


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where the sources put what they fetch and learn."""

    shelf: Shelf
    sink: Sink
    kinds: KindMemory
    locks: Locks


@dataclass(frozen=True, slots=True)
class Sources:
    """Every source by its name, and what they share."""

    by_name: Mapping[SourceName, Source]
    helm: HelmRepo
    indexes: HelmIndexes
    others: Sequence[Tokens | RegistryKinds]
    http: Http
    check: UpstreamCheck

    async def close(self) -> None:
        """End what runs, close what is open."""
        for running in (self.helm, *self.others):
            await running.drain()
        await self.http.close()


def open_sources(
    http: Http,
    upstreams: Upstreams,
    keeping: Keeping,
    *,
    max_index_bytes: int,
    max_chart_bytes: int,
    now: Callable[[], float],
    own_host: str | None = None,
) -> Sources:
    """Make every source; ``now`` gives seconds since the epoch."""
    tokens = Tokens(http, upstreams, time.monotonic)
    client = RegistryClient(RegistryAsking(http, tokens))
    artifacts = Artifacts(client, keeping.sink, max_chart_bytes)
    kinds = RegistryKinds(http, keeping.kinds, now)
    indexes = HelmIndexes(
        http,
        keeping.shelf,
        lambda route: upstreams.home(route.errand),
        now,
        max_index_bytes,
        locks=keeping.locks,
    )
    helm = HelmRepo(http, indexes, IndexRegistries(artifacts, upstreams), keeping.sink, max_chart_bytes)
    by_name: dict[SourceName, Source] = {
        SourceName.REGISTRY: Registry(artifacts, upstreams, kinds, now),
        SourceName.CHARTPROXY: ChartProxy(artifacts, upstreams, now, own_host),
        SourceName.HELM: helm,
    }
    return Sources(by_name, helm, indexes, (tokens, kinds), http, UpstreamCheck(http, upstreams, tokens))
