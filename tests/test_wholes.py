"""Wholes for lists: what signs them comes along, and what is whole is known without asking anybody."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.errors import ErrorCode, OciError
from gateway.oci.location import Location, parse_location
from gateway.wholes import MOST_DEEP, Wholes
from tests.composed import HOST, Composed, composed, upstream
from tests.fakes.images import OCI, attached, signature_by_tag, signature_of
from tests.fakes.registry import FakeRegistry

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # whole gateways on a disk

NAME = "team/app"
IMAGE = OCI.image(100)
AMD = frozenset({"linux/amd64"})


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.has_referrers = True
        IMAGE.push_to(registry, NAME, "1")
        yield registry


@asynccontextmanager
async def gateway(registry: FakeRegistry, folder: Path, more: str = "") -> AsyncIterator[Composed]:
    async with composed(folder, "upstreams:\n" + upstream(registry.origin, kind="registry") + more) as at:
        yield at


def wholes(at: Composed) -> Wholes:
    storage = at.gateway.storage
    return Wholes(at.gateway.puller, storage.catalog, storage.blobs, at.gateway.clock.now)


def located(reference: object) -> Location:
    text = str(reference)
    return parse_location(f"{HOST}/{NAME}{'@' if ':' in text else ':'}{text}", ())


async def test_what_was_pulled_is_whole_and_nobody_is_asked(registry: FakeRegistry, tmp_path: Path) -> None:
    async with gateway(registry, tmp_path) as at:
        assert not await wholes(at).is_whole(located("1"))
        await wholes(at).pull(located("1"))
        asked = len(registry.requests)
        for reference in ("1", IMAGE.digest):
            assert await wholes(at).is_whole(located(reference))
        assert not await wholes(at).is_whole(located("2"))
        assert not await wholes(at).is_whole(parse_location(f"{HOST}/{NAME}", ()))
        assert len(registry.requests) == asked


@pytest.mark.parametrize("place", [0, 1], ids=["config", "layer"])
async def test_what_has_lost_a_part_is_not_whole_and_a_pull_mends_it(
    place: int, registry: FakeRegistry, tmp_path: Path
) -> None:
    async with gateway(registry, tmp_path) as at:
        await wholes(at).pull(located("1"))
        (lost,) = at.data_dir.blobs.rglob(Digest.of(IMAGE.blobs[place]).hex)
        lost.write_bytes(b"cut")
        assert not await wholes(at).is_whole(located("1"))
        await wholes(at).pull(located("1"))
        assert await wholes(at).is_whole(located("1"))


async def test_an_image_is_whole_for_the_platforms_that_were_pulled(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    OCI.image_index(200).push_to(registry, NAME, "all")
    async with gateway(registry, tmp_path) as at:
        await wholes(at).pull(located("all"), AMD)
        assert await wholes(at).is_whole(located("all"), AMD)
        assert not await wholes(at).is_whole(located("all"))
        assert not await wholes(at).is_whole(located("all"), frozenset({"linux/arm64"}))
        await wholes(at).pull(located("all"))
        assert await wholes(at).is_whole(located("all"))


async def test_signatures_of_every_kind_come_along(registry: FakeRegistry, tmp_path: Path) -> None:
    tag, by_tag = signature_by_tag(IMAGE)
    signature = signature_of(IMAGE)
    countersigned = attached(signature, "application/x", b"{}")
    by_tag.push_to(registry, NAME, tag)
    for artifact in (signature, countersigned):
        artifact.push_to(registry, NAME, None)
    async with gateway(registry, tmp_path) as at:
        plain = await wholes(at).pull(located("1"))
        assert plain.signatures == ()
        assert await wholes(at).is_whole(located("1"))
        assert not await wholes(at).is_whole(located("1"), signatures=True)
        whole = await wholes(at).pull(located("1"), signatures=True)
        assert {str(one.reference) for one in whole.signatures} == {
            tag,
            str(signature.digest),
            str(countersigned.digest),
        }
        assert await wholes(at).is_whole(located("1"), signatures=True)
        asked = sorted(request.path for request in registry.requests)
        assert not [path for path in asked if path.endswith((".att", ".sbom"))]  # only what the list has
    registry.go_down()
    async with gateway(registry, tmp_path) as at:
        for one in whole.signatures:
            assert await wholes(at).is_whole(one)


async def test_a_signature_that_is_not_whole_makes_the_signed_not_whole(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    signature = signature_of(IMAGE)
    signature.push_to(registry, NAME, None)
    async with gateway(registry, tmp_path) as at:
        await wholes(at).pull(located("1"), signatures=True)
        (lost,) = at.data_dir.blobs.rglob(Digest.of(signature.blobs[-1]).hex)
        lost.unlink()
        assert await wholes(at).is_whole(located("1"))
        assert not await wholes(at).is_whole(located("1"), signatures=True)


async def test_what_nobody_signed_is_whole_once_somebody_has_looked(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    async with gateway(registry, tmp_path) as at:
        whole = await wholes(at).pull(located("1"), signatures=True)
        assert whole.signatures == ()
        assert await wholes(at).is_whole(located("1"), signatures=True)
        now = at.gateway.clock.now()
        assert await wholes(at).is_whole(located("1"), signatures=True, signed_since=now - 60)
        assert not await wholes(at).is_whole(located("1"), signatures=True, signed_since=now + 60)


async def test_what_signs_signatures_is_followed_only_so_far(registry: FakeRegistry, tmp_path: Path) -> None:
    chain = [IMAGE]
    for _ in range(MOST_DEEP + 2):
        chain.append(attached(chain[-1], "application/x", b"{}"))
        chain[-1].push_to(registry, NAME, None)
    async with gateway(registry, tmp_path) as at:
        whole = await wholes(at).pull(located("1"), signatures=True)
        assert [one.reference for one in whole.signatures] == [one.digest for one in chain[1 : MOST_DEEP + 1]]
        assert await wholes(at).is_whole(located("1"), signatures=True)


async def test_a_signature_that_is_listed_and_gone_is_no_failure(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    gone = signature_of(IMAGE)
    gone.push_to(registry, NAME, None)
    async with gateway(registry, tmp_path) as at:
        await wholes(at).pull(located("1"))
        await at.client.get(f"/v2/{HOST}/{NAME}/referrers/{IMAGE.digest}")
        registry.delete_manifest(NAME, gone.digest)
        whole = await wholes(at).pull(located("1"), signatures=True)
        assert whole.signatures == ()


async def test_a_registry_that_cannot_say_what_is_signed_fails_the_pull(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    async with gateway(registry, tmp_path) as at:
        await wholes(at).pull(located("1"))
        registry.go_down()
        with pytest.raises(OciError) as caught:
            await wholes(at).pull(located("1"), signatures=True)
        assert caught.value.code is ErrorCode.UNAVAILABLE


@pytest.mark.parametrize("status", [403, 404])
async def test_a_registry_that_lists_no_tags_is_asked_for_referrers_alone(
    status: int, registry: FakeRegistry, tmp_path: Path
) -> None:
    signature = signature_of(IMAGE)
    signature.push_to(registry, NAME, None)
    registry.faults_of_tags(NAME).status = status
    async with gateway(registry, tmp_path) as at:
        whole = await wholes(at).pull(located("1"), signatures=True)
        assert [one.reference for one in whole.signatures] == [signature.digest]
