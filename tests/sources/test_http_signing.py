"""Where an authorization goes that was got for one place, and where every request says it has been."""

import asyncio
from contextvars import copy_context

import pytest

from gateway.oci.outcomes import Corrupt, Denied, Missing
from gateway.sources.http import HttpLimits
from gateway.sources.via import note_incoming
from tests.sources.asking import ERRAND, HOME, EveryoneMay, Mirrored, asking, fetched
from tests.sources.raw_server import RawServer, Say, Script, answer, raw_server, saying

pytestmark = pytest.mark.slow  # real sockets, seconds together

GOOD = answer(b"good")
TOKEN = "Bearer t0ken"


def redirecting(locations: dict[str, str]) -> Script:
    async def script(target: str, say: Say) -> None:
        where = locations.get(target)
        await say(GOOD if where is None else answer(b"", f"Location: {where}", status=302))

    return script


def sent(server: RawServer) -> list[str | None]:
    return [server.headers(position).get("authorization") for position in range(len(server.heads))]


@pytest.mark.anyio
async def test_an_authorization_stands_in_place_of_the_destinations_own_also_after_a_redirect_at_home() -> (
    None
):
    async with (
        raw_server(redirecting({"/x": "/y"})) as server,
        asking(directory=EveryoneMay({server.origin: "Basic Zm9v"})) as http,
    ):
        for ask in (http.get, http.head):
            async with ask(server.url(), ERRAND, {}, authorization=TOKEN) as got:
                got.require_ok("x")
    assert sent(server) == [TOKEN] * 4


@pytest.mark.anyio
async def test_an_authorization_does_not_travel_and_does_not_come_back() -> None:
    locations: dict[str, str] = {}
    async with (
        raw_server(redirecting(locations)) as home,
        raw_server(saying(answer(b"", f"Location: {home.origin}/again", status=302))) as away,
        asking(directory=EveryoneMay({home.origin: "Basic Zm9v"})) as http,
    ):
        locations["/x"] = f"{away.origin}/there"
        async with http.get(home.url(), ERRAND, {}, authorization=TOKEN) as got:
            got.require_ok("x")
    assert sent(home) == [TOKEN, "Basic Zm9v"]
    assert sent(away) == [None]


@pytest.mark.anyio
async def test_every_mirror_of_a_place_is_that_place() -> None:
    async with (
        raw_server(saying(answer(status=500))) as server,
        raw_server(saying(GOOD)) as other,
        asking(directory=Mirrored([server.url(), other.url()])) as http,
        http.get(HOME, ERRAND, {}, authorization=TOKEN) as got,
    ):
        got.require_ok("x")
    assert sent(server) == sent(other) == [TOKEN]


@pytest.mark.anyio
@pytest.mark.parametrize(("own", "kind"), [(None, Missing), ("Basic Zm9v", Denied)])
@pytest.mark.parametrize("status", [401, 403])
async def test_what_was_got_anonymously_is_no_credential_of_ours(
    status: int, own: str | None, kind: type[Missing | Denied]
) -> None:
    async with raw_server(saying(answer(status=status))) as server:
        directory = EveryoneMay({} if own is None else {server.origin: own})
        async with (
            asking(directory=directory) as http,
            http.get(server.url(), ERRAND, {}, authorization=TOKEN) as got,
        ):
            with pytest.raises(kind):
                got.require_ok("x")


@pytest.mark.anyio
@pytest.mark.parametrize(("follow", "reason"), [(0, "bad_redirect"), (1, "too_many_redirects")])
async def test_no_more_redirects_are_followed_than_may_be(follow: int, reason: str) -> None:
    async with raw_server(redirecting({"/x": "/y", "/y": "/z"})) as server, asking() as http:
        with pytest.raises(Corrupt) as caught:
            async with http.get(server.url(), ERRAND, {}, follow=follow):
                pass
        assert caught.value.reason == reason
        assert len(server.heads) == follow + 1
        async with http.get(server.url("/z"), ERRAND, {}, follow=0) as got:
            got.require_ok("x")


@pytest.mark.anyio
async def test_every_request_says_which_gateways_it_came_through() -> None:
    async with raw_server(redirecting({"/x": "/y"})) as server, asking() as http:
        asked = copy_context()
        asked.run(note_incoming, "1.1 chart-gateway-00000000000000aa, 1.1 varnish")
        await asyncio.create_task(fetched(http, server.url()), context=asked)
        await fetched(http, server.url("/z"))
    own = f"1.1 chart-gateway-{http.instance_id}"
    through = [server.headers(position)["via"] for position in range(3)]
    assert through == [f"1.1 chart-gateway-00000000000000aa, {own}"] * 2 + [own]


@pytest.mark.anyio
async def test_a_connection_that_was_closed_as_a_request_came_by_is_no_failure() -> None:
    """A server that ends kept connections on their second request, and says so with no byte."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    at = RawServer(port=server.sockets[0].getsockname()[1])
    async with server, asking() as http:
        for _ in range(3):
            assert await fetched(http, at.url()) == b"good"
    assert connections == 3


@pytest.mark.anyio
async def test_a_place_is_held_until_the_answer_is_done_with() -> None:
    async with raw_server(saying(GOOD)) as server, asking(HttpLimits(concurrency=1)) as http:
        async with http.get(server.url(), ERRAND, {}):
            second = asyncio.create_task(fetched(http, server.url("/y")))
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(server.heads) == 1
        assert await second == b"good"
