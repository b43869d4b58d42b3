"""The catalog's commands, as functions of a connection in a transaction.

Each returns whether it changed what a memory cache may hold.
"""

import json

from sqlalchemy import ColumnElement, Connection, Table, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from gateway.oci.digest import Digest
from gateway.oci.target import Target
from gateway.store.rows import KeptManifest, TagRow
from gateway.store.tables import blobs, manifest_edges, manifests, repositories, rights, tags


def keep(connection: Connection, name: str, row: TagRow, kept: KeptManifest) -> bool:
    keep_untagged(connection, row, kept)
    return keep_tag(connection, name, row)


def keep_untagged(connection: Connection, row: TagRow, kept: KeptManifest) -> bool:
    for digest, size_bytes in kept.sizes.items():
        _insert_once(connection, blobs, digest=str(digest), size_bytes=size_bytes, kept_at=row.kept_at)
    _keep_manifest(connection, kept, row.kept_at)
    for digest in (*kept.sizes, kept.manifest.digest):
        _insert_once(connection, rights, target=str(row.target), variant=row.variant, digest=str(digest))
    return False


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


def keep_tag(connection: Connection, name: str, row: TagRow) -> bool:
    """Keep a tag where there is none; one that is held stays, and only notes what was seen upstream."""
    note_name(connection, name, row.target, row.kept_at)
    before: str | None = connection.execute(select(tags.c.digest).where(*_is_tag(row))).scalar()
    if before is not None:
        has_drifted = before != str(row.digest)
        if has_drifted:
            confirm_tag(connection, row, row.confirmed_at, row.upstream_digest)
        return has_drifted
    values = {
        "target": str(row.target),
        "variant": row.variant,
        "tag": row.tag,
        "source": row.source,
        "digest": str(row.digest),
        "version": row.version,
        "is_exact": row.is_exact,
        "upstream_digest": _text(row.upstream_digest),
        "seen_digest": _text(row.seen_digest),
        "origin": row.origin,
        "kept_at": row.kept_at,
        "confirmed_at": row.confirmed_at,
    }
    connection.execute(insert(tags).values(**values))
    return False


def _is_tag(row: TagRow) -> tuple[ColumnElement[bool], ...]:
    return (
        tags.c.target == str(row.target),
        tags.c.variant == row.variant,
        tags.c.tag == row.tag,
        tags.c.source == row.source,
    )


def confirm_tag(connection: Connection, row: TagRow, confirmed_at: float, seen_digest: Digest | None) -> bool:
    values = {"confirmed_at": confirmed_at, "seen_digest": _text(seen_digest)}
    connection.execute(update(tags).where(*_is_tag(row)).values(**values))
    return False


def note_name(connection: Connection, name: str, target: Target, now: float) -> bool:
    _insert_once(connection, repositories, name=name, target=str(target), first_pulled_at=now)
    return False


def _insert_once(connection: Connection, table: Table, **values: str | float) -> None:
    connection.execute(upsert(table).values(**values).on_conflict_do_nothing())


def _text(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)
