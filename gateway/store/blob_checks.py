"""Whether a stored blob still is what it was: hashed once for each file that a process reads."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from functools import partial
from io import FileIO
from typing import Final, TypeAlias

import structlog
from anyio import CapacityLimiter
from cachetools import LRUCache

from gateway.oci.digest import Digest
from gateway.store.blobs import WITHHELD_BYTES, OpenBlob, TransferBroken
from gateway.store.conditions import Condition, Conditions
from gateway.store.disk import duplicate, on_disk, read_at

log = structlog.get_logger(__name__)

_PIECE_BYTES: Final = 256 << 10
_STEP_BYTES: Final = 8 << 20  # so much in a row before anyone may end it
_AT_ONCE_BYTES: Final = 16 << 20  # of what is larger a reader has the start while it is hashed
_THREADS: Final = 4  # others are left for who reads
_REMEMBERED: Final = 50_000

Pace: TypeAlias = Callable[[int], Awaitable[None]]
_File: TypeAlias = tuple[Digest, int, int, int, int]  # one that is written to, or replaced, is another


class Damage:
    """Tells of damaged blobs, until each is back."""

    def __init__(self, conditions: Conditions | None) -> None:
        self._conditions = conditions
        self._missing: set[Digest] = set()

    def found(self, digest: Digest, what: str) -> None:
        log.error("blob_damaged", digest=str(digest), what=what, hint="it is in quarantine/ now")
        self._missing.add(digest)
        if self._conditions is not None:
            self._conditions.begin(Condition.BLOBS_CORRUPT, f"{digest} {what}")

    def mended(self, digest: Digest) -> None:
        if digest not in self._missing:
            return
        self._missing.discard(digest)
        if not self._missing and self._conditions is not None:
            self._conditions.end(Condition.BLOBS_CORRUPT)


class Checks:
    """Hashes a file when this process reads it first; what it wrote itself counts as hashed.

    ``quarantine`` puts a blob's file out of the way, if it still is the one with this descriptor.
    """

    def __init__(self, quarantine: Callable[[Digest, int], bool], damage: Damage) -> None:
        self._quarantine = quarantine
        self._damage = damage
        self._right: LRUCache[Digest, _File] = LRUCache(_REMEMBERED)  # of each blob the last file
        self._running: dict[_File, asyncio.Task[bool]] = {}
        self._threads = CapacityLimiter(_THREADS)

    def note(self, digest: Digest, status: os.stat_result) -> None:
        """This file is right."""
        self._right[digest] = _file(digest, status)
        self._damage.mended(digest)

    async def opened(self, digest: Digest, file: FileIO) -> OpenBlob | None:
        """A file as a blob; None where it turned out to be another's, or nobody's."""
        status = os.fstat(file.fileno())
        if self._right.get(digest) == _file(digest, status):
            return BlobFile(file, status)
        check = self._running.get(_file(digest, status)) or self._begin(digest, file, status)
        if status.st_size > _AT_ONCE_BYTES:
            return UncheckedFile(file, status, check)
        try:
            is_right = await asyncio.shield(check)
        except BaseException:
            file.close()
            raise
        if is_right:
            return BlobFile(file, status)
        file.close()
        return None

    def _begin(self, digest: Digest, file: FileIO, status: os.stat_result) -> asyncio.Task[bool]:
        """Each file is hashed once, whoever opens it meanwhile, and to the end, whoever leaves."""
        key = _file(digest, status)
        check = asyncio.create_task(self._check(digest, FileIO(duplicate(file.fileno()))))
        self._running[key] = check
        check.add_done_callback(partial(self._end, key))
        return check

    def _end(self, key: _File, check: asyncio.Task[bool]) -> None:
        del self._running[key]
        if not check.cancelled():
            check.exception()  # seen: whoever waited may have left

    async def _check(self, digest: Digest, file: FileIO) -> bool:
        with file:
            return await self.verify(digest, file, _at_once)

    async def verify(self, digest: Digest, file: FileIO, pace: Pace) -> bool:
        """Hash a file, also one that was found right before; see DirectoryBlobs.verify."""
        status = os.fstat(file.fileno())
        if await self._is_right(_Hashing(file.fileno(), digest), pace):
            self.note(digest, status)
            return True
        if await on_disk(self._quarantine, digest, file.fileno()):
            self._damage.found(digest, "has other content")
        return False

    async def _is_right(self, hashing: "_Hashing", pace: Pace) -> bool:
        while count := await on_disk(hashing.step, limiter=self._threads):
            await pace(count)
        return hashing.is_right


class BlobFile:
    """A file that holds what its name says; one that is written to meanwhile never gives its end away."""

    def __init__(self, file: FileIO, status: os.stat_result) -> None:
        self._file = file
        self._status = status

    @property
    def size(self) -> int:
        return self._status.st_size

    async def read(self, offset: int, length: int) -> bytes:
        wanted = max(min(length, self.size - offset), 0)
        content = await read_at(self._file.fileno(), offset, wanted)
        if wanted and offset + wanted == self.size:
            now = os.fstat(self._file.fileno())
            if (now.st_size, now.st_mtime_ns) != (self.size, self._status.st_mtime_ns):
                raise TransferBroken("the stored blob was changed while it was read")
        return content

    def close(self) -> None:
        self._file.close()


class UncheckedFile(BlobFile):
    """Its end is withheld until it is known to be right; who gets what is wrong, does not get all of it."""

    def __init__(self, file: FileIO, status: os.stat_result, check: asyncio.Task[bool]) -> None:
        super().__init__(file, status)
        self._check = check

    async def read(self, offset: int, length: int) -> bytes:
        if offset + length > self.size - WITHHELD_BYTES and not await asyncio.shield(self._check):
            raise TransferBroken("the stored blob is damaged: it will be fetched again")
        return await super().read(offset, length)


class _Hashing:
    def __init__(self, fd: int, digest: Digest) -> None:
        self._fd = fd
        self._digest = digest
        self._hasher = digest.hasher()
        self._hashed = 0

    def step(self) -> int:
        """Hash some more, and return how much; none at the end."""
        start = self._hashed
        while self._hashed - start < _STEP_BYTES and (piece := self._read()):
            self._hasher.update(piece)
            self._hashed += len(piece)
        return self._hashed - start

    @property
    def is_right(self) -> bool:
        return self._hasher.hexdigest() == self._digest.hex

    def _read(self) -> bytes:
        """What the disk cannot give back is as wrong as anything."""
        try:
            return os.pread(self._fd, _PIECE_BYTES, self._hashed)
        except OSError as error:
            if error.errno == errno.EIO:
                return b""
            raise


async def _at_once(_count: int) -> None:
    """As fast as it goes."""


def _file(digest: Digest, status: os.stat_result) -> _File:
    return (digest, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
