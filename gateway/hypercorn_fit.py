"""The one place where Hypercorn is adapted to what this gateway needs."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from hypercorn.asyncio import serve
from hypercorn.config import Config

Application: TypeAlias = Callable[..., Awaitable[None]]

_MAX_INCOMPLETE_BYTES = 16 * 1024


async def run(app: Application, listener: socket.socket, stop: asyncio.Event, grace_seconds: float) -> None:
    """Serve on a listening socket until ``stop``; running answers then have ``grace_seconds``.

    The socket is taken over, and closed at ``stop``: a copy left open would go on taking connections in that
    nobody answers.
    """
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.graceful_timeout = grace_seconds
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = None
    config.h11_max_incomplete_size = _MAX_INCOMPLETE_BYTES
    await serve(app, config, shutdown_trigger=stop.wait)
