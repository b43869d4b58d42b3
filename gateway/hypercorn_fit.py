"""The one place where Hypercorn is adapted to what this gateway needs."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from hypercorn.asyncio import serve
from hypercorn.config import Config

Application: TypeAlias = Callable[..., Awaitable[None]]

_MAX_INCOMPLETE_BYTES = 16 * 1024


async def run(app: Application, listener: socket.socket, stop: asyncio.Event, grace_seconds: float) -> None:
    """Serve on a listening socket until ``stop``; running answers then have ``grace_seconds``."""
    config = Config()
    config.bind = [f"fd://{os.dup(listener.fileno())}"]
    config.graceful_timeout = grace_seconds
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = None
    config.h11_max_incomplete_size = _MAX_INCOMPLETE_BYTES
    await serve(app, config, shutdown_trigger=stop.wait)
