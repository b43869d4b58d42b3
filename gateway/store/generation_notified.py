"""The shared number where the catalog is on PostgreSQL: transactions notify, a thread of ours listens."""

import os
import selectors
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from gateway.oci.postgres_url import PostgresUrl
from gateway.store.postgres import open_single

log = structlog.get_logger(__name__)

_CHANNEL: Final = "chart_gateway_generation"
_BEAT_SECONDS: Final = 1.0
_TRUSTED_SECONDS: Final = 60.0  # how long a server that is not heard holds up nobody who asks for what is hot
_PAUSE_SECONDS: Final = 0.5


class NotifiedGeneration:
    """A number of this process, which moves with every notification.

    A server that is not heard may be away, and then nothing changes: for a minute the number stands. Then it
    moves by itself, once a second, and it moves once whenever the server is listened to anew: nobody can tell
    what others did meanwhile.
    """

    def __init__(self, url: PostgresUrl, now: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._now = now
        self._number = 0
        self._heard_at = now() - _TRUSTED_SECONDS
        self._mutex = threading.Lock()
        self._is_closed = False
        self._is_told = False
        self._engine = open_single(url)
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._listen, name="generation", daemon=True)
        self._thread.start()

    def current(self) -> int:
        with self._mutex:
            return self._current()

    def announce(self, connection: Connection) -> None:
        if connection.dialect.name != "postgresql":  # rows that wait in memory are told when they are written
            return
        connection.execute(select(func.pg_notify(_CHANNEL, "")))

    def advance(self) -> None:
        with self._mutex:
            self._number += 1

    def close(self) -> None:
        """End the listening; a second time does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        os.write(self._wake, b"\0")
        self._thread.join(_PAUSE_SECONDS)  # one that is waiting for a dead server ends after that

    def _current(self) -> int:
        silent_seconds = self._now() - self._heard_at
        return self._number + (1 + int(silent_seconds) if silent_seconds >= _TRUSTED_SECONDS else 0)

    def _heard(self, *, is_new: bool) -> None:
        """``is_new``: others may have notified before, while nobody listened."""
        with self._mutex:
            current = self._current()
            if is_new or current != self._number:
                self._number = current + 1
            self._heard_at = self._now()

    def _listen(self) -> None:
        try:
            while not self._is_closed:
                self._listen_once()
                self._wait(_PAUSE_SECONDS)
        finally:
            self._engine.dispose()
            os.close(self._wake)
            os.close(self._woken)

    def _listen_once(self) -> None:
        try:
            with self._engine.connect() as connection:
                self._follow(connection)
        except (SQLAlchemyError, OSError) as error:
            if not self._is_told:
                log.warning("notifications_lost", database=str(self._url), reason=_reason(error))
            self._is_told = True

    def _follow(self, connection: Connection) -> None:
        """Handlers run inside whatever statement meets a notification: so each wait ends with one."""
        driver: _Listening | None = connection.connection.driver_connection
        if driver is None:
            raise OSError("the connection is closed")
        driver.add_notify_handler(self._notified)
        connection.exec_driver_sql(f"LISTEN {_CHANNEL}")
        self._heard(is_new=True)
        self._is_told = False
        while not self._is_closed:
            self._wait(_BEAT_SECONDS, driver.fileno())
            connection.exec_driver_sql("SELECT 1")
            self._heard(is_new=False)

    def _notified(self, _notification: object) -> None:
        self.advance()

    def _wait(self, seconds: float, *others: int) -> None:
        with selectors.DefaultSelector() as selector:
            for fd in (self._woken, *others):
                selector.register(fd, selectors.EVENT_READ)
            selector.select(seconds)


class _Listening(Protocol):
    """What of psycopg's connection is used here."""

    def fileno(self) -> int: ...

    def add_notify_handler(self, callback: Callable[[object], None]) -> None: ...


def _reason(error: Exception) -> str:
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
