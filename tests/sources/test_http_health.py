"""Who fails is left alone for a while, who limits us for as long as it says; nobody waits for a dead host."""

import asyncio
from collections.abc import Sequence

import httpcore
import pytest

from gateway.oci.outcomes import Unavailable, UnknownHost
from gateway.oci.urls import HttpUrl
from gateway.sources.http import Http, HttpLimits
from tests.composed import FakeDns
from tests.sources.asking import ERRAND, HOME, Clock, Mirrored, asking, fetched, outcome_of
from tests.sources.raw_server import Say, Script, answer, black_hole, raw_server, saying

pytestmark = pytest.mark.slow  # real sockets, seconds together

GOOD = answer(b"good")
AT_ONCE = HttpLimits(connect_seconds=0.01, first_byte_seconds=0.02, idle_seconds=0.02)
NOON = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


def in_turn(*answers: bytes) -> Script:
    """One answer after another; the last one for ever."""
    left = list(answers)

    async def script(_target: str, say: Say) -> None:
        await say(left.pop(0) if len(left) > 1 else left[0])

    return script


async def _silent(_target: str, _say: Say) -> None:
    await asyncio.Event().wait()


@pytest.mark.anyio
@pytest.mark.parametrize("said", [answer(status=500), answer(status=503), b"", b"SSH-2.0-OpenSSH_9.6\r\n"])
async def test_after_three_failures_nobody_asks_for_15_seconds_and_then_one_does(said: bytes) -> None:
    clock = Clock()
    async with raw_server(in_turn(said, said, said, said, GOOD)) as server, asking(clock=clock) as http:
        for _ in range(3):
            assert isinstance(await outcome_of(http, server.url()), Unavailable)
        for elapsed, left in ((0.0, 15), (5.0, 10), (9.5, 1)):
            clock.seconds += elapsed
            paused = await outcome_of(http, server.url())
            assert isinstance(paused, Unavailable)
            assert (paused.retry_after_seconds, paused.is_rate_limited) == (left, False)
        assert len(server.heads) == 3
        clock.seconds += 0.5
        assert await outcome_of(http, server.url()) is not None  # the probe fails: 15 s more
        assert await outcome_of(http, server.url()) is not None
        assert len(server.heads) == 4
        clock.seconds += 15
        assert await fetched(http, server.url()) == b"good"
        assert not http.is_troubled(server.url(), ERRAND)


@pytest.mark.anyio
@pytest.mark.parametrize("status", [200, 304, 400, 401, 403, 404, 410, 418, 429])
async def test_whoever_answers_is_well_whatever_it_says(status: int) -> None:
    down = answer(status=500)
    script = in_turn(down, down, answer(status=status), down, down, GOOD)
    async with raw_server(script) as server, asking() as http:
        for _ in range(5):
            await outcome_of(http, server.url())
        assert await fetched(http, server.url()) == b"good"


@pytest.mark.anyio
async def test_nobody_listening_is_asked_three_times() -> None:
    async with raw_server(saying(GOOD)) as server:
        url = server.url()
    async with asking() as http:
        for _ in range(3):
            refused = await outcome_of(http, url)
            assert isinstance(refused, Unavailable)
            assert refused.retry_after_seconds is None
        paused = await outcome_of(http, url)
    assert isinstance(paused, Unavailable)
    assert paused.retry_after_seconds == 15


@pytest.mark.anyio
async def test_silence_is_met_once() -> None:
    async with raw_server(_silent) as server, asking(AT_ONCE) as http:
        assert isinstance(await outcome_of(http, server.url()), Unavailable)
        paused = await outcome_of(http, server.url())
        assert http.is_troubled(server.url(), ERRAND)
    assert isinstance(paused, Unavailable)
    assert paused.retry_after_seconds == 15
    assert len(server.heads) == 1


@pytest.mark.anyio
async def test_who_queued_for_a_host_that_failed_meanwhile_does_not_ask_it_either() -> None:
    async with raw_server(saying(answer(status=500))) as server, asking(HttpLimits(concurrency=1)) as http:
        outcomes = await asyncio.gather(*(outcome_of(http, server.url()) for _ in range(6)))
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert len(server.heads) == 3


@pytest.mark.anyio
async def test_a_black_hole_is_silence_too() -> None:
    with black_hole() as url:
        async with asking(AT_ONCE) as http:
            met = await outcome_of(http, url)
            paused = await outcome_of(http, url)
    assert isinstance(met, Unavailable)
    assert "no connection" in met.message
    assert met.retry_after_seconds is None
    assert isinstance(paused, Unavailable)
    assert paused.retry_after_seconds == 15


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "count"), [(httpcore.ConnectTimeout("slow"), 1), (httpcore.ConnectError("broken"), 3)]
)
async def test_dns_that_does_not_answer_is_silence_and_dns_that_fails_a_failure(
    error: Exception, count: int
) -> None:
    asked: list[str] = []

    async def failing(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        raise error

    async with asking(directory=Mirrored([]), resolver=failing) as http:
        for _ in range(5):
            outcome = await outcome_of(http, HttpUrl("https", "a.example.org", 443))
            assert isinstance(outcome, Unavailable)
    assert len(asked) == count


@pytest.mark.anyio
async def test_a_name_that_does_not_resolve_is_no_failure_of_a_host() -> None:
    dns = FakeDns({"private.example.org": ["10.0.0.1"]})
    async with asking(directory=Mirrored([]), resolver=dns) as http:
        for host in ("nowhere.example.org", "private.example.org"):
            for _ in range(5):
                outcome = await outcome_of(http, HttpUrl("https", host, 443))
                assert isinstance(outcome, UnknownHost)
                assert outcome.is_refused == (host == "private.example.org")
            assert http.is_troubled(HttpUrl("https", host, 443), ERRAND)


@pytest.mark.anyio
async def test_only_one_probe_passes_at_a_time_and_who_leaves_fails_nobody() -> None:
    clock, gate, arrived = Clock(), asyncio.Event(), asyncio.Semaphore(0)

    async def held_back(_target: str, say: Say) -> None:
        arrived.release()
        await gate.wait()
        await say(GOOD)

    async with raw_server(held_back) as server, asking(clock=clock) as http:
        http.origins.get(server.origin).wait(60, is_rate_limited=False)
        clock.seconds += 60
        probe = asyncio.create_task(fetched(http, server.url()))
        await arrived.acquire()
        paused = await outcome_of(http, server.url())
        assert isinstance(paused, Unavailable)
        assert paused.retry_after_seconds == 1
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        probe = asyncio.create_task(fetched(http, server.url()))  # the next one may try
        await arrived.acquire()
        gate.set()
        assert await probe == b"good"
        assert await asyncio.gather(*(fetched(http, server.url()) for _ in range(3))) == [b"good"] * 3
    assert len(server.heads) == 5


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "retry_after", "seconds"),
    [
        (429, "7", 7),
        (503, "7", 7),
        (429, "0", 1),
        (503, "999999", 3600),
        (429, "Tue, 14 Nov 2023 22:14:20 GMT", 60),
        (503, "Tue, 14 Nov 2023 22:00:00 GMT", 1),
        (429, "Wed, 14 Nov 2096 22:13:20 GMT", 3600),
    ],
)
async def test_who_says_when_is_asked_once_in_that_time(status: int, retry_after: str, seconds: int) -> None:
    clock = Clock()
    limited = answer(b"", f"Retry-After: {retry_after}", status=status)
    async with (
        raw_server(in_turn(limited, limited, GOOD)) as server,
        asking(clock=clock, now=lambda: NOON) as http,
    ):
        for window in (1, 2):
            for _ in range(3):
                outcome = await outcome_of(http, server.url())
                assert isinstance(outcome, Unavailable)
                assert outcome.retry_after_seconds == seconds
                assert outcome.is_rate_limited == (status == 429)
            assert len(server.heads) == window
            assert http.is_troubled(server.url(), ERRAND)
            clock.seconds += seconds
        assert await fetched(http, server.url()) == b"good"


@pytest.mark.anyio
@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "\xb2", "99999999999999999999", "Tue, 99 Nov 2023"])
async def test_a_word_that_cannot_be_read_is_none(value: str) -> None:
    limited = answer(b"", f"Retry-After: {value}", status=429)
    async with raw_server(in_turn(limited, GOOD)) as server, asking() as http:
        outcome = await outcome_of(http, server.url())
        assert isinstance(outcome, Unavailable)
        assert outcome.retry_after_seconds is None
        assert await fetched(http, server.url()) == b"good"


@pytest.mark.anyio
async def test_an_origin_that_was_never_asked_is_in_no_trouble() -> None:
    async with asking() as http:
        assert not http.is_troubled(HOME, ERRAND)


@pytest.mark.anyio
async def test_one_failure_is_trouble_until_an_answer_is_read_to_its_end() -> None:
    cut = GOOD[:-1]
    script = in_turn(cut, GOOD, answer(status=500), cut, answer(status=404), answer(status=500), GOOD)
    async with raw_server(script) as server, asking() as http:
        for is_troubled in (True, False, True, True, False, True, False):
            await outcome_of(http, server.url())
            assert http.is_troubled(server.url(), ERRAND) == is_troubled


@pytest.mark.anyio
async def test_a_wait_for_the_first_byte_that_nobody_with_a_copy_has_is_trouble() -> None:
    clock, came = Clock(), asyncio.Event()

    async def stalls(_target: str, _say: Say) -> None:
        came.set()
        await asyncio.Event().wait()

    async with raw_server(stalls) as server, asking(clock=clock) as http:
        waiting = asyncio.create_task(fetched(http, server.url()))
        await came.wait()
        await _require_trouble_after_a_while(http, server.url(), clock)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not http.is_troubled(server.url(), ERRAND)


@pytest.mark.anyio
async def test_a_body_that_drips_is_no_better_than_silence() -> None:
    clock = Clock()

    async def stalls(_target: str, say: Say) -> None:
        await say(answer(b"x" * 100)[:-99])
        await asyncio.Event().wait()

    async with (
        raw_server(stalls) as server,
        asking(clock=clock) as http,
        http.get(server.url(), ERRAND, {}) as got,
    ):
        pieces = aiter(got.chunks(100))
        assert await anext(pieces) == b"x"
        waiting = asyncio.ensure_future(anext(pieces))
        await asyncio.sleep(0)
        await _require_trouble_after_a_while(http, server.url(), clock)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def _require_trouble_after_a_while(http: Http, url: HttpUrl, clock: Clock) -> None:
    for elapsed, is_troubled in ((0.0, False), (2.4, False), (0.2, True)):
        clock.seconds += elapsed
        assert http.is_troubled(url, ERRAND) == is_troubled


@pytest.mark.anyio
async def test_a_transfer_at_a_fair_pace_is_no_trouble_however_long_it_takes() -> None:
    clock = Clock()
    async with (
        raw_server(saying(answer(bytes(1 << 20)))) as server,
        asking(clock=clock) as http,
        http.get(server.url(), ERRAND, {}) as got,
    ):
        async for _ in got.chunks(1 << 20):
            clock.seconds += 3  # ours, not upstream's
            assert not http.is_troubled(server.url(), ERRAND)
