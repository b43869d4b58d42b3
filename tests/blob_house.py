"""A repository whose image is held and whose layer is not yet: for tests of blobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.manifest import Manifest
from gateway.oci.outcomes import Unavailable
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.pulled import Cache, PulledBlob
from gateway.rules.route import Wanted
from gateway.store.blobs import (
    WITHHELD_BYTES,
)
from tests.fakes.feeds import FeedingSource
from tests.fakes.images import content_of
from tests.fakes.source import image_of
from tests.pull_house import DEMO, House, house
from tests.pull_process import Process

LAYER = content_of("layer", 4 * WITHHELD_BYTES + 5)
DIGEST = Digest.of(LAYER)
HALF = LAYER[: 2 * WITHHELD_BYTES]
READABLE = len(HALF) - WITHHELD_BYTES
WRONG = LAYER[:-1] + bytes([LAYER[-1] ^ 1])
DOWN = Unavailable("it broke off", 7)


@asynccontextmanager
async def pulling(tmp_path: Path, source: FeedingSource) -> AsyncIterator[House]:
    """A house whose image is held; its layer is not."""
    async with house(tmp_path, only=source) as at:
        await at.pull()
        yield at


async def rest_of(pulled: PulledBlob, start: int = 0) -> bytes:
    """Read on to the end, and close it."""
    content = b""
    try:
        while start + len(content) < pulled.blob.size:
            content += await pulled.blob.read(start + len(content), 1 << 20)
    finally:
        pulled.blob.close()
    return content


async def is_known(at: House) -> bool:
    """Whether the repository has earned the layer by now."""
    await asyncio.sleep(0)
    return (await at.puller.blob(Wanted(DEMO), DIGEST)).cache is Cache.HIT


async def code_of(at: House, digest: Digest = DIGEST, name: Repository = DEMO) -> ErrorCode:
    with pytest.raises(OciError) as caught:
        await at.puller.blob(Wanted(name), digest)
    return caught.value.code


async def has_asked(source: FeedingSource) -> bool:
    await asyncio.sleep(0)
    return f"blob {DIGEST}" in source.asked


async def is_kept(at: House, content: bytes) -> bool:
    await asyncio.sleep(0)
    return (await at.catalog.find_right(target_of(at), Digest.of(content))) is not None


def target_of(at: House) -> Target:
    return at.puller.route(Wanted(DEMO)).first.target


async def code_in(at: Process) -> ErrorCode:
    with pytest.raises(OciError) as caught:
        await at.puller.blob(Wanted(DEMO), DIGEST)
    return caught.value.code


async def named_by_both(at: House, first: FeedingSource, second: FeedingSource) -> None:
    """Hold a manifest of each that names the layer."""
    second.builds = other_image
    await at.pull()
    first.failure = Unavailable("away")
    await at.puller.manifest(Wanted(DEMO), other_image(LAYER).digest)
    first.failure = None


def other_image(layer: bytes) -> Manifest:
    plain = image_of(layer)
    content = plain.content.replace(b'{"schemaVersion"', b'{"annotations":{"a":"b"},"schemaVersion"')
    return replace(plain, content=content, digest=Digest.of(content))
