"""Refreshing: upstream is asked now for what is held, whatever the policy says of its age."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from gateway.oci.errors import OciError, Situation
from gateway.oci.location import Location
from gateway.oci.outcomes import is_deletion
from gateway.oci.reference import Tag
from gateway.pull import Puller
from gateway.rules.route import Route, Routing, Wanted
from gateway.store.catalog import Catalog

AT_ONCE: Final = 8
MOST_TAGS: Final = 1_000  # of one target: the others are asked for when they are due
_ABSENT: Final = (Situation.MANIFEST_NOT_KNOWN, Situation.NAME_NOT_KNOWN, Situation.HOST_NOT_KNOWN)


class Verdict(StrEnum):
    """What upstream said."""

    UNCHANGED = "unchanged"
    FOLLOWED = "followed"
    FETCHED = "fetched"
    LISTED = "listed"
    DRIFT_KEPT = "drift kept"
    DELETED = "deleted upstream"
    ABSENT = "nobody has it"
    HIDDEN = "hidden by a rule"
    FAILED = "could not be asked"


@dataclass(frozen=True, slots=True)
class Refreshed:
    """``what`` is ``name:tag``, or a name alone for its list; ``detail`` a digest, or the reason."""

    what: str
    target: str
    verdict: Verdict
    detail: str = ""

    @property
    def is_failure(self) -> bool:
        return self.verdict in (Verdict.ABSENT, Verdict.FAILED)


Tell = Callable[[int, int], None]


def _tell_nobody(_done: int, _total: int) -> None:
    """For who waits for the end."""


class Refresher:
    """Asks as a pull does: in the same flights, by the same rules and limits. ``now``: since the epoch."""

    def __init__(self, puller: Puller, catalog: Catalog, now: Callable[[], float]) -> None:
        self._puller = puller
        self._catalog = catalog
        self._now = now

    async def refresh(self, location: Location, tell: Tell = _tell_nobody) -> Sequence[Refreshed]:
        """Ask for a tag; of a name alone for its lists and all its held tags. Raise OciError as a route does.

        ``tell`` is told how many of how many are through.
        """
        routing = _anew(self._puller.route(Wanted(location.name)), self._now())
        match location.reference:
            case None:
                return await self._all_of(routing, tell)
            case Tag(name=tag):
                tell(0, 1)
                done = await self._tag(routing, tag)
                tell(1, 1)
                return [done]
            case digest:
                message = f"{location.name}@{digest} never changes: name a tag"
                raise OciError(Situation.MANIFEST_NOT_KNOWN, message)

    async def _all_of(self, routing: Routing, tell: Tell) -> Sequence[Refreshed]:
        """The lists first: what they cost, an index, is not asked for again by each tag."""
        lists = [await self._list(route) for route in routing.routes]
        asked = [(route, tag) for route in routing.routes for tag in await self._held(route)]
        turns = asyncio.Semaphore(AT_ONCE)
        done = 0

        async def one(route: Route, tag: str) -> Refreshed:
            nonlocal done
            async with turns:
                told = await self._tag(replace(routing, routes=(route,), refusal=None), tag)
            done += 1
            tell(done, len(asked))
            return told

        tell(0, len(asked))
        return [*lists, *await asyncio.gather(*(one(route, tag) for route, tag in asked))]

    async def _held(self, route: Route) -> Sequence[str]:
        rows = await self._catalog.find_versions(route.target, route.as_upstream.variant.value)
        return list(dict.fromkeys(row.tag for row in rows))[:MOST_TAGS]

    async def _list(self, route: Route) -> Refreshed:
        what, target = route.name.name, str(route.target)
        variant = route.as_upstream.variant.value
        before = {
            name for one in await self._catalog.find_tag_list(route.target, variant) for name in one.names
        }
        try:
            listed = await self._puller.refreshed_tags(route)
        except OciError as error:
            return Refreshed(what, target, Verdict.FAILED, error.message)
        if listed.confirmed_at < (route.anew_since or 0.0):
            return Refreshed(what, target, Verdict.FAILED, f"{listed.source} does not answer")
        told = f"{len(listed.names)} tags, {len(set(listed.names) - before)} of them new"
        return Refreshed(what, target, Verdict.LISTED, told)

    async def _tag(self, routing: Routing, asked: str) -> Refreshed:
        """At every target that may have it; a channel as the version that it means by now."""
        what, target = f"{routing.first.name}:{asked}", ", ".join(str(one.target) for one in routing.routes)
        held: set[str] = set()
        try:
            tag = await self._puller.meant(routing.first, asked)
            for route in routing.routes:
                rows = await self._catalog.find_tags(route.target, route.as_upstream.variant.value, tag)
                held |= {str(row.digest) for row in rows}
            now = (await self._puller.refreshed(routing, tag)).row
        except OciError as error:
            return Refreshed(what, target, _of_refusal(error, is_held=bool(held)), error.message)
        target, digest = str(now.target), str(now.digest)
        if digest not in held:
            return Refreshed(what, target, Verdict.FOLLOWED if held else Verdict.FETCHED, digest)
        if now.seen_digest is not None:
            return Refreshed(what, target, Verdict.DRIFT_KEPT, f"{digest}; upstream has {now.seen_digest}")
        return Refreshed(what, target, Verdict.UNCHANGED, digest)


def _anew(routing: Routing, since: float) -> Routing:
    return replace(routing, routes=tuple(replace(route, anew_since=since) for route in routing.routes))


def _of_refusal(error: OciError, *, is_held: bool) -> Verdict:
    if error.situation is Situation.HIDDEN:
        return Verdict.HIDDEN
    cause = error.__cause__
    if is_held and isinstance(cause, Exception) and is_deletion(cause):
        return Verdict.DELETED
    return Verdict.FAILED if is_held or error.situation not in _ABSENT else Verdict.ABSENT
