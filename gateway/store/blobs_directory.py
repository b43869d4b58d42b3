"""Blobs as files: ``sha256/ab/<hex>``, written beside their place, synced, then renamed into it."""

import asyncio
import errno
import os
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path

from gateway.oci.digest import Digest
from gateway.store.blob_follow import Followed, open_followed
from gateway.store.blobs import BlobWriter, OpenBlob, check_digest
from gateway.store.disk import READ_ONLY, make_folders, on_disk, read_at, remove_if_orphan
from gateway.store.partial_file import LINGER_SECONDS, PartialFile, partial_path

_PARTIAL = "partial"


class DirectoryBlobs:
    """A blob store in a directory. A partial file is flocked by its writer; sweep() removes the orphans.

    What a writer gets is in its file after ``linger_seconds`` at the latest, for those who follow.
    """

    def __init__(
        self,
        root: Path,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self._root = root
        self._partial = root / _PARTIAL
        self._now = now
        self._sleep = sleep
        self._linger_seconds = linger_seconds
        make_folders(root, self._partial)

    @asynccontextmanager
    async def create(
        self, expected: Digest | None = None, limit_bytes: int | None = None, owner: str = ""
    ) -> AsyncIterator[BlobWriter]:
        async with PartialFile(self._partial, expected, limit_bytes, owner, self._linger_seconds) as partial:
            yield partial
            await partial.flush()
            check_digest(expected, partial.digest)
            await partial.keep_as(self._path(partial.digest))

    async def open(self, digest: Digest) -> OpenBlob | None:
        return await on_disk(_open_blob, self._path(digest))

    async def follow(self, digest: Digest, size_bytes: int, owner: str = "") -> OpenBlob | None:
        """The writer may also be in this process."""
        partial = partial_path(self._partial, digest, owner)
        followed = Followed(partial=partial, place=self._path(digest), digest=digest, size_bytes=size_bytes)
        return await on_disk(open_followed, followed, self._now, self._sleep)

    async def size(self, digest: Digest) -> int | None:
        return await on_disk(_size_of, self._path(digest))

    async def delete(self, digest: Digest) -> None:
        await on_disk(_unlink, self._path(digest))

    def sweep(self) -> int:
        """Remove partial files that no living writer holds; return how many."""
        return sum(remove_if_orphan(path) for path in self._partial.iterdir())

    def _path(self, digest: Digest) -> Path:
        return self._root / digest.algorithm / digest.hex[:2] / digest.hex


class _BlobFile:
    def __init__(self, file: FileIO, size: int) -> None:
        self._file = file
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    async def read(self, offset: int, length: int) -> bytes:
        wanted = max(min(length, self._size - offset), 0)
        return await read_at(self._file.fileno(), offset, wanted)

    def close(self) -> None:
        self._file.close()


def _open_blob(path: Path) -> OpenBlob | None:
    try:
        fd = os.open(path, READ_ONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a symlink is nothing that we wrote
            return None
        raise
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        return None
    return _BlobFile(FileIO(fd), status.st_size)


def _size_of(path: Path) -> int | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
