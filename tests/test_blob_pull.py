"""Blobs on demand: one GET however many ask, and the right to what is here already."""

import asyncio
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.manifest import Manifest
from gateway.oci.outcomes import Outcome, Unavailable
from gateway.pulled import Cache
from gateway.rules.model import SourceName
from gateway.rules.route import Wanted
from gateway.store.blobs import WITHHELD_BYTES, keep_bytes
from gateway.store.blobs_directory import DirectoryBlobs
from tests.blob_house import (
    DIGEST,
    DOWN,
    HALF,
    LAYER,
    READABLE,
    code_of,
    has_asked,
    is_kept,
    named_by_both,
    pulling,
    rest_of,
)
from tests.fakes.feeds import Feed, feeding
from tests.fakes.source import manifest_of
from tests.pull_house import DEMO, OTHER, house, until
from tests.pull_process import process

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # many small tests, seconds together


async def test_fifty_clients_on_one_running_transfer_are_one_get(tmp_path: Path) -> None:
    feed = Feed(HALF)
    source = feeding(LAYER)
    source.feeds = [feed]
    async with pulling(tmp_path, source) as at:
        first = await at.puller.blob(Wanted(DEMO), DIGEST)
        others = [await at.puller.blob(Wanted(DEMO), DIGEST) for _ in range(49)]
        assert {(len(await one.blob.read(0, 1 << 20)), one.cache) for one in others} == {
            (READABLE, Cache.JOINED)
        }
        reading = [asyncio.create_task(rest_of(one)) for one in (first, *others)]
        feed.send(LAYER[len(HALF) :])
        feed.end()
        assert set(await asyncio.gather(*reading)) == {LAYER}
        assert (first.cache, first.source, source.served) == (Cache.MISS, "registry", [DIGEST])
        assert (await at.puller.blob(Wanted(DEMO), DIGEST)).cache is Cache.HIT


async def test_a_client_that_leaves_early_ends_nothing(tmp_path: Path) -> None:
    feed = Feed(HALF)
    source = feeding(LAYER)
    source.feeds = [feed]
    async with pulling(tmp_path, source) as at:
        leader = await at.puller.blob(Wanted(DEMO), DIGEST)
        joined = [await at.puller.blob(Wanted(DEMO), DIGEST) for _ in range(50)]
        followers = [asyncio.create_task(rest_of(blob)) for blob in joined]
        assert await leader.blob.read(0, 1024) == LAYER[:1024]
        leader.blob.close()
        feed.send(LAYER[len(HALF) :])
        feed.end()
        assert set(await asyncio.gather(*followers)) == {LAYER}
        assert (await at.puller.blob(Wanted(DEMO), DIGEST)).cache is Cache.HIT
        assert source.served == [DIGEST]


async def test_clients_that_leave_before_upstream_answers_end_nothing(tmp_path: Path) -> None:
    source = feeding(LAYER)
    async with pulling(tmp_path, source) as at:
        source.gate = asyncio.Event()
        leaving = [asyncio.create_task(at.puller.blob(Wanted(DEMO), DIGEST)) for _ in range(3)]
        await until(lambda: has_asked(source))
        for one in leaving:
            one.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        source.gate.set()
        assert await at.read(DIGEST) == LAYER
        assert source.served == [DIGEST]


async def test_head_of_a_blob_dials_nobody_whatever_is_held(tmp_path: Path) -> None:
    source = feeding(LAYER)
    async with pulling(tmp_path, source) as at:
        source.asked.clear()
        before = await at.puller.describe_blob(Wanted(DEMO), DIGEST)
        assert (before.digest, before.size, source.asked) == (DIGEST, len(LAYER), [])
        await at.read(DIGEST)
        source.asked.clear()
        assert await at.puller.describe_blob(Wanted(DEMO), DIGEST) == before
        assert source.asked == []


@pytest.mark.parametrize("layer", [b"", b"x", LAYER[: WITHHELD_BYTES - 1]], ids=["empty", "one", "small"])
async def test_a_blob_smaller_than_what_is_withheld_is_had_whole(layer: bytes, tmp_path: Path) -> None:
    source = feeding(layer)
    async with pulling(tmp_path, source) as at:
        assert await at.read(Digest.of(layer)) == layer
        await until(lambda: is_kept(at, layer))
        assert (await at.puller.blob(Wanted(DEMO), Digest.of(layer))).cache is Cache.HIT
        assert source.served == [Digest.of(layer)]


async def test_where_one_source_has_the_blob_no_more_the_other_giver_is_asked(tmp_path: Path) -> None:
    first, second = feeding(LAYER, name=SourceName.CHARTPROXY), feeding(LAYER)
    async with house(tmp_path, others=[first], only=second) as at:
        await named_by_both(at, first, second)
        first.failure = Unavailable("down")
        assert await at.read(DIGEST) == LAYER
        assert (await at.puller.blob(Wanted(DEMO), DIGEST)).source == "registry"
        assert (first.served, second.served) == ([], [DIGEST])


async def test_what_is_stored_for_another_is_confirmed_by_head_and_not_fetched(tmp_path: Path) -> None:
    source = feeding(LAYER)
    async with pulling(tmp_path, source) as at:
        await at.read(DIGEST)
        assert await code_of(at, name=OTHER) is ErrorCode.BLOB_UNKNOWN  # nothing names it there yet
        await at.pull(name=OTHER)
        source.asked.clear()
        assert await at.read(DIGEST, OTHER) == LAYER
        assert source.asked == [f"head {DIGEST}"]
        assert await at.read(DIGEST, OTHER) == LAYER
        assert (source.asked, source.served) == ([f"head {DIGEST}"], [DIGEST])


@pytest.mark.parametrize(("failure", "code"), [(None, ErrorCode.BLOB_UNKNOWN), (DOWN, ErrorCode.UNAVAILABLE)])
async def test_what_is_stored_for_another_is_not_had_where_the_own_source_does_not_confirm_it(
    failure: Outcome | None, code: ErrorCode, tmp_path: Path
) -> None:
    source = feeding(LAYER)
    async with pulling(tmp_path, source) as at:
        await keep_bytes(at.blobs, LAYER)
        source.layers, source.failure = {}, failure
        assert await code_of(at) is code
        assert not await is_kept(at, LAYER)


async def test_a_blob_that_is_gone_upstream_has_its_manifest_fetched_again_once(tmp_path: Path) -> None:
    source = feeding(LAYER)
    async with pulling(tmp_path, source) as at:
        source.layers = {"1.0.0": b"what the tag names by now"}
        source.asked.clear()
        source.fetched.clear()
        assert await code_of(at) is ErrorCode.BLOB_UNKNOWN
        assert source.asked == [f"blob {DIGEST}", "1.0.0"]
        assert source.fetched == ["1.0.0"]


async def test_what_another_source_of_the_chain_still_converts_is_had_there(tmp_path: Path) -> None:
    """The registry gave the manifest, and has lost the layer; the Helm index still has the archive."""
    registry = feeding(LAYER)
    registry.builds = helm_form
    async with house(tmp_path, others=[registry]) as at:
        at.source.layers = {"1.0.0": LAYER}
        await at.pull()
        await at.blobs.delete(DIGEST)
        registry.layers = {}
        assert await at.read(DIGEST) == LAYER
        assert at.source.fetched == ["1.0.0"]


def helm_form(layer: bytes) -> Manifest:
    """A chart's manifest that FakeSource does not take for its own, and so keeps no blobs of."""
    plain = manifest_of(layer)
    content = plain.content.replace(b'{"schemaVersion"', b'{"annotations":{"a":"b"},"schemaVersion"')
    return replace(plain, content=content, digest=Digest.of(content))


async def test_another_process_reads_along_and_asks_nobody(tmp_path: Path) -> None:
    feed = Feed(HALF)
    leading, following = feeding(LAYER), feeding(LAYER)
    leading.feeds = [feed]
    blobs = DirectoryBlobs(tmp_path / "blobs", now=count().__next__)  # never waits to write what has come
    async with (
        process(tmp_path, [leading], blobs=blobs) as first,
        process(tmp_path, [following]) as second,
    ):
        await first.pull()
        leader = await first.puller.blob(Wanted(DEMO), DIGEST)
        followers = [await second.puller.blob(Wanted(DEMO), DIGEST) for _ in range(5)]
        for one in followers:
            assert await one.blob.read(0, 1000) == LAYER[:1000]  # while upstream still sends
        reading = [asyncio.create_task(rest_of(one)) for one in (leader, *followers)]
        feed.send(LAYER[len(HALF) :])
        feed.end()
        assert set(await asyncio.gather(*reading)) == {LAYER}
        assert (leading.served, following.asked) == ([DIGEST], [])


async def test_another_process_finds_what_was_kept_and_asks_nobody(tmp_path: Path) -> None:
    leading, following = feeding(LAYER), feeding(LAYER)
    async with process(tmp_path, [leading]) as first, process(tmp_path, [following]) as second:
        await first.pull()
        assert await first.read(DIGEST) == LAYER
        pulled = await second.puller.blob(Wanted(DEMO), DIGEST)
        assert await rest_of(pulled) == LAYER
        assert (pulled.cache, following.asked) == (Cache.HIT, [])


async def test_offline_a_blob_that_is_not_held_is_an_honest_404(tmp_path: Path) -> None:
    source = feeding(LAYER)
    async with process(tmp_path, [source]) as online:
        await online.pull()
    source.asked.clear()
    async with process(tmp_path, [source], offline="yes") as at:
        with pytest.raises(OciError, match="offline") as caught:
            await at.puller.blob(Wanted(DEMO), DIGEST)
        assert (caught.value.code, source.asked) == (ErrorCode.BLOB_UNKNOWN, [])


async def test_two_repositories_that_share_a_layer_are_each_given_it_by_their_own_source(
    tmp_path: Path,
) -> None:
    feeds, source = [Feed(HALF), Feed(HALF)], feeding(LAYER)
    source.feeds = list(feeds)
    async with process(tmp_path, [source]) as at:
        await at.pull(name=DEMO)
        await at.pull(name=OTHER)
        opened = [await at.puller.blob(Wanted(name), DIGEST) for name in (DEMO, OTHER)]
        reading = [asyncio.create_task(rest_of(blob)) for blob in opened]
        for feed in feeds:
            feed.send(LAYER[len(HALF) :])
            feed.end()
        assert await asyncio.gather(*reading) == [LAYER, LAYER]
        assert [await at.read(DIGEST, name) for name in (DEMO, OTHER)] == [LAYER, LAYER]
        assert source.served == [DIGEST, DIGEST]
