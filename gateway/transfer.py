"""A blob on its way from upstream: written to the store, and read along by everybody who waits for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from gateway.oci.digest import Digest
from gateway.store.blobs import WITHHELD_BYTES, BlobGone, BlobStore, BlobWriter, OpenBlob, TransferBroken

_PIECE_BYTES: Final = 512 << 10
_GATHER_SECONDS: Final = 0.002


class Transfer:
    """What has arrived may be read, but for the end of it, until the whole has the right digest.

    ``decided`` is done as soon as there is something to read, or never will be.
    """

    def __init__(self, blobs: BlobStore, digest: Digest, size_bytes: int) -> None:
        self.size = size_bytes
        self._blobs = blobs
        self._digest = digest
        self.is_ours = False  # and not, for the same target, another process's
        self._readable = 0
        self._is_kept = False
        self._failure: BaseException | None = None
        self._onward: Callable[[], OpenBlob] | None = None
        self._writer: BlobWriter | None = None
        self._readers = 0
        self._news = asyncio.Event()
        self.decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def has_begun(self) -> bool:
        """Whether there is something to read: of a small blob, not before the whole is verified."""
        return self._is_kept or self._onward is not None or self._readable > 0

    @property
    def is_passed_on(self) -> bool:
        return self._onward is not None

    @property
    def has_failed(self) -> bool:
        return self._failure is not None

    async def write(self, writer: BlobWriter, pieces: AsyncIterator[bytes]) -> None:
        """Pass the pieces on to ``writer`` while others read; return when the writer may be closed."""
        self._writer = writer
        self._advance(0)
        try:
            async for piece in pieces:
                await writer.write(piece)
                self._advance(writer.size)
        finally:
            self._writer = None  # whoever reads now waits for what becomes of it
        while self._readers:
            await self._changed()

    def keep(self) -> None:
        """The store has it whole: all of it may be read."""
        self._is_kept = True
        self._readable = self.size
        self._tell()

    def pass_on(self, onward: Callable[[], OpenBlob]) -> None:
        """The store cannot take it: each reader goes on by itself, by what ``onward`` opens."""
        self._onward = onward
        self._tell()

    def fail(self, error: BaseException) -> None:
        """Nobody will ever get the rest."""
        self._failure = error
        self._tell()

    def _advance(self, written: int) -> None:
        self._readable = max(min(written, self.size) - WITHHELD_BYTES, 0)
        self._tell()

    async def read(self, offset: int, length: int) -> bytes | None:
        """Wait for something beyond ``offset``, and return it; None once ``rest`` has to be read instead."""
        has_gathered = False
        while not self._is_kept and self._onward is None:
            self._raise_failure()
            if self._writer is None or self._readable <= offset:
                await self._changed()
            elif has_gathered or not self._is_worth_gathering(offset):
                return await self._read_back(self._writer, offset, min(length, self._readable - offset))
            else:
                has_gathered = True
                await asyncio.sleep(_GATHER_SECONDS)
        return None

    def _is_worth_gathering(self, offset: int) -> bool:
        """Where a client has begun to receive, few large pieces cost less to send than many."""
        return offset > 0 and self._readable - offset < _PIECE_BYTES < self.size - offset

    async def _read_back(self, writer: BlobWriter, offset: int, length: int) -> bytes:
        self._readers += 1
        try:
            return await writer.written(offset, length)
        finally:
            self._readers -= 1
            self._tell()

    async def rest(self) -> OpenBlob:
        """What is read once nothing is read along any more."""
        if self._onward is not None:
            return self._onward()
        stored = await self._blobs.open(self._digest)
        if stored is None:
            raise BlobGone(f"{self._digest} was kept, and is gone again")
        return stored

    def open(self) -> OpenBlob:
        """The blob for one reader, from now on."""
        return _ReadAlong(self)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise TransferBroken(str(self._failure)) from self._failure

    def _tell(self) -> None:
        if not self.decided.done() and (self.has_begun or self.has_failed):
            self.decided.set_result(None)
        self._news.set()
        self._news = asyncio.Event()

    async def _changed(self) -> None:
        await self._news.wait()


class _ReadAlong:
    """Reads what has arrived, and the stored blob as soon as there is one."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._rest: OpenBlob | None = None

    @property
    def size(self) -> int:
        return self._transfer.size

    async def read(self, offset: int, length: int) -> bytes:
        if self._rest is None:
            piece = await self._transfer.read(offset, length)
            if piece is not None:
                return piece
            self._rest = await self._transfer.rest()
        return await self._rest.read(offset, length)

    def close(self) -> None:
        if self._rest is not None:
            self._rest.close()
