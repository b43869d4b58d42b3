"""Blobs while the disk takes none: in memory as far as they fit, and written down once it takes them."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import BinaryIO, Final

import structlog
from anyio import to_thread
from cachetools import LRUCache

from gateway.oci.digest import Digest
from gateway.store.blobs import (
    BlobGone,
    BlobStore,
    BlobWriter,
    DigestMismatch,
    OpenBlob,
    StorageFailed,
    StorageFull,
    check_digest,
)
from gateway.store.conditions import Condition, Conditions
from gateway.store.in_memory import LARGEST_BYTES, TOO_LARGE, InMemory, Room

log = structlog.get_logger(__name__)

MEMORY_BYTES: Final = 64 << 20  # of what is held, and as much again of what is on its way
_PROBE_SECONDS: Final = 2.0
_PROBE: Final = bytes(256 << 10)


def always() -> bool:
    return True


class OverflowBlobs:
    """A blob store in front of one on a disk that may fail; reads look in both.

    A blob that meets the disk's refusal halfway goes on in memory, and its writer does not notice; what is
    too large for that is StorageFailed, at once where that is known.
    ``may_write`` says whether the disk may be tried again.
    """

    def __init__(
        self,
        disk: BlobStore,
        conditions: Conditions,
        may_write: Callable[[], bool] = always,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._disk = disk
        self._conditions = conditions
        self._may_write = may_write
        self._sleep = sleep
        self._held: LRUCache[Digest, bytes] = LRUCache(MEMORY_BYTES, getsizeof=len)
        self._room = Room(MEMORY_BYTES)
        self._recovery: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def create(
        self, expected: Digest | None = None, limit_bytes: int | None = None, owner: str = ""
    ) -> AsyncIterator[BlobWriter]:
        if self._recovery is None and not self._may_write():
            self._begin(StorageFull("what is left of the disk is for the catalog"))
        if self._recovery is not None and expected is not None and (limit_bytes or 0) > LARGEST_BYTES:
            raise StorageFull(TOO_LARGE)
        memory = InMemory(expected, limit_bytes, self._room)
        if self._recovery is None:
            writer = _Writer(memory, self._disk.create(expected, limit_bytes, owner), self._begin)
        else:
            writer = _Writer(memory, None, self._begin)
        try:
            await writer.open()
            try:
                yield writer
                is_on_disk = await writer.keep()
            except BaseException as error:
                await writer.drop(error)
                raise
            if not is_on_disk:
                check_digest(expected, memory.digest)
                self._hold(memory.digest, await memory.content())
        finally:
            self._room.free(memory.size)

    async def open(self, digest: Digest) -> OpenBlob | None:
        content = self._held.get(digest)
        return await self._disk.open(digest) if content is None else _HeldBlob(self, digest, len(content))

    def held(self, digest: Digest) -> bytes | None:
        """What is in memory just now: what is newer takes its place, or the disk has it by now."""
        return self._held.get(digest)

    async def follow(self, digest: Digest, size_bytes: int, owner: str = "") -> OpenBlob | None:
        return await self._disk.follow(digest, size_bytes, owner)

    async def size(self, digest: Digest) -> int | None:
        content = self._held.get(digest)
        return await self._disk.size(digest) if content is None else len(content)

    async def delete(self, digest: Digest) -> None:
        self._held.pop(digest, None)
        await self._disk.delete(digest)

    async def close(self) -> None:
        """Try no more; what is only in memory is gone."""
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)

    def _begin(self, error: StorageFailed) -> None:
        """The disk has refused: from now on it is tried now and then, and by nobody who waits."""
        full = isinstance(error, StorageFull)
        self._conditions.begin(Condition.DISK_FULL if full else Condition.BLOBS_UNWRITABLE, str(error))
        self._recover()

    def _hold(self, digest: Digest, content: bytes) -> None:
        self._held[digest] = content
        self._recover()

    def _recover(self) -> None:
        if self._recovery is None:
            self._recovery = asyncio.create_task(self._try_again())

    async def _try_again(self) -> None:
        while True:
            await self._sleep(_PROBE_SECONDS)
            try:
                if self._may_write():
                    await self._write_down()
                    break
            except StorageFailed as error:
                log.debug("disk_refuses_still", reason=str(error))
            except Exception:  # whatever it is, the next time it may be over
                log.exception("disk_not_tried")
        self._recovery = None
        for condition in (Condition.DISK_FULL, Condition.BLOBS_UNWRITABLE):
            self._conditions.end(condition)

    async def _write_down(self) -> None:
        """Bring to the disk what is held here; raise StorageFailed where it takes it not."""
        with suppress(DigestMismatch):  # so nothing is kept of it
            async with self._disk.create(Digest.of(b"")) as writer:
                await writer.write(_PROBE)
        while self._held:
            digest, content = next(iter(self._held.items()))
            async with self._disk.create(digest) as writer:
                await writer.write(content)
            self._held.pop(digest, None)


class _Writer:
    """Writes to the disk, and in memory from where the disk refuses."""

    def __init__(
        self,
        memory: InMemory,
        entering: AbstractAsyncContextManager[BlobWriter] | None,
        refused: Callable[[StorageFailed], None],
    ) -> None:
        self._memory = memory
        self._entering = entering
        self._refused = refused
        self._file: BlobWriter | None = None

    @property
    def _at(self) -> BlobWriter:
        return self._memory if self._file is None else self._file

    @property
    def digest(self) -> Digest:
        return self._at.digest

    @property
    def size(self) -> int:
        return self._at.size

    async def open(self) -> None:
        if self._entering is None:
            return
        try:
            self._file = await self._entering.__aenter__()
        except StorageFailed as error:
            self._refused(error)

    async def write(self, content: bytes) -> None:
        if self._file is not None:
            before = self._file.size
            try:
                await self._file.write(content)
            except StorageFailed as error:
                if await self._move(self._file, error) > before:  # it had taken it, though not to the disk
                    return
            else:
                return
        await self._memory.write(content)

    async def reread(self) -> BinaryIO:
        if self._file is not None:
            try:
                return await self._file.reread()
            except StorageFailed as error:
                await self._move(self._file, error)
        return await self._memory.reread()

    async def written(self, offset: int, length: int) -> bytes:
        return await self._at.written(offset, length)

    async def keep(self) -> bool:
        """Whether the disk has it now; where it refuses, memory has the content."""
        with await self._spare() as spare:
            if self._at is self._memory:
                return False
            try:
                await self._leave(None)
            except StorageFailed as error:
                self._refused(error)
                if not await self._memory.take_in(self.size, partial(to_thread.run_sync, spare.read)):
                    raise
                self._file = None
                return False
        return True

    async def _spare(self) -> BinaryIO:
        """What is in the file by another handle, which stays readable when the file is dropped.

        Empty for what memory would not take.
        """
        if self._at is self._memory or self.size > LARGEST_BYTES:
            return io.BytesIO()
        return await self.reread()

    async def drop(self, error: BaseException) -> None:
        if self._file is not None:
            await self._leave(error)

    async def _move(self, file: BlobWriter, error: StorageFailed) -> int:
        """Go on in memory; return how much it has. What does not fit there stays where it is readable."""
        self._refused(error)
        if file.size > LARGEST_BYTES:
            raise error
        await self._memory.take_in(file.size, partial(file.written, 0, file.size))
        self._file = None
        await self._leave(error)
        return self._memory.size

    async def _leave(self, error: BaseException | None) -> None:
        """Leave the disk's block, by ``error`` if there is one."""
        if self._entering is None:
            return
        entered, self._entering = self._entering, None
        if error is None:
            await entered.__aexit__(None, None, None)
            return
        with suppress(StorageFailed):  # of its own: what it could not clear away is swept at boot
            await entered.__aexit__(type(error), error, error.__traceback__)


class _HeldBlob:
    """Keeps nothing in memory: those who read slowly are as many as they like."""

    def __init__(self, blobs: OverflowBlobs, digest: Digest, size_bytes: int) -> None:
        self._blobs = blobs
        self._digest = digest
        self._on_disk: OpenBlob | None = None
        self.size = size_bytes

    async def read(self, offset: int, length: int) -> bytes:
        content = self._blobs.held(self._digest)
        if content is not None:
            return content[offset : offset + length]
        if self._on_disk is None:
            self._on_disk = await self._blobs.open(self._digest)
        if self._on_disk is None:
            raise BlobGone(f"{self._digest} was in memory, and is no more")
        return await self._on_disk.read(offset, length)

    def close(self) -> None:
        if self._on_disk is not None:
            self._on_disk.close()
