"""A gateway behind a real Hypercorn in a thread: asked by raw bytes on a socket, or as ASGI."""

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Coroutine, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import unquote

from gateway import hypercorn_fit
from gateway.app import create_app
from tests.composed import Composed, FakeDns, composed

T = TypeVar("T")
Headers = Sequence[tuple[bytes, bytes]]
_PATIENCE_SECONDS = 20.0


class App(Protocol):
    """An ASGI application."""

    def __call__(
        self, scope: MutableMapping[str, object], receive: "Receive", send: "Send", /
    ) -> Awaitable[None]: ...


class Receive(Protocol):
    def __call__(self) -> Awaitable[MutableMapping[str, object]]: ...


class Send(Protocol):
    def __call__(self, message: MutableMapping[str, object], /) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came; header names in lower case. What belongs to the connection is left out."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name.encode()]
        assert len(values) <= 1, values
        return values[0].decode() if values else None

    @property
    def code(self) -> str | None:
        """The OCI error code, of a body that is just what the specification wants."""
        if self.status < 400:
            return None
        document = json.loads(self.body)
        assert list(document) == ["errors"]
        (error,) = document["errors"]
        assert {"code", "message"} <= set(error) <= {"code", "message", "detail"}
        assert error["message"]
        code: str = error["code"]
        return code


async def ask_app(
    app: App, method: str, target: bytes, headers: Headers = (), client: str = "127.0.0.1"
) -> Reply:
    """Ask an application as Hypercorn does."""
    raw_path, _, query = target.partition(b"?")
    scope: MutableMapping[str, object] = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path.decode("ascii")),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"gateway.test"), *headers],
        "client": (client, 1),
        "server": ("127.0.0.1", 2),
    }
    sent: list[MutableMapping[str, object]] = []

    async def receive() -> MutableMapping[str, object]:
        await asyncio.Event().wait()  # a client that stays
        return {}

    async def send(message: MutableMapping[str, object]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *bodies = sent
    status, fields = start["status"], start["headers"]
    assert isinstance(status, int)
    assert isinstance(fields, list)
    assert [bool(message.get("more_body")) for message in bodies[-1:]] == [False]
    pieces = [body for message in bodies if isinstance(body := message.get("body", b""), bytes)]
    return Reply(status, _own(fields), b"".join(pieces))


def _own(headers: Headers) -> Headers:
    return [(name.lower(), value) for name, value in headers if name.lower() not in (b"date", b"connection")]


def parse_reply(received: bytes) -> Reply:
    head, _, body = received.partition(b"\r\n\r\n")
    status_line, *lines = head.split(b"\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    return Reply(int(status_line.split(b" ")[1]), _own(headers), body)


def request_bytes(method: str, target: bytes, headers: Headers = ()) -> bytes:
    """A request that asks for the connection to be closed after it."""
    lines = [
        method.encode() + b" " + target + b" HTTP/1.1",
        b"Host: gateway.test",
        b"Connection: close",
        *(name + b": " + value for name, value in headers),
    ]
    return b"\r\n".join([*lines, b"", b""])


@dataclass(frozen=True, slots=True)
class Live:
    """A running gateway; ``asgi`` and ``raw`` ask the same application in the same loop."""

    composed: Composed
    app: App
    port: int
    loop: asyncio.AbstractEventLoop

    @property
    def dns(self) -> FakeDns:
        return self.composed.dns

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Run in the gateway's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_PATIENCE_SECONDS)

    def asgi(self, method: str, target: bytes, headers: Headers = ()) -> Reply:
        return self.run(ask_app(self.app, method, target, headers))

    def raw(self, method: str, target: bytes, headers: Headers = ()) -> Reply:
        return parse_reply(self.exchange(request_bytes(method, target, headers)))

    def exchange(self, sent: bytes) -> bytes:
        """Send bytes, return all that comes back until the server hangs up."""
        with self.connect() as connection:
            connection.sendall(sent)
            return read_to_end(connection)

    def connect(self, receive_bytes: int | None = None) -> socket.socket:
        """Connect, as a client whose system holds about ``receive_bytes`` that it has not read."""
        connection = socket.socket()
        connection.settimeout(_PATIENCE_SECONDS)
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> Reply:
        fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        return self.raw("GET", target.encode(), fields)


def read_to_end(connection: socket.socket) -> bytes:
    received = bytearray()
    try:
        while chunk := connection.recv(1 << 16):
            received += chunk
    except ConnectionResetError:  # it had more to tell us than we let it read
        pass
    return bytes(received)


@contextmanager
def live(folder: Path, rules: str) -> Iterator[Live]:
    """Run a gateway with these rules (without their version) on ``folder`` until the block ends."""
    started = threading.Event()
    box: list[tuple[Live, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        async with composed(folder, rules) as parts:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                listener.listen(64)
                listener.setblocking(False)
                app = create_app(parts.gateway)
                port = listener.getsockname()[1]
                box.append((Live(parts, app, port, asyncio.get_running_loop()), stop))
                started.set()
                await hypercorn_fit.run(app, listener, stop, 1.0)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="gateway")
    thread.start()
    assert started.wait(_PATIENCE_SECONDS)
    running, stop = box[0]
    try:
        yield running
    finally:
        running.loop.call_soon_threadsafe(stop.set)
        thread.join(_PATIENCE_SECONDS)
        assert not thread.is_alive()
