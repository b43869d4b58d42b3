"""What an index says, of a chart or of all: the quick way, else by a whole parse in a child process, once."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar, TypeVarTuple

import structlog
from anyio import CapacityLimiter, to_thread
from cachetools import LRUCache

from gateway.flights import Flights
from gateway.helm.index import ChartEntries, find_chart, find_versions
from gateway.helm.index_cut import NotQuick
from gateway.helm.index_outline import Outline, TooMany, outline
from gateway.helm.index_whole import NORMAL_FORM, BrokenIndex, find_in_normalised
from gateway.helm.shelved import ShelvedIndex
from gateway.oci.digest import Digest
from gateway.oci.outcomes import Corrupt, Outcome
from gateway.sources.index_child import normalise_in_child, plain_in_child

log = structlog.get_logger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_CACHED_VERSIONS = 20_000
_CHILDREN = 2  # whole parses at once: each may take gigabytes and a minute
_OPEN_SECONDS = 5.0
_OUTLINED_BYTES = 64 << 20  # of indexes whose outline is remembered, with these
_ITEM_BYTES = 800  # of memory
_ONE_AT_A_TIME = CapacityLimiter(1)  # several threads that compute keep the event loop from its turn for long
_ONE_WHOLE_AT_A_TIME = CapacityLimiter(1)  # takes seconds with a big one: pulls do not wait for it
_NOT_IN_INDEX = ChartEntries(versions=(), skipped=())


@dataclass(frozen=True, slots=True)
class Wanted:
    """A chart, and the texts of the versions of it that matter; none of them means all there are."""

    chart: str
    versions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: it may be all of a chart where only some versions were wanted."""

    wanted: Wanted
    entries: ChartEntries


@dataclass(frozen=True, slots=True)
class LoadedIndex:
    """An index in hand, its bytes where they are in memory; ``failure`` is why it is not today's."""

    shelved: ShelvedIndex
    content: bytes | None = None
    normalised: bytes | None = None
    was_asked: bool = False
    failure: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Outlined:
    """An index as a text in which every entry can be found: upstream's own, else one written anew."""

    content: bytes
    outline: Outline

    @property
    def size_bytes(self) -> int:
        return len(self.content) + _ITEM_BYTES * self.outline.count


class IndexVanished(Exception):
    """The catalog names an index whose bytes are gone, or are others by now."""


class ReadingShelf(Protocol):
    """Where the bytes of indexes lie."""

    async def read(self, digest: Digest) -> bytes | None: ...

    async def keep_normalised(self, digest: Digest, normalised: bytes) -> Digest: ...


class IndexReader:
    """Reads in threads, and remembers what it read.

    Charts of one repository are often asked for in a row, so an index stays in memory for some seconds.
    """

    def __init__(self, shelf: ReadingShelf, open_seconds: float = _OPEN_SECONDS) -> None:
        self._shelf = shelf
        self._opening: Flights[bytes | None] = Flights()
        self._open_seconds = open_seconds
        self._opened: tuple[Digest, bytes] | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._normalising: Flights[bytes] = Flights()
        self._children = asyncio.Semaphore(_CHILDREN)
        self._broken: LRUCache[Digest, str] = LRUCache(64)
        self._without_outline: LRUCache[Digest, str] = LRUCache(64)  # charts of these can be pulled
        self._outlining: Flights[Outlined] = Flights()
        self._outlines: LRUCache[Digest, Outlined] = LRUCache(
            _OUTLINED_BYTES, getsizeof=lambda outlined: outlined.size_bytes
        )
        self._entries: LRUCache[tuple[Digest, Wanted], ChartEntries] = LRUCache(
            _CACHED_VERSIONS, getsizeof=lambda entries: len(entries.versions) + 1
        )

    async def entries(self, loaded: LoadedIndex, wanted: Wanted) -> ChartEntries:
        """Return a chart's entries, none where there is no such chart; the wanted ones alone, if any.

        Raise Corrupt for what is no index, IndexVanished where its bytes are gone.
        """
        digest = loaded.shelved.digest
        for known in (Wanted(wanted.chart), wanted):
            if (digest, known) in self._entries:
                return self._entries[digest, known]
        return self._remember(loaded, await self._read(loaded, wanted))

    async def outlined(self, loaded: LoadedIndex) -> Outlined:
        """Return the whole index; raise as ``entries`` does."""
        digest = loaded.shelved.digest
        known = self._outlines.get(digest)
        if known is not None:
            return known
        outlined = await self._outlining.join(digest, partial(self._outline, loaded))
        if outlined.size_bytes <= _OUTLINED_BYTES:
            self._outlines[digest] = outlined
        return outlined

    async def look(self, content: bytes, wanted: Wanted) -> Reading | NotQuick:
        """Read an index just fetched by the quick way, or return why that cannot be."""
        try:
            return await _compute(_find, content, wanted)
        except NotQuick as reason:
            return reason

    async def check(self, loaded: LoadedIndex, read: Reading | NotQuick) -> LoadedIndex:
        """Return an index just looked into with the normal form it may need, or raise Corrupt."""
        if isinstance(read, Reading):
            self._remember(loaded, read)
            return loaded
        log.info("index_parsed_whole", url=loaded.shelved.url, reason=str(read))
        normalised = await self._normalise(loaded.shelved.digest, loaded.content or b"")
        return replace(loaded, normalised=normalised)

    async def drain(self) -> None:
        """End what still runs."""
        self._close()
        for running in (self._opening, self._normalising, self._outlining):
            await running.drain()

    def _remember(self, loaded: LoadedIndex, read: Reading) -> ChartEntries:
        entries = read.entries
        if len(entries.versions) < _CACHED_VERSIONS:
            self._entries[loaded.shelved.digest, read.wanted] = entries
        if entries.skipped:
            position, reason = entries.skipped[0]
            log.warning(
                "entries_skipped",
                url=loaded.shelved.url,
                chart=read.wanted.chart,
                count=len(entries.skipped),
                first=position,
                reason=reason,
            )
        return entries

    async def _read(self, loaded: LoadedIndex, wanted: Wanted) -> Reading:
        normalised = loaded.normalised
        if normalised is None and loaded.shelved.normalised_digest is not None:
            normalised = await self._from_shelf(loaded.shelved.normalised_digest)
        if normalised is not None and normalised.startswith(NORMAL_FORM):  # else another version wrote it
            return await _compute(_find_normalised, normalised, wanted)
        content = await self._content(loaded)
        try:
            return await _compute(_find, content, wanted)
        except NotQuick:
            normalised = await self._normalise(loaded.shelved.digest, content)
            await self._shelf.keep_normalised(loaded.shelved.digest, normalised)
            return await _compute(_find_normalised, normalised, wanted)

    async def _outline(self, loaded: LoadedIndex) -> Outlined:
        digest = loaded.shelved.digest
        if digest in self._without_outline:
            raise Corrupt(self._without_outline[digest], "index_invalid")
        content = await self._content(loaded)
        try:
            try:
                return Outlined(content, await _outline_of(content))
            except NotQuick as reason:
                log.info("index_written_anew", url=loaded.shelved.url, reason=str(reason))
            async with self._children:
                content = await plain_in_child(content)
            return Outlined(content, await _outline_of(content))
        except (BrokenIndex, NotQuick, TooMany) as error:
            self._without_outline[digest] = f"index.yaml cannot be listed: {error}"
            raise Corrupt(self._without_outline[digest], "index_invalid") from error

    async def _content(self, loaded: LoadedIndex) -> bytes:
        content = loaded.content or await self._from_shelf(loaded.shelved.digest)
        if content is None:
            raise IndexVanished
        return content

    async def _from_shelf(self, digest: Digest) -> bytes | None:
        if self._opened is not None and self._opened[0] == digest:
            return self._opened[1]
        return await self._opening.join(digest, partial(self._open, digest))

    async def _open(self, digest: Digest) -> bytes | None:
        """What the disk has changed is as good as gone: a damaged index would be confirmed for ever."""
        content = await self._shelf.read(digest)
        if content is None or await to_thread.run_sync(Digest.of, content) != digest:
            return None
        self._keep_open(digest, content)
        return content

    def _keep_open(self, digest: Digest, content: bytes) -> None:
        self._close()
        self._opened = (digest, content)
        self._closing = asyncio.get_running_loop().call_later(self._open_seconds, self._close)

    def _close(self) -> None:
        self._opened = None
        if self._closing is not None:
            self._closing.cancel()

    async def _normalise(self, digest: Digest, content: bytes) -> bytes:
        """Parse an index whole, once for each content."""
        with self._noting_broken(digest):
            return await self._normalising.join(digest, partial(self._parse_whole, content))

    @contextmanager
    def _noting_broken(self, digest: Digest) -> Iterator[None]:
        """What is no index is not parsed again."""
        if digest in self._broken:
            raise Corrupt(self._broken[digest], "index_invalid")
        try:
            yield
        except BrokenIndex as error:
            self._broken[digest] = f"index.yaml is no Helm index: {error}"
            raise Corrupt(self._broken[digest], "index_invalid") from error

    async def _parse_whole(self, content: bytes) -> bytes:
        async with self._children:
            return await normalise_in_child(content)


async def _compute(function: Callable[[*Ts], T], *arguments: *Ts) -> T:
    return await to_thread.run_sync(function, *arguments, limiter=_ONE_AT_A_TIME)


async def _outline_of(content: bytes) -> Outline:
    return await to_thread.run_sync(outline, content, limiter=_ONE_WHOLE_AT_A_TIME)


def _find(content: bytes, wanted: Wanted) -> Reading:
    if wanted.versions:
        entries = find_versions(content, wanted.chart, wanted.versions)
        if entries is not None and entries.versions:
            return Reading(wanted, entries)
    return Reading(Wanted(wanted.chart), find_chart(content, wanted.chart) or _NOT_IN_INDEX)


def _find_normalised(normalised: bytes, wanted: Wanted) -> Reading:
    return Reading(Wanted(wanted.chart), find_in_normalised(normalised, wanted.chart) or _NOT_IN_INDEX)
