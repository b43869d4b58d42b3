"""What the catalog takes and gives: its rows as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest, ParsedManifest
from gateway.oci.target import Target

RightKey: TypeAlias = tuple[Target, str, Digest]  # target, variant, content

_EDGE_BYTES: Final = 1000


@dataclass(frozen=True, slots=True)
class TagRow:
    """A tag as a source gave it. Times are seconds since the epoch.

    ``version`` is the upstream's own spelling; ``upstream_digest`` is what the source compares to see a
    change (helm: of the archive); ``seen_digest`` is the one last seen there, where that is another.
    ``is_imported``: a bundle brought the tag; it is not written with the row.
    """

    target: Target
    variant: str
    tag: str
    source: str
    digest: Digest
    version: str
    is_exact: bool
    upstream_digest: Digest | None
    seen_digest: Digest | None
    origin: str
    kept_at: float
    confirmed_at: float
    is_imported: bool = False


@dataclass(frozen=True, slots=True)
class HeldRow:
    """One line of what is held, for people."""

    name: str
    row: TagRow
    size_bytes: int


@dataclass(frozen=True, slots=True)
class KeptManifest:
    """A manifest, what it says, and the blobs of it that are held, with their sizes in bytes."""

    manifest: Manifest
    parsed: ParsedManifest
    sizes: Mapping[Digest, int]

    @property
    def size_bytes(self) -> int:
        """About what it takes of memory: its text twice, and what was made of it."""
        return 2 * len(self.manifest.content) + _EDGE_BYTES * len(self.parsed.edges)


@dataclass(frozen=True, slots=True)
class Right:
    """A blob that a target may have: its size, and the source that delivered or confirmed it."""

    size_bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class NamedBlob:
    """What a manifest says of a blob, and the source that gave the manifest."""

    descriptor: Descriptor
    manifest: Digest
    source: str


@dataclass(frozen=True, slots=True)
class TagList:
    """The versions that a source listed, in its own spelling, and when, in seconds since the epoch."""

    source: str
    names: tuple[str, ...]
    confirmed_at: float


@dataclass(frozen=True, slots=True)
class NewTagList:
    """A list that a source gave of a target, in a variant.

    ``created`` is when its tags were, as far as it says, in seconds since the epoch.
    """

    target: Target
    variant: str
    listed: TagList
    created: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KnownRegistry:
    """Whether a place turned out to be a registry, and when that was learnt, in seconds since the epoch."""

    is_registry: bool
    learnt_at: float
