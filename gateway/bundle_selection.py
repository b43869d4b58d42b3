"""What goes into a bundle: what is held of everything, of a list or of references, with all that it needs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from gateway.bundle import BundledTarget
from gateway.bundle_walk import Unheld, Walk, walk
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.location import Location
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.pins import reference_of
from gateway.pull import Puller
from gateway.rules.route import PROVENANCE, Wanted
from gateway.store.blob_places import NoPlainFile, Places
from gateway.store.blobs import StorageFailed
from gateway.store.bundle_rows import TARGETS_AT_ONCE, BundleRows, HeldManifest, HeldTag, HeldTarget
from gateway.store.disk import on_disk
from gateway.store.retention import RetentionBook, keeper_of_list

_MOST_TOLD: Final = 20

_Wishes: TypeAlias = dict[Target, frozenset[str] | None]  # tags and digests; None for all of a target


class NotWhole(Exception):
    """Something that was asked for is not held to its last layer, and could not be fetched."""

    def __init__(self, unheld: Sequence[Unheld]) -> None:
        more = [f"and {len(unheld) - _MOST_TOLD} more"] if len(unheld) > _MOST_TOLD else []
        lines = "\n".join(("not all that was asked for is held:", *map(str, unheld[:_MOST_TOLD]), *more))
        super().__init__(f"{lines}\n--allow-missing leaves these out")
        self.unheld = unheld


@dataclass(frozen=True, slots=True)
class Selected:
    """``references`` are names with their tags, as index.json has them; ``loose`` stands there without.

    ``blobs`` have their sizes. ``places`` tells of each content one reference that it belongs to. ``skipped``
    was not whole, and is not in it. ``kept_at`` is when the newest of it came.
    """

    targets: Sequence[BundledTarget]
    manifests: Mapping[Digest, HeldManifest]
    blobs: Mapping[Digest, int]
    references: Mapping[str, Digest]
    loose: frozenset[Digest]
    places: Mapping[Digest, str]
    skipped: Sequence[Unheld]
    kept_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """``places`` are where the blobs lie; what is looked at there counts as used, so nobody evicts it.

    Each method raises StorageFailed, and OciError for what is not held at all.
    """

    rows: BundleRows
    retained: RetentionBook
    places: Places
    puller: Puller

    async def all(self) -> Selected:
        """Everything that is held whole; what is not is skipped."""
        wishes: _Wishes = dict.fromkeys(await self.rows.targets())
        return await self._select(wishes, {}, skips_unheld=True, is_everything=True)

    async def of_list(self, name: str, *, skips_unheld: bool = False) -> Selected:
        """What the ``sync:`` list of this name has brought; raise NotWhole."""
        retained = await self.retained.of(keeper_of_list(name))
        if not retained:
            hint = f"`gateway sync {name}` does, if the rules have it"
            message = f"no list called {name!r} has brought anything: {hint}"
            raise OciError(Situation.MANIFEST_NOT_KNOWN, message)
        wishes: _Wishes = {}
        names: dict[Target, set[str]] = {}
        for one in retained:
            wishes[one.target] = (wishes.get(one.target) or frozenset()) | {one.reference}
            names.setdefault(one.target, set()).add(one.name)
        return await self._select(wishes, names, skips_unheld=skips_unheld)

    async def of(self, locations: Iterable[Location], *, skips_unheld: bool = False) -> Selected:
        """What references lead to by the rules in force, without a tag all that is held; raise NotWhole."""
        wishes: _Wishes = {}
        names: dict[Target, set[str]] = {}
        unheld: list[Unheld] = []
        held: dict[Target, frozenset[str]] = {}
        for location in locations:
            reference = None if location.reference is None else reference_of(location)
            targets = [route.target for route in self.puller.route(Wanted(location.name)).routes]
            held |= {target: await self._references(target) for target in targets if target not in held}
            found = [one for one in targets if (reference in held[one] if reference else held[one])]
            if not found and not skips_unheld:
                message = f"{location} is not held: `gateway pull {location}` fetches it"
                raise OciError(Situation.MANIFEST_NOT_KNOWN, message)
            if not found:
                unheld.append(Unheld(str(location), None, "is not held"))
            for target in found:
                before = wishes.get(target, frozenset())
                wishes[target] = None if reference is None or before is None else before | {reference}
                names.setdefault(target, set()).add(location.name.name)
        return await self._select(wishes, names, unheld, skips_unheld=skips_unheld)

    async def _references(self, target: Target) -> frozenset[str]:
        """The tags and digests that are held of a target."""
        (held,) = await self.rows.held([target])
        return frozenset((*(tag.tag for tag in held.tags), *map(str, held.manifests)))

    async def _select(
        self,
        wishes: _Wishes,
        names: Mapping[Target, set[str]],
        unheld: Iterable[Unheld] = (),
        *,
        skips_unheld: bool,
        is_everything: bool = False,
    ) -> Selected:
        gathered = _Gathered(unheld=list(unheld))
        for batch in _batches(sorted(wishes)):
            for held in await self.rows.held(batch):
                held.names = sorted({*held.names, *names.get(held.target, ())})
                found = await on_disk(walk, held, wishes[held.target], self._size)
                if found.unheld and not is_everything:
                    found = await self._fetched(held, wishes[held.target], found)
                gathered.add(held, found)
        if gathered.unheld and not skips_unheld:
            raise NotWhole(gathered.unheld)
        return gathered.selected()

    async def _fetched(self, held: HeldTarget, wish: frozenset[str] | None, found: Walk) -> Walk:
        """The same again, once what was lacking was fetched, as far as that could be done."""
        reasons = {one.digest: await self._fetch(held, one.digest) for one in found.unheld if one.digest}
        (again,) = await self.rows.held([held.target])
        held.tags, held.manifests, held.blobs = again.tags, again.manifests, again.blobs
        found = await on_disk(walk, held, wish, self._size)
        return found.because(reasons)

    async def _fetch(self, held: HeldTarget, digest: Digest) -> str:
        """Why a blob could not be had, nothing where it could."""
        reason = ""
        for name in held.names or [str(held.target)]:
            try:
                blob = (await self.puller.blob(Wanted(Repository.parse_with_port(name)), digest)).blob
            except (OciError, StorageFailed) as error:
                reason = str(error)
                continue
            try:
                await blob.read(max(blob.size - 1, 0), 1)  # given out once the whole is kept
            except StorageFailed as error:
                reason = str(error)
            else:
                return ""
            finally:
                blob.close()
        return reason

    def _size(self, digest: Digest) -> int | None:
        """Of a blob that is there; the others raise nothing: a scrub tells of them."""
        try:
            file = self.places.open(digest)
        except NoPlainFile:
            return None
        if file is None:
            return None
        with file:
            return file.seek(0, 2)


@dataclass(slots=True)
class _Gathered:
    """What was found until now; ``ranked`` has for each name and tag the best so far."""

    targets: list[BundledTarget] = field(default_factory=list)
    manifests: dict[Digest, HeldManifest] = field(default_factory=dict)
    blobs: dict[Digest, int] = field(default_factory=dict)
    ranked: dict[str, tuple[tuple[bool, bool, float, str, str], Digest]] = field(default_factory=dict)
    loose: set[Digest] = field(default_factory=set)
    places: dict[Digest, str] = field(default_factory=dict)
    unheld: list[Unheld] = field(default_factory=list)
    kept_at: float = 0.0

    def add(self, held: HeldTarget, found: Walk) -> None:
        self.unheld += found.unheld
        if not found.manifests:
            return
        self.targets.append(found.bundled(held))
        self.manifests |= {digest: held.manifests[digest] for digest in found.manifests}
        self.blobs |= found.blobs
        self.loose |= found.loose
        self.places |= found.places
        kept = [held.manifests[digest].kept_at for digest in found.manifests]
        self.kept_at = max(self.kept_at, *kept, *(tag.kept_at for tag in found.tags))
        for tag in found.tags:
            self._rank(held, tag)

    def selected(self) -> Selected:
        references = {name: digest for name, (_, digest) in sorted(self.ranked.items())}
        return Selected(
            targets=self.targets,
            manifests=self.manifests,
            blobs=self.blobs,
            references=references,
            loose=frozenset(self.loose - set(references.values())),
            places=self.places,
            skipped=self.unheld,
            kept_at=self.kept_at,
        )

    def _rank(self, held: HeldTarget, tag: HeldTag) -> None:
        """Of several that a name may mean: where it was found first, the one with provenance, the newest."""
        for name in held.names or [str(held.target)]:
            is_home = (name, tag.tag) in held.homes
            is_other = tag.variant != PROVENANCE.value
            rank = (not is_home, is_other, -tag.confirmed_at, str(held.target), tag.source)
            place = f"{name}:{tag.tag}"
            if place not in self.ranked or rank < self.ranked[place][0]:
                self.ranked[place] = (rank, Digest.parse(tag.digest))


def _batches(targets: Sequence[Target]) -> Iterable[Sequence[Target]]:
    for start in range(0, len(targets), TARGETS_AT_ONCE):
        yield targets[start : start + TARGETS_AT_ONCE]
