"""Room on the disk that is given up when it is full, so that rows can still be written."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger(__name__)

RESERVE_BYTES: Final = 64 << 20
_LARGEST_SHARE: Final = 0.05  # of a small disk
_WANTED_FREE: Final = 3  # so many times its size, before it is made, and before blobs are written again


class Reserve:
    """A file beside the catalog, for all workers; one that was given up is empty until it is made again.

    Everything here may block, for microseconds. ``usage`` gives the bytes that are free, and all there are.
    """

    def __init__(
        self,
        path: Path,
        size_bytes: int = RESERVE_BYTES,
        usage: Callable[[Path], tuple[int, int]] | None = None,
    ) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._usage = usage or _usage

    def make(self) -> bool:
        """Have it, if there is room for it three times over; whether it is there now."""
        try:
            if self._held_bytes():
                return True
            if self._has_room():
                _allocate(self._path, self._wanted_bytes())
                return True
        except OSError as error:
            log.info("reserve_not_made", reason=error.strerror)
        return False

    def give_up(self) -> None:
        """Let the catalog have the room; that there is none left to give is no error."""
        try:
            if self._held_bytes():
                os.truncate(self._path, 0)
                log.warning(
                    "reserve_given_up", means="the disk is full: rows are written where room was kept"
                )
        except OSError as error:
            log.warning("reserve_not_given_up", reason=error.strerror)

    def leaves_room(self) -> bool:
        """Whether blobs may be written: not where it was given up, until there is room to make it again."""
        try:
            return self._held_bytes() != 0 or self._has_room()
        except OSError:
            return True  # whoever writes is told why not

    def _held_bytes(self) -> int | None:
        """None where it was never made: 0 is one that was given up."""
        try:
            return self._path.lstat().st_size
        except FileNotFoundError:
            return None

    def _has_room(self) -> bool:
        return self._usage(self._path.parent)[0] >= _WANTED_FREE * self._wanted_bytes()

    def _wanted_bytes(self) -> int:
        return max(min(self._size_bytes, int(self._usage(self._path.parent)[1] * _LARGEST_SHARE)), 1)


def _usage(folder: Path) -> tuple[int, int]:
    """Bytes that are free for us, and all that there are."""
    usage = shutil.disk_usage(folder)
    return usage.free, usage.total


def _allocate(path: Path, size_bytes: int) -> None:
    """Under its name only once it is whole, each block of it really taken."""
    partial = path.with_name(f"{path.name}.new")
    fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, size_bytes)
        partial.rename(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise
    finally:
        os.close(fd)
