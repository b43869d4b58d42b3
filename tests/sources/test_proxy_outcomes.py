"""What a proxy's refusals come to: told with its name, and no judgement of the upstream behind it."""

import re

import pytest

from gateway.oci.outcomes import Denied, Outcome, Unavailable
from gateway.oci.urls import HttpUrl
from tests.composed import FakeDns
from tests.fakes.proxy import FakeProxy, egress_proxy
from tests.sources.asking import asking, fetched, outcome_of
from tests.sources.raw_server import answer
from tests.sources.test_proxy import ByProxy

pytestmark = pytest.mark.slow  # real files, sockets and databases

URL = HttpUrl("https", "charts.example.test", 443, "/index.yaml")
HTTP_URL = HttpUrl("http", "charts.example.test", 8081, "/index.yaml")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (407, Unavailable, r"the proxy 127\.0\.0\.1:[0-9]+ wants to be signed in to"),
        (403, Denied, r"the proxy 127\.0\.0\.1:[0-9]+ does not let us through to charts\.example\.test:443"),
        (502, Unavailable, r"the proxy 127\.0\.0\.1:[0-9]+ answered 502"),
    ],
)
async def test_a_tunnel_that_does_not_open_is_an_outage_or_a_refusal(
    status: int, kind: type[Outcome], words: str
) -> None:
    proxy = FakeProxy(tunnel_answer=answer(status=status))
    async with egress_proxy(proxy), asking(directory=ByProxy(proxy.url), resolver=FakeDns()) as http:
        outcome = await outcome_of(http, URL)
    assert type(outcome) is kind
    assert re.match(words, str(outcome))


@pytest.mark.anyio
@pytest.mark.parametrize("url", [URL, HTTP_URL])
async def test_a_proxy_that_is_down_is_an_outage_that_names_it(url: HttpUrl) -> None:
    proxy = FakeProxy()
    async with egress_proxy(proxy):
        pass
    async with asking(directory=ByProxy(proxy.url), resolver=FakeDns()) as http:
        outcome = await outcome_of(http, url)
    assert isinstance(outcome, Unavailable)
    assert outcome.message == f"no connection to the proxy 127.0.0.1:{proxy.port}"


@pytest.mark.anyio
async def test_a_login_that_the_proxy_wants_is_an_outage_also_without_a_tunnel() -> None:
    proxy = FakeProxy(forward_answer=answer(status=407))
    async with egress_proxy(proxy), asking(directory=ByProxy(proxy.url), resolver=FakeDns()) as http:
        with pytest.raises(Unavailable, match="wants to be signed in to"):
            await fetched(http, HTTP_URL)


@pytest.mark.anyio
async def test_who_is_not_let_through_is_told_so_each_time_and_no_upstream_is_paused_for_it() -> None:
    proxy = FakeProxy(tunnel_answer=answer(status=403))
    async with egress_proxy(proxy), asking(directory=ByProxy(proxy.url), resolver=FakeDns()) as http:
        for _ in range(5):
            assert isinstance(await outcome_of(http, URL), Denied)
    assert len(proxy.heads) == 5
