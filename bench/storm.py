"""Two kinds of clients, each from an address of its own: ``python -m bench.storm``, in a process of its own.

Some ask for one held manifest, so often a second. The others ask for names that nobody asked for before, one
after another, and come again when they are told to (Retry-After), as honest clients do.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count

import uvloop

from bench.processes import output_of

_RAMP_SECONDS = 5.0  # clients do not all come in one millisecond
_IDLE_SECONDS = 3.0  # a gateway ends a connection that nothing comes on after five
_LINE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Scene:
    """``cold_path`` has a ``%d``, which is another number each time that it is asked for."""

    port: int
    warm_path: str
    cold_path: str
    warm_clients: int
    cold_clients: int
    asks_per_second: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Told:
    """Milliseconds of each answer, by its status; ``errors`` are what clients met that is no answer."""

    warm: dict[str, list[float]] = field(default_factory=dict)
    cold: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)


def storm(scene: Scene) -> tuple[Told, Told]:
    """What clients are told: the warm ones alone, and then with the cold ones."""
    alone, beside = json.loads(output_of("bench.storm", json.dumps(asdict(scene))))
    return Told(**alone), Told(**beside)


class _Client:
    """One connection at a time, from the ``number``-th address of this machine's own network."""

    def __init__(self, port: int, number: int) -> None:
        self._port = port
        self._address = f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"
        self._used_at = 0.0
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> tuple[str, float, Mapping[str, str]]:
        """The status, the milliseconds until the end of the answer, and the headers."""
        reader, writer = await self._connected()
        asked_at = time.perf_counter()
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = (line.partition(":") for line in lines[1:])
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            await reader.readexactly(int(headers["content-length"]))
        except BaseException:
            self._hang_up()
            raise
        if headers.get("connection") == "close":
            self._hang_up()
        self._used_at = time.perf_counter()
        return lines[0].split()[1], (time.perf_counter() - asked_at) * 1000, headers

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if time.perf_counter() - self._used_at > _IDLE_SECONDS:
            self._hang_up()
        if self._stream is None:
            self._stream = await asyncio.open_connection(
                "127.0.0.1", self._port, limit=_LINE_BYTES, local_addr=(self._address, 0)
            )
        return self._stream

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream[1].close()
            self._stream = None


class _Crowd:
    """All clients of a scene; what they are told goes to ``told``."""

    def __init__(self, scene: Scene) -> None:
        clients = [_Client(scene.port, number) for number in range(scene.warm_clients + scene.cold_clients)]
        self._scene = scene
        self._warm, self._cold = clients[: scene.warm_clients], clients[scene.warm_clients :]
        self._numbers = count()
        self._told = Told()

    async def told(self, *, is_cold: bool) -> Told:
        self._told = Told()
        asking = [asyncio.create_task(self._keep_asking(client)) for client in self._warm]
        asking += [asyncio.create_task(self._keep_naming(client)) for client in self._cold if is_cold]
        await asyncio.sleep(_RAMP_SECONDS + self._scene.seconds)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        return self._told

    async def _keep_asking(self, client: _Client) -> None:
        pause = 1 / self._scene.asks_per_second
        await asyncio.sleep(pause * random.random())
        while True:
            started = time.perf_counter()
            await self._ask(client, self._scene.warm_path, self._told.warm)
            await asyncio.sleep(max(0.0, pause - (time.perf_counter() - started)))

    async def _keep_naming(self, client: _Client) -> None:
        await asyncio.sleep(_RAMP_SECONDS * random.random())
        while True:
            path = self._scene.cold_path.replace("%d", str(next(self._numbers)))
            headers = await self._ask(client, path, self._told.cold)
            await asyncio.sleep(float(headers.get("retry-after", 0)) + random.random())

    async def _ask(self, client: _Client, path: str, told: dict[str, list[float]]) -> Mapping[str, str]:
        try:
            status, milliseconds, headers = await client.get(path)
        except (OSError, EOFError) as error:
            self._told.errors[repr(error)] = self._told.errors.get(repr(error), 0) + 1
            return {"retry-after": "1"}
        told.setdefault(status, []).append(milliseconds)
        return headers


async def _main(scene: Scene) -> Sequence[Told]:
    crowd = _Crowd(scene)
    return [await crowd.told(is_cold=False), await crowd.told(is_cold=True)]


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps([asdict(told) for told in runner.run(_main(Scene(**json.loads(sys.argv[1]))))]))
