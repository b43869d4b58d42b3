"""What the admin's desk looks for in the catalog, quick in a million rows.

Pages go by keys: what was last seen is where the next one begins. What could be counted for ever is counted
up to a bound.
"""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, select, tuple_

from gateway.oci.digest import Digest
from gateway.oci.manifest import EdgeKind
from gateway.oci.target import Target
from gateway.store import tag_search
from gateway.store.admin_tables import recent_pulls
from gateway.store.catalog_found import Beside, NameKey, NamesFound, RepositoryFound, TagFound, TagKey
from gateway.store.engine import Engines
from gateway.store.rows import TagRow
from gateway.store.tables import manifest_edges, manifests, repositories, rights, tags

COUNTED_TAGS: Final = 1_000
WINDOW: Final = 200_000  # names that one page looks at
HAVING: Final = 500  # names that contain a text, of which one page looks whether they have a tag
FOUND_BY_DIGEST: Final = 200
_AFTER_HEX: Final = "g"  # no digest has it, and all of its digits come before
_TAGGED_VARIANTS: Final = ("plain", "provenance")  # others are made of these
_NO_MATCHES: Final[Mapping[NameKey, str]] = MappingProxyType({})


class CatalogSearch:
    """Reads for the desk; errors of the database are StorageFailed."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def names_with(self, text: str, after: NameKey | None, limit: int) -> NamesFound:
        """Names that contain a text, among the next 200,000, in the database's order."""
        return await self._engines.ask(_names_with, text, after, limit)

    async def names_with_tag(self, text: str, tag: str, after: NameKey | None, limit: int) -> NamesFound:
        """Those that have a tag, among the next 500 names that contain a text."""
        return await self._engines.ask(_names_with_tag, text, tag, after, limit)

    async def names_by_digest(self, beginning: str, after: NameKey | None, limit: int) -> NamesFound:
        """Names that hold a manifest whose digest begins so, or one that names such a blob: some of many."""
        return await self._engines.ask(_names_by_digest, beginning, after, limit)

    async def targets_of(self, name: str) -> list[Target]:
        return await self._engines.ask(_targets_of, name)

    async def tag_keys(
        self, targets: Sequence[Target], text: str, after: TagKey | None, limit: int
    ) -> list[TagKey]:
        """Tags that contain a text, by target, variant and tag, in the database's order."""
        return await self._engines.ask(tag_search.tag_keys, targets, text, after, limit)

    async def tags(self, keys: Sequence[TagKey]) -> list[TagFound]:
        """Some hundred tags, in the order they are asked for; those that are gone meanwhile are left out."""
        return await self._engines.ask(tag_search.of_keys, keys)

    async def rows_of(self, target: Target, tag: str) -> list[TagRow]:
        """A tag in all variants, from all sources."""
        return await self._engines.ask(tag_search.rows_of, target, tag)

    async def among_held(self, target: Target, digests: Sequence[Digest]) -> frozenset[str]:
        """Which of some hundred manifests the target holds."""
        return await self._engines.ask(tag_search.among_held, target, digests)

    async def beside(self, target: Target, digest: Digest, reference: str, named: Sequence[str]) -> Beside:
        """Of a manifest that was asked for by ``reference``; ``named`` are tags that might be there."""
        return await self._engines.ask(tag_search.beside, target, digest, reference, named)


def _names_with(connection: Connection, text: str, after: NameKey | None, limit: int) -> NamesFound:
    keys, resume = _name_keys(connection, text, after, limit)
    return NamesFound(_described(connection, keys), resume)


def _names_with_tag(
    connection: Connection, text: str, tag: str, after: NameKey | None, limit: int
) -> NamesFound:
    keys, resume = _name_keys(connection, text, after, HAVING)
    have = _targets_with_tag(connection, [target for _, target in keys], tag)
    chosen = [key for key in keys if key[1] in have]
    if len(chosen) > limit:
        resume = chosen[limit - 1]
    return NamesFound(_described(connection, chosen[:limit], dict.fromkeys(chosen, tag)), resume)


def _targets_with_tag(connection: Connection, targets: Sequence[str], tag: str) -> set[str]:
    chosen = select(tags.c.target).where(
        tags.c.target.in_(targets), tags.c.variant.in_(_TAGGED_VARIANTS), tags.c.tag == tag
    )
    return set(connection.execute(chosen).scalars())


def _name_keys(
    connection: Connection, text: str, after: NameKey | None, limit: int
) -> tuple[list[NameKey], NameKey | None]:
    """The next names with a text, and the key after which there may be more."""
    key = tuple_(repositories.c.name, repositories.c.target)
    ordered = select(repositories.c.name, repositories.c.target).order_by(*key.clauses)
    if after is not None:
        ordered = ordered.where(key > tuple_(*map(literal, after)))
    end = connection.execute(ordered.limit(1).offset(WINDOW - 1)).first() if text else None
    if text:
        ordered = ordered.where(repositories.c.name.contains(text, autoescape=True))
    if end is not None:
        ordered = ordered.where(key <= tuple_(*map(literal, end)))
    keys = [(row.name, row.target) for row in connection.execute(ordered.limit(limit + 1))]
    if len(keys) > limit:
        return keys[:limit], keys[limit - 1]
    return keys, None if end is None else (end.name, end.target)


def _described(
    connection: Connection, keys: Sequence[NameKey], matches: Mapping[NameKey, str] = _NO_MATCHES
) -> list[RepositoryFound]:
    counts = {target: _count_tags(connection, target) for target in {target for _, target in keys}}
    last = _last_pulls(connection, {name for name, _ in keys})
    return [
        RepositoryFound(
            name,
            Target.parse(target),
            counts[target],
            last.get((name, target)),
            matches.get((name, target), ""),
        )
        for name, target in keys
    ]


def _count_tags(connection: Connection, target: str) -> int:
    some = select(tags.c.tag).where(tags.c.target == target).distinct().limit(COUNTED_TAGS + 1)
    return connection.execute(select(func.count()).select_from(some.subquery())).scalar_one()


def _last_pulls(connection: Connection, names: Collection[str]) -> Mapping[NameKey, float]:
    rows = connection.execute(
        select(recent_pulls.c.name, recent_pulls.c.target, func.max(recent_pulls.c.last_at).label("last_at"))
        .where(recent_pulls.c.name.in_(names))
        .group_by(recent_pulls.c.name, recent_pulls.c.target)
    )
    return {(row.name, row.target): row.last_at for row in rows}


def _names_by_digest(connection: Connection, beginning: str, after: NameKey | None, limit: int) -> NamesFound:
    named = select(manifest_edges.c.manifest).where(
        _begins(manifest_edges.c.digest, beginning), manifest_edges.c.kind != EdgeKind.MANIFEST
    )
    itself = select(manifests.c.digest).where(_begins(manifests.c.digest, beginning))
    found: dict[NameKey, str] = {}
    for candidates in (itself, named):
        for row in connection.execute(_holding(candidates.limit(FOUND_BY_DIGEST))):
            found.setdefault((row.name, row.target), row.digest)
    keys = [key for key in sorted(found) if after is None or key > after]
    resume = keys[limit - 1] if len(keys) > limit else None
    return NamesFound(_described(connection, keys[:limit], found), resume)


def _holding(candidates: Select[str]) -> Select[str, str, str]:
    return (
        select(repositories.c.name, repositories.c.target, rights.c.digest)
        .join(rights, rights.c.target == repositories.c.target)
        .where(rights.c.digest.in_(select(candidates.subquery("candidates").c[0])))
        .limit(FOUND_BY_DIGEST)
    )


def _begins(column: ColumnElement[str], beginning: str) -> ColumnElement[bool]:
    """As a range, which an index serves in any collation: LIKE in few."""
    return and_(column >= beginning, column < beginning + _AFTER_HEX)


def _targets_of(connection: Connection, name: str) -> list[Target]:
    rows = connection.execute(
        select(repositories.c.target).where(repositories.c.name == name).order_by(repositories.c.target)
    )
    return [Target.parse(target) for target in rows.scalars()]
