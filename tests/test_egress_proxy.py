"""Behind an egress proxy: a pull where no name resolves here, and what a client is told where it fails."""

from pathlib import Path

import pytest

from tests.composed import HOST, composed, upstream
from tests.fakes.charts import make_chart, repository_of
from tests.fakes.helm_repo import HelmRepo
from tests.fakes.proxy import FakeProxy, egress_proxy
from tests.sources.raw_server import answer

pytestmark = pytest.mark.slow  # real files, sockets and databases

CHART = make_chart("demo", "1.0.0")


def behind(proxy: FakeProxy, no_proxy: str = "[]") -> str:
    egress = f"egress: {{proxy: '{proxy.url.origin}', no_proxy: {no_proxy}}}\n"
    return f"{egress}upstreams:\n  {HOST}: {{kind: helm, url: 'http://{HOST}'}}\n"


@pytest.mark.anyio
async def test_a_chart_is_pulled_where_only_the_proxy_can_resolve_its_host(tmp_path: Path) -> None:
    proxy = FakeProxy()
    with HelmRepo(repository_of(CHART)) as repo:
        proxy.leads_to = {f"{HOST}:80": repo.port}
        async with egress_proxy(proxy), composed(tmp_path, behind(proxy)) as gateway:
            assert (await gateway.manifest(f"{HOST}/demo", "1.0.0")).status_code == 200
    assert proxy.asked == [f"GET http://{HOST}/index.yaml", f"GET http://{HOST}/demo-1.0.0.tgz"]


@pytest.mark.anyio
async def test_a_host_that_is_excepted_is_dialled_from_here(tmp_path: Path) -> None:
    proxy = FakeProxy()
    with HelmRepo(repository_of(CHART)) as repo:
        async with egress_proxy(proxy):
            rules = f"egress: {{proxy: '{proxy.url.origin}', no_proxy: [127.0.0.0/8]}}\n"
            async with composed(tmp_path, f"{rules}upstreams:\n{upstream(repo.url)}") as gateway:
                assert (await gateway.manifest(f"{HOST}/demo", "1.0.0")).status_code == 200
    assert proxy.heads == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("said", "status", "code"), [(403, 403, "DENIED"), (407, 503, "UNAVAILABLE"), (502, 503, "UNAVAILABLE")]
)
async def test_what_the_proxy_refuses_is_told_with_its_name(
    said: int, status: int, code: str, tmp_path: Path
) -> None:
    proxy = FakeProxy(tunnel_answer=answer(status=said))
    async with (
        egress_proxy(proxy),
        composed(tmp_path, f"egress: {{proxy: '{proxy.url.origin}'}}\n") as gateway,
    ):
        got = await gateway.manifest("charts.example.org/demo", "1.0.0")
    assert (got.status_code, got.json()["errors"][0]["code"]) == (status, code)
    assert f"the proxy {proxy.url.authority}" in got.text


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["10.0.0.1", "metadata.google.internal", "private.example.org"])
async def test_a_private_place_answers_as_one_that_does_not_exist_and_the_proxy_is_not_asked(
    name: str, tmp_path: Path
) -> None:
    proxy = FakeProxy()
    async with (
        egress_proxy(proxy),
        composed(tmp_path, f"egress: {{proxy: '{proxy.url.origin}'}}\n") as gateway,
    ):
        gateway.dns.answers["private.example.org"] = ["10.0.0.1"]
        got = await gateway.manifest(f"{name}/demo", "1.0.0")
    assert (got.status_code, got.json()["errors"][0]["code"]) == (404, "NAME_UNKNOWN")
    assert proxy.heads == []
