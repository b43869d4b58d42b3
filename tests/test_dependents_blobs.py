"""Digests and blobs of charts with rewritten dependencies: by right, and made again where they are lost."""

import json
from functools import partial
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.postgres_url import PostgresUrl
from gateway.pulled import Cache
from tests.dependents_house import (
    APP,
    APP_DIGEST,
    ELSEWHERE,
    HERE,
    NEAR,
    OTHER,
    PLAIN,
    RULES,
    TARGET,
    Opened,
    archive_of,
    layer_of,
    leads_to,
    source,
    with_app,
)
from tests.pull_house import DOWN
from tests.ruled_puller import ruled, wanted
from tests.targets_house import charts

pytestmark = [pytest.mark.slow, pytest.mark.anyio]


@pytest.fixture
def opened(tmp_path: Path, database: PostgresUrl | None) -> Opened:
    return partial(ruled, tmp_path / "data", RULES, database=database)


async def test_a_blob_is_had_by_the_names_of_its_target_alone(opened: Opened) -> None:
    async with opened({**with_app(), OTHER: charts()}) as at:
        layer = layer_of((await at.pulled(NEAR, "1.0.0")).manifest)
        for name in (NEAR, PLAIN, TARGET):
            assert leads_to(await at.read(name, layer)) == HERE
            assert (await at.puller.describe_blob(wanted(name), layer)).size
        for ask in (at.puller.blob, at.puller.describe_blob):
            with pytest.raises(OciError) as caught:
                await ask(wanted(ELSEWHERE), layer)
            assert caught.value.code is ErrorCode.BLOB_UNKNOWN


@pytest.mark.parametrize("offline", ["offline", ""])
@pytest.mark.parametrize("name", [NEAR, PLAIN])
async def test_blobs_that_vanished_are_made_again_the_same(opened: Opened, name: str, offline: str) -> None:
    async with opened(with_app()) as at:
        manifest = (await at.pulled(NEAR, "1.0.0")).manifest
        archive = await archive_of(at, manifest.digest)
    async with opened(beside=at, offline=offline) as later:
        blobs = (layer_of(manifest), Digest.parse(json.loads(manifest.content)["config"]["digest"]))
        for blob in blobs:
            later.blob_path(blob).unlink()
            assert (await later.read(name, blob))[:1]
        assert await later.read(name, blobs[0]) == archive
        assert source(later).fetched == ["1.0.0"]


async def test_one_is_made_again_also_where_the_plain_chart_vanished_too(opened: Opened) -> None:
    async with opened(with_app()) as at:
        manifest = (await at.pulled(NEAR, "1.0.0")).manifest
        archive = await archive_of(at, manifest.digest)
        for blob in (layer_of(manifest), Digest.of(APP)):
            at.blob_path(blob).unlink()
        source(at).failure = DOWN
        with pytest.raises(OciError) as caught:
            await at.read(NEAR, layer_of(manifest))
        assert caught.value.code in {ErrorCode.UNAVAILABLE, ErrorCode.BLOB_UNKNOWN}
        source(at).failure = None
        assert await at.read(NEAR, layer_of(manifest)) == archive


async def test_the_plain_blobs_are_had_under_the_rewriting_name_also_where_they_vanished(
    opened: Opened,
) -> None:
    async with opened(with_app()) as at:
        await at.pull(NEAR, "1.0.0")
        assert await at.read(NEAR, Digest.of(APP)) == APP
        at.blob_path(Digest.of(APP)).unlink()
        assert await at.read(NEAR, Digest.of(APP)) == APP


async def test_a_digest_is_found_in_whatever_variant(opened: Opened) -> None:
    async with opened(with_app()) as at:
        digest = await at.pull(NEAR, "1.0.0")
        for name in (NEAR, PLAIN, TARGET):
            for held in (digest, APP_DIGEST):
                pulled = await at.puller.manifest(wanted(name), held)
                assert (pulled.cache, pulled.manifest.digest) == (Cache.HIT, held)
        with pytest.raises(OciError) as caught:
            await at.puller.manifest(wanted(ELSEWHERE), digest)
        assert caught.value.code is ErrorCode.NAME_UNKNOWN


async def test_a_plain_digest_that_was_never_seen_is_found_under_the_rewriting_name(opened: Opened) -> None:
    async with opened(with_app()) as at:
        assert (await at.puller.manifest(wanted(NEAR), APP_DIGEST)).manifest.digest == APP_DIGEST
        assert await archive_of(at, APP_DIGEST) == APP
        assert leads_to(await archive_of(at, await at.pull(NEAR, "1.0.0"))) == HERE
        assert await at.pull(PLAIN, "1.0.0") == APP_DIGEST
