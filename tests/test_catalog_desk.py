"""The catalog as the desk shows it: found however it is asked for, told as it is held."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.catalog_desk import SORTED_TAGS
from gateway.catalog_shown import ArtifactKind
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.media_types import HELM_PROVENANCE_LAYER
from gateway.oci.target import Target
from gateway.store.pins import Pin, PinBook
from tests.catalog_house import ARGO, HOST, CatalogHouse, catalog_house, image_of, index_of
from tests.fakes.charts import make_chart

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

REDIS = "docker.io/library/redis"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[CatalogHouse]:
    async with catalog_house(tmp_path, ["charts.own.test:9000"]) as opened:
        yield opened


async def names(house: CatalogHouse, query: str) -> list[tuple[str, str]]:
    return [(one.name, one.match) for one in (await house.desk.search(query)).repositories]


async def tags(house: CatalogHouse, limit: int, query: str = "") -> list[str]:
    found: list[str] = []
    after = ""
    while True:
        page = await house.desk.repository(ARGO, after, limit, query)
        found += [one.tag for one in page.tags]
        if page.next is None:
            return found
        after = page.next


@pytest.mark.parametrize(
    "query",
    ["argo", "ARGO-CD", " argo-cd ", f"oci://{ARGO}", f"oci://charts.own.test:9000/{ARGO}", ""],
)
async def test_a_name_is_found_as_people_write_it(house: CatalogHouse, query: str) -> None:
    await house.keep_chart(ARGO, "5.1.0")
    assert await names(house, query) == [(ARGO, "")]


@pytest.mark.parametrize(
    "query", ["argo-cd:5.1.0", f"{ARGO}:5.1.0", f"oci://charts.own.test:9000/{ARGO}:5.1.0"]
)
async def test_a_name_with_a_tag_leads_to_the_tag(house: CatalogHouse, query: str) -> None:
    await house.keep_chart(ARGO, "5.1.0")
    assert await names(house, query) == [(ARGO, "5.1.0")]


async def test_a_version_is_found_as_helm_writes_it(house: CatalogHouse) -> None:
    await house.keep_chart(ARGO, "5.1.0+build.2")
    assert await names(house, "argo-cd:5.1.0+build.2") == [(ARGO, "5.1.0_build.2")]


async def test_a_digest_is_found_whole_begun_bare_and_behind_a_name(house: CatalogHouse) -> None:
    digest = await house.keep_chart(ARGO, "5.1.0")
    for query in (str(digest), str(digest)[:15], digest.hex, digest.hex[:12], f"{ARGO}@{digest}"):
        assert await names(house, query) == [(ARGO, str(digest))]


@pytest.mark.parametrize(
    "query", ["argo cd", "argö", "'; drop table tags; --", "\x00", "\ud800", "a" * 500, "argo%"]
)
async def test_what_can_be_in_no_name_is_found_nowhere(house: CatalogHouse, query: str) -> None:
    await house.keep_chart(ARGO, "5.1.0")
    assert await names(house, query) == []


async def test_pages_of_a_search_lead_on(house: CatalogHouse) -> None:
    for number in range(3):
        await house.keep_chart(f"{HOST}/charts/redis-{number}", "1.0.0")
    first = await house.desk.search("redis", limit=2)
    assert first.next is not None
    second = await house.desk.search("redis", first.next, 2)
    assert [one.name[-1] for one in (*first.repositories, *second.repositories)] == ["0", "1", "2"]
    assert second.next is None


@pytest.mark.parametrize("after", ["x", "W10", "WyJhIl0", "bm90IGpzb24", "WzFdWzFd", "WyJcdWQ4MDAiLCJhIl0"])
async def test_a_cursor_that_we_never_gave_leads_to_nothing(house: CatalogHouse, after: str) -> None:
    await house.keep_chart(ARGO, "5.1.0")
    assert (await house.desk.search("", after)).repositories == ()
    assert (await house.desk.repository(ARGO, after)).tags == ()


async def test_tags_come_newest_version_first_on_pages_of_any_length(house: CatalogHouse) -> None:
    for version in ("5.9.0", "5.10.0", "4.0.0", "5.10.0-rc.1", "5.9.0+b.1"):
        await house.keep_chart(ARGO, version)
    await house.keep(ARGO, "latest", image_of(b"x"))
    ordered = ["5.10.0", "5.10.0-rc.1", "5.9.0_b.1", "5.9.0", "4.0.0", "latest"]
    assert await tags(house, 50) == await tags(house, 1) == await tags(house, 2) == ordered
    assert await tags(house, 50, "5.10") == ["5.10.0", "5.10.0-rc.1"]
    assert await tags(house, 50, "5.9.0+b") == ["5.9.0_b.1"]
    assert await tags(house, 50, "no tag") == []


async def test_very_many_tags_come_in_the_order_of_their_names(house: CatalogHouse) -> None:
    manifest = await house.chart_manifest(make_chart("argo-cd", "1.0.0"))
    await house.keep_many(ARGO, manifest, [f"1.0.{number}" for number in range(SORTED_TAGS + 1)])
    page = await house.desk.repository(ARGO, limit=3)
    assert not page.is_newest_first
    assert [one.tag for one in page.tags] == ["1.0.0", "1.0.1", "1.0.10"]
    assert page.next is not None
    assert [one.tag for one in (await house.desk.repository(ARGO, page.next, 1)).tags] == ["1.0.100"]


async def test_a_name_nobody_pulled_is_told_so(house: CatalogHouse) -> None:
    for asking in (
        house.desk.repository("nobody"),
        house.desk.tag("nobody", "1"),
        house.desk.repository("\x00"),
    ):
        with pytest.raises(OciError) as refused:
            await asking
        assert refused.value.situation is Situation.NAME_NOT_KNOWN


@pytest.mark.parametrize("reference", ["9.9.9", f"sha256:{'0' * 64}", "sha256:short", "", "a b", "\x00"])
async def test_a_reference_that_is_not_held_is_told_so(house: CatalogHouse, reference: str) -> None:
    await house.keep_chart(ARGO, "5.1.0")
    with pytest.raises(OciError) as refused:
        await house.desk.tag(ARGO, reference)
    assert refused.value.situation is Situation.MANIFEST_NOT_KNOWN


async def test_a_chart_is_told_with_its_parts_and_where_it_came_from(house: CatalogHouse) -> None:
    digest = await house.keep_chart(ARGO, "5.1.0")
    for reference in ("5.1.0", str(digest)):
        artifact = await house.desk.tag(ARGO, reference)
        assert artifact.kind is ArtifactKind.CHART
        assert artifact.manifest.digest == digest
        assert [(part.kind, part.is_held) for part in artifact.parts] == [("config", True), ("layer", True)]
        assert artifact.held_bytes == artifact.size_bytes > 0
        assert artifact.tags == ["5.1.0"]
    (origin,) = (await house.desk.tag(ARGO, "5.1.0")).origins
    assert (origin.source, origin.origin) == ("helm", f"https://{ARGO}-5.1.0.tgz")


async def test_what_upstream_has_by_now_is_told(house: CatalogHouse) -> None:
    await house.keep(ARGO, "5.1.0", image_of(b"x"), seen=str(Digest.of(b"new")))
    assert (await house.desk.tag(ARGO, "5.1.0")).seen_digest == Digest.of(b"new")
    (tag,) = (await house.desk.repository(ARGO)).tags
    assert tag.seen_digest == Digest.of(b"new")


async def test_an_evicted_layer_is_told_as_not_here_and_the_facts_stay(house: CatalogHouse) -> None:
    await house.keep_chart(ARGO, "5.1.0", {"values.yaml": b"a: 1"}, description="fast")
    artifact = await house.desk.tag(ARGO, "5.1.0")
    assert artifact.chart_layer is not None
    await house.storage.blobs.delete(artifact.chart_layer)
    artifact = await house.desk.tag(ARGO, "5.1.0")
    assert [part.is_held for part in artifact.parts] == [True, False]
    contents = await house.desk.chart(artifact)
    assert contents is not None
    assert contents.metadata is not None
    assert contents.metadata.description == "fast"
    assert (contents.is_held, contents.values) == (False, None)


async def test_an_image_index_tells_its_platforms_and_which_are_here(house: CatalogHouse) -> None:
    held = await house.keep(REDIS, "7-amd64", image_of(b"a" * 100))
    await house.keep(REDIS, "7", index_of({"linux/amd64": held, "linux/arm64": Digest.of(b"other")}))
    artifact = await house.desk.tag(REDIS, "7")
    assert artifact.kind is ArtifactKind.IMAGE_INDEX
    assert [(part.platform, part.is_held) for part in artifact.parts] == [
        ("linux/amd64", True),
        ("linux/arm64", False),
    ]
    assert artifact.size_bytes > 1000
    assert await house.desk.chart(artifact) is None


@pytest.mark.parametrize("platform", ["[]", '"linux"', '{"os": 1}', '{"os": null}', '{"os": {"a": []}}'])
async def test_a_platform_that_is_none_breaks_nothing(house: CatalogHouse, platform: str) -> None:
    await house.keep_text(REDIS, "7", index_of({"PLATFORM/x": Digest.of(b"a")}), replacing=platform)
    assert (await house.desk.tag(REDIS, "7")).part_count == 1


async def test_signatures_are_found_as_tags_as_layers_and_by_subject(house: CatalogHouse) -> None:
    digest = await house.keep(REDIS, "7", image_of(b"a"))
    signature = await house.keep(REDIS, f"sha256-{digest.hex}.sig", image_of(b"signature"))
    subject = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": str(digest), "size": 1}
    notary = {**image_of(b"n"), "subject": subject, "artifactType": "application/vnd.cncf.notary.signature"}
    referring = await house.keep(REDIS, "notary", notary)
    artifact = await house.desk.tag(REDIS, "7")
    assert [(one.kind, one.digest) for one in artifact.attached] == [
        ("cosign signature", signature),
        ("Notary signature", referring),
    ]
    chart = dict(await house.chart_manifest(make_chart("argo-cd", "5.1.0")))
    layers = chart["layers"]
    assert isinstance(layers, list)
    provenance = {"mediaType": HELM_PROVENANCE_LAYER, "digest": str(Digest.of(b"prov")), "size": 4}
    await house.keep(ARGO, "5.1.0", {**chart, "layers": [*layers, provenance]})
    assert [one.kind for one in (await house.desk.tag(ARGO, "5.1.0")).attached] == ["Helm provenance"]


async def test_of_several_variants_the_plain_one_is_shown_unless_another_is_asked_for(
    house: CatalogHouse,
) -> None:
    signed = await house.keep(ARGO, "5.1.0", image_of(b"signed"), variant="provenance")
    assert (await house.desk.tag(ARGO, "5.1.0")).variant == "provenance"
    plain = await house.keep(ARGO, "5.1.0", image_of(b"plain"))
    artifact = await house.desk.tag(ARGO, "5.1.0")
    assert (artifact.manifest.digest, artifact.variants) == (plain, ["plain", "provenance"])
    assert (await house.desk.tag(ARGO, "5.1.0", variant="provenance")).manifest.digest == signed


async def test_of_several_targets_the_one_asked_for_is_shown(house: CatalogHouse) -> None:
    await house.keep_chart("argo/argo-cd", "5.1.0", target=ARGO)
    elsewhere = f"{HOST}/other/argo-cd"
    await house.keep("argo/argo-cd", "5.1.0", image_of(b"x"), target=elsewhere)
    assert (await house.desk.tag("argo/argo-cd", "5.1.0")).target == Target.parse(ARGO)
    assert (await house.desk.tag("argo/argo-cd", "5.1.0", elsewhere)).target == Target.parse(elsewhere)
    with pytest.raises(OciError):
        await house.desk.tag("argo/argo-cd", "5.1.0", f"{HOST}/none")


async def test_a_pin_is_told(house: CatalogHouse) -> None:
    await house.keep_chart(ARGO, "5.1.0")
    await PinBook(house.storage.engines).make(Pin(Target.parse(ARGO), "5.1.0", ARGO, 1.0))
    assert (await house.desk.tag(ARGO, "5.1.0")).pinned == {"5.1.0"}
    assert [one.is_pinned for one in (await house.desk.repository(ARGO)).tags] == [True]
