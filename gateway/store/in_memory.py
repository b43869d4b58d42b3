"""A blob on its way while the disk takes none: in memory, where all of them together have so much room."""

import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import BinaryIO, Final

from anyio import to_thread

from gateway.oci.digest import Digest
from gateway.store.blobs import StorageFull, check_size
from gateway.store.pieces import Pieces

LARGEST_BYTES: Final = 32 << 20  # a chart, an index; what is larger passes through
TOO_LARGE: Final = f"the disk takes nothing, and memory nothing larger than {LARGEST_BYTES >> 20} MiB"
_HASHED_ON_THE_LOOP_BYTES: Final = 256 << 10


@dataclass(slots=True)
class Room:
    """What blobs on their way may take of memory, all together."""

    free_bytes: int

    def take(self, size_bytes: int) -> None:
        if size_bytes > self.free_bytes:
            raise StorageFull("the disk takes nothing, and there is no room in memory")
        self.free_bytes -= size_bytes

    def free(self, size_bytes: int) -> None:
        self.free_bytes += size_bytes


class InMemory:
    """A blob on its way, in memory: hashed as it comes."""

    def __init__(self, expected: Digest | None, limit_bytes: int | None, room: Room) -> None:
        self._algorithm = "sha256" if expected is None else expected.algorithm
        self._hasher = Digest(self._algorithm, "").hasher()
        self._limit_bytes = limit_bytes
        self._room = room
        self._pieces = Pieces()

    @property
    def digest(self) -> Digest:
        return Digest(self._algorithm, self._hasher.hexdigest())

    @property
    def size(self) -> int:
        return self._pieces.size

    async def write(self, content: bytes) -> None:
        size = self.size + len(content)
        check_size(size, self._limit_bytes)
        if size > LARGEST_BYTES:
            raise StorageFull(TOO_LARGE)
        self._room.take(len(content))
        await self._append(content)

    async def take_in(self, size_bytes: int, read: Callable[[], Awaitable[bytes]]) -> bool:
        """Have what the disk has so far, once there is room for it; False where it could not be read."""
        self._room.take(size_bytes)
        content = b""
        try:
            content = await read()
        finally:
            self._room.free(size_bytes - len(content))
        await self._append(content)
        return len(content) == size_bytes

    async def _append(self, content: bytes) -> None:
        self._pieces.append(content)
        if len(content) <= _HASHED_ON_THE_LOOP_BYTES:
            self._hasher.update(content)
        else:
            await to_thread.run_sync(self._hasher.update, content)

    async def reread(self) -> BinaryIO:
        return io.BytesIO(await self.content())

    async def written(self, offset: int, length: int) -> bytes:
        return self._pieces.part(offset, offset + length)

    async def content(self) -> bytes:
        return await to_thread.run_sync(self._pieces.part, 0, self.size)
