"""What we know of what we hold: manifests, tags, rights, names. Each method is one transaction."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple

from anyio import to_thread
from sqlalchemy import ColumnElement, Connection, Exists, Row, Table, exists, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import SQLAlchemyError

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest, ParsedManifest
from gateway.oci.target import Target
from gateway.store.blobs import StorageFailed
from gateway.store.engine import Engines
from gateway.store.generation import Generation
from gateway.store.tables import blobs, manifest_edges, manifests, repositories, rights, tags

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class TagRow:
    """A tag as a source gave it. Times are seconds since the epoch.

    ``version`` is the upstream's own spelling; ``upstream_digest`` is what the source compares to see a
    change (helm: of the archive); ``seen_digest`` is the one last seen there, where that is another.
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


class Catalog:
    """The catalog in a SQL database; errors of the database are StorageFailed."""

    def __init__(self, engines: Engines, generation: Generation) -> None:
        self._engines = engines
        self.generation = generation

    async def find_tag(self, target: Target, variant: str, tag: str) -> TagRow | None:
        return await self._read(_find_tag, target, variant, tag)

    async def find_versions(self, target: Target, variant: str) -> list[TagRow]:
        """Every tag held of the target, newest kept first."""
        return await self._read(_find_versions, target, variant)

    async def find_manifest(self, target: Target, digest: Digest) -> Manifest | None:
        """A manifest that the target itself has shown, in whatever variant."""
        return await self._read(_find_manifest, target, digest)

    async def has_right(self, target: Target, digest: Digest) -> bool:
        """Whether the target's own source delivered this content."""
        return await self._read(_has_right, target, digest)

    async def find_edge(self, target: Target, digest: Digest) -> Descriptor | None:
        """What a manifest of the target says about a blob that it names."""
        return await self._read(_find_edge, target, digest)

    async def find_tags_naming(self, target: Target, digest: Digest) -> list[TagRow]:
        """The tags whose manifest is this one, or names this blob."""
        return await self._read(_find_tags_naming, target, digest)

    async def find_referrers(self, target: Target, subject: Digest) -> list[Descriptor]:
        return await self._read(_find_referrers, target, subject)

    async def tags_of(self, target: Target) -> set[str]:
        """The versions held, as upstream spells them."""
        return await self._read(_tags_of, target)

    async def names(self) -> list[tuple[str, Target]]:
        """The names clients asked for, with the target each had, where something is held."""
        return await self._read(_names)

    async def held(self) -> list[HeldRow]:
        return await self._read(_held)

    async def keep(self, name: str, row: TagRow, kept: KeptManifest) -> None:
        """Keep a pull whole: blobs, manifest, edges, rights, the name asked for, and the tag last."""
        await self._write(_keep, name, row, kept)

    async def keep_tag(self, name: str, row: TagRow) -> None:
        """Keep another tag of a manifest that is held already."""
        await self._write(_keep_tag, name, row)

    async def confirm_tag(self, row: TagRow, confirmed_at: float, seen_digest: Digest | None) -> None:
        """Note that upstream was asked: it still has the tag, at ``seen_digest`` where that is another."""
        await self._write(_confirm_tag, row, confirmed_at, seen_digest)

    async def note_name(self, name: str, target: Target, now: float) -> None:
        await self._write(_note_name, name, target, now)

    async def _read(self, query: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        return await to_thread.run_sync(self._run_read, query, *arguments)

    async def _write(self, command: Callable[[Connection, *Ts], bool], *arguments: *Ts) -> None:
        await to_thread.run_sync(self._run_write, command, *arguments)

    def _run_read(self, query: Callable[[Connection, *Ts], T], *arguments: *Ts) -> T:
        try:
            with self._engines.reader.connect() as connection:
                return query(connection, *arguments)
        except SQLAlchemyError as error:
            raise StorageFailed("the catalog cannot be read") from error

    def _run_write(self, command: Callable[[Connection, *Ts], bool], *arguments: *Ts) -> None:
        """Run a command; it says whether it changed what a memory cache may hold."""
        try:
            with self._engines.writer.begin() as connection:
                changed = command(connection, *arguments)
        except SQLAlchemyError as error:
            raise StorageFailed("the catalog cannot be written") from error
        if changed:
            self.generation.advance()


def _find_tag(connection: Connection, target: Target, variant: str, tag: str) -> TagRow | None:
    row = connection.execute(
        select(tags).where(tags.c.target == str(target), tags.c.variant == variant, tags.c.tag == tag)
    ).first()
    return None if row is None else _tag_row(row)


def _find_versions(connection: Connection, target: Target, variant: str) -> list[TagRow]:
    rows = connection.execute(
        select(tags)
        .where(tags.c.target == str(target), tags.c.variant == variant)
        .order_by(tags.c.kept_at.desc())
    )
    return [_tag_row(row) for row in rows]


def _find_manifest(connection: Connection, target: Target, digest: Digest) -> Manifest | None:
    row = connection.execute(
        select(manifests.c.content, manifests.c.media_type).where(
            manifests.c.digest == str(digest), _right_exists(target, digest)
        )
    ).first()
    return None if row is None else Manifest(row.content, row.media_type, digest)


def _has_right(connection: Connection, target: Target, digest: Digest) -> bool:
    return bool(connection.execute(select(_right_exists(target, digest))).scalar())


def _right_exists(target: Target, digest: Digest) -> Exists:
    return exists().where(rights.c.target == str(target), rights.c.digest == str(digest))


def _find_edge(connection: Connection, target: Target, digest: Digest) -> Descriptor | None:
    row = connection.execute(
        select(manifest_edges)
        .join(rights, rights.c.digest == manifest_edges.c.manifest)
        .where(manifest_edges.c.digest == str(digest), rights.c.target == str(target))
        .limit(1)
    ).first()
    return None if row is None else Descriptor(row.media_type, digest, row.size_bytes)


def _find_tags_naming(connection: Connection, target: Target, digest: Digest) -> list[TagRow]:
    naming = select(manifest_edges.c.manifest).where(manifest_edges.c.digest == str(digest))
    rows = connection.execute(
        select(tags).where(
            tags.c.target == str(target), (tags.c.digest == str(digest)) | tags.c.digest.in_(naming)
        )
    )
    return [_tag_row(row) for row in rows]


def _find_referrers(connection: Connection, target: Target, subject: Digest) -> list[Descriptor]:
    rows = connection.execute(
        select(manifests)
        .where(
            manifests.c.subject == str(subject),
            exists().where(rights.c.target == str(target), rights.c.digest == manifests.c.digest),
        )
        .order_by(manifests.c.digest)
    )
    return [
        Descriptor(
            row.media_type,
            Digest.parse(row.digest),
            len(row.content),
            json.loads(row.annotations),
            row.artifact_type,
        )
        for row in rows
    ]


def _tags_of(connection: Connection, target: Target) -> set[str]:
    return set(connection.execute(select(tags.c.version).where(tags.c.target == str(target))).scalars())


def _names(connection: Connection) -> list[tuple[str, Target]]:
    rows = connection.execute(
        select(repositories.c.name, repositories.c.target)
        .where(exists().where(tags.c.target == repositories.c.target))
        .order_by(repositories.c.name)
    )
    return [(row.name, Target.parse(row.target)) for row in rows]


def _held(connection: Connection) -> list[HeldRow]:
    sizes: dict[str, int] = {}
    for edge in connection.execute(select(manifest_edges.c.manifest, manifest_edges.c.size_bytes)):
        sizes[edge.manifest] = sizes.get(edge.manifest, 0) + edge.size_bytes
    rows = connection.execute(
        select(tags, repositories.c.name)
        .join(repositories, repositories.c.target == tags.c.target)
        .order_by(repositories.c.name, tags.c.tag)
    )
    return [HeldRow(row.name, _tag_row(row), sizes.get(row.digest, 0)) for row in rows]


def _keep(connection: Connection, name: str, row: TagRow, kept: KeptManifest) -> bool:
    for digest, size_bytes in kept.sizes.items():
        _insert_once(connection, blobs, digest=str(digest), size_bytes=size_bytes, kept_at=row.kept_at)
    _keep_manifest(connection, kept, row.kept_at)
    for digest in (*kept.sizes, kept.manifest.digest):
        _insert_once(connection, rights, target=str(row.target), variant=row.variant, digest=str(digest))
    return _keep_tag(connection, name, row)


def _keep_manifest(connection: Connection, kept: KeptManifest, kept_at: float) -> None:
    digest, parsed = str(kept.manifest.digest), kept.parsed
    if connection.execute(select(manifests.c.digest).where(manifests.c.digest == digest)).first():
        return
    connection.execute(
        insert(manifests).values(
            digest=digest,
            media_type=kept.manifest.media_type,
            content=kept.manifest.content,
            artifact_type=parsed.artifact_type,
            subject=None if parsed.subject is None else str(parsed.subject.digest),
            annotations=json.dumps(dict(parsed.annotations)),
            kept_at=kept_at,
        )
    )
    for position, edge in enumerate(parsed.edges):
        connection.execute(
            insert(manifest_edges).values(
                manifest=digest,
                position=position,
                kind=edge.kind.value,
                digest=str(edge.descriptor.digest),
                media_type=edge.descriptor.media_type,
                size_bytes=edge.descriptor.size,
            )
        )


def _keep_tag(connection: Connection, name: str, row: TagRow) -> bool:
    _note_name(connection, name, row.target, row.kept_at)
    before = connection.execute(select(tags.c.digest).where(*_is_tag(row))).scalar()
    values = {
        "digest": str(row.digest),
        "version": row.version,
        "is_exact": row.is_exact,
        "upstream_digest": _text(row.upstream_digest),
        "seen_digest": _text(row.seen_digest),
        "origin": row.origin,
        "kept_at": row.kept_at,
        "confirmed_at": row.confirmed_at,
    }
    if before is None:
        keys = {"target": str(row.target), "variant": row.variant, "tag": row.tag, "source": row.source}
        connection.execute(insert(tags).values(**keys, **values))
    else:
        connection.execute(update(tags).where(*_is_tag(row)).values(**values))
    return before not in (None, str(row.digest))


def _is_tag(row: TagRow) -> tuple[ColumnElement[bool], ...]:
    return (
        tags.c.target == str(row.target),
        tags.c.variant == row.variant,
        tags.c.tag == row.tag,
        tags.c.source == row.source,
    )


def _confirm_tag(
    connection: Connection, row: TagRow, confirmed_at: float, seen_digest: Digest | None
) -> bool:
    values = {"confirmed_at": confirmed_at, "seen_digest": _text(seen_digest)}
    connection.execute(update(tags).where(*_is_tag(row)).values(**values))
    return False


def _note_name(connection: Connection, name: str, target: Target, now: float) -> bool:
    _insert_once(connection, repositories, name=name, target=str(target), first_pulled_at=now)
    return False


def _insert_once(connection: Connection, table: Table, **values: str | float) -> None:
    connection.execute(upsert(table).values(**values).on_conflict_do_nothing())


def _tag_row(row: Row[tuple[object, ...]]) -> TagRow:
    return TagRow(
        target=Target.parse(row.target),
        variant=row.variant,
        tag=row.tag,
        source=row.source,
        digest=Digest.parse(row.digest),
        version=row.version,
        is_exact=row.is_exact,
        upstream_digest=_digest(row.upstream_digest),
        seen_digest=_digest(row.seen_digest),
        origin=row.origin,
        kept_at=row.kept_at,
        confirmed_at=row.confirmed_at,
    )


def _text(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)


def _digest(text: str | None) -> Digest | None:
    return None if text is None else Digest.parse(text)
