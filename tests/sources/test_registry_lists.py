"""Lists from registries that say what no honest one does."""

import json
from collections.abc import Callable, Iterator

import pytest

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.media_types import OCI_IMAGE_INDEX, OCI_MANIFEST
from gateway.oci.outcomes import Corrupt, Unavailable
from gateway.sources.registry_client import ListLimits
from tests.fakes.images import OCI
from tests.fakes.messages import Answer, Request
from tests.fakes.server import FakeServer
from tests.sources.registry_parts import NAME, registry_at, registry_parts

pytestmark = pytest.mark.slow  # many small tests, seconds together

SUBJECT = Digest.of(b"subject")
TAGS = f"/v2/{NAME}/tags/list"
REFERRERS = f"/v2/{NAME}/referrers/{SUBJECT}"
BY_TAG = f"/v2/{NAME}/manifests/sha256-{SUBJECT.hex}"
INDEX = {"Content-Type": OCI_IMAGE_INDEX}


class Scripted(FakeServer):
    """Answers paths by functions, others by 404."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, Callable[[Request], Answer]] = {}

    def put(self, path: str, body: bytes, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = lambda _request: Answer(200, named, body)

    def answer(self, request: Request) -> Answer:
        give = self.answers.get(request.path)
        return Answer(404) if give is None else give(request)


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as server:
        yield server


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "tags"),
    [
        (b'{"name":"x","tags":null}', []),
        (b'{"tags":[]}', []),
        (b"{}", []),
        (b'{"tags":["b","a","b",1,null,["c"],"d/e"]}', ["b", "a"]),
    ],
)
async def test_a_list_of_tags_is_read_as_go_writes_it(body: bytes, tags: list[str], server: Scripted) -> None:
    server.put(TAGS, body)
    async with registry_parts(registry_at(server.origin)) as parts:
        assert list((await parts.registry.versions(parts.route())).names) == tags


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"tags":"x"}',
        b'{"tags":{}}',
        b"<html>",
        b"[" * 200_000,
        b'{"tags":[' + b"9" * 5000 + b"]}",
        b'{"tags":[],"tags":["x"]}',
    ],
)
async def test_what_is_no_list_of_tags_is_refused(body: bytes, server: Scripted) -> None:
    server.put(TAGS, body)
    async with registry_parts(registry_at(server.origin)) as parts:
        with pytest.raises(Corrupt) as caught:
            await parts.registry.versions(parts.route())
    assert caught.value.reason == "tags_invalid"


@pytest.mark.anyio
async def test_a_page_has_at_most_four_mebibytes(server: Scripted) -> None:
    server.put(TAGS, b'{"tags":["1"]}' + b" " * (4 << 20))
    async with registry_parts(registry_at(server.origin)) as parts:
        with pytest.raises(Corrupt) as caught:
            await parts.registry.versions(parts.route())
    assert caught.value.reason == "too_large"


@pytest.mark.anyio
async def test_a_list_of_more_tags_than_anybody_needs_is_cut_off(server: Scripted) -> None:
    tags = [f"1.0.{number}" for number in range(11)]
    async with registry_parts(registry_at(server.origin), limits=ListLimits(tags=10)) as parts:
        for count in (10, 11):
            server.put(TAGS, json.dumps({"tags": tags[:count]}).encode())
            assert list((await parts.registry.versions(parts.route())).names) == tags[:10]


@pytest.mark.anyio
async def test_pages_without_end_are_given_up(server: Scripted) -> None:
    def endless(request: Request) -> Answer:
        following = f"<{TAGS}?page={server.count()}>; rel=next"
        return Answer(200, {"Link": following}, b'{"tags":["1"]}')

    server.answers[TAGS] = endless
    async with registry_parts(registry_at(server.origin), limits=ListLimits(pages=5)) as parts:
        with pytest.raises(Corrupt) as caught:
            await parts.registry.versions(parts.route())
    assert caught.value.reason == "too_large"
    assert server.count() == 5


def _index_of(count: int, start: int = 0) -> bytes:
    descriptors = [
        Descriptor(OCI_MANIFEST, Digest.of(b"%d" % number), 1).to_json()
        for number in range(start, start + count)
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": descriptors}).encode()


@pytest.mark.anyio
async def test_as_many_referrers_as_anybody_has_are_listed_and_no_more(server: Scripted) -> None:
    server.put(REFERRERS, _index_of(20), **INDEX)
    async with registry_parts(registry_at(server.origin), limits=ListLimits(referrers=20)) as parts:
        assert len(await parts.registry.referrers(parts.route(), SUBJECT)) == 20
        server.put(REFERRERS, _index_of(21), **INDEX)
        with pytest.raises(Corrupt) as caught:
            await parts.registry.referrers(parts.route(), SUBJECT)
    assert caught.value.reason == "too_large"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body", [b"{}", OCI.image(10).manifest, b'{"schemaVersion":2,"manifests":[{}]}', b"<html>"]
)
async def test_referrers_that_are_no_image_index_are_refused(body: bytes, server: Scripted) -> None:
    server.put(REFERRERS, body, **INDEX)
    async with registry_parts(registry_at(server.origin)) as parts:
        with pytest.raises(Corrupt) as caught:
            await parts.registry.referrers(parts.route(), SUBJECT)
    assert caught.value.reason == "manifest_invalid"


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 404, 405, 501])
async def test_a_registry_that_knows_no_referrers_is_asked_for_the_tag(status: int, server: Scripted) -> None:
    server.answers[REFERRERS] = lambda _request: Answer(status)
    server.put(BY_TAG, _index_of(2), **INDEX)
    async with registry_parts(registry_at(server.origin)) as parts:
        assert len(await parts.registry.referrers(parts.route(), SUBJECT)) == 2


@pytest.mark.anyio
async def test_a_page_is_no_list_of_referrers_and_an_image_is_no_index_of_them(server: Scripted) -> None:
    server.put(REFERRERS, b"<html>", Content_Type="text/html")
    server.put(BY_TAG, OCI.image(10).manifest, Content_Type=OCI_MANIFEST)
    async with registry_parts(registry_at(server.origin)) as parts:
        assert await parts.registry.referrers(parts.route(), SUBJECT) == ()
    assert server.count(BY_TAG) == 1


@pytest.mark.anyio
async def test_a_blob_that_is_gone_when_its_rest_is_asked_for_is_a_broken_transfer(server: Scripted) -> None:
    content = b"x" * 100_000
    path = f"/v2/{NAME}/blobs/{Digest.of(content)}"
    server.answers[path] = lambda request: Answer(404 if "range" in request.headers else 200, {}, content)
    server.faults.breaks_at = [1000]
    descriptor = Descriptor("application/octet-stream", Digest.of(content), len(content))
    async with registry_parts(registry_at(server.origin)) as parts:
        with pytest.raises(Unavailable):
            async with parts.registry.blob(parts.route(), descriptor) as pieces:
                [piece async for piece in pieces]
    assert server.count(path) == 2


@pytest.mark.anyio
async def test_a_token_that_comes_in_a_list_is_none(server: Scripted) -> None:
    challenge = {"WWW-Authenticate": f'Bearer realm="{server.origin}/token"'}
    server.answers[TAGS] = lambda _request: Answer(401, challenge)
    server.put("/token", b'[{"token":"x"}]')
    async with registry_parts(registry_at(server.origin)) as parts:
        with pytest.raises(Corrupt) as caught:
            await parts.registry.versions(parts.route())
    assert caught.value.reason == "bad_token"
