"""Hypercorn as it is used here: HTTP/1.1 with one reading, for clients that ask in time, read, and stay."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import h11
import pytest
import structlog
import uvloop
from h11._receivebuffer import ReceiveBuffer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config

from gateway import hypercorn_fit
from gateway.connection import Connection, Patience, Serving, _Protocol, _StrictLines, _Tasks
from gateway.listener import BACKLOG, bind
from gateway.oci.ranges import ByteRange
from gateway.web.gate import Gate
from gateway.web.responses import BlobAnswer, send_answer
from tests.web.live import App, Receive, Send

pytestmark = pytest.mark.slow

SIZE = 256 << 20
_MAX_BACKLOG_IN_TCP_INFO = 28  # what a listening socket has in the place of tcpi_sacked
PATIENCE = Patience()
ASKED = b"GET /v2/x HTTP/1.1\r\nHost: x\r\n\r\n"
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
async def served(
    app: App, grace_seconds: float, patience: Patience = PATIENCE
) -> AsyncIterator[socket.socket]:
    """Serve in this loop; yield the listening socket; leaving stops it."""
    listener = bind("127.0.0.1", 0)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(hypercorn_fit.run(app, listener, stop, grace_seconds, patience))
        try:
            yield listener
        finally:
            stop.set()


@asynccontextmanager
async def asked(listener: socket.socket) -> AsyncIterator[asyncio.StreamReader]:
    """A connection on which the answer has begun."""
    reader, writer = await asyncio.open_connection(*listener.getsockname(), limit=1 << 10)
    writer.write(ASKED)
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


class Sender(Application):
    """Answers everything with a few bytes, and notes what it was asked."""

    async def __call__(self, scope: MutableMapping[str, object], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        self.told.append(str(scope["method"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2000")]})
        await send({"type": "http.response.body", "body": bytes(2000)})


async def answer_on(reader: asyncio.StreamReader) -> bytes:
    """The head of a Sender's answer, once all of it has come."""
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(2000)
    return head


@dataclass(frozen=True, slots=True)
class Talk:
    """Both ends of a connection; the client's is a socket that holds little of what it has not read."""

    connection: Connection
    over: asyncio.Task[None]
    client: socket.socket

    async def ask(self, sent: bytes) -> None:
        """Send it, as far as the server takes it; wait until no more comes back."""
        with suppress(BlockingIOError):
            self.client.send(sent)
        before = -1
        while before != self.connection.written_bytes:
            before = self.connection.written_bytes
            await asyncio.sleep(0.05)

    async def read(self, count: int) -> None:
        while count > 0:
            piece = await asyncio.get_running_loop().sock_recv(self.client, 4096)
            assert piece
            count -= len(piece)


@asynccontextmanager
async def talking(app: App) -> AsyncIterator[Talk]:
    with bind("127.0.0.1", 0) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        client.setblocking(False)
        ends = await asyncio.open_connection(sock=listener.accept()[0])
        config = Config()
        wrapped = hypercorn_fit.wrapped(app, config)
        connection = Connection(Serving(wrapped, config, WorkerContext(None), {}, PATIENCE), *ends)
        over = asyncio.create_task(connection.run())
        try:
            yield Talk(connection, over, client)
        finally:
            connection.cut()
            await over


@LOOPS
@pytest.mark.parametrize("app", [Application, Sender])
def test_who_takes_nothing_for_a_minute_is_reset(
    app: Callable[[], App], new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """H8: of an answer without end, or of a thousand small ones that were asked for at once."""

    async def work() -> None:
        async with talking(app()) as talk:
            await talk.ask(ASKED * 1000)
            asked_at = [0.0, 30.0, 59.9, 60.0]
            assert [talk.connection.is_stalled(now) for now in asked_at] == [False, False, False, True]
            talk.connection.cut()
            await talk.over
            with pytest.raises(ConnectionResetError):
                await talk.read(SIZE)

    run_in(new_loop, work)


@LOOPS
def test_who_reads_slowly_is_not_cut_until_it_stops(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """H8: 256 KiB in a minute are 4 KiB a second."""

    async def work() -> None:
        async with talking(Application()) as talk:
            await talk.ask(ASKED)
            for minute in range(5):
                assert not talk.connection.is_stalled(minute * 60.0)
                await talk.read(256 << 10)
            assert [talk.connection.is_stalled(now) for now in (300.0, 359.9, 360.0)] == [False, False, True]

    run_in(new_loop, work)


@LOOPS
def test_who_takes_all_it_asks_for_may_ask_for_little(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def work() -> None:
        async with talking(Sender()) as talk:
            for hour in range(3):
                await talk.ask(ASKED)
                assert not talk.connection.is_stalled(hour * 3600.0)
                await talk.read(2000)

    run_in(new_loop, work)


@LOOPS
def test_those_who_stall_are_looked_for_and_the_log_tells(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def work() -> None:
        is_over = asyncio.Event()
        app = Gate(Application(), lambda **_: is_over.set())
        impatient = Patience(stall_seconds=0.1, look_seconds=0.02)
        async with served(app, 5.0, impatient) as listener, asked(listener) as reader:
            await is_over.wait()
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(SIZE)

    with structlog.testing.capture_logs() as logs:
        run_in(new_loop, work)
    assert [line["event"] for line in logs] == ["stalled_client_cut"]


@LOOPS
@pytest.mark.parametrize("before", [b"", ASKED])
@pytest.mark.parametrize("sent", [b"", b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX-Slow: "])
def test_a_request_that_does_not_come_in_time_is_not_waited_for(
    sent: bytes, before: bytes, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """H8: a head that drips, of a first request or a later one."""
    app = Sender()

    async def work() -> None:
        async with served(app, 5.0, Patience(request_seconds=0.2, idle_seconds=0.2)) as listener:
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(before + sent)
            received = await reader.read()
            assert received.count(b"HTTP/1.1") == received.count(b"HTTP/1.1 200") == len(before and b"1")
            writer.close()

    run_in(new_loop, work)


@LOOPS
def test_between_two_requests_there_may_be_more_time_than_for_one_to_come(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """A balancer keeps connections for a minute, and would send a request into one that ends just then."""

    async def work() -> None:
        async with served(Sender(), 5.0, Patience(request_seconds=0.1, idle_seconds=60)) as listener:
            idle, to_idle = await asyncio.open_connection(*listener.getsockname())
            to_idle.write(ASKED)
            assert (await answer_on(idle)).startswith(b"HTTP/1.1 200")
            silent, to_silent = await asyncio.open_connection(*listener.getsockname())
            assert await silent.read() == b""  # its request did not come in time
            to_idle.write(ASKED)
            assert (await answer_on(idle)).startswith(b"HTTP/1.1 200")
            to_idle.write(b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX-Slow: ")
            assert await idle.read() == b""  # nor did the rest of this one
            to_idle.close()
            to_silent.close()

    run_in(new_loop, work)


@LOOPS
def test_who_has_connected_before_the_end_is_answered_still(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """R8: the request of a new connection is on its way; one that was answered may be ended."""

    async def work() -> None:
        async with talking(Sender()) as fresh, talking(Sender()) as answered:
            await answered.ask(ASKED)
            for talk in (fresh, answered):
                talk.connection.end_if_idle()
            await answered.over
            await fresh.ask(ASKED)
            await fresh.read(2000)

    run_in(new_loop, work)


@LOOPS
@pytest.mark.parametrize("app", [Application, Sender])
def test_who_leaves_while_its_next_request_waits_leaves_nothing_behind(
    app: Callable[[], App], new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """H9."""

    async def work() -> None:
        async with talking(app()) as talk:
            await talk.ask(ASKED * 100)
            talk.client.close()
            await talk.over

    run_in(new_loop, work)


@LOOPS
def test_a_body_of_many_chunks_that_nobody_reads_ends_with_its_answer(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """H2."""

    async def work() -> None:
        async with talking(Gate(Sender())) as talk:
            head = b"GET /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            await talk.ask(head + b"1\r\nA\r\n" * 5000)
            await talk.over

    run_in(new_loop, work)


class Lenient(Connection):
    """Ends lines where h11 does."""

    def _speak(self, tasks: _Tasks) -> _Protocol:
        protocol = super()._speak(tasks)
        protocol.connection = h11.Connection(h11.SERVER)
        return protocol


@LOOPS
def test_a_worker_does_not_start_on_a_server_that_is_not_adapted(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def work() -> None:
        await hypercorn_fit.prove_fit(Config())
        with pytest.raises(hypercorn_fit.Unfit, match=r"answers b'GET / HTTP/1.1\\nHost.*requirements.lock"):
            await hypercorn_fit.prove_fit(Config(), Lenient)

    run_in(new_loop, work)


@pytest.mark.parametrize("size", range(1, 41))
def test_a_strict_head_has_the_lines_of_a_lenient_one_however_it_comes(size: int) -> None:
    head = b"GET /v2/ HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\nrest"
    strict: ReceiveBuffer = _StrictLines()
    lenient = ReceiveBuffer()
    for part in (head[:size], head[size:]):
        assert strict.maybe_extract_lines() is lenient.maybe_extract_lines() is None
        strict += part
        lenient += part
    assert strict.maybe_extract_lines() == lenient.maybe_extract_lines()
    assert bytes(strict) == bytes(lenient) == b"rest"
