"""Charts whose dependencies lead to this gateway: a variant of their own, made of what was pulled plain."""

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest

from gateway.helm.dependencies import MARK
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.encoding import dump_compact
from gateway.oci.errors import ErrorCode
from gateway.oci.manifest import Manifest, image_index
from gateway.oci.media_types import HELM_PROVENANCE_LAYER, OCI_IMAGE_INDEX, OCI_MANIFEST
from gateway.oci.outcomes import Missing
from gateway.oci.postgres_url import PostgresUrl
from gateway.oci.target import Target
from gateway.pulled import Cache
from gateway.sources.base import Comparable
from tests.dependents_house import (
    APP,
    APP_DIGEST,
    ELSEWHERE,
    HERE,
    NEAR,
    OTHER,
    PLAIN,
    RULES,
    SIGNED,
    TARGET,
    Opened,
    archive_of,
    layer_of,
    leads_to,
    make_app,
    refusal,
    source,
    with_app,
)
from tests.fakes.charts import make_chart
from tests.fakes.source import image_of, manifest_of
from tests.pull_house import DOWN, DUE
from tests.ruled_puller import OWN_HOST, ruled, said
from tests.targets_house import charts

pytestmark = [pytest.mark.slow, pytest.mark.anyio]


@pytest.fixture
def opened(tmp_path: Path, database: PostgresUrl | None) -> Opened:
    return partial(ruled, tmp_path / "data", RULES, database=database)


async def test_the_dependencies_lead_here_and_the_plain_chart_is_what_it_was(opened: Opened) -> None:
    async with opened(with_app()) as at:
        assert await at.pull(PLAIN, "1.0.0") == APP_DIGEST
        digest = await at.pull(NEAR, "1.0.0")
        assert leads_to(await archive_of(at, digest)) == HERE
        assert await at.pull(PLAIN, "1.0.0") == await at.pull(TARGET, "1.0.0") == APP_DIGEST != digest
        assert await archive_of(at, APP_DIGEST, PLAIN) == APP
        assert source(at).fetched == ["1.0.0"]


async def test_the_manifest_tells_where_its_dependencies_lead_and_so_does_its_config(opened: Opened) -> None:
    async with opened(with_app()) as at:
        manifest = json.loads((await at.pulled(NEAR, "1.0.0")).manifest.content)
        assert manifest["annotations"] == {MARK: f"oci://{OWN_HOST}"}
        config = json.loads(await at.read(NEAR, Digest.parse(manifest["config"]["digest"])))
        assert config["dependencies"] == [{"name": "redis", "version": "1.x", "repository": HERE}]


async def test_it_is_the_same_wherever_and_whenever_it_is_made(opened: Opened, tmp_path: Path) -> None:
    async with opened(with_app()) as at:
        digest = await at.pull(NEAR, "1.0.0")
    async with opened(beside=at) as restarted:
        pulled = await restarted.pulled(NEAR, "1.0.0")
        assert (pulled.cache, pulled.manifest.digest) == (Cache.HIT, digest)
    async with ruled(tmp_path / "elsewhere", RULES, with_app()) as elsewhere:
        assert await elsewhere.pull(NEAR, "1.0.0") == digest


async def test_many_in_two_workers_at_once_are_given_one(opened: Opened) -> None:
    async with opened(with_app()) as at, opened(beside=at) as other:
        pulls = [one.pull(NEAR, "1.0.0") for _ in range(10) for one in (at, other)]
        (digest,) = set(await asyncio.gather(*pulls))
        for one in (at, other):
            assert leads_to(await archive_of(one, digest)) == HERE


async def test_the_query_decides_for_one_request_whatever_the_rule_says(opened: Opened) -> None:
    async with opened(with_app()) as at:
        digest = await at.pull(NEAR, "1.0.0")
        assert await at.pull(NEAR, "1.0.0", rewrites="false") == APP_DIGEST
        assert await at.pull(PLAIN, "1.0.0", rewrites="true") == digest
        assert await at.pull(TARGET, "1.0.0", rewrites="true") == digest
        assert await at.pull(PLAIN, "1.0.0") == APP_DIGEST
        assert await at.pull(NEAR, "1.0.0") == digest


async def test_the_host_that_a_client_asks_under_never_gets_into_a_chart(opened: Opened) -> None:
    async with opened(with_app()) as at:
        digest = await at.pull(NEAR, "1.0.0", host="evil.example")
        assert leads_to(await archive_of(at, digest)) == HERE
        assert await at.pull(NEAR, "1.0.0") == digest
        assert await at.pull(PLAIN, "1.0.0", host="evil.example", rewrites="true") == digest


async def test_provenance_is_left_out_being_of_other_bytes(opened: Opened) -> None:
    async with opened(with_app(builds=_signed, compares=Comparable.MANIFEST)) as at:
        pulled = await at.pulled(SIGNED, "1.0.0", rewrites="true")
        assert len(json.loads(pulled.manifest.content)["layers"]) == 1
        assert leads_to(await at.read(SIGNED, layer_of(pulled.manifest))) == HERE
        assert await at.pull(SIGNED, "1.0.0") == _signed(APP).digest


def _signed(layer: bytes) -> Manifest:
    plain = json.loads(manifest_of(layer).content)
    plain["layers"].append(Descriptor(HELM_PROVENANCE_LAYER, Digest.of(b"{}"), 2).to_json())
    return Manifest.of(dump_compact(plain), OCI_MANIFEST)


async def test_without_a_public_url_the_answer_says_what_to_set_and_the_plain_one_is_served(
    opened: Opened,
) -> None:
    async with opened(with_app(), own_host=None) as at:
        for name, wish in ((NEAR, ""), (PLAIN, "true")):
            code, message = said(await refusal(at, name, rewrites=wish))
            assert code == "UNSUPPORTED"
            assert "setting PUBLIC_URL" in message
        assert source(at).asked == []
        assert await at.pull(PLAIN, "1.0.0") == await at.pull(NEAR, "1.0.0", rewrites="false") == APP_DIGEST


async def test_another_public_url_makes_another_variant(opened: Opened) -> None:
    async with opened(with_app()) as at:
        before = await at.pull(NEAR, "1.0.0")
    async with opened(beside=at, own_host="new.example:8443", offline="yes") as moved:
        digest = await moved.pull(NEAR, "1.0.0")
        assert leads_to(await archive_of(moved, digest)) == HERE.replace(OWN_HOST, "new.example:8443")
        assert leads_to(await archive_of(moved, before)) == HERE


async def test_a_chart_without_dependencies_elsewhere_is_served_as_it_is(opened: Opened) -> None:
    archive = make_chart("app", "1.0.0")
    async with opened(with_app(archive)) as at:
        assert await at.pull(NEAR, "1.0.0") == await at.pull(PLAIN, "1.0.0")
        assert await archive_of(at, manifest_of(archive).digest) == archive


def _listing(layer: bytes) -> Manifest:
    image = image_of(layer)
    content = image_index([Descriptor(image.media_type, image.digest, len(image.content))])
    return Manifest.of(content, OCI_IMAGE_INDEX)


@pytest.mark.parametrize("builds", [image_of, _listing])
async def test_what_is_no_chart_is_served_as_it_is(opened: Opened, builds: object) -> None:
    async with opened(with_app(b"a layer", builds=builds, compares=Comparable.MANIFEST)) as at:
        assert await at.pull(NEAR, "1.0.0") == await at.pull(PLAIN, "1.0.0")


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (b"no archive at all", "gzip"),
        (make_app(files={"Chart.lock": b"dependencies: {"}), "Chart.lock"),
        (APP[: len(APP) // 2], "cut short"),
    ],
    ids=["no archive", "a broken lock", "half an archive"],
)
async def test_a_chart_that_cannot_be_rewritten_says_why_and_the_plain_one_is_served(
    opened: Opened, archive: bytes, reason: str
) -> None:
    async with opened(with_app(archive)) as at:
        first, second = [await refusal(at) for _ in range(2)]
        assert (first.code, first.detail) == (ErrorCode.UNKNOWN, {"reason": "dependencies"})
        assert first.message.startswith(f"the dependencies of {NEAR} cannot be rewritten: ")
        assert reason in first.message
        assert (second.message, second is first) == (first.message, False)
        assert await at.pull(PLAIN, "1.0.0") == manifest_of(archive).digest
        source(at).layers["1.0.0"] = APP
        at.clock.advance(DUE)
        assert leads_to(await archive_of(at, await at.pull(NEAR, "1.0.0"))) == HERE


async def test_it_is_as_fresh_as_the_plain_one_and_follows_it(opened: Opened) -> None:
    async with opened(with_app()) as at:
        first = await at.pull(NEAR, "1.0.0")
        source(at).layers["1.0.0"] = make_app(text=b"greeting: hello\n")
        assert await at.pull(NEAR, "1.0.0") == first
        at.clock.advance(DUE)
        pulled = await at.pulled(NEAR, "1.0.0")
        assert (pulled.cache, pulled.confirmed_at) == (Cache.HIT, at.clock.seconds)
        assert pulled.manifest.digest != first
        assert leads_to(await archive_of(at, pulled.manifest.digest)) == HERE
        assert leads_to(await archive_of(at, first)) == HERE
        source(at).layers["1.0.0"] = APP
        at.clock.advance(DUE)
        assert await at.pull(NEAR, "1.0.0") == first


async def test_while_upstream_is_down_it_is_served_stale_as_the_plain_one_is(opened: Opened) -> None:
    async with opened(with_app()) as at:
        digest = await at.pull(NEAR, "1.0.0")
        confirmed_at = at.clock.seconds
        source(at).failure = DOWN
        at.clock.advance(DUE)
        pulled = await at.pulled(NEAR, "1.0.0")
        assert (pulled.cache, pulled.manifest.digest) == (Cache.STALE, digest)
        assert pulled.confirmed_at == confirmed_at
        assert (await refusal(at, tag="2.0.0")).code is ErrorCode.UNAVAILABLE


@pytest.mark.parametrize("tag", ["1.0.0", "v1.0.0"])
async def test_offline_it_is_made_of_what_is_held(opened: Opened, tag: str) -> None:
    async with opened(with_app()) as at:
        await at.pull(PLAIN, "1.0.0")
    async with opened(beside=at, offline="yes") as away:
        digest = await away.pull(NEAR, tag)
        assert leads_to(await archive_of(away, digest)) == HERE
        assert await away.pull(PLAIN, tag) == APP_DIGEST
        assert (await refusal(away, tag="2.0.0")).code is ErrorCode.MANIFEST_UNKNOWN


async def test_another_spelling_of_the_tag_is_the_same_chart(opened: Opened) -> None:
    async with opened(with_app()) as at:
        assert await at.pull(NEAR, "v1.0.0") == await at.pull(NEAR, "1.0.0")
        assert source(at).fetched == ["1.0.0"]


async def test_the_list_is_that_of_the_plain_chart_and_upstream_is_asked_for_it_once(opened: Opened) -> None:
    async with opened(with_app()) as at:
        assert await at.tags(NEAR) == await at.tags(PLAIN) == ["1.0.0"]
        assert source(at).asked == ["versions"]


async def test_what_was_dropped_is_listed_no_more(opened: Opened) -> None:
    async with opened(with_app()) as at:
        at.use(RULES.replace("drift: follow", "deleted: drop"))
        source(at).layers["2.0.0"] = make_app("2.0.0")
        await at.pull(NEAR, "1.0.0")
        del source(at).layers["1.0.0"]
        at.clock.advance(DUE)
        assert (await refusal(at)).code is ErrorCode.MANIFEST_UNKNOWN
        assert await at.tags(PLAIN) == await at.tags(NEAR) == ["2.0.0"]


async def test_what_another_worker_forgets_just_then_is_refused_and_found_the_next_time(
    opened: Opened,
) -> None:
    async with opened(with_app()) as at, opened(beside=at) as other:
        for _ in range(2):
            await at.pull(PLAIN, "1.0.0")
        await other.catalog.drop_tag(Target.parse(TARGET), "plain", "1.0.0")
        assert (await refusal(at)).message == f"{NEAR}:1.0.0 is gone again: ask once more"
        assert leads_to(await archive_of(other, await other.pull(NEAR, "1.0.0"))) == HERE


async def test_of_several_targets_it_is_made_of_what_the_home_has(opened: Opened) -> None:
    at_other = make_app(text=b"other")
    async with opened({TARGET: charts(), OTHER: charts(**{"1.0.0": at_other})}) as at:
        both = f"{TARGET}, {OTHER}"
        at.use(f"{RULES}  - {{repository: both/app, rewrite: [{both}], rewrite_dependencies: true}}\n")
        digest = await at.pull("both/app", "1.0.0")
        assert digest == await at.pull(ELSEWHERE, "1.0.0")
        source(at).layers["1.0.0"] = APP
        at.clock.advance(2)
        assert await at.pull("both/app", "1.0.0") == digest
        assert leads_to(await archive_of(at, digest, "both/app")) == HERE


async def test_who_may_not_have_the_plain_one_has_none(opened: Opened) -> None:
    async with opened(with_app()) as at:
        at.use(f"{RULES}upstreams: {{first.example.test: {{kind: helm, access: private}}}}")
        for name, wish in ((NEAR, ""), (PLAIN, "true"), (TARGET, "true")):
            assert (await refusal(at, name, rewrites=wish)).code is ErrorCode.UNAUTHORIZED
        assert source(at).asked == []


async def test_what_its_source_has_not_is_absent_here_too(opened: Opened) -> None:
    async with opened(with_app()) as at:
        assert (await refusal(at, tag="9.9.9")).code is ErrorCode.MANIFEST_UNKNOWN
        source(at).failure = Missing("no more")
        assert (await refusal(at, tag="1.0.0")).code is ErrorCode.MANIFEST_UNKNOWN
