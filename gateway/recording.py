"""What one process serves and meets: counted in memory as it happens, written down every few seconds."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Final, Protocol

import msgspec
import structlog
from anyio import to_thread

from gateway.activity_seen import Outcome
from gateway.event_tap import EventTap
from gateway.oci.errors import OciError, Situation
from gateway.pulled import Pulled
from gateway.rules.model import Rules
from gateway.rules.route import Wanted
from gateway.sources.origins import OriginFacts
from gateway.store.activity_book import ActivityBook
from gateway.store.activity_rows import MINUTE_SECONDS, Harvest, MinuteKey, RecentPull, RuleHits, Teller
from gateway.store.blobs import StorageFailed
from gateway.store.conditions import Trouble

log = structlog.get_logger(__name__)

FLUSH_SECONDS: Final = 5.0
_MOST_PULLS: Final = 2_000  # between two writings, of each the newest
_MOST_NAMES: Final = 10_000
_MOST_MINUTES: Final = 10_000  # with an outcome and a source each: hours of a catalog that takes nothing
_MOST_ORIGINS: Final = 500
_DENIALS: Final = (Situation.DENIED, Situation.NOT_SIGNED_IN)


class Record(Protocol):
    """Is told of each request for a manifest, a blob or a list of tags."""

    def served(self, outcome: str, source: str | None, sent_bytes: int) -> None: ...

    def manifest(self, wanted: Wanted, reference: str, pulled: Pulled, sent_bytes: int) -> None:
        """A manifest was answered; ``reference`` is empty where that was no pull of its own."""

    def refused(self, error: Exception, wanted: Wanted | None) -> None:
        """No answer; ``wanted`` is the name of a manifest."""


@dataclass(frozen=True, slots=True)
class Process:
    """Which one of so many processes of its gateway this is, and where its log is tapped."""

    number: int = 0
    count: int = 1
    tap: EventTap = field(default_factory=EventTap)


@dataclass(frozen=True, slots=True)
class Facts:
    """Where a recorder looks when it writes: the rules in force, what is known of origins, what is wrong."""

    rules: Callable[[], Rules]
    origins: Callable[[int], Sequence[OriginFacts]]
    troubles: Callable[[], Mapping[str, Trouble]]


@dataclass(slots=True)
class _Tally:
    requests: int = 0
    sent_bytes: int = 0


@dataclass(slots=True)
class _Pull:
    target: str
    outcome: str
    pulls: int
    last_at: float


class Recorder:
    """On the way of a request nothing is done but counting; all else waits for the writing.

    ``now`` gives seconds since the epoch.
    """

    def __init__(
        self,
        book: ActivityBook,
        instance: str,
        process: Process,
        facts: Facts,
        now: Callable[[], float],
    ) -> None:
        self._book = book
        self._teller = Teller(instance, process.number)
        self._count = process.count
        self._tap = process.tap
        self._facts = facts
        self._now = now
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self._names: dict[tuple[str, str], int] = {}
        self._pulls: OrderedDict[tuple[str, str], _Pull] = OrderedDict()
        self._served: dict[MinuteKey, tuple[int, int]] = {}
        self._told: dict[str, str] = {}
        self._turn = asyncio.Lock()
        self._has_begun = False

    def served(self, outcome: str, source: str | None, sent_bytes: int) -> None:
        key = (outcome, source or "")
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = _Tally()
        tally.requests += 1
        tally.sent_bytes += sent_bytes

    def manifest(self, wanted: Wanted, reference: str, pulled: Pulled, sent_bytes: int) -> None:
        self.served(pulled.cache, pulled.source, sent_bytes)
        self._ask(wanted)
        if not reference:
            return
        key = (wanted.name.name, reference)
        pull = self._pulls.get(key)
        if pull is None:
            pull = self._pulls[key] = _Pull("", "", 0, 0.0)
            if len(self._pulls) > _MOST_PULLS:
                self._pulls.popitem(last=False)
        else:
            self._pulls.move_to_end(key)
        pull.target = wanted.name.name if pulled.target is None else pulled.target.repository.name
        pull.outcome = pulled.cache
        pull.pulls += 1
        pull.last_at = self._now()

    def refused(self, error: Exception, wanted: Wanted | None) -> None:
        self.served(_outcome(error), None, 0)
        if wanted is not None:
            self._ask(wanted)

    def _ask(self, wanted: Wanted) -> None:
        """Which rule decided is looked up when it is written down."""
        key = (wanted.host, wanted.name.name)
        names = self._names
        if key in names:
            names[key] += 1
        elif len(names) < _MOST_NAMES:
            names[key] = 1

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Write every few seconds, until cancelled; what is being written then is written to its end."""
        while True:
            await sleep(FLUSH_SECONDS)
            await asyncio.shield(self.flush())

    async def flush(self) -> None:
        """Write down what there is; what the catalog does not take waits, as far as there is room."""
        async with self._turn:
            try:
                if not self._has_begun:
                    await self._book.begin(self._teller, self._count)
                    self._has_begun = True
                await self._write()
            except StorageFailed as error:
                log.debug("activity_not_written", reason=str(error))
            except Exception:  # whatever it is, the next time it may be over
                log.exception("activity_not_written")

    async def _write(self) -> None:
        now, states = self._now(), self._states()
        names, self._names = self._names, {}
        pulls, self._pulls = self._pulls, OrderedDict()
        noted = self._tap.taken()
        self._fold(now)
        try:
            harvest = Harvest(
                served=self._served,
                hits=await to_thread.run_sync(_hits, self._facts.rules(), names, now) if names else {},
                pulls=[_told(*key, pull) for key, pull in pulls.items()],
                events=noted,
                states={origin: facts for origin, facts in states.items() if self._told.get(origin) != facts},
                forgotten=[origin for origin in self._told if origin not in states],
            )
            if not harvest.is_empty:
                await self._book.keep(self._teller, harvest, now)
        except BaseException:
            self._put_back(names, pulls)
            self._tap.put_back(noted)
            raise
        self._served = {}
        self._told = states

    def _fold(self, now: float) -> None:
        """Count what came since the last time for the minute that it is."""
        minute = int(now) // MINUTE_SECONDS * MINUTE_SECONDS
        tallies, self._tallies = self._tallies, {}
        for (outcome, source), tally in tallies.items():
            requests, sent_bytes = self._served.pop((minute, outcome, source), (0, 0))
            total = (requests + tally.requests, sent_bytes + tally.sent_bytes)
            self._served[minute, outcome, source] = total
        while len(self._served) > _MOST_MINUTES:
            del self._served[next(iter(self._served))]

    def _put_back(
        self, names: Mapping[tuple[str, str], int], pulls: OrderedDict[tuple[str, str], _Pull]
    ) -> None:
        """Below what came meanwhile, and what is too much goes."""
        for key, count in names.items():
            if key in self._names or len(self._names) < _MOST_NAMES:
                self._names[key] = self._names.get(key, 0) + count
        newer, self._pulls = self._pulls, pulls
        for name, pull in newer.items():
            before = self._pulls.pop(name, None)
            self._pulls[name] = pull if before is None else replace(pull, pulls=pull.pulls + before.pulls)
        while len(self._pulls) > _MOST_PULLS:
            self._pulls.popitem(last=False)

    def _states(self) -> dict[str, str]:
        """What this process alone knows, as JSON: of each origin, and under no name what is wrong with it."""
        states = {one.origin: _json(asdict(one)) for one in self._facts.origins(_MOST_ORIGINS)}
        troubles = self._facts.troubles()
        if troubles:
            states[""] = _json({name: asdict(trouble) for name, trouble in troubles.items()})
        return states


def _outcome(error: Exception) -> Outcome:
    if not isinstance(error, OciError):
        return Outcome.ERROR
    if error.situation in _DENIALS:
        return Outcome.DENIED
    return Outcome.NOT_FOUND if error.status == 404 else Outcome.ERROR


def _hits(rules: Rules, names: Mapping[tuple[str, str], int], now: float) -> dict[str, RuleHits]:
    """How often each rule decided, by its key; names that no rule matches are nobody's."""
    counts: dict[str, int] = {}
    for (host, name), count in names.items():
        found = rules.first(host, name)
        if found is not None:
            counts[found[0].key] = counts.get(found[0].key, 0) + count
    return {key: RuleHits(count, now) for key, count in counts.items()}


def _told(name: str, reference: str, pull: _Pull) -> RecentPull:
    return RecentPull(name, reference, pull.target, pull.outcome, pull.pulls, pull.last_at)


def _json(facts: object) -> str:
    return msgspec.json.encode(facts).decode()
