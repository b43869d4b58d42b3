"""A native registry: any artifact as it is stored, and nothing that is not what it should be."""

import json
from collections.abc import Iterator

import pytest

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.media_types import OCI_IMAGE_INDEX, OCI_MANIFEST
from gateway.oci.outcomes import Corrupt, Denied, Missing, MissingName, Skipped, Unavailable, UnknownHost
from gateway.sources.base import Comparable
from tests.fakes.charts import make_chart
from tests.fakes.images import (
    DOCKER,
    OCI,
    Artifact,
    content_of,
    helm_artifact,
    referrers_index,
    signature_of,
    tag_of,
)
from tests.fakes.registry import BlobHost, FakeRegistry
from tests.sources.registry_parts import (
    MAX_CHART_BYTES,
    NAME,
    SIGNED,
    RegistryParts,
    registry_at,
    registry_parts,
)

pytestmark = pytest.mark.slow  # many small tests, seconds together

IMAGE = OCI.image(1000, 2000)
CHART = helm_artifact(make_chart("app", "1.2.3"), b"-----BEGIN PGP SIGNED MESSAGE-----\n")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake:
        yield fake


async def _read(parts: RegistryParts, descriptor: Descriptor) -> bytes:
    async with parts.registry.blob(parts.route(), descriptor) as pieces:
        return b"".join([piece async for piece in pieces])


def _descriptor(content: bytes, size: int | None = None) -> Descriptor:
    return Descriptor("application/octet-stream", Digest.of(content), len(content) if size is None else size)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "artifact",
    [IMAGE, DOCKER.image(10), OCI.image_index(10), DOCKER.image_index(10), CHART, signature_of(IMAGE)],
    ids=["image", "docker image", "image index", "docker list", "chart", "signature"],
)
async def test_any_artifact_is_what_is_stored_there(artifact: Artifact, fake: FakeRegistry) -> None:
    artifact.push_to(fake, NAME, "1")
    async with registry_parts(registry_at(fake.origin)) as parts:
        found = await parts.registry.find(parts.route(), "1")
        assert (found.version, found.upstream_digest) == ("1", artifact.digest)
        assert found.compares is Comparable.MANIFEST
        fetched = await found.fetch()
        assert fetched.manifest.content == artifact.manifest
        assert (fetched.manifest.media_type, fetched.manifest.digest) == (
            artifact.media_type,
            artifact.digest,
        )
        (candidate,) = [one async for one in parts.registry.candidates(parts.route(), artifact.digest, 25)]
        assert (await candidate.fetch()).manifest == fetched.manifest
        assert candidate.version is None
    assert {request.headers["accept"] for request in fake.requests if "manifests" in request.path} == {
        "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
        "application/vnd.docker.distribution.manifest.v2+json, "
        "application/vnd.docker.distribution.manifest.list.v2+json, application/octet-stream"
    }


@pytest.mark.anyio
async def test_a_charts_parts_are_kept_before_the_answer_and_those_of_others_are_not_fetched(
    fake: FakeRegistry,
) -> None:
    CHART.push_to(fake, NAME, "1.2.3")
    IMAGE.push_to(fake, NAME, "image")
    async with registry_parts(registry_at(fake.origin)) as parts:
        fetched = await parts.fetch("1.2.3")
        assert fetched.sizes == {Digest.of(blob): len(blob) for blob in CHART.blobs}
        assert [await parts.content(Digest.of(blob)) for blob in CHART.blobs] == list(CHART.blobs)
        image = await parts.fetch("image")
        assert image.sizes == {}
        assert [await parts.content(Digest.of(blob)) for blob in IMAGE.blobs] == [None] * 3


@pytest.mark.anyio
async def test_what_the_sink_has_is_delivered_all_the_same_and_asked_after_by_nobody(
    fake: FakeRegistry,
) -> None:
    CHART.push_to(fake, NAME, "1.2.3")
    async with registry_parts(registry_at(fake.origin)) as parts:
        await parts.fetch("1.2.3")
        await parts.fetch("1.2.3")
    for blob in map(Digest.of, CHART.blobs):
        assert [fake.count_of_blob(NAME, blob, method) for method in ("GET", "HEAD")] == [2, 0]


@pytest.mark.anyio
async def test_what_the_sink_has_and_the_registry_has_not_is_no_part_of_its_chart(fake: FakeRegistry) -> None:
    CHART.push_to(fake, NAME, "1.2.3")
    async with registry_parts(registry_at(fake.origin)) as parts:
        await parts.fetch("1.2.3")
        fake.delete_blob(NAME, Digest.of(CHART.blobs[1]))
        with pytest.raises(Missing):
            await parts.fetch("1.2.3")


@pytest.mark.anyio
async def test_a_chart_is_found_with_and_without_v_and_an_image_is_not(fake: FakeRegistry) -> None:
    CHART.push_to(fake, NAME, "v1.2.3")
    IMAGE.push_to(fake, NAME, "v2.0.0")
    async with registry_parts(registry_at(fake.origin)) as parts:
        found = await parts.registry.find(parts.route(), "1.2.3")
        assert (found.version, (await found.fetch()).manifest.digest) == ("v1.2.3", CHART.digest)
        with pytest.raises(Missing):
            await parts.registry.find(parts.route(), "2.0.0")
        asked_before = fake.count()
        with pytest.raises(Missing):
            await parts.registry.find(parts.route(), "latest")
    assert [request.path.rpartition("/")[2] for request in fake.requests[asked_before:]] == ["latest"] * 2


@pytest.mark.anyio
@pytest.mark.parametrize("switch", ["has_digest_header", "has_head"])
async def test_where_head_does_not_tell_the_manifest_does_and_is_fetched_once(
    switch: str, fake: FakeRegistry
) -> None:
    IMAGE.push_to(fake, NAME, "1")
    setattr(fake, switch, False)
    async with registry_parts(registry_at(fake.origin)) as parts:
        found = await parts.registry.find(parts.route(), "1")
        assert found.upstream_digest == IMAGE.digest
        assert (await found.fetch()).manifest.content == IMAGE.manifest
    assert fake.count_of_manifest(NAME, "1", "GET") == 1


@pytest.mark.anyio
async def test_a_name_and_a_tag_that_are_not_there_are_told_apart(fake: FakeRegistry) -> None:
    IMAGE.push_to(fake, NAME, "1")
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises(Missing) as caught:
            await parts.registry.find(parts.route(), "2")
        assert type(caught.value) is Missing
        with pytest.raises(MissingName):
            await parts.registry.find(parts.route("team/nothing"), "1")


@pytest.mark.anyio
async def test_a_host_that_does_not_resolve_is_unknown(fake: FakeRegistry) -> None:
    async with registry_parts(registry_at("https://nowhere.example.test")) as parts:
        with pytest.raises(UnknownHost):
            await parts.registry.find(parts.route(), "1")


@pytest.mark.anyio
async def test_a_lying_digest_header_changes_nothing_that_is_kept(fake: FakeRegistry) -> None:
    IMAGE.push_to(fake, NAME, "1")
    fake.digest_told = Digest.of(b"another")
    async with registry_parts(registry_at(fake.origin)) as parts:
        assert (await parts.fetch("1")).manifest.digest == IMAGE.digest


@pytest.mark.anyio
async def test_another_manifest_than_the_digest_asked_for_is_refused(fake: FakeRegistry) -> None:
    fake.put_wrong_manifest(NAME, IMAGE.digest, OCI.image(5).manifest, OCI_MANIFEST)
    fake.digest_told = IMAGE.digest
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises(Corrupt) as caught:
            [one async for one in parts.registry.candidates(parts.route(), IMAGE.digest, 1)]
    assert caught.value.reason == "digest_mismatch"


def _image_with(**members: object) -> bytes:
    return IMAGE.changed(**members).manifest


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (
            b'{"schemaVersion":2,"mediaType":"%s","layers":[],"manifests":[]}' % OCI_MANIFEST.encode(),
            OCI_MANIFEST,
        ),
        (_image_with(manifests=[]), OCI_MANIFEST),
        (IMAGE.manifest, OCI_IMAGE_INDEX),
        (IMAGE.manifest, "text/html"),
        (b"<!doctype html><title>Sign in</title>", "text/html"),
        (IMAGE.manifest[:-1] + b',"schemaVersion":2}', OCI_MANIFEST),
        (b"[" * 200_000, OCI_MANIFEST),
        (b'{"size":' + b"9" * 5000 + b"}", OCI_MANIFEST),
        (b'{"size":1e400}', OCI_MANIFEST),
        (IMAGE.manifest.replace(b'"size":1000', b'"size":-1'), OCI_MANIFEST),
        (IMAGE.manifest.replace(b'"size":1000', b'"size":true'), OCI_MANIFEST),
        (b'{"schemaVersion":1,"name":"x","tag":"1"}', "application/vnd.docker.distribution.manifest.v1+json"),
        (b"", OCI_MANIFEST),
    ],
)
async def test_what_is_no_manifest_or_two_at_once_is_refused(
    content: bytes, media_type: str, fake: FakeRegistry
) -> None:
    fake.push(NAME, "1", content, media_type)
    fake.faults_of_manifest(NAME, "1").headers = {"Content-Type": media_type}
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises((Corrupt, Missing)) as caught:
            await parts.client.manifest(parts.repository(), "1")
    if media_type == OCI_MANIFEST:
        assert isinstance(caught.value, Corrupt)
        assert caught.value.reason == "manifest_invalid"


@pytest.mark.anyio
async def test_a_page_in_place_of_a_manifest_is_refused(fake: FakeRegistry) -> None:
    IMAGE.push_to(fake, NAME, "1")
    fake.faults_of_manifest(NAME, "1").html = True
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises(Corrupt) as caught:
            await parts.registry.find(parts.route(), "1")
    assert caught.value.reason == "manifest_invalid"


@pytest.mark.anyio
@pytest.mark.parametrize(("padding", "is_taken"), [(0, True), (1, False)])
async def test_a_manifest_has_at_most_four_mebibytes(
    padding: int, is_taken: bool, fake: FakeRegistry
) -> None:
    short = _image_with(annotations={"x": ""})
    content = _image_with(annotations={"x": "y" * (4 * 1024 * 1024 - len(short) + padding)})
    assert len(content) == 4 * 1024 * 1024 + padding
    fake.push(NAME, "1", content, OCI_MANIFEST)
    async with registry_parts(registry_at(fake.origin)) as parts:
        if is_taken:
            assert (await parts.fetch("1")).manifest.content == content
            return
        with pytest.raises(Corrupt) as caught:
            await parts.fetch("1")
    assert caught.value.reason == "too_large"


@pytest.mark.anyio
async def test_what_descriptors_say_of_other_places_is_never_asked(fake: FakeRegistry) -> None:
    evil = {**_layers(CHART)[0], "urls": [f"{fake.origin}/evil"], "data": "AAAA"}
    CHART.changed(layers=[evil]).push_to(fake, NAME, "1.2.3")
    async with registry_parts(registry_at(fake.origin)) as parts:
        await parts.fetch("1.2.3")
        assert await parts.content(Digest.of(CHART.blobs[1])) == CHART.blobs[1]
    assert {request.path.split("/")[4] for request in fake.requests} == {"manifests", "blobs"}


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["wrong_bytes", "truncated", "html"])
async def test_a_chart_with_a_part_of_other_bytes_is_not_kept(fault: str, fake: FakeRegistry) -> None:
    CHART.push_to(fake, NAME, "1.2.3")
    layer = Digest.of(CHART.blobs[1])
    setattr(fake.faults_of_blob(NAME, layer), fault, True)
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises(Unavailable if fault == "truncated" else Corrupt) as caught:
            await parts.fetch("1.2.3")
        assert await parts.content(layer) is None
    if fault == "wrong_bytes":
        assert isinstance(caught.value, Corrupt)
        assert caught.value.reason == "digest_mismatch"


@pytest.mark.anyio
async def test_a_chart_may_be_as_large_as_agreed_and_no_larger(fake: FakeRegistry) -> None:
    for tag, size in (("1.0.0", MAX_CHART_BYTES), ("1.0.1", MAX_CHART_BYTES + 1)):
        layer = content_of(tag, size)
        described = {**_layers(CHART)[0], "digest": str(Digest.of(layer)), "size": size}
        artifact = CHART.changed(layers=[described])
        artifact.push_to(fake, NAME, tag)
        fake.put_blob(NAME, layer)
    async with registry_parts(registry_at(fake.origin)) as parts:
        assert MAX_CHART_BYTES in (await parts.fetch("1.0.0")).sizes.values()
        with pytest.raises(Corrupt) as caught:
            await parts.fetch("1.0.1")
    assert caught.value.reason == "too_large"


def _layers(artifact: Artifact) -> list[dict[str, object]]:
    layers: list[dict[str, object]] = json.loads(artifact.manifest)["layers"]
    return layers


@pytest.mark.anyio
@pytest.mark.parametrize("page_size", [None, 7, 1])
async def test_every_tag_is_listed_whatever_the_pages(page_size: int | None, fake: FakeRegistry) -> None:
    tags = sorted(f"1.0.{number}" for number in range(30))
    for tag in tags:
        fake.push(NAME, tag, IMAGE.manifest, OCI_MANIFEST)
    fake.page_size = page_size
    async with registry_parts(registry_at(fake.origin)) as parts:
        versions = await parts.registry.versions(parts.route())
        assert (list(versions.names), versions.confirmed_at) == (tags, parts.clock())


@pytest.mark.anyio
async def test_names_that_are_no_tags_are_not_listed_and_no_list_is_none(fake: FakeRegistry) -> None:
    fake.push(NAME, "1", IMAGE.manifest, OCI_MANIFEST)
    for tag in ("../x", "a b", "x" * 129, "", "é"):
        fake.push(NAME, tag, IMAGE.manifest, OCI_MANIFEST)
    async with registry_parts(registry_at(fake.origin)) as parts:
        assert list((await parts.registry.versions(parts.route())).names) == ["1"]
        with pytest.raises(MissingName):
            await parts.registry.versions(parts.route("team/nothing"))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "link",
    [
        "<https://evil.example.test/v2/team/app/tags/list?last=1>",
        "<//evil.example.test/v2/team/app/tags/list?last=1>",
        "</v2/other/tags/list?last=1>",
        "</evil?last=1>",
        "<?n=1000>",
        "<http://127.0.0.1/v2/team/app/tags/list?last=1>",
        "<javascript:alert(1)>",
    ],
)
async def test_a_next_page_lies_where_the_first_does_and_is_another(link: str, fake: FakeRegistry) -> None:
    fake.push(NAME, "1", IMAGE.manifest, OCI_MANIFEST)
    fake.faults_of_tags(NAME).headers = {"Link": f'{link}; rel="next"'}
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises(Corrupt) as caught:
            await parts.registry.versions(parts.route())
    assert caught.value.reason == "bad_link"
    assert fake.count() == 1


@pytest.mark.anyio
@pytest.mark.parametrize("page_size", [None, 1])
async def test_referrers_are_asked_of_the_api(page_size: int | None, fake: FakeRegistry) -> None:
    signatures = [signature_of(IMAGE), signature_of(IMAGE, "another")]
    for artifact in (IMAGE, *signatures):
        artifact.push_to(fake, NAME)
    fake.page_size = page_size
    async with registry_parts(registry_at(fake.origin)) as parts:
        found = await parts.registry.referrers(parts.route(), IMAGE.digest)
        assert {one.digest for one in found} == {signature.digest for signature in signatures}
        assert {one.artifact_type for one in found} == {"application/vnd.dev.cosign.artifact.sig.v1+json"}
        assert await parts.registry.referrers(parts.route(), Digest.of(b"nobody")) == []


@pytest.mark.anyio
async def test_without_the_api_the_tag_that_stands_for_it_tells(fake: FakeRegistry) -> None:
    fake.has_referrers = False
    signature = signature_of(IMAGE)
    for artifact in (IMAGE, signature):
        artifact.push_to(fake, NAME)
    async with registry_parts(registry_at(fake.origin)) as parts:
        assert list(await parts.registry.referrers(parts.route(), IMAGE.digest)) == []
        referrers_index(signature).push_to(fake, NAME, tag_of(IMAGE.digest))
        (found,) = await parts.registry.referrers(parts.route(), IMAGE.digest)
    assert (found.digest, found.size) == (signature.digest, len(signature.manifest))


@pytest.mark.anyio
async def test_referrers_of_an_outage_are_an_outage(fake: FakeRegistry) -> None:
    IMAGE.push_to(fake, NAME, "1")
    fake.faults.status = 503
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises(Unavailable):
            await parts.registry.referrers(parts.route(), IMAGE.digest)


@pytest.mark.anyio
@pytest.mark.parametrize("has_ranges", [True, False])
@pytest.mark.parametrize("breaks", [[1], [100_000], [100_000, 150_000, 180_000]])
async def test_a_broken_transfer_goes_on_where_it_broke(
    breaks: list[int], has_ranges: bool, fake: FakeRegistry
) -> None:
    content = content_of("blob", 300_000)
    digest = fake.put_blob(NAME, content)
    fake.has_ranges = has_ranges
    received = [0, *breaks]
    sent = (
        list(breaks)
        if not has_ranges
        else [after - before for before, after in zip(received, breaks, strict=False)]
    )
    fake.faults_of_blob(NAME, digest).breaks_at = sent
    async with registry_parts(registry_at(fake.origin)) as parts:
        assert await _read(parts, _descriptor(content)) == content
    asked = [request.headers.get("range") for request in fake.requests]
    assert asked == [None, *(f"bytes={start}-" for start in breaks)]


@pytest.mark.anyio
async def test_a_transfer_that_gets_nowhere_is_given_up(fake: FakeRegistry) -> None:
    content = content_of("blob", 300_000)
    faults = fake.faults_of_blob(NAME, fake.put_blob(NAME, content))
    async with registry_parts(registry_at(fake.origin)) as parts:
        for breaks, count in (([1000, 0], 2), ([1000] * 6, 6)):
            faults.breaks_at, asked_before = list(breaks), fake.count()
            with pytest.raises(Unavailable):
                await _read(parts, _descriptor(content))
            assert fake.count() - asked_before == count


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("size", "reason"), [(9, "size_mismatch"), (11, "size_mismatch")], ids=["shorter", "longer"]
)
async def test_a_blob_has_the_size_that_its_descriptor_says(
    size: int, reason: str, fake: FakeRegistry
) -> None:
    content = b"0123456789"
    fake.put_blob(NAME, content)
    async with registry_parts(registry_at(fake.origin)) as parts:
        assert await parts.registry.has_blob(parts.route(), _descriptor(content))
        assert not await parts.registry.has_blob(parts.route(), _descriptor(content, size))
        with pytest.raises(Corrupt) as caught:
            await _read(parts, _descriptor(content, size))
    assert caught.value.reason == reason


@pytest.mark.anyio
async def test_a_blob_that_is_not_there_is_missing_on_entering(fake: FakeRegistry) -> None:
    IMAGE.push_to(fake, NAME, "1")
    async with registry_parts(registry_at(fake.origin)) as parts:
        nothing = _descriptor(b"nothing")
        assert not await parts.registry.has_blob(parts.route(), nothing)
        with pytest.raises(Missing):
            await _read(parts, nothing)
        fake.has_head = False
        assert await parts.registry.has_blob(parts.route(), _descriptor(IMAGE.blobs[1]))


@pytest.mark.anyio
async def test_a_blob_on_another_host_is_fetched_there_without_our_credentials(fake: FakeRegistry) -> None:
    content = content_of("blob", 200_000)
    digest = fake.put_blob(NAME, content)
    fake.auth = "basic"
    with BlobHost(fake) as host:
        fake.blobs_at = host.origin
        host.faults_at[f"/{digest}"] = fake.faults_of_blob("nothing", digest)
        host.faults_at[f"/{digest}"].breaks_at = [70_000]
        cdn = registry_at(host.origin, "cdn.example.test", trusted_by="[registry.example.test]")
        async with registry_parts(registry_at(fake.origin, **SIGNED), cdn) as parts:
            assert await _read(parts, _descriptor(content)) == content
        assert [request.headers.get("authorization") for request in host.requests] == [None, None]
        assert [request.headers.get("range") for request in host.requests] == [None, "bytes=70000-"]


@pytest.mark.anyio
@pytest.mark.parametrize("status", [401, 403])
async def test_what_is_refused_is_missing_to_strangers_and_denied_to_those_who_signed_in(
    status: int, fake: FakeRegistry
) -> None:
    fake.faults.status = status
    async with registry_parts(registry_at(fake.origin)) as parts:
        for asked in (parts.registry.find(parts.route(), "1"), parts.registry.versions(parts.route())):
            with pytest.raises(Missing):
                await asked
    async with registry_parts(registry_at(fake.origin, **SIGNED)) as parts:
        with pytest.raises(Denied):
            await parts.registry.find(parts.route(), "1")


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "is_limited"), [(429, True), (500, False), (503, False)])
async def test_an_outage_never_reads_as_not_there(status: int, is_limited: bool, fake: FakeRegistry) -> None:
    fake.faults.status = status
    async with registry_parts(registry_at(fake.origin)) as parts:
        with pytest.raises(Unavailable) as caught:
            await parts.registry.find(parts.route(), "1")
    assert caught.value.is_rate_limited == is_limited


@pytest.mark.anyio
@pytest.mark.parametrize("page_status", [200, 404])
async def test_a_guessed_registry_that_answers_with_pages_is_asked_again_what_it_is(
    page_status: int, fake: FakeRegistry
) -> None:
    IMAGE.push_to(fake, NAME, "1")
    async with registry_parts(registry_at(fake.origin)) as parts:
        route = parts.route(is_guessed=True)
        await parts.registry.find(route, "1")
        fake.faults.headers = {"Content-Type": "text/html"}
        fake.faults.status, fake.faults.html = (None, True) if page_status == 200 else (404, False)
        with pytest.raises((Corrupt, Missing)):
            await parts.registry.find(route, "1")
        assert fake.count("/v2/") == 1
        parts.clock.advance(601)
        with pytest.raises(Skipped):
            await parts.registry.find(route, "1")
        assert fake.count("/v2/") == 2
        asked_before = fake.count()
        for asked in (parts.registry.versions(route), parts.registry.referrers(route, IMAGE.digest)):
            with pytest.raises(Skipped):
                await asked
        with pytest.raises(Skipped):
            await parts.registry.has_blob(route, _descriptor(b"x"))
        assert fake.count() == asked_before


@pytest.mark.anyio
async def test_what_would_be_asked_and_whether_that_is_in_trouble_can_be_told(fake: FakeRegistry) -> None:
    async with registry_parts(registry_at(fake.origin)) as parts:
        assert parts.registry.tells(parts.route()) == [f"{fake.origin}/v2/{NAME}"]
        assert not parts.registry.is_troubled(parts.route())
        fake.faults.status = 500
        with pytest.raises(Unavailable):
            await parts.registry.find(parts.route(), "1")
        assert parts.registry.is_troubled(parts.route())


@pytest.mark.anyio
async def test_asking_again_and_again_takes_one_connection(fake: FakeRegistry) -> None:
    IMAGE.push_to(fake, NAME, "1.2.3")
    async with registry_parts(registry_at(fake.origin)) as parts:
        for _ in range(5):
            await parts.registry.find(parts.route(), "1.2.3")
    assert fake.connection_count == 1
