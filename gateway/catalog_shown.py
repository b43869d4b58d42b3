"""What the desk's catalog shows, as values; times are seconds since the epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.oci.digest import Digest
from gateway.oci.manifest import EdgeKind, Manifest
from gateway.oci.target import Target
from gateway.store.catalog_found import Pulls, RepositoryFound


class ArtifactKind(StrEnum):
    """What an artifact is to the people who look at it."""

    CHART = "chart"
    IMAGE = "image"
    IMAGE_INDEX = "image index"
    OTHER = "artifact"


@dataclass(frozen=True, slots=True)
class RepositoryPage:
    """Names found; ``next`` leads on, also where a page found nothing among those it looked at."""

    repositories: Sequence[RepositoryFound]
    next: str | None


@dataclass(frozen=True, slots=True)
class TagShown:
    """A tag of a target in one variant, as the source that confirmed it last gave it."""

    tag: str
    target: Target
    variant: str
    digest: Digest
    seen_digest: Digest | None
    source: str
    version: str
    kept_at: float
    confirmed_at: float
    size_bytes: int
    is_pinned: bool
    last_pull_at: float | None


@dataclass(frozen=True, slots=True)
class RepositoryDetail:
    """A name with a page of what is held of it; ``is_newest_first`` is not so of very many tags."""

    name: str
    targets: Sequence[Target]
    tags: Sequence[TagShown]
    next: str | None
    is_newest_first: bool


@dataclass(frozen=True, slots=True)
class PartShown:
    """What a manifest names: its config, a layer, or a manifest of one platform."""

    kind: EdgeKind
    media_type: str
    digest: Digest
    size_bytes: int
    title: str
    platform: str
    is_held: bool


@dataclass(frozen=True, slots=True)
class OriginShown:
    """How one source gave a tag; ``seen_digest`` is what upstream has by now, where that is another."""

    source: str
    origin: str
    version: str
    digest: Digest
    upstream_digest: Digest | None
    seen_digest: Digest | None
    kept_at: float
    confirmed_at: float


@dataclass(frozen=True, slots=True)
class AttachedShown:
    """What says something about an artifact: ``kind`` in words, ``how`` it is attached to it."""

    kind: str
    how: str
    digest: Digest
    reference: str
    size_bytes: int | None = None

    @property
    def is_signature(self) -> bool:
        return "signature" in self.kind or "provenance" in self.kind


@dataclass(frozen=True, slots=True)
class ArtifactDetail:
    """A manifest that is held of a name, by a tag or a digest, and all there is beside it.

    ``parts`` are the first 100 of ``part_count``; ``variants`` those in which the target has this tag.
    ``size_bytes`` is of all parts, as far as they are known; ``held_bytes`` of those shown that are here.
    """

    name: str
    reference: str
    target: Target
    targets: Sequence[Target]
    variant: str
    variants: Sequence[str]
    manifest: Manifest
    kind: ArtifactKind
    artifact_type: str
    annotations: Mapping[str, str]
    parts: Sequence[PartShown]
    part_count: int
    size_bytes: int
    held_bytes: int
    tags: Sequence[str]
    origins: Sequence[OriginShown]
    attached: Sequence[AttachedShown]
    pinned: frozenset[str]
    pulls: Pulls | None
    chart_layer: Digest | None

    @property
    def config(self) -> PartShown | None:
        return next((part for part in self.parts if part.kind is EdgeKind.CONFIG), None)

    @property
    def seen_digest(self) -> Digest | None:
        """What upstream has by now, where that is something else."""
        return next((one.seen_digest for one in self.origins if one.seen_digest is not None), None)
