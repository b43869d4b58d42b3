"""Tags of a repository, a page at a time, and all that there is beside one manifest."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, func, literal, select, tuple_

from gateway.oci.digest import Digest
from gateway.oci.manifest import EdgeKind
from gateway.oci.target import Target
from gateway.store.admin_tables import recent_pulls
from gateway.store.catalog_found import Beside, Pulls, Referring, TagFound, TagKey
from gateway.store.catalog_reads import find_tags
from gateway.store.rows import TagRow
from gateway.store.tables import manifest_edges, manifests, pins, rights, tags

_BESIDE: Final = 50


def tag_keys(
    connection: Connection, targets: Sequence[Target], text: str, after: TagKey | None, limit: int
) -> list[TagKey]:
    key = (tags.c.target, tags.c.variant, tags.c.tag)
    chosen = select(*key).where(tags.c.target.in_([str(target) for target in targets]))
    if text:
        chosen = chosen.where(tags.c.tag.contains(text, autoescape=True))
    if after is not None:
        chosen = chosen.where(tuple_(*key) > tuple_(*map(literal, after)))
    rows = connection.execute(chosen.distinct().order_by(*key).limit(limit))
    return [(row.target, row.variant, row.tag) for row in rows]


def of_keys(connection: Connection, keys: Sequence[TagKey]) -> list[TagFound]:
    rows = [row for key in keys if (row := _confirmed_last(connection, key)) is not None]
    digests = {str(row.digest) for row in rows}
    targets = {str(row.target) for row in rows}
    sizes = _sizes(connection, digests)
    pinned = _pins(connection, targets, digests | {row.tag for row in rows})
    pulls = _pulls_at(connection, targets, {row.tag for row in rows})
    return [
        TagFound(
            row,
            sizes.get(str(row.digest), 0),
            not pinned.isdisjoint({(str(row.target), row.tag), (str(row.target), str(row.digest))}),
            pulled.last_at if (pulled := pulls.get((str(row.target), row.tag))) else None,
        )
        for row in rows
    ]


def rows_of(connection: Connection, target: Target, tag: str) -> list[TagRow]:
    variants = connection.execute(
        select(tags.c.variant).where(tags.c.target == str(target), tags.c.tag == tag).distinct()
    )
    return [
        row for variant in sorted(variants.scalars()) for row in find_tags(connection, target, variant, tag)
    ]


def among_held(connection: Connection, target: Target, digests: Sequence[Digest]) -> frozenset[str]:
    rows = connection.execute(
        select(manifests.c.digest)
        .join(rights, rights.c.digest == manifests.c.digest)
        .where(rights.c.target == str(target), manifests.c.digest.in_([str(digest) for digest in digests]))
    )
    return frozenset(rows.scalars())


def beside(
    connection: Connection, target: Target, digest: Digest, reference: str, named: Sequence[str]
) -> Beside:
    own = connection.execute(
        select(tags.c.tag)
        .where(tags.c.digest == str(digest), tags.c.target == str(target))
        .distinct()
        .order_by(tags.c.tag)
        .limit(_BESIDE)
    )
    aliases = list(own.scalars())
    pins_of = _pins(connection, {str(target)}, {*aliases, str(digest), reference})
    return Beside(
        aliases,
        _referring(connection, target, digest),
        _named(connection, target, named),
        frozenset(one for _, one in pins_of),
        _pulls_at(connection, {str(target)}, {reference}).get((str(target), reference)),
        _sizes(connection, {str(digest)}).get(str(digest), 0),
    )


def _confirmed_last(connection: Connection, key: TagKey) -> TagRow | None:
    target, variant, tag = key
    rows = find_tags(connection, Target.parse(target), variant, tag)
    return max(rows, key=lambda row: row.confirmed_at, default=None)


def _sizes(connection: Connection, digests: Collection[str]) -> Mapping[str, int]:
    """Of all that manifests name, in bytes; of an image index through the manifests that are held."""
    below = manifest_edges.alias("below")
    own = (
        select(manifest_edges.c.manifest, func.sum(manifest_edges.c.size_bytes).label("size_bytes"))
        .where(manifest_edges.c.manifest.in_(digests))
        .group_by(manifest_edges.c.manifest)
    )
    of_manifests = (
        select(manifest_edges.c.manifest, func.sum(below.c.size_bytes).label("size_bytes"))
        .join(below, below.c.manifest == manifest_edges.c.digest)
        .where(manifest_edges.c.manifest.in_(digests), manifest_edges.c.kind == EdgeKind.MANIFEST)
        .group_by(manifest_edges.c.manifest)
    )
    sizes: dict[str, int] = {}
    for row in (*connection.execute(own), *connection.execute(of_manifests)):
        sizes[row.manifest] = sizes.get(row.manifest, 0) + int(row.size_bytes)
    return sizes


def _pins(
    connection: Connection, targets: Collection[str], references: Collection[str]
) -> set[tuple[str, str]]:
    rows = connection.execute(
        select(pins.c.target, pins.c.reference).where(
            pins.c.target.in_(targets), pins.c.reference.in_(references)
        )
    )
    return {(row.target, row.reference) for row in rows}


def _pulls_at(
    connection: Connection, targets: Collection[str], references: Collection[str]
) -> Mapping[tuple[str, str], Pulls]:
    rows = connection.execute(
        select(
            recent_pulls.c.target,
            recent_pulls.c.reference,
            func.sum(recent_pulls.c.pulls).label("pulls"),
            func.max(recent_pulls.c.last_at).label("last_at"),
        )
        .where(recent_pulls.c.target.in_(targets), recent_pulls.c.reference.in_(references))
        .group_by(recent_pulls.c.target, recent_pulls.c.reference)
    )
    return {(row.target, row.reference): Pulls(int(row.pulls), row.last_at) for row in rows}


def _referring(connection: Connection, target: Target, subject: Digest) -> list[Referring]:
    rows = connection.execute(
        select(
            manifests.c.digest,
            manifests.c.media_type,
            manifests.c.artifact_type,
            func.length(manifests.c.content).label("size_bytes"),
        )
        .join(rights, rights.c.digest == manifests.c.digest)
        .where(manifests.c.subject == str(subject), rights.c.target == str(target))
        .distinct()
        .order_by(manifests.c.digest)
        .limit(_BESIDE)
    )
    return [
        Referring(Digest.parse(row.digest), row.media_type, row.artifact_type or "", row.size_bytes)
        for row in rows
    ]


def _named(connection: Connection, target: Target, named: Sequence[str]) -> Mapping[str, Digest]:
    rows = connection.execute(
        select(tags.c.tag, tags.c.digest).where(tags.c.target == str(target), tags.c.tag.in_(named))
    )
    return {row.tag: Digest.parse(row.digest) for row in rows}
