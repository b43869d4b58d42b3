"""Is it a registry? Asked once of each place, believed for a day, learnt anew where it is in doubt."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import structlog
from cachetools import LRUCache

from gateway.flights import Flights
from gateway.oci.challenge import ChallengeError, parse_challenges
from gateway.oci.outcomes import Corrupt, NotThisKind, Unavailable
from gateway.sources.answers import Answer
from gateway.sources.http import Http
from gateway.sources.registry_place import UpstreamRepository

log = structlog.get_logger(__name__)

REMEMBERED_SECONDS: Final = 86_400.0
DOUBTED_SECONDS: Final = 600.0
_DOUBTS: Final = 10_000
_SCHEMES: Final = frozenset({"basic", "bearer"})


class KnownKind(Protocol):
    """What is remembered of a place, and since when, in seconds since the epoch."""

    @property
    def is_registry(self) -> bool: ...

    @property
    def learnt_at(self) -> float: ...


class KindMemory(Protocol):
    """Where it is remembered which places are registries."""

    async def find_registry(self, place: str) -> KnownKind | None: ...

    async def keep_registry(self, place: str, is_registry: bool, learnt_at: float) -> None: ...


class RegistryKinds:
    """Tells registries from other hosts. ``now`` gives seconds since the epoch."""

    def __init__(self, http: Http, memory: KindMemory, now: Callable[[], float]) -> None:
        self._http = http
        self._memory = memory
        self._now = now
        self._doubted: LRUCache[str, None] = LRUCache(_DOUBTS)
        self._flights: Flights[bool] = Flights()

    async def require(self, repository: UpstreamRepository) -> None:
        """Raise Skipped for what is no registry, Unavailable where that is not known yet."""
        if not await self.is_registry(repository):
            raise NotThisKind(f"{repository} is no registry")

    async def is_registry(self, repository: UpstreamRepository) -> bool:
        place = str(repository.base)
        known = await self._memory.find_registry(place)
        if known is not None and self._counts(place, known):
            return known.is_registry
        learning = self._flights.launch(place, partial(self._learn, repository))
        if known is not None and place not in self._doubted:  # nobody waits for what hardly ever changes
            return known.is_registry
        try:
            return await asyncio.shield(learning)
        except Unavailable:
            if known is None:
                raise
            return known.is_registry

    def doubt(self, repository: UpstreamRepository) -> None:
        """Something spoke against what is remembered: ask again, but not every time."""
        self._doubted[str(repository.base)] = None

    async def settle(self) -> None:
        """Wait for what is being learnt behind."""
        await self._flights.settle()

    async def drain(self) -> None:
        await self._flights.drain()

    def _counts(self, place: str, known: KnownKind) -> bool:
        lasts_seconds = DOUBTED_SECONDS if place in self._doubted else REMEMBERED_SECONDS
        return 0 <= self._now() - known.learnt_at < lasts_seconds

    async def _learn(self, repository: UpstreamRepository) -> bool:
        place = str(repository.base)
        is_registry = await self._ask(repository)
        self._doubted.pop(place, None)
        await self._keep(place, is_registry=is_registry)
        log.info("registry_learnt", place=place, is_registry=is_registry)
        return is_registry

    async def _keep(self, place: str, *, is_registry: bool) -> None:
        try:
            await self._memory.keep_registry(place, is_registry, self._now())
        except Exception as error:  # what could not be kept is asked again
            log.warning("registry_not_kept", place=place, reason=str(error))

    async def _ask(self, repository: UpstreamRepository) -> bool:
        try:
            async with self._http.get(repository.base, repository.errand, {}) as answer:
                if answer.is_outage:
                    await answer.require_ok_or_loop("/v2/")
                return _speaks_as_registry(answer)
        except Corrupt:  # whatever it is, it does not answer as a registry does
            return False


def _speaks_as_registry(answer: Answer) -> bool:
    """200 or 401 with the version header, or 401 with a challenge that registries send."""
    if answer.status not in (200, 401):
        return False
    if (answer.header("docker-distribution-api-version") or "").strip().lower().startswith("registry/2."):
        return True
    return answer.status == 401 and _has_challenge(answer.header("www-authenticate") or "")


def _has_challenge(text: str) -> bool:
    try:
        return any(challenge.scheme in _SCHEMES for challenge in parse_challenges(text))
    except ChallengeError:
        return False
