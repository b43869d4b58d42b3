"""Clients that all ask at the same moment: ``python -m bench.crowd``, in a process of its own.

Each pulls a tag, and then the first layer of its manifest, on a connection that stands before any asks.
"""

import asyncio
import hashlib
import json
import select
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from subprocess import Popen

import uvloop

from bench.processes import first_line, started

_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Told:
    """What the clients were told: how many of each status and X-Cache, and how many got what was asked for.

    ``outcomes`` are those of manifests. A client has its layer if the bytes have the digest that it asked by.
    """

    outcomes: Mapping[str, int]
    layers: int


class Crowd:
    """The process, as the bench talks with it: connected, and waiting for the word."""

    def __init__(self, process: Popen[str]) -> None:
        self._process = process
        first_line(process)

    def go(self) -> None:
        """Have them all ask."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    @property
    def has_told(self) -> bool:
        """Whether the last has its answer already."""
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def told(self) -> Told:
        """Wait until the last has its answer."""
        return Told(**json.loads(first_line(self._process)))


@contextmanager
def gathered(port: int, path: str, count: int) -> Iterator[Crowd]:
    """Have that many clients connect; ``%d`` in the path is another number for each."""
    with started("bench.crowd", str(port), path, str(count)) as process:
        yield Crowd(process)


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.status} {self.headers.get('x-cache', '')}".strip()


@dataclass(frozen=True, slots=True)
class _Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def pull(self, path: str) -> tuple[_Reply, bool]:
        """Return what it was told of the manifest, and whether it got its layer."""
        manifest = await self._get(path)
        if manifest.status != 200:
            return manifest, False
        digest = json.loads(manifest.body)["layers"][0]["digest"]
        layer = await self._get(f"{path.rpartition('/manifests/')[0]}/blobs/{digest}")
        return manifest, f"sha256:{hashlib.sha256(layer.body).hexdigest()}" == digest

    async def _get(self, path: str) -> _Reply:
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await self.reader.readexactly(int(headers["content-length"]))
        return _Reply(int(lines[0].split()[1]), headers, body)


async def _main(port: int, path: str, count: int) -> None:
    pairs = [await asyncio.open_connection("127.0.0.1", port, limit=_LINE_BYTES) for _ in range(count)]
    clients = [_Client(reader, writer) for reader, writer in pairs]
    print("connected", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    pulled = await asyncio.gather(
        *(client.pull(path.replace("%d", str(number))) for number, client in enumerate(clients))
    )
    outcomes = Counter(str(manifest) for manifest, _ in pulled)
    told = Told(dict(outcomes), sum(has_layer for _, has_layer in pulled))
    print(json.dumps(asdict(told)), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
