"""Blobs as files: written beside their place, synced, renamed into it, hashed when they are read first."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from gateway.oci.digest import Digest
from gateway.store.blob_checks import Checks, Damage, Pace
from gateway.store.blob_follow import Followed, open_followed
from gateway.store.blob_places import NoPlainFile, Places
from gateway.store.blobs import BlobWriter, OpenBlob, StoredBlob, check_digest
from gateway.store.conditions import Conditions
from gateway.store.disk import on_disk, remove_if_orphan
from gateway.store.partial_file import LINGER_SECONDS, PartialFile, partial_path


class DirectoryBlobs:
    """A blob store in a directory. A partial file is flocked by its writer; sweep() removes the orphans.

    What a writer gets is in its file after ``linger_seconds`` at the latest, for those who follow. What is
    damaged is put into quarantine, told to ``conditions``, and is no blob any more. ``wall`` gives seconds
    since the epoch. What is no coroutine here may block, and raises OSError: it is for threads.
    """

    def __init__(
        self,
        root: Path,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        linger_seconds: float = LINGER_SECONDS,
        *,
        wall: Callable[[], float] = time.time,
        conditions: Conditions | None = None,
    ) -> None:
        self._places = Places(root, wall)
        self._now = now
        self._sleep = sleep
        self._linger_seconds = linger_seconds
        self._damage = Damage(conditions)
        self._checks = Checks(self._places.quarantine, self._damage)
        self._places.make()

    @asynccontextmanager
    async def create(
        self, expected: Digest | None = None, limit_bytes: int | None = None, owner: str = ""
    ) -> AsyncIterator[BlobWriter]:
        folder = self._places.partial
        async with PartialFile(folder, expected, limit_bytes, owner, self._linger_seconds) as writing:
            yield writing
            await writing.flush()
            digest = writing.digest
            check_digest(expected, digest)
            make_way = partial(self._places.quarantine, digest)
            self._checks.note(digest, await writing.keep_as(self._places.of(digest), make_way))

    async def open(self, digest: Digest) -> OpenBlob | None:
        """A blob that was set aside is put back; so it is by ``size``."""
        try:
            file = await on_disk(self._places.open, digest)
        except NoPlainFile:
            await self.quarantine(digest)
            return None
        return None if file is None else await self._checks.opened(digest, file)

    async def follow(self, digest: Digest, size_bytes: int, owner: str = "") -> OpenBlob | None:
        """The writer may also be in this process."""
        written = partial_path(self._places.partial, digest, owner)
        place = self._places.of(digest)
        followed = Followed(partial=written, place=place, digest=digest, size_bytes=size_bytes)
        return await on_disk(open_followed, followed, self._now, self._sleep)

    async def size(self, digest: Digest) -> int | None:
        try:
            return await on_disk(self._places.size, digest)
        except NoPlainFile:
            await self.quarantine(digest)
            return None

    async def delete(self, digest: Digest) -> None:
        await on_disk(self._places.delete, digest)

    async def quarantine(self, digest: Digest) -> None:
        """Take what is in a blob's place out of the way, and tell; that there is nothing is fine."""
        if await on_disk(self._places.quarantine, digest):
            self._damage.found(digest, "was no blob")

    def sweep(self) -> int:
        """Remove partial files that no living writer holds; return how many."""
        return sum(remove_if_orphan(path) for path in self._places.partial.iterdir())

    def scan(self) -> Iterator[StoredBlob]:
        """Every blob, in no order."""
        return self._places.scan()

    def odd(self) -> Iterator[Digest]:
        """What has a blob's name, and is no plain file."""
        return self._places.odd()

    def dying(self) -> Iterator[StoredBlob]:
        """Blobs that were set aside; ``kept_at`` is when."""
        return self._places.dying()

    def use(self, digest: Digest) -> int | None:
        """The size of a blob, which counts as a use; None where there is none."""
        try:
            file = self._places.open(digest)
        except NoPlainFile:
            self._places.quarantine(digest)
            return None
        if file is None:
            return None
        with file:
            return os.fstat(file.fileno()).st_size

    def adopt(self, folder: Path, digests: Iterable[Digest]) -> None:
        """Take files of a folder on the same disk, each called by the hex of its digest, and synced."""
        self._places.adopt(folder, digests)

    def remove(self, digest: Digest) -> None:
        """Forget a blob; one that is not there is no error."""
        self._places.delete(digest)

    def set_aside(self, digest: Digest, unused_since: float) -> bool:
        """Take a blob out of its place, to be removed later; False where it is gone or was used since.

        Who reads it meanwhile puts it back.
        """
        return self._places.set_aside(digest, unused_since)

    def remove_dying(self, digest: Digest) -> int:
        """Remove a blob that was set aside; return the bytes freed, 0 where somebody put it back."""
        return self._places.remove_dying(digest)

    def empty_quarantine(self, before: float) -> None:
        """Remove for good what was put into quarantine before, in seconds since the epoch."""
        self._places.empty_quarantine(before)

    async def verify(self, digest: Digest, pace: Pace) -> bool | None:
        """Hash a blob, which counts as no use of it; None where there is none.

        What is damaged is put into quarantine. ``pace`` is told of each piece, and may take its time.
        """
        try:
            file = await on_disk(self._places.open_unused, digest)
        except NoPlainFile:
            await self.quarantine(digest)
            return False
        if file is None:
            return None
        with file:
            return await self._checks.verify(digest, file, pace)
