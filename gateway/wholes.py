"""Wholes for lists: pulled with what signs them, and looked at without asking anybody."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.location import Location
from gateway.oci.manifest import EdgeKind, Manifest
from gateway.oci.reference import Reference, Tag, parse_reference
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.pull import Puller
from gateway.pull_whole import Whole, WholePuller, parts_of
from gateway.rules.freshness import Standing, counts, in_force, standing
from gateway.rules.route import Route, Wanted
from gateway.store.blobs import BlobStore
from gateway.store.catalog import Catalog
from gateway.store.rows import TagList, TagRow

MOST_DEEP: Final = 3  # what signs a signature's signature
MOST_REFERRERS: Final = 100
_SUFFIXES: Final = (
    "",
    ".sig",
    ".att",
    ".sbom",
)  # the tags of cosign, and of registries without a list of referrers
_LOOKED: Final = "sync"  # the source of what was noted, among the lists of tags
_ALL: Final[frozenset[str]] = frozenset()
_ABSENT: Final = (
    Situation.MANIFEST_NOT_KNOWN,
    Situation.BLOB_NOT_KNOWN,
    Situation.NAME_NOT_KNOWN,
    Situation.DENIED,
)


class Wholes:
    """What signs a manifest is noted beside the lists of tags, whenever upstream was asked for it."""

    def __init__(self, puller: Puller, catalog: Catalog, blobs: BlobStore, now: Callable[[], float]) -> None:
        self._puller = puller
        self._whole = WholePuller(puller)
        self._catalog = catalog
        self._blobs = blobs
        self._now = now

    async def pull(
        self,
        location: Location,
        platforms: frozenset[str] = _ALL,
        tell: Callable[[int], None] = lambda _size_bytes: None,
        *,
        signatures: bool = False,
    ) -> Whole:
        """As WholePuller; with ``signatures`` also what refers to its manifests, and cosign's tags of them.

        What is listed and gone is left out. Raise OciError.
        """
        whole = await self._whole.pull(location, platforms, tell)
        if not signatures:
            return whole
        signed = await self._signatures(whole, tell)
        return Whole(whole.location, whole.pulled, whole.size_bytes, whole.manifests, tuple(signed))

    async def is_whole(
        self,
        location: Location,
        platforms: frozenset[str] = _ALL,
        *,
        signatures: bool = False,
        signed_since: float = 0.0,
    ) -> bool:
        """Whether all of it is held, in files of the right size; nobody is asked, nothing is hashed.

        ``signatures``: also all that was found when somebody looked for them, not before ``signed_since``.
        """
        if location.reference is None:
            return False
        for route in self._puller.route(Wanted(location.name)).routes:
            root = await self._held(route, location.reference)
            if root is None:
                continue
            manifests = await self._all_held(
                route.target, Location(location.name, location.reference), root, platforms
            )
            if not manifests:
                return False
            return not signatures or await self._are_signed(route, manifests, signed_since, 0)
        return False

    async def _signatures(self, whole: Whole, tell: Callable[[int], None]) -> Iterable[Location]:
        name = whole.location.name
        target = whole.pulled.target or self._puller.route(Wanted(name)).first.target
        tags = frozenset(await self._tags(name))
        found: dict[Location, None] = {}
        seen = set(whole.manifests)
        waiting = [(digest, 0) for digest in whole.manifests]
        while waiting:
            subject, depth = waiting.pop()
            signing: list[str] = []
            for reference in await self._signing(name, subject, tags):
                location = Location(name, reference)
                try:
                    signature = await self._whole.pull(location, tell=tell)
                except OciError as error:
                    if error.situation not in _ABSENT:
                        raise
                    continue
                found[location] = None
                signing.append(str(reference))
                new = [digest for digest in signature.manifests if digest not in seen]
                seen.update(new)
                if depth + 1 < MOST_DEEP:
                    waiting.extend((digest, depth + 1) for digest in new)
            noted = TagList(_LOOKED, tuple(signing), self._now())
            await self._catalog.keep_tag_list(target, _noted_as(subject), noted)
        return found

    async def _signing(self, name: Repository, subject: Digest, tags: frozenset[str]) -> Sequence[Reference]:
        listed = await self._puller.referrers(Wanted(name), subject)
        tagged = (f"{subject.algorithm}-{subject.hex}{suffix}" for suffix in _SUFFIXES)
        return [
            *(descriptor.digest for descriptor in listed[:MOST_REFERRERS]),
            *(Tag(tag) for tag in tagged if tag in tags),
        ]

    async def _tags(self, name: Repository) -> Sequence[str]:
        """Some registries list nothing: then nothing can be found so."""
        try:
            return (await self._puller.tags(Wanted(name))).tags
        except OciError as error:
            if error.situation not in _ABSENT:
                raise
            return ()

    async def _held(self, route: Route, reference: Reference) -> Manifest | None:
        """What the route would serve, were nobody there to ask."""
        if isinstance(reference, Digest):
            return await self._catalog.find_manifest(route.target, reference)
        rows = await self._catalog.find_tags(route.target, route.variant.value, reference.name)
        asked = [row for row in rows if counts(row, route.chain)]
        row = in_force(asked, route.chain, partial(self._is_fresh, route))
        return None if row is None else await self._catalog.find_manifest(route.target, row.digest)

    def _is_fresh(self, route: Route, row: TagRow) -> bool:
        found = standing(route.policy, row.confirmed_at, self._now(), is_exact=row.is_exact)
        return found is Standing.FRESH

    async def _all_held(
        self, target: Target, location: Location, root: Manifest, platforms: frozenset[str]
    ) -> Sequence[Digest]:
        """All manifests below ``root``, itself the first; none where any part is not held."""
        manifests = [root]
        seen: set[Digest] = set()
        for manifest in manifests:  # which grows meanwhile
            for kind, digest in parts_of(location, manifest, platforms):
                if digest in seen:
                    continue
                seen.add(digest)
                if kind is EdgeKind.MANIFEST:
                    part = await self._catalog.find_manifest(target, digest)
                    if part is None:
                        return ()
                    manifests.append(part)
                elif not await self._holds(target, digest):
                    return ()
        return [manifest.digest for manifest in manifests]

    async def _holds(self, target: Target, digest: Digest) -> bool:
        right = await self._catalog.find_right(target, digest)
        return right is not None and await self._blobs.size(digest) == right.size_bytes

    async def _are_signed(self, route: Route, manifests: Iterable[Digest], since: float, depth: int) -> bool:
        for digest in manifests:
            noted = await self._catalog.find_tag_list(route.target, _noted_as(digest))
            if not noted or noted[0].confirmed_at < since:
                return False
            for name in noted[0].names:
                if not await self._is_signature_held(route, name, since, depth):
                    return False
        return True

    async def _is_signature_held(self, route: Route, name: str, since: float, depth: int) -> bool:
        reference = parse_reference(name)
        root = await self._held(route, reference)
        if root is None:
            return False
        manifests = await self._all_held(route.target, Location(route.name, reference), root, _ALL)
        if depth + 1 == MOST_DEEP:
            return bool(manifests)
        return bool(manifests) and await self._are_signed(route, manifests, since, depth + 1)


def _noted_as(subject: Digest) -> str:
    """The variant under which it is noted; no route has it."""
    return f"signatures@{subject}"
