"""The files that a bundle is: one, or volumes of a size that ``cat`` joins; written beside, read as one."""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BufferedReader, FileIO, RawIOBase
from pathlib import Path
from threading import Lock
from typing import Final

import zstandard

from gateway.bundle_checks import LAYOUT
from gateway.store.disk import sync_folder, try_lock

LEAST_VOLUME_BYTES: Final = 1 << 20
_PARTIAL: Final = ".partial"
_VOLUME: Final = re.compile(r"(.+)\.([0-9]{3,6})", re.DOTALL)
_READ_BYTES: Final = 1 << 20
_HEAD_BYTES: Final = 512
_SYNCED_BYTES: Final = 64 << 20


class VolumesWrong(Exception):
    """The files are not what they must be; the message says which, and what to do."""


def open_volumes(path: Path) -> BufferedReader:
    """Read one file, or all volumes of a name, given that or its first volume; raise VolumesWrong.

    Volumes but for the last have one size, and the last is smaller.
    """
    return BufferedReader(_Joined(_files_of(path)), _READ_BYTES)


def _files_of(path: Path) -> Sequence[Path]:
    named = _VOLUME.fullmatch(path.name)
    is_later = named is not None and int(named[2]) > 1
    if path.is_file() and (named is None or (is_later and _begins_as_bundle(path))):
        return [path]
    base = path.with_name(named[1]) if named else path
    volumes = _volumes_of(base)
    if path.is_dir():
        raise VolumesWrong(f"{path} is a folder, and no bundle")
    if not volumes:
        raise VolumesWrong(f"there is no {path}, nor volumes of it ({base.name}.001 and so on)")
    for number, volume in enumerate(volumes, start=1):
        if volume != _volume(base, number):
            raise VolumesWrong(f"{_volume(base, number)} is missing")
    _check_sizes(base, volumes)
    return volumes


def _check_sizes(base: Path, volumes: Sequence[Path]) -> None:
    sizes = [volume.stat().st_size for volume in volumes]
    for volume, size in zip(volumes[1:-1], sizes[1:-1], strict=True):
        if size != sizes[0]:
            raise VolumesWrong(f"{volume} has {size} bytes, and {volumes[0]} {sizes[0]}: copy it again")
    if len(sizes) > 1 and sizes[-1] > sizes[0]:
        raise VolumesWrong(f"{volumes[-1]} is larger than {volumes[0]}: it is of another bundle")
    if len(sizes) > 1 and sizes[-1] == sizes[0]:
        raise VolumesWrong(f"{_volume(base, len(sizes) + 1)} is missing: the last volume is always smaller")


def _volume(base: Path, number: int) -> Path:
    return base.with_name(f"{base.name}.{number:03d}")


def _volumes_of(base: Path, ending: str = "") -> list[Path]:
    """Those that are there, by number; with ``ending`` those that were being written."""
    if not base.parent.is_dir():
        return []
    named = re.compile(re.escape(base.name) + r"\.([0-9]{3,6})" + re.escape(ending))
    found = filter(None, map(named.fullmatch, os.listdir(base.parent)))
    return [_volume(base, number) for number in sorted(int(one[1]) for one in found)]


class _Joined(RawIOBase):
    """Files one after the other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._rest = iter(paths)
        self._file: FileIO | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        while True:
            count = 0 if self._file is None else self._file.readinto(buffer)
            if count or not self._next():
                return count or 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()

    def _next(self) -> bool:
        path = next(self._rest, None)
        if path is None:
            return False
        if self._file is not None:
            self._file.close()
        self._file = FileIO(path)
        return True


class BundleFile:
    """A sink: a file beside ``path``, which ``keep`` puts in its place. Everything may block.

    Killed at any moment it leaves what was there before, nothing, or all of it; what is left over is written
    over by the next one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _open_partial(path)
        self._syncing = ThreadPoolExecutor(1, "bundle-sync")
        self._synced = self._syncing.submit(os.fsync, self._file.fileno())
        self._unsynced_bytes = 0
        self._turn = Lock()
        self.size_bytes = 0

    def write(self, content: memoryview) -> None:
        """Behind what was written last by this."""
        self.write_at(self.size_bytes, content)

    def write_at(self, offset: int, content: memoryview) -> None:
        start = 0
        while start < len(content):
            start += os.pwrite(self._file.fileno(), content[start:], offset + start)
        with self._turn:
            self.size_bytes = max(self.size_bytes, offset + len(content))
            self._unsynced_bytes += len(content)
            if self._unsynced_bytes >= _SYNCED_BYTES and self._synced.done():
                self._sync()

    def keep(self) -> Sequence[Path]:
        self._sync()
        self._close()
        self._synced.result()
        _replace(self._path, [self._path])
        return [self._path]

    def abandon(self) -> None:
        """It will not be whole: remove what was written."""
        self._close()
        _partial(self._path).unlink(missing_ok=True)

    def _sync(self) -> None:
        """The disk begins while the next bytes are made; what it refused comes out."""
        self._synced.result()
        self._unsynced_bytes = 0
        self._synced = self._syncing.submit(os.fsync, self._file.fileno())

    def _close(self) -> None:
        self._syncing.shutdown()
        self._file.close()


class BundleVolumes:
    """The same as volumes of ``volume_bytes``; the last one is smaller, and may be empty."""

    def __init__(self, path: Path, volume_bytes: int) -> None:
        self._path = path
        self._volume_bytes = volume_bytes
        self._places: list[Path] = []
        self._file: FileIO | None = None
        self.size_bytes = 0

    def write(self, content: memoryview) -> None:
        start = 0
        while start < len(content):
            room = self._volume_bytes - self.size_bytes % self._volume_bytes
            count = self._current().write(content[start : start + room])
            start += count
            self.size_bytes += count

    def keep(self) -> Sequence[Path]:
        self._current()
        self._end()
        _replace(self._path, self._places)
        return self._places

    def abandon(self) -> None:
        if self._file is not None:
            self._file.close()
        for place in self._places:
            _partial(place).unlink(missing_ok=True)

    def _current(self) -> FileIO:
        if self._file is None or self.size_bytes == len(self._places) * self._volume_bytes:
            self._end()
            self._places.append(_volume(self._path, len(self._places) + 1))
            self._file = _open_partial(self._places[-1])
        return self._file

    def _end(self) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()


def _replace(path: Path, places: Sequence[Path]) -> None:
    """Give files their names, in place of what an earlier export left; other files stay.

    The first volume goes first and comes last: without it there is no bundle of that name.
    """
    volumes = _volumes_of(path)
    if path not in places:
        for former in (path, *volumes):
            former.unlink(missing_ok=True)
    for place in reversed(places):
        _partial(place).rename(place)
    for former in (*reversed(volumes), *map(_partial, (path, *_volumes_of(path, _PARTIAL)))):
        if former not in places:
            former.unlink(missing_ok=True)
    sync_folder(path.parent)


def _open_partial(place: Path) -> FileIO:
    """Held by who writes it; raise VolumesWrong where somebody does."""
    file = FileIO(os.open(_partial(place), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "w")
    if not try_lock(file.fileno()):
        file.close()
        raise VolumesWrong(f"another export is writing {place}")
    file.truncate()
    return file


def refuse_others(path: Path) -> None:
    """Raise VolumesWrong where something else than a bundle has the name, or that of a volume."""
    volumes = _volumes_of(path)
    is_left_over = _partial(_volume(path, 1)).exists()  # by an export that was killed at its very end
    for place in (path, *(() if is_left_over else volumes[:1])):
        may_go = place.is_file() and (not place.stat().st_size or _begins_as_bundle(place))
        if place.exists() and not may_go:
            raise VolumesWrong(f"{place} is there, and is no bundle: remove it, or name another file")


def _begins_as_bundle(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if head.startswith(zstandard.FRAME_HEADER):
            file.seek(0)
            with suppress(zstandard.ZstdError):
                head = zstandard.ZstdDecompressor().stream_reader(file).read(_HEAD_BYTES)
    return head.startswith(f"{LAYOUT}\0".encode())


def _partial(place: Path) -> Path:
    return place.with_name(place.name + _PARTIAL)
