"""One client's connection: Hypercorn's HTTP on it, and how long either side may take.

Of Hypercorn is what HTTP says (``H11Protocol``, ``HTTPStream``). Its own connections let a client stall for
ever, and some it never let go: of one that left while its next request waited, or sent a body of many chunks.
"""

import asyncio
import socket
import struct
import termios
from asyncio import Queue, StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from fcntl import ioctl

import h11
import structlog
from h11._receivebuffer import ReceiveBuffer
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    LifespanState,
    Scope,
    WorkerContext,
)
from hypercorn.utils import parse_socket_addr

log = structlog.get_logger(__name__)

_READ_BYTES = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Patience:
    """Who takes less than ``min_bytes`` of what it is sent in ``stall_seconds``, and not all, is cut off.

    A request has ``request_seconds`` to come, from the start of a connection or its own first byte. Between
    two of them there may be ``idle_seconds``: more than a balancer in front waits before it ends a connection
    by itself, else it would send requests into one that ends just then.
    """

    request_seconds: float = 5.0
    idle_seconds: float = 75.0
    stall_seconds: float = 60.0
    min_bytes: int = 60 * 1024
    look_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Serving:
    """What the connections have in common."""

    app: AppWrapper
    config: Config
    context: WorkerContext
    state: LifespanState
    patience: Patience


class Connection:
    """Requests in, answers out; how long a request takes to come, and how much was taken of answers."""

    def __init__(self, serving: Serving, reader: StreamReader, writer: StreamWriter) -> None:
        self._serving = serving
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._protocol: _Protocol
        self._reading: asyncio.Task[None] | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._is_idle = False
        self.written_bytes = 0
        self._marked_at = 0.0
        self._marked_taken = 0  # of what was written, as of then
        self._marked_written = 0

    async def run(self) -> None:
        """Answer until either side has had enough."""
        tasks = _Tasks(self._loop)
        try:
            self._protocol = self._speak(tasks)
            self._wait(self._serving.patience.request_seconds)
            async with tasks:
                tasks.spawn(self._read)
        except OSError:  # it left before we asked who it is
            pass
        except ExceptionGroup:
            log.exception("connection_failed")
        finally:
            self._stop_waiting()
            self._writer.close()
            with suppress(OSError, RuntimeError):
                await self._writer.wait_closed()

    def end_if_idle(self) -> None:
        """End it between two requests; a new connection may have its first under way."""
        if self._waiting is not None and self.written_bytes:
            self._writer.close()

    def is_stalled(self, now: float) -> bool:
        """Whether the client lets what it was sent lie; to be asked from time to time.

        ``now`` is the loop's time. What the kernel holds counts as not taken: it may be megabytes.
        """
        if self._marked_taken == self.written_bytes or self._is_closed:
            return False
        patience = self._serving.patience
        taken = self.written_bytes - self._untaken_bytes()
        if taken >= min(self._marked_written, self._marked_taken + patience.min_bytes):
            self._marked_at, self._marked_taken, self._marked_written = now, taken, self.written_bytes
        return now - self._marked_at >= patience.stall_seconds

    def cut(self) -> None:
        """Reset the connection: nothing of it is kept, here or in the kernel."""
        if self._is_closed:
            return
        with suppress(OSError):
            own = self._writer.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._writer.transport.abort()

    @property
    def _is_closed(self) -> bool:
        """The number of its socket may be another's by now."""
        transport = self._writer.transport
        return transport.is_closing() and not transport.get_write_buffer_size()

    def _speak(self, tasks: "_Tasks") -> "_Protocol":
        """Raise OSError where the client has left already."""
        serving = self._serving
        own = self._writer.get_extra_info("socket")
        if own is None:
            raise ConnectionResetError
        protocol = _Protocol(
            serving.app,
            serving.config,
            serving.context,
            tasks,
            ConnectionState(serving.state),
            ssl=False,
            client=parse_socket_addr(own.family, own.getpeername()),
            server=parse_socket_addr(own.family, own.getsockname()),
            send=self._send,
        )
        strict = h11.Connection(h11.SERVER, max_incomplete_event_size=serving.config.h11_max_incomplete_size)
        strict._receive_buffer = _StrictLines()
        protocol.connection = strict
        return protocol

    async def _read(self) -> None:
        self._reading = asyncio.current_task()
        with suppress(OSError):
            while not self._reader.at_eof():
                data = await self._reader.read(_READ_BYTES)
                idle = self._waiting if self._is_idle else None
                await self._protocol.handle(RawData(data))
                if idle is not None and self._waiting is idle:  # one that has begun, and is not all there
                    self._wait(self._serving.patience.request_seconds)
        await self._protocol.handle(Closed())
        self._writer.close()

    async def _send(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            self._writer.close()
        elif isinstance(event, Updated) and event.idle:
            self._wait(self._serving.patience.idle_seconds, is_idle=True)
        else:
            self._stop_waiting()

    async def _write(self, data: bytes) -> None:
        self.written_bytes += len(data)
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (OSError, RuntimeError):  # the client has left; what waits for its next request waits in vain
            await self._protocol.handle(Closed())
            if self._reading is not None:
                self._reading.cancel()

    def _wait(self, seconds: float, *, is_idle: bool = False) -> None:
        """For a request: to begin, or to come whole."""
        self._stop_waiting()
        self._is_idle = is_idle
        if self._serving.context.terminated.is_set():
            self._writer.close()
        else:
            self._waiting = self._loop.call_later(seconds, self._writer.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _untaken_bytes(self) -> int:
        """What was written and not acknowledged."""
        waiting = self._writer.transport.get_write_buffer_size()
        with suppress(OSError, ValueError):
            fd = self._writer.get_extra_info("socket").fileno()
            (in_kernel,) = struct.unpack("i", ioctl(fd, termios.TIOCOUTQ, bytes(4)))
            waiting += in_kernel
        return waiting


class _Protocol(H11Protocol):
    """HTTP/1.1, whatever a request asks for."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """No request makes this HTTP/2."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Nor a web socket: of one that is refused, Hypercorn forgets to end the connection."""
        if any(name == b"upgrade" for name, _ in request.headers):
            headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
            request = h11.Request(
                method=request.method,
                target=request.target,
                headers=headers,
                http_version=request.http_version,
            )
        await super()._create_stream(request)


class _StrictLines(ReceiveBuffer):
    """Heads whose lines end in CR LF, each of them a field of its own."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        data = self._data
        if data.startswith(b"\r\n"):
            self._extract(2)
            return []
        end = data.find(b"\r\n\r\n", max(self._multiple_lines_search - 3, 0))
        stop = len(data) if end < 0 else end + 4
        if data.count(b"\n", 0, stop) != data.count(b"\r\n", 0, stop):
            raise h11.LocalProtocolError("a line ends in LF alone")
        if data.find(b"\n ", 0, stop) >= 0 or data.find(b"\n\t", 0, stop) >= 0:
            raise h11.LocalProtocolError("a header goes on in a second line")
        if end < 0:
            self._multiple_lines_search = stop
            return None
        return self._extract(stop)[:-4].split(b"\r\n")


class _Tasks(TaskGroup):
    """Runs what answers the requests of a connection."""

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        inbox: Queue[ASGIReceiveEvent] = Queue(config.max_app_queue_size)

        async def tell(event: ASGIReceiveEvent) -> None:
            if event["type"] == "http.disconnect":  # behind a body that nobody reads it would wait for ever
                while not inbox.empty():
                    inbox.get_nowait()
            await inbox.put(event)

        self.spawn(_answer, app, scope, inbox.get, send)
        return tell


async def _answer(
    app: AppWrapper,
    scope: Scope,
    receive: Callable[[], Awaitable[ASGIReceiveEvent]],
    send: Callable[[ASGISendEvent | None], Awaitable[None]],
) -> None:
    try:
        with suppress(Exception):  # the gate has told the log
            await app(scope, receive, send, _unused, _unused)
    finally:
        await send(None)


def _unused(*_: object) -> None:
    """For applications of another kind."""
