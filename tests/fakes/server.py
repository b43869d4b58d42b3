"""A small real HTTP/1.1 server in threads, whose faults a test can switch while it runs."""

import socket
import ssl
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from io import BufferedReader
from types import TracebackType
from typing import Self

import trustme

from tests.fakes.messages import Answer, Faults, Request, head_of, read_request, spoiled

_PATIENCE_SECONDS = 20.0


class FakeServer(ABC):
    """Answers on a free port of 127.0.0.1 while its ``with`` block runs; usable from sync and async tests.

    ``faults`` hold for every path but those in ``faults_at``. ``requests`` lists what was asked, in order.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.faults = Faults()
        self.faults_at: dict[str, Faults] = {}
        self.requests: list[Request] = []
        self.connection_count = 0
        self._tls = tls
        self._claim = _reusable_socket()  # bound, never listening: keeps the port ours while we are down
        self._threads: list[threading.Thread] = []
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()  # guards all that several threads see
        self._is_up = False
        self._release_count = 0

    @abstractmethod
    def answer(self, request: Request) -> Answer:
        """Say what an honest server would; runs in a thread of the server."""

    @property
    def port(self) -> int:
        port: int = self._claim.getsockname()[1]
        return port

    @property
    def origin(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._claim.bind(("127.0.0.1", 0))
        self.come_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_down()
        self._claim.close()

    def come_up(self) -> None:
        """Listen, again on the same port."""
        if self._is_up:
            return
        listener = _reusable_socket()
        listener.bind(("127.0.0.1", self.port))
        listener.listen(1024)
        self._is_up = True
        self._start(self._accept, listener)

    def go_down(self) -> None:
        """End every connection and refuse new ones, as a host that died does."""
        if not self._is_up:
            return
        with self._changed:
            self._is_up = False
            self._changed.notify_all()
            for connection in self._connections:
                _hang_up(connection)
        with suppress(OSError):  # wakes the thread that accepts, unless another connection just did
            socket.create_connection(("127.0.0.1", self.port)).close()
        while self._threads:
            self._threads.pop().join()

    def release(self) -> None:
        """Let the answers go that ``silent`` holds back; those to come are held again."""
        with self._changed:
            self._release_count += 1
            self._changed.notify_all()

    def count(self, path: str | None = None, method: str | None = None) -> int:
        """How many requests came, for a decoded path, with a method."""
        return sum(
            path in (None, request.path) and method in (None, request.method) for request in self.requests
        )

    def wait_for_requests(self, count: int) -> None:
        """Block until that many have come in all; in an async test call it through ``anyio.to_thread``."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, _PATIENCE_SECONDS):
                raise TimeoutError(f"{len(self.requests)} requests came, {count} were awaited")

    def _start(self, work: Callable[[socket.socket], None], connection: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(connection,), name=type(self).__name__, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                connection, _ = listener.accept()
                with self._changed:
                    if not self._is_up:
                        connection.close()
                        return
                    self.connection_count += 1
                    self._start(self._serve_connection, connection)

    def _serve_connection(self, accepted: socket.socket) -> None:
        with suppress(OSError), accepted:  # the client left, or we go down
            connection = self._secured(accepted)
            try:
                with connection, connection.makefile("rb") as stream:
                    self._register(connection)
                    while self._serve_request(connection, stream):
                        pass
            finally:
                with self._changed:
                    self._connections.discard(connection)

    def _secured(self, accepted: socket.socket) -> socket.socket:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return accepted
        return self._tls.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)

    def _register(self, connection: socket.socket) -> None:
        """Note a connection that ``go_down`` shall end."""
        with self._changed:
            if not self._is_up:
                raise ConnectionAbortedError("going down")
            self._connections.add(connection)
        if isinstance(connection, ssl.SSLSocket):
            connection.do_handshake()

    def _serve_request(self, connection: socket.socket, stream: BufferedReader) -> bool:
        """Answer one request; return whether the connection may carry another."""
        request = read_request(stream)
        if request is None:
            return False
        faults = self._let_in(request)
        if faults.reset:
            _reset_on_close(connection)
            return False
        answer = spoiled(faults, self.answer, request)
        connection.sendall(head_of(answer))
        if request.method == "HEAD":
            return not faults.truncated
        sent = self._sent_of(answer, faults)
        self._send_body(connection, sent, faults)
        return not faults.truncated and len(sent) == len(answer.body)

    def _let_in(self, request: Request) -> Faults:
        """Log the request, hold it back as its faults say, and return these."""
        with self._changed:
            faults = replace(self.faults_at.get(request.path, self.faults))
            self.requests.append(request)
            self._changed.notify_all()
            if faults.silent:
                releases_before = self._release_count
                self._wait_while_up(lambda: self._release_count > releases_before)
            self._pause(faults.slow_seconds)
        return faults

    def _sent_of(self, answer: Answer, faults: Faults) -> bytes:
        """The part of the body that goes out before the connection ends."""
        if faults.truncated:
            return answer.body[: len(answer.body) // 2]
        with self._changed:
            is_content = answer.status in (200, 206)
            return answer.body[: faults.breaks_at.pop(0)] if is_content and faults.breaks_at else answer.body

    def _send_body(self, connection: socket.socket, sent: bytes, faults: Faults) -> None:
        if not faults.drip_seconds:
            connection.sendall(sent)
            return
        for byte in sent:
            connection.sendall(bytes([byte]))
            with self._changed:
                self._pause(faults.drip_seconds)

    def _pause(self, seconds: float) -> None:
        if seconds:
            self._wait_while_up(lambda: False, seconds)

    def _wait_while_up(self, is_over: Callable[[], bool], seconds: float | None = None) -> None:
        self._changed.wait_for(lambda: is_over() or not self._is_up, seconds)
        if not self._is_up:
            raise ConnectionAbortedError("going down")


def server_tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """Return a server's TLS context with a certificate for 127.0.0.1 and ``names``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", *names).configure_cert(context)
    return context


def _reusable_socket() -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):  # the client may be quicker
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # TLS's own would take the object apart in use


def _reset_on_close(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
