"""Blobs: as many bytes as were promised, and from where it broke off; heads alone, where that will do."""

import gzip
import json

import pytest

from gateway.oci.outcomes import Corrupt, Missing, Outcome, Skipped, Unavailable
from gateway.sources.http import Answer, Http, HttpLimits
from tests.sources.asking import ERRAND, Clock, EveryoneMay, asking
from tests.sources.raw_server import RawServer, Say, answer, raw_server, saying

pytestmark = pytest.mark.slow  # real sockets, seconds together

BLOB = bytes(range(256)) * 40


def chunked(body: bytes, *more: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = b"\r\n".join([b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", *more, b"", b""])
    return head + b"%x\r\n%b\r\n" % (len(body), body) + end


async def pulled(http: Http, server: RawServer, size: int = len(BLOB)) -> tuple[bytes, int]:
    async with http.get(server.url(), ERRAND, {}) as got:
        got.require_ok("a blob")
        content = b"".join([chunk async for chunk in got.chunks_exact(size)])
        return content, got.bytes_received


@pytest.mark.anyio
@pytest.mark.parametrize(
    "said",
    [
        answer(BLOB),
        chunked(BLOB),
        answer(BLOB, "Content-Encoding: identity"),
        answer(BLOB, f"Content-Length: {len(BLOB)}"),  # twice the same
        answer(BLOB) + b"surplus that belongs to no answer",
    ],
)
async def test_a_blob_comes_as_it_is(said: bytes) -> None:
    async with raw_server(saying(said)) as server, asking() as http:
        assert await pulled(http, server) == (BLOB, len(BLOB))


@pytest.mark.anyio
async def test_an_empty_blob_is_a_blob() -> None:
    async with raw_server(saying(answer(b""))) as server, asking() as http:
        assert await pulled(http, server, 0) == (b"", 0)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (answer(BLOB[:-1]), "size_mismatch"),
        (answer(BLOB + b"x"), "size_mismatch"),
        (answer(b""), "size_mismatch"),
        (chunked(BLOB + b"x"), "too_large"),
        (chunked(BLOB + b"x", b"Content-Length: %d" % len(BLOB)), "too_large"),
        (answer(gzip.compress(BLOB), "Content-Encoding: gzip"), "bad_encoding"),
        (answer(BLOB, "Content-Encoding: br"), "bad_encoding"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + BLOB, "truncated"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + BLOB[:50], "truncated"),
        (answer(BLOB, "Content-Range: bytes 0-10239/10240", status=206), "unexpected_status"),
        (b"HTTP/1.1 204 X\r\nContent-Length: 10240\r\n\r\n" + BLOB, "unexpected_status"),
        (b"HTTP/1.1 204 X\r\n\r\n" + BLOB, "unexpected_status"),
    ],
)
async def test_another_blob_than_was_promised_is_refused(said: bytes, reason: str) -> None:
    async with raw_server(saying(said)) as server, asking() as http:
        with pytest.raises(Corrupt) as caught:
            await pulled(http, server)
    assert caught.value.reason == reason


@pytest.mark.anyio
@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10240\r\nContent-Length: 10241\r\n\r\n" + BLOB,
        b"HTTP/1.1 200 OK\r\nContent-Length: -10240\r\n\r\n" + BLOB,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10240, 1\r\n\r\n" + BLOB,
    ],
)
async def test_two_lengths_or_less_than_none_are_no_http(said: bytes) -> None:
    async with raw_server(saying(said)) as server, asking() as http:
        with pytest.raises(Unavailable):
            await pulled(http, server)


@pytest.mark.anyio
@pytest.mark.parametrize("said", [answer(BLOB)[:-240], chunked(BLOB[:-240], end=b""), chunked(BLOB[:-240])])
async def test_where_it_breaks_off_is_known(said: bytes) -> None:
    received: list[bytes] = []
    async with (
        raw_server(saying(said)) as server,
        asking() as http,
        http.get(server.url(), ERRAND, {}) as got,
    ):
        with pytest.raises(Unavailable, match="broke off"):
            await _read(got, len(BLOB), received)
        assert got.bytes_received == 10_000
    assert b"".join(received) == BLOB[:10_000]


async def _read(got: Answer, size: int, into: list[bytes]) -> None:
    async for chunk in got.chunks_exact(size):
        into.append(chunk)  # noqa: PERF401 (what came before an exception is kept)


@pytest.mark.anyio
async def test_an_endless_blob_ends_at_the_first_byte_too_many() -> None:
    async def endless(_target: str, say: Say) -> None:
        await say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await say(b"1000\r\n%b\r\n" % bytes(4096))

    received: list[bytes] = []
    async with raw_server(endless) as server, asking() as http, http.get(server.url(), ERRAND, {}) as got:
        with pytest.raises(Corrupt) as caught:
            await _read(got, 50_000, received)
    assert caught.value.reason == "too_large"
    assert len(b"".join(received)) <= 50_000


@pytest.mark.anyio
async def test_a_big_blob_may_take_hours_at_a_fair_pace_and_other_bodies_may_not() -> None:
    """The clock is the test's: an hour passes at every look at it, of which upstream takes a part."""
    clock = Clock()
    limits = HttpLimits(least_bytes_per_second=0)

    def passing() -> float:
        clock.seconds += 3600
        return clock.seconds

    async with raw_server(saying(answer(BLOB))) as server, asking(limits, clock=passing) as http:
        assert await pulled(http, server) == (BLOB, len(BLOB))
        async with http.get(server.url(), ERRAND, {}) as got:
            with pytest.raises(Unavailable, match="too slowly"):
                assert [chunk async for chunk in got.chunks(len(BLOB))]


@pytest.mark.anyio
async def test_a_blob_below_the_least_pace_is_an_outage_and_trouble() -> None:
    clock = Clock()

    def passing() -> float:
        clock.seconds += 60
        return clock.seconds

    async with raw_server(saying(answer(BLOB))) as server, asking(clock=passing) as http:
        with pytest.raises(Unavailable, match="too slowly"):
            await pulled(http, server)
        assert http.is_troubled(server.url(), ERRAND)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("said", "start"),
    [
        (answer(BLOB[100:], "Content-Range: bytes 100-10239/10240", status=206), 100),
        (answer(BLOB[100:], "Content-Range: bytes 100-10239/*", status=206), 100),
        (answer(BLOB), 0),
    ],
)
async def test_a_range_begins_where_it_was_asked_to_or_at_the_beginning(said: bytes, start: int) -> None:
    async with (
        raw_server(saying(said)) as server,
        asking() as http,
        http.get(server.url(), ERRAND, {"Range": "bytes=100-"}) as got,
    ):
        assert got.require_range(100, len(BLOB)) == start
        content = b"".join([chunk async for chunk in got.chunks_exact(len(BLOB) - start)])
    assert content == BLOB[start:]
    assert server.headers(0)["range"] == "bytes=100-"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "header",
    [
        *("X: y", "Content-Range: bytes 0-10239/10240", "Content-Range: bytes 100-10238/10240"),
        *("Content-Range: bytes 100-10239/10241", "Content-Range: bytes */10240", "Content-Range: 100-10239"),
        *("Content-Range: bytes 100-10239/10240, bytes 1-2/3", "Content-Range: bytes +100-10239/10240"),
        *("Content-Range: bytes 99-10239/10240", "Content-Range: bytes 0100-10239/10240"),
    ],
)
async def test_another_range_is_refused(header: str) -> None:
    said = answer(BLOB[100:], header, status=206)
    async with (
        raw_server(saying(said)) as server,
        asking() as http,
        http.get(server.url(), ERRAND, {}) as got,
    ):
        with pytest.raises(Corrupt) as caught:
            got.require_range(100, len(BLOB))
    assert caught.value.reason == "bad_range"


@pytest.mark.anyio
@pytest.mark.parametrize(("status", "kind"), [(404, Missing), (416, Corrupt), (500, Unavailable)])
async def test_no_range_is_the_outcome_of_its_status(status: int, kind: type[Outcome]) -> None:
    async with (
        raw_server(saying(answer(status=status))) as server,
        asking() as http,
        http.get(server.url(), ERRAND, {}) as got,
    ):
        with pytest.raises(kind):
            got.require_range(100, len(BLOB))


@pytest.mark.anyio
async def test_a_head_is_all_that_comes_and_its_length_is_the_blobs() -> None:
    async def script(target: str, say: Say) -> None:
        location = "Location: /there" if target == "/x" else "ETag: x"
        await say(answer(BLOB, location, status=302 if target == "/x" else 200)[: -len(BLOB)])

    async with (
        raw_server(script) as server,
        asking(directory=EveryoneMay({server.origin: "Basic Zm9v"})) as http,
        http.head(server.url(), ERRAND, {"Accept": "a/b"}) as got,
    ):
        got.require_ok("a blob")
        assert (got.content_length, got.bytes_received, str(got.url)) == (
            len(BLOB),
            0,
            f"{server.origin}/there",
        )
    assert [head.split(" ")[0] for head in server.heads] == ["HEAD", "HEAD"]
    assert server.headers(1)["accept"] == "a/b"
    assert server.headers(1)["authorization"] == "Basic Zm9v"


@pytest.mark.anyio
async def test_a_head_without_a_length_has_none() -> None:
    async with (
        raw_server(saying(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")) as server,
        asking() as http,
        http.head(server.url(), ERRAND, {}) as got,
    ):
        assert got.content_length is None


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("status", "is_loop"), [(502, True), (503, False), (500, False)])
async def test_a_gateway_that_says_loop_in_a_header_is_skipped(
    method: str, status: int, *, is_loop: bool
) -> None:
    said = answer(b"", "X-Gateway-Refused: loop", status=status)
    async with raw_server(saying(said)) as server, asking() as http:
        for _ in range(4):  # for a gateway that answers so is well
            ask = http.get if method == "GET" else http.head
            async with ask(server.url(), ERRAND, {}) as got:
                with pytest.raises(Skipped if is_loop else Unavailable) as caught:
                    await got.require_ok_or_loop("x")
            if not is_loop:
                break
    assert ("leads back to this gateway" in caught.value.message) == is_loop


def refusal(reason: object) -> bytes:
    return json.dumps(
        {"errors": [{"code": "UNKNOWN", "message": "m", "detail": {"reason": reason}}]}
    ).encode()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (refusal("loop"), Skipped),
        (refusal("down"), Unavailable),
        (refusal(["loop"]), Unavailable),
        (b'{"errors": []}', Unavailable),
        (b'{"errors": [{"detail": "loop"}]}', Unavailable),
        (b"[" * 16_000, Unavailable),
        (b"<html>loop</html>", Unavailable),
        (refusal("loop") + b" " * 16_384, Unavailable),
        (b"", Unavailable),
    ],
)
async def test_a_gateway_that_says_loop_in_its_refusal_is_skipped(body: bytes, kind: type[Outcome]) -> None:
    async with (
        raw_server(saying(answer(body, status=502))) as server,
        asking() as http,
        http.get(server.url(), ERRAND, {}) as got,
    ):
        with pytest.raises(kind):
            await got.require_ok_or_loop("x")
