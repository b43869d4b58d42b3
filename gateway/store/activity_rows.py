"""What was served, met and asked, as the rows that tell of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

MinuteKey: TypeAlias = tuple[int, str, str]  # when the minute began, outcome, source
MINUTE_SECONDS = 60
HOUR_SECONDS = 3600
DAY_SECONDS = 86_400
SINCE_EVER = 0
SILENT_SECONDS = 3600.0  # another gateway's workers that said nothing for so long are not there


@dataclass(frozen=True, slots=True)
class Counted:
    """Requests of one outcome and source (empty: none) in the step that ``begins_at``."""

    begins_at: int
    outcome: str
    source: str
    requests: int
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class RecentPull:
    """A manifest asked for by ``name`` and ``reference``, ``last_at`` in seconds since the epoch."""

    name: str
    reference: str
    target: str
    outcome: str
    pulls: int
    last_at: float


@dataclass(frozen=True, slots=True)
class RuleHits:
    hits: int
    last_at: float


@dataclass(frozen=True, slots=True)
class Noted:
    """Something met that people should hear of, so many times since the last writing.

    ``is_everybodys``: each worker meets it, so it counts once.
    """

    kind: str
    subject: str
    detail: str
    times: int
    first_at: float
    last_at: float
    is_everybodys: bool = False


@dataclass(frozen=True, slots=True)
class EventRow:
    number: int
    kind: str
    subject: str
    detail: str
    times: int
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class Teller:
    """One process of one gateway, which tells what it alone knows."""

    instance: str
    worker: int


@dataclass(frozen=True, slots=True)
class ToldState:
    """``facts`` are JSON; ``origin`` is empty for what the process tells of itself."""

    teller: Teller
    origin: str
    facts: str
    noted_at: float


@dataclass(frozen=True, slots=True)
class Harvest:
    """What one process noted since it last wrote; ``states`` in place of those of before.

    ``hits`` are by a rule's key; ``forgotten`` are origins of which nothing is known any more.
    """

    served: Mapping[MinuteKey, tuple[int, int]] = field(default_factory=dict)
    hits: Mapping[str, RuleHits] = field(default_factory=dict)
    pulls: Sequence[RecentPull] = ()
    events: Sequence[Noted] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    forgotten: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.served or self.hits or self.pulls or self.events or self.states or self.forgotten)
