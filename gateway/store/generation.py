"""A number that all processes on one data directory share: it moves when the catalog was written."""

import fcntl
import mmap
import os
import struct
import threading
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

_NUMBER = struct.Struct("<Q")
_MAX_NUMBER = 2**64 - 1  # after which it begins anew: a damaged file may hold anything


class Generation(Protocol):
    """What a memory cache compares to know that its tags may be old."""

    def current(self) -> int: ...

    def announce(self, connection: Connection) -> None:
        """Say in a transaction that the number moves, where that is how the others are told."""

    def advance(self) -> None:
        """Move the number, once the transaction is through."""

    def close(self) -> None: ...


class LocalGeneration:
    """For one process alone."""

    def __init__(self) -> None:
        self._number = 0

    def current(self) -> int:
        return self._number

    def announce(self, connection: Connection) -> None:
        """There is nobody else."""

    def advance(self) -> None:
        self._number += 1

    def close(self) -> None:
        """Nothing is held open."""


class MappedGeneration:
    """A counter in a mapped file; advancing takes the file's lock, reading takes nothing."""

    def __init__(self, path: Path) -> None:
        self._mutex = threading.Lock()  # the file's lock is the process's: its threads all hold it at once
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._fd).st_size < _NUMBER.size:
            os.ftruncate(self._fd, _NUMBER.size)
            _make_room(self._fd)
        self._map = mmap.mmap(self._fd, _NUMBER.size)

    def current(self) -> int:
        number: int = _NUMBER.unpack_from(self._map)[0]
        return number

    def announce(self, connection: Connection) -> None:
        """The file tells everyone."""

    def advance(self) -> None:
        with self._mutex:
            fcntl.lockf(self._fd, fcntl.LOCK_EX)
            try:
                _NUMBER.pack_into(self._map, 0, (self.current() + 1) & _MAX_NUMBER)
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        if not self._map.closed:
            self._map.close()
            os.close(self._fd)


def _make_room(fd: int) -> None:
    """Without a block of its own behind it, to touch the map on a full disk is a SIGBUS, and no error."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, _NUMBER.size)
