"""One target, several sources: who is asked, whose word counts, and whose bytes stay."""

from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.manifest import Manifest
from gateway.oci.media_types import HELM_CHART_LAYER, HELM_CONFIG, OCI_MANIFEST
from gateway.oci.outcomes import (
    Corrupt,
    Denied,
    Missing,
    MissingName,
    Outcome,
    Skipped,
    Unavailable,
    UnknownHost,
)
from gateway.oci.reference import Tag
from gateway.pulled import Cache
from gateway.rules.model import Access, Drift, Policy, SourceName
from gateway.rules.route import Wanted
from gateway.sources.base import Comparable
from gateway.store.blobs import MemoryBlobs
from tests.fakes.source import FakeSource, image_of, layer_of, manifest_of
from tests.pull_house import DEMO, DUE, OTHER, House, house

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("on_both_databases")]

A, B = layer_of("1.0.0"), layer_of("1.0.0", "other")


def registry(**layers: bytes) -> FakeSource:
    return FakeSource(MemoryBlobs(), {**layers}, SourceName.REGISTRY, Comparable.MANIFEST)


def proxy(layers: dict[str, bytes] | None = None) -> FakeSource:
    held = {"1.0.0": A} if layers is None else layers
    return FakeSource(MemoryBlobs(), held, SourceName.CHARTPROXY, Comparable.MANIFEST)


def other_form(layer: bytes) -> Manifest:
    """The same chart, described in another way."""
    plain = manifest_of(layer)
    content = plain.content.replace(
        b'{"schemaVersion"', b'{"annotations":{"made":"elsewhere"},"schemaVersion"'
    )
    return Manifest(content, plain.media_type, Digest.of(content))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "failure",
    [Missing("no"), MissingName("no"), UnknownHost("no"), Unavailable("down"), Skipped("not for us")],
)
async def test_a_source_that_has_it_not_or_is_down_moves_on_to_the_next(
    failure: Outcome, tmp_path: Path
) -> None:
    first = proxy()
    first.failure = failure
    async with house(tmp_path, others=[first]) as at:
        pulled = await at.puller.manifest(Wanted(DEMO), Tag("1.0.0"))
        assert (pulled.source, pulled.manifest) == ("helm", manifest_of(A))
        assert (first.asked, at.source.asked) == (["1.0.0"], ["1.0.0"])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Corrupt("wrong"), ErrorCode.UNKNOWN),
        (Denied("no"), ErrorCode.DENIED),
        (UnknownHost("no", is_refused=True), ErrorCode.NAME_UNKNOWN),
    ],
)
async def test_wrong_bytes_and_refusals_end_the_chain(
    failure: Outcome, code: ErrorCode, tmp_path: Path
) -> None:
    first = proxy()
    first.failure = failure
    async with house(tmp_path, others=[first]) as at:
        assert await at.code() is code
        assert at.source.asked == []


@pytest.mark.anyio
async def test_a_source_whose_parts_cannot_be_had_moves_on_too(tmp_path: Path) -> None:
    first = proxy()
    first.spoiled = {"1.0.0": Unavailable("its layer broke off")}
    async with house(tmp_path, others=[first]) as at:
        pulled = await at.puller.manifest(Wanted(DEMO), Tag("1.0.0"))
        assert (pulled.source, pulled.manifest) == ("helm", manifest_of(A))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("registry_says", "proxy_says", "helm_says", "code"),
    [
        (Missing("1"), Unavailable("2"), Missing("3"), ErrorCode.MANIFEST_UNKNOWN),
        (Unavailable("1"), Unavailable("2"), Missing("3"), ErrorCode.MANIFEST_UNKNOWN),  # the index knows
        (Unavailable("1"), Missing("2"), MissingName("3"), ErrorCode.UNAVAILABLE),  # it may be a registry
        (MissingName("1"), Unavailable("2"), MissingName("3"), ErrorCode.NAME_UNKNOWN),
        (Missing("1"), Missing("2"), MissingName("3"), ErrorCode.MANIFEST_UNKNOWN),
        (MissingName("1"), Missing("2"), Unavailable("3"), ErrorCode.UNAVAILABLE),
        (UnknownHost("1"), UnknownHost("2"), UnknownHost("3"), ErrorCode.NAME_UNKNOWN),
        (Skipped("1"), Skipped("2"), Skipped("3"), ErrorCode.UNAVAILABLE),
        (Skipped("1"), Unavailable("2"), Missing("3"), ErrorCode.MANIFEST_UNKNOWN),
    ],
)
async def test_nobody_could_answer_never_reads_as_nobody_has_it(
    registry_says: Outcome, proxy_says: Outcome, helm_says: Outcome, code: ErrorCode, tmp_path: Path
) -> None:
    others = [registry(), proxy()]
    others[0].failure, others[1].failure = registry_says, proxy_says
    async with house(tmp_path, others=others) as at:
        at.source.failure = helm_says
        assert await at.code() is code


@pytest.mark.anyio
async def test_the_refusal_tells_what_each_source_said(tmp_path: Path) -> None:
    others = [registry(), proxy()]
    others[0].failure, others[1].failure = Missing("404"), Unavailable("timed out")
    async with house(tmp_path, others=others) as at:
        at.source.failure = Unavailable("broke off")
        with pytest.raises(OciError) as caught:
            await at.puller.manifest(Wanted(DEMO), Tag("1.0.0"))
        told = ["registry: 404", "chartproxy: timed out", "helm: broke off"]
        assert caught.value.message == "; ".join(told)
        assert caught.value.detail == {"reason": "unavailable", "tried": told}


@pytest.mark.anyio
async def test_what_one_source_gave_is_confirmed_by_another_and_stays_byte_for_byte(tmp_path: Path) -> None:
    first = proxy()
    first.builds = other_form
    async with house(tmp_path, others=[first]) as at:
        assert await at.pull() == (Cache.MISS, other_form(A).digest)
        at.clock.advance(DUE)
        first.failure = Unavailable("down")
        pulled = await at.puller.manifest(Wanted(DEMO), Tag("1.0.0"))
        assert (pulled.cache, pulled.source, pulled.manifest) == (Cache.HIT, "helm", other_form(A))
        assert at.source.fetched == []  # the index names the same archive: nothing was downloaded
        at.clock.advance(DUE)
        first.failure, at.source.failure = None, Unavailable("down")
        assert await at.pull() == (Cache.HIT, other_form(A).digest)


@pytest.mark.anyio
@pytest.mark.parametrize("drift", list(Drift))
async def test_the_same_chart_in_another_manifest_is_no_change(drift: Drift, tmp_path: Path) -> None:
    first = proxy()
    first.builds = other_form
    async with house(tmp_path, others=[first], policy=Policy(drift=drift)) as at:
        first.failure = Unavailable("down")
        assert await at.pull() == (Cache.MISS, manifest_of(A).digest)
        at.clock.advance(DUE)
        first.failure, at.source.failure = None, Unavailable("down")
        assert await at.pull() == (Cache.HIT, manifest_of(A).digest)
        assert first.fetched == ["1.0.0"]  # its manifest had to be read, once
        at.clock.advance(DUE)
        assert await at.pull() == (Cache.HIT, manifest_of(A).digest)
        assert first.fetched == ["1.0.0"]
        assert {held.row.seen_digest for held in await at.catalog.held()} == {None}


@pytest.mark.anyio
async def test_a_chart_that_changed_at_another_source_stays_and_the_new_one_is_there_by_digest(
    tmp_path: Path,
) -> None:
    first = proxy()
    async with house(tmp_path, others=[first]) as at:
        await at.pull()
        at.clock.advance(DUE)
        first.layers["1.0.0"] = B
        assert await at.pull() == (Cache.HIT, manifest_of(A).digest)
        assert (await at.puller.manifest(Wanted(DEMO), manifest_of(B).digest)).cache is Cache.HIT
        rows = [held.row for held in await at.catalog.held()]
        assert [(row.digest, row.seen_digest) for row in rows] == [
            (manifest_of(A).digest, manifest_of(B).digest)
        ]


@pytest.mark.anyio
async def test_revalidation_asks_the_source_that_gave_the_tag_first(tmp_path: Path) -> None:
    first = proxy({})
    async with house(tmp_path, others=[first]) as at:
        await at.pull()
        first.asked.clear()
        first.layers["1.0.0"] = A
        at.clock.advance(DUE)
        assert (await at.puller.manifest(Wanted(DEMO), Tag("1.0.0"))).source == "helm"
        assert first.asked == []


@pytest.mark.anyio
async def test_a_moving_tag_that_another_source_moved_does_not_flip_back(tmp_path: Path) -> None:
    first = registry(latest=A)
    second = FakeSource(MemoryBlobs(), {"latest": B}, SourceName.CHARTPROXY, Comparable.MANIFEST)
    first.builds = second.builds = image_of
    async with house(tmp_path, others=[first], only=second) as at:
        assert await at.pull("latest") == (Cache.MISS, image_of(A).digest)
        at.clock.advance(2 * Policy().fresh_for_seconds)
        first.failure = Unavailable("down")
        assert await at.pull("latest") == (Cache.HIT, image_of(B).digest)
        assert await at.pull("latest") == (Cache.HIT, image_of(B).digest)


@pytest.mark.anyio
async def test_a_digest_is_asked_for_where_that_can_be_and_converted_else(tmp_path: Path) -> None:
    first = registry(**{"1.0.0": B})
    async with house(tmp_path, others=[first]) as at:
        assert (await at.puller.manifest(Wanted(DEMO), manifest_of(B).digest)).source == "registry"
        assert at.source.asked == []
        assert (await at.puller.manifest(Wanted(DEMO), manifest_of(A).digest)).source == "helm"


@pytest.mark.anyio
async def test_tags_come_from_the_first_source_that_answers(tmp_path: Path) -> None:
    first = registry(**{"v1.0.0": A, "1.5": B})
    async with house(tmp_path, others=[first]) as at:
        listed = await at.puller.tags(Wanted(DEMO))
        assert (listed.tags, listed.source) == (["1.5", "v1.0.0"], "registry")
        at.clock.advance(2 * Policy().fresh_for_seconds)
        first.failure = Unavailable("down")
        listed = await at.puller.tags(Wanted(DEMO))
        assert (listed.tags, listed.source) == (["1.0.0"], "helm")


async def _image_house_pull(at: House) -> Manifest:
    return (await at.puller.manifest(Wanted(DEMO), Tag("1.0.0"))).manifest


@pytest.mark.anyio
async def test_the_blobs_of_an_image_are_fetched_as_they_are_asked_for(tmp_path: Path) -> None:
    source = registry(**{"1.0.0": A})
    source.builds = image_of
    async with house(tmp_path, only=source) as at:
        await _image_house_pull(at)
        assert source.served == []
        descriptor = await at.puller.describe_blob(Wanted(DEMO), Digest.of(A))
        assert (descriptor.size, source.served) == (len(A), [])
        assert await at.read(Digest.of(A)) == A
        pulled = await at.puller.blob(Wanted(DEMO), Digest.of(A))
        pulled.blob.close()
        assert (pulled.cache, source.served) == (Cache.HIT, [Digest.of(A)])


@pytest.mark.anyio
@pytest.mark.parametrize("access", list(Access))
async def test_bytes_that_are_here_for_another_need_no_download_where_everybody_may_have_them(
    access: Access, tmp_path: Path
) -> None:
    content = b"what another repository delivered"
    source = registry(**{"1.0.0": content})
    source.builds = image_of
    async with house(tmp_path, only=source) as at:
        digest = Digest.of(content)
        await at.pull(name=OTHER)
        assert await at.read(digest, OTHER) == content
        at.access[OTHER.name] = access
        source.served.clear()
        await _image_house_pull(at)
        assert await at.read(digest) == content
        assert source.served == ([] if access is Access.ANONYMOUS else [digest])


@pytest.mark.anyio
async def test_a_manifest_that_names_what_its_own_source_has_not_earns_no_right(tmp_path: Path) -> None:
    secret = b"what a private repository delivered"
    hostile = image_of(secret)
    source = registry(**{"1.0.0": A})
    source.builds = lambda _layer: hostile
    async with house(tmp_path, only=source) as at:
        async with at.blobs.create() as writer:
            await writer.write(secret)
        await _image_house_pull(at)
        for _ in range(2):
            with pytest.raises(OciError) as caught:
                await at.puller.blob(Wanted(DEMO), Digest.of(secret))
            assert caught.value.code is ErrorCode.BLOB_UNKNOWN


def test_the_media_types_of_the_fakes_are_helms() -> None:
    assert manifest_of(A).media_type == OCI_MANIFEST
    assert HELM_CONFIG.encode() in manifest_of(A).content
    assert HELM_CHART_LAYER.encode() in other_form(A).content


@pytest.mark.anyio
async def test_where_every_source_is_left_out_the_reasons_are_told(tmp_path: Path) -> None:
    only = proxy()
    only.failure = Skipped("it leads back to this gateway")
    async with house(tmp_path, only=only) as at:
        with pytest.raises(OciError) as caught:
            await at.puller.manifest(Wanted(DEMO), Tag("1.0.0"))
        assert caught.value.code is ErrorCode.UNAVAILABLE
        assert "chartproxy: it leads back to this gateway" in caught.value.message


@pytest.mark.anyio
async def test_a_chart_that_names_an_artifact_type_of_its_own_is_a_chart_all_the_same(tmp_path: Path) -> None:
    source = registry(**{"1.0.0": A})
    source.builds = _with_artifact_type
    async with house(tmp_path, only=source) as at:
        await at.pull()
        at.clock.advance(DUE)
        source.layers["1.0.0"] = B
        assert await at.pull() == (Cache.HIT, _with_artifact_type(A).digest)


def _with_artifact_type(layer: bytes) -> Manifest:
    plain = manifest_of(layer)
    content = plain.content.replace(
        b'{"schemaVersion"', b'{"artifactType":"application/vnd.x","schemaVersion"'
    )
    return Manifest(content, plain.media_type, Digest.of(content))
