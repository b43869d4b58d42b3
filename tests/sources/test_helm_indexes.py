"""An index is fetched when due, kept when good, and a bad one harms nobody."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.oci.outcomes import Corrupt, Missing, MissingName, Unavailable
from gateway.sources.helm_indexes import Ask
from tests.composed import HOST, composed, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.sources.helm_parts import FRESH_SECONDS, Clock, helm_parts

pytestmark = pytest.mark.slow  # many small tests, seconds together

INDEX = "index.yaml"
OLD = repository_of(make_chart("demo", "1.0.0"), make_chart("other", "2.0.0"))
NEW = repository_of(make_chart("demo", "1.0.0"), make_chart("demo", "1.1.0"), make_chart("other", "2.0.0"))
MISSING_SECONDS = 30.0
BROKEN = b"apiVersion: v1\nentries: ["


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    with HelmRepo(OLD, prefix="charts") as repo:
        yield repo


def publish(repo: HelmRepo, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        repo.put(path, content)


@pytest.mark.anyio
async def test_fifty_charts_asked_at_once_fetch_one_index(tmp_path: Path) -> None:
    charts = [make_chart(f"chart-{number}", "1.0.0") for number in range(50)]
    with HelmRepo(repository_of(*charts)) as repo:
        async with helm_parts(tmp_path, repo.url) as parts:
            asked = [parts.versions(f"chart-{number}") for number in range(50)]
            assert await asyncio.gather(*asked) == [["1.0.0"]] * 50
        assert repo.count() == 1


@pytest.mark.anyio
async def test_a_fresh_index_is_asked_for_by_nobody_and_a_due_one_with_what_was_last_said(
    repo: HelmRepo, tmp_path: Path
) -> None:
    async with helm_parts(tmp_path, repo.url) as parts:
        for _ in range(3):
            assert await parts.versions() == ["1.0.0"]
        parts.clock.advance(FRESH_SECONDS - 1)
        await parts.versions("other")
        assert repo.count_of(INDEX) == 1
        parts.clock.advance(1)
        assert await parts.versions() == ["1.0.0"]
        parts.clock.advance(1)
        assert await parts.versions() == ["1.0.0"]
    assert repo.count_of(INDEX) == 2
    assert repo.requests[0].headers.keys().isdisjoint({"if-none-match", "if-modified-since"})
    assert {"if-none-match", "if-modified-since"} <= repo.requests[1].headers.keys()
    assert repo.requests[1].headers["accept-encoding"] == "gzip"


@pytest.mark.anyio
@pytest.mark.parametrize("has_validators", [True, False])
@pytest.mark.parametrize("gzips", [True, False])
async def test_what_was_published_is_seen_once_the_index_is_due(
    has_validators: bool, gzips: bool, tmp_path: Path
) -> None:
    with HelmRepo(OLD, gzips=gzips) as repo:
        repo.has_validators = has_validators
        async with helm_parts(tmp_path, repo.url) as parts:
            await parts.versions()
            publish(repo, NEW)
            assert await parts.versions() == ["1.0.0"]
            parts.clock.advance(FRESH_SECONDS)
            assert set(await parts.versions()) == {"1.0.0", "1.1.0"}
            assert repo.count_of(INDEX) == 2


@pytest.mark.anyio
async def test_a_clock_that_was_set_back_does_not_make_an_index_fresh_for_years(
    repo: HelmRepo, tmp_path: Path
) -> None:
    async with helm_parts(tmp_path, repo.url) as parts:
        await parts.versions()
        parts.clock.advance(-1e9)
        await parts.versions()
    assert repo.count_of(INDEX) == 2


@pytest.mark.anyio
async def test_a_restart_keeps_the_index_and_what_was_said_of_it(repo: HelmRepo, tmp_path: Path) -> None:
    clock = Clock()
    for seconds, count in ((0.0, 1), (FRESH_SECONDS - 1, 1), (1.0, 2)):
        clock.advance(seconds)
        async with helm_parts(tmp_path, repo.url, clock=clock) as parts:
            assert await parts.versions() == ["1.0.0"]
        assert repo.count_of(INDEX) == count
    assert "if-none-match" in repo.requests[-1].headers


@pytest.mark.anyio
async def test_an_index_that_is_fetched_while_another_is_being_kept_is_kept_too(
    repo: HelmRepo, tmp_path: Path
) -> None:
    clock = Clock()
    async with helm_parts(tmp_path, repo.url, clock=clock) as parts:
        await parts.indexes.chart(parts.route())
        publish(repo, NEW)
        await parts.indexes.chart(parts.route(), ask=Ask.ANEW)
    repo.go_down()
    async with helm_parts(tmp_path, repo.url, clock=clock) as parts:
        assert set(await parts.versions()) == {"1.0.0", "1.1.0"}
        shelved = await parts.shelf.find(f"{repo.url}/{INDEX}#{HOST}")
        assert shelved is not None
        assert shelved.digest == Digest.of(NEW[INDEX])
        assert parts.blob_names() == {shelved.digest.hex}


@pytest.mark.anyio
@pytest.mark.parametrize("broken", [BROKEN, b"", b"- a list", b"<!doctype html><p>Back soon", b"[" * 30_000])
async def test_a_broken_index_keeps_the_last_good_one_until_a_good_one_comes(
    broken: bytes, repo: HelmRepo, tmp_path: Path
) -> None:
    async with helm_parts(tmp_path, repo.url) as parts:
        await parts.versions()
        repo.put(INDEX, broken)
        parts.clock.advance(FRESH_SECONDS)
        view = await parts.indexes.chart(parts.route())
        assert [entry.version for entry in view.entries.versions] == ["1.0.0"]
        assert isinstance(view.failure, Corrupt)
        assert await parts.versions("other") == ["2.0.0"]
        with pytest.raises(Corrupt):  # whether it has what the last good one has not, nobody knows
            await parts.source.find(parts.route(), "9.9.9")
        publish(repo, NEW)
        assert set(await parts.versions()) == {"1.0.0", "1.1.0"}
        assert (await parts.indexes.chart(parts.route())).failure is None


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["down", "500", "429", "reset", "truncated"])
async def test_an_outage_keeps_the_last_good_index(fault: str, repo: HelmRepo, tmp_path: Path) -> None:
    async with helm_parts(tmp_path, repo.url) as parts:
        await parts.versions()
        parts.clock.advance(FRESH_SECONDS)
        publish(repo, NEW)
        _spoil(repo, fault)
        view = await parts.indexes.chart(parts.route())
        assert [entry.version for entry in view.entries.versions] == ["1.0.0"]
        assert isinstance(view.failure, Unavailable)


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["down", "500", "429", "reset", "truncated"])
async def test_an_outage_with_no_index_at_hand_is_told(fault: str, repo: HelmRepo, tmp_path: Path) -> None:
    _spoil(repo, fault)
    async with helm_parts(tmp_path, repo.url) as parts:
        for asked in (parts.versions(), parts.source.find(parts.route(), "1.0.0")):
            with pytest.raises(Unavailable):
                await asked


def _spoil(repo: HelmRepo, fault: str) -> None:
    match fault:
        case "down":
            repo.go_down()
        case "reset":
            repo.faults.reset = True
        case "truncated":
            repo.faults.truncated = True
        case status:
            repo.faults.status = int(status)


@pytest.mark.anyio
@pytest.mark.parametrize("damage", ["gone", "changed", "cut"])
async def test_an_index_that_the_disk_lost_or_changed_is_fetched_anew(
    damage: str, repo: HelmRepo, tmp_path: Path
) -> None:
    clock = Clock()
    async with helm_parts(tmp_path, repo.url, clock=clock) as parts:
        await parts.versions()
    (place,) = (path for path in (tmp_path / "blobs").rglob("*") if path.is_file())
    content = place.read_bytes()
    match damage:
        case "gone":
            place.unlink()
        case "changed":
            place.write_bytes(content.replace(b"1.0.0", b"6.6.6"))
        case _:
            place.write_bytes(content[:40])
    async with helm_parts(tmp_path, repo.url, clock=clock) as parts:
        assert await parts.versions() == ["1.0.0"]
        assert "if-none-match" not in repo.requests[-1].headers
    assert place.read_bytes() == content


@pytest.mark.anyio
async def test_a_lost_index_that_cannot_be_had_is_an_outage(repo: HelmRepo, tmp_path: Path) -> None:
    clock = Clock()
    async with helm_parts(tmp_path, repo.url, clock=clock) as parts:
        await parts.versions()
    next(path for path in (tmp_path / "blobs").rglob("*") if path.is_file()).unlink()
    repo.go_down()
    async with helm_parts(tmp_path, repo.url, clock=clock) as parts:
        with pytest.raises(Unavailable):
            await parts.versions()


@pytest.mark.anyio
async def test_a_version_missing_from_a_fresh_index_is_looked_for_at_once_but_not_more_often_than_agreed(
    repo: HelmRepo, tmp_path: Path
) -> None:
    async with helm_parts(tmp_path, repo.url) as parts:
        await parts.versions()
        publish(repo, NEW)
        assert (await parts.source.find(parts.route(), "1.1.0")).version == "1.1.0"
        assert repo.count_of(INDEX) == 2
        for tag in ("9.9.9", "8.8.8", "1.1.1"):
            with pytest.raises(Missing):
                await parts.source.find(parts.route(), tag)
        with pytest.raises(MissingName):
            await parts.source.find(parts.route("nothing"), "1.0.0")
        assert repo.count_of(INDEX) == 2
        parts.clock.advance(MISSING_SECONDS)
        with pytest.raises(Missing):
            await parts.source.find(parts.route(), "9.9.9")
        assert repo.count_of(INDEX) == 3


@pytest.mark.anyio
async def test_the_agreement_outlasts_a_restart(repo: HelmRepo, tmp_path: Path) -> None:
    clock = Clock()
    for _ in range(3):
        async with helm_parts(tmp_path, repo.url, clock=clock) as parts:
            await parts.versions()
            with pytest.raises(Missing):
                await parts.source.find(parts.route(), "9.9.9")
    assert repo.count_of(INDEX) == 2


@pytest.mark.anyio
async def test_a_missing_version_whose_upstream_is_down_is_an_outage(repo: HelmRepo, tmp_path: Path) -> None:
    async with helm_parts(tmp_path, repo.url) as parts:
        await parts.versions()
        repo.go_down()
        with pytest.raises(Unavailable):
            await parts.source.find(parts.route(), "9.9.9")


@pytest.mark.anyio
async def test_an_index_is_not_for_those_who_may_not_fetch_it_themselves(
    repo: HelmRepo, tmp_path: Path
) -> None:
    """Both names lead to the same URL; only one of them may be on a private network."""
    names = ("allowed.example.test", "refused.example.test")
    rules = "".join(
        upstream(repo.url, name, allow_private=may)
        for name, may in zip(names, ("true", "false"), strict=True)
    )
    async with composed(tmp_path, f"upstreams:\n{rules}") as gateway:
        answers = [await gateway.client.get(f"/v2/{name}/demo/tags/list") for name in names]
    assert [answer.status_code for answer in answers] == [200, 404]
