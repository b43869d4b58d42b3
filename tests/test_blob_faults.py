"""Blobs on demand, and what goes wrong on the way: nothing wrong is completed, nothing stays stuck."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gateway.flights import Hold
from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.manifest import Manifest
from gateway.oci.outcomes import Corrupt, Denied, Missing, Outcome, Unavailable
from gateway.rules.model import SourceName
from gateway.rules.route import Wanted
from gateway.store.blobs import (
    WITHHELD_BYTES,
    TransferBroken,
)
from gateway.waiting import Deadlines
from tests.blob_house import (
    DIGEST,
    DOWN,
    HALF,
    LAYER,
    READABLE,
    WRONG,
    code_in,
    code_of,
    has_asked,
    is_kept,
    is_known,
    named_by_both,
    pulling,
    rest_of,
)
from tests.fakes.feeds import Feed, feeding
from tests.fakes.source import image_of
from tests.pull_house import DEMO, QUICK, house, until
from tests.pull_process import process
from tests.store.open_files import until_open

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # many small tests, seconds together


async def test_wrong_bytes_are_cut_short_for_everybody_and_the_next_pull_fetches_again(
    tmp_path: Path,
) -> None:
    feed = Feed(WRONG)
    source = feeding(LAYER)
    source.feeds = [feed]
    async with pulling(tmp_path, source) as at:
        opened = [await at.puller.blob(Wanted(DEMO), DIGEST) for _ in range(5)]
        reading = [asyncio.create_task(rest_of(one)) for one in opened]
        feed.end()
        results = await asyncio.gather(*reading, return_exceptions=True)
        assert {type(one) for one in results} == {TransferBroken}
        assert await at.blobs.size(DIGEST) is None
        assert not await is_kept(at, LAYER)
        assert await at.read(DIGEST) == LAYER
        assert source.served == [DIGEST, DIGEST]


@pytest.mark.parametrize("size", [1, WITHHELD_BYTES])
async def test_a_small_blob_that_is_wrong_is_refused_and_not_cut(size: int, tmp_path: Path) -> None:
    layer, feed = LAYER[:size], Feed(WRONG[-size:])
    feed.end()
    source = feeding(layer)
    source.feeds = [feed]
    async with pulling(tmp_path, source) as at:
        with pytest.raises(OciError) as caught:
            await at.puller.blob(Wanted(DEMO), Digest.of(layer))
        assert caught.value.status == 502
        assert await at.blobs.size(Digest.of(layer)) is None
        assert await at.read(Digest.of(layer)) == layer


class SlowLocks:
    """One lock for all, given back once ``gate`` is open."""

    failure = None

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[Hold]:
        try:
            yield self
        finally:
            await self.gate.wait()

    def leave(self, text: str) -> None:
        """There is nobody else."""


async def test_who_comes_after_a_failure_joins_the_failed_transfer_no_more(tmp_path: Path) -> None:
    feed, source, locks = Feed(WRONG), feeding(LAYER), SlowLocks()
    source.feeds = [feed]
    locks.gate.set()
    async with process(tmp_path, [source], locks=locks) as at:
        await at.pull()
        locks.gate.clear()
        first = await at.puller.blob(Wanted(DEMO), DIGEST)
        feed.end()
        with pytest.raises(TransferBroken):
            await rest_of(first)
        second = asyncio.create_task(at.read(DIGEST))
        for _ in range(50):
            await asyncio.sleep(0)
        locks.gate.set()
        assert await second == LAYER


async def test_an_empty_blob_of_another_digest_is_never_answered(tmp_path: Path) -> None:
    """A hostile manifest says that a blob has no bytes: a client that gets none has got all of it."""
    feed, source = Feed(), feeding(LAYER)
    feed.end()
    source.feeds = [feed]
    source.builds = _image_with_an_empty_layer
    async with pulling(tmp_path, source) as at:
        assert await code_of(at) is ErrorCode.UNKNOWN


def _image_with_an_empty_layer(layer: bytes) -> Manifest:
    plain = image_of(layer)
    content = plain.content.replace(b'"size":%d' % len(layer), b'"size":0')
    return replace(plain, content=content, digest=Digest.of(content))


@pytest.mark.parametrize(
    ("failure", "code", "retry_after"),
    [
        (DOWN, ErrorCode.UNAVAILABLE, 7),
        (Unavailable("slow down", 9, is_rate_limited=True), ErrorCode.TOOMANYREQUESTS, 9),
        (Corrupt("wrong"), ErrorCode.UNKNOWN, None),
        (Denied("no"), ErrorCode.DENIED, None),
        (Missing("no"), ErrorCode.BLOB_UNKNOWN, None),
    ],
)
async def test_a_failure_before_the_first_byte_is_told_and_tried_again(
    failure: Outcome, code: ErrorCode, retry_after: int | None, tmp_path: Path
) -> None:
    source = feeding(LAYER)
    async with pulling(tmp_path, source) as at:
        source.failure = failure
        for _ in range(2):
            with pytest.raises(OciError) as caught:
                await at.puller.blob(Wanted(DEMO), DIGEST)
            assert (caught.value.code, caught.value.retry_after_seconds) == (code, retry_after)
        assert source.asked.count(f"blob {DIGEST}") == 2  # nothing of it is remembered
        source.failure = None
        assert await at.read(DIGEST) == LAYER


async def test_an_outage_of_the_blob_alone_never_reads_as_not_there(tmp_path: Path) -> None:
    """As where blobs are on another host, and that is down; the manifest still names the blob."""
    source = feeding(LAYER)
    async with pulling(tmp_path, source) as at:
        source.blob_failure = DOWN
        assert await code_of(at) is ErrorCode.UNAVAILABLE


@dataclass(frozen=True, slots=True)
class CountingDeadlines(Deadlines):
    """Notes who waits."""

    waiting: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def patience(self, what: str) -> AsyncIterator[None]:
        self.waiting.append(what)
        async with Deadlines.patience(self, what):
            yield


async def test_all_who_wait_get_the_one_failure_and_the_next_one_tries_again(tmp_path: Path) -> None:
    deadlines, source = CountingDeadlines(), feeding(LAYER)
    async with process(tmp_path, [source], deadlines=deadlines) as at:
        await at.pull()
        deadlines.waiting.clear()
        source.failure, source.gate = DOWN, asyncio.Event()
        asked = [asyncio.create_task(code_in(at)) for _ in range(50)]
        await until(lambda: _wait(deadlines, 50))
        source.gate.set()
        assert set(await asyncio.gather(*asked)) == {ErrorCode.UNAVAILABLE}
        assert source.asked.count(f"blob {DIGEST}") == 1
        source.failure = None
        assert await at.read(DIGEST) == LAYER


async def _wait(deadlines: CountingDeadlines, count: int) -> bool:
    await asyncio.sleep(0)
    return len(deadlines.waiting) >= count


async def test_what_breaks_off_is_begun_anew_for_the_next_who_asks(tmp_path: Path) -> None:
    feed = Feed(HALF)
    source = feeding(LAYER)
    source.feeds = [feed]
    async with pulling(tmp_path, source) as at:
        pulled = await at.puller.blob(Wanted(DEMO), DIGEST)
        feed.break_off(DOWN)
        with pytest.raises(TransferBroken):
            await rest_of(pulled)
        assert await at.read(DIGEST) == LAYER
        assert source.served == [DIGEST, DIGEST]


async def test_bytes_of_one_source_are_never_completed_with_those_of_another(tmp_path: Path) -> None:
    """The first sends what is not the blob, and breaks off; the second has it."""
    bad, good = feeding(LAYER, name=SourceName.CHARTPROXY), feeding(LAYER)
    feed = Feed(WRONG[::-1][: len(HALF)])
    bad.feeds = [feed]
    async with house(tmp_path, others=[bad], only=good) as at:
        await named_by_both(at, bad, good)
        pulled = await at.puller.blob(Wanted(DEMO), DIGEST)
        start = await pulled.blob.read(0, 1 << 20)
        assert start == WRONG[::-1][:READABLE]
        feed.break_off(DOWN)
        with pytest.raises(TransferBroken):
            await rest_of(pulled, len(start))


async def test_a_blob_larger_than_allowed_is_not_fetched(tmp_path: Path) -> None:
    source = feeding(LAYER)
    async with process(tmp_path, [source], max_blob_bytes=len(LAYER) - 1) as at:
        await at.pull()
        with pytest.raises(OciError) as caught:
            await at.puller.blob(Wanted(DEMO), DIGEST)
        assert (caught.value.status, caught.value.detail) == (502, {"reason": "too_large"})
        assert source.served == []
    async with process(tmp_path, [source], max_blob_bytes=len(LAYER)) as at:
        assert await at.read(DIGEST) == LAYER


async def test_one_failure_reaches_those_who_wait_in_every_process(tmp_path: Path) -> None:
    leading, following = feeding(LAYER), feeding(LAYER)
    leading.failure = following.failure = DOWN
    async with process(tmp_path, [leading]) as first, process(tmp_path, [following]) as second:
        leading.failure = None
        await first.pull()
        leading.failure, leading.gate = DOWN, asyncio.Event()
        asked = [asyncio.create_task(code_in(first))]
        await until(lambda: has_asked(leading))
        asked += [asyncio.create_task(code_in(second)) for _ in range(5)]
        await until_open(tmp_path / "locks", 2)
        leading.gate.set()
        assert set(await asyncio.gather(*asked)) == {ErrorCode.UNAVAILABLE}
        assert following.asked == []
        leading.failure = following.failure = None
        assert await second.read(DIGEST) == LAYER


async def test_an_upstream_that_does_not_begin_is_an_outage_and_its_answer_is_not_lost(
    tmp_path: Path,
) -> None:
    source = feeding(LAYER)
    async with pulling(tmp_path, source) as before:
        pass
    async with house(tmp_path, before=before, deadlines=QUICK) as at:
        source.gate = asyncio.Event()
        assert await code_of(at) is ErrorCode.UNAVAILABLE
        source.gate.set()
        await until(lambda: is_known(at))
        assert source.served == [DIGEST]


async def test_when_the_gateway_ends_those_who_read_along_are_cut_short(tmp_path: Path) -> None:
    source = feeding(LAYER)
    source.feeds = [Feed(HALF)]
    async with pulling(tmp_path, source) as at:
        pulled = await at.puller.blob(Wanted(DEMO), DIGEST)
        reading = asyncio.create_task(rest_of(pulled))
        await asyncio.sleep(0)
        await at.puller.drain()
        with pytest.raises(TransferBroken):
            await reading
        assert await at.blobs.size(DIGEST) is None
