"""A mirror list of many names: what one index tells of all of them is asked for once, whatever the rules."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.composed import HOST, upstream
from tests.fakes.charts import make_chart
from tests.sync_house import OLDEST, World, asked, mirror, world

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # whole gateways, live servers

NAMES = [f"chart-{number}" for number in range(12)]
CHARTS = [make_chart(name, "1.0.0") for name in NAMES]
LISTED = "".join(f"      - {{repository: {HOST}/{name}}}\n" for name in NAMES)
ENTRIES = f"    charts:\n{LISTED}"


@pytest.fixture
def upstreams() -> Iterator[World]:
    with world(*CHARTS) as made:
        yield made


@pytest.mark.parametrize("more", ["", "rules: [{repository: '**', fresh_for: 0s}]\n"])
async def test_an_index_is_asked_for_once_for_all_of_its_names(
    tmp_path: Path, upstreams: World, more: str
) -> None:
    async with mirror(tmp_path / "data", upstreams.rules(ENTRIES) + more) as made:
        report = await made.run()
        assert (report.fetched, report.failed) == (len(NAMES), 0)
        before = len(upstreams.repo.requests)
        report = await made.run()
        assert (report.held, report.fetched, report.failed) == (len(NAMES), 0, 0)
        assert asked(upstreams.repo, before) == ["GET /index.yaml"]


async def test_of_what_changed_all_is_seen(tmp_path: Path, upstreams: World) -> None:
    async with mirror(tmp_path / "data", upstreams.rules(ENTRIES)) as made:
        await made.run()
        upstreams.publish(*CHARTS[2:], make_chart(NAMES[5], "1.1.0"))
        before = len(upstreams.repo.requests)
        report = await made.run()
        assert (report.fetched, report.held, report.failed) == (1, len(NAMES) - 2, 2)
        assert {one.what for one in report.failures} == {f"{HOST}/{name}" for name in NAMES[:2]}
        assert all("has no chart" in one.reason for one in report.failures)
        assert asked(upstreams.repo, before).count(f"GET /{NAMES[5]}-1.1.0.tgz") == 1
        assert {f"{HOST}/{name}:1.0.0" for name in NAMES} <= await made.held()


async def test_while_the_index_cannot_be_had_every_name_is_told_and_nothing_goes(
    tmp_path: Path, upstreams: World
) -> None:
    async with mirror(tmp_path / "data", upstreams.rules(ENTRIES)) as made:
        await made.run()
        upstreams.repo.put("index.yaml", b"<html>")
        report = await made.run()
        assert (report.failed, report.removed) == (len(NAMES), 0)
        assert await made.held() == await made.kept() == {f"{HOST}/{name}:1.0.0" for name in NAMES}


async def test_where_a_registry_comes_first_it_is_asked_for_each(tmp_path: Path, upstreams: World) -> None:
    places = upstream(upstreams.repo.url, chain="[registry, helm]", kind="auto")
    rules = f"{OLDEST}upstreams:\n{places}sync:\n  - name: base\n{ENTRIES}"
    async with mirror(tmp_path / "data", rules) as made:
        report = await made.run()
        assert (report.fetched, report.failed) == (len(NAMES), 0)


async def test_what_charts_need_is_known_of_all_at_once_and_followed(
    tmp_path: Path, upstreams: World
) -> None:
    depends = [{"name": "base", "version": "^1.0.0", "repository": f"https://{HOST}"}]
    needy = [make_chart(name, "1.0.0", dependencies=depends) for name in NAMES]
    upstreams.publish(make_chart("base", "1.0.0"), *needy)
    entries = LISTED.replace("}\n", ", dependencies: true}\n")
    async with mirror(tmp_path / "data", upstreams.rules(f"    charts:\n{entries}")) as made:
        assert (await made.run()).fetched == len(NAMES) + 1
        upstreams.publish(make_chart("base", "1.0.0"), make_chart("base", "1.1.0"), *needy)
        before = len(upstreams.repo.requests)
        plan = await made.plan()
        assert [one.location for one in plan.fetched] == [f"{HOST}/base:1.1.0"]
        report = await made.run()
        assert (report.held, report.failed) == (len(NAMES) + 1, 0)  # it was read for the plan
        asked_for = asked(upstreams.repo, before)
        assert asked_for.count("GET /base-1.1.0.tgz") == 1
        assert not any("chart-" in one for one in asked_for)
