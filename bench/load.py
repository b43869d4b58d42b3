"""A client that asks for one path again and again, over connections that stay open: ``python -m bench.load``.

Own and raw, in a process of its own: it has to cost less than what it measures. One request at a time on each
connection, no pipelining.
"""

import asyncio
import json
import re
import sys
import time
from dataclasses import dataclass

import uvloop

from bench.processes import output_of

_BUFFER_BYTES = 1 << 20
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Load:
    answers: int
    received_bytes: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        return self.received_bytes / self.seconds / 1e6


def load(port: int, path: str, connections: int, seconds: float) -> Load:
    """Put load on a server for so long; every answer has to be a 200."""
    return Load(**json.loads(output_of("bench.load", str(port), path, str(connections), str(seconds))))


class _Connection(asyncio.BufferedProtocol):
    def __init__(self, request: bytes) -> None:
        self._request = request
        self._buffer = bytearray(_BUFFER_BYTES)
        self._head = b""
        self._body_left = 0
        self._transport: asyncio.Transport | None = None
        self.answers = 0
        self.received_bytes = 0
        self.failure: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def get_buffer(self, _size: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        self.received_bytes += count
        if self._body_left:
            self._body_left -= count
        else:
            self._read_head(bytes(memoryview(self._buffer)[:count]))
        if not self._body_left and not self._head and self._transport is not None:
            self.answers += 1
            self._transport.write(self._request)

    def _read_head(self, received: bytes) -> None:
        self._head += received
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._head, 0, end + 2)
        if length is None or not self._head.startswith(b"HTTP/1.1 200"):
            self.failure = self._head[:200].decode(errors="replace")
            self.close()
            return
        self._body_left = int(length[1]) - (len(self._head) - end - 4)
        self._head = b""

    def connection_lost(self, _error: Exception | None) -> None:
        self.failure = self.failure or (None if self._transport is None else "the server closed a connection")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


async def _run(port: int, path: str, connections: int, seconds: float) -> Load:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: _Connection(request), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds / 10)  # let it settle
    answers, received = sum(one.answers for one in opened), sum(one.received_bytes for one in opened)
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    lasted = time.perf_counter() - started
    answers = sum(one.answers for one in opened) - answers
    received = sum(one.received_bytes for one in opened) - received
    for one in opened:
        one.close()
    if failures := [one.failure for one in opened if one.failure is not None]:
        raise RuntimeError(failures[0])
    return Load(answers, received, lasted)


def main(port: str, path: str, connections: str, seconds: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        done = runner.run(_run(int(port), path, int(connections), float(seconds)))
    print(
        json.dumps({"answers": done.answers, "received_bytes": done.received_bytes, "seconds": done.seconds})
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
