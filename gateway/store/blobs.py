"""What every blob store promises, and one that keeps its blobs in memory."""

import io
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from gateway.oci.digest import Digest

WITHHELD_BYTES: Final = 32 << 10  # of a blob on its way: nobody gets its end before its digest is right


class DigestMismatch(ValueError):
    """The content has another digest than was expected; nothing is kept."""


class TooLarge(ValueError):
    """The content is longer than allowed; nothing is kept."""


class StorageFailed(Exception):
    """The disk, or what stands for it, refused: full, gone, read-only."""


class StorageFull(StorageFailed):
    """There is no room, or none that is allowed."""


class TransferBroken(StorageFailed):
    """Whoever writes the blob that is read along has gone, or writes no more; a part of it was read."""


class BlobGone(TransferBroken):
    """It was here, whole and verified, and is no more: what was read of it may be completed."""


@dataclass(frozen=True, slots=True, order=True)
class StoredBlob:
    """A blob as it lies on the disk; times are seconds since the epoch.

    ``used_at`` is when it was last opened, to the hour, or written.
    """

    digest: Digest
    size_bytes: int
    used_at: float
    kept_at: float


class BlobWriter(Protocol):
    """Takes a blob's content piece by piece; ``digest`` and ``size`` count what was written."""

    @property
    def digest(self) -> Digest: ...

    @property
    def size(self) -> int: ...

    async def write(self, content: bytes) -> None:
        """Append; raise TooLarge past the limit."""

    async def reread(self) -> BinaryIO:
        """Open what was written so far for reading, before it is kept; the caller closes it."""

    async def written(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset`` of what was written so far; fewer only at its end.

        For readers beside the one who writes; nothing of it is verified yet.
        """


class OpenBlob(Protocol):
    """A blob, open for reading; safe against the blob's removal meanwhile."""

    @property
    def size(self) -> int: ...

    async def read(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset``; none only at the end.

        Of a kept blob fewer come only at the end, of one that is followed what is there.
        """

    def close(self) -> None: ...


class BlobStore(Protocol):
    """Content by digest. Leaving ``create`` without an exception keeps the blob, durably."""

    def create(
        self, expected: Digest | None = None, limit_bytes: int | None = None, owner: str = ""
    ) -> AbstractAsyncContextManager[BlobWriter]:
        """Write a blob; raise DigestMismatch on leaving where ``expected`` is another digest.

        ``owner`` is for whom it is written: who names the same may follow.
        """

    async def open(self, digest: Digest) -> OpenBlob | None: ...

    async def follow(self, digest: Digest, size_bytes: int, owner: str = "") -> OpenBlob | None:
        """Read a blob along that another process is writing for ``owner``; None where nobody does.

        A read waits for what is not there yet. The last WITHHELD_BYTES are handed out once the whole is
        verified. Raise TransferBroken on reading where the writer fails, dies or stops.
        """

    async def size(self, digest: Digest) -> int | None: ...

    async def delete(self, digest: Digest) -> None:
        """Forget a blob; one that is not there is no error."""


async def keep_bytes(blobs: BlobStore, content: bytes) -> Digest:
    """Keep a blob that is already whole."""
    async with blobs.create() as writer:
        await writer.write(content)
    return writer.digest


async def read_whole(blobs: BlobStore, digest: Digest) -> bytes | None:
    """A kept blob's content in one piece, for content known to be small enough; None if it is damaged."""
    opened = await blobs.open(digest)
    if opened is None:
        return None
    try:
        return await opened.read(0, opened.size)
    except TransferBroken:
        return None
    finally:
        opened.close()


class MemoryBlobs:
    """Blobs in a dict: for tests, and for a look around."""

    def __init__(self) -> None:
        self._contents: dict[Digest, bytes] = {}

    @asynccontextmanager
    async def create(
        self, expected: Digest | None = None, limit_bytes: int | None = None, owner: str = ""
    ) -> AsyncIterator[BlobWriter]:
        writer = _MemoryWriter(expected, limit_bytes)
        yield writer
        check_digest(expected, writer.digest)
        self._contents[writer.digest] = writer.content

    async def open(self, digest: Digest) -> OpenBlob | None:
        content = self._contents.get(digest)
        return None if content is None else _MemoryBlob(content)

    async def follow(self, digest: Digest, size_bytes: int, owner: str = "") -> OpenBlob | None:
        """No other process sees this memory."""
        return None

    async def size(self, digest: Digest) -> int | None:
        content = self._contents.get(digest)
        return None if content is None else len(content)

    async def delete(self, digest: Digest) -> None:
        self._contents.pop(digest, None)


def check_digest(expected: Digest | None, actual: Digest) -> None:
    if expected is not None and expected != actual:
        raise DigestMismatch(f"expected {expected}, received {actual}")


def check_size(size: int, limit_bytes: int | None) -> None:
    if limit_bytes is not None and size > limit_bytes:
        raise TooLarge(f"longer than {limit_bytes} bytes")


class _MemoryWriter:
    def __init__(self, expected: Digest | None, limit_bytes: int | None) -> None:
        self._algorithm = Digest.of(b"") if expected is None else expected
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()

    @property
    def content(self) -> bytes:
        return bytes(self._buffer)

    @property
    def digest(self) -> Digest:
        hasher = self._algorithm.hasher()
        hasher.update(self._buffer)
        return Digest(self._algorithm.algorithm, hasher.hexdigest())

    @property
    def size(self) -> int:
        return len(self._buffer)

    async def write(self, content: bytes) -> None:
        check_size(self.size + len(content), self._limit_bytes)
        self._buffer += content

    async def reread(self) -> BinaryIO:
        return io.BytesIO(self._buffer)

    async def written(self, offset: int, length: int) -> bytes:
        return bytes(self._buffer[offset : offset + length])


class _MemoryBlob:
    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def size(self) -> int:
        return len(self._content)

    async def read(self, offset: int, length: int) -> bytes:
        return self._content[offset : offset + length]

    def close(self) -> None:
        """Nothing is held open."""
