"""Where blobs lie in their directory, and how they leave it: set aside, removed, put into quarantine."""

import errno
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Final

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.store.blobs import StoredBlob
from gateway.store.disk import READ_ONLY, make_folders, sync_folder

PARTIAL: Final = "partial"
_DYING: Final = "dying"
_QUARANTINE: Final = "quarantine"
_TOUCH_SECONDS: Final = 3600.0  # a blob's last use is known to the hour: a busy one is not written each time
_NOT_OURS: Final = frozenset({errno.ELOOP, errno.ENXIO})  # a symlink, a socket
_KEEP_USE: Final = getattr(os, "O_NOATIME", 0)
_TRIES: Final = 3  # whoever sets a blob aside may be quicker, once
_NANOSECONDS: Final = 10**9


class NoPlainFile(Exception):
    """What has a blob's name is a symlink, a folder, a FIFO: nothing that we wrote."""


class Places:
    """Files as ``sha256/ab/<hex>``. A blob's last use is its access time, its birth its modification time.

    So a file can be judged beside any catalog. Everything here may block, and raises OSError. ``now`` gives
    seconds since the epoch.
    """

    def __init__(self, root: Path, now: Callable[[], float] = time.time) -> None:
        self._root = root
        self._now = now
        self.partial = root / PARTIAL
        self._dying = root / _DYING
        self._quarantine = root / _QUARANTINE

    def make(self) -> None:
        make_folders(self._root, self.partial, self._dying, self._quarantine)

    def of(self, digest: Digest) -> Path:
        return self._root / digest.algorithm / digest.hex[:2] / digest.hex

    def open(self, digest: Digest) -> FileIO | None:
        """Open a blob, and note that it was used; raise NoPlainFile."""
        for _ in range(_TRIES):
            file = self.open_unused(digest)
            if file is not None:
                self._note_use(file)
                return file
            if not self._resurrect(digest):
                return None
        return None

    def open_unused(self, digest: Digest) -> FileIO | None:
        """Open a blob; its last use stays what it was, however the disk is mounted. Raise NoPlainFile."""
        try:
            return _open_plain(self.of(digest), READ_ONLY | _KEEP_USE)
        except PermissionError:  # only who owns a file may say so
            return _open_plain(self.of(digest), READ_ONLY)

    def size(self, digest: Digest) -> int | None:
        """Raise NoPlainFile."""
        for _ in range(_TRIES):
            try:
                status = self.of(digest).lstat()
            except FileNotFoundError:
                if not self._resurrect(digest):
                    return None
                continue
            if not stat.S_ISREG(status.st_mode):
                raise NoPlainFile(stat.filemode(status.st_mode))
            return status.st_size
        return None

    def delete(self, digest: Digest) -> None:
        for path in (self.of(digest), self._aside(digest)):
            path.unlink(missing_ok=True)

    def adopt(self, folder: Path, digests: Iterable[Digest]) -> None:
        """Rename synced files, each called by the hex of its digest, into their places; durable on return."""
        shards: set[Path] = set()
        for digest in digests:
            place = self.of(digest)
            if place.parent not in shards:
                make_folders(place.parent.parent, place.parent)
                shards.add(place.parent)
            try:
                (folder / digest.hex).rename(place)
            except IsADirectoryError:
                self.quarantine(digest)
                (folder / digest.hex).rename(place)
        above = {shard.parent for shard in shards}
        for synced in (*shards, *above, *([self._root] if shards else ())):
            sync_folder(synced)

    def scan(self) -> Iterator[StoredBlob]:
        """Every blob that is a plain file, in no order; one that goes away meanwhile may be left out."""
        for digest, entry in self._named():
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield StoredBlob(digest, status.st_size, self._used_at(status), status.st_mtime)

    def odd(self) -> Iterator[Digest]:
        """What has a blob's name, and is no plain file."""
        for digest, entry in self._named():
            if not entry.is_file(follow_symlinks=False):
                yield digest

    def dying(self) -> Iterator[StoredBlob]:
        """Blobs that were set aside; ``kept_at`` is when, long ago where its clock was ahead of ours."""
        with os.scandir(self._dying) as entries:
            for entry in entries:
                digest = _digest_of(*entry.name.partition("-")[::2])
                if digest is None:
                    continue
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        aside_at = self._unless_ahead(status.st_atime)
                        yield StoredBlob(digest, status.st_size, aside_at, aside_at)

    def set_aside(self, digest: Digest, unused_since: float) -> bool:
        """Take a blob out of its place, to be removed later; False where it is gone or was used since.

        A reader that comes meanwhile puts it back. The access time tells from then on when it was set aside.
        """
        place = self.of(digest)
        try:
            status = place.lstat()
            used_at = self._used_at(status)
            if not stat.S_ISREG(status.st_mode) or used_at > unused_since:
                return False
            self._touch(place, status)
            if not used_at:  # from a clock that was ahead: its time begins now
                return False
            make_folders(self._dying)
            place.rename(self._aside(digest))
        except FileNotFoundError:
            return False
        return True

    def remove_dying(self, digest: Digest) -> int:
        """Remove a blob that was set aside; return the bytes freed, 0 where somebody put it back."""
        path = self._aside(digest)
        try:
            size_bytes = path.lstat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return size_bytes

    def quarantine(self, digest: Digest, fd: int | None = None) -> bool:
        """Take what is in a blob's place out of the way, whatever it is; with ``fd``, only that very file."""
        place = self.of(digest)
        try:
            if fd is not None and not os.path.samestat(place.lstat(), os.fstat(fd)):
                return False
            make_folders(self._quarantine)
            self._move_to_quarantine(place, f"{digest.algorithm}-{digest.hex}")
        except FileNotFoundError:
            return False
        return True

    def empty_quarantine(self, before: float) -> None:
        """Remove for good what was put into quarantine before; times are seconds since the epoch."""
        for path in self._quarantine.iterdir():
            status = path.lstat()
            if status.st_ctime >= before:  # moved since
                continue
            if stat.S_ISDIR(status.st_mode):
                shutil.rmtree(path)
            else:
                path.unlink()

    def _move_to_quarantine(self, place: Path, name: str) -> None:
        """One of each name is enough, where one can take the other's place."""
        try:
            place.rename(self._quarantine / name)
        except FileNotFoundError:
            raise
        except OSError:  # one of the two is a directory
            place.rename(self._quarantine / f"{name}-{time.time_ns()}")

    def _used_at(self, status: os.stat_result) -> float:
        """0 where a clock that was ahead of ours said so."""
        return max(self._unless_ahead(status.st_atime), self._unless_ahead(status.st_mtime))

    def _unless_ahead(self, seconds: float) -> float:
        return seconds if seconds <= self._now() + _TOUCH_SECONDS else 0.0

    def _note_use(self, file: FileIO) -> None:
        status = os.fstat(file.fileno())
        if abs(self._now() - status.st_atime) > _TOUCH_SECONDS:
            with suppress(OSError):  # a file system that is read-only: nothing is evicted there
                self._touch(file.fileno(), status)

    def _touch(self, file: Path | int, status: os.stat_result) -> None:
        used = int(self._now() * _NANOSECONDS)
        os.utime(file, ns=(used, status.st_mtime_ns))

    def _resurrect(self, digest: Digest) -> bool:
        aside = self._aside(digest)
        try:
            self._touch(aside, aside.lstat())
            aside.rename(self.of(digest))
        except FileNotFoundError:
            return False
        return True

    def _aside(self, digest: Digest) -> Path:
        return self._dying / f"{digest.algorithm}-{digest.hex}"

    def _named(self) -> Iterator[tuple[Digest, os.DirEntry[str]]]:
        for algorithm in _folders(self._root):
            for shard in _folders(Path(algorithm.path)):
                with os.scandir(shard) as entries:
                    for entry in entries:
                        digest = _digest_of(algorithm.name, entry.name)
                        if digest is not None and digest.hex[:2] == shard.name:
                            yield digest, entry


def _open_plain(path: Path, flags: int) -> FileIO | None:
    try:
        fd = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in _NOT_OURS:
            raise NoPlainFile(error.strerror) from error
        raise
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return FileIO(fd)
    os.close(fd)
    raise NoPlainFile(stat.filemode(mode))


def _folders(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]


def _digest_of(algorithm: str, name: str) -> Digest | None:
    try:
        return Digest.parse(f"{algorithm}:{name}")
    except OciError:
        return None
