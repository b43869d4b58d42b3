"""Who may begin a fetch: clients take turns, queues have an end, what others want too goes sooner."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field, replace

import pytest

from gateway.admission import Admission, AdmissionLimits, note_client
from gateway.flights import Flights
from gateway.new_hosts import AT_ONCE
from gateway.oci.outcomes import Unavailable
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.rules.model import Policy, SourceName, Upstream
from gateway.rules.route import PLAIN, Route
from gateway.store.blobs import StorageFailed
from tests.sources.helm_parts import Clock

pytestmark = pytest.mark.anyio

SMALL = AdmissionLimits(running=6, running_per_client=2, waiting=20, waiting_per_client=5)
KNOWN = Upstream("known.example.org", ())


@dataclass(slots=True)
class Catalog:
    """Something is held of ``hosts``."""

    hosts: set[str] = field(default_factory=set)
    failure: Exception | None = None

    async def holds_of(self, host: str) -> bool:
        if self.failure is not None:
            raise self.failure
        return host in self.hosts


@dataclass(slots=True)
class Entrance:
    """Flights behind an admission; ``clock`` stands until it is moved on."""

    limits: AdmissionLimits = SMALL
    catalog: Catalog = field(default_factory=Catalog)
    clock: Clock = field(default_factory=Clock)
    started: list[str] = field(default_factory=list)
    flights: Flights[str] = field(default_factory=Flights)
    waiting: dict[str, asyncio.Event] = field(default_factory=dict)
    due: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    admission: Admission = field(init=False)

    def __post_init__(self) -> None:
        self.admission = Admission(self.catalog, self.limits, self.clock, self._later)

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self.due.append((self.clock() + seconds, act))

    def ask(self, client: str | None, name: str, host: str = "known.example.org") -> "asyncio.Task[str]":
        """The flight of a name, as this client asks for it; raise what refuses it."""
        return copy_context().run(self._ask, client, name, host)

    def _ask(self, client: str | None, name: str, host: str) -> "asyncio.Task[str]":
        if client is not None:
            note_client(client)
        route = route_to(host, name)
        return self.flights.launch(name, lambda: self._fetch(name), self.admission.turn("tag", route))

    async def _fetch(self, name: str) -> str:
        self.started.append(name)
        await self.waiting.setdefault(name, asyncio.Event()).wait()
        return name

    async def end(self, *names: str) -> None:
        for name in names:
            self.waiting.setdefault(name, asyncio.Event()).set()
        await settled()

    async def pass_seconds(self, seconds: float) -> None:
        self.clock.seconds += seconds
        due, self.due = self.due, []
        for at, act in due:
            if at <= self.clock():
                act()
            else:
                self.due.append((at, act))
        await settled()


def route_to(host: str, name: str) -> Route:
    target = Target(Repository.parse(f"{host}/{name}"))
    upstream = KNOWN if host == KNOWN.key else None
    return Route(target.repository, target, PLAIN, upstream, Policy(), (SourceName.HELM,))


async def settled() -> None:
    """All that can go on has gone on: nothing here waits for anything but events."""
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def entrance(limits: AdmissionLimits = SMALL) -> AsyncIterator[Entrance]:
    made = Entrance(limits)
    yield made
    await made.flights.drain()


async def test_a_client_has_so_many_fetches_and_the_others_wait_in_order() -> None:
    async with entrance() as at:
        for name in "abcd":
            at.ask("one", name)
        await settled()
        assert at.started == ["a", "b"]
        await at.end("b")
        assert at.started == ["a", "b", "c"]
        await at.end("a")
        assert at.started == ["a", "b", "c", "d"]


async def test_one_clients_queue_keeps_no_other_client_waiting() -> None:
    async with entrance() as at:
        for name in "abcdefg":
            at.ask("greedy", name)
        at.ask("other", "x")
        await settled()
        assert at.started == ["a", "b", "x"]


async def test_when_all_places_are_taken_clients_take_turns() -> None:
    async with entrance(replace(SMALL, running=2)) as at:
        for name in "abcdef":
            at.ask("greedy", name)
        for name in "xyz":
            at.ask("other", name)
        await settled()
        await at.end("a", "b")
        await at.end("c", "d", "x", "y")
        assert at.started[:2] == ["a", "b"]
        assert set(at.started[2:4]) == {"c", "x"}
        assert set(at.started[4:6]) == {"d", "y"}


async def test_who_joins_takes_no_place() -> None:
    async with entrance() as at:
        flights = {at.ask("one", "a") for _ in range(200)}
        at.ask("one", "b")
        await settled()
        assert len(flights) == 1
        assert at.started == ["a", "b"]


async def test_what_somebody_else_asks_for_too_goes_by_the_turn_that_comes_first() -> None:
    async with entrance() as at:
        for name in "abcde":
            at.ask("greedy", name)
        at.ask("other", "e")
        await settled()
        assert at.started == ["a", "b", "e"]
        at.ask("other", "x")
        at.ask("other", "y")  # the third of this client, for "e" is on its account
        await settled()
        assert at.started == ["a", "b", "e", "x"]
        await at.end("a")
        assert at.started[4:] == ["c"]


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_again() -> None:
    async with entrance() as at:
        for name in "abcdefg":
            at.ask("one", name)
        with pytest.raises(Unavailable) as refused:
            at.ask("one", "h")
        assert refused.value.is_rate_limited
        assert refused.value.retry_after_seconds == 5
        at.ask("one", "g")  # joins
        at.ask("other", "h")
        await settled()
        assert at.started == ["a", "b", "h"]


async def test_all_queues_together_have_an_end_and_half_of_it_is_for_newcomers() -> None:
    limits = replace(SMALL, running=1, waiting=10, waiting_per_client=9)
    async with entrance(limits) as at:
        for number in range(6):
            at.ask("greedy", f"g{number}")
        with pytest.raises(Unavailable):
            at.ask("greedy", "more")
        for number in range(5):
            at.ask(f"newcomer-{number}", f"n{number}")
        with pytest.raises(Unavailable):
            at.ask("too-late", "x")


async def test_a_flight_whose_client_left_counts_still() -> None:
    async with entrance() as at:
        for name in "ab":
            waiting = asyncio.ensure_future(asyncio.shield(at.ask("one", name)))
            await settled()
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
        at.ask("one", "c")
        await settled()
        assert at.started == ["a", "b"]


async def test_a_place_is_free_again_whatever_became_of_the_fetch() -> None:
    async with entrance() as at:
        flight, *_ = [at.ask("one", name) for name in "abc"]
        await settled()
        flight.cancel()
        await settled()
        assert at.started == ["a", "b", "c"]


async def test_who_waited_too_long_is_told_and_leaves_the_queue() -> None:
    async with entrance(replace(SMALL, running_per_client=1, wait_seconds=0.01)) as at:
        at.ask("one", "a")
        with pytest.raises(Unavailable, match="waited") as told:
            await at.ask("one", "b")
        assert not told.value.is_rate_limited
        at.ask("one", "c")
        await at.end("a")
        assert at.started == ["a", "c"]


async def test_commands_are_not_limited() -> None:
    async with entrance() as at:
        names = [f"n{number}" for number in range(100)]
        for name in names:
            at.ask(None, name, "new.example.org")
        await settled()
        assert at.started == names


async def test_who_comes_again_after_others_took_its_turn_is_served() -> None:
    async with entrance() as at:
        for number in range(6):
            at.ask(f"client-{number}", f"n{number}")
            at.ask(f"client-{number}", "same")
        await settled()
        await at.end("same", *(f"n{number}" for number in range(6)))
        for name in "ab":
            at.ask("client-1", name)
        await settled()
        assert at.started[-2:] == ["a", "b"]


ROOMY = AdmissionLimits(running_per_client=100)


def hosts(count: int, start: int = 0) -> list[str]:
    return [f"h{number}.example.net" for number in range(start, start + count)]


async def test_a_client_has_so_many_new_hosts_asked_at_once_and_then_one_a_second() -> None:
    async with entrance(ROOMY) as at:
        for host in hosts(AT_ONCE + 3):
            at.ask("one", host, host)
        await settled()
        assert at.started == hosts(AT_ONCE)
        await at.pass_seconds(1)
        assert at.started == hosts(AT_ONCE + 1)
        await at.pass_seconds(2)
        assert at.started == hosts(AT_ONCE + 3)


async def test_other_clients_have_new_hosts_of_their_own() -> None:
    async with entrance(ROOMY) as at:
        for host in hosts(AT_ONCE + 2):
            at.ask("one", host, host)
        at.ask("other", "late", hosts(1, AT_ONCE)[0])  # another name on a host that waits
        at.ask("other", hosts(1, AT_ONCE + 1)[0], hosts(1, AT_ONCE + 1)[0])  # the very same name
        await settled()
        assert set(at.started[AT_ONCE:]) == {"late", *hosts(1, AT_ONCE + 1)}


async def test_more_new_hosts_than_can_have_their_turn_in_time_are_refused() -> None:
    async with entrance(ROOMY) as at:
        asked = [at.ask("one", host, host) for host in hosts(AT_ONCE + 30)]
        await settled()
        failed = [flight.exception() for flight in asked if flight.done()]
        assert len(failed) == 1
        assert isinstance(failed[0], Unavailable)
        assert failed[0].is_rate_limited
        assert failed[0].retry_after_seconds == 30
        assert len(at.started) == AT_ONCE


async def test_a_host_is_new_once() -> None:
    async with entrance(ROOMY) as at:
        for host in hosts(AT_ONCE):
            at.ask("one", host, host)
        await settled()
        for host in hosts(AT_ONCE):
            at.ask("one", f"{host}/second", host)
        await settled()
        assert len(at.started) == 2 * AT_ONCE


async def test_hosts_of_rules_and_of_what_is_held_are_not_new() -> None:
    async with entrance(ROOMY) as at:
        for host in hosts(AT_ONCE):
            at.ask("one", host, host)
        at.ask("one", "listed")
        at.catalog.hosts.add("held.example.org")
        at.ask("one", "held", "held.example.org")
        await settled()
        assert at.started[AT_ONCE:] == ["listed", "held"]


async def test_a_catalog_that_does_not_answer_makes_no_host_known() -> None:
    async with entrance(ROOMY) as at:
        at.catalog.hosts.update(hosts(AT_ONCE + 1))
        at.catalog.failure = StorageFailed("down")
        for host in hosts(AT_ONCE + 1):
            at.ask("one", host, host)
        await settled()
        assert at.started == hosts(AT_ONCE)
