"""Helm indexes: fetched when due, kept when good, and read: of one chart, or as a whole."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from typing import Protocol, TypeVar

import structlog
from anyio import to_thread
from cachetools import LRUCache

from gateway.flights import Flights, Locks
from gateway.helm.index import ChartEntries
from gateway.helm.index_cut import NotQuick
from gateway.helm.shelved import ShelvedIndex
from gateway.oci.digest import Digest
from gateway.oci.outcomes import Corrupt, MissingName, Outcome, Unavailable, UnknownHost, Withheld
from gateway.oci.urls import HttpUrl
from gateway.rules.freshness import Standing, standing
from gateway.rules.model import UpstreamKind
from gateway.rules.route import Route
from gateway.sources.answers import Answer
from gateway.sources.base import COLD_SECONDS, STALE_SECONDS
from gateway.sources.http import Http
from gateway.sources.index_reader import (
    IndexReader,
    IndexVanished,
    LoadedIndex,
    Outlined,
    Reading,
    ReadingShelf,
    Wanted,
)

log = structlog.get_logger(__name__)

T = TypeVar("T")

_FORCED = 10_000  # indexes that were asked for out of turn
_HTML_STARTS = (b"<!doctype html", b"<html", b"<head", b"<?xml")
_ALL: frozenset[str] = frozenset()


class Shelf(ReadingShelf, Protocol):
    """Where good indexes are kept."""

    async def find(self, url: str) -> ShelvedIndex | None: ...

    async def keep(self, shelved: ShelvedIndex, content: bytes) -> None: ...

    async def confirm(self, url: str, confirmed_at: float) -> None: ...

    async def note_forced(self, url: str, forced_at: float) -> None: ...


class Ask(Enum):
    """When the upstream is asked for its index."""

    WHEN_DUE = auto()
    NOW = auto()
    ANEW = auto()  # without validators: the bytes themselves are in doubt


@dataclass(frozen=True, slots=True)
class ChartView:
    """What an index says of one chart, and when upstream stood by it, in seconds since the epoch.

    ``failure`` is why this is only what was last known.
    """

    entries: ChartEntries
    home: HttpUrl
    was_asked: bool
    confirmed_at: float
    failure: Outcome | None = None


@dataclass(frozen=True, slots=True)
class IndexView:
    """All that an index says; ``digest`` is of upstream's own bytes. The others are those of a ChartView."""

    whole: Outlined
    digest: Digest
    confirmed_at: float
    failure: Outcome | None = None


class HelmIndexes:
    """One index, and one flight, for each URL and upstream. ``now`` gives seconds since the epoch."""

    def __init__(
        self,
        http: Http,
        shelf: Shelf,
        home_of: Callable[[Route], HttpUrl],
        now: Callable[[], float],
        max_index_bytes: int,
        *,
        locks: Locks | None = None,
    ) -> None:
        self._http = http
        self._shelf = shelf
        self._home_of = home_of
        self._now = now
        self._max_index_bytes = max_index_bytes
        self._flights: Flights[LoadedIndex] = Flights("index", locks, until_seen=self._until_shelved)
        self._keeping: Flights[None] = Flights()
        self._forced_at: LRUCache[str, float] = LRUCache(_FORCED)
        self._latest: dict[str, LoadedIndex] = {}  # fetched, and not on the shelf yet
        self._reader = IndexReader(shelf)

    def url_of(self, route: Route) -> HttpUrl:
        home = self._home_of(route)
        return replace(home, path=f"{home.path}index.yaml")

    def key_of(self, route: Route) -> str:
        """The index's URL, and as whom it is fetched: it is not for those who may not fetch it themselves."""
        return str(self.url_of(route)) + ("" if route.upstream is None else f"#{route.upstream.key}")

    async def chart(
        self, route: Route, versions: frozenset[str] = _ALL, ask: Ask = Ask.WHEN_DUE
    ) -> ChartView:
        """Return what the index says of the route's chart; of these ``versions`` alone, if it has any.

        Raise MissingName where there is no index; with an older index at hand, a failure to fetch is told
        in the view instead of raised.
        """
        wanted = Wanted(route.target.chart, versions)
        loaded, entries = await self._read(route, wanted, ask, partial(self._entries, wanted))
        confirmed_at = loaded.shelved.confirmed_at
        return ChartView(entries, self._home_of(route), loaded.was_asked, confirmed_at, loaded.failure)

    async def whole(self, route: Route) -> IndexView:
        """Return all of the index of the route's place; raise as ``chart`` does."""
        wanted = Wanted(route.target.chart)
        loaded, outlined = await self._read(route, wanted, Ask.WHEN_DUE, self._reader.outlined)
        shelved = loaded.shelved
        return IndexView(outlined, shelved.digest, shelved.confirmed_at, loaded.failure)

    async def chart_after_miss(self, route: Route, versions: frozenset[str]) -> ChartView | None:
        """Ask upstream at once, unless that was done within ``missing_for``; None where it was."""
        url = self.key_of(route)
        held = await self._held(url)
        now = self._now()
        if held is not None:
            forced_at = max(held.shelved.forced_at, self._forced_at.get(url, 0.0))
            if 0 <= now - forced_at < route.policy.missing_for_seconds:
                return None
            self._forced_at[url] = (
                now  # at once: who has read the row before it is written asks no second time
            )
            await self._note_forced(held.shelved, now)
        return await self.chart(route, versions, Ask.NOW)

    async def drain(self) -> None:
        """Let what is being kept be kept; end what still runs."""
        await self._flights.drain()
        await self._reader.drain()
        await self._keeping.settle()

    async def _entries(self, wanted: Wanted, loaded: LoadedIndex) -> ChartEntries:
        return await self._reader.entries(loaded, wanted)

    async def _read(
        self, route: Route, wanted: Wanted, ask: Ask, read: Callable[[LoadedIndex], Awaitable[T]]
    ) -> tuple[LoadedIndex, T]:
        """What is gone from the shelf is fetched anew, once."""
        for attempt in (ask, Ask.ANEW):
            loaded = await self._load(route, wanted, attempt)
            try:
                return loaded, await read(loaded)
            except IndexVanished:
                log.info("index_vanished", url=loaded.shelved.url)  # replaced meanwhile, or gone
        raise Unavailable(f"the index of {route.target.place} is gone from the cache, and is not to be had")

    async def _load(self, route: Route, wanted: Wanted, ask: Ask) -> LoadedIndex:
        url = self.key_of(route)
        held = await self._held(url)
        if held is not None and ask is Ask.WHEN_DUE and self._is_fresh(held.shelved, route):
            return held
        flight = self._flights.launch((url, int(ask is Ask.ANEW)), partial(self._ask, route, wanted, ask))
        has_copy = held is not None and ask is Ask.WHEN_DUE and route.anew_since is None
        try:
            async with asyncio.timeout(STALE_SECONDS if has_copy else COLD_SECONDS):
                return await asyncio.shield(flight)
        except TimeoutError as error:
            failure = Unavailable(f"the index of {route.target.place} is still being fetched: ask again")
            if held is None or ask is Ask.ANEW:
                raise failure from error
            return replace(held, was_asked=True, failure=failure)

    def _is_fresh(self, shelved: ShelvedIndex, route: Route) -> bool:
        stands = standing(
            route.policy, shelved.confirmed_at, self._now(), is_exact=False, since=route.anew_since
        )
        return stands is Standing.FRESH

    async def _ask(self, route: Route, wanted: Wanted, ask: Ask) -> LoadedIndex:
        """The flight. It looks again at what is held: another may have landed since its client looked."""
        held = await self._held(self.key_of(route))
        if held is not None and ask is Ask.WHEN_DUE and self._is_fresh(held.shelved, route):
            return held
        try:
            validators = {} if held is None or ask is Ask.ANEW else _validators(held.shelved)
            return await self._fetch(route, wanted, held, validators)
        except (Unavailable, Corrupt, UnknownHost) as error:
            if held is None or ask is Ask.ANEW:
                raise
            log.warning("index_not_refreshed", url=held.shelved.url, reason=error.message)
            # a host that once gave an index exists: that it cannot be asked now is an outage
            failure = Unavailable(error.message) if isinstance(error, UnknownHost) else error
            return replace(held, was_asked=True, failure=failure)

    async def _fetch(
        self, route: Route, wanted: Wanted, held: LoadedIndex | None, validators: dict[str, str]
    ) -> LoadedIndex:
        url = self.url_of(route)
        headers = {"Accept-Encoding": "gzip", **validators}
        async with self._http.get(url, route.errand, headers) as answer:
            if answer.status == 304 and held is not None and validators:
                return await self._confirmed(held)
            _require_index(answer, route, held)
            chunks = [chunk async for chunk in answer.chunks(self._max_index_bytes)]
            etag, last_modified = answer.validator("etag"), answer.validator("last-modified")
        content = await to_thread.run_sync(_joined, chunks)
        _refuse_html(content, route, held)
        digest, read = await asyncio.gather(
            to_thread.run_sync(Digest.of, content), self._reader.look(content, wanted)
        )
        await self._refuse_cut(content, held)
        fetched = ShelvedIndex(
            url=self.key_of(route),
            digest=digest,
            etag=etag,
            last_modified=last_modified,
            confirmed_at=self._now(),
            forced_at=0.0 if held is None else held.shelved.forced_at,
        )
        return await self._accept(LoadedIndex(fetched, content, was_asked=True), read)

    async def _refuse_cut(self, content: bytes, held: LoadedIndex | None) -> None:
        """A shorter index whose last line has no end, where the one before had: half an upload."""
        if held is None or content.rstrip(b" ").endswith((b"\n", b"}")):
            return
        before = held.content or await self._shelf.read(held.shelved.digest)
        if before is not None and len(content) < len(before) and before.endswith(b"\n"):
            raise Corrupt("the index.yaml ends in the middle of a line", "truncated")

    async def _confirmed(self, held: LoadedIndex) -> LoadedIndex:
        confirmed = replace(held.shelved, confirmed_at=self._now())
        if not self._amend_latest(confirmed):
            await self._shelf.confirm(confirmed.url, confirmed.confirmed_at)
        return replace(held, shelved=confirmed, was_asked=True)

    async def _note_forced(self, shelved: ShelvedIndex, forced_at: float) -> None:
        if not self._amend_latest(replace(shelved, forced_at=forced_at)):
            await self._shelf.note_forced(shelved.url, forced_at)

    def _amend_latest(self, shelved: ShelvedIndex) -> bool:
        """Note what was learnt of an index that is still on its way to the shelf; False where none is."""
        latest = self._latest.get(shelved.url)
        if latest is None:
            return False
        self._latest[shelved.url] = replace(latest, shelved=shelved)
        return True

    async def _accept(self, loaded: LoadedIndex, read: Reading | NotQuick) -> LoadedIndex:
        """Take an index for good once it was read; raise Corrupt where it cannot be."""
        checked = await self._reader.check(loaded, read)
        url = checked.shelved.url
        self._latest[url] = checked
        self._keeping.launch(url, partial(self._keep_latest, url))
        return checked

    async def _until_shelved(self, loaded: LoadedIndex) -> None:
        """Other processes see an index once it is on the shelf."""
        url = loaded.shelved.url
        if self._keeping.is_running(url):
            await self._keeping.join(url, partial(self._keep_latest, url))

    async def _keep_latest(self, url: str) -> None:
        """Put on the shelf what was fetched, and what is fetched meanwhile."""
        while (loaded := self._latest.get(url)) is not None:
            await self._keep(loaded, loaded.content or b"")
            if self._latest[url] is loaded:
                del self._latest[url]

    async def _keep(self, loaded: LoadedIndex, content: bytes) -> None:
        try:
            await self._shelf.keep(loaded.shelved, content)
            if loaded.normalised is not None:
                await self._shelf.keep_normalised(loaded.shelved.digest, loaded.normalised)
        except Exception as error:  # nobody waits: what could not be kept is fetched again
            log.warning("index_not_kept", url=loaded.shelved.url, reason=str(error))

    async def _held(self, url: str) -> LoadedIndex | None:
        """What was fetched last, whether it is on the shelf yet or not."""
        latest = self._latest.get(url)
        if latest is not None:
            return replace(latest, was_asked=False)
        shelved = await self._shelf.find(url)
        return None if shelved is None else LoadedIndex(shelved)


def _validators(shelved: ShelvedIndex) -> dict[str, str]:
    pairs = {"If-None-Match": shelved.etag, "If-Modified-Since": shelved.last_modified}
    return {name: value for name, value in pairs.items() if value is not None}


def _joined(chunks: list[bytes]) -> bytes:
    content = b"".join(chunks)
    chunks.clear()  # an index is big: once in memory is enough
    return content


def _require_index(answer: Answer, route: Route, held: LoadedIndex | None) -> None:
    if answer.status in (404, 410):
        raise MissingName(f"there is no Helm repository at {route.target.place}")
    if answer.status in (401, 403) and held is not None:
        raise Unavailable(f"{answer.name} answered {answer.status} for an index.yaml that it gave before")
    if answer.status in (401, 403) and not answer.has_credentials:
        raise Withheld(f"{answer.name} answered {answer.status} for index.yaml")
    if 400 <= answer.status < 500 and not answer.is_outage and held is None and _may_be_none(route):
        raise MissingName(f"{answer.name} answered {answer.status} for index.yaml")
    answer.require_ok("index.yaml")


def _may_be_none(route: Route) -> bool:
    """Whether nobody said that there is a Helm repository."""
    return route.upstream is None or route.upstream.kind is UpstreamKind.AUTO


def _refuse_html(content: bytes, route: Route, held: LoadedIndex | None) -> None:
    """A page where an index should be: a broken repository, or a host that never was one."""
    if not content[:256].lstrip().lower().startswith(_HTML_STARTS):
        return
    message = f"{route.target.place} answers with a web page where an index.yaml should be"
    if held is None and _may_be_none(route):
        raise MissingName(message)
    raise Corrupt(message, "index_invalid")
