"""Which content a name gives: versions, digests, blobs, and nothing of another repository."""

import asyncio
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.outcomes import Corrupt, Missing, MissingName, Outcome
from gateway.pulled import Cache
from gateway.rules.route import Wanted
from gateway.search import SEARCHED_VERSIONS
from tests.fakes.source import layer_of, manifest_of
from tests.pull_house import DEMO, DOWN, DUE, FIRST, OTHER, POLICY, house

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("on_both_databases")]


@pytest.mark.anyio
async def test_both_spellings_of_a_version_are_one_manifest_and_one_download(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        assert await at.pull("1.0.0") == (Cache.MISS, FIRST)
        assert (await at.pull("v1.0.0"))[1] == FIRST
        assert await at.pull("v1.0.0") == (Cache.HIT, FIRST)
        assert at.source.fetched == ["1.0.0"]
        assert (await at.puller.tags(Wanted(DEMO))).tags == ["1.0.0"]


DRIFTED = layer_of("1.0.0", "republished")


@pytest.mark.anyio
async def test_an_exact_version_whose_content_changed_stays_what_it_was_under_every_spelling(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.source.layers["1.0.0"] = DRIFTED
        at.clock.advance(DUE)
        assert await at.pull() == (Cache.HIT, FIRST)
        assert (await at.pull("v1.0.0"))[1] == FIRST
        rows = {held.row.tag: held.row.seen_digest for held in await at.catalog.held()}
        assert rows == {"1.0.0": Digest.of(DRIFTED), "v1.0.0": Digest.of(DRIFTED)}
        assert at.source.fetched == ["1.0.0"]


@pytest.mark.anyio
async def test_what_a_version_changed_to_is_there_by_digest_and_never_takes_its_tag(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.source.layers["1.0.0"] = DRIFTED
        wanted = manifest_of(DRIFTED)
        pulled = await at.puller.manifest(Wanted(DEMO), wanted.digest)
        assert pulled.manifest.content == wanted.content
        await at.read(Digest.of(DRIFTED))
        assert await at.pull() == (Cache.HIT, FIRST)
        assert await at.code(Digest.of(b"another")) is ErrorCode.MANIFEST_UNKNOWN
        assert at.source.fetched == ["1.0.0", "1.0.0"]  # what was kept beside is not fetched again
    async with house(tmp_path, before=at) as after:
        assert await after.pull() == (Cache.HIT, FIRST)


def _versions(count: int) -> dict[str, bytes]:
    return {f"1.0.{number}": layer_of(f"1.0.{number}") for number in range(count)}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("position", "is_found"), [(1, True), (SEARCHED_VERSIONS, True), (SEARCHED_VERSIONS + 1, False)]
)
async def test_a_digest_never_seen_is_looked_for_among_the_newest_25(
    position: int, is_found: bool, tmp_path: Path
) -> None:
    async with house(tmp_path) as at:
        at.source.layers = _versions(40)
        version = f"1.0.{40 - position}"
        wanted = manifest_of(at.source.layers[version])
        if is_found:
            pulled = await at.puller.manifest(Wanted(DEMO), wanted.digest)
            assert (pulled.manifest, pulled.cache) == (wanted, Cache.MISS)
            assert (await at.puller.manifest(Wanted(DEMO), wanted.digest)).cache is Cache.HIT
            assert await at.pull(version) == (Cache.HIT, wanted.digest)
        else:
            assert await at.code(wanted.digest) is ErrorCode.MANIFEST_UNKNOWN
            assert await at.code(wanted.digest) is ErrorCode.MANIFEST_UNKNOWN
        assert len(at.source.fetched) == min(position, SEARCHED_VERSIONS)
        assert at.source.asked.count("newest") == 1


@pytest.mark.anyio
async def test_many_digests_are_looked_for_in_one_flight_each_version_once(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        at.source.layers = _versions(10)
        wanted = [manifest_of(layer).digest for layer in at.source.layers.values()]
        pulled = await asyncio.gather(*[at.puller.manifest(Wanted(DEMO), digest) for digest in wanted])
        assert [one.manifest.digest for one in pulled] == wanted
        assert sorted(at.source.fetched) == sorted(at.source.layers)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("failure", "code"),
    [(Corrupt("wrong"), ErrorCode.MANIFEST_UNKNOWN), (DOWN, ErrorCode.UNAVAILABLE)],
)
async def test_a_version_that_cannot_be_had_does_not_end_the_search_and_an_outage_is_no_absence(
    failure: Outcome, code: ErrorCode, tmp_path: Path
) -> None:
    async with house(tmp_path) as at:
        at.source.layers = _versions(3)
        at.source.spoiled = {"1.0.2": failure}
        wanted = manifest_of(at.source.layers["1.0.0"]).digest
        assert (await at.puller.manifest(Wanted(DEMO), wanted)).manifest.digest == wanted
        assert await at.code(Digest.of(b"nobody's")) is code


@pytest.mark.anyio
async def test_tags_are_what_upstream_has_and_what_is_held(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.source.layers = {"v2.0.0": b"x", "2.1.0+build.5": b"y"}
        assert (await at.puller.tags(Wanted(DEMO))).tags == ["1.0.0", "2.0.0", "2.1.0_build.5"]
        at.source.failure = DOWN
        at.clock.advance(2 * POLICY.fresh_for_seconds)
        stale = await at.puller.tags(Wanted(DEMO))
        assert (stale.tags, stale.cache) == (["1.0.0", "2.0.0", "2.1.0_build.5"], Cache.STALE)
        with pytest.raises(OciError) as caught:
            await at.puller.tags(Wanted(OTHER))
        assert caught.value.code is ErrorCode.UNAVAILABLE
        at.source.failure = MissingName("no")
        with pytest.raises(OciError) as caught:
            await at.puller.tags(Wanted(OTHER))
        assert caught.value.code is ErrorCode.NAME_UNKNOWN


LAYER = Digest.of(layer_of("1.0.0"))


@pytest.mark.anyio
@pytest.mark.parametrize("digest", [LAYER, FIRST], ids=["layer", "manifest"])
async def test_what_one_repository_delivered_is_never_served_by_another(
    digest: Digest, tmp_path: Path
) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.source.layers = {}
        assert await at.code(FIRST, OTHER) is ErrorCode.MANIFEST_UNKNOWN
        for ask in (at.puller.blob, at.puller.describe_blob):
            with pytest.raises(OciError) as caught:
                await ask(Wanted(OTHER), digest)
            assert caught.value.code is ErrorCode.BLOB_UNKNOWN
        assert await at.puller.referrers(Wanted(OTHER), FIRST) == []


@pytest.mark.anyio
async def test_a_blob_that_nobody_named_is_not_looked_for(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        for number in range(20):
            with pytest.raises(OciError) as caught:
                await at.puller.blob(Wanted(DEMO), Digest.of(b"%d" % number))
            assert caught.value.code is ErrorCode.BLOB_UNKNOWN
        assert at.source.asked == []


@pytest.mark.anyio
async def test_a_blob_whose_bytes_are_gone_is_fetched_again_once_for_all_who_ask(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        await at.blobs.delete(LAYER)
        contents = await asyncio.gather(*[at.read(LAYER) for _ in range(20)])
        assert set(contents) == {layer_of("1.0.0")}
        assert at.source.fetched == ["1.0.0", "1.0.0"]


@pytest.mark.anyio
async def test_a_blob_that_another_brought_back_meanwhile_is_not_fetched_again(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        at.blobs.late_times = 1
        assert await at.read(LAYER) == layer_of("1.0.0")
        assert at.source.fetched == ["1.0.0"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("layers", "failure", "code"),
    [
        ({}, None, ErrorCode.BLOB_UNKNOWN),
        ({"1.0.0": DRIFTED}, None, ErrorCode.BLOB_UNKNOWN),
        ({"1.0.0": layer_of("1.0.0")}, DOWN, ErrorCode.UNAVAILABLE),
    ],
)
async def test_a_blob_whose_bytes_are_gone_and_cannot_be_had_is_told(
    layers: dict[str, bytes], failure: Outcome | None, code: ErrorCode, tmp_path: Path
) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        await at.blobs.delete(LAYER)
        at.source.layers, at.source.failure = layers, failure
        with pytest.raises(OciError) as caught:
            await at.puller.blob(Wanted(DEMO), LAYER)
        assert caught.value.code is code


@pytest.mark.anyio
async def test_a_blob_is_described_from_its_manifest(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.pull()
        await at.blobs.delete(LAYER)
        descriptor = await at.puller.describe_blob(Wanted(DEMO), LAYER)
        assert (descriptor.digest, descriptor.size) == (LAYER, len(layer_of("1.0.0")))
        assert at.source.asked == ["1.0.0"]


@pytest.mark.anyio
async def test_the_names_are_those_that_clients_asked_for_and_got(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        assert await at.puller.repositories() == []
        await at.code("9.9.9", OTHER)
        await at.pull()
        assert await at.puller.repositories() == [DEMO.name]


@pytest.mark.anyio
async def test_a_search_that_found_nothing_answers_for_every_unknown_digest_for_a_while(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as at:
        at.source.failure = Missing("gone")
        for number in range(3):
            with pytest.raises(OciError):
                await at.puller.manifest(Wanted(DEMO), Digest.of(b"%d" % number))
        assert len(at.source.asked) == 1
