"""A disk that is full: a blob store that refuses what goes beyond so many bytes, or to keep anything."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO

from gateway.oci.digest import Digest
from gateway.store.blobs import BlobWriter, MemoryBlobs, StorageFailed, StorageFull


class FullDisk(MemoryBlobs):
    """With no ``room_bytes`` it refuses to begin; ``keeps_nothing`` lets it fail at the very end."""

    def __init__(self, room_bytes: int) -> None:
        super().__init__()
        self.room_bytes = room_bytes
        self.keeps_nothing = ""

    @asynccontextmanager
    async def create(
        self, expected: Digest | None = None, limit_bytes: int | None = None, owner: str = ""
    ) -> AsyncIterator[BlobWriter]:
        if not self.room_bytes:
            raise StorageFull("the disk is full")
        async with super().create(expected, limit_bytes) as writer:
            yield _Bounded(writer, self.room_bytes)
            if self.keeps_nothing:
                raise StorageFailed(self.keeps_nothing)


@dataclass(frozen=True, slots=True)
class _Bounded:
    writer: BlobWriter
    room_bytes: int

    @property
    def digest(self) -> Digest:
        return self.writer.digest

    @property
    def size(self) -> int:
        return self.writer.size

    async def write(self, content: bytes) -> None:
        if self.size + len(content) > self.room_bytes:
            raise StorageFull("the disk is full")
        await self.writer.write(content)

    async def reread(self) -> BinaryIO:
        return await self.writer.reread()

    async def written(self, offset: int, length: int) -> bytes:
        return await self.writer.written(offset, length)
