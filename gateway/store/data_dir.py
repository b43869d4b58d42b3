"""The data directory: its layout, its lock, and the clean-up at boot."""

import fcntl
import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.oci.postgres_url import PostgresUrl
from gateway.store.backups import CatalogCopies
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.damage import CatalogWatch
from gateway.store.engine import Engines, open_sqlite
from gateway.store.generation import Generation, MappedGeneration
from gateway.store.generation_notified import NotifiedGeneration
from gateway.store.locks import FileLocks
from gateway.store.locks_postgres import PostgresLocks
from gateway.store.postgres import open_postgres
from gateway.store.recovery import CatalogFiles, recover, sweep
from gateway.store.schema import is_current, migrate_postgres, migrate_sqlite

_PATIENCE_SECONDS = 300.0
_PAUSE_SECONDS = 0.1


class DataDirError(Exception):
    """The data directory cannot be used; the message says why and what to do."""


class DataDir:
    """Everyone who uses the directory holds its lock shared; migration and clean-up hold it alone.

    ``database`` is where the catalog lies if not in the directory: another SQLite file, or a server, to
    which several data directories may belong.
    """

    def __init__(self, root: Path, database: Path | PostgresUrl | None = None) -> None:
        self.root = root
        self.server = database if isinstance(database, PostgresUrl) else None
        self.catalog = database if isinstance(database, Path) else root / "catalog.sqlite3"
        self.blobs = root / "blobs"
        self.locks = root / "locks"
        self.generation = root / "generation"
        self.instance = root / "instance"
        self.restored = root / "restored"
        self.watch = self._new_watch()
        self._lock = _open_lock(root)
        self._server_locks: list[PostgresLocks] = []

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
                self._recover()
                revisions += migrate_sqlite(self.catalog) if self.server is None else ()
            is_shared = self._try_lock(fcntl.LOCK_SH)
            if is_shared and self.server is not None:
                return migrate_postgres(self.server, sleep)
            if is_shared and is_current(self.catalog):
                self.open_generation().close()
                return revisions
            if is_shared:
                fcntl.flock(self._lock, fcntl.LOCK_UN)
            if waited_seconds >= _PATIENCE_SECONDS:
                raise DataDirError(self._blocked(waited_seconds, is_shared=is_shared))
            sleep(_PAUSE_SECONDS)
            waited_seconds += _PAUSE_SECONDS

    def mend(self) -> None:
        """Judge a catalog that workers met damage in, and replace it if need be; they have ended.

        Of several supervisors the first does it. A command may go on in what is moved aside.
        """
        with open(self.root / "mending", "ab") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            self._recover(is_reported=True)
        self.watch = self._new_watch()  # what was noted before, also here, is no news to those who begin now

    @property
    def database(self) -> str:
        """Where the catalog lies, fit to be shown."""
        return str(self.server or self.catalog)

    def open_engines(self) -> Engines:
        return self._watched(open_sqlite(self.catalog)) if self.server is None else open_postgres(self.server)

    def open_rule_engines(self) -> Engines:
        """For what no power cut may take back: it is on the disk before it is told done."""
        if self.server is None:
            return self._watched(open_sqlite(self.catalog, synchronous="FULL"))
        return open_postgres(self.server)

    def open_copies(self) -> CatalogCopies | None:
        """What copies the catalog; a server's is copied by its operators."""
        return CatalogCopies(self.catalog, self.watch) if self.server is None else None

    def open_locks(self) -> FileLocks | PostgresLocks:
        """Locks for all processes that share the catalog; closed with this."""
        if self.server is None:
            return FileLocks(self.locks)
        self._server_locks.append(PostgresLocks(self.server))
        return self._server_locks[-1]

    def open_generation(self) -> Generation:
        if self.server is not None:
            return NotifiedGeneration(self.server)
        try:
            return MappedGeneration(self.generation)
        except OSError as error:
            raise DataDirError(f"the file {self.generation} cannot be used: {error.strerror}") from error

    def _blocked(self, waited_seconds: float, *, is_shared: bool) -> str:
        if is_shared:
            return f"another process uses {self.root}: stop it, the catalog has to be migrated by one alone"
        return f"{self.root} has been locked by another process for {waited_seconds:.0f} s"

    @property
    def _files(self) -> CatalogFiles:
        return CatalogFiles(catalog=self.catalog, note=self.restored, blobs=self.blobs)

    def _new_watch(self) -> CatalogWatch:
        return CatalogWatch(self.catalog if self.server is None else None)

    def _watched(self, engines: Engines) -> Engines:
        self.watch.follow(engines.reader, engines.writer)
        return engines

    def _recover(self, *, is_reported: bool = False) -> None:
        if self.server is not None:
            return
        try:
            recover(self._files, is_reported=is_reported)
        except OSError as error:
            raise DataDirError(f"the catalog {self.catalog} cannot be replaced: {error.strerror}") from error

    def _sweep(self) -> None:
        try:
            DirectoryBlobs(self.blobs).sweep()
            FileLocks(self.locks).sweep()
            sweep(self._files)
        except OSError as error:
            raise DataDirError(f"the directory {self.root} cannot be used: {error.strerror}") from error

    def close(self) -> None:
        """Let go of the directory's lock, and of those that were opened on the server."""
        for locks in self._server_locks:
            locks.close()
        os.close(self._lock)

    def _try_lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _require_ours(root: Path) -> None:
    """Nobody but us, and root, may put things in our place."""
    status = root.stat()
    if status.st_uid not in (os.geteuid(), 0):
        raise DataDirError(
            f"the data directory {root} belongs to another user (uid {status.st_uid}), who could change what "
            f"is served: run as that user, or give it to the one that runs (chown {os.geteuid()} {root})"
        )
    if status.st_mode & stat.S_IWOTH:
        raise DataDirError(
            f"everybody on this machine may write to the data directory {root}, and change what is served: "
            f"chmod o-w {root}, or set DATA_DIR to a new folder in it, which is made for the gateway alone"
        )


def _open_lock(root: Path) -> int:
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_ours(root)
        return os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirError(f"the data directory {root} cannot be used: {error.strerror}") from error
