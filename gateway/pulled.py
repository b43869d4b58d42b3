"""What a pull gives: content for a client, and where it came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.oci.manifest import Manifest
from gateway.oci.target import Target
from gateway.store.blobs import OpenBlob


class Cache(StrEnum):
    """Where an answer came from."""

    HIT = "hit"
    MISS = "miss"
    STALE = "stale"
    JOINED = "joined"


@dataclass(frozen=True, slots=True)
class Pulled:
    """A manifest for a client, of ``target``.

    ``source`` and ``confirmed_at`` (when upstream last stood by the tag, seconds since the epoch) are None
    for what was asked by digest: a digest needs nobody to stand by it.
    """

    manifest: Manifest
    cache: Cache
    source: str | None = None
    confirmed_at: float | None = None
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class PulledBlob:
    """A blob for a client, open for reading; the caller closes it."""

    blob: OpenBlob
    cache: Cache
    source: str


@dataclass(frozen=True, slots=True)
class Listed:
    """Tags for a client, sorted; ``source`` and ``confirmed_at`` are None where only what is held is told."""

    tags: Sequence[str]
    cache: Cache
    source: str | None = None
    confirmed_at: float | None = None
