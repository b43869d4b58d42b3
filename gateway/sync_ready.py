"""What of a mirror list is held whole and never changes, and what its charts need, known all at once."""

from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from typing import Final, Protocol

from anyio import to_thread

from gateway.chart_needs import ChartNeeds
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.location import Location
from gateway.oci.repository import Repository
from gateway.pull import Puller
from gateway.rules.route import Route, Wanted
from gateway.store.held_whole import ExactTag, HeldWhole
from gateway.sync_items import Held
from gateway.sync_plan import Kind, Wish

_MOST_REMEMBERED: Final = 5_000  # charts whose needs are in memory at once


class Charts(Protocol):
    """Tells what a chart needs, and pulls it for that; see gateway.chart_needs."""

    async def known(self, charts: Mapping[Location, Digest]) -> Mapping[Location, str]: ...

    def told(self, location: Location, known: str) -> ChartNeeds: ...

    async def read(self, location: Location) -> ChartNeeds: ...


class Ready:
    """What is held whole and never changes, found all at once: most of a list that was brought before.

    So is what the first thousands of charts need.
    """

    def __init__(self, puller: Puller, whole: HeldWhole, charts: Charts) -> None:
        self._puller = puller
        self._whole = whole
        self._charts = charts
        self._held: dict[Location, Held] = {}
        self._needs: dict[Location, str] = {}

    async def look(self, wishes: Mapping[Location, Wish]) -> None:
        """At charts that come from one place; whether something new signs them has to be asked."""
        plain = [location for location, wish in wishes.items() if _is_plain_chart(wish)]
        routes = await to_thread.run_sync(self._routes, {location.name for location in plain})
        whole = await self._whole.of(route.target for route in routes.values())
        ready = await to_thread.run_sync(_ready, plain, routes, whole)
        self._held = {location: Held((one.target,), is_new=False) for location, one in ready.items()}
        asking = [location for location in ready if wishes[location].has_needs][:_MOST_REMEMBERED]
        self._needs = dict(
            await self._charts.known({location: whole[ready[location]] for location in asking})
        )

    async def needs(self, location: Location) -> ChartNeeds:
        """What a chart needs, read if it has to be; raise OciError."""
        known = self._needs.pop(location, None)
        return await self._charts.read(location) if known is None else self._charts.told(location, known)

    def _routes(self, names: Set[Repository]) -> Mapping[Repository, Route]:
        routes: dict[Repository, Route] = {}
        for name in names:
            with suppress(OciError):  # told when its turn comes
                routing = self._puller.route(Wanted(name))
                if len(routing.routes) == 1:
                    routes[name] = routing.first
        return routes

    def take(self, location: Location, wish: Wish) -> Held | None:
        """Once: what is looked at again is in doubt."""
        return self._held.pop(location, None) if _is_plain_chart(wish) else None


def _ready(
    charts: Sequence[Location], routes: Mapping[Repository, Route], whole: Mapping[ExactTag, Digest]
) -> dict[Location, ExactTag]:
    ready: dict[Location, ExactTag] = {}
    for location in charts:
        route, tag = routes.get(location.name), str(location.reference)
        if route is None:
            continue
        tags = (ExactTag(route.target, route.variant.value, tag, source.value) for source in route.chain)
        found = next((one for one in tags if one in whole), None)
        if found is not None:
            ready[location] = found
    return ready


def _is_plain_chart(wish: Wish) -> bool:
    return wish.kind is Kind.CHART and not wish.signatures
