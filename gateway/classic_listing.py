"""What an index lists, and its text; where only a list of tags can tell, that is asked for."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from gateway.chart_names import Reached, compute
from gateway.classic_held import HeldMetadata, Judge, ListedChart, entries_of
from gateway.helm.classic_index import write_index
from gateway.helm.metadata import ChartMetadata
from gateway.helm.version import tag_of
from gateway.homes import home_name
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.target import Target
from gateway.parts import Parts
from gateway.pull import Puller
from gateway.pulled import Cache
from gateway.rules.route import Routing, Wanted
from gateway.store.held_charts import HeldChart, HeldCharts

log = structlog.get_logger(__name__)

_TAG_LISTS_AT_ONCE: Final = 8
_OUTAGES: Final = (Situation.SOURCES_DOWN, Situation.RATE_LIMITED)


@dataclass(frozen=True, slots=True)
class Body:
    """An index as it is sent, under the digest of these very bytes."""

    content: bytes
    digest: Digest


@dataclass(slots=True)
class Listing:
    """What every chart has; ``times`` are when lists of tags were confirmed."""

    charts: dict[str, ListedChart]
    times: list[float] = field(default_factory=list)
    has_failure: bool = False


class Listings:
    """Makes them of what was reached."""

    def __init__(self, parts: Parts, puller: Puller, held: HeldCharts) -> None:
        self._parts = parts
        self._puller = puller
        self._metadata = HeldMetadata(parts, held)

    async def of(self, reached: Reached, host: str, now: float) -> Listing:
        """Judge every chart; where only a list of tags can tell, ask for that."""
        judge = Judge(self._parts, reached, now)
        homes: dict[str, Mapping[str, Target]] = {}
        for chart in await compute(_with_homes, reached):
            name = home_name(reached.charts[chart])
            homes[chart] = await self._parts.catalog.find_tag_targets(name)
        listing = Listing(await compute(_judged, judge, reached, homes))
        turns = asyncio.Semaphore(_TAG_LISTS_AT_ONCE)

        async def ask(chart: str) -> None:
            routing = reached.charts[chart]
            async with turns:
                try:
                    listed = await self._puller.tags(Wanted(routing.first.name, host))
                except OciError as error:
                    log.info("tags_not_known", name=routing.first.name.name, reason=error.message)
                    listing.has_failure |= error.situation in _OUTAGES
                    return
            tags = {tag_of(tag): tag for tag in listed.tags}
            listing.charts[chart] = await compute(judge.listed, routing, homes.get(chart, {}), tags)
            listing.has_failure |= listed.cache is Cache.STALE
            if listed.confirmed_at is not None:
                listing.times.append(listed.confirmed_at)

        await asyncio.gather(*(ask(chart) for chart, one in list(listing.charts.items()) if one.needs_tags))
        return listing

    async def written(self, reached: Reached, listing: Listing) -> Body | None:
        """The text; None where no chart has any version."""
        metadata = await self._metadata.of(await compute(_only_held, listing.charts))
        return await compute(_written, reached, listing.charts, metadata)


def _with_homes(reached: Reached) -> Sequence[str]:
    """Charts of which a tag may stay at a later target: something is held there."""

    def may_stay_later(routing: Routing) -> bool:
        return any(str(route.target) in reached.held for route in routing.routes[1:])

    return [chart for chart in sorted(reached.sure) if may_stay_later(reached.charts[chart])]


def _judged(
    judge: Judge, reached: Reached, homes: Mapping[str, Mapping[str, Target]]
) -> dict[str, ListedChart]:
    return {
        chart: judge.listed(reached.charts[chart], homes.get(chart, {})) for chart in sorted(reached.sure)
    }


def _only_held(charts: Mapping[str, ListedChart]) -> Sequence[HeldChart]:
    """What stands in no index."""
    versions = (one for chart in charts.values() for one in chart.versions)
    return [one.held for one in versions if one.item is None and one.held is not None]


def _written(
    reached: Reached,
    charts: Mapping[str, ListedChart],
    metadata: Mapping[str, tuple[ChartMetadata, str | None]],
) -> Body | None:
    entries = {chart: list(entries_of(chart, one.versions, metadata)) for chart, one in charts.items()}
    if not any(entries.values()):
        return None
    generated = [view.whole.outline.generated for view in reached.indexes.values()]
    content = write_index(entries, max(filter(None, generated), default=None))
    return Body(content, Digest.of(content))
