"""The bare ASGI application that the gateway is compared with, on the same Hypercorn.

``python -m bench.bare`` sends one file with given headers: at once, or read in pieces as it goes.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvloop

from bench.processes import first_line, started
from gateway.hypercorn_fit import Application, run
from gateway.listener import bind

_PIECE_BYTES = 1 << 20
_GRACE_SECONDS = 1.0

Headers = Sequence[tuple[bytes, bytes]]
Send = Callable[[Mapping[str, object]], Awaitable[None]]


@contextmanager
def serving(content: Path, headers: Sequence[tuple[str, str]], *, in_pieces: bool) -> Iterator[int]:
    """Serve it on a port; the headers are those of the gateway's answer."""
    way = "in_pieces" if in_pieces else "at_once"
    with started("bench.bare", content, json.dumps(headers), way) as process:
        yield int(first_line(process))


def _at_once(content: bytes, headers: Headers) -> Application:
    async def app(scope: Mapping[str, object], receive: Application, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return app


def _in_pieces(path: Path, headers: Headers) -> Application:
    async def app(scope: Mapping[str, object], receive: Application, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        with path.open("rb", buffering=0) as file:
            while piece := file.read(_PIECE_BYTES):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


async def _live(receive: Application, send: Send) -> None:
    for what in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{what}.complete"})


async def main(app: Application) -> None:
    listener = bind("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    await run(app, listener, stop, _GRACE_SECONDS)


if __name__ == "__main__":
    pairs = [(name.encode(), value.encode()) for name, value in json.loads(sys.argv[2])]
    file = Path(sys.argv[1])
    chosen = _in_pieces(file, pairs) if sys.argv[3] == "in_pieces" else _at_once(file.read_bytes(), pairs)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(chosen))
