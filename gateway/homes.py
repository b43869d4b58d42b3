"""At which of a name's targets something is: the first that has it, and for a tag always the same one."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from cachetools import LRUCache

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.repository import MAX_LENGTH
from gateway.oci.target import Target
from gateway.parts import Parts
from gateway.rules.model import RuleSet
from gateway.rules.route import Route, Routing
from gateway.store.blobs import StorageFailed

_REMEMBERED: Final = 50_000
_ABSENT: Final = (Situation.MANIFEST_NOT_KNOWN, Situation.BLOB_NOT_KNOWN, Situation.NAME_NOT_KNOWN)

T = TypeVar("T")


async def first_of(routing: Routing, ask: Callable[[Route], Awaitable[T]]) -> T:
    """The first target's answer; only a definite «not there» leads on to the next one."""
    return (await _first_of(routing, ask))[1]


async def _first_of(routing: Routing, ask: Callable[[Route], Awaitable[T]]) -> tuple[Route, T]:
    absent: list[OciError] = []
    for route in routing.routes:
        try:
            return route, await ask(route)
        except OciError as error:
            if error.situation not in _ABSENT:
                raise
            absent.append(error)
    raise _nowhere(routing, absent)


def _nowhere(routing: Routing, absent: Sequence[OciError]) -> OciError:
    """What is said once no target has it: the refusal of the next one, or what each of them said."""
    if routing.refusal is not None:
        return replace(routing.refusal)
    nearest = min(absent, key=lambda error: _ABSENT.index(error.situation))
    if len(absent) == 1:
        return nearest
    told = [f"{route.target}: {error.message}" for route, error in zip(routing.routes, absent, strict=True)]
    return replace(nearest, message="; ".join(told), detail={"tried": told})


class Homes:
    """Each tag of a name stays at the target that first had it, whatever the others publish later."""

    def __init__(self, parts: Parts) -> None:
        self._catalog = parts.catalog
        self._memory = parts.memory
        self._now = parts.now
        self._rules: RuleSet | None = None
        self._homes: LRUCache[tuple[str, str], tuple[Target, int]] = LRUCache(_REMEMBERED)

    async def first_with(self, routing: Routing, tag: str, ask: Callable[[Route], Awaitable[T]]) -> T:
        """The answer of the target that a tag stays at, or of the first that has it."""
        name = home_name(routing)
        target = await self._home(routing, name, tag)
        home = _route_at(routing, target)
        if home is not None:
            return await ask(home)
        if target is not None and routing.refusal is not None and routing.names(target):
            raise replace(routing.refusal)  # it stays there also for who may not go there
        route, found = await _first_of(routing, ask)
        kept = await self._catalog.keep_tag_target(name, tag, route.target, self._now(), replaces=target)
        self._homes[name, tag] = (kept, self._memory.generation())
        quicker = None if kept == route.target else _route_at(routing, kept)
        return found if quicker is None else await ask(quicker)

    async def _home(self, routing: Routing, name: str, tag: str) -> Target | None:
        """Remembered under the same rules while nothing was written, or the catalog cannot be read."""
        if routing.first.rules is not self._rules:  # by others a home may have moved
            self._rules = routing.first.rules
            self._homes.clear()
        generation = self._memory.generation()
        remembered = self._homes.get((name, tag))
        if remembered is not None and remembered[1] == generation:
            return remembered[0]
        try:
            home = await self._catalog.find_tag_target(name, tag)
        except StorageFailed:
            if remembered is None:
                raise
            return remembered[0]
        if home is not None:
            self._homes[name, tag] = (home, generation)
        return home


def home_name(routing: Routing) -> str:
    """What the homes of a name's tags are kept by.

    Under a rule with a ``host`` the name alone says not where it leads: so much of the host as does is added.
    """
    name, rule, captures = routing.first.name.name, routing.rule, routing.captures
    if rule is None or captures is None or rule.look.host is None:
        return name
    used = frozenset[int]().union(*(rewrite.used for rewrite in rule.rewrites))
    of_host = captures.texts[: rule.look.host.captures]
    leading = (text for number, text in enumerate(of_host, start=1) if number in used)
    text = " ".join((name, rule.look.host.text, *leading))  # no name has a space
    return text if len(text) <= MAX_LENGTH else str(Digest.of(text.encode()))


def _route_at(routing: Routing, target: Target | None) -> Route | None:
    return next((route for route in routing.routes if route.target == target), None)
