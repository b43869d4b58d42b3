"""A client that reads a blob bit by bit from a gateway process."""

import socket
from types import TracebackType
from typing import Self

from tests.e2e.gateway_process import PATIENCE_SECONDS, Server
from tests.web.live import parse_reply, read_to_end, request_bytes


class Stream:
    """A GET on a connection of its own; leaving the block hangs up."""

    def __init__(self, server: Server, target: str) -> None:
        self._connection = socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS)
        self._received = bytearray()
        self._connection.sendall(request_bytes("GET", target.encode()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def read_up_to(self, count: int) -> bytes:
        """Wait for the first ``count`` bytes of the body; return all of it that has come."""
        while len(self._received) - self._body_at() < count:
            piece = self._connection.recv(1 << 20)
            assert piece, f"cut short after {len(self._received)} bytes"
            self._received += piece
        return bytes(self._received[self._body_at() :])

    def finish(self) -> bytes:
        """Read the body until the gateway hangs up."""
        self._received += read_to_end(self._connection)
        return parse_reply(bytes(self._received)).body

    def _body_at(self) -> int:
        end = self._received.find(b"\r\n\r\n")
        return len(self._received) if end < 0 else end + 4
