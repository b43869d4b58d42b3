"""What is known of each origin: how many requests it has, whether it answers, and how long it takes."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import structlog

from gateway.oci.outcomes import Unavailable
from gateway.sources.base import STALE_SECONDS
from gateway.sources.breaker import Breaker, Ending

log = structlog.get_logger(__name__)

_WELL = (Ending.ANSWERED, Ending.NOTHING_LEARNT)
_MAX_ERROR = 300


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """How long an upstream may take, how little it may send, and how much it is asked at once."""

    connect_seconds: float = 3.0
    first_byte_seconds: float = 15.0
    idle_seconds: float = 15.0
    total_seconds: float = 600.0
    least_bytes_per_second: int = 10 * 1024
    grace_seconds: float = 30.0
    concurrency: int = 16
    max_waiting: int = 1000
    pause_seconds: float = 15.0
    failures_to_pause: int = 3


@dataclass(frozen=True, slots=True)
class OriginFacts:
    """What is known of an origin, for people. Times are seconds since the epoch.

    ``paused_until`` is None where it is asked; ``is_closed``: whether nothing speaks against asking it.
    """

    origin: str
    is_closed: bool
    has_failed: bool
    paused_until: int | None
    is_rate_limited: bool
    running: int
    waiting: int
    requests: int
    failures: int
    last_error: str | None
    last_error_at: float | None
    last_ok_at: float | None


@dataclass(slots=True)
class _Tally:
    """How an origin's requests ended so far, and what its last failure was."""

    requests: int = 0
    failures: int = 0
    last_error: str | None = None
    last_error_at: float | None = None
    last_ok_at: float | None = None

    def count(self, ending: Ending, why: str, now: float) -> None:
        self.requests += 1
        if ending is Ending.ANSWERED:
            self.last_ok_at = now
        elif ending not in _WELL:
            self.failures += 1
            told = "no such host" if ending is Ending.NO_SUCH_HOST else why or ending.name.lower()
            self.last_error, self.last_error_at = told[:_MAX_ERROR], now


@dataclass(slots=True, eq=False)
class Attempt:
    """One request, from its first byte sent to the end of its answer."""

    origin: "Origin"
    is_probe: bool
    received_bytes: int = 0
    waited_seconds: float = 0.0
    _waiting_since: float | None = None
    _ending: Ending | None = None
    _is_reading: bool = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Upstream's turn: what passes here is the time that it takes, and not the time that we take."""
        self._waiting_since = self.origin.monotonic()
        try:
            yield
        finally:
            self.waited_seconds += self.origin.monotonic() - self._waiting_since
            self._waiting_since = None

    def is_slow(self, now: float) -> bool:
        """Whether who has something stale at hand would not wait for this any longer."""
        waited = self.waited_seconds + (0.0 if self._waiting_since is None else now - self._waiting_since)
        least = waited * self.origin.limits.least_bytes_per_second
        return waited > STALE_SECONDS and self.received_bytes < least

    def end(self, ending: Ending, why: str = "") -> None:
        """Note how it ended, once: with the head of an answer, or without one. ``why`` is for people."""
        if self._ending is None:
            self._ending = ending
            self.origin.note(ending, why, is_probe=self.is_probe)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """The body: one that was begun and not read to its end speaks for nobody."""
        self._is_reading = True
        yield
        self._is_reading = False

    def close(self) -> None:
        self.end(Ending.NOTHING_LEARNT)
        if self._ending is Ending.ANSWERED and not self._is_reading:
            self.origin.has_failed = False


@dataclass(slots=True, eq=False)
class Origin:
    """One scheme, host and port. ``has_failed``: the last request did, whichever way.

    ``now`` gives seconds since the epoch.
    """

    name: str
    limits: HttpLimits
    monotonic: Callable[[], float]
    breaker: Breaker
    has_failed: bool = False
    attempts: set[Attempt] = field(default_factory=set)
    now: Callable[[], float] = time.time
    _tally: _Tally = field(default_factory=_Tally)
    _places: asyncio.Semaphore = field(default_factory=asyncio.Semaphore)
    _waiting_count: int = 0

    @property
    def is_idle(self) -> bool:
        return not self.attempts and not self._waiting_count

    def is_troubled(self) -> bool:
        now = self.monotonic()
        slow = (attempt.is_slow(now) for attempt in self.attempts)
        return self.has_failed or not self.breaker.is_closed or any(slow)

    @asynccontextmanager
    async def place(self, name: str) -> AsyncIterator[None]:
        """One of the places that an origin's requests share, waited for in a queue that has an end."""
        self.require_open(name)
        if self._places.locked() and self._waiting_count >= self.limits.max_waiting:
            message = f"{self._waiting_count} requests wait for {name} already"
            raise Unavailable(message, retry_after_seconds=1, is_rate_limited=True)
        self._waiting_count += 1
        try:
            async with asyncio.timeout(self.limits.first_byte_seconds):
                await self._places.acquire()
        except TimeoutError as error:
            message = f"{name} was busy with other requests of ours for too long"
            raise Unavailable(message, retry_after_seconds=1) from error
        finally:
            self._waiting_count -= 1
        try:
            yield
        finally:
            self._places.release()

    @contextmanager
    def attempt(self, name: str) -> Iterator[Attempt]:
        """A request that may begin now; raise Unavailable where none may."""
        self.require_open(name)
        made = Attempt(self, self.breaker.begin())
        self.attempts.add(made)
        try:
            yield made
        finally:
            self.attempts.discard(made)
            made.close()

    def require_open(self, name: str) -> None:
        """Raise Unavailable while nothing is asked here."""
        pause = self.breaker.pause(self.monotonic())
        if pause is not None:
            why = "asked to be left alone" if pause.is_rate_limited else "failed before"
            message = f"{name} {why}: it is asked again in {pause.seconds} s"
            raise Unavailable(message, pause.seconds, is_rate_limited=pause.is_rate_limited)

    def told(self) -> OriginFacts:
        """What is known of it at this moment."""
        pause = self.breaker.pause(self.monotonic())
        return OriginFacts(
            origin=self.name,
            is_closed=self.breaker.is_closed,
            has_failed=self.has_failed,
            paused_until=None if pause is None else round(self.now() + pause.seconds),
            is_rate_limited=pause is not None and pause.is_rate_limited,
            running=len(self.attempts),
            waiting=self._waiting_count,
            requests=self._tally.requests,
            failures=self._tally.failures,
            last_error=self._tally.last_error,
            last_error_at=self._tally.last_error_at,
            last_ok_at=self._tally.last_ok_at,
        )

    def note(self, ending: Ending, why: str = "", *, is_probe: bool) -> None:
        """Count how a request ended."""
        self._tally.count(ending, why, self.now())
        if ending not in _WELL:
            self.has_failed = True
        with self._logging_change(ending.name.lower()):
            self.breaker.end(ending, self.monotonic(), is_probe=is_probe)

    def wait(self, seconds: int, *, is_rate_limited: bool) -> None:
        """Ask nothing here for so long: upstream's Retry-After."""
        with self._logging_change("retry_after"):
            self.breaker.wait(seconds, self.monotonic(), is_rate_limited=is_rate_limited)

    @contextmanager
    def _logging_change(self, reason: str) -> Iterator[None]:
        was_closed = self.breaker.is_closed
        yield
        if was_closed and not self.breaker.is_closed:
            pause = self.breaker.pause(self.monotonic())
            log.warning("upstream_paused", origin=self.name, reason=reason, seconds=pause and pause.seconds)
        elif self.breaker.is_closed and not was_closed:
            log.info("upstream_back", origin=self.name)


class Origins:
    """The origins asked of late: of those at rest, the longest unasked are forgotten first."""

    def __init__(
        self,
        limits: HttpLimits,
        monotonic: Callable[[], float] = time.monotonic,
        max_count: int = 4096,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._now = now
        self._max_count = max_count
        self._origins: OrderedDict[str, Origin] = OrderedDict()

    def __len__(self) -> int:
        return len(self._origins)

    def get(self, name: str) -> Origin:
        if name not in self._origins:
            self._forget_one()
            self._origins[name] = self._make(name)
        self._origins.move_to_end(name)
        return self._origins[name]

    def is_troubled(self, name: str) -> bool:
        found = self._origins.get(name)
        return found is not None and found.is_troubled()

    def told(self, most: int) -> Sequence[OriginFacts]:
        """What is known of those asked last, ``most`` of them."""
        asked = list(self._origins.values())
        return [origin.told() for origin in asked[-most:]]

    def _make(self, name: str) -> Origin:
        limits = self._limits
        breaker = Breaker(limits.pause_seconds, limits.failures_to_pause)
        places = asyncio.Semaphore(limits.concurrency)
        return Origin(name, limits, self._monotonic, breaker, now=self._now, _places=places)

    def _forget_one(self) -> None:
        if len(self._origins) >= self._max_count:
            idle = next((name for name, origin in self._origins.items() if origin.is_idle), None)
            if idle is not None:
                del self._origins[idle]
