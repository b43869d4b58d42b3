"""What an index may hold, how large it may be, and in which style it may be written."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.outcomes import Corrupt, MissingName
from tests.composed import HOST
from tests.fakes.charts import dump_index, index_entry, make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.sources.helm_parts import FRESH_SECONDS, MAX_BYTES, Clock, helm_parts

pytestmark = pytest.mark.slow  # many small tests, seconds together

INDEX = "index.yaml"
OLD = repository_of(make_chart("demo", "1.0.0"), make_chart("other", "2.0.0"))
NEW = repository_of(make_chart("demo", "1.1.0"))
FLOW = b'{apiVersion: v1, entries: {demo: [{name: demo, version: 1.0.0, urls: ["demo-1.0.0.tgz"]}]}}'


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    with HelmRepo(OLD, prefix="charts") as repo:
        yield repo


@pytest.mark.anyio
async def test_an_index_in_another_style_is_parsed_whole_once_for_all_charts_and_restarts(
    repo: HelmRepo, tmp_path: Path
) -> None:
    repo.put(INDEX, FLOW)
    clock = Clock()
    async with helm_parts(tmp_path, repo.url, clock=clock) as parts:
        assert await parts.versions() == ["1.0.0"]
    kept = parts.blob_names()
    async with helm_parts(tmp_path, repo.url, clock=clock) as parts:
        shelved = await parts.shelf.find(f"{repo.url}/{INDEX}#{HOST}")
        assert shelved is not None
        assert shelved.normalised_digest is not None
        assert kept == {shelved.digest.hex, shelved.normalised_digest.hex}
        await parts.blobs.delete(shelved.digest)  # the normal form alone is enough
        assert await parts.versions() == ["1.0.0"]
        assert repo.count_of(INDEX) == 1
        await parts.blobs.delete(shelved.normalised_digest)
    async with helm_parts(tmp_path, repo.url, clock=clock) as parts:
        with pytest.raises(MissingName):
            await parts.versions("other")
    assert parts.blob_names() == kept


@pytest.mark.anyio
async def test_what_an_index_replaces_is_forgotten(repo: HelmRepo, tmp_path: Path) -> None:
    repo.put(INDEX, FLOW)
    async with helm_parts(tmp_path, repo.url) as parts:
        await parts.versions()
        repo.put(INDEX, NEW[INDEX])
        parts.clock.advance(FRESH_SECONDS)
        await parts.versions()
    assert parts.blob_names() == {Digest.of(NEW[INDEX]).hex}


@pytest.mark.anyio
async def test_an_index_may_be_as_large_as_agreed_and_no_larger(repo: HelmRepo, tmp_path: Path) -> None:
    padding = b"#" * (MAX_BYTES - len(OLD[INDEX]))
    async with helm_parts(tmp_path, repo.url) as parts:
        repo.put(INDEX, OLD[INDEX] + padding)
        assert await parts.versions() == ["1.0.0"]
        repo.put(INDEX, OLD[INDEX] + padding + b"#")
        parts.clock.advance(FRESH_SECONDS)
        failure = (await parts.indexes.chart(parts.route())).failure
    assert isinstance(failure, Corrupt)
    assert failure.reason == "too_large"


@pytest.mark.anyio
@pytest.mark.slow
async def test_a_chart_of_more_versions_than_are_remembered_is_served(tmp_path: Path) -> None:
    line = "  - {{name: demo, version: 1.0.{}, urls: [a.tgz]}}\n"
    lines = "".join(line.format(number) for number in range(20_001))
    with HelmRepo({INDEX: f"apiVersion: v1\nentries:\n  demo:\n{lines}".encode()}) as repo:
        async with helm_parts(tmp_path, repo.url, max_bytes=4 * MAX_BYTES) as parts:
            assert len(await parts.versions()) == 20_001


@pytest.mark.anyio
@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><p>", b"\n <html>", b'<?xml version="1.0"?><html/>', b"<HEAD>"]
)
async def test_a_page_is_no_repository_and_where_one_was_promised_a_broken_one(
    page: bytes, repo: HelmRepo, tmp_path: Path
) -> None:
    repo.put(INDEX, page)
    async with helm_parts(tmp_path / "auto", repo.url) as parts:
        with pytest.raises(MissingName, match="web page"):
            await parts.versions()
    async with helm_parts(tmp_path / "helm", repo.url, kind="helm") as parts:
        with pytest.raises(Corrupt, match="web page"):
            await parts.versions()


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 405, 406])
async def test_who_refuses_the_question_has_no_repository_unless_one_was_promised(
    status: int, repo: HelmRepo, tmp_path: Path
) -> None:
    repo.faults.status = status
    async with helm_parts(tmp_path / "auto", repo.url) as parts:
        with pytest.raises(MissingName, match=str(status)):
            await parts.versions()
    async with helm_parts(tmp_path / "helm", repo.url, kind="helm") as parts:
        with pytest.raises(Corrupt, match=str(status)):
            await parts.versions()


@pytest.mark.anyio
async def test_no_index_is_no_repository(repo: HelmRepo, tmp_path: Path) -> None:
    repo.remove(INDEX)
    async with helm_parts(tmp_path, repo.url) as parts:
        with pytest.raises(MissingName, match=r"there is no Helm repository at charts\.example\.test"):
            await parts.versions()


@pytest.mark.anyio
async def test_entries_that_cannot_be_read_are_left_out(repo: HelmRepo, tmp_path: Path) -> None:
    chart = make_chart("demo", "1.0.0")
    entries = [index_entry(chart, "x.tgz", version=version) for version in (3, "1.0.0", "latest")]
    repo.put(INDEX, dump_index({"demo": entries}))
    async with helm_parts(tmp_path, repo.url) as parts:
        assert await parts.versions() == ["1.0.0"]
        view = await parts.indexes.chart(parts.route())
    assert [position for position, _ in view.entries.skipped] == [0, 2]
