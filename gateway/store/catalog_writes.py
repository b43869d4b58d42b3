"""The catalog's commands, as functions of a connection in a transaction.

Each returns whether it changed what a memory cache may hold.
"""

import json

from sqlalchemy import ColumnElement, Connection, delete, exists, insert, select, update

from gateway.oci.digest import Digest
from gateway.oci.target import Target
from gateway.store.rows import KeptManifest, KnownRegistry, Right, RightKey, TagRow
from gateway.store.tables import (
    blobs,
    manifest_edges,
    manifests,
    registries,
    repositories,
    retentions,
    rights,
    tags,
)
from gateway.store.upsert import Value, insert_once, insert_or_update


def keep(connection: Connection, name: str, row: TagRow, kept: KeptManifest, replaces: Digest | None) -> bool:
    keep_untagged(connection, row, kept)
    return keep_tag(connection, name, row, replaces)


def keep_untagged(connection: Connection, row: TagRow, kept: KeptManifest) -> bool:
    for digest, size_bytes in sorted(kept.sizes.items(), key=str):  # one order for all: nobody deadlocks
        _keep_size(connection, digest, size_bytes, row.kept_at)
    keep_manifest(connection, kept, row.kept_at)
    for digest in sorted({*kept.sizes, kept.manifest.digest}, key=str):
        _keep_right(connection, row.target, row.variant, digest, row.source)
    return False


def keep_named_blob(connection: Connection, key: RightKey, right: Right, kept_at: float) -> bool:
    target, _, digest = key
    naming = exists().where(
        manifest_edges.c.digest == str(digest),
        rights.c.digest == manifest_edges.c.manifest,
        rights.c.target == str(target),
    )
    if not connection.execute(select(naming)).scalar():
        return False
    return keep_blob(connection, key, right, kept_at)


def keep_blob(connection: Connection, key: RightKey, right: Right, kept_at: float) -> bool:
    target, variant, digest = key
    _keep_size(connection, digest, right.size_bytes, kept_at)
    _keep_right(connection, target, variant, digest, right.source)
    return False


def _keep_size(connection: Connection, digest: Digest, size_bytes: int, kept_at: float) -> None:
    insert_once(connection, blobs, {"digest": str(digest), "size_bytes": size_bytes, "kept_at": kept_at})


def _keep_right(connection: Connection, target: Target, variant: str, digest: Digest, source: str) -> None:
    """The source that gave it last stands there: the likeliest to have it still."""
    values = {"target": str(target), "variant": variant, "digest": str(digest), "source": source}
    insert_or_update(connection, rights, values)


def keep_manifest(connection: Connection, kept: KeptManifest, kept_at: float) -> None:
    """Once; but where the disk has changed what is there, it is replaced."""
    digest, values = str(kept.manifest.digest), manifest_values(kept, kept_at)
    if not insert_once(connection, manifests, values):
        is_damaged = (manifests.c.digest == digest) & (manifests.c.content != kept.manifest.content)
        if not connection.execute(update(manifests).where(is_damaged).values(**values)).rowcount:
            return
        connection.execute(delete(manifest_edges).where(manifest_edges.c.manifest == digest))
    if kept.parsed.edges:
        connection.execute(insert(manifest_edges), edge_values(kept))


def manifest_values(kept: KeptManifest, kept_at: float) -> dict[str, Value | bytes]:
    parsed = kept.parsed
    return {
        "digest": str(kept.manifest.digest),
        "media_type": kept.manifest.media_type,
        "content": kept.manifest.content,
        "artifact_type": parsed.artifact_type,
        "subject": None if parsed.subject is None else str(parsed.subject.digest),
        "annotations": json.dumps(dict(parsed.annotations)),
        "kept_at": kept_at,
    }


def edge_values(kept: KeptManifest) -> list[dict[str, Value | bytes]]:
    return [
        {
            "manifest": str(kept.manifest.digest),
            "position": position,
            "kind": edge.kind.value,
            "digest": str(edge.descriptor.digest),
            "media_type": edge.descriptor.media_type,
            "size_bytes": edge.descriptor.size,
        }
        for position, edge in enumerate(kept.parsed.edges)
    ]


def keep_tag(connection: Connection, name: str, row: TagRow, replaces: Digest | None) -> bool:
    """Keep a tag of a source: a new one, one with the same content as before, or in place of ``replaces``.

    Where somebody was quicker with other content that stays, and only what was seen upstream is noted.
    """
    note_name(connection, name, row.target, row.kept_at)
    if insert_once(connection, tags, tag_values(row)):
        return _has_others(connection, row)
    before = connection.execute(
        select(tags.c.digest, tags.c.confirmed_at).where(*_is_tag(row)).with_for_update()
    ).one()
    confirmed_at = max(before.confirmed_at, row.confirmed_at)
    if before.digest == str(row.digest):
        _update_tag(
            connection,
            row,
            version=row.version,
            upstream_digest=_text(row.upstream_digest),
            seen_digest=_text(row.seen_digest),
            origin=row.origin,
            confirmed_at=confirmed_at,
        )
        return False
    if before.digest == _text(replaces):
        _update_tag(connection, row, **tag_values(row))
    else:
        _update_tag(connection, row, seen_digest=_text(row.upstream_digest), confirmed_at=confirmed_at)
    return True


def tag_values(row: TagRow) -> dict[str, Value]:
    return {
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


def _has_others(connection: Connection, row: TagRow) -> bool:
    """Whether another source has the tag: a memory may hold that one's row, and this one comes before it."""
    others = exists().where(*_has_tag(row.target, row.variant, row.tag), tags.c.source != row.source)
    return bool(connection.execute(select(others)).scalar())


def _update_tag(connection: Connection, row: TagRow, **values: Value) -> None:
    connection.execute(update(tags).where(*_is_tag(row)).values(**values))


def _is_tag(row: TagRow) -> tuple[ColumnElement[bool], ...]:
    return (*_has_tag(row.target, row.variant, row.tag), tags.c.source == row.source)


def _has_tag(target: Target, variant: str, tag: str) -> tuple[ColumnElement[bool], ...]:
    return (tags.c.target == str(target), tags.c.variant == variant, tags.c.tag == tag)


def confirm_tag(
    connection: Connection,
    row: TagRow,
    confirmed_at: float,
    seen_digest: Digest | None,
    upstream_digest: Digest | None,
) -> bool:
    values: dict[str, Value] = {"confirmed_at": confirmed_at, "seen_digest": _text(seen_digest)}
    if upstream_digest is not None:
        values["upstream_digest"] = str(upstream_digest)
    _update_tag(connection, row, **values)
    return False


def drop_tag(connection: Connection, target: Target, variant: str, tag: str) -> bool:
    """With it goes, unless another variant has the tag, that lists want it kept: they would miss it."""
    is_dropped = connection.execute(delete(tags).where(*_has_tag(target, variant, tag))).rowcount > 0
    is_left = exists().where(tags.c.target == str(target), tags.c.tag == tag)
    of_tag = (retentions.c.target == str(target)) & (retentions.c.reference == tag)
    connection.execute(delete(retentions).where(of_tag, ~is_left))
    return is_dropped


def keep_registry(connection: Connection, place: str, known: KnownRegistry) -> bool:
    values: dict[str, Value] = {
        "place": place,
        "is_registry": known.is_registry,
        "learnt_at": known.learnt_at,
    }
    insert_or_update(connection, registries, values)
    return False


def note_name(connection: Connection, name: str, target: Target, now: float) -> bool:
    insert_once(connection, repositories, {"name": name, "target": str(target), "first_pulled_at": now})
    return False


def _text(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)
