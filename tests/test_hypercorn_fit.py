"""Hypercorn as it is used here: it ends in time whoever does not read, and learns who has gone."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
import uvloop

from gateway import hypercorn_fit
from gateway.listener import BACKLOG, bind
from gateway.oci.ranges import ByteRange
from gateway.web.gate import Gate
from gateway.web.responses import BlobAnswer, send_answer
from tests.web.live import App, Receive, Send

pytestmark = pytest.mark.slow

SIZE = 256 << 20
_MAX_BACKLOG_IN_TCP_INFO = 28  # what a listening socket has in the place of tcpi_sacked
LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])


class ZeroBlob:
    """As long as wanted, and cheap."""

    size = SIZE

    async def read(self, _offset: int, length: int) -> bytes:
        return bytes(length)

    def close(self) -> None:
        """Nothing is held open."""


class Application:
    """Answers everything with a blob that fits in no buffer; notes its own start and end."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def __call__(self, scope: MutableMapping[str, object], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for word in ("startup", "shutdown"):
                assert (await receive())["type"] == f"lifespan.{word}"
                self.told.append(word)
                await send({"type": f"lifespan.{word}.complete"})
            return
        headers = [(b"content-length", b"%d" % SIZE)]
        answer = BlobAnswer(200, headers, ZeroBlob(), ByteRange(0, SIZE))
        await send_answer(send, answer, is_head=False, receive=receive)


@asynccontextmanager
async def served(app: App, grace_seconds: float) -> AsyncIterator[socket.socket]:
    """Serve in this loop; yield the listening socket; leaving stops it."""
    listener = bind("127.0.0.1", 0)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(hypercorn_fit.run(app, listener, stop, grace_seconds))
        try:
            yield listener
        finally:
            stop.set()


@asynccontextmanager
async def asked(listener: socket.socket) -> AsyncIterator[asyncio.StreamReader]:
    """A connection on which the answer has begun."""
    reader, writer = await asyncio.open_connection(*listener.getsockname(), limit=1 << 10)
    writer.write(b"GET /v2/x HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    try:
        yield reader
    finally:
        writer.transport.abort()


def run_in(new_loop: Callable[[], asyncio.AbstractEventLoop], work: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(10):
            await work()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(limited())


@LOOPS
def test_a_reader_that_stalls_is_cut_after_the_grace_and_the_application_ends_in_order(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    app = Application()

    async def work() -> None:
        async with served(app, 0.1) as listener, asyncio.timeout(5):
            stalled = asked(listener)
            await stalled.__aenter__()
        await stalled.__aexit__(None, None, None)

    started = time.monotonic()
    with structlog.testing.capture_logs() as logs:
        run_in(new_loop, work)
    assert time.monotonic() - started < 2.0
    assert app.told == ["startup", "shutdown"]
    assert [(line["event"], line["count"]) for line in logs] == [("connections_cut", 1)]


@LOOPS
def test_a_client_that_has_gone_costs_nothing_more_and_the_log_tells_how_much_it_was_sent(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    recorded: list[dict[str, object]] = []

    async def work() -> None:
        is_over = asyncio.Event()

        def record(**fields: object) -> None:
            recorded.append(fields)
            is_over.set()

        async with served(Gate(Application(), record), 5.0) as listener:
            async with asked(listener):
                pass
            await is_over.wait()

    run_in(new_loop, work)
    (line,) = recorded
    assert isinstance(line["bytes"], int)
    assert line["bytes"] < SIZE / 4


@LOOPS
def test_as_many_connections_may_wait_as_the_listener_says(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    allowed = int(Path("/proc/sys/net/core/somaxconn").read_text())
    depths: list[int] = []

    async def work() -> None:
        async with served(Application(), 0.1) as listener, asked(listener):
            info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            depths.extend(struct.unpack_from("=I", info, _MAX_BACKLOG_IN_TCP_INFO))

    run_in(new_loop, work)
    assert depths == [min(BACKLOG, allowed)]
