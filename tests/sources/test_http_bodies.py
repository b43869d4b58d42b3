"""Bodies are whole, bounded, and in the coding that was asked for, or they are nothing."""

import asyncio
import gzip
import tracemalloc
import zlib

import pytest

from gateway.oci.outcomes import Corrupt, Unavailable
from gateway.sources.http import HttpLimits
from tests.sources.asking import ERRAND, asking, fetched
from tests.sources.raw_server import Say, answer, raw_server, saying

pytestmark = pytest.mark.slow  # real sockets, seconds together

MIB = 1 << 20
BODY = bytes(range(256)) * 3_000  # inflates to more than one piece


def chunked(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "said",
    [
        answer(BODY),
        chunked(BODY),
        answer(BODY, "Content-Encoding: identity"),
        answer(gzip.compress(BODY), "Content-Encoding: gzip"),
        answer(gzip.compress(BODY), "Content-Encoding: GZip"),
        answer(gzip.compress(BODY[:700]) + gzip.compress(BODY[700:]), "Content-Encoding: x-gzip"),
    ],
)
async def test_a_whole_body_comes_as_it_is_and_without_its_one_gzip_layer(said: bytes) -> None:
    async with raw_server(saying(said)) as server, asking() as http:
        assert await fetched(http, server.url()) == BODY


@pytest.mark.anyio
async def test_an_archive_comes_as_it_was_sent_whatever_its_coding_is_called() -> None:
    packed = gzip.compress(BODY)
    async with (
        raw_server(saying(answer(packed, "Content-Encoding: x-gzip"))) as server,
        asking() as http,
        http.get(server.url(), ERRAND, {}) as got,
    ):
        assert b"".join([chunk async for chunk in got.chunks_as_sent(MIB)]) == packed


def _triple_gzip() -> bytes:
    """261 bytes that a lenient client inflates to 50 MB."""
    body = bytes(50_000_000)
    for _ in range(3):
        body = gzip.compress(body, 9, mtime=0)
    return body


@pytest.mark.anyio
@pytest.mark.parametrize("coding", ["deflate", "br", "zstd", "compress", "gzip, gzip", "gzip, identity", "x"])
async def test_a_coding_that_nobody_asked_for_is_refused(coding: str) -> None:
    said = answer(zlib.compress(BODY), f"Content-Encoding: {coding}")
    async with raw_server(saying(said)) as server, asking() as http:
        with pytest.raises(Corrupt, match="coding"):
            await fetched(http, server.url())


@pytest.mark.anyio
@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (answer(_triple_gzip(), "Content-Encoding: gzip, gzip, gzip"), "corrupt"),
        (answer(_triple_gzip(), *["Content-Encoding: gzip"] * 3), "corrupt"),
        (answer(gzip.compress(bytes(200 * MIB)), "Content-Encoding: gzip"), "too_large"),
    ],
)
async def test_a_bomb_costs_next_to_no_memory(said: bytes, reason: str) -> None:
    async with raw_server(saying(said)) as server, asking() as http:
        tracemalloc.start()
        with pytest.raises(Corrupt) as caught:
            await fetched(http, server.url(), MIB)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert caught.value.reason == reason
    assert peak < 8 * MIB


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (answer(gzip.compress(BODY)[:-1], "Content-Encoding: gzip"), "truncated"),
        (answer(b"", "Content-Encoding: gzip"), "truncated"),
        (answer(BODY, "Content-Encoding: gzip"), "bad_encoding"),
        (answer(gzip.compress(BODY) + b"garbage", "Content-Encoding: gzip"), "bad_encoding"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + BODY, "truncated"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + BODY, "truncated"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(BODY), "truncated"),
    ],
)
async def test_a_body_that_cannot_be_whole_is_refused(said: bytes, reason: str) -> None:
    async with raw_server(saying(said)) as server, asking() as http:
        with pytest.raises(Corrupt) as caught:
            await fetched(http, server.url())
    assert caught.value.reason == reason


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("size", "headers"),
    [(1000, ()), (2000, ("Content-Encoding: gzip",))],
)
async def test_the_limit_is_exact(size: int, headers: tuple[str, ...]) -> None:
    for length, fits in ((size, True), (size + 1, False)):
        body = gzip.compress(bytes(length)) if headers else bytes(length)
        async with raw_server(saying(answer(body, *headers))) as server, asking() as http:
            if fits:
                assert await fetched(http, server.url(), 1000) == bytes(length)
            else:
                with pytest.raises(Corrupt) as caught:
                    await fetched(http, server.url(), 1000)
                assert caught.value.reason == "too_large"


@pytest.mark.anyio
@pytest.mark.parametrize("filling", [bytes(65_536), b"\0\0\0\xff\xff" * 10_000])
async def test_an_endless_body_is_cut_at_the_limit(filling: bytes) -> None:
    """The second is gzip that never becomes a single byte."""

    async def endless(_target: str, say: Say) -> None:
        coding = b"" if filling[3:4] == b"\0" else b"Content-Encoding: gzip\r\n"
        await say(b"HTTP/1.1 200 OK\r\n" + coding + b"Transfer-Encoding: chunked\r\n\r\n")
        if coding:
            start = gzip.compress(b"")[:10]
            await say(b"%x\r\n%b\r\n" % (len(start), start))
        while True:
            await say(b"%x\r\n%b\r\n" % (len(filling), filling))

    async with raw_server(endless) as server, asking() as http:
        with pytest.raises(Corrupt) as caught:
            await fetched(http, server.url(), MIB)
    assert caught.value.reason == "too_large"


async def _drip(_target: str, say: Say) -> None:
    await say(answer(BODY)[: -len(BODY)])
    while True:
        await say(b"x")
        await asyncio.sleep(0.002)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "limits",
    [
        HttpLimits(grace_seconds=0.01, least_bytes_per_second=100_000),
        HttpLimits(total_seconds=0.01),
    ],
)
async def test_a_drip_is_too_slow_though_it_never_falls_silent(limits: HttpLimits) -> None:
    async with raw_server(_drip) as server, asking(limits) as http:
        with pytest.raises(Unavailable, match="sends too slowly"):
            await fetched(http, server.url())


@pytest.mark.anyio
@pytest.mark.parametrize("value", ['"a"', 'W/"b"', "Mon, 06 May 2024 07:08:09 GMT", "x" * 1024])
async def test_a_validator_is_what_can_be_sent_back(value: str) -> None:
    assert await _validator(value) == value


@pytest.mark.anyio
@pytest.mark.parametrize("value", ["", '"\xe9"', '"\u20ac"', "x" * 1025, '"a\tb"'])
async def test_another_validator_is_none(value: str) -> None:
    assert await _validator(value) is None


async def _validator(value: str) -> str | None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: %b\r\n\r\n" % value.encode()
    async with (
        raw_server(saying(head)) as server,
        asking() as http,
        http.get(server.url(), ERRAND, {}) as got,
    ):
        assert got.validator("last-modified") is None
        return got.validator("etag")


@pytest.mark.anyio
async def test_a_body_in_crumbs_is_refused_and_lets_others_in_meanwhile() -> None:
    """A byte a chunk: what is read of it costs us a thousand times what it costs its sender."""
    crumbs = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n"
    async with raw_server(saying(crumbs)) as server, asking() as http:
        with pytest.raises(Corrupt, match="crumbs"):
            await fetched(http, server.url())


@pytest.mark.anyio
async def test_pieces_of_an_honest_size_may_be_many() -> None:
    pieces = b"".join(b"%x\r\n%b\r\n" % (200, b"x" * 200) for _ in range(5_000))
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
    async with raw_server(saying(said)) as server, asking() as http:
        assert len(await fetched(http, server.url())) == 1_000_000
