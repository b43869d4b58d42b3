"""From what is wanted of a target to all that it needs: platforms, blobs, signatures; or what is lacking."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from gateway.bundle import BundledManifest, BundledTag, BundledTarget
from gateway.oci.digest import Digest
from gateway.oci.manifest import EdgeKind
from gateway.store.bundle_rows import HeldTag, HeldTarget

_SIGNATURE: Final = re.compile(r"(sha256)-([0-9a-f]{64})(?:\.[a-z]{1,20})?")  # a tag of what refers to it
_DEEPEST: Final = 8  # image indexes in image indexes
_NEVER_PULLED: Final = "nothing but its manifest is held"
_CARRIED: Final = "sha256"

SizeOf: TypeAlias = Callable[[Digest], int | None]


@dataclass(frozen=True, slots=True)
class Unheld:
    """What is not whole: ``place`` is its reference, ``digest`` what of it is lacking."""

    place: str
    digest: Digest | None
    reason: str

    def __str__(self) -> str:
        lacking = "" if self.digest is None else f"{self.digest} "
        return f"{self.place}: {lacking}{self.reason}"


@dataclass(slots=True)
class Walk:
    """What was found whole. ``loose`` are manifests that neither a tag nor an image index names."""

    tags: list[HeldTag] = field(default_factory=list)
    manifests: set[Digest] = field(default_factory=set)
    blobs: dict[Digest, int] = field(default_factory=dict)
    loose: set[Digest] = field(default_factory=set)
    places: dict[Digest, str] = field(default_factory=dict)
    unheld: list[Unheld] = field(default_factory=list)

    def because(self, reasons: Mapping[Digest, str]) -> "Walk":
        """With why it could not be fetched."""
        self.unheld = [
            replace(one, reason=reasons[one.digest]) if one.digest and reasons.get(one.digest) else one
            for one in self.unheld
        ]
        return self

    def bundled(self, held: HeldTarget) -> BundledTarget:
        tagged = {Digest.parse(tag.digest) for tag in self.tags}
        words = {tag.tag for tag in self.tags}
        homes: dict[str, list[str]] = {}
        for name, tag in sorted(held.homes):
            if tag in words:
                homes.setdefault(name, []).append(tag)
        return BundledTarget(
            target=str(held.target),
            names=sorted(held.names),
            is_private=held.is_private,
            tags=[BundledTag(*tag) for tag in sorted(self.tags)],
            untagged=[
                BundledManifest(str(digest), variant, source)
                for digest in sorted(self.manifests - tagged)
                for variant, source in sorted(held.manifests[digest].given_by)
            ],
            homes=homes,
        )


def walk(held: HeldTarget, wish: frozenset[str] | None, size_of: SizeOf) -> Walk:
    """Follow tags and digests, or with None all that is held. ``size_of`` may look at the disk.

    What refers to something found is found too, if it is whole; so is, with None, what no tag names. With
    None, what was looked up once and never pulled is no part of it.
    """
    walking = _Walking(held, size_of)
    for tag in held.tags:
        if tag.tag in wish if wish is not None else walking.is_pulled(Digest.parse(tag.digest)):
            walking.take_tag(tag)
    for digest in held.manifests:
        if wish is not None and str(digest) in wish:
            walking.take(digest, f"{walking.name}@{digest}")
    gone = (wish or frozenset()) - {tag.tag for tag in held.tags} - set(map(str, held.manifests))
    walking.found.unheld += (Unheld(f"{walking.name}:{one}", None, "is not held") for one in sorted(gone))
    if wish is None:
        for digest in held.manifests:
            walking.take_if_whole(digest, f"{walking.name}@{digest}")
    while walking.take_referrers():
        pass
    walking.settle()
    return walking.found


@dataclass(frozen=True, slots=True)
class _Look:
    """At a manifest: its parts that are there, and what it lacks to be whole."""

    manifests: frozenset[Digest]
    blobs: Mapping[Digest, int]
    lacking: Mapping[Digest, str]
    is_pulled: bool = True

    @property
    def is_whole(self) -> bool:
        return self.is_pulled and not self.lacking


class _Walking:
    def __init__(self, held: HeldTarget, size_of: SizeOf) -> None:
        self._held = held
        self._size_of = size_of
        self._looks: dict[Digest, _Look] = {}
        self.name = held.names[0] if held.names else str(held.target)
        self.found = Walk()

    def is_pulled(self, digest: Digest) -> bool:
        """Whether anything is there but manifests."""
        return self._look(digest).is_pulled

    def take_tag(self, tag: HeldTag) -> None:
        if self.take(Digest.parse(tag.digest), f"{self.name}:{tag.tag}"):
            self.found.tags.append(tag)

    def take(self, digest: Digest, place: str) -> bool:
        """Take what is whole; else tell what it lacks."""
        if self.take_if_whole(digest, place):
            return True
        look = self._look(digest)
        told = [Unheld(place, one, reason) for one, reason in look.lacking.items()]
        self.found.unheld += told or [Unheld(place, None, _NEVER_PULLED)]
        return False

    def take_if_whole(self, digest: Digest, place: str) -> bool:
        look = self._look(digest)
        if not look.is_whole:
            return False
        if digest not in self.found.manifests:
            self.found.loose.add(digest)
        self.found.manifests |= look.manifests
        self.found.blobs |= look.blobs
        for part in (*look.manifests, *look.blobs):
            self.found.places.setdefault(part, place)
        return True

    def take_referrers(self) -> bool:
        """Whether there were any that were not found before."""
        before = len(self.found.manifests), len(self.found.tags)
        found = self.found.manifests
        for digest, manifest in self._held.manifests.items():
            if manifest.subject in found and digest not in found:
                self.take_if_whole(digest, f"{self.name}@{digest}")
        taken = set(self.found.tags)
        for tag in self._held.tags:
            signed = _SIGNATURE.fullmatch(tag.tag)
            if signed and tag not in taken and Digest(signed[1], signed[2]) in found:
                digest = Digest.parse(tag.digest)
                if self.take_if_whole(digest, f"{self.name}:{tag.tag}"):
                    self.found.tags.append(tag)
        return before != (len(self.found.manifests), len(self.found.tags))

    def settle(self) -> None:
        """What a tag or an image index names is not loose."""
        named = {
            named.digest
            for digest in self.found.manifests
            for named in self._held.manifests[digest].names
            if named.kind is EdgeKind.MANIFEST
        }
        self.found.loose -= named | {Digest.parse(tag.digest) for tag in self.found.tags}

    def _look(self, digest: Digest, depth: int = 0) -> _Look:
        if digest not in self._looks:
            self._looks[digest] = self._looked(digest, depth)
        return self._looks[digest]

    def _looked(self, digest: Digest, depth: int) -> _Look:
        manifest = self._held.manifests.get(digest)
        if manifest is None or digest.algorithm != _CARRIED or depth > _DEEPEST:
            return _Look(frozenset(), {}, {}, is_pulled=False)
        blobs: dict[Digest, int] = {}
        lacking: dict[Digest, str] = {}
        for named in manifest.names:
            if named.kind is EdgeKind.MANIFEST:
                continue
            reason = self._why_not(named.digest, named.size_bytes)
            if reason:
                lacking[named.digest] = reason
            else:
                blobs[named.digest] = named.size_bytes
        own = _Look(frozenset({digest}), blobs, lacking, is_pulled=bool(blobs) or not lacking)
        platforms = [*self._platforms(digest, depth)]
        return own if platforms == [] and not self._names_manifests(digest) else _joined(own, platforms)

    def _names_manifests(self, digest: Digest) -> bool:
        return any(named.kind is EdgeKind.MANIFEST for named in self._held.manifests[digest].names)

    def _platforms(self, digest: Digest, depth: int) -> Iterator[_Look]:
        """Those that are held; what was never pulled of an image is no part of what is held."""
        for named in self._held.manifests[digest].names:
            if named.kind is EdgeKind.MANIFEST and named.digest in self._held.manifests:
                yield self._look(named.digest, depth + 1)

    def _why_not(self, digest: Digest, size_bytes: int) -> str:
        if digest.algorithm != _CARRIED:
            return f"is named by {digest.algorithm}, and bundles carry {_CARRIED} alone"
        if digest not in self._held.blobs:
            return "was never pulled"
        size = self._size_of(digest)
        if size is None:
            return "is no more held"
        return "" if size == size_bytes else f"has {size} bytes, and its manifest says {size_bytes}"


def _joined(index: _Look, platforms: list[_Look]) -> _Look:
    """An image index is as whole as those of its platforms that were pulled."""
    pulled = [one for one in platforms if one.is_pulled]
    chosen = pulled or platforms
    blobs: dict[Digest, int] = {}
    lacking: dict[Digest, str] = {}
    for one in chosen:
        blobs |= one.blobs
        lacking |= one.lacking
    manifests = index.manifests.union(*(one.manifests for one in chosen))
    return _Look(manifests, blobs, lacking, is_pulled=bool(pulled))
