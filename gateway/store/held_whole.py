"""Which exact versions are held with all their parts, read out of the catalog and the disk many at a time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from sqlalchemy import Connection, select

from gateway.oci.digest import Digest
from gateway.oci.manifest import EdgeKind
from gateway.oci.target import Target
from gateway.store.disk import on_disk
from gateway.store.engine import Engines
from gateway.store.tables import manifest_edges, rights, tags
from gateway.store.unwritten import Unwritten

_AT_ONCE: Final = 50  # targets in one statement
_NO_SIZE: Final = -1


@dataclass(frozen=True, slots=True, order=True)
class ExactTag:
    """A tag that names one version for good, at a target, in a variant, as a source gave it."""

    target: Target
    variant: str
    tag: str
    source: str


class _Part(NamedTuple):
    """A part of what a tag names."""

    of: ExactTag
    manifest: str
    digest: str
    size_bytes: int


class HeldWhole:
    """``size_of`` gives the size of a blob's file, None where there is none; for threads, raises OSError."""

    def __init__(self, rows: Engines | Unwritten, size_of: Callable[[Digest], int | None]) -> None:
        self._rows = rows
        self._size_of = size_of

    async def of(self, targets: Iterable[Target]) -> Mapping[ExactTag, Digest]:
        """Those held whole of these targets, with their manifests; of what has manifests below it none.

        Raise StorageFailed.
        """
        texts = iter(sorted({str(target) for target in targets}))
        found: dict[ExactTag, Digest] = {}
        while batch := list(islice(texts, _AT_ONCE)):
            parts = await self._rows.ask(_parts, batch)
            found |= await on_disk(self._all_there, parts)
        return found

    def _all_there(self, parts: Sequence[_Part]) -> dict[ExactTag, Digest]:
        sizes = {digest: self._size_of(Digest.parse(digest)) for digest in {part.digest for part in parts}}
        broken = {part.of for part in parts if sizes[part.digest] != part.size_bytes}
        return {part.of: Digest.parse(part.manifest) for part in parts if part.of not in broken}


def _parts(connection: Connection, targets: Sequence[str]) -> list[_Part]:
    """Each part of each tag; what the target has no right to is as wrong as what is no blob: of no size."""
    of_targets = rights.c.target.in_(targets)
    allowed = {
        (row.target, row.digest)
        for row in connection.execute(select(rights.c.target, rights.c.digest).where(of_targets))
    }
    columns = (tags.c.target, tags.c.variant, tags.c.tag, tags.c.source)
    edge = (
        manifest_edges.c.manifest,
        manifest_edges.c.digest,
        manifest_edges.c.kind,
        manifest_edges.c.size_bytes,
    )
    rows = connection.execute(
        select(*columns, *edge)
        .join(manifest_edges, manifest_edges.c.manifest == tags.c.digest)
        .where(tags.c.target.in_(targets), tags.c.is_exact)
    )
    parsed = {text: Target.parse(text) for text in targets}
    found = []
    for row in rows:
        one = ExactTag(parsed[row.target], row.variant, row.tag, row.source)
        is_blob = (row.target, row.digest) in allowed and row.kind != EdgeKind.MANIFEST
        found.append(_Part(one, row.manifest, row.digest, row.size_bytes if is_blob else _NO_SIZE))
    return found
