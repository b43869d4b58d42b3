"""What was learnt by rules that are no more, or by another rule, says nothing: upstream is asked anew."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.rule_revisions import InForce
from gateway.rules.load import load_rules
from tests.composed import Composed
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.threats import serving

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

WEB = "charts.example.test/web"
NOWHERE = "sha256:" + "0" * 64
LONG = "defaults: {missing_for: 1d}\n"


@pytest.fixture(scope="module")
def charts() -> Iterator[HelmRepo]:
    with HelmRepo(repository_of(make_chart("web", "1.0.0"))) as repo:
        yield repo


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Composed]:
    async with serving(tmp_path, LONG) as composed:
        yield composed


def edit(at: Composed, text: str) -> None:
    """Put other rules in force, as the follower does."""
    number = at.gateway.switch.in_force.revision + 1
    at.gateway.switch.put(InForce(load_rules(f"version: 1\n{LONG}{text}"), number))


def upstream(url: str, more: str = ", allow_private: true") -> str:
    return f"upstreams: {{charts.example.test: {{kind: helm, url: '{url}'{more}}}}}\n"


async def statuses(at: Composed, name: str = WEB) -> list[int]:
    """By tag, by list, by a digest that nobody has."""
    paths = (f"/v2/{name}/manifests/1.0.0", f"/v2/{name}/tags/list", f"/v2/{name}/manifests/{NOWHERE}")
    return [(await at.client.get(path)).status_code for path in paths]


async def test_a_corrected_url_is_asked_at_once_whatever_the_wrong_one_had_not(
    at: Composed, charts: HelmRepo
) -> None:
    with HelmRepo(repository_of(make_chart("other", "1.0.0"))) as wrong:
        edit(at, upstream(wrong.url))
        assert await statuses(at) == [404, 404, 404]
    edit(at, upstream(charts.url))
    assert await statuses(at) == [200, 200, 404]


async def test_an_upstream_that_may_be_private_from_now_on_is_dialled_at_once(
    at: Composed, charts: HelmRepo
) -> None:
    edit(at, upstream(charts.url, more=""))
    assert await statuses(at) == [404, 404, 404]
    edit(at, upstream(charts.url))
    assert await statuses(at) == [200, 200, 404]


async def test_what_the_sources_of_one_rule_have_not_the_sources_of_another_are_asked_for(
    at: Composed, charts: HelmRepo
) -> None:
    edit(
        at,
        f"{upstream(charts.url)}rules:\n"
        '  - {repository: "native/*", rewrite: charts.example.test/$1, chain: [registry]}\n'
        '  - {repository: "classic/*", rewrite: charts.example.test/$1, chain: [helm]}\n',
    )
    assert await statuses(at, "native/web") == [404, 404, 404]
    assert await statuses(at, "classic/web") == [200, 200, 404]


async def test_a_denial_holds_from_the_first_request_after_the_edit(at: Composed, charts: HelmRepo) -> None:
    edit(at, upstream(charts.url))
    layer = (await at.manifest(WEB, "1.0.0")).json()["layers"][0]["digest"]
    for change in (", deny: gone", ", allow_private: true, access: private"):
        edit(at, upstream(charts.url, change))
        for path in (
            "manifests/1.0.0",
            f"blobs/{layer}",
            "tags/list",
            f"referrers/{NOWHERE}",
        ):
            assert (await at.client.get(f"/v2/{WEB}/{path}")).status_code in {401, 403}
        assert (await at.client.get("/v2/_catalog")).json() == {"repositories": []}
    edit(at, upstream(charts.url))
    assert (await at.manifest(WEB, "1.0.0")).headers["x-cache"] == "hit"
