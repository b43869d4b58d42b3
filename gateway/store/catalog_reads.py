"""The catalog's queries, as functions of a connection; names are sorted here: databases differ in it."""

import json

from sqlalchemy import Connection, Exists, Row, exists, select

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest
from gateway.oci.target import Target
from gateway.store.retention import IS_IMPORTED
from gateway.store.rows import HeldRow, KnownRegistry, NamedBlob, Right, TagRow
from gateway.store.tables import (
    blobs,
    manifest_edges,
    manifests,
    registries,
    repositories,
    rights,
    tags,
)

_MAX_OWNERS = 100
_MADE_HERE = "dependencies@%"  # variants of what is held plain too, as long as upstream has not deleted it


def find_tags(connection: Connection, target: Target, variant: str, tag: str) -> list[TagRow]:
    rows = connection.execute(
        select(tags, IS_IMPORTED)
        .where(tags.c.target == str(target), tags.c.variant == variant, tags.c.tag == tag)
        .order_by(tags.c.source)
    )
    return [_tag_row(row) for row in rows]


def find_versions(
    connection: Connection, target: Target, variant: str, version: str | None = None
) -> list[TagRow]:
    wanted = () if version is None else (tags.c.version == version,)
    rows = connection.execute(
        select(tags, IS_IMPORTED)
        .where(tags.c.target == str(target), tags.c.variant == variant, *wanted)
        .order_by(tags.c.kept_at.desc(), tags.c.tag, tags.c.source)
    )
    return [_tag_row(row) for row in rows]


def find_manifest(connection: Connection, target: Target, digest: Digest) -> Manifest | None:
    row = connection.execute(
        select(manifests.c.content, manifests.c.media_type).where(
            manifests.c.digest == str(digest), _right_exists(target, digest)
        )
    ).first()
    if row is None or not digest.is_of(row.content):  # what the disk has changed is as good as gone
        return None
    return Manifest(row.content, row.media_type, digest)


def find_right(connection: Connection, target: Target, digest: Digest) -> Right | None:
    row = connection.execute(
        select(blobs.c.size_bytes, rights.c.source)
        .join(rights, rights.c.digest == blobs.c.digest)
        .where(blobs.c.digest == str(digest), rights.c.target == str(target))
        .order_by(rights.c.variant)
    ).first()
    return None if row is None else Right(row.size_bytes, row.source)


def find_manifest_source(connection: Connection, target: Target, digest: Digest) -> str | None:
    source: str | None = connection.execute(
        select(rights.c.source)
        .join(manifests, manifests.c.digest == rights.c.digest)
        .where(rights.c.target == str(target), rights.c.digest == str(digest))
        .order_by(rights.c.variant)
    ).scalar()
    return source


def find_owners(connection: Connection, digest: Digest) -> list[Target]:
    rows = connection.execute(
        select(rights.c.target).where(rights.c.digest == str(digest)).distinct().limit(_MAX_OWNERS)
    )
    return [Target.parse(row.target) for row in rows]


def _right_exists(target: Target, digest: Digest) -> Exists:
    return exists().where(rights.c.target == str(target), rights.c.digest == str(digest))


def find_named(connection: Connection, target: Target, digest: Digest) -> list[NamedBlob]:
    rows = connection.execute(
        select(manifest_edges, rights.c.source)
        .join(rights, rights.c.digest == manifest_edges.c.manifest)
        .join(manifests, manifests.c.digest == manifest_edges.c.manifest)
        .where(manifest_edges.c.digest == str(digest), rights.c.target == str(target))
        .order_by(manifests.c.kept_at.desc(), manifests.c.digest, rights.c.variant, manifest_edges.c.position)
    )
    named: dict[str, NamedBlob] = {}
    for row in rows:
        descriptor = Descriptor(row.media_type, digest, row.size_bytes)
        named.setdefault(row.manifest, NamedBlob(descriptor, Digest.parse(row.manifest), row.source))
    return list(named.values())


def find_tags_naming(connection: Connection, target: Target, digest: Digest) -> list[TagRow]:
    naming = select(manifest_edges.c.manifest).where(manifest_edges.c.digest == str(digest))
    rows = connection.execute(
        select(tags, IS_IMPORTED).where(
            tags.c.target == str(target), (tags.c.digest == str(digest)) | tags.c.digest.in_(naming)
        )
    )
    return [_tag_row(row) for row in rows]


def find_referrers(connection: Connection, target: Target, subject: Digest) -> list[Descriptor]:
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


def versions_of(connection: Connection, target: Target) -> set[tuple[str, str]]:
    rows = connection.execute(
        select(tags.c.source, tags.c.version).where(
            tags.c.target == str(target), tags.c.variant.not_like(_MADE_HERE)
        )
    )
    return {(row.source, row.version) for row in rows}


def find_registry(connection: Connection, place: str) -> KnownRegistry | None:
    row = connection.execute(select(registries).where(registries.c.place == place)).first()
    return None if row is None else KnownRegistry(row.is_registry, row.learnt_at)


def names(connection: Connection) -> list[tuple[str, Target]]:
    rows = connection.execute(
        select(repositories.c.name, repositories.c.target).where(
            exists().where(tags.c.target == repositories.c.target)
        )
    )
    return sorted((row.name, Target.parse(row.target)) for row in rows)


def held(connection: Connection) -> list[HeldRow]:
    sizes: dict[str, int] = {}
    for edge in connection.execute(select(manifest_edges.c.manifest, manifest_edges.c.size_bytes)):
        sizes[edge.manifest] = sizes.get(edge.manifest, 0) + edge.size_bytes
    rows = connection.execute(
        select(tags, IS_IMPORTED, repositories.c.name).join(
            repositories, repositories.c.target == tags.c.target
        )
    )
    lines = (HeldRow(row.name, _tag_row(row), sizes.get(row.digest, 0)) for row in rows)
    return sorted(lines, key=lambda line: (line.name, line.row.tag, line.row.variant, line.row.source))


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
        is_imported=bool(row.is_imported),
    )


def _digest(text: str | None) -> Digest | None:
    return None if text is None else Digest.parse(text)


def holds_of(connection: Connection, host: str) -> bool:
    below = repositories.c.target.startswith(f"{host}/", autoescape=True)
    return connection.execute(select(repositories.c.target).where(below).limit(1)).first() is not None
