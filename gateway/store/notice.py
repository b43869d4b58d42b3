"""A notice that all workers of a data directory see: in the memory of one of them rows wait to be written."""

import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

_SECONDS = struct.Struct("<d")
_LASTS_SECONDS: Final = 6.0  # longer than the pauses between which it is put up again


class Notice:
    """A time in a mapped file: to write it takes no room on the disk.

    ``now`` gives seconds since the epoch.
    """

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._now = now
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, _SECONDS.size)
            self._map = mmap.mmap(fd, _SECONDS.size)
        finally:
            os.close(fd)

    def put_up(self) -> None:
        _SECONDS.pack_into(self._map, 0, self._now() + _LASTS_SECONDS)

    def is_up(self) -> bool:
        """Whether somebody has put it up just now; a time from a clock that was ahead means nothing."""
        (until,) = _SECONDS.unpack_from(self._map)
        return 0 < float(until) - self._now() <= _LASTS_SECONDS

    def close(self) -> None:
        self._map.close()
