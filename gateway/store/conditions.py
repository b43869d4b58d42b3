"""What is wrong with the storage just now: told in the log as it begins and ends, and on request."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import structlog

log = structlog.get_logger(__name__)


class Condition(StrEnum):
    """A trouble that passes by itself, or is over once somebody mended it; no restart is needed."""

    DISK_FULL = "disk_full"
    BLOBS_UNWRITABLE = "blobs_unwritable"
    CATALOG_UNWRITABLE = "catalog_unwritable"
    CATALOG_RESTORED = "catalog_restored"
    BLOBS_CORRUPT = "blobs_corrupt"
    OVER_QUOTA = "over_quota"


_MEANS: Mapping[Condition, str] = {
    Condition.DISK_FULL: "the disk is full: what is held is served, what is fetched is not kept",
    Condition.BLOBS_UNWRITABLE: "blobs cannot be written: what is held is served, what comes is not kept",
    Condition.CATALOG_UNWRITABLE: "the catalog takes nothing: what is held is served",
    Condition.CATALOG_RESTORED: "the catalog was damaged, and replaced: what was newer is fetched again",
    Condition.BLOBS_CORRUPT: "damaged blobs were found: they were put into quarantine, and are fetched again",
    Condition.OVER_QUOTA: "more is held than MAX_CACHE_SIZE, and nothing else may be evicted",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """``since`` is in seconds since the epoch; ``means`` is fit for strangers: no paths, no names."""

    means: str
    since: float


class Conditions:
    """Threads may note what they meet. ``now`` gives seconds since the epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._mutex = threading.Lock()
        self._troubles: dict[Condition, Trouble] = {}

    def begin(self, condition: Condition, reason: str) -> None:
        """Note a trouble; the log says it, with ``reason``, when it is new."""
        with self._mutex:
            if condition in self._troubles:
                return
            self._troubles[condition] = Trouble(_MEANS[condition], self._now())
        log.error("trouble", condition=condition.value, means=_MEANS[condition], reason=reason)

    def end(self, condition: Condition) -> None:
        """Note that it is over; that there was none is fine, and costs nothing."""
        if condition not in self._troubles:
            return
        with self._mutex:
            trouble = self._troubles.pop(condition, None)
        if trouble is not None:
            log.warning("trouble_over", condition=condition.value, lasted_seconds=self._now() - trouble.since)

    def told(self) -> Mapping[str, Trouble]:
        """What is wrong just now, by its name."""
        with self._mutex:
            return {condition.value: trouble for condition, trouble in self._troubles.items()}
