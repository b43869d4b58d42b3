"""What strangers and hostile upstreams may try with classic repositories, and what comes of it."""

import asyncio
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.app import create_app
from gateway.helm.index_outline import MOST_ENTRIES
from tests.classic_house import ALL, CHARTS, FRESH_SECONDS, NEW, OLD, OTHER, house, rules_for
from tests.fakes.charts import dump_index, index_entry, make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.images import helm_artifact
from tests.fakes.registry import FakeRegistry
from tests.web.live import ask_app

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

PREFIXES = 12  # more than one client may have cold at once


@pytest.fixture
def repo() -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(*CHARTS)) as running:
        yield running


def rules_for_registry(registry: FakeRegistry, rules: str, *synced: str) -> str:
    key = f"{{kind: registry, url: '{registry.origin}', allow_private: true}}"
    charts = ", ".join(f"{{repository: {name}}}" for name in synced)
    return (
        f"upstreams:\n  reg.example.test: {key}\nrules:\n{rules}"
        f"sync:\n  - {{name: wishes, charts: [{charts}]}}\n"
    )


async def test_a_client_that_wants_many_cold_indexes_gets_all_of_them(tmp_path: Path) -> None:
    """Each asks for lists of tags on the way: in a turn of its own, it would wait for the others for ever."""
    chart = make_chart("wished", "1.0.0")
    with FakeRegistry() as registry:
        for number in range(PREFIXES):
            helm_artifact(chart).push_to(registry, f"n{number}/wished", "1.0.0")
        rules = "".join(
            f"  - {{repository: n{number}/*, rewrite: reg.example.test/n{number}/$1}}\n"
            for number in range(PREFIXES)
        )
        names = [f"n{number}/wished" for number in range(PREFIXES)]
        async with house(tmp_path, rules_for_registry(registry, rules, *names)) as ours:
            async with asyncio.timeout(20):
                found = await asyncio.gather(*(ours.listed(f"n{number}") for number in range(PREFIXES)))
    assert found == [{"wished": ["1.0.0"]}] * PREFIXES


async def test_that_one_prefix_has_nothing_says_nothing_of_another_that_leads_there(tmp_path: Path) -> None:
    chart = make_chart("wished", "1.0.0")
    with FakeRegistry() as registry:
        helm_artifact(chart).push_to(registry, "charts/a-wished", "1.0.0")
        rules = (
            "  - {repository: empty/a-*, rewrite: reg.example.test/elsewhere/$1}\n"
            "  - {repository: empty/*, rewrite: reg.example.test/charts/$1}\n"
            "  - {repository: full/*, rewrite: reg.example.test/charts/$1}\n"
        )
        async with house(tmp_path, rules_for_registry(registry, rules, "full/a-wished")) as ours:
            assert await ours.refusal("/charts/empty/index.yaml") == (404, "NAME_UNKNOWN")
            assert await ours.listed("full") == {"a-wished": ["1.0.0"]}


async def test_what_the_rules_refuse_is_refused_again_and_not_once_they_allow_it(
    tmp_path: Path, repo: HelmRepo
) -> None:
    denied = rules_for(repo).replace("rewrite: up.example.test/$1", "deny: not here")
    async with house(tmp_path, denied) as ours:
        for _ in range(2):
            assert await ours.refusal("/charts/argo/index.yaml") == (403, "DENIED")
        ours.use(rules_for(repo))
        assert await ours.listed() == ALL
    assert repo.count_of("index.yaml") == 1


async def test_what_a_rule_asks_of_others_alone_is_not_listed_by_an_index_of_that_place(
    tmp_path: Path, repo: HelmRepo
) -> None:
    narrower = "  - {repository: argo/demo, rewrite: up.example.test/demo, chain: [registry]}\n"
    async with house(tmp_path, rules_for(repo, more=narrower)) as ours:
        assert await ours.listed() == {"other": ["2.0.0-rc.1+b.5"]}


@pytest.mark.parametrize("style", ["plain", "json"])
async def test_an_entry_that_is_too_long_is_left_out_and_the_rest_is_listed(
    tmp_path: Path, style: str
) -> None:
    entries = {
        "demo": [
            index_entry(OLD, "demo-1.0.0.tgz", description="x" * 300_000),
            index_entry(NEW, "demo-1.1.0.tgz"),
        ]
    }
    content = dump_index(entries)
    if style == "json":
        content = b'{"apiVersion": "v1", "generated": "", "entries": {}}'.replace(
            b"{}", b'{"demo": [{"name": "demo", "version": "1.1.0"}, %b]}' % _long_entry()
        )
    with HelmRepo({"index.yaml": content}) as repo:
        async with house(tmp_path, rules_for(repo)) as ours:
            assert await ours.listed() == {"demo": ["1.1.0"]}


def _long_entry() -> bytes:
    return b'{"name": "demo", "version": "1.0.0", "description": "%b"}' % (b"x" * 300_000)


@pytest.mark.parametrize("charts", [1, MOST_ENTRIES])
async def test_an_index_of_too_many_entries_is_not_listed_and_what_is_in_it_can_be_pulled(
    tmp_path: Path, charts: int
) -> None:
    """What is made of an entry costs thirty times the bytes of the shortest one."""
    files = repository_of(OLD)
    more = "".join(
        f"  c{chart}:\n"
        + "".join(
            f"  - name: c{chart}\n    version: 1.0.{number}\n" for number in range(MOST_ENTRIES // charts)
        )
        for chart in range(charts)
    )
    files["index.yaml"] = files["index.yaml"].replace(b"entries:\n", b"entries:\n" + more.encode())
    with HelmRepo(files) as repo:
        async with house(tmp_path, rules_for(repo)) as ours:
            assert await ours.refusal("/charts/argo/index.yaml") == (502, "UNKNOWN")
            await ours.pull("argo/demo", "1.0.0")
            archive = await ours.get("/charts/argo/demo-1.0.0.tgz")
    assert archive.content == OLD
    assert repo.count_of("index.yaml") == 1


async def test_a_client_keeps_the_index_that_it_has_whatever_it_takes_now(
    tmp_path: Path, repo: HelmRepo
) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        plain = await ours.index()
        await ours.gateway.classic.drain()
        packed = await ours.index(accept_encoding="gzip")
        for known, accepted in ((plain, "gzip"), (packed, "gzip"), (plain, "identity")):
            again = await ours.index(accept_encoding=accepted, if_none_match=known.headers["etag"])
            assert (again.status_code, again.headers["etag"]) == (304, known.headers["etag"])


@pytest.mark.parametrize(
    "path", ["/charts//index.yaml", "/charts//demo-1.0.0.tgz", "/charts/argo//index.yaml"]
)
async def test_no_part_of_a_path_is_empty(tmp_path: Path, repo: HelmRepo, path: str) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        assert await ours.refusal(path) == (400, "NAME_INVALID")


@pytest.mark.parametrize("line", [b"description: so: not", b"description: \x07", b"description: \xff"])
async def test_an_index_that_is_no_yaml_spoils_no_other_beside_it(tmp_path: Path, line: bytes) -> None:
    files = repository_of(NEW)
    files["index.yaml"] = files["index.yaml"].replace(b"    name: demo\n", b"    %b\n    name: demo\n" % line)
    with HelmRepo(repository_of(OLD)) as good, HelmRepo(files) as broken:
        keys = "".join(
            f"  {name}.example.test: {{kind: helm, url: '{repo.url}', allow_private: true}}\n"
            for name, repo in (("a", good), ("b", broken))
        )
        rules = (
            f"upstreams:\n{keys}"
            "rules:\n  - {repository: argo/*, rewrite: [a.example.test/$1, b.example.test/$1]}\n"
        )
        async with house(tmp_path, rules) as ours:
            assert await ours.listed() == {"demo": ["1.0.0"]}


async def test_an_index_that_only_its_pulls_can_be_read_of_replaces_no_good_one(
    tmp_path: Path, repo: HelmRepo
) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        before = await ours.index()
        broken = repository_of(*CHARTS)["index.yaml"] + b"zebra: so: not\n"
        repo.put("index.yaml", broken)
        ours.clock.advance(3 * FRESH_SECONDS)
        after = await ours.index()
        await ours.pull("argo/demo", "1.1.0")
    assert (after.status_code, after.headers["x-cache"]) == (200, "stale")
    assert after.content == before.content


@pytest.mark.parametrize("host", ["", "up.example.test", "classic.example.test"])
async def test_what_came_by_credentials_is_shown_to_nobody_whatever_it_is_called(
    tmp_path: Path, repo: HelmRepo, host: str
) -> None:
    """Held for who may, asked for by the name of its place, of a rule, of another rule, and of a host."""
    more = (
        "  - {host: classic.example.test, repository: '**', rewrite: up.example.test/$1, classic: true}\n"
        "  - {repository: other/*, rewrite: [open.example.test/$1, up.example.test/$1]}\n"
    )
    open_rules = rules_for(repo, more=more)
    with HelmRepo(repository_of(OTHER)) as public:
        key = f"  open.example.test: {{kind: helm, url: '{public.url}', allow_private: true}}\n"
        open_rules = open_rules.replace("upstreams:\n", f"upstreams:\n{key}")
        closed = open_rules.replace(
            "kind: helm, url: '" + repo.url, "access: private, kind: helm, url: '" + repo.url
        )
        async with house(tmp_path, open_rules) as ours:
            await ours.pull("argo/demo", "1.0.0")
            assert await ours.listed() == ALL
            assert await ours.listed("other") == {"demo": ["1.0.0", "1.1.0"], "other": ALL["other"]}
            ours.use(closed)
            headers = {"host": host} if host else {}
            for prefix in ("argo", "up.example.test"):
                for file in ("index.yaml", "demo-1.0.0.tgz", "demo-1.0.0.tgz.prov"):
                    assert await ours.refusal(f"/charts/{prefix}/{file}", **headers) == (401, "UNAUTHORIZED")
            assert await ours.listed("other") == {"other": ALL["other"]}
            assert (await ours.get("/charts/other/demo-1.0.0.tgz")).status_code == 401
            for path in ("/index.yaml", "/demo-1.0.0.tgz"):
                refused = await ours.get(path, host="classic.example.test")
                assert refused.status_code == 401, refused.text


async def test_what_a_registry_may_give_before_has_no_digest_of_the_index(
    tmp_path: Path, repo: HelmRepo
) -> None:
    async with house(tmp_path, rules_for(repo, "chain: [registry, helm]")) as ours:
        assert await ours.digest("1.0.0") is None


async def test_a_download_goes_on_only_in_the_archive_that_it_began_in(
    tmp_path: Path, repo: HelmRepo
) -> None:
    path = "/charts/argo/demo-1.0.0.tgz"
    async with house(tmp_path, rules_for(repo)) as ours:
        known = (await ours.get(path)).headers["etag"]
        same = await ours.get(path, range="bytes=10-", if_range=known)
        other = await ours.get(path, range="bytes=10-", if_range='"sha256:other"')
    assert (same.status_code, same.content) == (206, OLD[10:])
    assert (other.status_code, other.content) == (200, OLD)


@pytest.mark.parametrize(
    "path",
    [
        "/charts/Argo/index.yaml",
        "/charts/../index.yaml",
        "/charts/argo/../argo/index.yaml",
        "/charts/argo%2findex.yaml",
        "/charts/argo/index.yaml%00",
        "/charts/argo/.tgz",
        "/charts/argo/.tgz.prov",
        "/charts/argo/demo-1.0.0.tgz.prov.tgz",
        "/charts/argo/demo-1.0.0%0d%0aX-Evil:1.tgz",
        "/charts/argo/demo-1.0.0.TGZ",
        "/charts/argo/" + "-1" * 250 + ".tgz",
        "/charts/argo/" + "a" * 600 + "-1.0.0.tgz",
        "/charts/" + "a/" * 300 + "index.yaml",
        "/charts/up.example.test:80/index.yaml",
        "/charts/169.254.169.254/index.yaml",
        "/charts/localhost/index.yaml",
        "/charts/169.254.169.254/latest/x-1.0.0.tgz",
        "/index.yaml",
        "/v2/argo/index.yaml",
    ],
)
async def test_what_is_no_name_or_leads_nowhere_is_refused_and_nobody_is_asked(
    tmp_path: Path, repo: HelmRepo, path: str
) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        app = create_app(ours.gateway)
        for method in ("GET", "HEAD"):
            assert (await ask_app(app, method, path.encode())).status in (400, 404)
    assert [one for one in repo.requests if "index.yaml" not in one.path] == []


async def test_where_sources_gave_different_archives_the_digest_is_never_anothers(
    tmp_path: Path, repo: HelmRepo
) -> None:
    """Which of them counts is decided by the clock, when it is asked for."""
    packed_anew = make_chart("demo", "1.0.0", description="packed anew")
    with FakeRegistry() as proxy:
        helm_artifact(packed_anew).push_to(proxy, "up.example.test/demo", "1.0.0")
        key = f"  proxy.example.test: {{kind: chartproxy, url: '{proxy.origin}', allow_private: true}}\n"
        how = "chartproxy: proxy.example.test, chain: [chartproxy, helm], drift: follow"
        rules = rules_for(repo, how).replace("upstreams:\n", f"upstreams:\n{key}")
        async with house(tmp_path, rules) as ours:
            for is_down in (False, True):
                if is_down:
                    proxy.go_down()
                    ours.clock.advance(10 * 86_400)
                for _ in range(2):  # the second time what was asked for behind counts
                    archive = (await ours.get("/charts/argo/demo-1.0.0.tgz")).content
                    ours.clock.advance(10)
                digest = await ours.digest("1.0.0")
                assert digest in (None, sha256(archive).hexdigest())
    assert archive == OLD


@pytest.mark.parametrize("path", [b"/charts/argo/index.yaml", b"/v2/argo/demo/manifests/1.0.0"])
async def test_a_request_that_came_through_here_is_known_behind_a_proxys_own_line(
    tmp_path: Path, repo: HelmRepo, path: bytes
) -> None:
    async with house(tmp_path, rules_for(repo)) as ours:
        own = f"1.1 chart-gateway-{ours.gateway.instance_id}".encode()
        for headers in ([(b"via", own)], [(b"via", own), (b"via", b"1.1 squid")]):
            answer = await ask_app(create_app(ours.gateway), "GET", path, headers)
            assert (answer.status, answer.header("x-gateway-refused")) == (502, "loop")
    assert repo.requests == []
