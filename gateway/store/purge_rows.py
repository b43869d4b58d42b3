"""Forgetting what is held of a target, whole and in one transaction: the rows of a purge."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, delete, select, text

from gateway.helm.version import resolve
from gateway.oci.digest import Digest
from gateway.oci.target import Target
from gateway.store.engine import Engines
from gateway.store.generation import Generation
from gateway.store.pins import Pin
from gateway.store.tables import (
    blobs,
    helm_indexes,
    manifest_edges,
    manifests,
    pins,
    repositories,
    retentions,
    rights,
    tag_lists,
    tag_targets,
    tags,
)

_BATCH: Final = 500
_MAX_NAMES: Final = 20
_WRITTEN_BY_PULLS: Final = "blobs, manifests, manifest_edges, rights, tags"  # in the order that pulls have

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Doom:
    """What is to be forgotten: a tag or digest at each of these targets, or all of them where there is none.

    What is pinned stays, and all else with it, unless ``unpins``.
    """

    targets: Sequence[Target]
    reference: str | None
    unpins: bool = False


@dataclass(frozen=True, slots=True)
class PurgedTag:
    """``digest`` is what it named."""

    target: Target
    tag: str
    variant: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Purge:
    """What was forgotten, or would be; ``names`` are the ones by which clients came to it, of many some.

    ``blobs`` are named by nothing any more, with their sizes in bytes. ``pinned`` are the pins that are in
    the way, or went with it; nothing was forgotten where ``is_refused``.
    """

    tags: Sequence[PurgedTag]
    manifests: Sequence[Digest]
    blobs: Sequence[tuple[Digest, int]]
    pinned: Sequence[Pin]
    names: Sequence[str]
    is_refused: bool = False

    @property
    def is_empty(self) -> bool:
        return not self.tags and not self.manifests and not self.blobs


class PurgeBook:
    """Errors of the database are StorageFailed. Its engines are ``DataDir.open_rule_engines``'s."""

    def __init__(self, engines: Engines, generation: Generation) -> None:
        self._engines = engines
        self._generation = generation

    async def foretell(self, doom: Doom) -> Purge:
        """What a purge would come to: it is done, and taken back."""
        told: list[Purge] = []
        with suppress(_TakenBack):
            await self._engines.tell(_rehearse, doom, told)
        return told[-1]

    async def purge(self, doom: Doom) -> Purge:
        """Forget; every process finds out, also that of what nobody had somebody may have it now."""

        def command(connection: Connection) -> Purge:
            done = purge(connection, doom)
            self._generation.announce(connection)
            return done

        done = await self._engines.tell(command)
        self._generation.advance()
        return done

    async def targets_of(self, name: str) -> list[Target]:
        """Where a name led when it was asked for."""
        return await self._engines.ask(_targets_of, name)


class _TakenBack(Exception):
    """Ends a transaction that was tried alone."""


def _rehearse(connection: Connection, doom: Doom, told: list[Purge]) -> None:
    told.append(purge(connection, doom))
    raise _TakenBack


def purge(connection: Connection, doom: Doom) -> Purge:
    """Delete the rows. Names stay, as the book of who asked for what; so does that a target was private."""
    if connection.dialect.name == "postgresql":  # nobody keeps, by rows that go, what nothing would name
        connection.execute(text(f"LOCK TABLE {_WRITTEN_BY_PULLS} IN SHARE ROW EXCLUSIVE MODE"))
    losses = [_loss(connection, target, doom.reference) for target in doom.targets]
    told = sorted({one for loss in losses for one in loss.tags}, key=_order)
    pinned = [pin for loss in losses for pin in _pins(connection, loss, doom.reference)]
    if pinned and not doom.unpins:
        return Purge(told, (), (), pinned, (), is_refused=True)
    names = _names(connection, doom.targets)
    for loss in losses:
        _forget(connection, loss, doom.reference)
    for pin in pinned:
        of_target = pins.c.target == str(pin.target)
        connection.execute(delete(pins).where(of_target, pins.c.reference == pin.reference))
    gone = frozenset[str]().union(*(loss.digests for loss in losses))
    unheld = gone - _among(connection, select(rights.c.digest), rights.c.digest, gone)
    forgotten = _forget_manifests(connection, unheld)
    return Purge(told, forgotten, _forget_blobs(connection, unheld), pinned, names)


@dataclass(frozen=True, slots=True)
class _Loss:
    """What one target loses: tags, the words for them, and the digests that it has no right to any more."""

    target: Target
    words: frozenset[str]
    tags: Sequence[PurgedTag]
    digests: frozenset[str]


def _order(one: PurgedTag) -> tuple[str, str, str, str]:
    return (str(one.target), one.tag, one.variant, str(one.digest))


def _loss(connection: Connection, target: Target, reference: str | None) -> _Loss:
    """A tag goes in every variant, from every source, and of an exact version under every spelling."""
    of_target = tags.c.target == str(target)
    if reference is None:
        return _lost(connection, target, of_target, None)
    if ":" in reference:
        return _lost(connection, target, of_target & (tags.c.digest == reference), reference)
    words = _spellings(connection, target, reference)
    return _lost(connection, target, of_target & tags.c.tag.in_(words), "", words)


def _spellings(connection: Connection, target: Target, tag: str) -> frozenset[str]:
    """The tag, and all that are held of the exact version that it means."""
    exact = select(tags.c.tag, tags.c.version).where(tags.c.target == str(target), tags.c.is_exact)
    rows = connection.execute(exact.distinct()).all()
    versions = {row.version for row in rows if row.tag == tag}
    if not versions:
        listed = sorted({row.version for row in rows})
        position = resolve(tag, listed)
        versions = set() if position is None else {listed[position]}
    return frozenset({tag, *(row.tag for row in rows if row.version in versions)})


def _lost(
    connection: Connection,
    target: Target,
    chosen: ColumnElement[bool],
    stated: str | None,
    words: frozenset[str] = frozenset(),
) -> _Loss:
    """``stated`` is a digest that goes whatever else names it; None: all that the target has."""
    rows = connection.execute(select(tags).where(chosen)).all()
    told = [PurgedTag(target, row.tag, row.variant, Digest.parse(row.digest)) for row in rows]
    if stated is None:
        all_of_it = frozenset(connection.execute(_rights_of(target)).scalars())
        return _Loss(target, frozenset(), told, all_of_it)
    first = {stated} if stated else set[str]()
    below = _below(connection, target, first | {row.digest for row in rows})
    staying = _named_by_others(connection, target, below, ~chosen) - first
    lost = below - _below(connection, target, staying, frozenset(first))
    return _Loss(target, words | {row.tag for row in rows}, told, frozenset(lost))


def _below(
    connection: Connection, target: Target, roots: set[str], without: frozenset[str] = frozenset()
) -> set[str]:
    """These, what they name and what refers to them, and so on, as far as the target has it."""
    seen: set[str] = set()
    found = set(roots)
    while found:
        seen |= found
        named = _among(connection, select(manifest_edges.c.digest), manifest_edges.c.manifest, found)
        named |= _among(connection, select(manifests.c.digest), manifests.c.subject, found)
        found = _among(connection, _rights_of(target), rights.c.digest, named - seen - without)
    return seen


def _named_by_others(
    connection: Connection, target: Target, below: set[str], staying: ColumnElement[bool]
) -> set[str]:
    """Those that a tag which stays names, or a manifest of the target that is not among them."""
    by_tag = select(tags.c.digest).where(tags.c.target == str(target), staying)
    by_manifest = (
        select(manifest_edges.c.digest, manifest_edges.c.manifest)
        .join(rights, rights.c.digest == manifest_edges.c.manifest)
        .where(rights.c.target == str(target))
    )
    named = _among(connection, by_tag, tags.c.digest, below)
    for batch in _batches(sorted(below)):
        edges = connection.execute(by_manifest.where(manifest_edges.c.digest.in_(batch)))
        named |= {edge.digest for edge in edges if edge.manifest not in below}
    return named


def _rights_of(target: Target) -> Select[str]:
    return select(rights.c.digest).where(rights.c.target == str(target))


def _pins(connection: Connection, loss: _Loss, reference: str | None) -> list[Pin]:
    rows = connection.execute(select(pins).where(pins.c.target == str(loss.target))).all()
    going = loss.words | loss.digests
    chosen = (row for row in rows if reference is None or row.reference in going)
    return [Pin(loss.target, row.reference, row.name, row.made_at) for row in chosen]


def _names(connection: Connection, targets: Sequence[Target]) -> list[str]:
    chosen = repositories.c.target.in_([str(target) for target in targets])
    names = connection.execute(select(repositories.c.name).where(chosen).distinct().limit(_MAX_NAMES))
    return sorted(names.scalars())


def _forget(connection: Connection, loss: _Loss, reference: str | None) -> None:
    """What the target has of it: tags, where they stay, lists, rights, and that lists want it kept."""
    target = str(loss.target)
    of_tags, of_homes, of_rights, of_lists = (
        tags.c.target == target,
        tag_targets.c.target == target,
        rights.c.target == target,
        retentions.c.target == target,
    )
    if reference is None:
        connection.execute(delete(retentions).where(of_lists))
        connection.execute(delete(tags).where(of_tags))
        connection.execute(delete(tag_targets).where(of_homes))
        connection.execute(delete(tag_lists).where(tag_lists.c.target == target))
        connection.execute(delete(rights).where(of_rights))
        return
    going = tags.c.digest == reference if ":" in reference else tags.c.tag.in_(loss.words)
    connection.execute(delete(tags).where(of_tags, going))
    for batch in _batches(sorted(loss.words)):
        connection.execute(delete(tag_targets).where(of_homes, tag_targets.c.tag.in_(batch)))
    for batch in _batches(sorted(loss.words | loss.digests)):
        connection.execute(delete(retentions).where(of_lists, retentions.c.reference.in_(batch)))
    for batch in _batches(sorted(loss.digests)):
        connection.execute(delete(rights).where(of_rights, rights.c.digest.in_(batch)))


def _forget_manifests(connection: Connection, unheld: frozenset[str]) -> list[Digest]:
    """Those that no target has any more."""
    held = _among(connection, select(manifests.c.digest), manifests.c.digest, unheld)
    gone = sorted(held - _among(connection, select(tags.c.digest), tags.c.digest, held))
    for batch in _batches(gone):
        connection.execute(delete(manifest_edges).where(manifest_edges.c.manifest.in_(batch)))
        connection.execute(delete(manifests).where(manifests.c.digest.in_(batch)))
    return [Digest.parse(digest) for digest in gone]


def _forget_blobs(connection: Connection, unheld: frozenset[str]) -> list[tuple[Digest, int]]:
    """Those that no manifest names either, with their sizes; an index of a Helm repository stays."""
    named = _among(connection, select(manifest_edges.c.digest), manifest_edges.c.digest, unheld)
    named |= _among(connection, select(manifests.c.digest), manifests.c.digest, unheld)
    for column in (helm_indexes.c.digest, helm_indexes.c.normalised_digest):
        named |= _among(connection, select(column), column, unheld)
    orphans: list[tuple[Digest, int]] = []
    for batch in _batches(sorted(unheld - named)):
        chosen = blobs.c.digest.in_(batch)
        rows = connection.execute(select(blobs.c.digest, blobs.c.size_bytes).where(chosen))
        orphans += [(Digest.parse(row.digest), row.size_bytes) for row in rows]
        connection.execute(delete(blobs).where(chosen))
    return sorted(orphans, key=lambda one: str(one[0]))


def _targets_of(connection: Connection, name: str) -> list[Target]:
    found = connection.execute(select(repositories.c.target).where(repositories.c.name == name))
    return sorted(Target.parse(text) for text in found.scalars())


def _among(
    connection: Connection, query: Select[str], column: ColumnElement[str], wanted: Iterable[str]
) -> set[str]:
    """What the query gives where the column is one of those wanted, however many they are."""
    found: set[str] = set()
    for batch in _batches(sorted(wanted)):
        found.update(connection.execute(query.where(column.in_(batch)).distinct()).scalars())
    return found


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    rest = iter(items)
    while batch := list(islice(rest, _BATCH)):
        yield batch
