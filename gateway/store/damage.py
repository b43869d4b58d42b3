"""Whether the catalog's file is damaged, or no longer the one that was opened: in use, and before."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from gateway.store.disk import in_thread

DAMAGE_HINT: Final = (
    " (one that came to harm is replaced by its newest copy where `gateway serve` runs, or starts)"
)
_LOOK_SECONDS: Final = 0.25
_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_CUT_OR_GONE: Final = frozenset({sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_READONLY_DBMOVED})
_STEPS: Final = 1000
_PRIMARY: Final = 0xFF  # of a result code; the rest says more about it


class CheckUnfinished(Exception):
    """There was no time to read all of the catalog; what was read is sound."""


class CatalogWatch:
    """Notices damage under a running worker: by what SQLite says of it, and by looking at its file.

    ``catalog`` is None where there is no file to be looked at.
    """

    def __init__(
        self, catalog: Path | None, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._catalog = catalog
        self._sleep = sleep
        self._file: tuple[int, int] | None = None
        self._size_bytes = 0
        self.damage: str | None = None

    def follow(self, *engines: Engine) -> None:
        """Note what goes wrong on these, in whichever thread."""
        for engine in engines:
            event.listen(engine, "handle_error", self._on_error)

    def note(self, reason: str) -> None:
        """What was noted first stays."""
        self.damage = self.damage or reason

    async def damaged(self) -> str:
        """Wait until it is; return what is wrong with it."""
        while self.damage is None:
            if self._catalog is not None:
                await in_thread(self._look, self._catalog)
            await self._sleep(_LOOK_SECONDS)
        return self.damage

    def _on_error(self, context: ExceptionContext) -> None:
        if is_damage(context.original_exception):
            self.note(str(context.original_exception))

    def _look(self, catalog: Path) -> None:
        try:
            status = catalog.stat()
        except FileNotFoundError:
            return self.note("its file is gone")
        except OSError:  # the disk has another trouble, which may pass
            return None
        file = (status.st_dev, status.st_ino)
        if self._file is not None and file != self._file:
            self.note("its file was replaced")
        if status.st_size < self._size_bytes:  # it never shrinks by itself
            self.note("its file was cut short")
        self._file, self._size_bytes = file, status.st_size
        return None


def is_damage(error: BaseException | None) -> bool:
    """Whether SQLite says by it that the file is damaged, and not only that it cannot be used just now."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & _PRIMARY in _BROKEN or code in _CUT_OR_GONE


def find_damage(
    catalog: Path,
    pragma: Literal["quick_check", "integrity_check"],
    seconds: float,
    parameters: Literal["mode=rw", "immutable=1"] = "mode=rw",
) -> str | None:
    """Return what is wrong with a catalog, None where it is sound.

    Raise CheckUnfinished after ``seconds``, and sqlite3.Error where it cannot be opened for another reason.
    """
    connection = sqlite3.connect(
        f"{catalog.absolute().as_uri()}?{parameters}", uri=True, check_same_thread=False
    )
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    impatience = threading.Timer(seconds, connection.interrupt)  # within a step, which may take as long
    impatience.start()
    try:
        found = " ".join(connection.execute(f"PRAGMA {pragma}(1)").fetchone()[0].split())
    except sqlite3.Error as error:
        if is_damage(error):
            return str(error)
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            raise CheckUnfinished from error
        raise
    else:
        return None if found == "ok" else found
    finally:
        impatience.cancel()
        impatience.join()
        connection.close()
