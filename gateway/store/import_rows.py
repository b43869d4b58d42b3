"""The rows of an import: what a bundle brings, in one transaction beside what is held already."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import Final, TypeAlias, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest
from gateway.oci.target import Target
from gateway.store import private_targets
from gateway.store.catalog_writes import edge_values, keep_manifest, manifest_values, tag_values
from gateway.store.engine import Engines
from gateway.store.generation import Generation
from gateway.store.retention import IMPORT
from gateway.store.rows import KeptManifest, TagRow
from gateway.store.tables import (
    blobs,
    manifest_edges,
    manifests,
    repositories,
    retentions,
    rights,
    tag_targets,
    tags,
)
from gateway.store.upsert import Value

_ROWS: Final = 500  # at once
_MANIFESTS: Final = 20  # of 4 MiB at most

_CONFIRM: Final = (
    update(tags)
    .where(
        tags.c.target == bindparam("at"), tags.c.variant == bindparam("of"), tags.c.tag == bindparam("called")
    )
    .where(tags.c.source == bindparam("by"), tags.c.confirmed_at < bindparam("then"))
    .values(confirmed_at=bindparam("then"))
)

T = TypeVar("T")
Row: TypeAlias = Mapping[str, Value | bytes]
_Place: TypeAlias = tuple[str, str, str]  # target, variant, tag


class Fate(StrEnum):
    """What becomes of a tag that a bundle brings."""

    ADDED = "added"
    UNCHANGED = "unchanged"
    KEPT = "kept"  # another digest was held, and stays
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class ImportedTag:
    """``held`` is the other digest that is, or was, held under the tag."""

    row: TagRow
    fate: Fate
    held: Digest | None = None


@dataclass(frozen=True, slots=True, order=True)
class ImportedManifest:
    """A manifest that a target may have from now on, and the source that gave it."""

    digest: Digest
    variant: str
    source: str


@dataclass(frozen=True, slots=True)
class Holding:
    """What is brought for a target; ``manifests`` are those of its tags, too. ``names`` lead there.

    ``homes`` are names and tags that stay there, unless they stay elsewhere here.
    """

    target: Target
    names: Sequence[str]
    is_private: bool
    tags: Sequence[TagRow]
    manifests: Sequence[ImportedManifest]
    homes: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Imported:
    """``sizes`` are the blobs', ``named`` the blobs of each manifest, as far as there are any of either.

    ``read`` gives manifests that the catalog may not have; it is called again where a transaction is.
    """

    holdings: Sequence[Holding]
    sizes: Mapping[Digest, int]
    named: Mapping[Digest, Sequence[Digest]]
    new_manifests: Sequence[Digest]
    read: Callable[[Digest], KeptManifest]


class ImportBook:
    """Everything here waits: for threads. Its engines are ``DataDir.open_rule_engines``'s."""

    def __init__(self, engines: Engines, generation: Generation) -> None:
        self._engines = engines
        self._generation = generation

    def foretell(self, holdings: Sequence[Holding], *, replaces: bool) -> list[ImportedTag]:
        return self._engines.read(partial(_fates, holdings=holdings, replaces=replaces))

    def write(self, imported: Imported, now: float, *, replaces: bool) -> list[ImportedTag]:
        """All of it or nothing; every process finds out."""

        def command(connection: Connection) -> list[ImportedTag]:
            fates = _write(connection, imported, now, replaces=replaces)
            self._generation.announce(connection)
            return fates

        fates = self._engines.write(command)
        self._generation.advance()
        return fates

    def manifests(self, digests: Iterable[Digest]) -> Iterator[Manifest]:
        """Those of them that are held, undamaged."""
        for batch in _batches(digests, _MANIFESTS):
            for manifest in self._engines.read(_manifests, batch):
                if manifest.digest.is_of(manifest.content):
                    yield manifest

    def owners(self, digests: Iterable[Digest]) -> Mapping[Digest, frozenset[str]]:
        """Which targets have the right to each."""
        found: dict[Digest, frozenset[str]] = {}
        for batch in _batches(digests, _ROWS):
            found |= self._engines.read(_owners, batch)
        return found

    def private_targets(self) -> frozenset[str]:
        return self._engines.read(private_targets.names)


def _write(connection: Connection, imported: Imported, now: float, *, replaces: bool) -> list[ImportedTag]:
    """In the order that pulls have: blobs, manifests, rights, names, tags."""
    sizes = sorted(imported.sizes.items())
    _add(
        connection,
        blobs,
        ({"digest": str(digest), "size_bytes": size_bytes, "kept_at": now} for digest, size_bytes in sizes),
    )
    _write_manifests(connection, imported, now)
    _write_rights(connection, imported)
    names = sorted({(name, str(one.target)) for one in imported.holdings for name in one.names})
    _add(
        connection,
        repositories,
        ({"name": name, "target": target, "first_pulled_at": now} for name, target in names),
    )
    for holding in sorted(imported.holdings, key=lambda one: one.target):
        if holding.is_private:
            private_targets.note(connection, holding.target, now)
    fates = _fates(connection, imported.holdings, replaces=replaces)
    _write_tags(connection, fates)
    homes = sorted({(*home, str(one.target)) for one in imported.holdings for home in one.homes})
    _add(
        connection,
        tag_targets,
        ({"name": name, "tag": tag, "target": target, "found_at": now} for name, tag, target in homes),
    )
    _add(connection, retentions, _retained(imported.holdings, fates, now))
    return fates


def _write_manifests(connection: Connection, imported: Imported, now: float) -> None:
    """Those that are not held yet, and those that the disk has changed."""
    for batch in _batches(sorted(imported.new_manifests), _MANIFESTS):
        held = {one.digest: one.digest.is_of(one.content) for one in _manifests(connection, batch)}
        for digest, is_whole in held.items():
            if not is_whole:
                keep_manifest(connection, imported.read(digest), now)
        new = [imported.read(digest) for digest in batch if digest not in held]
        _add(connection, manifests, (manifest_values(one, now) for one in new))
        _add(connection, manifest_edges, (edge for one in new for edge in edge_values(one)))


def _write_rights(connection: Connection, imported: Imported) -> None:
    """Who has one already keeps it as it is: its own source is the likeliest to have it still."""
    found: dict[tuple[str, str, str], str] = {}
    for holding in imported.holdings:
        for one in holding.manifests:
            for digest in (one.digest, *imported.named.get(one.digest, ())):
                found.setdefault((str(holding.target), one.variant, str(digest)), one.source)
    rows = (
        {"target": target, "variant": variant, "digest": digest, "source": source}
        for (target, variant, digest), source in sorted(found.items())
    )
    _add(connection, rights, rows)


def _write_tags(connection: Connection, fates: Sequence[ImportedTag]) -> None:
    """What was confirmed later stays so; what is replaced goes from all sources but those that agree."""
    confirmed = [
        {
            "at": str(one.row.target),
            "of": one.row.variant,
            "called": one.row.tag,
            "by": one.row.source,
            "then": one.row.confirmed_at,
        }
        for one in fates
        if one.fate is Fate.UNCHANGED
    ]
    if confirmed:
        connection.execute(_CONFIRM, confirmed)
    replaced = [one.row for one in fates if one.fate is Fate.REPLACED]
    agreed: dict[_Place, set[str]] = {}
    for one in fates:
        agreed.setdefault(_place(one.row), set()).add(str(one.row.digest))
    for row in replaced:
        others = tags.c.digest.not_in(agreed[_place(row)])
        connection.execute(delete(tags).where(_is_at(row), others | (tags.c.source == row.source)))
    new = [one.row for one in fates if one.fate in {Fate.ADDED, Fate.REPLACED}]
    _add(connection, tags, (tag_values(row) for row in sorted(new, key=_order)))


def _retained(
    holdings: Sequence[Holding], fates: Sequence[ImportedTag], now: float
) -> Iterator[dict[str, Value | bytes]]:
    """Tags that are as the bundle has them, by name; every other manifest by its digest."""
    names = {holding.target: min(holding.names, default=str(holding.target)) for holding in holdings}
    wanted = {(fate.row.target, fate.row.tag) for fate in fates if fate.fate is not Fate.KEPT}
    by_tag = {(fate.row.target, fate.row.digest) for fate in fates if fate.fate is not Fate.KEPT}
    loose = {(holding.target, one.digest) for holding in holdings for one in holding.manifests} - by_tag
    for target, reference in sorted((*wanted, *((target, str(digest)) for target, digest in loose))):
        values = {"target": str(target), "reference": reference, "keeper": IMPORT}
        yield {**values, "name": names[target], "made_at": now}


def _fates(connection: Connection, holdings: Sequence[Holding], *, replaces: bool) -> list[ImportedTag]:
    found: list[ImportedTag] = []
    for holding in holdings:
        held = _held(connection, holding.target)
        found += (_fate(row, held.get(_place(row), ()), replaces=replaces) for row in holding.tags)
    return found


@dataclass(frozen=True, slots=True)
class _HeldTag:
    source: str
    digest: Digest
    confirmed_at: float


def _fate(row: TagRow, held: Sequence[_HeldTag], *, replaces: bool) -> ImportedTag:
    """A tag is one thing to clients, whichever source's: another source with another digest is in the way."""
    own = next((one for one in held if one.source == row.source), None)
    if own is not None and own.digest == row.digest:
        return ImportedTag(row, Fate.UNCHANGED)
    if not held or (own is None and row.digest in {one.digest for one in held}):
        return ImportedTag(row, Fate.ADDED)
    other = own or max(held, key=lambda one: one.confirmed_at)
    return ImportedTag(row, Fate.REPLACED if replaces else Fate.KEPT, other.digest)


def _held(connection: Connection, target: Target) -> Mapping[_Place, Sequence[_HeldTag]]:
    found: dict[_Place, list[_HeldTag]] = {}
    for row in connection.execute(select(tags).where(tags.c.target == str(target))):
        one = _HeldTag(row.source, Digest.parse(row.digest), row.confirmed_at)
        found.setdefault((row.target, row.variant, row.tag), []).append(one)
    return found


def _place(row: TagRow) -> _Place:
    return str(row.target), row.variant, row.tag


def _order(row: TagRow) -> tuple[str, str, str, str]:
    return (*_place(row), row.source)


def _is_at(row: TagRow) -> ColumnElement[bool]:
    return and_(tags.c.target == str(row.target), tags.c.variant == row.variant, tags.c.tag == row.tag)


def _manifests(connection: Connection, digests: Sequence[Digest]) -> list[Manifest]:
    """With the content that is there, whatever that is."""
    chosen = manifests.c.digest.in_([str(digest) for digest in digests])
    rows = connection.execute(
        select(manifests.c.digest, manifests.c.content, manifests.c.media_type).where(chosen)
    )
    return [Manifest(row.content, row.media_type, Digest.parse(row.digest)) for row in rows]


def _owners(connection: Connection, digests: Sequence[Digest]) -> Mapping[Digest, frozenset[str]]:
    chosen = rights.c.digest.in_([str(digest) for digest in digests])
    found: dict[Digest, set[str]] = {}
    for row in connection.execute(select(rights.c.digest, rights.c.target).where(chosen).distinct()):
        found.setdefault(Digest.parse(row.digest), set()).add(row.target)
    return {digest: frozenset(owners) for digest, owners in found.items()}


def _add(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    """Those whose key is not there yet."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    for batch in _batches(rows, _ROWS):
        connection.execute(insert(table).on_conflict_do_nothing(), batch)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
