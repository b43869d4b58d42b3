"""Asking: whom, how often, with which headers, and where redirects may lead."""

import asyncio

import pytest

from gateway.oci.outcomes import Corrupt, Missing, Unavailable
from gateway.rules.load import load_rules
from gateway.sources.credentials import Secrets
from gateway.sources.egress import NameUnresolved
from gateway.sources.http import Http, HttpLimits
from gateway.sources.transports import Transports
from gateway.sources.upstreams import Upstreams
from tests.composed import FakeDns, upstream
from tests.sources.asking import ERRAND, HOME, EveryoneMay, asking, errand_to, fetched
from tests.sources.raw_server import Say, Script, answer, raw_server, saying

pytestmark = pytest.mark.slow  # real files, sockets and processes

GOOD = answer(b"good")
AUTH_LIKE = {"authorization", "cookie", "proxy-authorization", "x-jfrog-art-api", "private-token"}


def redirecting(location: str, status: int = 302) -> bytes:
    return answer(b"", f"Location: {location}", status=status)


def counting_down(path: str = "/") -> Script:
    """``/3`` redirects to ``/2``, that to ``/1``, that to ``/0``, which is good."""

    async def script(target: str, say: Say) -> None:
        left = int(target.rpartition("/")[2])
        await say(GOOD if left == 0 else redirecting(f"{path}{left - 1}"))

    return script


@pytest.mark.anyio
async def test_only_our_own_headers_are_sent_and_no_cookie_is_kept() -> None:
    said = answer(b"good", "Set-Cookie: session=1", "Set-Cookie: other=2; Path=/")
    async with raw_server(saying(said)) as server, asking() as http:
        await fetched(http, server.url())
        async with http.get(server.url("/y"), ERRAND, {"If-None-Match": '"a"'}) as got:
            assert got.status == 200
    own = {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": "chart-gateway",
        "accept-encoding": "identity",
        "via": f"1.1 chart-gateway-{http.instance_id}",
    }
    assert server.headers(0) == own
    assert server.headers(1) == {**own, "if-none-match": '"a"'}


@pytest.mark.anyio
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_every_redirect_is_followed(status: int) -> None:
    async def script(target: str, say: Say) -> None:
        await say(GOOD if target == "/y?a=b" else redirecting("/y?a=b#part", status))

    async with raw_server(script) as server, asking() as http:
        assert await fetched(http, server.url()) == b"good"


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/", "", "../", "./"])
async def test_five_redirects_are_followed_and_six_are_not(path: str) -> None:
    async with raw_server(counting_down(path)) as server, asking() as http:
        assert await fetched(http, server.url("/5")) == b"good"
        with pytest.raises(Corrupt) as caught:
            await fetched(http, server.url("/6"))
    assert caught.value.reason == "too_many_redirects"
    assert len(server.heads) == 6 + 6


@pytest.mark.anyio
async def test_a_loop_ends() -> None:
    async with raw_server(saying(redirecting("/x"))) as server, asking() as http:
        with pytest.raises(Corrupt) as caught:
            await fetched(http, server.url())
    assert caught.value.reason == "too_many_redirects"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "location",
    [
        *("file:///etc/passwd", "ftp://a.example.org/", "javascript:alert(1)", "data:,x", "//user:pw@a/"),
        *("https://a.example.org\\@b.example.org/", "https://b.example.org%2f.a.example.org/"),
        *(
            "https://127。0。0。1/",
            "https://0x7f.1/",
            "https://127.1/",
            "http://[::1",
            "https://a:0/",
            "https:///",
        ),
    ],
)
async def test_a_redirect_that_is_no_plain_url_is_refused(location: str) -> None:
    said = b"HTTP/1.1 302 X\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n" % location.encode()
    async with raw_server(saying(said)) as server, asking() as http:
        with pytest.raises(Corrupt) as caught:
            await fetched(http, server.url())
    assert caught.value.reason == "bad_redirect"
    assert len(server.heads) == 1


@pytest.mark.anyio
async def test_credentials_stay_with_their_origin() -> None:
    async with (
        raw_server(saying(GOOD)) as other,
        raw_server(saying(redirecting(f"{other.origin}/z"))) as server,
        asking(directory=EveryoneMay({server.origin: "Basic Zm9v"})) as http,
    ):
        assert await fetched(http, server.url()) == b"good"
    assert server.headers(0)["authorization"] == "Basic Zm9v"
    assert not AUTH_LIKE & other.headers(0).keys()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://public.example.org/", "bad_url"),
        ("http://169.254.169.254/", "bad_url"),
        ("https://127.0.0.1:6443/", "bad_url"),
        ("https://public.example.org:8443/", "bad_url"),
    ],
)
async def test_a_redirect_leads_to_https_on_port_443_or_to_an_upstream(location: str, reason: str) -> None:
    dns = FakeDns({"public.example.org": ["93.184.216.34"]})
    with pytest.raises(Corrupt) as caught:
        await _redirected(location, dns)
    assert caught.value.reason == reason
    assert dns.asked == ["127.0.0.1"]


@pytest.mark.anyio
async def test_a_redirect_to_where_nobody_may_go_is_an_outage_that_does_not_say_why() -> None:
    dns = FakeDns({"private.example.org": ["10.0.0.1"]})
    messages = []
    for host in ("private.example.org", "nowhere.example.org", "kubernetes.default.svc"):
        with pytest.raises(Unavailable) as caught:
            await _redirected(f"https://{host}/", dns)
        messages.append(caught.value.message.replace(host, "HOST"))
    assert len(set(messages)) == 1
    assert "kubernetes.default.svc" not in dns.asked


async def _redirected(location: str, dns: FakeDns) -> None:
    """Ask an upstream of rules.yaml that redirects."""
    async with raw_server(saying(redirecting(location))) as server:
        rule_set = load_rules(f"version: 1\nupstreams:\n{upstream(server.origin)}")
        transports = Transports(dns)
        try:
            http = Http(Upstreams(Secrets()), transports, HttpLimits())
            await fetched(http, HOME, errand=errand_to("charts.example.test/demo", rule_set))
        finally:
            await transports.close()


@pytest.mark.anyio
async def test_an_origin_gets_no_more_requests_at_once_than_it_may() -> None:
    gate = asyncio.Event()
    arrived = asyncio.Semaphore(0)

    async def held_back(_target: str, say: Say) -> None:
        arrived.release()
        await gate.wait()
        await say(GOOD)

    async with (
        raw_server(held_back) as server,
        raw_server(saying(GOOD)) as other,
        asking(HttpLimits(concurrency=2)) as http,
    ):
        asked = [asyncio.create_task(fetched(http, server.url(f"/{number}"))) for number in range(6)]
        await arrived.acquire()
        await arrived.acquire()
        assert await fetched(http, other.url()) == b"good"  # another origin waits for nobody
        gate.set()
        assert await asyncio.gather(*asked) == [b"good"] * 6
    assert server.most_at_once == 2


@pytest.mark.anyio
async def test_a_place_is_free_again_after_a_failure() -> None:
    async with raw_server(saying(answer(status=404))) as server, asking(HttpLimits(concurrency=1)) as http:
        for _ in range(3):
            with pytest.raises(Missing):
                await fetched(http, server.url())


def test_the_fake_dns_knows_no_other_names() -> None:
    with pytest.raises(NameUnresolved):
        asyncio.run(FakeDns()("nowhere.example.org", 443))
