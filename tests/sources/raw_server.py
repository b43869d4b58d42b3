"""Upstreams that say what no honest server says: raw bytes, connection by connection."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from gateway.oci.urls import HttpUrl

Say = Callable[[bytes], Awaitable[None]]
Script = Callable[[str, Say], Awaitable[None]]


@dataclass(slots=True)
class RawServer:
    """``heads`` are the request heads as they came, one text each; ``most_at_once`` how many were open."""

    scheme: str = "http"
    port: int = 0
    heads: list[str] = field(default_factory=list)
    most_at_once: int = 0
    open_now: int = 0

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def url(self, path: str = "/x") -> HttpUrl:
        return HttpUrl(self.scheme, "127.0.0.1", self.port, path)

    def headers(self, position: int) -> dict[str, str]:
        lines = self.heads[position].split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines) if name}


@asynccontextmanager
async def raw_server(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Run ``script(request target, say)`` for each connection's one request, then hang up."""
    told = RawServer("http" if tls is None else "https")

    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(content: bytes) -> None:
            writer.write(content)
            await writer.drain()

        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            told.heads.append(head)
            told.open_now += 1
            told.most_at_once = max(told.most_at_once, told.open_now)
            await script(head.split(" ")[1], say)
            told.open_now -= 1
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError):  # the client has had enough
            pass
        finally:
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    told.port = server.sockets[0].getsockname()[1]
    async with server:
        yield told
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def resetting_server(read_bytes: int) -> AsyncIterator[RawServer]:
    """Send RST in place of an answer, once so much came; ``heads`` counts the connections."""
    told = RawServer("https")

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.heads.append("")
        await reader.readexactly(read_bytes)
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    told.port = server.sockets[0].getsockname()[1]
    async with server:
        yield told


@contextmanager
def black_hole() -> Iterator[HttpUrl]:
    """An address whose host never even takes a connection up: its queue of them is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield HttpUrl("http", "127.0.0.1", port, "/x")


def saying(answer: bytes) -> Script:
    """Answer every request with these bytes."""

    async def script(_target: str, say: Say) -> None:
        await say(answer)

    return script


def answer(body: bytes = b"", *headers: str, status: int = 200) -> bytes:
    """Return an answer with its Content-Length, and one request a connection."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
