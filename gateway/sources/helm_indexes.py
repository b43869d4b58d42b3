"""Helm indexes: fetched when due, kept when good, and one chart's entries read out of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from typing import Protocol

import structlog
from anyio import to_thread
from cachetools import LRUCache

from gateway.flights import Flights
from gateway.helm.index import ChartEntries, find_chart
from gateway.helm.index_cut import NotQuick
from gateway.helm.index_whole import BrokenIndex, find_in_normalised
from gateway.helm.shelved import ShelvedIndex
from gateway.oci.digest import Digest
from gateway.oci.outcomes import Corrupt, MissingName, Outcome, Unavailable, UnknownHost
from gateway.oci.urls import HttpUrl
from gateway.rules.model import UpstreamKind
from gateway.rules.route import Route
from gateway.sources.http import Answer, Http
from gateway.sources.index_child import normalise_in_child

log = structlog.get_logger(__name__)

_HTML_STARTS = (b"<!doctype html", b"<html", b"<head", b"<?xml")
_CACHED_VERSIONS = 20_000
_NOT_IN_INDEX = ChartEntries(versions=(), skipped=())


class Shelf(Protocol):
    """Where good indexes are kept."""

    async def find(self, url: str) -> ShelvedIndex | None: ...

    async def read(self, digest: Digest) -> bytes | None: ...

    async def keep(self, shelved: ShelvedIndex, content: bytes) -> None: ...

    async def keep_normalised(self, digest: Digest, normalised: bytes) -> Digest: ...

    async def confirm(self, url: str, confirmed_at: float) -> None: ...

    async def note_forced(self, url: str, forced_at: float) -> None: ...


class Ask(Enum):
    """When the upstream is asked for its index."""

    WHEN_DUE = auto()
    NOW = auto()
    ANEW = auto()  # without validators: the bytes themselves are in doubt


@dataclass(frozen=True, slots=True)
class ChartView:
    """What an index says of one chart. ``failure`` is why this is only what was last known."""

    entries: ChartEntries
    home: HttpUrl
    was_asked: bool
    failure: Outcome | None = None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """An index in hand; its bytes where they are in memory already."""

    shelved: ShelvedIndex
    content: bytes | None = None
    normalised: bytes | None = None
    was_asked: bool = False
    failure: Outcome | None = None


class _Vanished(Exception):
    """The catalog names an index whose bytes are gone."""


class HelmIndexes:
    """One index a URL, one flight a URL. ``now`` gives seconds since the epoch."""

    def __init__(
        self,
        http: Http,
        shelf: Shelf,
        home_of: Callable[[Route], HttpUrl],
        now: Callable[[], float],
        max_index_bytes: int,
    ) -> None:
        self._http = http
        self._shelf = shelf
        self._home_of = home_of
        self._now = now
        self._max_index_bytes = max_index_bytes
        self._flights: Flights[_Loaded] = Flights()
        self._normalising: Flights[bytes] = Flights()
        self._keeping: Flights[None] = Flights()
        self._latest: dict[str, _Loaded] = {}  # fetched, and not on the shelf yet
        self._broken: LRUCache[Digest, str] = LRUCache(64)
        self._entries: LRUCache[tuple[Digest, str], ChartEntries] = LRUCache(
            _CACHED_VERSIONS, getsizeof=lambda entries: len(entries.versions) + 1
        )

    def url_of(self, route: Route) -> HttpUrl:
        home = self._home_of(route)
        return replace(home, path=f"{home.path}index.yaml")

    async def chart(self, route: Route, ask: Ask = Ask.WHEN_DUE) -> ChartView:
        """Return what the index says of the route's chart.

        Raise MissingName where there is no index, or no such chart in it; with an older index at hand, a
        failure to fetch is told in the view instead of raised.
        """
        for attempt in (ask, Ask.ANEW):
            loaded = await self._load(route, attempt)
            try:
                return await self._view(route, loaded)
            except _Vanished:
                log.warning("index_vanished", url=loaded.shelved.url)
        raise Unavailable(f"the index of {route.target.place} is gone from the cache, and is not to be had")

    async def chart_after_miss(self, route: Route) -> ChartView | None:
        """Ask upstream at once, unless that was done within ``missing_for``; None where it was."""
        url = str(self.url_of(route))
        shelved = await self._shelved(url)
        now = self._now()
        if shelved is not None and now - shelved.forced_at < route.policy.missing_for_seconds:
            return None
        await self._shelf.note_forced(url, now)
        return await self.chart(route, Ask.NOW)

    async def drain(self) -> None:
        """Let what is being kept be kept; end what still runs."""
        await self._flights.drain()
        await self._normalising.drain()
        await self._keeping.settle()

    async def _load(self, route: Route, ask: Ask) -> _Loaded:
        url = self.url_of(route)
        latest = self._latest.get(str(url))
        shelved = await self._shelved(str(url))
        if ask is Ask.WHEN_DUE and shelved is not None and self._is_fresh(shelved, route):
            return replace(latest, was_asked=False) if latest else _Loaded(shelved)
        return await self._flights.join(str(url), partial(self._ask, route, url, shelved, ask))

    def _is_fresh(self, shelved: ShelvedIndex, route: Route) -> bool:
        age_seconds = self._now() - shelved.confirmed_at
        return 0 <= age_seconds < route.policy.fresh_for_seconds

    async def _ask(self, route: Route, url: HttpUrl, shelved: ShelvedIndex | None, ask: Ask) -> _Loaded:
        try:
            validators = {} if shelved is None or ask is Ask.ANEW else _validators(shelved)
            return await self._fetch(route, url, shelved, validators)
        except (Unavailable, Corrupt, UnknownHost) as error:
            if shelved is None or ask is Ask.ANEW:
                raise
            log.warning("index_not_refreshed", url=str(url), reason=error.message)
            return _Loaded(shelved, was_asked=True, failure=error)

    async def _fetch(
        self, route: Route, url: HttpUrl, shelved: ShelvedIndex | None, validators: dict[str, str]
    ) -> _Loaded:
        headers = {"Accept-Encoding": "gzip", **validators}
        async with self._http.get(url, route.target, headers) as answer:
            if answer.status == 304 and shelved is not None and validators:
                return await self._confirmed(shelved)
            _require_index(answer, route)
            content = b"".join([chunk async for chunk in answer.chunks(self._max_index_bytes)])
            etag, last_modified = answer.validator("etag"), answer.validator("last-modified")
        _refuse_html(content, route)
        fetched = ShelvedIndex(
            url=str(url),
            digest=await to_thread.run_sync(Digest.of, content),
            etag=etag,
            last_modified=last_modified,
            confirmed_at=self._now(),
            forced_at=0.0 if shelved is None else shelved.forced_at,
        )
        return await self._accept(route, fetched, content)

    async def _confirmed(self, shelved: ShelvedIndex) -> _Loaded:
        confirmed = replace(shelved, confirmed_at=self._now())
        await self._shelf.confirm(shelved.url, confirmed.confirmed_at)
        return _Loaded(confirmed, was_asked=True)

    async def _accept(self, route: Route, fetched: ShelvedIndex, content: bytes) -> _Loaded:
        """Take an index for good once it was read; raise Corrupt where it cannot be."""
        loaded = _Loaded(fetched, content, was_asked=True)
        try:
            entries = await to_thread.run_sync(find_chart, content, route.target.chart)
        except NotQuick as reason:
            log.info("index_parsed_whole", url=fetched.url, reason=str(reason))
            loaded = replace(loaded, normalised=await self._normalise(fetched.digest, content))
        else:
            self._remember(fetched.digest, route, entries or _NOT_IN_INDEX)
        self._latest[fetched.url] = loaded
        self._keeping.launch(fetched.url, partial(self._keep, loaded, content))
        return loaded

    async def _keep(self, loaded: _Loaded, content: bytes) -> None:
        try:
            await self._shelf.keep(loaded.shelved, content)
            if loaded.normalised is not None:
                await self._shelf.keep_normalised(loaded.shelved.digest, loaded.normalised)
        except Exception as error:  # nobody waits: what could not be kept is fetched again
            log.warning("index_not_kept", url=loaded.shelved.url, reason=str(error))
        finally:
            if self._latest.get(loaded.shelved.url) is loaded:
                del self._latest[loaded.shelved.url]

    async def _view(self, route: Route, loaded: _Loaded) -> ChartView:
        key = (loaded.shelved.digest, route.target.chart)
        entries = self._entries.get(key)
        if entries is None:
            entries = await self._read_entries(loaded, route.target.chart) or _NOT_IN_INDEX
            self._remember(loaded.shelved.digest, route, entries)
        return ChartView(entries, self._home_of(route), loaded.was_asked, loaded.failure)

    def _remember(self, digest: Digest, route: Route, entries: ChartEntries) -> None:
        self._entries[digest, route.target.chart] = entries
        if entries.skipped:
            position, reason = entries.skipped[0]
            count = len(entries.skipped)
            log.warning(
                "entries_skipped", target=str(route.target), count=count, first=position, reason=reason
            )

    async def _read_entries(self, loaded: _Loaded, chart: str) -> ChartEntries | None:
        normalised = loaded.normalised
        if normalised is None and loaded.shelved.normalised_digest is not None:
            normalised = await self._shelf.read(loaded.shelved.normalised_digest)
        if normalised is not None:
            return await to_thread.run_sync(find_in_normalised, normalised, chart)
        content = loaded.content or await self._shelf.read(loaded.shelved.digest)
        if content is None:
            raise _Vanished
        try:
            return await to_thread.run_sync(find_chart, content, chart)
        except NotQuick:
            normalised = await self._normalise(loaded.shelved.digest, content)
            await self._shelf.keep_normalised(loaded.shelved.digest, normalised)
            return await to_thread.run_sync(find_in_normalised, normalised, chart)

    async def _normalise(self, digest: Digest, content: bytes) -> bytes:
        """Parse an index whole, once for each content."""
        if digest in self._broken:
            raise Corrupt(self._broken[digest], "index_invalid")
        try:
            return await self._normalising.join(digest, partial(normalise_in_child, content))
        except BrokenIndex as error:
            self._broken[digest] = f"index.yaml is no Helm index: {error}"
            raise Corrupt(self._broken[digest], "index_invalid") from error

    async def _shelved(self, url: str) -> ShelvedIndex | None:
        latest = self._latest.get(url)
        return latest.shelved if latest else await self._shelf.find(url)


def _validators(shelved: ShelvedIndex) -> dict[str, str]:
    pairs = {"If-None-Match": shelved.etag, "If-Modified-Since": shelved.last_modified}
    return {name: value for name, value in pairs.items() if value is not None}


def _require_index(answer: Answer, route: Route) -> None:
    if answer.status in (404, 410):
        raise MissingName(f"there is no Helm repository at {route.target.place}")
    answer.require_ok("index.yaml")


def _refuse_html(content: bytes, route: Route) -> None:
    """A page where an index should be: a broken repository, or a host that never was one."""
    if not content[:256].lstrip().lower().startswith(_HTML_STARTS):
        return
    message = f"{route.target.place} answers with a web page where an index.yaml should be"
    if route.upstream is None or route.upstream.kind is UpstreamKind.AUTO:
        raise MissingName(message)
    raise Corrupt(message, "index_invalid")
