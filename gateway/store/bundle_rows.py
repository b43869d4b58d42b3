"""What a bundle takes from the catalog: all that targets hold, each target as it was at one moment."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select, union

from gateway.oci.digest import Digest
from gateway.oci.manifest import EdgeKind
from gateway.oci.target import Target
from gateway.store.engine import Engines
from gateway.store.tables import (
    blobs,
    manifest_edges,
    manifests,
    private_targets,
    repositories,
    rights,
    tag_targets,
    tags,
)

TARGETS_AT_ONCE = 50
MANIFESTS_AT_ONCE = 16  # each may have megabytes
_MADE_HERE = "dependencies@%"  # variants that are made anew, wherever what they are made of is held


class HeldTag(NamedTuple):
    """A tag as a bundle has it, see ``gateway.bundle``."""

    tag: str
    variant: str
    source: str
    digest: str
    version: str
    is_exact: bool
    upstream_digest: str | None
    origin: str
    kept_at: float
    confirmed_at: float


@dataclass(frozen=True, slots=True)
class Named:
    """What a manifest names."""

    kind: EdgeKind
    digest: Digest
    size_bytes: int


@dataclass(slots=True)
class HeldManifest:
    """``given_by`` are the variants and sources that the target has it by."""

    digest: Digest
    media_type: str
    size_bytes: int
    subject: Digest | None
    kept_at: float
    names: list[Named] = field(default_factory=list)
    given_by: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class HeldTarget:
    """All that is held of a target, but for what was made here of something else.

    ``blobs`` are those that it has the right to; whether they are on the disk, the disk knows. ``homes`` are
    names and tags that were found here first, where their rule gives several targets.
    """

    target: Target
    is_private: bool
    names: list[str] = field(default_factory=list)
    homes: set[tuple[str, str]] = field(default_factory=set)
    tags: list[HeldTag] = field(default_factory=list)
    manifests: dict[Digest, HeldManifest] = field(default_factory=dict)
    blobs: set[Digest] = field(default_factory=set)


class BundleRows:
    """Errors of the database are StorageFailed."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def targets(self) -> list[Target]:
        """All that hold something."""
        return await self._engines.ask(_targets)

    async def held(self, targets: Sequence[Target]) -> list[HeldTarget]:
        """Of at most TARGETS_AT_ONCE."""
        return await self._engines.ask(_held, targets)

    def contents(self, digests: Sequence[Digest]) -> Mapping[Digest, bytes]:
        """At most MANIFESTS_AT_ONCE manifests, those that are still there. It waits: for threads."""
        return self._engines.read(_contents, digests)


def _targets(connection: Connection) -> list[Target]:
    held = union(select(tags.c.target), select(rights.c.target))
    return sorted(Target.parse(target) for target in connection.execute(held).scalars())


def _contents(connection: Connection, digests: Sequence[Digest]) -> Mapping[Digest, bytes]:
    rows = connection.execute(
        select(manifests.c.digest, manifests.c.content).where(manifests.c.digest.in_(map(str, digests)))
    )
    return {Digest.parse(row.digest): row.content for row in rows}


def _held(connection: Connection, targets: Sequence[Target]) -> list[HeldTarget]:
    with _at_one_moment(connection):
        private = _private(connection, targets)
        held = {str(target): HeldTarget(target, str(target) in private) for target in targets}
        _read_names(connection, held)
        _read_tags(connection, held)
        _read_manifests(connection, held)
        _read_blobs(connection, held)
        _read_edges(connection, held)
    return list(held.values())


@contextmanager
def _at_one_moment(connection: Connection) -> Iterator[None]:
    """Readers' connections have no transaction of their own: see Engines."""
    is_sqlite = connection.dialect.name == "sqlite"
    connection.exec_driver_sql("BEGIN" if is_sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        connection.exec_driver_sql("ROLLBACK")


def _private(connection: Connection, targets: Sequence[Target]) -> set[str]:
    chosen = select(private_targets.c.target).where(private_targets.c.target.in_(map(str, targets)))
    return set(connection.execute(chosen).scalars())


def _read_names(connection: Connection, held: Mapping[str, HeldTarget]) -> None:
    for row in connection.execute(select(repositories).where(repositories.c.target.in_(held))):
        held[row.target].names.append(row.name)
    for row in connection.execute(select(tag_targets).where(tag_targets.c.target.in_(held))):
        held[row.target].homes.add((row.name, row.tag))


def _read_tags(connection: Connection, held: Mapping[str, HeldTarget]) -> None:
    columns = (tags.c[name] for name in HeldTag._fields)
    chosen = tags.c.target.in_(held) & tags.c.variant.not_like(_MADE_HERE)
    for target, *row in connection.execute(select(tags.c.target, *columns).where(chosen)):
        held[target].tags.append(HeldTag._make(row))


def _read_manifests(connection: Connection, held: Mapping[str, HeldTarget]) -> None:
    size_bytes = func.length(manifests.c.content).label("size_bytes")
    rows = connection.execute(
        select(
            rights,
            manifests.c.media_type,
            manifests.c.subject,
            manifests.c.kept_at,
            size_bytes,
        )
        .join(manifests, manifests.c.digest == rights.c.digest)
        .where(_given(held))
        .order_by(rights.c.variant)
    )
    for row in rows:
        digest, of = Digest.parse(row.digest), held[row.target].manifests
        if digest not in of:
            subject = None if row.subject is None else Digest.parse(row.subject)
            of[digest] = HeldManifest(digest, row.media_type, row.size_bytes, subject, row.kept_at)
        of[digest].given_by.append((row.variant, row.source))


def _read_blobs(connection: Connection, held: Mapping[str, HeldTarget]) -> None:
    rows = connection.execute(
        select(rights.c.target, rights.c.digest)
        .join(blobs, blobs.c.digest == rights.c.digest)
        .where(_given(held))
    )
    for row in rows:
        held[row.target].blobs.add(Digest.parse(row.digest))


def _read_edges(connection: Connection, held: Mapping[str, HeldTarget]) -> None:
    """In the order of each manifest."""
    by = select(rights.c.target, rights.c.digest).where(_given(held)).distinct().subquery("by")
    rows = connection.execute(
        select(by.c.target, manifest_edges)
        .join(by, by.c.digest == manifest_edges.c.manifest)
        .order_by(manifest_edges.c.manifest, manifest_edges.c.position)
    )
    for row in rows:
        manifest = held[row.target].manifests[Digest.parse(row.manifest)]
        manifest.names.append(Named(EdgeKind(row.kind), Digest.parse(row.digest), row.size_bytes))


def _given(held: Mapping[str, HeldTarget]) -> ColumnElement[bool]:
    return rights.c.target.in_(held) & rights.c.variant.not_like(_MADE_HERE)
