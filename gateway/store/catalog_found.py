"""What the desk's searches find in the catalog, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gateway.oci.digest import Digest
from gateway.oci.target import Target
from gateway.store.rows import TagRow

TagKey: TypeAlias = tuple[str, str, str]  # target, variant, tag
NameKey: TypeAlias = tuple[str, str]  # name, target


@dataclass(frozen=True, slots=True)
class RepositoryFound:
    """A name, and one target of it. ``tags`` ends at COUNTED_TAGS + 1, which means more.

    ``match`` is the tag or digest in it that was looked for, if one was.
    """

    name: str
    target: Target
    tags: int
    last_pull_at: float | None
    match: str = ""


@dataclass(frozen=True, slots=True)
class NamesFound:
    """``resume`` is after which name there may be more, also where none was found; None at the end."""

    names: Sequence[RepositoryFound]
    resume: NameKey | None


@dataclass(frozen=True, slots=True)
class TagFound:
    """A tag in one variant as its source confirmed last; ``size_bytes`` is of all its known parts."""

    row: TagRow
    size_bytes: int
    is_pinned: bool
    last_pull_at: float | None


@dataclass(frozen=True, slots=True)
class Pulls:
    """How often something was pulled, and when last, in seconds since the epoch."""

    pulls: int
    last_at: float


@dataclass(frozen=True, slots=True)
class Referring:
    """A manifest that is held and refers to another."""

    digest: Digest
    media_type: str
    artifact_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Beside:
    """What there is of a manifest beside itself, at most 50 of each; ``named`` are tags and what they are.

    ``pinned`` are the references by which it is pinned, ``size_bytes`` is of all its parts.
    """

    tags: Sequence[str]
    referring: Sequence[Referring]
    named: Mapping[str, Digest]
    pinned: frozenset[str]
    pulls: Pulls | None
    size_bytes: int
