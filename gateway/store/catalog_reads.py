"""The catalog's queries, as functions of a connection."""

import json

from sqlalchemy import Connection, Exists, Row, exists, select

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest
from gateway.oci.target import Target
from gateway.store.rows import HeldRow, TagRow
from gateway.store.tables import blobs, manifest_edges, manifests, repositories, rights, tags


def find_tag(connection: Connection, target: Target, variant: str, tag: str) -> TagRow | None:
    row = connection.execute(
        select(tags).where(tags.c.target == str(target), tags.c.variant == variant, tags.c.tag == tag)
    ).first()
    return None if row is None else _tag_row(row)


def find_versions(connection: Connection, target: Target, variant: str) -> list[TagRow]:
    rows = connection.execute(
        select(tags)
        .where(tags.c.target == str(target), tags.c.variant == variant)
        .order_by(tags.c.kept_at.desc())
    )
    return [_tag_row(row) for row in rows]


def find_manifest(connection: Connection, target: Target, digest: Digest) -> Manifest | None:
    row = connection.execute(
        select(manifests.c.content, manifests.c.media_type).where(
            manifests.c.digest == str(digest), _right_exists(target, digest)
        )
    ).first()
    return None if row is None else Manifest(row.content, row.media_type, digest)


def find_blob_size(connection: Connection, target: Target, digest: Digest) -> int | None:
    size_bytes: int | None = connection.execute(
        select(blobs.c.size_bytes).where(blobs.c.digest == str(digest), _right_exists(target, digest))
    ).scalar()
    return size_bytes


def _right_exists(target: Target, digest: Digest) -> Exists:
    return exists().where(rights.c.target == str(target), rights.c.digest == str(digest))


def find_edge(connection: Connection, target: Target, digest: Digest) -> Descriptor | None:
    row = connection.execute(
        select(manifest_edges)
        .join(rights, rights.c.digest == manifest_edges.c.manifest)
        .where(manifest_edges.c.digest == str(digest), rights.c.target == str(target))
        .limit(1)
    ).first()
    return None if row is None else Descriptor(row.media_type, digest, row.size_bytes)


def find_tags_naming(connection: Connection, target: Target, digest: Digest) -> list[TagRow]:
    naming = select(manifest_edges.c.manifest).where(manifest_edges.c.digest == str(digest))
    rows = connection.execute(
        select(tags).where(
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


def tags_of(connection: Connection, target: Target) -> set[str]:
    return set(connection.execute(select(tags.c.version).where(tags.c.target == str(target))).scalars())


def names(connection: Connection) -> list[tuple[str, Target]]:
    rows = connection.execute(
        select(repositories.c.name, repositories.c.target)
        .where(exists().where(tags.c.target == repositories.c.target))
        .order_by(repositories.c.name)
    )
    return [(row.name, Target.parse(row.target)) for row in rows]


def held(connection: Connection) -> list[HeldRow]:
    sizes: dict[str, int] = {}
    for edge in connection.execute(select(manifest_edges.c.manifest, manifest_edges.c.size_bytes)):
        sizes[edge.manifest] = sizes.get(edge.manifest, 0) + edge.size_bytes
    rows = connection.execute(
        select(tags, repositories.c.name)
        .join(repositories, repositories.c.target == tags.c.target)
        .order_by(repositories.c.name, tags.c.tag)
    )
    return [HeldRow(row.name, _tag_row(row), sizes.get(row.digest, 0)) for row in rows]


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


def _digest(text: str | None) -> Digest | None:
    return None if text is None else Digest.parse(text)
