"""The one place where Hypercorn is adapted to what this gateway needs; tested at each start of a worker.

Verified with hypercorn 0.18.0 and h11 0.16.0. Hypercorn has a switch for none of this:

- ``Upgrade: h2c`` and ``PRI`` made HTTP/2 of a connection, past the rules of a proxy in front. Here each is
  a request of HTTP/1.1, for the gate to judge: ``H11Protocol._check_protocol``, private, does nothing here.
- A web socket that is refused was never closed. Here there are none: ``H11Protocol._create_stream``, which is
  private, is told of no upgrade.
- A bare LF ended a line, and folded lines were one: a proxy may read another request than we do. Here both
  are 400: ``h11.Connection._receive_buffer``, which is private, is a stricter one.
- Who read nothing held an answer for ever; who left was answered on. Here connections are our own, see
  ``connection``, where these adaptations are.
"""

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import TypeAlias

import structlog
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import AppWrapper, LifespanState
from hypercorn.utils import LifespanTimeoutError, wrap_app

from gateway.connection import Connection, Patience, Serving
from gateway.listener import BACKLOG

log = structlog.get_logger(__name__)

Application: TypeAlias = Callable[..., Awaitable[None]]
Connections: TypeAlias = dict[asyncio.Task[None], Connection]
Connect: TypeAlias = Callable[[Serving, StreamReader, StreamWriter], Connection]

_MAX_INCOMPLETE_BYTES = 16 * 1024
_CUT_SECONDS = 2.0
_SHUTDOWN_SECONDS = 5.0  # longer than all closing of what is kept takes; with the graces, less than a kill
_FIT_SECONDS = 2.0
_AT_A_TIME = 256  # connections are looked at without letting others in
_PATIENCE = Patience()


class Unfit(RuntimeError):
    """Hypercorn or h11 is not the version that it was adapted for."""


async def run(
    app: Application,
    listener: socket.socket,
    stop: asyncio.Event,
    grace_seconds: float,
    patience: Patience = _PATIENCE,
) -> None:
    """Serve on a listening socket until ``stop``; running answers then have ``grace_seconds``.

    The socket is taken over, and closed at ``stop``: a copy left open would go on taking connections in that
    nobody answers. After the grace, connections are cut; the application's own end has a few seconds more.
    Raise Unfit before anything is answered.
    """
    config = _config()
    await prove_fit(config)
    hypercorns = wrapped(app, config)
    context = WorkerContext(None)
    connections: Connections = {}

    async with _lifespan(hypercorns, config) as state, _watching(connections, patience.look_seconds):
        serving = Serving(hypercorns, config, context, state, patience)

        def connect(reader: StreamReader, writer: StreamWriter) -> None:
            connection = Connection(serving, reader, writer)
            task = asyncio.create_task(connection.run())
            connections[task] = connection
            task.add_done_callback(connections.pop)

        listening = await asyncio.start_server(connect, sock=listener, backlog=BACKLOG)
        await stop.wait()
        await context.terminated.set()
        listening.close()
        await _finish(connections, grace_seconds)


async def prove_fit(config: Config, connect: Connect = Connection) -> None:
    """Raise Unfit unless each of these is answered as it must be, and over."""
    for sent, status in _PROOFS:
        try:
            received, counted_bytes = await _try(sent, config, connect)
        except TimeoutError:
            received, counted_bytes = b"", 0
        if not received.startswith(b"HTTP/1.1 " + status) or counted_bytes != len(received):
            raise Unfit(
                f"hypercorn {version('hypercorn')} with h11 {version('h11')} answers {sent[:100]!r} with "
                f"{received[:20]!r}: install those of requirements.lock, for which this gateway was made"
            )


def wrapped(app: Application, config: Config) -> AppWrapper:
    """An application as Hypercorn calls it."""
    return wrap_app(app, config.wsgi_max_body_size, "asgi")


@asynccontextmanager
async def _watching(connections: Connections, look_seconds: float) -> AsyncIterator[None]:
    """Meanwhile, cut those who stall."""
    task = asyncio.create_task(_cut_stalled(connections, look_seconds))
    try:
        yield
    finally:
        task.cancel()


async def _cut_stalled(connections: Connections, look_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(look_seconds)
        for count, connection in enumerate(list(connections.values())):
            if connection.is_stalled(loop.time()):
                connection.cut()
                log.info("stalled_client_cut", written_bytes=connection.written_bytes)
            if count % _AT_A_TIME == 0:
                await asyncio.sleep(0)


async def _finish(connections: Connections, grace_seconds: float) -> None:
    """Let what runs end by itself; then cut it, whether its peer reads or not."""
    for connection in connections.values():
        connection.end_if_idle()
    with suppress(TimeoutError):
        async with asyncio.timeout(grace_seconds):
            while connections:
                await asyncio.wait(list(connections))
    if connections:
        log.warning("connections_cut", count=len(connections), grace_seconds=grace_seconds)
        for task, connection in connections.items():
            connection.cut()
            task.cancel()
        await asyncio.wait(list(connections), timeout=_CUT_SECONDS)


@asynccontextmanager
async def _lifespan(app: AppWrapper, config: Config) -> AsyncIterator[LifespanState]:
    """Have the application start, and end after the block."""
    state: LifespanState = {}
    lifespan = Lifespan(app, config, asyncio.get_running_loop(), state)
    task = asyncio.create_task(lifespan.handle_lifespan())
    await lifespan.wait_for_startup()
    if task.done():
        await task  # raises why it could not start
    try:
        yield state
    finally:
        try:
            await lifespan.wait_for_shutdown()
        except LifespanTimeoutError:
            log.warning("not_ended_in_time", after_seconds=config.shutdown_timeout)
            task.cancel()
            await asyncio.wait([task], timeout=_CUT_SECONDS)
            if task.done() and not task.cancelled():
                task.exception()  # seen: that it did not end has been told
        else:
            await task


def _config() -> Config:
    config = Config()
    config.shutdown_timeout = _SHUTDOWN_SECONDS
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = None
    config.h11_max_incomplete_size = _MAX_INCOMPLETE_BYTES
    return config


_PROOFS = (
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"204"),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
        b"204",
    ),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", b"204"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"204"),
    (b"GET / HTTP/1.1\nHost: a\r\n\r\n", b"400"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", b"400"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nA\r\n" * 20, b"204"),
)


async def _try(sent: bytes, config: Config, connect: Connect) -> tuple[bytes, int]:
    """What comes back over a connection of this process with itself, and how much its sender counted."""
    serving = Serving(wrapped(_answer_nothing, config), config, WorkerContext(None), {}, _PATIENCE)
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=theirs)
    writer.write(sent)
    connection = connect(serving, *await asyncio.open_connection(sock=ours))
    async with asyncio.timeout(_FIT_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(connection.run())
        received = await reader.read()
        writer.close()
    return received, connection.written_bytes


async def _answer_nothing(_scope: object, _receive: object, send: Application) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body"})
