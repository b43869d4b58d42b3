"""Referrers: what upstream lists and what is held, as one; upstream is asked about what is held alone."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.encoding import dump_compact
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.manifest import Manifest
from gateway.oci.media_types import OCI_IMAGE_INDEX, OCI_MANIFEST
from gateway.oci.outcomes import Corrupt, Denied, Missing, Outcome, Unavailable
from gateway.rules.model import SourceName
from gateway.rules.route import Wanted
from gateway.sources.base import Comparable
from gateway.store.blobs import MemoryBlobs
from tests.composed import HOST, composed, upstream
from tests.fakes.images import OCI, attached, referrers_index, signature_of, tag_of
from tests.fakes.registry import FakeRegistry
from tests.fakes.source import FakeSource, image_of, layer_of
from tests.pull_house import DEMO, OTHER, POLICY, QUICK, House, house, until
from tests.pull_process import process
from tests.sources.helm_parts import Clock

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # many small tests, seconds together

SUBJECT = image_of(layer_of("1.0.0"))
SIGNATURE = Descriptor(OCI_MANIFEST, Digest.of(b"a signature"), 11)
SBOM = Descriptor(OCI_MANIFEST, Digest.of(b"an inventory"), 12)
NAME = "team/app"
FRESH = POLICY.fresh_for_seconds


def registry() -> FakeSource:
    source = FakeSource(MemoryBlobs(), name=SourceName.REGISTRY, compares=Comparable.MANIFEST, builds=build)
    source.layers = {"1.0.0": layer_of("1.0.0"), "signature": layer_of("signature")}
    source.listed = [SIGNATURE]
    return source


def build(layer: bytes) -> Manifest:
    """An image; that of the tag ``signature`` refers to the one of ``1.0.0``."""
    plain = image_of(layer)
    if layer != layer_of("signature"):
        return plain
    subject = {"mediaType": OCI_MANIFEST, "digest": str(SUBJECT.digest), "size": len(SUBJECT.content)}
    content = plain.content.replace(
        b'{"schemaVersion"', b'{"subject":%b,"schemaVersion"' % dump_compact(subject)
    )
    return replace(plain, content=content, digest=Digest.of(content))


OURS = build(layer_of("signature")).digest
QUESTION = f"referrers of {SUBJECT.digest}"


async def referrers(at: House, subject: Digest = SUBJECT.digest) -> list[Digest]:
    return [descriptor.digest for descriptor in await at.puller.referrers(Wanted(DEMO), subject)]


def by_digest(*digests: Digest) -> list[Digest]:
    return sorted(digests, key=str)


async def test_what_upstream_lists_and_what_is_held_are_one_list_in_a_stable_order(tmp_path: Path) -> None:
    async with house(tmp_path, only=registry()) as at:
        await at.pull("1.0.0")
        await at.pull("signature")
        at.source.listed = [SBOM, SIGNATURE]
        assert await referrers(at) == by_digest(OURS, SBOM.digest, SIGNATURE.digest)
        assert await referrers(at) == by_digest(OURS, SBOM.digest, SIGNATURE.digest)


async def test_what_both_know_is_listed_once_in_upstreams_words(tmp_path: Path) -> None:
    async with house(tmp_path, only=registry()) as at:
        await at.pull("1.0.0")
        await at.pull("signature")
        theirs = Descriptor(OCI_MANIFEST, OURS, 7, artifact_type="application/x", annotations={"a": "b"})
        at.source.listed = [theirs]
        assert await at.puller.referrers(Wanted(DEMO), SUBJECT.digest) == [theirs]


async def test_upstream_is_asked_once_in_a_while(tmp_path: Path) -> None:
    async with house(tmp_path, only=registry()) as at:
        await at.pull("1.0.0")
        assert await referrers(at) == [SIGNATURE.digest]
        at.source.listed = [SIGNATURE, SBOM]
        at.clock.advance(FRESH - 1)
        assert await referrers(at) == [SIGNATURE.digest]
        assert at.source.asked.count(QUESTION) == 1
        at.clock.advance(1)
        assert await referrers(at) == by_digest(SIGNATURE.digest, SBOM.digest)
        assert at.source.asked.count(QUESTION) == 2


async def test_what_was_pulled_since_is_listed_at_once(tmp_path: Path) -> None:
    async with house(tmp_path, only=registry()) as at:
        await at.pull("1.0.0")
        await referrers(at)
        await at.pull("signature")
        assert await referrers(at) == by_digest(SIGNATURE.digest, OURS)


async def test_of_what_is_not_held_nobody_is_asked(tmp_path: Path) -> None:
    async with house(tmp_path, only=registry()) as at:
        await at.pull("signature")
        assert await referrers(at) == [OURS]
        assert await referrers(at, Digest.of(b"never seen")) == []
        assert QUESTION not in at.source.asked
        assert len(at.source.asked) == 1


async def test_another_repository_has_referrers_of_its_own(tmp_path: Path) -> None:
    async with house(tmp_path, only=registry()) as at:
        await at.pull("1.0.0")
        await at.pull("signature")
        assert await at.puller.referrers(Wanted(OTHER), SUBJECT.digest) == []


@pytest.mark.parametrize("failure", [Unavailable("down"), Missing("no"), Denied("no"), Corrupt("wrong")])
async def test_while_upstream_fails_what_is_known_is_listed(failure: Outcome, tmp_path: Path) -> None:
    async with house(tmp_path, only=registry()) as at:
        await at.pull("1.0.0")
        await at.pull("signature")
        at.source.failure = failure
        assert await referrers(at) == [OURS]
        at.source.failure = None
        assert await referrers(at) == by_digest(OURS, SIGNATURE.digest)
        at.source.failure = failure
        at.clock.advance(10 * FRESH)
        assert await referrers(at) == by_digest(OURS, SIGNATURE.digest)


async def test_a_silent_upstream_keeps_nobody_from_what_is_known(tmp_path: Path) -> None:
    async with house(tmp_path, only=registry()) as before:
        await before.pull("1.0.0")
        await before.pull("signature")
    async with house(tmp_path, before=before, deadlines=QUICK) as at:
        at.source.gate = asyncio.Event()
        assert await referrers(at) == [OURS]
        at.source.gate.set()
        await until(lambda: _lists_theirs(at))
        assert at.source.asked.count(QUESTION) == 1


async def _lists_theirs(at: House) -> bool:
    await asyncio.sleep(0)
    return SIGNATURE.digest in await referrers(at)


class CountingClock(Clock):
    """Counts who looked: everybody looks just before joining."""

    looked = 0

    def __call__(self) -> float:
        self.looked += 1
        return super().__call__()


async def test_all_who_ask_at_once_cost_one_question(tmp_path: Path) -> None:
    clock, source = CountingClock(), registry()
    async with process(tmp_path, [source], clock=clock) as at:
        await at.pull("1.0.0")
        source.gate, clock.looked = asyncio.Event(), 0
        asked = [asyncio.create_task(at.puller.referrers(Wanted(DEMO), SUBJECT.digest)) for _ in range(50)]
        await until(lambda: _have_looked(clock, 50))
        source.gate.set()
        assert all(answer == [SIGNATURE] for answer in await asyncio.gather(*asked))
        assert source.asked.count(QUESTION) == 1


async def _have_looked(clock: CountingClock, count: int) -> bool:
    await asyncio.sleep(0)
    return clock.looked >= count


async def test_the_answer_is_not_lost_where_who_asked_has_left(tmp_path: Path) -> None:
    async with house(tmp_path, only=registry()) as at:
        await at.pull("1.0.0")
        at.source.gate = asyncio.Event()
        leaving = asyncio.create_task(referrers(at))
        await until(lambda: _is_asked(at))
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        at.source.gate.set()
        for _ in range(20):
            await asyncio.sleep(0)
        assert await referrers(at) == [SIGNATURE.digest]
        assert at.source.asked.count(QUESTION) == 1


async def _is_asked(at: House) -> bool:
    await asyncio.sleep(0)
    return QUESTION in at.source.asked


async def test_offline_what_is_held_is_listed_and_nobody_is_asked(tmp_path: Path) -> None:
    async with house(tmp_path, only=registry()) as online:
        await online.pull("1.0.0")
        await online.pull("signature")
        await referrers(online)
    online.source.asked.clear()
    async with house(tmp_path, before=online, offline="yes") as at:
        assert await referrers(at) == [OURS]
        assert at.source.asked == []


async def test_the_source_that_gave_the_subject_is_the_one_that_is_asked(tmp_path: Path) -> None:
    first, second = registry(), registry()
    first.name = SourceName.CHARTPROXY
    first.failure = Unavailable("down")
    async with house(tmp_path, others=[first], only=second) as at:
        await at.pull("1.0.0")
        first.failure = None
        first.listed = [SBOM]
        first.asked.clear()
        assert await referrers(at) == [SIGNATURE.digest]
        assert first.asked == []


async def test_a_repository_of_charts_lists_what_is_held(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        _, digest = await at.pull("1.0.0")
        assert await referrers(at, digest) == []


@pytest.mark.parametrize("has_api", [True, False], ids=["api", "tag"])
async def test_over_the_wire_they_are_an_image_index_that_can_be_filtered(
    has_api: bool, tmp_path: Path
) -> None:
    image = OCI.image(100)
    signature, inventory = signature_of(image), attached(image, "application/spdx+json", b"{}")
    with FakeRegistry() as registry:
        for artifact, tag in ((image, "1"), (signature, None), (inventory, None)):
            artifact.push_to(registry, NAME, tag)
        referrers_index(signature, inventory).push_to(registry, NAME, tag_of(image.digest))
        registry.has_referrers = has_api
        async with composed(tmp_path, "upstreams:\n" + upstream(registry.origin, kind="registry")) as at:
            path = f"/v2/{HOST}/{NAME}/referrers/{image.digest}"
            before = await at.client.get(path)  # the subject is not held yet
            assert (before.status_code, before.json()["manifests"]) == (200, [])
            assert (await at.manifest(f"{HOST}/{NAME}", "1")).status_code == 200
            every = await at.client.get(path)
            assert every.headers["content-type"] == OCI_IMAGE_INDEX
            assert "oci-filters-applied" not in every.headers
            assert digests_in(every.json()) == {str(signature.digest), str(inventory.digest)}
            some = await at.client.get(path, params={"artifactType": "application/spdx+json"})
            assert some.headers["oci-filters-applied"] == "artifactType"
            assert digests_in(some.json()) == {str(inventory.digest)}
            none = await at.client.get(path, params={"artifactType": "application/x"})
            assert (none.status_code, digests_in(none.json())) == (200, set())
        assert sum("/referrers/" in request.path for request in registry.requests) == 1


def digests_in(index: dict[str, list[dict[str, str]]]) -> set[str]:
    return {descriptor["digest"] for descriptor in index["manifests"]}


async def test_an_outage_never_reads_as_nothing_refers_to_it(tmp_path: Path) -> None:
    """An empty list would mean to whoever verifies that nobody has signed."""
    async with house(tmp_path, only=registry()) as at:
        await at.pull("1.0.0")
        at.source.failure = Unavailable("down")
        with pytest.raises(OciError) as caught:
            await referrers(at)
        assert caught.value.code is ErrorCode.UNAVAILABLE
        at.source.failure = Missing("it has no such list")
        assert await referrers(at) == []
        at.source.failure = None
        assert await referrers(at) == [SIGNATURE.digest]
        at.source.failure = Unavailable("down")
        at.clock.advance(FRESH)
        assert await referrers(at) == [SIGNATURE.digest]
