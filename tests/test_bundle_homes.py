"""A name that leads to several targets serves each tag beyond the gap from where it was found before it."""

import io
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.bundle_export import ExportOptions
from gateway.bundle_import import ImportOptions
from gateway.caretaker import exporter, importer, selector
from tests.composed import Composed, composed, upstream
from tests.export_house import Gathering
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

HOSTS = ("a.example.test", "b.example.test")
NAME = "both/app"
RULES = "rules: [{repository: 'both/*', rewrite: [a.example.test/$1, b.example.test/$1]}]\n"


@pytest.fixture
async def outside(tmp_path: Path) -> AsyncIterator[Composed]:
    """The first target has 1.0.0 alone, the second 2.0.0."""
    with ExitStack() as stack:
        charts = [repository_of(make_chart("app", version)) for version in ("1.0.0", "2.0.0")]
        repos = [stack.enter_context(HelmRepo(files)) for files in charts]
        places = (upstream(repo.url, host, kind="helm") for host, repo in zip(HOSTS, repos, strict=True))
        async with composed(tmp_path / "outside", f"{RULES}upstreams:\n{''.join(places)}") as at:
            for tag in ("1.0.0", "2.0.0"):
                assert (await at.manifest(NAME, tag)).status_code == 200
            yield at


async def bundle_of(at: Composed) -> bytes:
    sink = Gathering()
    await exporter(at.gateway).export(await selector(at.gateway).all(), sink, ExportOptions())
    return bytes(sink.content)


@pytest.mark.parametrize("egress", ["egress: {mode: offline}\n", ""], ids=["offline", "nobody answers"])
async def test_a_tag_of_the_second_target_is_served_where_the_first_cannot_be_asked(
    outside: Composed, tmp_path: Path, egress: str
) -> None:
    places = "".join(upstream("http://127.0.0.1:1", host, kind="helm") for host in HOSTS)
    async with composed(tmp_path / "inside", f"{egress}{RULES}upstreams:\n{places}") as inside:
        await importer(inside.gateway).import_(io.BytesIO(await bundle_of(outside)), ImportOptions())
        for tag in ("1.0.0", "2.0.0"):
            served = await inside.manifest(NAME, tag)
            assert served.content == (await outside.manifest(NAME, tag)).content
        assert (await inside.manifest(NAME, "3.0.0")).status_code in {404, 503}
        index = await inside.client.get("/charts/both/index.yaml")
        assert "app-1.0.0.tgz" in index.text
        assert "app-2.0.0.tgz" in index.text
        assert (await inside.client.get("/charts/both/app-2.0.0.tgz")).status_code == 200


async def test_where_a_tag_stays_already_is_left_as_it_is(outside: Composed, tmp_path: Path) -> None:
    with HelmRepo(repository_of(make_chart("app", "2.0.0", description="another"))) as repo:
        places = "".join(upstream(repo.url, host, kind="helm") for host in HOSTS)
        async with composed(tmp_path / "inside", f"{RULES}upstreams:\n{places}") as inside:
            first = (await inside.manifest(NAME, "2.0.0")).content
            await importer(inside.gateway).import_(io.BytesIO(await bundle_of(outside)), ImportOptions())
            assert (await inside.manifest(NAME, "2.0.0")).content == first
