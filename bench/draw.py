"""A client that takes a large body in and drops it: it has to cost less than what it measures.

``python -m bench.draw`` does the same by httpx's bare ``aiter_raw``, in a process of its own.
"""

import asyncio
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import httpx
import uvloop

from bench.processes import output_of

_BUFFER_BYTES = 1 << 20
_HEAD_BYTES = 64 * 1024
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Drawn:
    """How long it took from the request to the first byte of the body, and to the last."""

    size: int
    first_byte_seconds: float
    seconds: float

    @property
    def megabytes_per_second(self) -> float:
        return self.size / self.seconds / 1e6


class Client:
    """One connection, used again and again."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray(_BUFFER_BYTES)

    def get(self, path: str) -> bytes:
        """A small body."""
        length, body = self._ask(path)
        while len(body) < length:
            body += self._received()
        return body

    def draw(self, path: str) -> Drawn:
        started = time.perf_counter()
        length, begin = self._ask(path)
        received = len(begin) or self._connection.recv_into(self._buffer)
        first_byte_seconds = time.perf_counter() - started
        while received < length:
            count = self._connection.recv_into(self._buffer)
            if not count:
                raise RuntimeError(f"{path} was cut off after {received} of {length} bytes")
            received += count
        return Drawn(received, first_byte_seconds, time.perf_counter() - started)

    def _ask(self, path: str) -> tuple[int, bytes]:
        """Return the length of the body, and as much of it as came along with the head."""
        self._connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._received()
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        if first.split()[1] != "200":
            raise RuntimeError(f"{path}: {first}")
        headers = {name.lower(): value for name, _, value in (line.partition(":") for line in lines)}
        return int(headers["content-length"]), body

    def _received(self) -> bytes:
        received = self._connection.recv(_HEAD_BYTES)
        if not received:
            raise RuntimeError("the server closed the connection")
        return received


@contextmanager
def connected(port: int) -> Iterator[Client]:
    with socket.create_connection(("127.0.0.1", port), _PATIENCE_SECONDS) as connection:
        yield Client(connection)


def drawn_by_httpx(port: int, path: str) -> Drawn:
    return Drawn(**json.loads(output_of("bench.draw", f"http://127.0.0.1:{port}{path}")))


async def _main(url: str) -> None:
    async with httpx.AsyncClient(timeout=_PATIENCE_SECONDS) as client:
        started, first, size = time.perf_counter(), 0.0, 0
        async with client.stream("GET", url) as response:
            response.raise_for_status()
            async for piece in response.aiter_raw():
                first = first or time.perf_counter() - started
                size += len(piece)
    print(json.dumps(asdict(Drawn(size, first, time.perf_counter() - started))))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(sys.argv[1]))
