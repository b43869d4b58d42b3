"""The data directory: its layout, its lock, and the clean-up at boot."""

import fcntl
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.generation import MappedGeneration
from gateway.store.schema import is_current, migrate_sqlite

_PATIENCE_SECONDS = 300.0
_PAUSE_SECONDS = 0.1


class DataDirError(Exception):
    """The data directory cannot be used; the message says why and what to do."""


class DataDir:
    """Everyone who uses the directory holds its lock shared; migration and clean-up hold it alone.

    ``catalog`` is the SQLite file, where it is to lie elsewhere.
    """

    def __init__(self, root: Path, catalog: Path | None = None) -> None:
        self.root = root
        self.catalog = catalog or root / "catalog.sqlite3"
        self.blobs = root / "blobs"
        self.generation = root / "generation"
        self._lock = _open_lock(root)

    def prepare(self, sleep: Callable[[float], None] = time.sleep) -> Sequence[str]:
        """Sweep and migrate if nobody else is here, then hold the lock shared; return the migrations run.

        Beside another process only the lock is taken: who came first has prepared. Wait for one that is still
        at it, and for the end of one that uses a catalog that has to be migrated first.
        """
        revisions: list[str] = []
        waited_seconds = 0.0
        while True:
            if self._try_lock(fcntl.LOCK_EX):
                self._sweep()
                revisions += migrate_sqlite(self.catalog)
            is_shared = self._try_lock(fcntl.LOCK_SH)
            if is_shared and is_current(self.catalog):
                self.open_generation().close()
                return revisions
            if is_shared:
                fcntl.flock(self._lock, fcntl.LOCK_UN)
            if waited_seconds >= _PATIENCE_SECONDS:
                raise DataDirError(self._blocked(waited_seconds, is_shared=is_shared))
            sleep(_PAUSE_SECONDS)
            waited_seconds += _PAUSE_SECONDS

    def open_generation(self) -> MappedGeneration:
        try:
            return MappedGeneration(self.generation)
        except OSError as error:
            raise DataDirError(f"the file {self.generation} cannot be used: {error.strerror}") from error

    def _blocked(self, waited_seconds: float, *, is_shared: bool) -> str:
        if is_shared:
            return f"another process uses {self.root}: stop it, the catalog has to be migrated by one alone"
        return f"{self.root} has been locked by another process for {waited_seconds:.0f} s"

    def _sweep(self) -> None:
        try:
            DirectoryBlobs(self.blobs).sweep()
        except OSError as error:
            raise DataDirError(f"the directory {self.blobs} cannot be used: {error.strerror}") from error

    def close(self) -> None:
        """Let go of the lock."""
        os.close(self._lock)

    def _try_lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _open_lock(root: Path) -> int:
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirError(f"the data directory {root} cannot be used: {error.strerror}") from error
