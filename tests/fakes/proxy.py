"""An egress proxy as companies have one: CONNECT for TLS, whole URLs for the rest; it counts both."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from gateway.oci.urls import HttpUrl, parse_upstream_url

_MAX_BYTES = 1 << 16


@dataclass(slots=True)
class FakeProxy:
    """``leads_to``: the port of this machine that each host:port really is, as only the proxy knows.

    It answers ``tunnel_answer`` to every CONNECT where that is set, and opens no tunnel; ``forward_answer``
    likewise to every other request. ``heads`` are the request heads that it was sent itself.
    """

    leads_to: Mapping[str, int] = field(default_factory=dict)
    tunnel_answer: bytes | None = None
    forward_answer: bytes | None = None
    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    open_now: int = 0

    @property
    def url(self) -> HttpUrl:
        return HttpUrl("http", "127.0.0.1", self.port)

    @property
    def asked(self) -> list[str]:
        """The request lines, without their protocol."""
        return [head.decode("latin-1").rpartition(" HTTP/")[0].partition("\r\n")[0] for head in self.heads]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_now += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            method, target, _ = head.split(b"\r\n")[0].decode("latin-1").split(" ")
            if method == "CONNECT":
                await self._tunnel(target, reader, writer)
            else:
                await self._forward(target, head, reader, writer)
        finally:
            self.open_now -= 1

    async def _tunnel(
        self, authority: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.tunnel_answer is not None:
            writer.write(self.tunnel_answer)
        elif authority not in self.leads_to:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nDNS")
        else:
            beyond = await asyncio.open_connection("127.0.0.1", self.leads_to[authority])
            writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 fake\r\n\r\n")
            await _join((reader, writer), beyond)

    async def _forward(
        self, target: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on one request after the other; none has a body."""
        if self.forward_answer is not None:
            writer.write(self.forward_answer)
            return
        url = parse_upstream_url(target)
        far = await asyncio.open_connection("127.0.0.1", self.leads_to[f"{url.host}:{url.port}"])
        back = asyncio.create_task(_pass_on(far[0], writer))
        try:
            while True:
                far[1].write(head.replace(url.origin.encode(), b"", 1))
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
        finally:
            far[1].close()
            back.cancel()


@asynccontextmanager
async def egress_proxy(proxy: FakeProxy) -> AsyncIterator[FakeProxy]:
    """Run it until the block ends, which ends its connections."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):  # the client has had enough
                await proxy.serve(reader, writer)
                await writer.drain()
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", proxy.port)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


_End = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _join(near: _End, far: _End) -> None:
    try:
        await asyncio.gather(_pass_on(near[0], far[1]), _pass_on(far[0], near[1]))
    finally:
        far[1].close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(_MAX_BYTES):
            writer.write(piece)
            await writer.drain()
    writer.close()
