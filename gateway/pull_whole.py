"""All that references lead to, pulled into the cache: manifests, and every blob down to the last layer."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.helm.version import newest
from gateway.jobs import JobFailed, Progress
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.location import Location, parse_location
from gateway.oci.manifest import EdgeKind, Manifest, parse_manifest
from gateway.oci.platforms import is_among, platforms_of
from gateway.oci.reference import parse_reference
from gateway.oci.repository import Repository
from gateway.pull import Puller
from gateway.pulled import Pulled
from gateway.rules.route import Wanted
from gateway.store.blobs import StorageFailed

AT_ONCE: Final = 4
MOST_REFERENCES: Final = 1_000
_ALL: Final[frozenset[str]] = frozenset()
_MOST_TOLD: Final = 50


@dataclass(frozen=True, slots=True)
class Whole:
    """What was pulled: ``location`` with the tag that was meant, and how many bytes its parts have.

    ``manifests`` are all of it, the outermost first; ``signatures`` what was pulled beside them.
    """

    location: Location
    pulled: Pulled
    size_bytes: int
    manifests: tuple[Digest, ...] = ()
    signatures: tuple[Location, ...] = ()


@dataclass(slots=True)
class _Tally:
    """How far a list is."""

    total: int
    done: int = 0
    size_bytes: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def told(self) -> str:
        pulled = self.done - len(self.failures)
        return f"{pulled} of {self.total} pulled, {self.size_bytes / 1e6:.1f} MB in all"


class WholePuller:
    """Pulls as a client would that wants everything; what is held is a hit, so a second run goes on."""

    def __init__(self, puller: Puller) -> None:
        self._puller = puller

    async def pull(
        self,
        location: Location,
        platforms: frozenset[str] = _ALL,
        tell: Callable[[int], None] = lambda _size_bytes: None,
    ) -> Whole:
        """Pull one; without a tag, the newest version that is no pre-release. Raise OciError.

        Of an image index all platforms, or those such as ``linux/arm64``. ``tell`` is told of each part.
        """
        reference = location.reference or parse_reference(await self._newest(location.name))
        found = Location(location.name, reference)
        pulled = await self._puller.manifest(Wanted(location.name), reference)
        size_bytes = 0
        seen: set[Digest] = set()
        all_manifests = [pulled.manifest]
        for manifest in all_manifests:  # which grows meanwhile
            for kind, digest in parts_of(found, manifest, platforms):
                if digest in seen:
                    continue
                seen.add(digest)
                if kind is EdgeKind.MANIFEST:
                    part = await self._puller.manifest(Wanted(location.name), digest)
                    all_manifests.append(part.manifest)
                    continue
                part_bytes = await self._blob(location.name, digest)
                size_bytes += part_bytes
                tell(part_bytes)
        return Whole(found, pulled, size_bytes, tuple(manifest.digest for manifest in all_manifests))

    async def pull_all(
        self, locations: Sequence[Location], platforms: frozenset[str], progress: Progress
    ) -> str:
        """Pull a list, a few at a time; raise JobFailed at its end where some could not be had."""
        tally = _Tally(len(locations))
        progress(0, tally.total, tally.told)

        def tell(size_bytes: int) -> None:
            tally.size_bytes += size_bytes
            progress(tally.done, tally.total, tally.told)

        async def work(rest: Iterator[Location]) -> None:
            for location in rest:
                try:
                    await self.pull(location, platforms, tell)
                except (OciError, StorageFailed) as error:
                    tally.failures.append(f"{location}: {error}")
                tally.done += 1
                tell(0)

        rest = iter(locations)
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work(rest))
        if tally.failures:
            raise JobFailed("\n".join((tally.told, *_shortened(tally.failures))))
        return tally.told

    async def _newest(self, name: Repository) -> str:
        version = newest((await self._puller.tags(Wanted(name))).tags)
        if version is None:
            raise OciError(Situation.MANIFEST_NOT_KNOWN, f"{name} has no release among its tags: name a tag")
        return version

    async def _blob(self, name: Repository, digest: Digest) -> int:
        """Its last byte is given out once the whole is kept."""
        blob = (await self._puller.blob(Wanted(name), digest)).blob
        try:
            await blob.read(max(blob.size - 1, 0), 1)
            return blob.size
        finally:
            blob.close()


def parse_list(text: str, own_hosts: Collection[str]) -> list[Location]:
    """Read references, one a line; ``#`` begins a comment. Raise OciError for the first that is wrong."""
    found: dict[Location, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        written = line.partition("#")[0].strip()
        try:
            if written:
                found[parse_location(written, own_hosts)] = None
        except OciError as error:
            raise OciError(Situation.BODY_MALFORMED, f"line {number}: {error.message}") from error
    if not found:
        raise OciError(Situation.BODY_MALFORMED, "there is no reference in it: write one a line")
    if len(found) > MOST_REFERENCES:
        message = f"{len(found)} references are too many at once: at most {MOST_REFERENCES}"
        raise OciError(Situation.BODY_MALFORMED, message)
    return list(found)


def parts_of(
    location: Location, manifest: Manifest, platforms: frozenset[str]
) -> Sequence[tuple[EdgeKind, Digest]]:
    """What a manifest names, of an image index for these platforms; raise OciError where it has none."""
    edges = parse_manifest(manifest.content, manifest.media_type).edges
    parts = [(edge.kind, edge.descriptor.digest) for edge in edges]
    told = platforms_of(manifest) if platforms else {}
    if not told:
        return parts
    chosen = [(kind, digest) for kind, digest in parts if is_among(told.get(digest), platforms)]
    if not chosen:
        has = ", ".join(sorted(set(told.values())))
        wanted = " nor ".join(sorted(platforms))
        raise OciError(Situation.MANIFEST_NOT_KNOWN, f"{location} has no {wanted}: it has {has}")
    return chosen


def _shortened(failures: Sequence[str]) -> Sequence[str]:
    more = len(failures) - _MOST_TOLD
    return [*failures[:_MOST_TOLD], *([f"and {more} more"] if more > 0 else [])]
