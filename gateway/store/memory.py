"""What a worker keeps in memory of what is held: bounded, and never older than the shared generation."""

from dataclasses import dataclass

from cachetools import LRUCache

from gateway.oci.digest import Digest
from gateway.oci.manifest import Manifest
from gateway.oci.target import Target
from gateway.store.generation import Generation
from gateway.store.rows import Right, TagRow

_TAG_COUNT = 50_000
_RIGHT_COUNT = 100_000

TagKey = tuple[str, str, str]  # target, variant, tag


@dataclass(frozen=True, slots=True)
class HeldManifest:
    """A manifest and the row of the tag that named it, where one did."""

    manifest: Manifest
    row: TagRow


class Memory:
    """Manifests by content do not age; tags and rights hold while the generation stands still.

    Whoever fills it hands over the generation read before the catalog was.
    """

    def __init__(self, limit_bytes: int, generation: Generation) -> None:
        self._generation = generation
        self._tags: LRUCache[TagKey, tuple[TagRow, int]] = LRUCache(_TAG_COUNT)
        self._rights: LRUCache[tuple[Target, Digest], int] = LRUCache(_RIGHT_COUNT)
        self._blobs: LRUCache[tuple[Target, Digest], tuple[Right, int]] = LRUCache(_RIGHT_COUNT)
        self._manifests: LRUCache[Digest, Manifest] = LRUCache(
            limit_bytes, getsizeof=lambda manifest: len(manifest.content)
        )

    def generation(self) -> int:
        return self._generation.current()

    def find_tag(self, key: TagKey) -> HeldManifest | None:
        try:
            row, generation = self._tags[key]
            manifest = self._manifests[row.digest]
        except KeyError:
            return None
        return HeldManifest(manifest, row) if generation == self._generation.current() else None

    def keep_tag(self, key: TagKey, held: HeldManifest, generation: int) -> None:
        self._tags[key] = (held.row, generation)
        self.keep_manifest(held.row.target, held.manifest, generation)

    def find_manifest(self, target: Target, digest: Digest) -> Manifest | None:
        has_right = self._rights.get((target, digest)) == self._generation.current()
        return self._manifests.get(digest) if has_right else None

    def keep_manifest(self, target: Target, manifest: Manifest, generation: int) -> None:
        if len(manifest.content) <= self._manifests.maxsize:
            self._manifests[manifest.digest] = manifest
        self._rights[target, manifest.digest] = generation

    def find_right(self, target: Target, digest: Digest) -> Right | None:
        """What is known of a blob that the target has a right to."""
        known = self._blobs.get((target, digest))
        return known[0] if known is not None and known[1] == self._generation.current() else None

    def keep_right(self, target: Target, digest: Digest, right: Right, generation: int) -> None:
        self._blobs[target, digest] = (right, generation)
