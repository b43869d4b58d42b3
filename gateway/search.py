"""Looks for a manifest by its digest: asked for where it can be, else converted until it turns up."""

from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from gateway.fetch import Fetcher
from gateway.flights import Flights
from gateway.oci.digest import Digest
from gateway.oci.outcomes import Missing, Outcome, Unavailable
from gateway.oci.reference import is_tag
from gateway.rules.model import SourceName
from gateway.rules.route import Route
from gateway.sources.base import Found, Source
from gateway.store.catalog import Catalog
from gateway.store.rows import TagRow
from gateway.taken import drifted, take
from gateway.waiting import Learnt, Span

log = structlog.get_logger(__name__)

SEARCHED_VERSIONS: Final = 25


class Search:
    """What is found is kept, and read from the catalog. ``now`` gives seconds since the epoch."""

    def __init__(
        self, fetcher: Fetcher, catalog: Catalog, now: Callable[[], float], generation: Callable[[], int]
    ) -> None:
        self._fetcher = fetcher
        self._catalog = catalog
        self._now = now
        self._conversions: Flights[None] = Flights()
        self._in_vain: Learnt[Span] = Learnt(generation)

    async def find(self, route: Route, digest: Digest) -> None:
        """Keep the manifest of this digest, from the first source that has it; raise an outcome."""
        if await self._is_kept(route, digest):  # another flight landed since its client looked
            return
        await self._fetcher.ask(route, partial(self._find_at, route, digest))

    async def drain(self) -> None:
        await self._conversions.drain()

    async def _find_at(self, route: Route, digest: Digest, source: Source) -> None:
        if source.name is SourceName.HELM:
            await self._convert_until(route, digest, source)
            return
        async for found in source.candidates(route, digest, 1):
            row, kept = await take(route, str(digest), source, found, self._now())
            await self._catalog.keep_untagged(row, kept)
            log.info("kept", target=str(route.target), digest=str(digest), origin=row.origin)

    async def _convert_until(self, route: Route, digest: Digest, source: Source) -> None:
        """One search at a time for each target, which speaks for every digest that it did not meet."""
        key = route.asking_key
        while True:
            in_vain = self._in_vain.get(route)
            if in_vain is not None and in_vain.holds(self._now()):
                raise self._nothing(route)
            was_running = self._conversions.is_running(key)
            try:
                await self._conversions.join(key, partial(self._convert_newest, route, digest, source))
            except Missing:
                self._note_in_vain(route)
                raise
            if await self._is_kept(route, digest):
                return
            if not was_running:
                self._note_in_vain(route)
                raise self._nothing(route)

    def _note_in_vain(self, route: Route) -> None:
        self._in_vain.put(route, Span(self._now(), route.policy.missing_for_seconds))

    def _nothing(self, route: Route) -> Missing:
        return Missing(f"none of the newest {SEARCHED_VERSIONS} versions of {route.name} is this digest")

    async def _is_kept(self, route: Route, digest: Digest) -> bool:
        return await self._catalog.find_manifest(route.target, digest) is not None

    async def _convert_newest(self, route: Route, digest: Digest, source: Source) -> None:
        """Keep the newest versions, one after another, until one of them is the digest looked for.

        What upstream replaced meanwhile is kept beside what its tag stays (drift: keep).
        """
        rows = await self._catalog.find_versions(route.target, route.variant.value)
        held = {row.version: row for row in rows}
        failures: list[Outcome] = []
        async for found in source.candidates(route, digest, SEARCHED_VERSIONS):
            row = held.get(found.version or "")
            if row is not None and await self._is_held(row, found):
                continue
            try:
                kept = await self._take_beside(route, source, found, row)
            except Outcome as error:
                failures.append(error)
                continue
            if kept == digest:
                return
        down = [error for error in failures if isinstance(error, Unavailable)]
        if down:
            raise down[0]

    async def _is_held(self, row: TagRow, found: Found) -> bool:
        if await self._catalog.find_manifest(row.target, row.digest) is None:  # damaged
            return False
        seen = drifted(row, found)
        return seen is None or await self._catalog.find_right(row.target, seen) is not None

    async def _take_beside(self, route: Route, source: Source, found: Found, held: TagRow | None) -> Digest:
        tag = (found.version or "").replace("+", "_")
        row, kept = await take(route, tag, source, found, self._now())
        if held is None and is_tag(tag) and await self._may_be_held(route, found):
            await self._catalog.keep(route.name.name, row, kept)
            return row.digest
        await self._catalog.keep_untagged(row, kept)
        if held is not None and held.digest != row.digest:
            log.warning("drift", target=str(row.target), tag=tag, seen_digest=str(row.upstream_digest))
        return row.digest

    async def _may_be_held(self, route: Route, found: Found) -> bool:
        """Whether a tag may come of a search: of what ``min_age`` hides, that would be a way around it."""
        limit_seconds = route.policy.visibility.min_age_seconds
        if not limit_seconds:
            return True
        created_at = await found.created_at()
        return created_at is not None and created_at <= self._now() - limit_seconds
