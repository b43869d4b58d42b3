"""What a bundle brought is served by the gateway that took it, whoever would be asked there for the same."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.bundle_import import ImportOptions
from gateway.caretaker import importer
from gateway.rules.model import SourceName
from tests.bundle_house import APP, Bundle, chart, tag_row
from tests.composed import Composed, composed, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

IMPORTED = chart("app", "1.0.0")


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(make_chart("app", "1.0.0"), make_chart("app", "2.0.0"))) as repo:
        yield repo


@pytest.fixture(params=[SourceName.HELM, SourceName.CHARTPROXY, SourceName.REGISTRY])
def bundle(request: pytest.FixtureRequest) -> bytes:
    """A chart as one of these gave it; the gateway that takes it asks ``helm`` alone."""
    bundle = Bundle().add(APP, {})
    (target,) = bundle.targets
    target.tags.append(tag_row("1.0.0", IMPORTED, source=request.param.value))
    bundle.artifacts.append(IMPORTED)
    return bundle.tar()


async def take(at: Composed, bundle: bytes) -> None:
    await importer(at.gateway).import_(io.BytesIO(bundle), ImportOptions())


async def served(at: Composed, tag: str) -> tuple[int, str | None, str | None]:
    answer = await at.manifest(APP, tag)
    return answer.status_code, answer.headers.get("x-cache"), answer.headers.get("docker-content-digest")


async def test_it_is_served_while_upstream_is_away(tmp_path: Path, repo: HelmRepo, bundle: bytes) -> None:
    repo.go_down()
    async with composed(tmp_path, "upstreams:\n" + upstream(repo.url, kind="helm")) as at:
        assert (await served(at, "1.0.0"))[0] == 503
        await take(at, bundle)
        assert await served(at, "1.0.0") == (200, "stale", IMPORTED.digest)


async def test_an_exact_version_stays_what_was_imported_though_upstream_has_other_content(
    tmp_path: Path, repo: HelmRepo, bundle: bytes
) -> None:
    async with composed(tmp_path, "upstreams:\n" + upstream(repo.url, kind="helm")) as at:
        await take(at, bundle)
        assert await served(at, "1.0.0") == (200, "hit", IMPORTED.digest)
        assert (await served(at, "2.0.0"))[:2] == (200, "miss")


@pytest.mark.parametrize(("deleted", "answer"), [("keep", 200), ("drop", 404)])
async def test_of_what_upstream_deleted_the_rules_decide(
    deleted: str, answer: int, tmp_path: Path, repo: HelmRepo, bundle: bytes
) -> None:
    repo.put("index.yaml", repository_of(make_chart("app", "2.0.0"))["index.yaml"])
    rules = f"defaults: {{deleted: {deleted}}}\nupstreams:\n" + upstream(repo.url, kind="helm")
    async with composed(tmp_path, rules) as at:
        await take(at, bundle)
        assert (await served(at, "1.0.0"))[0] == answer


async def test_what_was_pulled_from_a_source_that_is_asked_no_more_counts_no_more(
    tmp_path: Path, repo: HelmRepo
) -> None:
    rules = "upstreams:\n" + upstream(repo.url, kind="helm")
    async with composed(tmp_path, rules) as at:
        assert (await served(at, "1.0.0"))[0] == 200
    repo.go_down()
    async with composed(tmp_path, rules.replace("kind: helm", "kind: registry")) as at:
        assert (await served(at, "1.0.0"))[0] == 503
