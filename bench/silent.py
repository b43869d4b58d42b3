"""Upstreams that are there and of no use: a black hole, one that stays silent, one that drips."""

import socket
import threading
from contextlib import ExitStack, suppress
from typing import Final, Self

_DRIP_SECONDS: Final = 1.0
_PROBE_SECONDS: Final = 0.5
_FILLERS: Final = 4
_DRIPPED: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\n"


class BlackHole:
    """A port that takes no connection in and refuses none: its queue is full, and nobody empties it."""

    def __init__(self, port: int = 0) -> None:
        self._port = port

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            listener = stack.enter_context(_listening(self._port, backlog=0))
            self.port: int = listener.getsockname()[1]
            for _ in range(_FILLERS):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", self.port))
            self._require_hole()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def _require_hole(self) -> None:
        with suppress(TimeoutError):
            socket.create_connection(("127.0.0.1", self.port), _PROBE_SECONDS).close()
            raise RuntimeError("this system answers where a queue is full: there is no black hole to be had")


class Silent:
    """Takes every connection in, and never says a word; ``hang_up`` ends those that there are."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._taken: list[socket.socket] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._take, self._tend_all)]

    def __enter__(self) -> Self:
        self._listener = _listening(self._port, backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.end()

    def end(self) -> None:
        """Hang up for good: from now on, connections are refused."""
        if self._is_over.is_set():
            return
        self._is_over.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        for thread in self._threads:
            thread.join()
        self.hang_up()

    @property
    def count(self) -> int:
        """How many connections there are."""
        return len(self._taken)

    def hang_up(self) -> None:
        while self._taken:
            with suppress(OSError), self._taken.pop() as connection:
                connection.shutdown(socket.SHUT_RDWR)

    def tend(self, connection: socket.socket) -> None:
        """Called each second for each connection."""

    def _take(self) -> None:
        with suppress(OSError):  # that is the end
            while True:
                self._taken.append(self._listener.accept()[0])

    def _tend_all(self) -> None:
        while not self._is_over.wait(_DRIP_SECONDS):
            for connection in tuple(self._taken):
                with suppress(OSError):  # the other side has left
                    self.tend(connection)


class Dripping(Silent):
    """Says a byte a second, from the first of its answer on."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self._said: dict[socket.socket, int] = {}

    def tend(self, connection: socket.socket) -> None:
        said = self._said.get(connection, 0)
        connection.send(_DRIPPED[said : said + 1] or b"x")
        self._said[connection] = said + 1


def _listening(port: int, backlog: int) -> socket.socket:
    """Also on the port of a server that is down, and keeps it."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(backlog)
    return listener
