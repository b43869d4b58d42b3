"""What was damaged is had again: pulled as a client would, under any name that leads to it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.outcomes import Outcome
from gateway.oci.reference import Tag
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.pull import Puller
from gateway.rules.route import Route, Wanted
from gateway.sources.base import Versions
from gateway.store.blobs import BlobStore, StorageFailed
from gateway.store.catalog import Catalog

_MADE_HERE: Final = "@"  # in the variant of what was made here, see rules.route


class Indexes(Protocol):
    """Who reads Helm indexes, and fetches one that is gone."""

    def tells(self, route: Route) -> Sequence[str]: ...

    async def versions(self, route: Route) -> Versions: ...


@dataclass(frozen=True, slots=True)
class Unhealed:
    """What could not be had again; ``names`` are those it was tried under, ``reason`` is the last refusal."""

    digest: str
    names: Sequence[str]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Healer:
    """Each method returns None once what was damaged is there again."""

    blobs: BlobStore
    catalog: Catalog
    puller: Puller
    indexes: Indexes

    async def blob(self, digest: Digest) -> Unhealed | None:
        return await self._under_any_name(digest, self._pull_blob)

    async def manifest(self, digest: Digest) -> Unhealed | None:
        return await self._under_any_name(digest, self._pull_manifest)

    async def index(self, url: str, digest: Digest) -> Unhealed | None:
        """Have the index at ``url`` read by a chart of that repository."""
        failure = Unhealed(str(digest), (url,), "no name leads to its repository")
        for name, target in await self.catalog.names():
            try:
                for route in self.puller.route(Wanted(Repository.parse_with_port(name))).routes:
                    if route.target == target and url in self.indexes.tells(route):
                        await self.indexes.versions(route)
                        return None
            except (OciError, Outcome, StorageFailed) as error:
                failure = Unhealed(str(digest), (url,), str(error))
        return failure

    async def _under_any_name(
        self, digest: Digest, pull: Callable[[Target, Repository, Digest], Awaitable[None]]
    ) -> Unhealed | None:
        failure = Unhealed(str(digest), (), "nothing in the catalog leads to it")
        async for owner, name in self._names_of(digest):
            try:
                await pull(owner, name, digest)
            except (OciError, StorageFailed) as error:
                failure = Unhealed(str(digest), (*failure.names, name.name), str(error))
            else:
                return None
        return failure

    async def _names_of(self, digest: Digest) -> AsyncIterator[tuple[Target, Repository]]:
        for owner in sorted(await self.catalog.find_owners(digest)):
            for name in dict.fromkeys((*await self.catalog.names_at(owner), str(owner))):
                yield owner, Repository.parse_with_port(name)

    async def _pull_blob(self, _owner: Target, name: Repository, digest: Digest) -> None:
        blob = (await self.puller.blob(Wanted(name), digest)).blob
        try:
            await blob.read(max(blob.size - 1, 0), 1)  # given out once the whole is kept
        finally:
            blob.close()

    async def _pull_manifest(self, owner: Target, name: Repository, digest: Digest) -> None:
        """By its tags first: at a Helm repository, that is the shorter way."""
        for row in await self.catalog.find_tags_naming(owner, digest):
            if row.digest == digest:
                wanted = Wanted(name, rewrites_dependencies=_MADE_HERE in row.variant)
                await self.puller.manifest(wanted, Tag(row.tag))
                if await self.catalog.find_manifest(owner, digest) is not None:
                    return
        await self.puller.manifest(Wanted(name), digest)
