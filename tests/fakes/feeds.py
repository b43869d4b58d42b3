"""A source whose blobs come just as far as a test has let them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.rules.model import SourceName
from gateway.rules.route import Route
from gateway.sources.base import Comparable
from gateway.store.blobs import MemoryBlobs
from tests.fakes.source import FakeSource, image_of
from tests.pull_house import until


class Feed:
    """One answer of upstream: what was put in comes out, in this order, as soon as it is there."""

    def __init__(self, *pieces: bytes) -> None:
        self._coming: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.send(*pieces)

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._coming.put_nowait(piece)

    def end(self) -> None:
        self._coming.put_nowait(None)

    def break_off(self, error: Exception) -> None:
        self._coming.put_nowait(error)

    async def pieces(self) -> AsyncIterator[bytes]:
        while (piece := await self._coming.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece


@dataclass(slots=True)
class FeedingSource(FakeSource):
    """Answers each GET of a blob with the next of ``feeds``, and honestly once there are none left.

    ``blob_failure`` is raised to whoever asks for a blob; manifests are had all the same.
    """

    feeds: list[Feed] = field(default_factory=list)
    blob_failure: Exception | None = None

    @asynccontextmanager
    async def blob(self, route: Route, descriptor: Descriptor) -> AsyncIterator[AsyncIterator[bytes]]:
        async with FakeSource.blob(self, route, descriptor) as honest:
            if self.blob_failure is not None:
                raise self.blob_failure
            yield self.feeds.pop(0).pieces() if self.feeds else honest


def feeding(*layers: bytes, name: SourceName = SourceName.REGISTRY) -> FeedingSource:
    """An image registry: the layers are its images ``1.0.0``, ``2.0.0`` and so on."""
    source = FeedingSource(MemoryBlobs(), name=name, compares=Comparable.MANIFEST, builds=image_of)
    source.layers = {f"{number}.0.0": layer for number, layer in enumerate(layers, start=1)}
    return source


async def until_served(source: FakeSource, digest: Digest, times: int = 1) -> None:
    """Wait until a blob has been asked for so often."""

    async def is_served() -> bool:
        await asyncio.sleep(0)
        return source.served.count(digest) >= times

    await until(is_served)
