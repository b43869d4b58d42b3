"""A chart out of a Helm repository: the archive the index names, checked, converted, and nothing else."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.media_types import HELM_CHART_LAYER, HELM_PROVENANCE_LAYER
from gateway.oci.outcomes import Corrupt, Missing, MissingName, Unavailable
from tests.composed import HOST
from tests.fakes.charts import dump_index, index_entry, make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.sources.helm_parts import MAX_BYTES, HelmParts, helm_parts

pytestmark = pytest.mark.slow  # many small tests, seconds together

INDEX = "index.yaml"
DEMO = make_chart("demo", "1.0.0")
OTHER = make_chart("demo", "2.0.0")
ANY = Digest.of(b"what a chart converts to is not known before")
PROVENANCE = b"-----BEGIN PGP SIGNED MESSAGE-----\n"


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(DEMO), prefix="charts") as repo:
        yield repo


def list_at(repo: HelmRepo, *urls: str, **changes: object) -> None:
    repo.put(INDEX, dump_index({"demo": [index_entry(DEMO, "x", urls=list(urls), **changes)]}))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("demo-1.0.0.tgz", "/charts/demo-1.0.0.tgz"),
        ("./demo-1.0.0.tgz", "/charts/demo-1.0.0.tgz"),
        ("../charts/demo-1.0.0.tgz", "/charts/demo-1.0.0.tgz"),
        ("/charts/demo-1.0.0.tgz", "/charts/demo-1.0.0.tgz"),
        (f"https://{HOST}/demo-1.0.0.tgz", "/charts/demo-1.0.0.tgz"),
        (f"HTTPS://{HOST.upper()}:443/demo-1.0.0.tgz", "/charts/demo-1.0.0.tgz"),
        ("demo-1.0.0.tgz?token=a%20b&c", "/charts/demo-1.0.0.tgz?token=a%20b&c"),
        ("demo%2D1.0.0.tgz", "/charts/demo%2D1.0.0.tgz"),
    ],
)
async def test_a_chart_url_is_resolved_against_the_repository(
    url: str, asked: str, repo: HelmRepo, tmp_path: Path
) -> None:
    list_at(repo, url)
    async with helm_parts(tmp_path, repo.url) as parts:
        await parts.fetch("1.0.0")
    assert repo.requests[-1].target == asked


@pytest.mark.anyio
async def test_the_urls_of_a_version_are_tried_in_their_order(repo: HelmRepo, tmp_path: Path) -> None:
    list_at(repo, "gone.tgz", "demo-1.0.0.tgz", "never.tgz")
    async with helm_parts(tmp_path, repo.url) as parts:
        fetched = await parts.fetch("1.0.0")
    assert [request.path for request in repo.requests] == [
        f"/charts/{name}" for name in (INDEX, "gone.tgz", "demo-1.0.0.tgz")
    ]
    assert fetched.origin == f"{repo.url}/demo-1.0.0.tgz"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("urls", "outcome"),
    [
        (("gone.tgz", "gone.tgz"), Missing),
        (("gone.tgz", "bad.tgz"), Corrupt),
        (("bad.tgz", "slow.tgz", "gone.tgz"), Unavailable),
        (("slow.tgz", "bad.tgz"), Unavailable),
        (("gone.tgz", "bad.tgz", "file:///x", "demo-1.0.0.tgz"), Corrupt),
        ((), Missing),
    ],
)
async def test_that_nobody_could_answer_outweighs_wrong_bytes_and_these_absence(
    urls: tuple[str, ...], outcome: type[Exception], repo: HelmRepo, tmp_path: Path
) -> None:
    list_at(repo, *urls, digest=None)
    repo.put("bad.tgz", b"no archive")
    repo.faults_of("slow.tgz").status = 503
    async with helm_parts(tmp_path, repo.url) as parts:
        with pytest.raises(outcome) as caught:
            await parts.fetch("1.0.0")
        await parts.source.drain()
        assert parts.blob_names() == {Digest.of(_index_of(repo)).hex}
    assert type(caught.value) is outcome


def _index_of(repo: HelmRepo) -> bytes:
    return repo.answer(repo.requests[0]).body


@pytest.mark.anyio
async def test_an_archive_that_changed_with_its_index_is_found_by_asking_for_both_anew(
    repo: HelmRepo, tmp_path: Path
) -> None:
    async with helm_parts(tmp_path, repo.url) as parts:
        await parts.versions()
        republished = make_chart("demo", "1.0.0", {"values.yaml": b"a: 1"})
        for path, content in repository_of(republished).items():
            repo.put(path, content)
        fetched = await parts.fetch("1.0.0")
    assert Digest.of(republished) in fetched.sizes
    assert (repo.count_of(INDEX), repo.count_of("demo-1.0.0.tgz")) == (2, 2)


@pytest.mark.anyio
async def test_an_archive_that_never_is_the_one_is_refused_after_the_second_time(
    repo: HelmRepo, tmp_path: Path
) -> None:
    repo.faults_of("demo-1.0.0.tgz").wrong_bytes = True
    async with helm_parts(tmp_path, repo.url) as parts:
        with pytest.raises(Corrupt) as caught:
            await parts.fetch("1.0.0")
        await parts.source.drain()
        assert parts.blob_names() == {Digest.of(_index_of(repo)).hex}
    assert caught.value.reason == "digest_mismatch"
    assert (repo.count_of(INDEX), repo.count_of("demo-1.0.0.tgz")) == (2, 2)


@pytest.mark.anyio
async def test_one_archive_is_fetched_once_for_all_who_want_it(repo: HelmRepo, tmp_path: Path) -> None:
    async with helm_parts(tmp_path, repo.url) as parts:
        fetched = await asyncio.gather(*[parts.fetch("1.0.0") for _ in range(20)])
    assert len({one.manifest.digest for one in fetched}) == 1
    assert repo.count_of("demo-1.0.0.tgz") == 1


@pytest.mark.anyio
async def test_two_versions_behind_one_url_are_checked_each(repo: HelmRepo, tmp_path: Path) -> None:
    entries = [
        index_entry(DEMO, "demo-1.0.0.tgz", version=version, digest=None) for version in ("1.0.0", "2.0.0")
    ]
    repo.put(INDEX, dump_index({"demo": entries}))
    async with helm_parts(tmp_path, repo.url) as parts:
        await parts.versions()
        good, bad = await asyncio.gather(parts.fetch("1.0.0"), parts.fetch("2.0.0"), return_exceptions=True)
    assert not isinstance(good, BaseException)
    assert isinstance(bad, Corrupt)
    assert bad.reason == "chart_mismatch"


@pytest.mark.anyio
async def test_an_archive_may_be_as_large_as_agreed_and_no_larger(repo: HelmRepo, tmp_path: Path) -> None:
    noise = b"".join(hashlib.sha512(b"%d" % number).digest() for number in range(MAX_BYTES // 64))
    large = make_chart("demo", "1.0.0", {"noise": noise})
    repo.put("demo-1.0.0.tgz", large)
    list_at(repo, "demo-1.0.0.tgz", digest=hashlib.sha256(large).hexdigest())
    async with helm_parts(tmp_path / "small", repo.url) as parts:
        with pytest.raises(Corrupt) as caught:
            await parts.fetch("1.0.0")
    assert caught.value.reason == "too_large"
    async with helm_parts(tmp_path / "large", repo.url, max_bytes=len(large)) as parts:
        assert Digest.of(large) in (await parts.fetch("1.0.0")).sizes


@pytest.mark.anyio
async def test_one_entry_serves_both_spellings_and_two_entries_are_two(
    repo: HelmRepo, tmp_path: Path
) -> None:
    async with helm_parts(tmp_path, repo.url) as parts:
        found = await parts.source.find(parts.route(), "v1.0.0")
        assert found.version == "1.0.0"
        both = [index_entry(DEMO, "demo-1.0.0.tgz", version=version) for version in ("v1.0.0", "1.0.0")]
        repo.put(INDEX, dump_index({"demo": both}))
        parts.clock.advance(300)
        for tag in ("v1.0.0", "1.0.0"):
            assert (await parts.source.find(parts.route(), tag)).version == tag


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tag", "version"),
    [("1.0.0_build.5", "1.0.0+build.5"), ("v1.0.0_build.5", "1.0.0+build.5"), ("1.1.0_a", "1.1.0+a")],
)
async def test_an_underscore_is_a_plus(tag: str, version: str, repo: HelmRepo, tmp_path: Path) -> None:
    entries = [index_entry(DEMO, "x", version=text) for text in ("1.0.0+build.5", "1.1.0+a")]
    repo.put(INDEX, dump_index({"demo": entries}))
    async with helm_parts(tmp_path, repo.url) as parts:
        assert (await parts.source.find(parts.route(), tag)).version == version


@pytest.mark.anyio
@pytest.mark.parametrize("tag", ["1.11", "latest", "1", "1.x", "^1"])
async def test_a_tag_is_never_a_range(tag: str, repo: HelmRepo, tmp_path: Path) -> None:
    repo.put(INDEX, dump_index({"demo": [index_entry(DEMO, "x", version="1.11.2")]}))
    async with helm_parts(tmp_path, repo.url) as parts:
        with pytest.raises(Missing):
            await parts.source.find(parts.route(), tag)


@pytest.mark.anyio
async def test_the_newest_versions_come_first_and_no_more_than_asked_for(
    repo: HelmRepo, tmp_path: Path
) -> None:
    versions = ("1.9.0", "1.10.0", "2.0.0-rc.1", "2.0.0-rc.10", "v1.10.1", "0.1.0", "2.0.0-alpha")
    entries = [index_entry(DEMO, "x", version=version) for version in versions]
    repo.put(INDEX, dump_index({"demo": entries}))
    async with helm_parts(tmp_path, repo.url) as parts:
        newest = [found.version async for found in parts.source.candidates(parts.route(), ANY, 5)]
    assert newest == ["2.0.0-rc.10", "2.0.0-rc.1", "2.0.0-alpha", "v1.10.1", "1.10.0"]


@pytest.mark.anyio
async def test_the_newest_of_an_index_that_could_not_be_asked_for_end_in_that_failure(
    repo: HelmRepo, tmp_path: Path
) -> None:
    async with helm_parts(tmp_path, repo.url) as parts:
        await parts.versions()
        parts.clock.advance(300)
        repo.go_down()
        newest = parts.source.candidates(parts.route(), ANY, 25)
        assert (await anext(newest)).version == "1.0.0"
        with pytest.raises(Unavailable):
            await anext(newest)


@pytest.mark.anyio
async def test_a_chart_or_a_version_that_is_not_there_is_missing_and_says_which(
    repo: HelmRepo, tmp_path: Path
) -> None:
    async with helm_parts(tmp_path, repo.url) as parts:
        with pytest.raises(MissingName, match=r"charts\.example\.test has no chart nothing"):
            await parts.versions("nothing")
        with pytest.raises(MissingName):
            await parts.fetch("1.0.0", "nothing")
        with pytest.raises(Missing, match=r"has no version 9\.9\.9 of demo") as caught:
            await parts.fetch("9.9.9")
    assert type(caught.value) is Missing


async def _provenance_of(parts: HelmParts) -> bytes | None:
    """The provenance layer of demo 1.0.0, where its manifest has one."""
    fetched = await parts.fetch("1.0.0")
    layers = json.loads(fetched.manifest.content)["layers"]
    found = [Digest.parse(layer["digest"]) for layer in layers if layer["mediaType"] == HELM_PROVENANCE_LAYER]
    if not found:
        assert len(layers) == 1
        return None
    assert fetched.sizes[found[0]] == layers[1]["size"]
    opened = await parts.blobs.open(found[0])
    assert opened is not None
    try:
        return await opened.read(0, opened.size)
    finally:
        opened.close()


@pytest.mark.anyio
async def test_the_provenance_is_a_layer_after_the_chart_where_it_is_wanted(
    repo: HelmRepo, tmp_path: Path
) -> None:
    repo.put("demo-1.0.0.tgz.prov", PROVENANCE)
    async with helm_parts(tmp_path / "plain", repo.url) as parts:
        assert await _provenance_of(parts) is None
    assert repo.count_of("demo-1.0.0.tgz.prov") == 0
    async with helm_parts(tmp_path / "provenance", repo.url, provenance="true") as parts:
        assert await _provenance_of(parts) == PROVENANCE


@pytest.mark.anyio
async def test_a_chart_without_provenance_is_served_without(repo: HelmRepo, tmp_path: Path) -> None:
    async with helm_parts(tmp_path, repo.url, provenance="true") as parts:
        assert await _provenance_of(parts) is None
    assert repo.count_of("demo-1.0.0.tgz.prov") == 1


@pytest.mark.anyio
@pytest.mark.parametrize(("size", "is_attached"), [(1 << 20, True), ((1 << 20) + 1, False)])
async def test_a_provenance_of_more_than_a_mebibyte_is_left_out(
    size: int, is_attached: bool, repo: HelmRepo, tmp_path: Path
) -> None:
    repo.put("demo-1.0.0.tgz.prov", b"x" * size)
    async with helm_parts(tmp_path, repo.url, provenance="true") as parts:
        assert (await _provenance_of(parts) is not None) == is_attached


@pytest.mark.anyio
async def test_a_provenance_that_cannot_be_had_now_is_an_outage_not_a_chart_without_for_ever(
    repo: HelmRepo, tmp_path: Path
) -> None:
    repo.faults_of("demo-1.0.0.tgz.prov").status = 503
    async with helm_parts(tmp_path, repo.url, provenance="true") as parts:
        with pytest.raises(Unavailable):
            await parts.fetch("1.0.0")


@pytest.mark.anyio
async def test_what_would_be_asked_can_be_told(repo: HelmRepo, tmp_path: Path) -> None:
    async with helm_parts(tmp_path, repo.url) as parts:
        assert parts.source.tells(parts.route()) == [f"{repo.url}/{INDEX}"]
    assert repo.count() == 0


@pytest.mark.anyio
async def test_a_helm_repository_has_no_referrers_and_no_single_blobs(repo: HelmRepo, tmp_path: Path) -> None:
    layer = Descriptor(HELM_CHART_LAYER, Digest.of(DEMO), len(DEMO))
    async with helm_parts(tmp_path, repo.url) as parts:
        assert await parts.source.referrers(parts.route(), ANY) == ()
        assert not await parts.source.has_blob(parts.route(), layer)
        with pytest.raises(Missing):
            async with parts.source.blob(parts.route(), layer):
                raise AssertionError("nothing is handed out")
    assert repo.count() == 0


@pytest.mark.anyio
async def test_a_list_tells_when_upstream_stood_by_it_and_why_it_is_not_todays(
    repo: HelmRepo, tmp_path: Path
) -> None:
    async with helm_parts(tmp_path, repo.url) as parts:
        fetched_at = parts.clock()
        first = await parts.source.versions(parts.route())
        assert (list(first.names), first.confirmed_at, first.failure) == (["1.0.0"], fetched_at, None)
        assert not parts.source.is_troubled(parts.route())
        parts.clock.advance(300)
        repo.go_down()
        second = await parts.source.versions(parts.route())
        assert (list(second.names), second.confirmed_at) == (["1.0.0"], fetched_at)
        assert isinstance(second.failure, Unavailable)
        assert parts.source.is_troubled(parts.route())
