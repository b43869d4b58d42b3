"""Bodies of any size, between the event loop and a thread that reads or writes them, piece by piece."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Final, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from gateway.oci.errors import OciError, Situation

PIECE_BYTES: Final = 256 << 10
STALL_SECONDS: Final = 60.0  # for a piece to come
LINGER_SECONDS: Final = 60.0  # for what is left of a body that nobody wants
_PIECES_WAITING: Final = 4

Taken = TypeVar("Taken")


class Inflow:
    """A request's body as a thread reads it; nothing of it is taken before it is read.

    Made in the event loop. ``read`` is called in one thread, everything else in the loop.
    """

    def __init__(self, receive: Receive, stall_seconds: float = STALL_SECONDS) -> None:
        self._receive = receive
        self._stall_seconds = stall_seconds
        self._across = _Across("the upload was cancelled")
        self._held = b""
        self._is_over = False

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end; raise OciError where none come."""
        if not self._held and not self._is_over:
            self._held = self._across.wait_for(self._take())
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def close(self) -> None:
        """Who reads, now or later, is told that the upload was cancelled."""
        self._across.cut()

    async def drain(self, seconds: float = LINGER_SECONDS) -> None:
        """Let the rest come and drop it: who still sends would not see an answer."""
        with suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(seconds):
                while not self._is_over:
                    await self._next()

    async def _take(self) -> bytes:
        """A piece, smaller at the end."""
        taken = bytearray()
        try:
            async with asyncio.timeout(self._stall_seconds):
                while not self._is_over and len(taken) < PIECE_BYTES:
                    taken += await self._next()
        except TimeoutError:
            least = f"{PIECE_BYTES >> 10} KiB in {self._stall_seconds:.0f} s"
            message = f"the upload stalled: it has to bring {least}"
            raise OciError(Situation.BODY_TOO_SLOW, message) from None
        except ClientDisconnect as error:
            raise OciError(Situation.BODY_MALFORMED, "the upload broke off") from error
        return bytes(taken)

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._is_over = True
            raise ClientDisconnect
        self._is_over = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body


class Outflow:
    """What a thread writes, as pieces of an answer; it waits while the client takes none.

    Made in the event loop. ``write`` is called in one thread, everything else in the loop.
    """

    def __init__(self) -> None:
        self._across = _Across("it was cancelled, or who asked for it left before its end")
        self._held = bytearray()
        self._room = asyncio.Semaphore(_PIECES_WAITING)
        self._waiting: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._first: bytes | None = None

    def write(self, content: bytes | memoryview, /) -> None:
        """Raise OciError where nobody takes it any more."""
        self._held += content
        if len(self._held) >= PIECE_BYTES:
            piece = bytes(self._held)
            self._held.clear()
            self._across.wait_for(self._put(piece))

    def finish(self) -> None:
        """All was written."""
        if self._held:
            self._waiting.put_nowait(bytes(self._held))
        self._waiting.put_nowait(None)

    def fail(self, error: Exception) -> None:
        """No more is to come; who takes the pieces meets the error."""
        self.close()
        self._waiting.put_nowait(error)

    def close(self) -> None:
        """Nobody takes more of it."""
        self._across.cut()

    async def begin(self) -> None:
        """Wait for the first piece; raise what came instead of it."""
        self._first = await self._next()

    async def pieces(self) -> AsyncIterator[bytes]:
        piece = self._first
        while piece is not None:
            yield piece
            piece = await self._next()

    async def _put(self, piece: bytes) -> None:
        await self._room.acquire()
        self._waiting.put_nowait(piece)

    async def _next(self) -> bytes | None:
        piece = await self._waiting.get()
        self._room.release()
        if isinstance(piece, Exception):
            raise piece
        return piece


class _Across:
    """Waits in a thread for what the loop does, until that is cut."""

    def __init__(self, told: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._told = told
        self._running: asyncio.Task[object] | None = None
        self._is_cut = False

    def wait_for(self, work: Coroutine[object, object, Taken]) -> Taken:
        """Called in the thread; raise OciError where it is cut."""
        try:
            return asyncio.run_coroutine_threadsafe(self._unless_cut(work), self._loop).result()
        except CancelledError:
            raise OciError(Situation.CONFLICT, self._told) from None

    def cut(self) -> None:
        self._is_cut = True
        if self._running is not None:
            self._running.cancel()

    async def _unless_cut(self, work: Coroutine[object, object, Taken]) -> Taken:
        if self._is_cut:
            work.close()
            raise OciError(Situation.CONFLICT, self._told)
        self._running = asyncio.current_task()
        try:
            return await work
        finally:
            self._running = None
