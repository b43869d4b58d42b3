"""What may be evicted, by what the catalog says of it: the queries of garbage collection."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from sqlalchemy import Connection, Select, func, select, union, union_all

from gateway.oci.digest import Digest
from gateway.oci.manifest import EdgeKind
from gateway.oci.media_types import HELM_PROVENANCE_LAYER
from gateway.oci.target import Target
from gateway.store.tables import (
    blobs,
    helm_indexes,
    manifest_edges,
    manifests,
    pins,
    repositories,
    retentions,
    rights,
    tags,
)

_MAX_NAMES = 20


class Standing(StrEnum):
    """What a blob is to the catalog."""

    UNNAMED = "unnamed"  # nothing
    LAYER = "layer"  # the layer of manifests, and nothing else: it may be had again
    NEEDED = "needed"  # a config, a manifest, a provenance file: it stays


def standings(connection: Connection, digests: Sequence[Digest]) -> Mapping[Digest, Standing]:
    """Each of some hundred digests, but for Helm indexes: see ``kept_whatever_comes``."""
    asked = [str(digest) for digest in digests]
    edges = connection.execute(
        select(manifest_edges.c.digest, manifest_edges.c.kind, manifest_edges.c.media_type)
        .where(manifest_edges.c.digest.in_(asked))
        .distinct()
    ).all()
    layers = {edge.digest for edge in edges if _is_layer(edge.kind, edge.media_type)}
    needed = {edge.digest for edge in edges if not _is_layer(edge.kind, edge.media_type)}
    named = _among(connection, select(rights.c.digest).where(rights.c.digest.in_(asked)))
    named |= _among(connection, select(blobs.c.digest).where(blobs.c.digest.in_(asked)))
    needed |= _among(connection, select(manifests.c.digest).where(manifests.c.digest.in_(asked)))
    needed |= named - layers

    def standing(digest: str) -> Standing:
        if digest in needed:
            return Standing.NEEDED
        return Standing.LAYER if digest in layers else Standing.UNNAMED

    return {digest: standing(str(digest)) for digest in digests}


def kept_whatever_comes(connection: Connection) -> frozenset[str]:
    """What no quota evicts: Helm indexes, and all that is pinned, synced or imported, to the last layer."""
    indexes = union(
        select(helm_indexes.c.digest),
        select(helm_indexes.c.normalised_digest).where(helm_indexes.c.normalised_digest.is_not(None)),
    )
    return frozenset(connection.execute(indexes).scalars()) | pinned(connection)


def pinned(connection: Connection) -> frozenset[str]:
    """The digests of what is pinned or retained, and of all that this names, through image indexes."""
    begun = _pinned().cte("begun")
    reached = select(begun.c.digest).cte("reached", recursive=True)
    named = select(manifest_edges.c.digest).join(reached, manifest_edges.c.manifest == reached.c.digest)
    return frozenset(connection.execute(select(reached.union(named).c.digest)).scalars())


def _pinned() -> Select[str]:
    """What is named to be kept: of a tag what it is now, from whichever source and in whichever variant."""
    queries: list[Select[str]] = []
    for named in (pins, retentions):
        of_tag = (named.c.target == tags.c.target) & (named.c.reference == tags.c.tag)
        queries.append(select(tags.c.digest).join(named, of_tag))
        queries.append(select(named.c.reference).where(named.c.reference.contains(":")))
    return select(union_all(*queries).subquery("named").c.digest)


def known_since(connection: Connection) -> float | None:
    """When the catalog learnt its oldest name, in seconds since the epoch; None where it knows nothing."""
    since: float | None = connection.execute(select(func.min(repositories.c.first_pulled_at))).scalar()
    return since


def names_at(connection: Connection, target: Target) -> list[str]:
    """Names by which clients came to a target; of very many some."""
    rows = connection.execute(
        select(repositories.c.name)
        .where(repositories.c.target == str(target))
        .order_by(repositories.c.first_pulled_at)
        .limit(_MAX_NAMES)
    )
    return [row.name for row in rows]


def told_of(connection: Connection, digest: Digest) -> list[str]:
    """What people call a blob: ``name:tag`` of what it belongs to, also through an image index."""
    naming = select(manifest_edges.c.manifest).where(manifest_edges.c.digest == str(digest))
    above = select(manifest_edges.c.manifest).where(manifest_edges.c.digest.in_(naming))
    rows = connection.execute(
        select(repositories.c.name, tags.c.tag)
        .join(tags, tags.c.target == repositories.c.target)
        .where(tags.c.digest.in_(union(naming, above)))
        .distinct()
        .limit(_MAX_NAMES)
    )
    return sorted(f"{row.name}:{row.tag}" for row in rows)


def _is_layer(kind: str, media_type: str) -> bool:
    return kind == EdgeKind.LAYER and media_type != HELM_PROVENANCE_LAYER


def _among(connection: Connection, query: Select[str]) -> set[str]:
    return set(connection.execute(query).scalars())
