"""One upstream in several places: the next is asked when one is down, and only then."""

from collections.abc import Iterator, Sequence

import pytest

from gateway.oci.outcomes import Missing, Unavailable, UnknownHost
from gateway.oci.urls import HttpUrl
from gateway.sources.http import HttpLimits
from tests.composed import FakeDns
from tests.sources.asking import ERRAND, HOME, Mirrored, asking, fetched, outcome_of
from tests.sources.raw_server import answer, black_hole, raw_server, saying

pytestmark = pytest.mark.slow  # real sockets, seconds together

GOOD = answer(b"good")
AT_ONCE = HttpLimits(connect_seconds=0.01, first_byte_seconds=0.02, idle_seconds=0.02)


@pytest.fixture
def dead() -> Iterator[HttpUrl]:
    with black_hole() as url:
        yield url


async def _asked(mirrors: Sequence[HttpUrl], limits: HttpLimits = AT_ONCE) -> bytes:
    async with asking(limits, Mirrored(mirrors)) as http:
        return await fetched(http, HOME)


@pytest.mark.anyio
async def test_another_place_is_asked_where_the_first_one_is_dead_and_then_it_is_asked_first(
    dead: HttpUrl,
) -> None:
    async with (
        raw_server(saying(GOOD)) as server,
        asking(AT_ONCE, Mirrored([dead, server.url("/")])) as http,
    ):
        assert await fetched(http, HOME) == b"good"
        assert not http.is_troubled(HOME, ERRAND)
        assert http.is_troubled(dead, ERRAND)
        assert await fetched(http, HOME) == b"good"
        assert [head.split(" ")[1] for head in server.heads] == ["/x", "/x"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "first", [b"", b"SSH-2.0\r\n", *(answer(status=status) for status in (429, 500, 502))]
)
async def test_an_outage_moves_on_to_the_next_place(first: bytes) -> None:
    async with raw_server(saying(first)) as server, raw_server(saying(GOOD)) as other:
        assert await _asked([server.url(), other.url()]) == b"good"
        assert len(server.heads) == len(other.heads) == 1


@pytest.mark.anyio
async def test_a_place_that_failed_is_asked_last_from_then_on() -> None:
    async with (
        raw_server(saying(answer(status=500))) as server,
        raw_server(saying(GOOD)) as other,
        asking(directory=Mirrored([server.url(), other.url()])) as http,
    ):
        for _ in range(3):
            assert await fetched(http, HOME) == b"good"
        assert (len(server.heads), len(other.heads)) == (1, 3)


@pytest.mark.anyio
async def test_a_place_whose_name_does_not_resolve_moves_on_too() -> None:
    async with raw_server(saying(GOOD)) as other:
        mirrors = [HttpUrl("https", "nowhere.example.org", 443), other.url()]
        async with asking(directory=Mirrored(mirrors), resolver=FakeDns()) as http:
            assert await fetched(http, HOME) == b"good"


@pytest.mark.anyio
async def test_a_place_that_we_do_not_dial_ends_it() -> None:
    dns = FakeDns({"private.example.org": ["10.0.0.1"]})
    async with raw_server(saying(GOOD)) as other:
        mirrors = [HttpUrl("https", "private.example.org", 443), other.url()]
        async with asking(directory=Mirrored(mirrors), resolver=dns) as http:
            with pytest.raises(UnknownHost):
                await fetched(http, HOME)
        assert not other.heads


@pytest.mark.anyio
@pytest.mark.parametrize(
    "first",
    [
        *(answer(status=status) for status in (400, 401, 403, 404, 410)),
        answer(b"", "Location: ftp://x/", status=302),
        GOOD + b"surplus",
        answer(b"gone", "Content-Encoding: br"),
        answer(b"cut off")[:-1],
    ],
)
async def test_nothing_else_moves_on(first: bytes) -> None:
    async with raw_server(saying(first)) as server, raw_server(saying(GOOD)) as other:
        async with asking(directory=Mirrored([server.url(), other.url()])) as http:
            await outcome_of(http, HOME)
        assert len(server.heads) == 1
        assert not other.heads


@pytest.mark.anyio
async def test_with_all_places_in_trouble_the_last_ones_outcome_is_told() -> None:
    async with (
        raw_server(saying(answer(status=500))) as server,
        raw_server(saying(answer(status=502))) as other,
        asking(directory=Mirrored([server.url(), other.url()])) as http,
    ):
        outcome = await outcome_of(http, HOME)
        assert isinstance(outcome, Unavailable)
        assert "502" in outcome.message
        assert http.is_troubled(HOME, ERRAND)


@pytest.mark.anyio
async def test_a_missing_thing_is_missing_though_another_place_is_down(dead: HttpUrl) -> None:
    async with raw_server(saying(answer(status=404))) as server:
        with pytest.raises(Missing):
            await _asked([dead, server.url()])
