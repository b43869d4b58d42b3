"""What garbage collection is to do, and what it did, as values."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gateway.store.blobs import StoredBlob

GRACE_SECONDS: Final = 24 * 3600.0
WAIT_SECONDS: Final = 3600.0  # longer than anybody who saw a file takes to open it


class Kept(StrEnum):
    """Why a blob that is old enough, or would be, was not evicted."""

    RECENT = "recent"
    PINNED = "pinned"
    NO_LAYER = "no_layer"
    NOT_UPSTREAM = "not_upstream"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a run is to do: evict down to the quota, if there is one, what nobody used for the grace.

    ``quota_grace_seconds`` is the grace of what may be had again, where it is another than for the sweep.
    ``wait_seconds`` is how long what was set aside stays before it is removed. Files are swept where they
    were not for ``sweep_seconds``. ``is_forced``: also what may not be had again, and whatever the fuse says.
    """

    quota_bytes: int | None = None
    grace_seconds: float = GRACE_SECONDS
    quota_grace_seconds: float | None = None
    wait_seconds: float = WAIT_SECONDS
    sweep_seconds: float = 0.0
    is_forced: bool = False
    is_dry: bool = False


@dataclass(slots=True)
class Report:
    """What a run did, or a dry one would have done. ``waiting_bytes`` are set aside, and on the disk yet."""

    bytes_before: int
    waiting_bytes: int
    freed_bytes: int = 0
    removed_count: int = 0
    put_back_count: int = 0
    evicted: list[StoredBlob] = field(default_factory=list)
    swept: list[StoredBlob] = field(default_factory=list)
    kept: Counter[Kept] = field(default_factory=Counter)
    fuse: str | None = None  # why nothing was swept
    over_bytes: int = 0  # above the quota, once what waits is gone

    @property
    def bytes_after(self) -> int:
        return self.bytes_before - self.freed_bytes
