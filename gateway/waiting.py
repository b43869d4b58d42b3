"""How long a client waits, and what it is told at once because somebody else was told it just now."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from cachetools import LRUCache

from gateway.oci.errors import OciError, Situation
from gateway.oci.outcomes import Missing, Outcome, Unavailable, UnknownHost
from gateway.refusals import refusal, unavailable
from gateway.rules.model import RuleSet
from gateway.rules.route import Route
from gateway.sources.base import COLD_SECONDS, STALE_SECONDS
from gateway.store.blobs import StorageFailed

_REMEMBERED: Final = 10_000
_UNSAID_SECONDS: Final = 5  # whoever limits us, and does not say for how long

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a client waits: with a stale copy at hand, and without."""

    stale_seconds: float = STALE_SECONDS
    cold_seconds: float = COLD_SECONDS

    @asynccontextmanager
    async def patience(self, what: str) -> AsyncIterator[None]:
        """Bound the wait of a client for whom nothing is held."""
        try:
            async with asyncio.timeout(self.cold_seconds):
                yield
        except TimeoutError as error:
            raise unavailable(f"{what} is still being fetched: ask again") from error
        except StorageFailed as error:
            raise unavailable(f"{what} cannot be kept: {error}") from error


@dataclass(frozen=True, slots=True)
class Span:
    """So long from a time on; a clock that is set back ends it, else it would last for years."""

    since: float
    seconds: float

    def holds(self, now: float) -> bool:
        return 0 <= now - self.since < self.seconds


_NEVER: Final = Span(0.0, 0.0)


class Learnt(Generic[T]):
    """What is remembered of a reference at a target, and of who was asked for it, under one rule set.

    Other rules may lead elsewhere, and dial whom these may not: what was learnt by them says nothing here.
    Nor does what was learnt before the ``generation`` moved: a purge ends it. A ``reference`` is empty where
    all of a name is meant.
    """

    def __init__(self, generation: Callable[[], int] = lambda: 0) -> None:
        self._generation = generation
        self._known_by: tuple[RuleSet | None, int] = (None, 0)
        self._held: LRUCache[tuple[object, ...], T] = LRUCache(_REMEMBERED)

    def get(self, route: Route, reference: str = "") -> T | None:
        return self._held.get((*route.asking_key, reference)) if self._is_known(route) else None

    def put(self, route: Route, learnt: T, reference: str = "") -> None:
        if not self._is_known(route):
            self._known_by = (route.rules, self._generation())
            self._held.clear()
        self._held[*route.asking_key, reference] = learnt

    def _is_known(self, route: Route) -> bool:
        rules, generation = self._known_by
        return route.rules is rules and generation == self._generation()


class Refusals:
    """Outcomes as OciErrors; «nobody has it» is remembered for ``missing_for``, an outage never.

    ``now`` gives seconds since the epoch; once ``generation`` has moved, all is forgotten.
    """

    def __init__(self, now: Callable[[], float], generation: Callable[[], int] = lambda: 0) -> None:
        self._now = now
        self._remembered: Learnt[tuple[OciError, Span]] = Learnt(generation)

    def raise_remembered(self, route: Route, reference: str = "") -> None:
        error, span = self._remembered.get(route, reference) or (None, _NEVER)
        if error is not None and span.holds(self._now()):
            raise replace(error)  # an exception raised anew would keep every frame it went through

    def remember(self, route: Route, reference: str, outcome: Outcome, absent: Situation) -> OciError:
        """Translate an outcome; ``absent`` is what a plain Missing means here."""
        error = refusal(outcome, absent)
        return self.keep(route, reference, error) if isinstance(outcome, Missing) else error

    def keep(self, route: Route, reference: str, error: OciError) -> OciError:
        """Remember what was definite, and return it."""
        span = Span(self._now(), route.policy.missing_for_seconds)
        self._remembered.put(route, (replace(error), span), reference)
        return error


class Pauses:
    """Held content whose upstream has just failed to stand by it: it is not asked again at once."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._spans: Learnt[Span] = Learnt()

    def is_on(self, route: Route, reference: str = "") -> bool:
        return (self._spans.get(route, reference) or _NEVER).holds(self._now())

    def begin(self, route: Route, reference: str, outcome: Outcome) -> None:
        """As long as upstream asks for; after a definite answer as long as «nobody has it» is remembered.

        After an outage not at all: whoever is down is not asked anyway.
        """
        match outcome:
            case Unavailable(retry_after_seconds=int(seconds)):
                self._pause(route, reference, seconds)
            case Unavailable(is_rate_limited=True):
                self._pause(route, reference, _UNSAID_SECONDS)
            case Unavailable() | UnknownHost():
                pass
            case _:
                self._pause(route, reference, route.policy.missing_for_seconds)

    def _pause(self, route: Route, reference: str, seconds: float) -> None:
        self._spans.put(route, Span(self._now(), seconds), reference)
