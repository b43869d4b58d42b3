"""A blob read along while another process writes it: its partial file, and what becomes of that."""

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

from gateway.oci.digest import Digest
from gateway.store.blobs import WITHHELD_BYTES, TransferBroken
from gateway.store.disk import READ_ONLY, is_at, is_held, on_disk, read_at

STALLED_SECONDS: Final = 60.0  # nothing has arrived for so long
FINISHING_SECONDS: Final = 600.0  # all has arrived, and is being verified and synced
_PAUSE_SECONDS: Final = 0.02
_HASHED_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What is followed: where it is written, where it will stand, what it must be."""

    partial: Path
    place: Path
    digest: Digest
    size_bytes: int


class FollowedBlob:
    """Reads as the writer writes; see BlobStore.follow."""

    def __init__(
        self,
        file: FileIO,
        followed: Followed,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._file = file
        self._followed = followed
        self._now = now
        self._sleep = sleep
        self._is_verified = False

    @property
    def size(self) -> int:
        return self._followed.size_bytes

    async def read(self, offset: int, length: int) -> bytes:
        wanted = min(length, self.size - offset)
        if wanted <= 0:
            return b""
        end = await self._end_past(offset)
        content = await read_at(self._file.fileno(), offset, min(wanted, end - offset))
        if not content:
            raise TransferBroken(f"{self._followed.digest} lost bytes that it had")
        return content

    def close(self) -> None:
        self._file.close()

    async def _end_past(self, offset: int) -> int:
        """Wait until there is something after ``offset`` that may be handed out; return where it ends."""
        seen, seen_at = -1, self._now()
        while True:
            written = self._written()
            if written != seen:
                seen, seen_at = written, self._now()
            end = await self._end(written, offset)
            if end > offset:
                return end
            patience = STALLED_SECONDS if written < self.size else FINISHING_SECONDS
            if self._now() - seen_at >= patience:
                raise TransferBroken(f"{self._followed.digest} has not grown for {patience:.0f} s")
            await self._sleep(_PAUSE_SECONDS)

    async def _end(self, written: int, offset: int) -> int:
        end = min(written, self.size - WITHHELD_BYTES)
        if not self._is_verified and end <= offset:
            self._is_verified = await self._is_right()
        return self.size if self._is_verified else end

    async def _is_right(self) -> bool:
        """Whether the writer has verified it; raise TransferBroken once it never will."""
        fd = self._file.fileno()
        is_writing = is_held(fd)  # asked first: whoever writes no more has given it its place, or never will
        if is_at(self._followed.place, fd):
            self._require_size()
            return True
        if is_writing:
            return False
        self._require_size()
        await on_disk(_require_digest, fd, self._followed.digest)  # its place may have been taken since
        return True

    def _require_size(self) -> None:
        written = self._written()
        if written != self.size:
            raise TransferBroken(f"{self._followed.digest} ended at {written} of {self.size} bytes")

    def _written(self) -> int:
        return os.fstat(self._file.fileno()).st_size


def open_followed(
    followed: Followed,
    now: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> FollowedBlob | None:
    """Open what a living writer writes; None where there is none."""
    try:
        fd = os.open(followed.partial, READ_ONLY)
    except OSError:  # not there, or nothing that we wrote: nobody to follow
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode) or not is_held(fd):
        os.close(fd)
        return None
    return FollowedBlob(FileIO(fd), followed, now, sleep)


def _require_digest(fd: int, digest: Digest) -> None:
    hasher, offset = digest.hasher(), 0
    while piece := os.pread(fd, _HASHED_AT_ONCE, offset):
        hasher.update(piece)
        offset += len(piece)
    if hasher.hexdigest() != digest.hex:
        raise TransferBroken(f"{digest} was not received")
