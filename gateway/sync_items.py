"""From what a list means to what is held: each item looked at or pulled, then what charts need, in turns."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from anyio import to_thread

from gateway.chart_needs import ChartNeeds, DependencyNeed
from gateway.helm.ranges import RangeError
from gateway.helm.version import tag_of
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.location import Location
from gateway.oci.outcomes import is_deletion
from gateway.oci.reference import parse_reference
from gateway.oci.target import Target
from gateway.pull import Puller
from gateway.pull_whole import Whole
from gateway.rules.route import Routing, Wanted
from gateway.store.blobs import StorageFailed
from gateway.store.catalog import Catalog
from gateway.store.conditions import Condition, Conditions
from gateway.store.rows import TagRow
from gateway.sync_names import TagAsker, in_turns
from gateway.sync_plan import Kind, SyncProgress, Wish, dependency_tag

Tell = Callable[[SyncProgress], None]

MOST_DEEP: Final = 10  # charts that depend on charts; Helm's own are two or three
_TAKES_NOTHING: Final = (Condition.DISK_FULL, Condition.BLOBS_UNWRITABLE, Condition.CATALOG_UNWRITABLE)
_ABSENT: Final = (Situation.MANIFEST_NOT_KNOWN, Situation.NAME_NOT_KNOWN)
_ALL: Final[frozenset[str]] = frozenset()


class Wholes(Protocol):
    """Pulls all of something, or tells whether that is held; see gateway.wholes."""

    async def pull(
        self,
        location: Location,
        platforms: frozenset[str] = _ALL,
        tell: Callable[[int], None] = ...,
        *,
        signatures: bool = False,
    ) -> Whole: ...

    async def is_whole(
        self,
        location: Location,
        platforms: frozenset[str] = _ALL,
        *,
        signatures: bool = False,
        signed_since: float = 0.0,
    ) -> bool: ...


@dataclass(frozen=True, slots=True)
class Held:
    """Where something is held, if it is; ``is_new``: it came just now, and has so many bytes."""

    targets: Sequence[Target]
    is_new: bool
    size_bytes: int | None = None
    signatures: Sequence[Location] = ()


@dataclass(slots=True)
class Walked:
    """What a walk has come to so far; ``absent`` are tags that were a guess, and are not there."""

    wishes: dict[Location, Wish] = field(default_factory=dict)
    held: dict[Location, Held] = field(default_factory=dict)
    failures: dict[Location, OciError] = field(default_factory=dict)
    absent: set[Location] = field(default_factory=set)
    remarks: dict[str, None] = field(default_factory=dict)
    size_bytes: int = 0

    def fail(self, location: Location, error: OciError) -> None:
        """Of a tag that is a guess nobody said that it is there."""
        wish = self.wishes[location]
        if wish.is_guessed and error.situation in _ABSENT:
            self.absent.add(location)
            self.remarks[f"{location} is not there: a guess, since {wish.wanted_by} says no tag"] = None
        else:
            self.failures.setdefault(location, error)


class Walk:
    """Does ``step`` for every item and for all that its charts need; what failed once more at the end."""

    def __init__(
        self,
        step: Callable[[Location, Wish], Awaitable[Held]],
        needs: Callable[[Location], Awaitable[ChartNeeds]],
        asker: TagAsker,
        tell: Tell,
    ) -> None:
        self._step = step
        self._needs = needs
        self._asker = asker
        self._tell = tell
        self._pending: dict[Location, int] = {}  # each with how deep it lies below the list
        self._done: set[Location] = set()
        self.walked = Walked()

    async def go(self, items: Mapping[Location, Wish]) -> Walked:
        """Raise StorageFailed where nothing more can be kept: what is there stays."""
        await to_thread.run_sync(self._add_all, items)  # they may be many
        await self._all_pending()
        again, self.walked.failures = self.walked.failures, {}
        self._pending = dict.fromkeys(again, 0)
        await self._all_pending()
        return self.walked

    def _add_all(self, items: Mapping[Location, Wish]) -> None:
        for location, wish in items.items():
            self._add(location, wish, 0)

    def came(self, size_bytes: int) -> None:
        """So many bytes more of something."""
        self.walked.size_bytes += size_bytes
        self._told("")

    async def _all_pending(self) -> None:
        while self._pending:
            batch, self._pending = list(self._pending.items()), {}
            await in_turns(batch, self._one)

    async def _one(self, item: tuple[Location, int]) -> None:
        location, depth = item
        wish = self.walked.wishes[location]
        try:
            known, held = self.walked.held.get(location), await self._step(location, wish)
            self.walked.held[location] = known if known is not None and known.is_new else held
            if wish.has_needs:
                await self._need(location, wish, depth)
        except OciError as error:
            self.walked.fail(location, error)
        self._done.add(location)
        failure = self.walked.failures.get(location)
        self._told(str(location) if failure is None else f"{location}: {failure.message}")

    async def _need(self, location: Location, wish: Wish, depth: int) -> None:
        """What cannot be found of it is told at the end: the rest is on its way by then."""
        needs = await self._needs(location)
        self.walked.remarks |= dict.fromkeys(f"{location}: {remark}" for remark in needs.remarks)
        if wish.images:
            for image in needs.images:
                named = wish.image(f"{location}, {image.where}", is_guessed=image.is_guessed)
                self._add(image.location, named, depth + 1)
        if not wish.dependencies:
            return
        failure: OciError | None = None
        for need in needs.dependencies:
            try:
                found = Location(need.name, parse_reference(await self._tag(need)))
                self._add(found, replace(wish, wanted_by=str(location)), depth + 1)
            except OciError as error:
                message = f"its dependency {need.name} {need.wanted}: {error.message}"
                failure = failure or replace(error, message=message)
        if failure is not None:
            raise failure

    async def _tag(self, need: DependencyNeed) -> str:
        if need.is_exact:
            return tag_of(need.wanted)
        try:
            tag = dependency_tag(need.wanted, await self._asker.tags(need.name))
        except RangeError as error:
            raise OciError(Situation.MANIFEST_NOT_KNOWN, f"no range of versions: {error}") from error
        if tag is None:
            raise OciError(Situation.MANIFEST_NOT_KNOWN, "no version is in its range")
        return tag

    def _add(self, location: Location, wish: Wish, depth: int) -> None:
        """Once, unless more is wanted with it than before."""
        wishes = self.walked.wishes
        known = wishes.get(location)
        wanted = wish if known is None else known.joined(wish)
        if wanted == known:
            return
        if depth > MOST_DEEP:
            self.walked.remarks[f"{location}: {MOST_DEEP} charts deep, and not followed"] = None
            return
        wishes[location] = wanted
        self._pending[location] = depth

    def _told(self, message: str) -> None:
        walked = self.walked
        self._tell(SyncProgress(len(self._done), len(walked.wishes), walked.size_bytes, message))


class Bringer:
    """Brings single items up to date; of a moving tag upstream is asked what it is by now."""

    def __init__(
        self, puller: Puller, wholes: Wholes, catalog: Catalog, conditions: Conditions, since: float
    ) -> None:
        self._puller = puller
        self._wholes = wholes
        self._catalog = catalog
        self._conditions = conditions
        self._since = since

    async def look(self, location: Location, wish: Wish) -> Held:
        """What is held of it, whole; nobody is asked."""
        routing = self._puller.route(Wanted(location.name))
        is_whole = await self._wholes.is_whole(location, _platforms(wish), signatures=wish.signatures)
        return Held(await self._targets(routing, location) if is_whole else (), is_new=False)

    async def bring(self, location: Location, wish: Wish, came: Callable[[int], None]) -> Held:
        """Pull what is not held, or is not whole; raise OciError, or StorageFailed where nothing is kept."""
        routing = self._puller.route(Wanted(location.name))
        await self._ask_anew(routing, location)
        was_whole = await self._wholes.is_whole(location, _platforms(wish))
        if was_whole and (not wish.signatures or await self._is_signed(routing, location, wish)):
            return Held(await self._targets(routing, location), is_new=False)
        try:
            whole = await self._wholes.pull(location, _platforms(wish), came, signatures=wish.signatures)
        except StorageFailed as error:  # a transfer that broke is one too
            raise self._not_kept(str(error)) from error
        except OciError as error:
            if not isinstance(error.__cause__, StorageFailed):
                raise
            raise self._not_kept(error.message) from error
        if not await self._wholes.is_whole(location, _platforms(wish), signatures=wish.signatures):
            raise self._not_kept("it came, and not all of it is held")
        trouble = self._trouble()
        if trouble:  # it may be held in memory alone, and end with the process
            raise StorageFailed(trouble)
        targets = await self._targets(routing, location)
        return Held(targets, is_new=not was_whole, size_bytes=whole.size_bytes, signatures=whole.signatures)

    async def held_at(self, location: Location) -> Sequence[Target]:
        """The targets of a name at which a tag or digest is held."""
        return await self._targets(self._puller.route(Wanted(location.name)), location)

    async def _ask_anew(self, routing: Routing, location: Location) -> None:
        """A tag that moves, where it is held: what is gone upstream stays."""
        rows = await self._rows(routing, location)
        if all(row.is_exact for row in rows):
            return
        anew = tuple(replace(route, anew_since=self._since) for route in routing.routes)
        try:
            await self._puller.refreshed(replace(routing, routes=anew), str(location.reference))
        except OciError as error:
            if not isinstance(error.__cause__, Exception) or not is_deletion(error.__cause__):
                raise

    async def _is_signed(self, routing: Routing, location: Location, wish: Wish) -> bool:
        """Whether all is held that upstream had of late: signatures may come long after what they sign."""
        since = self._since - routing.first.policy.fresh_for_seconds
        return await self._wholes.is_whole(location, _platforms(wish), signatures=True, signed_since=since)

    async def _rows(self, routing: Routing, location: Location) -> Sequence[TagRow]:
        if isinstance(location.reference, Digest):
            return ()
        return [
            row
            for route in routing.routes
            for row in await self._catalog.find_tags(
                route.target, route.as_upstream.variant.value, str(location.reference)
            )
        ]

    async def _targets(self, routing: Routing, location: Location) -> Sequence[Target]:
        if not isinstance(location.reference, Digest):
            return sorted({row.target for row in await self._rows(routing, location)})
        return [
            route.target
            for route in routing.routes
            if await self._catalog.find_manifest_source(route.target, location.reference) is not None
        ]

    def _not_kept(self, reason: str) -> Exception:
        """What ends the run where nothing is kept any more; else what is told of this item."""
        trouble = self._trouble()
        return StorageFailed(trouble) if trouble else OciError(Situation.BLOB_NOT_KNOWN, reason)

    def _trouble(self) -> str:
        """Why nothing is kept just now; empty where it is."""
        troubles = self._conditions.told()
        return next((troubles[one].means for one in _TAKES_NOTHING if one in troubles), "")


def _platforms(wish: Wish) -> frozenset[str]:
    return wish.platforms if wish.kind is Kind.IMAGE else _ALL
