"""What the desk reads of activity, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.event_tap import Severity
from gateway.store.conditions import Trouble


class Span(StrEnum):
    """How far back: the last hour by minutes, the last day or week by hours."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


class Outcome(StrEnum):
    """How a request for a manifest, a blob or a list of tags ended."""

    HIT = "hit"
    MISS = "miss"
    STALE = "stale"
    JOINED = "joined"
    DENIED = "denied"
    NOT_FOUND = "not_found"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Bar:
    """One step of time; outcomes that were not met are left out."""

    begins_at: int
    by_outcome: Mapping[str, int]
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class Served:
    """A bar for each step, empty ones too, oldest first. ``by_source``: of what was answered."""

    span: Span
    step_seconds: int
    rows: Sequence[Bar]
    by_outcome: Mapping[str, int]
    by_source: Mapping[str, int]
    total: int
    sent_bytes: int

    @property
    def begins_at(self) -> Sequence[int]:
        return [row.begins_at for row in self.rows]


@dataclass(frozen=True, slots=True)
class Event:
    """Something people should hear of; ``times`` it was met from ``first_at`` to ``last_at``."""

    number: int
    kind: str
    severity: Severity
    subject: str
    detail: str
    times: int
    first_at: float
    last_at: float


class UpstreamHealth(StrEnum):
    """``PROBING``: a pause is over, and nobody has answered since. ``UNASKED``: nobody asked it yet."""

    OK = "ok"
    FAILING = "failing"
    PAUSED = "paused"
    PROBING = "probing"
    UNASKED = "unasked"


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """What all workers together know of an origin; ``keys`` are the upstreams of the rules that are there.

    Times are seconds since the epoch, ``noted_at`` is 0 where it was never asked.
    """

    origin: str
    host: str
    keys: Sequence[str]
    state: UpstreamHealth
    paused_seconds: int = 0
    is_rate_limited: bool = False
    running: int = 0
    waiting: int = 0
    requests: int = 0
    failures: int = 0
    last_error: str | None = None
    last_error_at: float | None = None
    last_ok_at: float | None = None
    workers: int = 0
    noted_at: float = 0.0


@dataclass(frozen=True, slots=True)
class StorageUse:
    """``is_exact``: the files were counted; else the catalog's sum stands for them until they are.

    ``quota_bytes`` is None without one. ``troubles`` are those of every worker, by condition.
    """

    blob_bytes: int
    blob_count: int
    is_exact: bool
    catalog_bytes: int | None
    quarantine_bytes: int
    dying_bytes: int
    quota_bytes: int | None
    disk_free_bytes: int
    disk_total_bytes: int
    tags: int
    manifests: int
    repositories: int
    pins: int
    counted_at: float
    troubles: Mapping[str, Trouble]


class SettingSource(StrEnum):
    DEFAULT = "default"
    GIVEN = "given"


@dataclass(frozen=True, slots=True)
class SettingShown:
    """A setting as in force, as text: of a secret only whether there is one. ``means`` says what it is."""

    name: str
    value: str
    source: SettingSource
    means: str
