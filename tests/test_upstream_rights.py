"""threats.md 1f, P1, P2, P6, P12 and P13: what came for one is not for another."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import delete

from gateway.access.readers import admit_operator
from gateway.oci.digest import Digest
from gateway.store.tables import repositories, rights, tags
from tests.composed import Composed, FakeDns, composed
from tests.fakes.charts import make_chart
from tests.fakes.images import OCI, helm_artifact
from tests.fakes.registry import FakeRegistry
from tests.threats import (
    APP,
    HOST,
    IMAGE,
    LAYER,
    LAYER_DIGEST,
    NAME,
    SIGNED,
    TAG,
    blob_path,
    receive,
    registry_line,
    registry_rules,
    serving,
    told,
)

pytestmark = pytest.mark.slow  # live servers, seconds together

PUBLIC = "public.example.test"
CHART = make_chart("app", "1.0.0", {"secret": b"of the private repository"})
ARTIFACT = helm_artifact(CHART)
NO_BLOB = (404, "BLOB_UNKNOWN", None)
NOT_SIGNED_IN = (401, "UNAUTHORIZED", None)


async def _warm_private(folder: Path, rules: str) -> None:
    """Have a private image and a private chart pulled, by who may."""
    async with serving(folder, rules, admit=admit_operator) as gateway:
        assert (await gateway.manifest(NAME, TAG)).status_code == 200
        assert (await receive(gateway, blob_path())).content == LAYER
        assert (await gateway.manifest(f"{HOST}/team/chart", TAG)).status_code == 200


@pytest.mark.anyio
async def test_p1_what_is_private_is_not_read_by_way_of_another_name(tmp_path: Path) -> None:
    with FakeRegistry(auth="basic") as private, FakeRegistry() as public:
        IMAGE.push_to(private, APP, TAG)
        ARTIFACT.push_to(private, "team/chart", TAG)
        other = OCI.image(b"other")
        other.push_to(public, APP, TAG)
        rules = registry_rules(private.origin, **SIGNED) + registry_line(public.origin, PUBLIC)
        await _warm_private(tmp_path, rules)
        async with serving(tmp_path, rules) as gateway:
            await gateway.manifest(f"{PUBLIC}/{APP}", TAG)
            asked_before = public.count()
            for name in (APP, "team/chart", "team/none"):
                for digest in (LAYER_DIGEST, Digest.of(CHART)):
                    path = blob_path(digest, f"{PUBLIC}/{name}")
                    assert told(await gateway.client.get(path)) == NO_BLOB
                    assert (await gateway.client.head(path)).status_code == 404
            assert public.count() == asked_before
            for manifest in (IMAGE, ARTIFACT):
                refused = await gateway.manifest(f"{PUBLIC}/{APP}", str(manifest.digest))
                assert refused.status_code == 404


@pytest.mark.anyio
async def test_p1_a_manifest_that_names_what_is_private_earns_no_right(tmp_path: Path) -> None:
    """Neither an image's, whose blobs are fetched when asked for, nor a chart's, whose are at once."""
    with FakeRegistry(auth="basic") as private, FakeRegistry() as public:
        IMAGE.push_to(private, APP, TAG)
        ARTIFACT.push_to(private, "team/chart", TAG)
        for name, hostile in (("evil/image", IMAGE), ("evil/chart", ARTIFACT)):
            public.push(name, TAG, hostile.manifest, hostile.media_type)
        rules = registry_rules(private.origin, **SIGNED)
        rules += registry_line(public.origin, PUBLIC, missing_for="0s")
        await _warm_private(tmp_path, rules)
        async with serving(tmp_path, rules) as gateway:
            assert (await gateway.manifest(f"{PUBLIC}/evil/image", TAG)).content == IMAGE.manifest
            for _ in range(2):
                assert told(await gateway.client.get(blob_path(name=f"{PUBLIC}/evil/image"))) == NO_BLOB
            chart = await gateway.manifest(f"{PUBLIC}/evil/chart", TAG)
            assert chart.status_code == 404
            assert (
                told(await gateway.client.get(blob_path(Digest.of(CHART), f"{PUBLIC}/evil/chart"))) == NO_BLOB
            )
            public.put_blob("evil/image", LAYER)  # now it has delivered, or confirmed, that it has the same
            assert (await receive(gateway, blob_path(name=f"{PUBLIC}/evil/image"))).content == LAYER


@pytest.mark.anyio
async def test_p1_what_was_taken_from_one_name_does_not_come_back_through_another(tmp_path: Path) -> None:
    with FakeRegistry() as first, FakeRegistry() as second:
        for registry in (first, second):
            IMAGE.push_to(registry, APP, TAG)
        rules = registry_rules(first.origin) + registry_line(second.origin, PUBLIC)
        async with serving(tmp_path, rules) as gateway:
            await gateway.manifest(NAME, TAG)
            assert (await receive(gateway, blob_path())).content == LAYER
            _forget(gateway, NAME)
            await gateway.manifest(f"{PUBLIC}/{APP}", TAG)
            assert (await receive(gateway, blob_path(name=f"{PUBLIC}/{APP}"))).content == LAYER
            asked_before = first.count()
            assert told(await gateway.client.get(blob_path())) == NO_BLOB
            assert first.count() == asked_before


def _forget(gateway: Composed, target: str) -> None:
    """As a purge will: every row of a target, and what workers have of it in memory."""
    with gateway.gateway.storage.engines.writer.begin() as connection:
        for table in (tags, rights, repositories):
            connection.execute(delete(table).where(table.c.target == target))
    gateway.gateway.storage.generation.advance()


@pytest.mark.anyio
async def test_p2_a_blob_that_no_manifest_names_is_asked_of_nobody(tmp_path: Path) -> None:
    dns = FakeDns()
    with FakeRegistry() as registry:
        IMAGE.push_to(registry, APP, TAG)
        async with composed(tmp_path, registry_rules(registry.origin), dns) as gateway:
            await gateway.manifest(NAME, TAG)
            asked_before, looked_up_before = registry.count(), len(dns.asked)
            for start in range(0, 1000, 50):
                digests = [Digest("sha256", f"{number:064x}") for number in range(start, start + 50)]
                asking = (gateway.client.get(blob_path(digest)) for digest in digests)
                assert {told(answer) for answer in await asyncio.gather(*asking)} == {NO_BLOB}
            unknown_host = blob_path(name="nowhere.example.org/app")
            assert told(await gateway.client.get(unknown_host)) == NO_BLOB
            assert (registry.count(), len(dns.asked)) == (asked_before, looked_up_before)


VERBS = [
    ("GET", f"manifests/{TAG}"),
    ("HEAD", f"manifests/{TAG}"),
    ("GET", f"manifests/{IMAGE.digest}"),
    ("GET", f"blobs/{LAYER_DIGEST}"),
    ("HEAD", f"blobs/{LAYER_DIGEST}"),
    ("GET", "tags/list"),
    ("GET", f"referrers/{IMAGE.digest}"),
    ("GET", "manifests/none"),
    ("GET", f"blobs/sha256:{'0' * 64}"),
]


@pytest.mark.anyio
@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("credentials", ["password", "token", "certificate"])
async def test_p6_what_we_sign_in_for_is_not_for_who_has_not_signed_in(
    credentials: str, is_warm: bool, tmp_path: Path
) -> None:
    keys = {
        "password": SIGNED,
        "token": {"token_env": "GATEWAY_SECRET_PASSWORD"},
        "certificate": {"cert_file": "client.pem", "key_file": "client.key"},
    }
    with FakeRegistry() as registry:
        for name in (APP, "team/chart"):
            IMAGE.push_to(registry, name, TAG)
        if is_warm:  # from before it was private
            await _warm_private(tmp_path, registry_rules(registry.origin))
        asked_before = registry.count()
        async with serving(tmp_path, registry_rules(registry.origin, **keys[credentials])) as gateway:
            for method, path in VERBS:
                refused = await gateway.client.request(method, f"/v2/{NAME}/{path}")
                assert refused.status_code == 401, (method, path)
                assert refused.headers["www-authenticate"].startswith("Basic ")
                assert method == "HEAD" or told(refused) == NOT_SIGNED_IN
            listed = await gateway.client.get("/v2/_catalog")
            assert listed.json() == {"repositories": []}
        assert registry.count() == asked_before


@pytest.mark.anyio
async def test_p6_the_rules_may_say_that_it_is_for_all(tmp_path: Path) -> None:
    with FakeRegistry(auth="basic") as registry:
        IMAGE.push_to(registry, APP, TAG)
        rules = registry_rules(registry.origin, access="anonymous", **SIGNED)
        async with serving(tmp_path, rules) as gateway:
            for method, path in VERBS[:-2]:
                answer = await gateway.client.request(method, f"/v2/{NAME}/{path}")
                assert answer.status_code == 200, (method, path)


SPELLINGS = [
    f"{HOST}./{APP}",
    f"{HOST}../{APP}",
    f"Registry.example.test/{APP}",
    f"{HOST.upper()}/{APP}",
    f"{HOST}:443/{APP}",
    f"{HOST}:5000/{APP}",
    f"{HOST}/Team/app",
    f"{HOST}/team/app.",
    f"{HOST}//team/app",
    f"{HOST}/team%2Fapp",
    f"{HOST}%3A443/{APP}",
]


@pytest.mark.anyio
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_p12_a_name_has_one_spelling(spelling: str, tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        IMAGE.push_to(registry, APP, TAG)
        async with serving(tmp_path, registry_rules(registry.origin)) as gateway:
            await gateway.manifest(NAME, TAG)
            before, asked_before = await gateway.stored(), registry.count()
            for path in (f"manifests/{TAG}", f"blobs/{LAYER_DIGEST}", "tags/list"):
                answer = await gateway.client.get(f"/v2/{spelling}/{path}")
                assert told(answer) == (400, "NAME_INVALID", None), answer.text
            assert (await gateway.stored(), registry.count()) == (before, asked_before)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "accept", ["*/*", "text/html", "application/vnd.docker.distribution.manifest.v1+json"]
)
async def test_p12_the_same_is_served_whatever_a_client_accepts(accept: str, tmp_path: Path) -> None:
    """Accept is no part of the key; what has another digest than was asked for is never made of it."""
    with FakeRegistry() as registry:
        IMAGE.push_to(registry, APP, TAG)
        async with serving(tmp_path, registry_rules(registry.origin)) as gateway:
            for _ in range(2):
                answer = await gateway.client.get(f"/v2/{NAME}/manifests/{TAG}", headers={"Accept": accept})
                assert answer.content == IMAGE.manifest
                assert answer.headers["content-type"] == IMAGE.media_type
        assert registry.count_of_manifest(APP, TAG) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("etag", [f'"{IMAGE.digest}"', f'W/"{IMAGE.digest}"', "*", f'"{LAYER_DIGEST}"'])
async def test_p13_a_guess_at_content_is_answered_after_authorisation_only(etag: str, tmp_path: Path) -> None:
    with FakeRegistry() as registry, FakeRegistry() as public:
        for name in (APP, "team/chart"):
            IMAGE.push_to(registry, name, TAG)
        other = OCI.image(b"other")
        other.push_to(public, APP, TAG)
        rules = registry_rules(registry.origin, **SIGNED) + registry_line(public.origin, PUBLIC)
        await _warm_private(tmp_path, rules)
        guess = {"If-None-Match": etag}
        async with serving(tmp_path, rules) as gateway:
            for method, path in VERBS:
                answer = await gateway.client.request(method, f"/v2/{NAME}/{path}", headers=guess)
                assert answer.status_code == 401, (method, path)
            for path in (f"manifests/{IMAGE.digest}", f"blobs/{LAYER_DIGEST}"):
                answer = await gateway.client.get(f"/v2/{PUBLIC}/{APP}/{path}", headers=guess)
                assert answer.status_code == 404, path
        async with serving(tmp_path, rules, admit=admit_operator) as gateway:
            answers = [
                await gateway.client.get(f"/v2/{NAME}/{path}", headers=guess) for _, path in VERBS[2:4]
            ]
            assert 304 in {answer.status_code for answer in answers}
