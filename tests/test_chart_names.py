"""Which charts lie just below a name, as mirror lists and classic indexes ask for them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.oci.errors import OciError
from gateway.settings import Settings
from tests.classic_house import CHARTS, House, house, rules_for
from tests.fakes.charts import dump_index, index_entry, make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # each with a gateway, seconds together


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(*CHARTS)) as running:
        yield running


async def under(at: House, prefix: str, host: str = "") -> list[str]:
    return list(await at.gateway.names.under(prefix, host))


async def test_names_come_from_the_index_that_a_prefix_leads_to(tmp_path: Path, repo: HelmRepo) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        assert await under(ours, "argo") == ["argo/demo", "argo/other"]
        assert await under(ours, "up.example.test") == ["up.example.test/demo", "up.example.test/other"]
        assert await under(ours, "nothing") == []
        assert await under(ours, "") == []
    assert repo.count_of("index.yaml") == 1


async def test_a_rule_that_renames_charts_gives_the_names_that_lead_to_them(
    tmp_path: Path, repo: HelmRepo
) -> None:
    renamed = "  - {repository: 'argo/my-*-chart', rewrite: 'up.example.test/$1'}\n"
    renamed += "  - {repository: 'cut/*', rewrite: 'up.example.test/de$1'}\n"
    async with house(tmp_path, rules_for(repo, more=renamed)) as ours:
        assert await under(ours, "argo") == [
            "argo/demo",
            "argo/my-demo-chart",
            "argo/my-other-chart",
            "argo/other",
        ]
        assert await under(ours, "cut") == ["cut/mo"]


async def test_names_that_rules_and_lists_spell_out_are_among_them(tmp_path: Path, repo: HelmRepo) -> None:
    written = "  - {repository: mine/app, rewrite: elsewhere.example.test/charts/app}\n"
    written += "  - {repository: mine/demo, rewrite: up.example.test/demo}\n"
    written += "  - {repository: mine/gone, rewrite: up.example.test/gone}\n"
    written += "  - {repository: mine/closed, deny: nobody may}\n"
    wished = (
        "sync:\n  - {name: wishes, charts: [{repository: mine/wished}, {repository: deeper/in/wished}]}\n"
    )
    written += "  - {repository: mine/wished, rewrite: up.example.test/gone}\n"
    async with house(tmp_path, rules_for(repo, more=written) + wished) as ours:
        assert await under(ours, "mine") == ["mine/app", "mine/demo", "mine/wished"]


async def test_names_that_are_held_are_among_them_also_offline(tmp_path: Path, repo: HelmRepo) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        await ours.pull("argo/demo", "1.0.0")
        repo.put("index.yaml", dump_index({}))
        ours.clock.advance(1000)
        assert await under(ours, "argo") == ["argo/demo"]
    repo.go_down()
    async with house(tmp_path, rules_for(repo), Settings(data_dir=tmp_path, offline=True)) as offline:
        assert await under(offline, "argo") == ["argo/demo"]
        assert await under(offline, "up.example.test") == ["up.example.test/demo"]


async def test_charts_that_no_name_can_have_are_left_out(tmp_path: Path) -> None:
    entry = index_entry(make_chart("Demo", "1.0.0"), "Demo-1.0.0.tgz")
    entries = {name: [entry] for name in ("Demo", "a/b", "demo")}
    with HelmRepo({"index.yaml": dump_index(entries)}) as repo:
        async with house(tmp_path, rules_for(repo)) as ours:
            assert await under(ours, "argo") == ["argo/demo"]


async def test_a_rule_for_a_host_counts_under_that_host_alone(tmp_path: Path, repo: HelmRepo) -> None:
    rule = "  - {host: charts.example.test, repository: 'stable/*', rewrite: up.example.test/$1}\n"
    async with house(tmp_path, rules_for(repo, more=rule)) as ours:
        assert await under(ours, "stable", "charts.example.test") == ["stable/demo", "stable/other"]
        assert await under(ours, "stable") == []


async def test_an_index_that_cannot_be_asked_is_told_where_nothing_else_is_known(
    tmp_path: Path, repo: HelmRepo
) -> None:
    repo.go_down()
    async with house(tmp_path, rules_for(repo)) as ours:
        with pytest.raises(OciError) as caught:
            await under(ours, "argo")
    assert caught.value.status == 503


async def test_five_thousand_charts_are_named(tmp_path: Path) -> None:
    entry: dict[str, object] = {"name": "x", "version": "1.0.0"}
    entries = {f"chart-{number}": [dict(entry)] for number in range(5_000)}
    with HelmRepo({"index.yaml": dump_index(entries)}) as repo:
        async with house(tmp_path, rules_for(repo)) as ours:
            assert len(await under(ours, "argo")) == 5_000
