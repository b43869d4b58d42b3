"""``min_age`` through a whole gateway: what an index, an annotation or nobody says of real upstreams."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.composed import HOST, Composed, composed, upstream
from tests.fakes.charts import dump_index, index_entry, make_chart
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import OCI, Artifact
from tests.fakes.registry import FakeRegistry

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

REGISTRY = "registry.example.test"
WEEK = "defaults: {min_age: 7d}\n"
OLD, NEW = make_chart("demo", "1.0.0"), make_chart("demo", "2.0.0")
IMAGE = OCI.image(1000)


def days_ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    entries = [
        index_entry(NEW, "demo-2.0.0.tgz", created=days_ago(1)),
        index_entry(OLD, "demo-1.0.0.tgz", created=days_ago(8)),
    ]
    files = {"demo-1.0.0.tgz": OLD, "demo-2.0.0.tgz": NEW, "index.yaml": dump_index({"demo": entries})}
    with HelmRepo(files) as repo:
        yield repo


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


async def tags(at: Composed, name: str) -> list[str]:
    answer = await at.client.get(f"/v2/{name}/tags/list")
    found: list[str] = answer.json()["tags"]
    return found


async def test_of_charts_the_index_decides_for_pulls_and_lists_alike(repo: HelmRepo, tmp_path: Path) -> None:
    name = f"{HOST}/demo"
    async with composed(tmp_path, f"{WEEK}upstreams:\n{upstream(repo.url, kind='helm')}") as at:
        assert await tags(at, name) == ["1.0.0"]
        for tag in ("2.0.0", "v2.0.0"):
            path = f"/v2/{name}/manifests/{tag}"
            answers = await asyncio.gather(*(at.client.get(path) for _ in range(5)), at.client.head(path))
            assert {answer.status_code for answer in answers} == {404}
            assert answers[0].json()["errors"][0]["code"] == "MANIFEST_UNKNOWN"
            assert "is hidden by min_age of 604800 s: it is shown from" in answers[0].text
        assert (await at.manifest(name, "1.0.0")).status_code == 200
    assert repo.count_of("demo-2.0.0.tgz") == 0
    assert repo.count_of("index.yaml") == 1


async def test_what_was_pulled_before_the_rule_came_stays(repo: HelmRepo, tmp_path: Path) -> None:
    name, leads = f"{HOST}/demo", f"upstreams:\n{upstream(repo.url, kind='helm')}"
    async with composed(tmp_path, leads) as at:
        digest = (await at.manifest(name, "2.0.0")).headers["docker-content-digest"]
    async with composed(tmp_path, WEEK + leads) as at:
        assert await tags(at, name) == ["1.0.0", "2.0.0"]
        assert (await at.manifest(name, "2.0.0")).headers["docker-content-digest"] == digest
        assert (await at.manifest(name, digest)).status_code == 200


def push(registry: FakeRegistry, tag: str, artifact: Artifact, created: str | None = None) -> None:
    made = (
        artifact
        if created is None
        else artifact.changed(annotations={"org.opencontainers.image.created": created})
    )
    made.push_to(registry, "team/app", tag)


async def test_of_artifacts_the_annotation_decides_and_without_one_the_first_list(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    push(registry, "old", IMAGE, days_ago(8))
    push(registry, "old-index", OCI.image_index(10), days_ago(8))
    push(registry, "new", IMAGE, days_ago(1))
    push(registry, "untold", IMAGE)
    rules = f"{WEEK}upstreams:\n{upstream(registry.origin, REGISTRY, kind='registry')}"
    name = f"{REGISTRY}/team/app"
    async with composed(tmp_path, rules) as at:
        statuses = {
            tag: (await at.manifest(name, tag)).status_code for tag in ("old", "old-index", "new", "untold")
        }
        assert statuses == {"old": 200, "old-index": 200, "new": 404, "untold": 404}
        assert await tags(at, name) == ["old", "old-index"]
        assert (await at.manifest(name, "absent")).status_code == 404
        assert (await at.manifest(name, str(registry.find_digest("team/app", "untold")))).status_code == 200
        assert (await at.manifest(name, "untold")).status_code == 404
    assert not [request for request in registry.requests if "/blobs/" in request.path]


async def test_a_registry_that_is_down_hides_nothing(registry: FakeRegistry, tmp_path: Path) -> None:
    push(registry, "old", IMAGE, days_ago(8))
    registry.faults.status = 503
    rules = f"{WEEK}upstreams:\n{upstream(registry.origin, REGISTRY, kind='registry')}"
    async with composed(tmp_path, rules) as at:
        answer = await at.manifest(f"{REGISTRY}/team/app", "old")
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, "UNAVAILABLE")
