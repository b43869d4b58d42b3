"""The one place where Hypercorn is adapted to what this gateway needs.

Its own ``serve`` waits without end for a peer that does not read; here, connections are cut in the end.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import structlog
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import AppWrapper, LifespanState
from hypercorn.utils import wrap_app

from gateway.listener import BACKLOG

log = structlog.get_logger(__name__)

Application: TypeAlias = Callable[..., Awaitable[None]]
Connections: TypeAlias = dict[asyncio.Task[None], asyncio.StreamWriter]

_MAX_INCOMPLETE_BYTES = 16 * 1024
_CUT_SECONDS = 2.0
_SHUTDOWN_SECONDS = 4.0


async def run(app: Application, listener: socket.socket, stop: asyncio.Event, grace_seconds: float) -> None:
    """Serve on a listening socket until ``stop``; running answers then have ``grace_seconds``.

    The socket is taken over, and closed at ``stop``: a copy left open would go on taking connections in that
    nobody answers. After the grace, connections are cut; the application's own end has a few seconds more.
    """
    config = _config()
    wrapped = wrap_app(app, config.wsgi_max_body_size, "asgi")
    loop = asyncio.get_running_loop()
    context = WorkerContext(None)
    connections: Connections = {}

    async with _lifespan(wrapped, config) as state:

        def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server = _Connection(wrapped, loop, config, context, state, reader, writer)
            task = loop.create_task(server.run())
            connections[task] = writer
            task.add_done_callback(connections.pop)

        listening = await asyncio.start_server(connect, sock=listener, backlog=BACKLOG)
        await stop.wait()
        await context.terminated.set()
        listening.close()
        await _finish(connections, grace_seconds)


class _Connection(TCPServer):
    """Lets go of a connection when its client has left: Hypercorn would hold it until an idle timer ends."""

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()


def _config() -> Config:
    config = Config()
    config.shutdown_timeout = _SHUTDOWN_SECONDS
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = None
    config.h11_max_incomplete_size = _MAX_INCOMPLETE_BYTES
    return config


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
        await lifespan.wait_for_shutdown()
        await task


async def _finish(connections: Connections, grace_seconds: float) -> None:
    """Let what runs end by itself; then cut it, whether its peer reads or not."""
    with suppress(TimeoutError):
        async with asyncio.timeout(grace_seconds):
            while connections:
                await asyncio.wait(list(connections))
    if connections:
        log.warning("connections_cut", count=len(connections), grace_seconds=grace_seconds)
        for task, writer in connections.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.wait(list(connections), timeout=_CUT_SECONDS)
