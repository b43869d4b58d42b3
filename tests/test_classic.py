"""Classic chart repositories: what an index lists, how fresh it is, and what is said where there is none."""

import asyncio
import gzip
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.settings import Settings
from tests.classic_house import ALL, CHARTS, FRESH_SECONDS, NEW, OLD, house, read_index, rules_for
from tests.fakes.charts import dump_index, index_entry, index_of, make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import helm_artifact
from tests.fakes.registry import FakeRegistry
from tests.pull_house import until

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # each with a gateway, seconds together

INDEX = "/charts/argo/index.yaml"


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(*CHARTS)) as running:
        yield running


def rules_for_both(first: HelmRepo, second: HelmRepo) -> str:
    return (
        f"upstreams:\n  a.example.test: {{kind: helm, url: '{first.url}', allow_private: true}}\n"
        f"  b.example.test: {{kind: helm, url: '{second.url}', allow_private: true}}\n"
        "rules:\n  - {repository: argo/*, rewrite: [a.example.test/$1, b.example.test/$1]}\n"
    )


def digest_of(archive: bytes) -> str:
    return sha256(archive).hexdigest()


async def test_an_index_lists_what_upstream_has_and_leads_to_this_gateway(
    tmp_path: Path, repo: HelmRepo
) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        entries = await ours.entries()
        assert await ours.listed() == ALL
        assert await ours.listed("up.example.test") == ALL
    assert [one["urls"] for one in entries["demo"]] == [["demo-1.0.0.tgz"], ["demo-1.1.0.tgz"]]
    assert [one["digest"] for one in entries["demo"]] == [digest_of(OLD), digest_of(NEW)]
    assert entries["demo"][0]["description"] == "the old one"
    assert repo.count_of("index.yaml") == 1


async def test_what_the_rules_hide_is_not_listed(tmp_path: Path, repo: HelmRepo) -> None:
    async with house(tmp_path, rules_for(repo, "versions: '>=1.1.0'")) as ours:
        assert await ours.listed() == {"demo": ["1.1.0"]}
        ours.use(rules_for(repo, "tags: {deny: ['1.*']}"))
        assert await ours.listed() == {"other": ["2.0.0-rc.1+b.5"]}
        ours.use(rules_for(repo, more="  - {repository: argo/demo, deny: not here}\n"))
        assert await ours.listed() == {"other": ["2.0.0-rc.1+b.5"]}


async def test_what_is_too_young_is_listed_once_it_is_old_enough_or_held(
    tmp_path: Path, repo: HelmRepo
) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        await ours.pull("argo/demo", "1.0.0")
        made_at = 1_714_979_289.0  # CREATED of tests.fakes.charts
        ours.clock.seconds = made_at + 5
        ours.use(rules_for(repo, "min_age: 60s"))
        assert await ours.listed() == {"demo": ["1.0.0"]}
        ours.clock.advance(60)
        assert await ours.listed() == ALL


async def test_an_entry_without_a_date_counts_from_when_it_is_first_listed(tmp_path: Path) -> None:
    entries = {"demo": [index_entry(OLD, "demo-1.0.0.tgz", created=None)]}
    with HelmRepo({"index.yaml": dump_index(entries)}) as repo:
        async with house(tmp_path, rules_for(repo, "min_age: 1m")) as ours:
            assert await ours.refusal(INDEX) == (404, "NAME_UNKNOWN")
            ours.clock.advance(120)
            assert await ours.listed() == {"demo": ["1.0.0"]}


async def test_a_held_version_stays_when_upstream_deletes_it(tmp_path: Path, repo: HelmRepo) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        await ours.pull("argo/demo", "1.0.0")
        await ours.pull("argo/other", "2.0.0-rc.1_b.5")
        repo.put("index.yaml", index_of({"demo-1.1.0.tgz": NEW}))
        ours.clock.advance(3 * FRESH_SECONDS)
        entries = await ours.entries()
        assert await ours.listed() == {"demo": ["1.1.0", "1.0.0"], "other": ["2.0.0-rc.1+b.5"]}
        held = entries["demo"][1]
        assert (held["description"], held["digest"]) == ("the old one", digest_of(OLD))
        assert (await ours.get("/charts/argo/demo-1.0.0.tgz")).content == OLD


async def test_of_a_chart_released_anew_the_digest_is_that_of_the_archive_that_is_served(
    tmp_path: Path, repo: HelmRepo
) -> None:
    again = make_chart("demo", "1.0.0", description="released anew")
    async with house(tmp_path, rules_for(repo)) as ours:
        await ours.pull("argo/demo", "1.0.0")
        files = repository_of(again, NEW)
        for path, content in files.items():
            repo.put(path, content)
        ours.clock.advance(3 * FRESH_SECONDS)
        assert await ours.digest("1.0.0") == digest_of(OLD)
        assert (await ours.get("/charts/argo/demo-1.0.0.tgz")).content == OLD


async def test_rewritten_charts_have_a_digest_once_they_are_made(tmp_path: Path) -> None:
    required = [{"name": "other", "version": "2.x.x", "repository": "https://deps.example.test/charts"}]
    with HelmRepo(repository_of(make_chart("app", "1.0.0", dependencies=required))) as repo:
        rules = rules_for(repo, "rewrite_dependencies: true")
        settings = Settings(data_dir=tmp_path)
        async with house(tmp_path, rules, settings) as ours:
            in_force = ours.gateway.switch.in_force
            ours.gateway.switch.put(
                replace(in_force, rule_set=replace(in_force.rule_set, own_host="gateway.example.test"))
            )
            assert await ours.digest("1.0.0", "app") is None
            archive = (await ours.get("/charts/argo/app-1.0.0.tgz")).content
            ours.clock.advance(3 * FRESH_SECONDS)
            assert await ours.digest("1.0.0", "app") == digest_of(archive)
            assert await ours.refusal("/charts/argo/app-1.0.0.tgz.prov") == (404, "MANIFEST_UNKNOWN")


async def test_of_several_targets_the_first_that_has_a_version_gives_it(tmp_path: Path) -> None:
    ours_too = make_chart("demo", "1.0.0", description="of the second")
    more = make_chart("demo", "3.0.0")
    only_there = make_chart("third", "1.0.0")
    with HelmRepo(repository_of(OLD)) as first, HelmRepo(repository_of(ours_too, more, only_there)) as second:
        async with house(tmp_path, rules_for_both(first, second)) as ours:
            assert await ours.listed() == {"demo": ["1.0.0", "3.0.0"], "third": ["1.0.0"]}
            assert await ours.digest("1.0.0") == digest_of(OLD)
            assert (await ours.get("/charts/argo/demo-3.0.0.tgz")).content == more


async def test_a_version_stays_at_the_target_that_had_it_first(tmp_path: Path) -> None:
    elsewhere = make_chart("demo", "1.0.0", description="of the second")
    with HelmRepo(repository_of(NEW)) as first, HelmRepo(repository_of(elsewhere)) as second:
        async with house(tmp_path, rules_for_both(first, second)) as ours:
            await ours.pull("argo/demo", "1.0.0")
            for path, content in repository_of(OLD, NEW).items():
                first.put(path, content)
            ours.clock.advance(3 * FRESH_SECONDS)
            assert await ours.digest("1.0.0") == digest_of(elsewhere)


async def test_a_narrower_rule_gives_its_chart_from_elsewhere(tmp_path: Path, repo: HelmRepo) -> None:
    mine = make_chart("demo", "9.0.0")
    with HelmRepo(repository_of(mine)) as own:
        narrower = "  - {repository: argo/demo, rewrite: own.example.test/demo}\n"
        key = f"upstreams:\n  own.example.test: {{kind: helm, url: '{own.url}', allow_private: true}}\n"
        rules = rules_for(repo, more=narrower).replace("upstreams:\n", key)
        async with house(tmp_path, rules) as ours:
            assert await ours.listed() == {"demo": ["9.0.0"], "other": ["2.0.0-rc.1+b.5"]}


async def test_a_native_registry_lists_what_is_held_or_synced(tmp_path: Path) -> None:
    chart, image = make_chart("native", "0.1.0", description="held"), make_chart("wished", "1.0.0")
    with FakeRegistry() as registry:
        for version in ("0.1.0", "0.2.0"):
            helm_artifact(chart).push_to(registry, "charts/native", version)
        helm_artifact(image).push_to(registry, "charts/wished", "1.0.0")
        helm_artifact(image).push_to(registry, "charts/wished", "latest")
        helm_artifact(image).push_to(registry, "charts/nobody-asked", "1.0.0")
        key = f"{{kind: registry, url: '{registry.origin}', allow_private: true}}"
        rules = (
            f"upstreams:\n  reg.example.test: {key}\n"
            "rules:\n  - {repository: native/*, rewrite: reg.example.test/charts/$1}\n"
            "sync:\n  - {name: wishes, charts: [{repository: native/wished}]}\n"
        )
        async with house(tmp_path, rules) as ours:
            await ours.pull("native/native", "0.1.0")
            entries = await ours.entries("native")
            assert await ours.listed("native") == {"native": ["0.2.0", "0.1.0"], "wished": ["1.0.0"]}
            registry.go_down()
            ours.clock.advance(FRESH_SECONDS)
            stale = await ours.index("native")
    assert entries["native"][1]["description"] == "held"
    assert stale.headers["x-cache"] == "stale"


async def test_what_upstream_lists_is_asked_for_again_when_it_is_due(tmp_path: Path, repo: HelmRepo) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        await ours.listed()
        repo.put("index.yaml", index_of({"demo-1.1.0.tgz": NEW}))
        ours.clock.advance(FRESH_SECONDS - 1)
        assert await ours.listed() == ALL
        ours.clock.advance(FRESH_SECONDS + 1)
        assert await ours.listed() == {"demo": ["1.1.0"]}


async def test_little_past_fresh_an_index_is_served_and_upstream_asked_behind(
    tmp_path: Path, repo: HelmRepo
) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        await ours.listed()
        repo.put("index.yaml", index_of({"demo-1.1.0.tgz": NEW}))
        ours.clock.advance(FRESH_SECONDS + 1)
        assert (await ours.index()).headers["x-cache"] == "stale"

        async def is_new() -> bool:
            await asyncio.sleep(0)  # what is in memory lets nobody else in
            return await ours.listed() == {"demo": ["1.1.0"]}

        await until(is_new)


async def test_while_upstream_is_down_the_last_index_is_served_as_stale(
    tmp_path: Path, repo: HelmRepo
) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        await ours.listed()
        repo.go_down()
        ours.clock.advance(5 * FRESH_SECONDS)
        answer = await ours.index()
        assert (answer.status_code, answer.headers["x-cache"]) == (200, "stale")
        assert int(answer.headers["age"]) == 5 * FRESH_SECONDS
    async with house(tmp_path, rules_for(repo), clock=ours.clock) as restarted:
        assert await restarted.listed() == ALL


async def test_a_broken_index_never_replaces_a_good_one(tmp_path: Path, repo: HelmRepo) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        await ours.listed()
        repo.put("index.yaml", b"entries: [nothing of the kind\n")
        ours.clock.advance(3 * FRESH_SECONDS)
        answer = await ours.index()
        assert (answer.headers["x-cache"], len(read_index(answer.content))) == ("stale", 2)


async def test_without_anything_upstreams_failures_are_told(tmp_path: Path, repo: HelmRepo) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        repo.put("index.yaml", b"entries: [nothing of the kind\n")
        assert await ours.refusal(INDEX) == (502, "UNKNOWN")
        repo.go_down()
        answer = await ours.index()
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert await ours.refusal("/charts/nothing/index.yaml") == (404, "NAME_UNKNOWN")
        assert await ours.refusal("/charts/argo/deeper/index.yaml") == (404, "NAME_UNKNOWN")


async def test_that_there_is_no_index_is_remembered_for_a_while(tmp_path: Path, repo: HelmRepo) -> None:
    repo.remove("index.yaml")
    async with house(tmp_path, rules_for(repo)) as ours:
        for _ in range(3):
            assert await ours.refusal(INDEX) == (404, "NAME_UNKNOWN")
        assert repo.count_of("index.yaml") == 1
        repo.put("index.yaml", index_of({"demo-1.0.0.tgz": OLD}))
        ours.clock.advance(60)
        assert await ours.listed() == {"demo": ["1.0.0"]}


async def test_what_is_private_is_401_and_what_is_denied_403(tmp_path: Path, repo: HelmRepo) -> None:
    private = rules_for(repo).replace("allow_private: true", "allow_private: true, access: private")
    async with house(tmp_path, private) as ours:
        assert await ours.refusal(INDEX) == (401, "UNAUTHORIZED")
        assert await ours.refusal("/charts/argo/demo-1.0.0.tgz") == (401, "UNAUTHORIZED")
        ours.use(rules_for(repo, more="  - {repository: argo/**, deny: nothing of it}\n"))
        assert await ours.refusal(INDEX) == (403, "DENIED")
        assert await ours.refusal("/charts/argo/demo-1.0.0.tgz") == (403, "DENIED")
    assert repo.requests == []


async def test_offline_only_what_is_held_is_listed(tmp_path: Path, repo: HelmRepo) -> None:
    async with house(tmp_path, rules_for(repo)) as connected:
        await connected.pull("argo/demo", "1.0.0")
    repo.go_down()
    async with house(tmp_path, rules_for(repo), Settings(data_dir=tmp_path, offline=True)) as ours:
        assert await ours.listed() == {"demo": ["1.0.0"]}
        assert await ours.listed("up.example.test") == {"demo": ["1.0.0"]}
        assert await ours.refusal("/charts/elsewhere.example.test/index.yaml") == (404, "NAME_UNKNOWN")
        assert (await ours.get("/charts/argo/demo-1.0.0.tgz")).content == OLD
        assert await ours.refusal("/charts/argo/demo-1.1.0.tgz") == (404, "MANIFEST_UNKNOWN")


async def test_who_has_an_index_is_told_so_and_who_takes_gzip_gets_it(tmp_path: Path, repo: HelmRepo) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        plain = await ours.index()

        async def is_packed() -> bool:
            await asyncio.sleep(0)
            return "content-encoding" in (await ours.index(accept_encoding="gzip")).headers

        await until(is_packed)
        async with ours.client.stream("GET", INDEX, headers={"accept-encoding": "gzip"}) as packed:
            raw = b"".join([piece async for piece in packed.aiter_raw()])
        assert gzip.decompress(raw) == plain.content
        for answer in (plain, packed):
            known = await ours.index(if_none_match=answer.headers["etag"], accept_encoding="gzip")
            assert (known.status_code, known.content) == (304, b"")
            assert answer.headers["vary"] == "Accept-Encoding"
        head = await ours.get(INDEX, "HEAD")
        assert (head.headers["content-length"], head.content) == (str(len(plain.content)), b"")


async def test_an_index_stays_the_same_while_only_others_are_pulled(tmp_path: Path, repo: HelmRepo) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        before = await ours.index()
        await ours.pull("argo/demo", "1.0.0")
        ours.clock.advance(10)
        after = await ours.index()
    assert before.headers["etag"] == after.headers["etag"]
    assert before.headers["last-modified"] == after.headers["last-modified"]


async def test_a_host_that_is_classic_is_answered_as_itself(tmp_path: Path, repo: HelmRepo) -> None:
    rule = (
        "  - {host: charts.example.test, repository: 'argo/*', rewrite: up.example.test/$1, classic: true}\n"
    )
    rule += "  - {host: root.example.test, rewrite: up.example.test/$0, classic: true}\n"
    rule += "  - {host: other.example.test, rewrite: up.example.test/$0}\n"
    async with house(tmp_path, rules_for(repo, more=rule)) as ours:
        index = await ours.get("/argo/index.yaml", host="charts.example.test")
        assert len(read_index(index.content)) == 2
        assert (await ours.get("/argo/demo-1.0.0.tgz", host="charts.example.test:443")).content == OLD
        assert len(read_index((await ours.get("/index.yaml", host="root.example.test")).content)) == 2
        assert (await ours.get("/demo-1.0.0.tgz", host="root.example.test")).content == OLD
        for host in ("other.example.test", "gateway.test"):
            assert await ours.refusal("/index.yaml", host=host) == (404, "NAME_UNKNOWN")
            assert await ours.refusal("/argo/index.yaml", host=host) == (404, "NAME_UNKNOWN")


async def test_the_index_of_another_style_is_written_anew(tmp_path: Path) -> None:
    entry = b'{"name":"demo","version":"1.0.0","urls":["demo-1.0.0.tgz"]}'
    flow = b'{"apiVersion":"v1","entries":{"demo":[%b]}}' % entry
    with HelmRepo({"index.yaml": flow, "demo-1.0.0.tgz": OLD}) as repo:
        async with house(tmp_path, rules_for(repo)) as ours:
            assert await ours.listed() == {"demo": ["1.0.0"]}
            assert await ours.digest("1.0.0") is None
            assert (await ours.get("/charts/argo/demo-1.0.0.tgz")).content == OLD
