"""An origin's queue has an end, and what is known of origins has one too."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs

from gateway.oci.outcomes import Unavailable
from gateway.sources.breaker import Ending
from gateway.sources.origins import HttpLimits, Origin, Origins
from tests.sources.asking import Clock


async def _take(origin: Origin, release: asyncio.Event) -> None:
    async with origin.place("a.example.org"):
        await release.wait()


@pytest.mark.anyio
async def test_sixteen_are_asked_a_thousand_wait_and_the_next_one_is_told_to_come_back() -> None:
    origin, release = Origins(HttpLimits()).get("https://a.example.org"), asyncio.Event()
    tasks = [asyncio.create_task(_take(origin, release)) for _ in range(16 + 1000)]
    await asyncio.sleep(0)
    async with AsyncExitStack() as stack:
        with pytest.raises(Unavailable) as caught:
            await stack.enter_async_context(origin.place("a.example.org"))
    assert (caught.value.is_rate_limited, caught.value.retry_after_seconds) == (True, 1)
    release.set()
    await asyncio.gather(*tasks)
    assert origin.is_idle
    await _take(origin, release)


@pytest.mark.anyio
async def test_nobody_waits_in_the_queue_for_longer_than_for_a_first_byte() -> None:
    limits = HttpLimits(concurrency=1, first_byte_seconds=0.01)
    origin = Origins(limits).get("https://a.example.org")
    async with origin.place("a.example.org"):
        with pytest.raises(Unavailable, match="busy") as caught:
            await _take(origin, asyncio.Event())
    assert not caught.value.is_rate_limited
    async with origin.place("a.example.org"):  # the place is free again
        assert not origin.is_troubled()


@pytest.mark.anyio
async def test_who_leaves_the_queue_leaves_no_gap() -> None:
    origin, release = Origins(HttpLimits(concurrency=1, max_waiting=1)).get("x"), asyncio.Event()
    first, second = (asyncio.create_task(_take(origin, release)) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    third = asyncio.create_task(_take(origin, release))
    release.set()
    await asyncio.gather(first, third)
    assert origin.is_idle


def test_of_origins_at_rest_the_longest_unasked_are_forgotten() -> None:
    origins = Origins(HttpLimits(), max_count=3)
    busy, kept = origins.get("busy"), origins.get("kept")
    with busy.attempt("busy"):
        origins.get("forgotten")
        origins.get("kept")
        origins.get("new")
        assert origins.get("busy") is busy
        assert origins.get("kept") is kept
        assert len(origins) == 3
        origins.get("new").has_failed = True
        origins.get("forgotten")
        assert origins.is_troubled("new")
        origins.get("newer")
        origins.get("newest")
        assert not origins.is_troubled("new")
        assert origins.get("busy") is busy


def test_a_pause_and_its_end_are_logged_once_each() -> None:
    clock = Clock()
    origin = Origins(HttpLimits(), clock).get("https://a.example.org")
    with capture_logs() as logs:
        for ending in (Ending.SILENT, Ending.FAILED, Ending.SILENT, Ending.ANSWERED, Ending.ANSWERED):
            with origin.attempt("a.example.org") as attempt:
                attempt.end(ending)
            clock.seconds += 15
    assert [(line["event"], line.get("reason")) for line in logs] == [
        ("upstream_paused", "silent"),
        ("upstream_back", None),
    ]
    assert all(line["origin"] == "https://a.example.org" for line in logs)


@pytest.mark.parametrize(("bytes_per_second", "is_slow"), [(0, True), (10_000, True), (10_241, False)])
def test_a_drip_is_told_by_all_that_it_made_us_wait(bytes_per_second: int, *, is_slow: bool) -> None:
    clock = Clock()
    origin = Origins(HttpLimits(), clock).get("https://a.example.org")
    with origin.attempt("a.example.org") as attempt:
        for _ in range(3):
            with attempt.waiting():
                clock.seconds += 1
            attempt.received_bytes += bytes_per_second
            clock.seconds += 60  # ours
        assert origin.is_troubled() == is_slow
    assert not origin.is_troubled()
