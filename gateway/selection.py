"""What of a name's tags a client may see: channels read as versions, hidden tags left out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Lock
from typing import Final, TypeVar, TypeVarTuple

from anyio import to_thread
from cachetools import LRUCache

from gateway.ages import Ages
from gateway.fetch import Fetcher
from gateway.helm.ranges import VersionRange, newest_tag_in
from gateway.helm.version import tag_of
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.parts import Parts
from gateway.pulled import Cache, Listed
from gateway.rules.route import Route, Routing
from gateway.rules.visibility import Visibility, digest_of_fallback_tag, visible
from gateway.tag_lists import TagLists

_ON_THE_LOOP: Final = 200  # names; more are judged in a thread
_REMEMBERED_NAMES: Final = 300_000  # of all lists together: strangers may choose whose they are
_OUTAGES: Final = (Situation.SOURCES_DOWN, Situation.RATE_LIMITED)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Selection:
    """Judged on reading, by the policy of the name that was asked for."""

    def __init__(self, parts: Parts, fetcher: Fetcher, tag_lists: TagLists) -> None:
        self._ages = Ages(parts, fetcher, tag_lists)
        self._catalog = parts.catalog
        self._tag_lists = tag_lists

    async def meant(self, route: Route, tag: str) -> str:
        """The newest version of the channel that a tag names; the tag itself where it is none here."""
        wanted = route.policy.channels.get(tag)
        if wanted is None:
            return tag
        listed = await self.list(Routing((route,)))
        found = await _judged(listed.tags, _newest, wanted)
        if found is None:
            message = f"{route.name}:{tag} is a channel, and no version is in its range {wanted}"
            raise OciError(Situation.MANIFEST_NOT_KNOWN, message)
        return found

    async def held_instead(self, route: Route, tag: str, error: OciError) -> str | None:
        """The newest version of a channel that is held, where the newest of all cannot be had just now."""
        wanted = route.policy.channels.get(tag)
        if wanted is None or error.situation not in _OUTAGES:
            return None
        held = await self._shown(route, await self._tag_lists.held(route.as_upstream))
        return await _judged(sorted(held), _newest, wanted)

    async def list(self, routing: Routing) -> Listed:
        """The union of what each target has, as far as it is shown."""
        lists: list[Listed] = []
        absent: OciError | None = None
        ended: frozenset[str] = frozenset()  # what a pull would not go past a target for
        for route in routing.routes:
            try:
                listed = await self._tag_lists.list(route.as_upstream)
            except OciError as error:
                if error.situation is not Situation.NAME_NOT_KNOWN:
                    raise
                absent = absent or error
                continue
            shown = await self._shown(route, listed.tags)
            judged = await self._ages.judge(routing, route, replace(listed, tags=shown), ended)
            lists.append(judged.listed)
            ended = judged.young
            if len(shown) < len(listed.tags) and route is not routing.routes[-1]:
                ended |= await to_thread.run_sync(_hidden, listed.tags, shown)
        if absent is not None and not lists:
            raise absent if routing.refusal is None else replace(routing.refusal)
        return lists[0] if len(lists) == 1 else await to_thread.run_sync(_joined, lists)

    async def require_shown(self, route: Route, tag: str) -> None:
        """Raise OciError HIDDEN for what the policy hides: it is there, so no other target has it.

        MANIFEST_NOT_KNOWN for a fallback tag, whose digest may be another target's.
        """
        visibility = route.policy.visibility
        if visibility.is_open:
            return
        digest = digest_of_fallback_tag(tag)
        if digest is not None:
            if digest not in await self._digests(route):
                message = f"{route.name}:{tag} is hidden: {visibility}"
                raise OciError(Situation.MANIFEST_NOT_KNOWN, message)
            return
        if not visibility.shows(tag):
            message = f"{route.name}:{tag} is hidden: {visibility.why_hidden(tag)}"
            raise OciError(Situation.HIDDEN, message)
        await self._ages.require_old_enough(route, tag)

    async def drain(self) -> None:
        await self._ages.drain()

    async def _shown(self, route: Route, tags: Sequence[str]) -> Sequence[str]:
        policy = route.policy
        names = [name for name in tags if name not in policy.channels] if policy.channels else tags
        if policy.visibility.is_open:
            return names
        has_fallbacks = any(name.startswith("sha256-") for name in names)
        digests: frozenset[Digest] = await self._digests(route) if has_fallbacks else frozenset()
        return await _judged(names, _visible, policy.visibility, digests)

    async def _digests(self, route: Route) -> frozenset[Digest]:
        """Those that a shown tag is held for."""
        rows = await self._catalog.find_versions(route.target, route.as_upstream.variant.value)
        return frozenset(row.digest for row in rows if route.policy.visibility.shows(row.tag))


async def _judged(names: Sequence[str], judge: Callable[[tuple[str, ...], *Ts], T], *about: *Ts) -> T:
    """Off the event loop where there are many; what was judged before is remembered."""
    if len(names) <= _ON_THE_LOOP:
        return judge(tuple(names), *about)
    return await to_thread.run_sync(judge, tuple(names), *about)


def remembering(
    judge: Callable[[tuple[str, ...], *Ts], T], names_in_all: int = _REMEMBERED_NAMES
) -> Callable[[tuple[str, ...], *Ts], T]:
    """The same, with what it said of late at hand; for threads."""
    known: LRUCache[object, tuple[int, T]] = LRUCache(names_in_all, getsizeof=lambda told: told[0] + 1)
    lock = Lock()

    def judged(names: tuple[str, ...], *about: *Ts) -> T:
        key = (names, about)
        with lock:
            told = known.get(key)
        if told is None:
            told = (len(names), judge(names, *about))
            if len(names) < names_in_all:
                with lock:
                    known[key] = told
        return told[1]

    return judged


@remembering
def _newest(names: tuple[str, ...], wanted: VersionRange) -> str | None:
    return newest_tag_in(wanted, names)


@remembering
def _visible(names: tuple[str, ...], visibility: Visibility, digests: frozenset[Digest]) -> Sequence[str]:
    return visible(visibility, names, digests.__contains__)


def _hidden(tags: Sequence[str], shown: Sequence[str]) -> frozenset[str]:
    """Spelled plainly; fallback tags go with their digest."""
    left_out = set(tags).difference(shown)
    return frozenset(tag_of(tag) for tag in left_out if digest_of_fallback_tag(tag) is None)


def _joined(lists: Sequence[Listed]) -> Listed:
    """Several targets' lists as one, as old as the oldest of them."""
    names = sorted({name for listed in lists for name in listed.tags})
    caches = [listed.cache for listed in lists]
    cache = next(one for one in (Cache.STALE, Cache.MISS, Cache.JOINED, Cache.HIT) if one in caches)
    times = [listed.confirmed_at for listed in lists if listed.confirmed_at is not None]
    return Listed(names, cache, None, min(times, default=None))
