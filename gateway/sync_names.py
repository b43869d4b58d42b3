"""What a mirror list means now: the names of its entries, asked for their tags."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Final, Protocol, TypeVar

from anyio import to_thread
from cachetools import LRUCache

from gateway.oci.errors import OciError, Situation
from gateway.oci.location import Location
from gateway.oci.reference import Tag
from gateway.oci.repository import Repository
from gateway.pull import Puller
from gateway.rules.patterns import Pattern
from gateway.rules.route import Route, Routing, Wanted
from gateway.rules.sync_lists import SyncEntry, SyncList
from gateway.sync_plan import Doubts, Kind, Wish, meant_tags, wish_of

AT_ONCE: Final = 8
_REMEMBERED_TAGS: Final = 100_000  # of all names together
_ON_THE_LOOP: Final = 200  # tags; more are judged in a thread

T = TypeVar("T")


class Names(Protocol):
    """Tells which charts there are; see gateway.chart_names."""

    async def under(self, prefix: str, host: str = "") -> Sequence[str]: ...


@dataclass(slots=True)
class Meant:
    """What a list means by its entries alone; what its charts need comes later."""

    items: dict[Location, Wish] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)  # each with how many tags it means
    doubts: Doubts = field(default_factory=Doubts)
    failures: dict[str, str] = field(default_factory=dict)  # by what could not be asked
    remarks: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A name that an entry means; ``is_found``: a glob found it, nobody wrote it."""

    entry: SyncEntry
    kind: Kind
    name: Repository
    is_found: bool

    @property
    def key(self) -> tuple[str, str, Kind]:
        return (self.name.name, self.entry.repository.text, self.kind)


class TagAsker:
    """Asks upstream for tags, however fresh a list is; but not for one that came since ``since``."""

    def __init__(self, puller: Puller, since: float) -> None:
        self._puller = puller
        self._since = since
        self._told: LRUCache[str, Sequence[str]] = LRUCache(
            _REMEMBERED_TAGS, getsizeof=lambda tags: len(tags) + 1
        )

    async def ask_many(self, names: Iterable[Repository]) -> None:
        """Ask for as many as can be asked for together; ``tags`` asks for the others."""
        await self._puller.refresh_tags(await to_thread.run_sync(self._routes, list(names)))

    async def tags(self, name: Repository) -> Sequence[str]:
        """Those that a client would be shown; raise OciError, also where only an old list is to be had."""
        told = self._told.get(name.name)
        if told is None:
            told = await self._ask(name)
            if len(told) < _REMEMBERED_TAGS:
                self._told[name.name] = told
        return told

    async def _ask(self, name: Repository) -> Sequence[str]:
        routing = self._anew(name)
        absent = 0
        for route in routing.routes:
            try:
                listed = await self._puller.refreshed_tags(route)
            except OciError as error:
                absent += 1
                if error.situation is not Situation.NAME_NOT_KNOWN or absent == len(routing.routes):
                    raise
                continue
            if listed.confirmed_at < self._since:
                message = f"{listed.source} gave no list of {route.target}'s tags: it does not answer"
                raise OciError(Situation.SOURCES_DOWN, message)
        return (await self._puller.tags_at(routing)).tags

    def _routes(self, names: Sequence[Repository]) -> Sequence[Route]:
        routes: list[Route] = []
        for name in names:
            with suppress(OciError):  # told when its turn comes
                routes += self._anew(name).routes
        return routes

    def _anew(self, name: Repository) -> Routing:
        routing = self._puller.route(Wanted(name))
        return replace(routing, routes=[replace(one, anew_since=self._since) for one in routing.routes])


class Resolver:
    """Reads one list, once. ``tell`` is told which name is asked for."""

    def __init__(self, puller: Puller, names: Names, asker: TagAsker, tell: Callable[[str], None]) -> None:
        self._puller = puller
        self._names = names
        self._asker = asker
        self._tell = tell
        self._meant = Meant()
        self._asked: set[tuple[str, str, Kind]] = set()

    async def resolve(self, wanted: SyncList) -> Meant:
        """What cannot be had is told in the result; raise only StorageFailed."""
        await self._ask_all(await self._all_named(wanted))
        anew = [one for one in await self._all_named(wanted) if one.key not in self._asked]
        await self._ask_all(anew)  # indexes are known anew by now: a glob may mean more
        return self._meant

    async def _all_named(self, wanted: SyncList) -> Sequence[_Asked]:
        lists = ((Kind.CHART, wanted.charts), (Kind.IMAGE, wanted.images))
        named = [await self._named(entry, kind) for kind, entries in lists for entry in entries]
        return [one for some in named for one in some]

    async def _ask_all(self, asked: Sequence[_Asked]) -> None:
        meant = self._meant
        self._asked |= {one.key for one in asked}
        await self._asker.ask_many({one.name for one in asked})
        for one, error in await twice(asked, self._ask):
            meant.doubts.names.add(one.name.name)
            if one.is_found and error.situation is Situation.NAME_NOT_KNOWN:
                meant.remarks[f"{one.name} is gone upstream: what is held of it stays"] = None
            else:
                meant.failures[one.name.name] = error.message

    async def _named(self, entry: SyncEntry, kind: Kind) -> Sequence[_Asked]:
        written = entry.repository.text
        if not entry.repository.captures:
            return [_Asked(entry, kind, Repository.parse_with_port(written), is_found=False)]
        try:
            names = await self._found(entry.repository, kind)
        except OciError as error:
            self._meant.doubts.entries.add(written)
            self._meant.failures[written] = error.message
            return []
        if not names:
            self._meant.doubts.entries.add(written)
            self._meant.remarks[f"{written}: no name is known that it could mean"] = None
        elif kind is Kind.IMAGE:
            remark = f"{written}: only names that are held are known; registries tell none"
            self._meant.remarks[remark] = None
        return [_Asked(entry, kind, Repository.parse(name), is_found=True) for name in names]

    async def _found(self, pattern: Pattern, kind: Kind) -> Sequence[str]:
        """Names that a glob means: of charts what indexes list, and all that are held."""
        segments = pattern.text.split("/")
        prefix = "/".join(takewhile(lambda segment: "*" not in segment, segments))
        known = set(await self._names.under(prefix)) if kind is Kind.CHART else set()
        known |= set(await self._puller.repositories())
        return await to_thread.run_sync(_matching, pattern, known)

    async def _ask(self, one: _Asked) -> None:
        self._tell(one.name.name)
        tags = await self._asker.tags(one.name)
        if len(tags) > _ON_THE_LOOP:
            chosen = await to_thread.run_sync(meant_tags, one.entry, tags)
        else:
            chosen = meant_tags(one.entry, tags)
        name, meant = one.name.name, self._meant
        meant.names[name] = meant.names.get(name, 0) + len(chosen)
        if not chosen:
            meant.remarks[f"{name}: of its {len(tags)} tags none is meant"] = None
        self._note(one, chosen)

    def _note(self, one: _Asked, tags: Sequence[str]) -> None:
        wish, items = wish_of(one.entry, one.kind), self._meant.items
        for tag in tags:
            location = Location(one.name, Tag(tag))
            known = items.get(location)
            items[location] = wish if known is None else known.joined(wish)


async def twice(jobs: Iterable[T], work: Callable[[T], Awaitable[None]]) -> Sequence[tuple[T, OciError]]:
    """Do all, and what failed once more after the others; return what failed then too."""
    failed: list[tuple[T, OciError]] = []

    async def attempt(job: T) -> None:
        try:
            await work(job)
        except OciError as error:
            failed.append((job, error))

    await in_turns(jobs, attempt)
    again = [job for job, _ in failed]
    failed.clear()
    await in_turns(again, attempt)
    return failed


async def in_turns(jobs: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """A few at a time; the first exception ends it."""
    rest = iter(jobs)

    async def go_on() -> None:
        for job in rest:
            await work(job)
            await asyncio.sleep(0)  # what is held may need no wait at all

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(go_on())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


def _matching(pattern: Pattern, names: Iterable[str]) -> Sequence[str]:
    return sorted(name for name in names if pattern.match(name) is not None)
