"""Whether an origin is worth asking: paused by silence, failures or its own wish, back after one answer."""

import math
from dataclasses import dataclass
from enum import Enum, auto

_ROUNDING_SECONDS = 1e-6  # else 15 s can be told as 16


class Ending(Enum):
    """How a request ended, as far as it tells whether its origin is well."""

    ANSWERED = auto()  # anything below 500
    FAILED = auto()  # refused, reset, no TLS, no HTTP, 5xx
    SILENT = auto()  # nothing came in time
    PUT_OFF = auto()  # it said when to come back
    NO_SUCH_HOST = auto()  # for all that DNS says, or that we dial: nobody to be left alone
    NOTHING_LEARNT = auto()  # whoever asked has left, or it was our own fault


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is asked for so long; ``is_rate_limited``: because the origin said so with a 429."""

    seconds: int
    is_rate_limited: bool


@dataclass(slots=True)
class Breaker:
    """One origin's. Closed, every request passes; open, none; half-open, one at a time: the probe.

    While it is not closed, only the probe's ending counts: what was begun before tells of what was before.
    Every ``now`` is of one monotonic clock, in seconds.
    """

    open_seconds: float = 15.0
    failure_limit: int = 3
    _failures: int = 0
    _paused_until: float | None = None
    _is_rate_limited: bool = False
    _is_probing: bool = False

    @property
    def is_closed(self) -> bool:
        return self._paused_until is None

    def pause(self, now: float) -> Pause | None:
        """Return why no request may begin now; None where one may."""
        if self._paused_until is None:
            return None
        left_seconds = math.ceil(self._paused_until - now - _ROUNDING_SECONDS)
        if left_seconds <= 0 and not self._is_probing:
            return None
        return Pause(max(left_seconds, 1), self._is_rate_limited)

    def begin(self) -> bool:
        """Let a request begin that ``pause`` does not forbid; return whether it is the probe."""
        self._is_probing = self._paused_until is not None
        return self._is_probing

    def end(self, ending: Ending, now: float, *, is_probe: bool) -> None:
        """Count how a request ended that had begun."""
        if is_probe:
            self._is_probing = False
        elif self._paused_until is not None:
            return
        match ending:
            case Ending.ANSWERED:
                self._failures, self._paused_until, self._is_rate_limited = 0, None, False
            case Ending.FAILED:
                self._failures += 1
                if is_probe or self._failures >= self.failure_limit:
                    self._open(now)
            case Ending.SILENT:
                self._open(now)
            case Ending.PUT_OFF | Ending.NO_SUCH_HOST | Ending.NOTHING_LEARNT:
                pass

    def wait(self, seconds: float, now: float, *, is_rate_limited: bool) -> None:
        """Take over the origin's own word on how long it wants to be left alone."""
        until = now + seconds
        if self._paused_until is None or until > self._paused_until:
            self._paused_until, self._is_rate_limited = until, is_rate_limited

    def _open(self, now: float) -> None:
        self._paused_until, self._is_rate_limited = now + self.open_seconds, False
