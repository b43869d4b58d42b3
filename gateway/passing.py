"""A blob that cannot be kept: from its source to one client, in order, and its end once it is verified."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, TypeAlias

from anyio import to_thread

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.store.blobs import WITHHELD_BYTES, BlobGone, OpenBlob, TransferBroken

_AHEAD_BYTES: Final = 2 << 20
_HASHED_ON_THE_LOOP_BYTES: Final = 256 << 10

Opening: TypeAlias = Callable[[], AbstractAsyncContextManager[AsyncIterator[bytes]]]


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first ``size_bytes`` of a blob, which a reader may have got already; their own digest."""

    size_bytes: int
    digest: Digest


class PassThrough:
    """Read forward only; see OpenBlob.

    All of the blob is fetched, wherever a read begins: else its last byte could not be verified. Reads raise
    TransferBroken where upstream fails, sends other bytes, or others than those of ``prefix``.
    """

    def __init__(self, opening: Opening, descriptor: Descriptor, prefix: Prefix | None = None) -> None:
        self._descriptor = descriptor
        self._prefix = prefix
        self._hasher = descriptor.digest.hasher()
        self._received = 0
        self._position = 0  # of the first byte of what is ahead
        self._ahead = bytearray()
        self._is_verified = False
        self._failure: Exception | None = None
        self._news = asyncio.Event()
        self._taken = asyncio.Event()
        self.task = asyncio.create_task(self._receive(opening))

    @property
    def size(self) -> int:
        return self._descriptor.size

    async def read(self, offset: int, length: int) -> bytes:
        if offset >= self.size:
            return b""
        if offset < self._position:
            raise TransferBroken("what passes through is read once, in order")
        while offset > self._position or not await self._is_readable(offset):
            await self._skip_to(offset)
        return self._take(min(length, self._readable - offset))

    def close(self) -> None:
        self.task.cancel()

    @property
    def _readable(self) -> int:
        """So far the blob may be handed out: not its end, until all of it is known to be right."""
        if self._is_verified:
            return self.size
        return max(min(self._received, self.size - WITHHELD_BYTES), 0)

    async def _is_readable(self, offset: int) -> bool:
        if self._readable > offset:
            return True
        if self._failure is not None:
            raise TransferBroken(str(self._failure)) from self._failure
        await self._news.wait()
        return False

    async def _skip_to(self, offset: int) -> None:
        """Let go of what lies before ``offset``, as far as it has come."""
        if offset > self._position and not self._ahead:
            await self._is_readable(self.size)  # whatever comes
        self._take(offset - self._position)

    def _take(self, count: int) -> bytes:
        content = bytes(self._ahead[:count])
        del self._ahead[:count]
        self._position += len(content)
        self._taken.set()
        return content

    async def _receive(self, opening: Opening) -> None:
        try:
            async with opening() as pieces:
                async for piece in pieces:
                    await self._accept(piece)
            self._require(Prefix(self.size, self._descriptor.digest), self._received)
            self._is_verified = True
        except asyncio.CancelledError:
            self._failure = TransferBroken("it was broken off")
            raise
        except Exception as error:  # whoever reads is told
            self._failure = error
        finally:
            self._tell()

    async def _accept(self, piece: bytes) -> None:
        while len(self._ahead) >= _AHEAD_BYTES:
            self._taken.clear()
            await self._taken.wait()
        prefix, end = self._prefix, self._received + len(piece)
        if prefix is not None and self._received < prefix.size_bytes <= end:
            split = prefix.size_bytes - self._received
            await self._hash(piece[:split])
            self._require(prefix, prefix.size_bytes)
            await self._hash(piece[split:])
        else:
            await self._hash(piece)
        self._received = end
        self._ahead += piece
        self._tell()

    async def _hash(self, piece: bytes) -> None:
        if len(piece) <= _HASHED_ON_THE_LOOP_BYTES:
            self._hasher.update(piece)
        else:
            await to_thread.run_sync(self._hasher.update, piece)

    def _require(self, prefix: Prefix, hashed: int) -> None:
        if hashed != prefix.size_bytes or self._hasher.hexdigest() != prefix.digest.hex:
            raise TransferBroken(f"upstream sent other bytes than {self._descriptor.digest}")

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class GoingOn:
    """A blob that may vanish from where it is read: from then on it is what ``again`` opens."""

    def __init__(self, blob: OpenBlob, again: Callable[[], Awaitable[OpenBlob]]) -> None:
        self._blob = blob
        self._again = again

    @property
    def size(self) -> int:
        return self._blob.size

    async def read(self, offset: int, length: int) -> bytes:
        try:
            return await self._blob.read(offset, length)
        except BlobGone:
            blob = await self._again()
        self._blob.close()
        self._blob = blob
        return await blob.read(offset, length)

    def close(self) -> None:
        self._blob.close()
