"""A client that asks for one path again and again, over connections that stay open: ``python -m bench.load``.

Own and raw, in a process of its own: it has to cost less than what it measures. One request at a time on each
connection, no pipelining.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from math import inf

import uvloop

from bench.processes import output_of

_BUFFER_BYTES = 1 << 20
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Load:
    """``p99_milliseconds``: from the request to the end of its answer."""

    answers: int
    received_bytes: int
    seconds: float
    p99_milliseconds: float

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        return self.received_bytes / self.seconds / 1e6


def load(port: int, path: str, connections: int, seconds: float, encoding: str = "identity") -> Load:
    """Put load on a server for so long; every answer has to be a 200. ``encoding`` is what is accepted."""
    how = (str(port), path, str(connections), str(seconds), encoding)
    return Load(**json.loads(output_of("bench.load", *how)))


class _Answers(asyncio.BufferedProtocol):
    """Counts what comes in on one connection; asks again after each answer."""

    def __init__(self) -> None:
        self._buffer = bytearray(_BUFFER_BYTES)
        self._head = b""
        self._body_left = 0
        self.ask: Callable[[], None] = _not_yet
        self.answers = 0
        self.received_bytes = 0
        self.milliseconds: list[float] = []
        self.failure: str | None = None
        self._asked_at = 0.0

    def ask_again(self) -> None:
        self._asked_at = time.perf_counter()
        self.ask()

    def get_buffer(self, _size: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        self.received_bytes += count
        if self._body_left:
            self._body_left -= count
        elif not self._read_head(bytes(memoryview(self._buffer)[:count])):
            return
        if not self._body_left:
            self.answers += 1
            self.milliseconds.append((time.perf_counter() - self._asked_at) * 1000)
            self.ask_again()

    def connection_lost(self, _error: Exception | None) -> None:
        self.failure = self.failure or "the server closed a connection"

    def _read_head(self, received: bytes) -> bool:
        """Take up to the first bytes of a body; return whether the head is whole."""
        self._head += received
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return False
        length = _LENGTH.search(self._head, 0, end + 2)
        if length is None or not self._head.startswith(b"HTTP/1.1 200"):
            self.failure = self._head[:200].decode(errors="replace")
            return False
        self._body_left = int(length[1]) - (len(self._head) - end - 4)
        self._head = b""
        return True


def _not_yet() -> None:
    raise AssertionError("an answer without a request")


async def _run(port: int, path: str, connections: int, seconds: float, encoding: str) -> Load:
    lines = (f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Accept-Encoding: {encoding}", "", "")
    request = "\r\n".join(lines).encode()
    opened = [await _open(port, request) for _ in range(connections)]
    await asyncio.sleep(seconds / 10)  # let it settle
    answers, received = _so_far(opened)
    settled = [len(one.milliseconds) for one in opened]
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    lasted = time.perf_counter() - started
    answers_then, received_then = _so_far(opened)
    if failures := [one.failure for one in opened if one.failure is not None]:
        raise RuntimeError(failures[0])
    taken = sorted(chain(*(one.milliseconds[start:] for one, start in zip(opened, settled, strict=True))))
    p99 = taken[len(taken) * 99 // 100] if taken else inf
    return Load(answers_then - answers, received_then - received, lasted, p99)


async def _open(port: int, request: bytes) -> _Answers:
    transport, connection = await asyncio.get_running_loop().create_connection(_Answers, "127.0.0.1", port)
    connection.ask = partial(transport.write, request)
    connection.ask_again()
    return connection


def _so_far(opened: Sequence[_Answers]) -> tuple[int, int]:
    return sum(one.answers for one in opened), sum(one.received_bytes for one in opened)


def main(port: str, path: str, connections: str, seconds: str, encoding: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        done = runner.run(_run(int(port), path, int(connections), float(seconds), encoding))
    print(json.dumps(asdict(done)))


if __name__ == "__main__":
    main(*sys.argv[1:])
