"""A client that reads an answer bit by bit, to see what has come while the rest has not."""

import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.web.live import Reply, parse_reply, read_to_end, request_bytes


class Download:
    """A GET on a connection of its own; leaving the block hangs up."""

    def __init__(
        self, connection: socket.socket, target: str, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        self._connection = connection
        self._received = b""
        connection.sendall(request_bytes("GET", target.encode(), headers))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def read_up_to(self, count: int) -> bytes:
        """Wait for the first ``count`` bytes of the body; return all of it that has come."""
        while len(self._body) < count:
            piece = self._connection.recv(1 << 16)
            assert piece, f"cut short after {len(self._body)} of {count} bytes"
            self._received += piece
        return self._body

    def finish(self) -> Reply:
        """Read until the gateway hangs up."""
        self._received += read_to_end(self._connection)
        return parse_reply(self._received)

    @property
    def _body(self) -> bytes:
        return self._received.partition(b"\r\n\r\n")[2]


def is_complete(reply: Reply) -> bool:
    """Whether the answer is as long as it said it would be."""
    return reply.header("content-length") == str(len(reply.body))
