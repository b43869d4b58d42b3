"""What comes out of a rewrite is held to all that a name from outside is, and is never matched again."""

from pathlib import Path

import pytest

from tests.composed import FakeDns
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.threats import claimed_port, serving, settings_of, told

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

WHATEVER = """
upstreams: {docker.io: {deny: use our own}, private.example.test: {kind: helm, access: private}}
rules:
  - {repository: "via/**", rewrite: $1}
  - {repository: "~api/(.*)", rewrite: charts.example.test/$1}
  - {repository: "~to-([^/]+)/(.+)", rewrite: $1/$2}
"""
HIDDEN = [
    "127.0.0.1/x",
    "10.0.0.1/x",
    "169.254.169.254/x",
    "2130706433/x",
    "0x7f.1/x",
    "localhost/x",
    "metadata.google.internal/x",
    "kubernetes.default.svc/x",
    "rebound.example.test/x",
    "nowhere.example.test/x",
]


@pytest.mark.parametrize("place", HIDDEN)
@pytest.mark.parametrize("rule", ["via/", "to-"])
async def test_a_rewrite_leads_nowhere_that_a_name_could_not(tmp_path: Path, place: str, rule: str) -> None:
    dns = FakeDns({"rebound.example.test": ["93.184.216.34", "127.0.0.1"]})
    settings = settings_of(tmp_path, upstream_timeout_seconds=0.3)
    async with serving(tmp_path, WHATEVER, dns, settings=settings) as at:
        direct, ruled = [await at.manifest(f"{prefix}{place}", "1.0.0") for prefix in ("", rule)]
        assert told(ruled) == told(direct) == (404, "NAME_UNKNOWN", None)
        assert set(at.dns.asked) <= {"rebound.example.test", "nowhere.example.test"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("via/docker.io/nginx", (403, "DENIED", None)),
        ("via/docker.io/library/nginx", (403, "DENIED", None)),
        ("via/private.example.test/x", (401, "UNAUTHORIZED", None)),
        ("via/charts.example.test", (404, "NAME_UNKNOWN", None)),
        (f"to-charts.example.test/{'a' * 230}", (404, "NAME_UNKNOWN", None)),
    ],
)
async def test_what_holds_for_a_place_holds_however_it_is_reached(
    tmp_path: Path, name: str, expected: tuple[int, str, None]
) -> None:
    async with serving(tmp_path, WHATEVER) as at:
        assert told(await at.manifest(name, "1.0.0")) == expected


async def test_a_rewrite_to_more_than_a_name_may_have_is_an_unknown_name(tmp_path: Path) -> None:
    rules = 'rules: [{repository: "**", rewrite: charts.example.test/a-long-path/$1}]'
    async with serving(tmp_path, rules) as at:
        answer = await at.manifest("x" * 250, "1.0.0")
        assert told(answer) == (404, "NAME_UNKNOWN", None)
        assert "the rule 'rule 1' leads to no name" in answer.json()["errors"][0]["message"]
        assert at.dns.asked == []


async def test_one_rule_is_applied_once_whatever_others_would_make_of_it(tmp_path: Path) -> None:
    rules = """
upstreams:
  a.example.test: {{kind: helm, url: '{a}', allow_private: true}}
  b.example.test: {{kind: helm, url: '{b}', allow_private: true}}
rules:
  - {{repository: "a.example.test/**", rewrite: b.example.test/$1}}
  - {{repository: "b.example.test/**", rewrite: a.example.test/$1}}
"""
    in_a, in_b = make_chart("demo", "1.0.0"), make_chart("demo", "2.0.0")
    with HelmRepo(repository_of(in_a)) as a, HelmRepo(repository_of(in_b)) as b:
        async with serving(tmp_path, rules.format(a=a.url, b=b.url)) as at:
            for asked, tags in (("a", ["2.0.0"]), ("b", ["1.0.0"])):
                listed = await at.client.get(f"/v2/{asked}.example.test/demo/tags/list")
                assert listed.json()["tags"] == tags


@pytest.mark.parametrize("kind", ["helm", "registry", "auto"])
async def test_a_rewrite_that_leads_back_here_is_refused_after_one_turn(tmp_path: Path, kind: str) -> None:
    with claimed_port() as claim:
        url = f"http://127.0.0.1:{claim.getsockname()[1]}"
        rules = f"""
upstreams: {{gw.example.test: {{kind: {kind}, url: '{url}', allow_private: true}}}}
rules: [{{repository: "argo/*", rewrite: gw.example.test/argo/$1}}]
"""
        async with serving(tmp_path, rules, claim=claim) as at:
            answer = await at.manifest("argo/cd", "1.0.0")
            assert told(answer)[:2] == (503, "UNAVAILABLE")
