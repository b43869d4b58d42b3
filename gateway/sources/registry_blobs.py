"""Blobs of a registry: whole, or from where a broken transfer left off."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Final, TypeAlias

import structlog

from gateway.oci.descriptor import Descriptor
from gateway.oci.outcomes import Missing, Unavailable
from gateway.sources.registry_asking import RegistryAsking, Reply
from gateway.sources.registry_place import UpstreamRepository

log = structlog.get_logger(__name__)

MAX_RESUMES: Final = 5
_PAUSES_SECONDS: Final = (0.5, 1.5)
_HEAD_NOT_OFFERED: Final = frozenset({400, 405, 501})

Sleep: TypeAlias = Callable[[float], Awaitable[None]]


class RegistryBlobs:
    """What a registry hands out by digest. Nothing is verified here but lengths."""

    def __init__(self, asking: RegistryAsking, sleep: Sleep = asyncio.sleep) -> None:
        self._asking = asking
        self._sleep = sleep

    @asynccontextmanager
    async def open(
        self, repository: UpstreamRepository, descriptor: Descriptor
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The pieces of a blob; entered once the registry has begun to answer."""
        async with AsyncExitStack() as stack:
            transfer = _Transfer(self._asking, repository, descriptor, self._sleep)
            begun = await transfer.begin(stack)
            async with aclosing(transfer.pieces(stack, begun)) as pieces:
                yield pieces

    async def has(self, repository: UpstreamRepository, descriptor: Descriptor) -> bool:
        """Whether the registry says that it has this blob in this size."""
        path = _path(descriptor)
        async with self._asking.ask("HEAD", repository, path) as reply:
            if reply.answer.status not in _HEAD_NOT_OFFERED:
                return await _has(reply, descriptor)
        async with self._asking.ask("GET", repository, path) as reply:
            return await _has(reply, descriptor)


class _Transfer:
    """One blob on its way; ``received`` counts what was handed on."""

    def __init__(
        self,
        asking: RegistryAsking,
        repository: UpstreamRepository,
        descriptor: Descriptor,
        sleep: Sleep,
    ) -> None:
        self._asking = asking
        self._sleep = sleep
        self._repository = repository
        self._descriptor = descriptor
        self._received = 0

    async def begin(self, stack: AsyncExitStack) -> AsyncIterator[bytes]:
        reply = await stack.enter_async_context(
            self._asking.ask("GET", self._repository, _path(self._descriptor))
        )
        await reply.require_ok(f"the blob {self._descriptor.digest}")
        return reply.answer.chunks_exact(self._descriptor.size)

    async def pieces(self, stack: AsyncExitStack, begun: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """What comes, resumed as long as each attempt gets further than the one before."""
        rest = begun
        for left in reversed(range(MAX_RESUMES + 1)):
            received_before = self._received
            try:
                async for piece in rest:
                    self._received += len(piece)
                    yield piece
            except Unavailable as error:
                if self._received == self._descriptor.size:  # only the end of the message is missing
                    return
                if not left or self._received == received_before:
                    raise
                await stack.aclose()
                rest = await self._resume_patiently(stack, error)
                log.info("blob_resumed", digest=str(self._descriptor.digest), received=self._received)
            else:
                return

    async def _resume_patiently(self, stack: AsyncExitStack, broken: Unavailable) -> AsyncIterator[bytes]:
        """Whoever broke off may be restarting: asked again a few times, within seconds."""
        for pause_seconds in _PAUSES_SECONDS:
            try:
                return await self._resume(stack, broken)
            except Unavailable as error:
                if error is broken:  # an answer came: there is no rest to be had
                    raise
                await stack.aclose()
                await self._sleep(pause_seconds)
        return await self._resume(stack, broken)

    async def _resume(self, stack: AsyncExitStack, broken: Unavailable) -> AsyncIterator[bytes]:
        """Ask for the rest; who knows no ranges sends all, of which what was received is dropped."""
        size, headers = self._descriptor.size, {"Range": f"bytes={self._received}-"}
        reply = await stack.enter_async_context(
            self._asking.ask("GET", self._repository, _path(self._descriptor), headers)
        )
        try:
            await reply.require_asked("the rest of a blob")
            start = reply.answer.require_range(self._received, size)
        except Missing as error:  # it was there: that it is gone in the middle is a broken transfer
            raise broken from error
        return _after(reply.answer.chunks_exact(size - start), self._received - start)


async def _after(pieces: AsyncIterator[bytes], count: int) -> AsyncIterator[bytes]:
    """All but the first ``count`` bytes."""
    left = count
    async for piece in pieces:
        if left < len(piece):
            yield piece[left:]
        left = max(0, left - len(piece))


async def _has(reply: Reply, descriptor: Descriptor) -> bool:
    try:
        await reply.require_ok(f"the blob {descriptor.digest}")
    except Missing:
        return False
    return not reply.is_page and reply.answer.content_length == descriptor.size


def _path(descriptor: Descriptor) -> str:
    return f"blobs/{descriptor.digest}"
