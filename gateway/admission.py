"""Who may begin a fetch upstream now: so many a client, so many in all; the others queue."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from gateway.new_hosts import HeldHosts, NewHosts
from gateway.oci.outcomes import Unavailable
from gateway.rules.route import Route
from gateway.sources.base import COLD_SECONDS

_RETRY_AFTER_SECONDS: Final = 5

_client: ContextVar[str | None] = ContextVar("client", default=None)


def note_client(client: str) -> None:
    """Remember, for all that this request begins, on whose account it goes.

    A flight takes it along from the request that began it, and keeps it when that client leaves. Where
    nothing was noted, a command runs, or the gateway for itself: those are not limited.
    """
    _client.set(client)


def note_own_account() -> None:
    """What this task begins from here on goes on the gateway's own account: the whole of it has had its turn.

    Else who has all his places taken by such tasks would wait in each of them for another one.
    """
    _client.set(None)


def _later(seconds: float, act: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, act)


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Of one worker. A fetch runs from its first request upstream until all of it is kept.

    Half of ``waiting`` is for those who have nothing waiting yet. ``wait_seconds`` are for the turn at a new
    host and for a place together.
    """

    running: int = 500
    running_per_client: int = 8
    waiting: int = 1000
    waiting_per_client: int = 256
    wait_seconds: float = COLD_SECONDS


LIMITS: Final = AdmissionLimits()


@dataclass(slots=True, eq=False)
class _Client:
    """What a client has under way; nothing is remembered of one that has nothing."""

    name: str
    running: int = 0
    waiting: "dict[_Place, None]" = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Place:
    """One fetch on its way in; it runs for the first of its clients whose turn comes."""

    key: Hashable
    route: Route
    clients: list[_Client] = field(default_factory=list)
    is_ready: bool = False  # but for its turn
    runs_for: _Client | None = None
    granted: asyncio.Event = field(default_factory=asyncio.Event)


class Admission:
    """Clients take turns, however much each has asked for. What is held is served without coming here."""

    def __init__(
        self,
        held: HeldHosts | None = None,
        limits: AdmissionLimits = LIMITS,
        now: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], None] = _later,
    ) -> None:
        self._limits = limits
        self._later = later
        self._hosts = NewHosts(held, now, limits.wait_seconds)
        self._running = 0
        self._waiting: dict[Hashable, _Place] = {}
        self._clients: dict[str, _Client] = {}
        self._line: dict[_Client, None] = {}  # who has something ready, in turns

    def turn(self, what: str, route: Route, reference: str = "") -> "Turn | None":
        """What a flight asks before it begins, on this request's account; None: it need not ask."""
        client = _client.get()
        return None if client is None else Turn(self, (what, *route.asking_key, reference), route, client)

    def begin(self, turn: "Turn") -> AbstractAsyncContextManager[None]:
        """A place for a fetch, to be waited for; raise Unavailable where no more may wait."""
        client = self._clients.get(turn.client) or _Client(turn.client)
        is_open = self._hosts.is_open(turn.route)
        if not is_open or not self._may_run(client):
            self._require_room(client)
        place = self._waiting[turn.key] = _Place(turn.key, turn.route)
        self._queue(place, client)
        if is_open:
            self._make_ready(place)
        return self._held(place)

    def join(self, turn: "Turn") -> None:
        """Somebody wants what waits already: it goes as soon as the turn of either comes."""
        place = self._waiting.get(turn.key)
        client = self._clients.get(turn.client) or _Client(turn.client)
        if place is None or client in place.clients or self._is_full(client):
            return
        self._queue(place, client)
        if place.is_ready:
            self._line_up(place)
        else:
            self._open(place, client)

    @asynccontextmanager
    async def _held(self, place: _Place) -> AsyncIterator[None]:
        try:
            await self._admitted(place)
            yield
        finally:
            self._leave(place)

    async def _admitted(self, place: _Place) -> None:
        try:
            async with asyncio.timeout(self._limits.wait_seconds):
                if not place.is_ready:
                    await self._hosts.look(place.route)
                if not place.is_ready:  # nor by somebody who joined meanwhile
                    self._open(place, place.clients[0])
                await place.granted.wait()
        except TimeoutError as error:
            message = f"{place.route.name} waited {self._limits.wait_seconds:g} s for its turn to be fetched"
            raise Unavailable(message, _RETRY_AFTER_SECONDS) from error

    def _open(self, place: _Place, client: _Client) -> None:
        """At once, or when this client may ask one more new host."""
        seconds = self._hosts.wait_seconds(place.route, client.name)
        if seconds > 0:
            self._later(seconds, partial(self._make_ready, place))
        else:
            self._make_ready(place)

    def _make_ready(self, place: _Place) -> None:
        place.is_ready = True
        self._line_up(place)

    def _line_up(self, place: _Place) -> None:
        for client in place.clients:
            self._line.setdefault(client)
        self._go_on()

    def _go_on(self) -> None:
        """Give away what is free: one to each client in the line, and again."""
        while self._line and self._running < self._limits.running:
            client = next(iter(self._line))
            del self._line[client]
            ready = (place for place in client.waiting if place.is_ready)
            place = next(ready, None) if client.running < self._limits.running_per_client else None
            if place is not None:
                self._take_out(place)
                self._grant(place, client)
                self._line[client] = None

    def _grant(self, place: _Place, client: _Client) -> None:
        place.runs_for = client
        client.running += 1
        self._running += 1
        self._clients[client.name] = client
        place.granted.set()

    def _leave(self, place: _Place) -> None:
        """It has ended, or waits no more."""
        client = place.runs_for
        if client is None:
            self._take_out(place)
            return
        client.running -= 1
        self._running -= 1
        self._forget(client)
        if client.waiting:
            self._line.setdefault(client)
        self._go_on()

    def _queue(self, place: _Place, client: _Client) -> None:
        self._clients[client.name] = client
        client.waiting[place] = None
        place.clients.append(client)

    def _take_out(self, place: _Place) -> None:
        self._waiting.pop(place.key, None)
        for client in place.clients:
            client.waiting.pop(place, None)
            self._forget(client)
        place.clients.clear()

    def _forget(self, client: _Client) -> None:
        if not client.running and not client.waiting:
            self._clients.pop(client.name, None)

    def _may_run(self, client: _Client) -> bool:
        return client.running < self._limits.running_per_client and self._running < self._limits.running

    def _require_room(self, client: _Client) -> None:
        if self._is_full(client):
            message = (
                f"{len(client.waiting)} fetches of this client, {len(self._waiting)} in all, wait already"
            )
            raise Unavailable(message, _RETRY_AFTER_SECONDS, is_rate_limited=True)

    def _is_full(self, client: _Client) -> bool:
        limits = self._limits
        most = limits.waiting // 2 if client.waiting else limits.waiting
        return len(client.waiting) >= limits.waiting_per_client or len(self._waiting) >= most


@dataclass(frozen=True, slots=True)
class Turn:
    """A client at the entrance, with what it wants; see gateway.flights.Turn."""

    admission: Admission
    key: Hashable
    route: Route
    client: str

    def begin(self) -> AbstractAsyncContextManager[None]:
        return self.admission.begin(self)

    def join(self) -> None:
        self.admission.join(self)
