"""The book of activity: adds up over workers and restarts, and stays small, on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Table, func, insert, select

from gateway.oci.postgres_url import PostgresUrl
from gateway.store import activity_book
from gateway.store.activity_book import ActivityBook
from gateway.store.activity_rows import (
    DAY_SECONDS,
    HOUR_SECONDS,
    MINUTE_SECONDS,
    SINCE_EVER,
    Counted,
    Harvest,
    Noted,
    RecentPull,
    RuleHits,
    Teller,
    ToldState,
)
from gateway.store.admin_tables import activity, events, recent_pulls
from gateway.store.counts import counts, jobs_by_state
from gateway.store.engine import Engines
from tests.postgres import open_engines

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # two databases each

NOW = 1_800_000_000 // DAY_SECONDS * DAY_SECONDS + HOUR_SECONDS + 61
FIRST, SECOND = Teller("ours", 0), Teller("ours", 1)
OTHERS = Teller("others", 0)


@pytest.fixture
async def engines(database: PostgresUrl | None, tmp_path: Path) -> AsyncIterator[Engines]:
    opened = open_engines(database, tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def book(engines: Engines) -> ActivityBook:
    return ActivityBook(engines)


def noted(subject: str = "a", at: float = NOW, times: int = 1, *, is_everybodys: bool = False) -> Noted:
    return Noted("drift", subject, f"seen at {at}", times, at, at, is_everybodys)


def pull(reference: str, at: float, name: str = "charts.example.test/demo", pulls: int = 1) -> RecentPull:
    return RecentPull(name, reference, "charts.example.test/demo", "hit", pulls, at)


async def test_what_two_workers_served_is_added_up_in_every_step(book: ActivityBook) -> None:
    minute = NOW // MINUTE_SECONDS * MINUTE_SECONDS
    served = {(minute, "hit", "helm"): (3, 300), (minute, "denied", ""): (1, 0)}
    for teller in (FIRST, SECOND):
        await book.keep(teller, Harvest(served=served), NOW)
    await book.keep(FIRST, Harvest(served={(minute - 60, "hit", "helm"): (10, 1)}), NOW)
    for step, hits, sent_bytes in ((MINUTE_SECONDS, 6, 600), (HOUR_SECONDS, 16, 601), (DAY_SECONDS, 16, 601)):
        begins_at = NOW // step * step
        assert await book.served(step, begins_at) == [
            Counted(begins_at, "denied", "", 2, 0),
            Counted(begins_at, "hit", "helm", hits, sent_bytes),
        ]
    assert Counted(0, "hit", "helm", 16, 601) in await book.served(SINCE_EVER, 0)


async def test_hits_and_pulls_are_added_up_and_the_last_time_counts(book: ActivityBook) -> None:
    harvest = Harvest(hits={"k1": RuleHits(2, NOW), "k2": RuleHits(1, NOW)}, pulls=[pull("1.0.0", NOW)])
    await book.keep(FIRST, harvest, NOW)
    again = Harvest(
        hits={"k1": RuleHits(5, NOW + 9)}, pulls=[pull("1.0.0", NOW + 9, pulls=4), pull("2.0.0", NOW)]
    )
    await book.keep(SECOND, again, NOW + 9)
    assert await book.hits(["k1", "k2", "k3"]) == {"k1": RuleHits(7, NOW + 9), "k2": RuleHits(1, NOW)}
    assert await book.all_hits() == 8
    assert await book.newest_pulls(10) == [pull("1.0.0", NOW + 9, pulls=5), pull("2.0.0", NOW)]
    assert await book.newest_pulls(1) == [pull("1.0.0", NOW + 9, pulls=5)]
    assert len(await book.pulls_of("charts.example.test/demo", 10)) == 2
    assert await book.pulls_of("charts.example.test/other", 10) == []


async def test_more_keys_than_fit_into_one_question_are_asked_for_in_parts(book: ActivityBook) -> None:
    await book.keep(FIRST, Harvest(hits={f"k{n}": RuleHits(n, NOW) for n in range(1200)}), NOW)
    assert len(await book.hits([f"k{n}" for n in range(1200)])) == 1200


async def test_an_event_that_comes_again_within_an_hour_is_the_same_one(book: ActivityBook) -> None:
    await book.keep(FIRST, Harvest(events=[noted(), noted("b")]), NOW)
    await book.keep(SECOND, Harvest(events=[noted(at=NOW + 3599, times=2)]), NOW)
    newest, oldest = await book.events(None, None, 10)
    assert (newest.subject, newest.times) == ("b", 1)
    assert (oldest.times, oldest.first_at, oldest.last_at) == (3, NOW, NOW + 3599)
    assert oldest.detail == f"seen at {NOW + 3599}"
    await book.keep(FIRST, Harvest(events=[noted(at=NOW + 9000)]), NOW)
    assert [row.subject for row in await book.events(None, None, 10)] == ["a", "b", "a"]


async def test_an_event_that_never_ends_is_a_new_one_after_a_day(book: ActivityBook) -> None:
    for half_hours in range(51):
        await book.keep(FIRST, Harvest(events=[noted(at=NOW + 1800 * half_hours)]), NOW)
    newest, oldest = await book.events(None, None, 10)
    assert (oldest.times, newest.times) == (49, 2)
    assert newest.first_at == NOW + DAY_SECONDS + 1800


async def test_what_every_worker_says_is_one_event_met_once(book: ActivityBook) -> None:
    for teller in (FIRST, SECOND):
        await book.keep(teller, Harvest(events=[noted(is_everybodys=True)]), NOW)
    assert [row.times for row in await book.events(None, None, 10)] == [1]


async def test_events_are_read_in_pages_and_by_kind(book: ActivityBook) -> None:
    await book.keep(FIRST, Harvest(events=[noted(f"s{n}") for n in range(5)]), NOW)
    first = await book.events(None, None, 2)
    assert [row.subject for row in first] == ["s4", "s3"]
    assert [row.subject for row in await book.events(None, first[-1].number, 2)] == ["s2", "s1"]
    assert await book.events(["trouble"], None, 2) == []
    assert len(await book.events(["trouble", "drift"], None, 9)) == 5
    assert await book.event_counts() == {"drift": 5}
    assert await book.event_counts(NOW + 1) == {}


async def test_states_are_replaced_forgotten_and_gone_with_their_process(book: ActivityBook) -> None:
    await book.keep(FIRST, Harvest(states={"https://a": "1", "https://b": "1"}), NOW)
    await book.keep(SECOND, Harvest(states={"https://a": "2"}), NOW)
    await book.keep(FIRST, Harvest(states={"https://a": "3"}, forgotten=["https://b"]), NOW + 5)
    assert await book.states("ours", NOW) == [
        ToldState(FIRST, "https://a", "3", NOW + 5),
        ToldState(SECOND, "https://a", "2", NOW),
    ]
    await book.begin(FIRST, 2)
    assert [one.teller for one in await book.states("ours", NOW)] == [SECOND]
    await book.begin(FIRST, 1)  # there is no second one any more
    assert await book.states("ours", NOW) == []


async def test_another_gateways_states_are_shown_while_it_lives_and_forgotten_after_a_day(
    book: ActivityBook,
) -> None:
    await book.keep(OTHERS, Harvest(states={"https://a": "1"}), NOW)
    await book.keep(FIRST, Harvest(states={"https://a": "2"}), NOW)
    assert len(await book.states("ours", NOW + 60)) == 2
    assert [one.teller for one in await book.states("ours", NOW + 2 * HOUR_SECONDS)] == [FIRST]
    await book.prune("ours", NOW + 2 * DAY_SECONDS)
    assert [one.teller for one in await book.states("others", NOW)] == [FIRST]


async def test_what_is_too_old_is_forgotten_and_the_sum_since_ever_stays(
    book: ActivityBook, engines: Engines
) -> None:
    minute = NOW // MINUTE_SECONDS * MINUTE_SECONDS
    await book.keep(FIRST, Harvest(served={(minute, "hit", "helm"): (1, 1)}), NOW)
    left = []
    for later in (3 * HOUR_SECONDS, 9 * DAY_SECONDS, 402 * DAY_SECONDS):
        await book.prune("ours", NOW + later)
        left.append(await engines.ask(lambda c: list(c.execute(select(activity.c.step_seconds)).scalars())))
    assert [sorted(steps) for steps in left] == [[0, 3600, 86400], [0, 86400], [0]]


async def test_pulls_and_events_stay_as_many_as_they_may_be(book: ActivityBook, engines: Engines) -> None:
    pulls: list[dict[str, object]] = [
        {"name": "n", "reference": str(n), "target": "t", "outcome": "hit", "pulls": 1, "last_at": NOW + n}
        for n in range(activity_book.MAX_PULLS + 4500)
    ]
    met: list[dict[str, object]] = [
        {"kind": "drift", "subject": str(n), "detail": "", "times": 1, "first_at": NOW, "last_at": NOW}
        for n in range(activity_book.MAX_EVENTS + 7)
    ]
    await engines.tell(_fill, pulls, met)
    await book.prune("ours", NOW)
    counted = [await engines.ask(_rows, table) for table in (recent_pulls, events)]
    assert counted == [activity_book.MAX_PULLS, activity_book.MAX_EVENTS]
    assert (await book.newest_pulls(1))[0].reference == str(len(pulls) - 1)


async def test_nothing_is_written_for_an_empty_harvest_and_counts_of_nothing_are_naught(
    book: ActivityBook, engines: Engines
) -> None:
    assert Harvest().is_empty
    found = await engines.ask(counts)
    assert (found.tags, found.blob_rows, found.blob_row_bytes, found.pins) == (0, 0, 0, 0)
    assert (found.database_bytes is None) == (engines.reader.dialect.name == "sqlite")
    assert await engines.ask(jobs_by_state) == {}
    assert await book.all_hits() == 0


def _fill(connection: Connection, pulls: list[dict[str, object]], met: list[dict[str, object]]) -> None:
    connection.execute(insert(recent_pulls), pulls)
    connection.execute(insert(events), met)


def _rows(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()
