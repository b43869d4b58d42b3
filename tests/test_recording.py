"""What a process serves is counted in memory, and written down in time, whatever the catalog does."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.activity_seen import Span
from gateway.oci.errors import OciError, Situation
from gateway.oci.repository import Repository
from gateway.pulled import Cache
from gateway.rules.route import Wanted
from gateway.sources.breaker import Ending
from gateway.store.activity_rows import RecentPull, RuleHits
from gateway.store.blobs import StorageFailed
from gateway.store.conditions import Trouble
from tests.activity_house import (
    CLOSED,
    DEMO,
    HIT,
    MANIFEST,
    TARGET,
    ActivityHouse,
    Worker,
    activity_house,
)

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # many small tests

MISS = replace(HIT, cache=Cache.MISS)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[ActivityHouse]:
    async with activity_house(tmp_path) as opened:
        yield opened


@pytest.fixture
def worker(house: ActivityHouse) -> Worker:
    return house.worker


async def totals(worker: Worker) -> dict[tuple[str, str], tuple[int, int]]:
    rows = await worker.book.served(0, 0)
    return {(row.outcome, row.source): (row.requests, row.sent_bytes) for row in rows}


async def test_every_request_is_counted_by_outcome_and_source(worker: Worker) -> None:
    worker.recorder.manifest(DEMO, "1.0.0", MISS, 2)
    worker.recorder.manifest(DEMO, "1.0.0", HIT, 2)
    worker.recorder.served(Cache.JOINED, "registry", 1000)
    worker.recorder.refused(OciError(Situation.DENIED, "no"), CLOSED)
    worker.recorder.refused(OciError(Situation.NOT_SIGNED_IN, "no"), DEMO)
    worker.recorder.refused(OciError(Situation.BLOB_NOT_KNOWN, "none"), None)
    worker.recorder.refused(OciError(Situation.SOURCES_DOWN, "down"), None)
    worker.recorder.refused(StorageFailed("full"), None)
    await worker.recorder.flush()
    assert await totals(worker) == {
        ("miss", "helm"): (1, 2),
        ("hit", "helm"): (1, 2),
        ("joined", "registry"): (1, 1000),
        ("denied", ""): (2, 0),
        ("not_found", ""): (1, 0),
        ("error", ""): (2, 0),
    }


async def test_counters_go_on_after_a_restart_and_a_kill_loses_what_was_not_written(worker: Worker) -> None:
    worker.recorder.manifest(DEMO, "1.0.0", HIT, 2)
    await worker.recorder.flush()
    worker.recorder.manifest(DEMO, "1.0.0", HIT, 2)  # and it is killed
    again = worker.restarted()
    again.recorder.manifest(DEMO, "1.0.0", HIT, 2)
    await again.recorder.flush()
    assert await totals(again) == {("hit", "helm"): (2, 4)}
    assert (await again.last_pulls())[0].pulls == 2


async def test_a_rule_is_hit_by_what_it_routes_and_by_what_it_denies(worker: Worker) -> None:
    short, closed = worker.rules.rules
    worker.recorder.manifest(DEMO, "1.0.0", HIT, 2)
    worker.recorder.manifest(DEMO, "", HIT, 2)
    worker.recorder.refused(OciError(Situation.DENIED, "no"), CLOSED)
    worker.recorder.manifest(Wanted(Repository.parse("unruled.example.test/x")), "1", HIT, 2)
    await worker.recorder.flush()
    now = worker.clock.seconds
    hits = await worker.book.hits([short.key, closed.key])
    assert hits == {short.key: RuleHits(2, now), closed.key: RuleHits(1, now)}


async def test_a_pull_is_noted_with_the_place_that_its_name_leads_to(worker: Worker) -> None:
    worker.recorder.manifest(DEMO, "1.0.0", MISS, 2)
    worker.recorder.manifest(DEMO, "1.0.0", HIT, 2)
    worker.recorder.manifest(DEMO, "", HIT, 2)  # somebody looked whether a digest is there
    await worker.recorder.flush()
    at = worker.clock.seconds
    assert await worker.last_pulls() == [RecentPull("apps/demo", "1.0.0", str(TARGET), "hit", 2, at)]


async def test_between_two_writings_the_newest_two_thousand_pulls_are_remembered(worker: Worker) -> None:
    for number in range(2001):
        worker.recorder.manifest(DEMO, f"1.0.{number}", HIT, 2)
    await worker.recorder.flush()
    references = {pull.reference for pull in await worker.last_pulls()}
    assert (len(references), "1.0.0" in references, "1.0.2000" in references) == (2000, False, True)


async def test_what_the_catalog_refuses_is_written_the_next_time(worker: Worker) -> None:
    worker.recorder.manifest(DEMO, "1.0.0", HIT, 2)
    worker.tap("rows_lost", {"count": 3, "means": "they are fetched again"})
    worker.book.is_down = True
    await worker.recorder.flush()
    assert await totals(worker) == {}
    worker.recorder.manifest(DEMO, "1.0.0", MISS, 2)
    worker.recorder.manifest(DEMO, "2.0.0", HIT, 2)
    await worker.recorder.flush()
    worker.book.is_down = False
    await worker.recorder.flush()
    assert await totals(worker) == {("hit", "helm"): (2, 4), ("miss", "helm"): (1, 2)}
    pulls = {pull.reference: (pull.pulls, pull.outcome) for pull in await worker.last_pulls()}
    assert pulls == {"1.0.0": (2, "miss"), "2.0.0": (1, "hit")}
    assert await worker.book.all_hits() == 3
    assert [row.kind for row in await worker.book.events(None, None, 9)] == ["rows_lost"]
    await worker.recorder.flush()
    assert await totals(worker) == {("hit", "helm"): (2, 4), ("miss", "helm"): (1, 2)}


async def test_what_waited_counts_for_the_minute_it_was_served_in(worker: Worker) -> None:
    worker.book.is_down = True
    worker.recorder.served(Cache.HIT, "helm", 1)
    await worker.recorder.flush()
    worker.clock.seconds += 180
    worker.book.is_down = False
    worker.recorder.served(Cache.HIT, "helm", 1)
    await worker.recorder.flush()
    assert [row.requests for row in await worker.book.served(60, 0)] == [1, 1]


async def test_what_is_known_of_an_origin_is_written_where_it_changed(worker: Worker) -> None:
    origin = worker.origins.get("https://charts.example.test")
    with origin.attempt("charts.example.test") as attempt:
        attempt.end(Ending.FAILED, "connection refused")
    await worker.recorder.flush()
    (first,) = await worker.book.states("ours", worker.clock.seconds)
    worker.clock.seconds += 60
    await worker.recorder.flush()
    assert await worker.book.states("ours", worker.clock.seconds) == [first]
    assert '"last_error":"connection refused"' in first.facts
    again = worker.restarted()
    await again.recorder.flush()
    assert await again.book.states("ours", worker.clock.seconds) == []


async def test_a_trouble_is_told_as_long_as_it_lasts(worker: Worker) -> None:
    worker.troubles["disk_full"] = Trouble("the disk is full", 1.0)
    await worker.recorder.flush()
    (told,) = await worker.book.states("ours", worker.clock.seconds)
    assert (told.origin, '"disk_full"' in told.facts) == ("", True)
    worker.troubles.clear()
    await worker.recorder.flush()
    assert await worker.book.states("ours", worker.clock.seconds) == []


async def test_the_last_hour_has_sixty_bars_of_which_empty_ones_are_empty(house: ActivityHouse) -> None:
    desk, worker = house.desk, house.worker
    worker.recorder.served(Cache.HIT, "helm", 10)
    await worker.recorder.flush()
    worker.clock.seconds += 120
    worker.recorder.served(Cache.MISS, "registry", 5)
    worker.recorder.refused(OciError(Situation.DENIED, "no"), None)
    await worker.recorder.flush()
    hour = await desk.served(Span.HOUR)
    assert (len(hour.rows), hour.step_seconds, hour.total, hour.sent_bytes) == (60, 60, 3, 15)
    assert [dict(bar.by_outcome) for bar in hour.rows[-3:]] == [{"hit": 1}, {}, {"miss": 1, "denied": 1}]
    assert (hour.by_outcome, hour.by_source) == (
        {"hit": 1, "miss": 1, "denied": 1},
        {"helm": 1, "registry": 1},
    )
    week = await desk.served(Span.WEEK)
    assert (len(week.rows), week.rows[-1].sent_bytes, week.begins_at[-1] % 3600) == (168, 15, 0)
    assert len((await desk.served(Span.DAY)).rows) == 24


async def test_who_asks_by_tag_and_then_by_its_digest_pulled_once(house: ActivityHouse) -> None:
    desk, worker = house.desk, house.worker
    digest = str(MANIFEST.digest)
    worker.recorder.manifest(DEMO, "1.0.0", HIT, 0)
    worker.recorder.manifest(DEMO, digest, HIT, 2)
    worker.recorder.manifest(CLOSED, digest, HIT, 2)
    await worker.recorder.flush()
    shown = [(pull.name, pull.reference) for pull in await desk.newest_pulls()]
    assert sorted(shown) == [("apps/demo", "1.0.0"), ("closed/demo", digest)]
    assert set(await desk.last_pulls(str(TARGET))) == {"1.0.0", digest}


async def test_events_are_read_by_kind_and_by_severity(house: ActivityHouse) -> None:
    desk, worker = house.desk, house.worker
    worker.tap("drift", {"target": "t", "tag": "1", "seen_digest": "d"})
    worker.tap("rows_lost", {"count": 1, "means": "gone"})
    await worker.recorder.flush()
    assert [event.kind for event in await desk.events(severity="error")] == ["rows_lost"]
    assert [event.kind for event in await desk.events("drift", "warning")] == ["drift"]
    assert await desk.events("drift", "error") == []
    assert await desk.event_kinds() == {"drift": 1, "rows_lost": 1}
