"""The shared number on PostgreSQL: it moves with every notification, and by itself once nobody is heard."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from gateway.oci.postgres_url import PostgresUrl
from gateway.store.blobs import StorageFailed
from gateway.store.catalog import Catalog
from gateway.store.engine import Engines
from gateway.store.generation_notified import NotifiedGeneration
from gateway.store.postgres import open_postgres
from tests.postgres import Cluster
from tests.sources.helm_parts import Clock
from tests.store.samples import NAME, sample

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


def until(holds: Callable[[], bool]) -> None:
    deadline, pause = time.monotonic() + 10, threading.Event()
    while not holds():
        assert time.monotonic() < deadline
        pause.wait(0.005)


def listening(url: PostgresUrl, clock: Clock) -> NotifiedGeneration:
    """One that has heard of the server: a minute's silence is none once it listens."""
    generation = NotifiedGeneration(url, clock)
    first = generation.current()
    until(lambda: generation.current() != first)
    return generation


@pytest.fixture
def engines(postgres_url: PostgresUrl) -> Iterator[Engines]:
    opened = open_postgres(postgres_url)
    yield opened
    opened.dispose()


async def test_a_tag_that_moves_moves_the_number_of_every_process(
    postgres_url: PostgresUrl, engines: Engines
) -> None:
    clock, made, moved = Clock(), sample(), sample(content=b"republished")
    with closing(listening(postgres_url, clock)) as here, closing(listening(postgres_url, clock)) as there:
        catalog, before, at_once = Catalog(engines, here), there.current(), here.current()
        await catalog.keep(NAME, made.row, made.kept)
        await catalog.keep(NAME, moved.row, moved.kept, replaces=made.digest)
        assert here.current() > at_once
        until(lambda: there.current() > before)


def refused_after(announce: Callable[[Connection], None], connection: Connection) -> None:
    announce(connection)
    connection.execute(text("SELECT 1 / 0"))


async def test_a_transaction_that_fails_tells_nobody(postgres_url: PostgresUrl, engines: Engines) -> None:
    clock = Clock()
    with closing(listening(postgres_url, clock)) as here, closing(listening(postgres_url, clock)) as there:
        before = there.current()
        with pytest.raises(StorageFailed), engines.writing() as connection:
            refused_after(here.announce, connection)
        with engines.writing() as connection:
            here.announce(connection)
        until(lambda: there.current() > before)
        assert there.current() == before + 1


def test_a_server_that_was_never_heard_is_trusted_in_nothing(postgres: Cluster) -> None:
    clock = Clock()
    absent = PostgresUrl("absent", "127.0.0.1", 1)
    with closing(NotifiedGeneration(absent, clock)) as generation:
        assert moves_by_itself(generation, clock)


def test_while_the_server_is_away_the_number_stands_for_a_minute_and_moves_once_it_is_back(
    postgres_url: PostgresUrl, restarting: Cluster
) -> None:
    clock = Clock()
    with capture_logs() as logs, closing(listening(postgres_url, clock)) as generation:
        before = generation.current()
        restarting.stop(signal.SIGQUIT)
        until(lambda: bool(logs))
        clock.advance(59.9)
        assert generation.current() == before
        clock.advance(0.1)
        assert moves_by_itself(generation, clock)
        distrusted = generation.current()
        restarting.start()
        until(lambda: generation.current() > distrusted)
        assert stands(generation, clock)
    assert [line["event"] for line in logs] == ["notifications_lost"]


def moves_by_itself(generation: NotifiedGeneration, clock: Clock) -> bool:
    """Every second; then nothing that was kept in memory is found there again."""
    seen = [generation.current()]
    for _ in range(5):
        clock.advance(1)
        seen.append(generation.current())
    return seen == sorted(set(seen))


def test_a_connection_that_is_lost_is_made_again_and_what_was_missed_counts(
    postgres_url: PostgresUrl, postgres: Cluster
) -> None:
    clock = Clock()
    with capture_logs() as logs, closing(listening(postgres_url, clock)) as generation:
        before = generation.current()
        postgres.end_connections()
        until(lambda: generation.current() > before)  # listens again: it moves, then stands
        assert stands(generation, clock)
    assert [line["event"] for line in logs] == ["notifications_lost"]
    assert "p@ss" not in repr(logs)


def stands(generation: NotifiedGeneration, clock: Clock) -> bool:
    before = generation.current()
    clock.advance(1)
    return generation.current() == before


def test_closing_ends_the_thread_and_may_be_done_twice(postgres_url: PostgresUrl) -> None:
    before = threading.active_count()
    generation = listening(postgres_url, Clock())
    assert threading.active_count() == before + 1
    generation.close()
    generation.close()
    until(lambda: threading.active_count() == before)
