"""Advisory locks by key: one holder, its failure told to those who waited, nothing left behind."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from gateway.oci.postgres_url import PostgresUrl
from gateway.store.locks_postgres import PostgresLocks
from gateway.store.postgres import open_single
from tests.postgres import Cluster
from tests.store.lock_holder import Holder

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


class Sleep:
    """Tells who waits, whenever somebody does, and lets others run."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.tasks: set[object] = set()

    async def __call__(self, _seconds: float) -> None:
        self.tasks.add(asyncio.current_task())
        self.begun.set()
        await asyncio.sleep(0)


@pytest.fixture
def sleep() -> Sleep:
    return Sleep()


@pytest.fixture
async def open_locks(postgres_url: PostgresUrl, sleep: Sleep) -> AsyncIterator[Callable[[], PostgresLocks]]:
    opened: list[PostgresLocks] = []

    def another() -> PostgresLocks:
        opened.append(PostgresLocks(postgres_url, sleep))
        return opened[-1]

    yield another
    for locks in opened:
        locks.close()


async def have_waited(sleep: Sleep, *holders: Holder) -> None:
    """Until each of them has asked in vain."""
    while not sleep.tasks.issuperset(holder.task for holder in holders):
        sleep.begun.clear()
        await asyncio.wait_for(sleep.begun.wait(), 10)
    assert not any(holder.holds.is_set() for holder in holders)


async def finish(*holders: Holder) -> None:
    for holder in holders:
        holder.end.set()
        await asyncio.wait_for(holder.task, 10)


@pytest.mark.parametrize("is_one_process", [True, False])
async def test_one_at_a_time_holds_a_key(
    open_locks: Callable[[], PostgresLocks], sleep: Sleep, is_one_process: bool
) -> None:
    """Another connection is as good as another process; one connection alone would lock twice."""
    locks = open_locks()
    first = Holder(locks)
    await first.holds.wait()
    second = Holder(locks if is_one_process else open_locks())
    await have_waited(sleep, second)
    await finish(first, second)
    assert (first.found, second.found) == (None, None)
    assert second.holds.is_set()


async def test_keys_do_not_wait_for_each_other(open_locks: Callable[[], PostgresLocks]) -> None:
    locks = open_locks()
    first, second = Holder(locks, "a"), Holder(locks, "b")
    await first.holds.wait()
    await second.holds.wait()
    await finish(first, second)


@pytest.mark.parametrize("is_one_process", [True, False])
async def test_a_failure_is_told_to_all_who_waited_and_to_nobody_later(
    open_locks: Callable[[], PostgresLocks], sleep: Sleep, is_one_process: bool
) -> None:
    locks = open_locks()
    first = Holder(locks, failure="it was down")
    await first.holds.wait()
    waiting = [Holder(locks if is_one_process else open_locks()) for _ in range(3)]
    await have_waited(sleep, *waiting)
    await finish(first, *waiting)
    assert [holder.found for holder in waiting] == ["it was down"] * 3
    later = Holder(open_locks())
    await finish(later)
    assert later.found is None
    elsewhere = Holder(locks, "another key")
    await finish(elsewhere)
    assert elsewhere.found is None


async def test_who_is_cancelled_while_it_waits_or_holds_leaves_nothing(
    open_locks: Callable[[], PostgresLocks], sleep: Sleep
) -> None:
    locks = open_locks()
    first = Holder(locks)
    await first.holds.wait()
    second = Holder(open_locks())
    await have_waited(sleep, second)
    for holder in (second, first):
        holder.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holder.task
    third = Holder(open_locks())
    await finish(third)
    assert third.found is None


async def test_a_lock_is_free_once_its_connection_is_gone_and_its_holder_goes_on(
    open_locks: Callable[[], PostgresLocks], postgres: Cluster
) -> None:
    first = Holder(open_locks(), failure="nobody's any more")
    await first.holds.wait()
    postgres.end_connections()
    second = Holder(open_locks())
    await asyncio.wait_for(second.holds.wait(), 10)
    await finish(first, second)
    assert second.found is None


async def test_a_server_that_is_gone_is_an_os_error_and_letting_go_never_fails(
    open_locks: Callable[[], PostgresLocks], postgres: Cluster, sleep: Sleep
) -> None:
    holder = Holder(open_locks(), failure="lost")
    await holder.holds.wait()
    postgres.stop(signal.SIGINT)
    try:
        with pytest.raises(OSError, match="cannot be asked for a lock"):
            async with PostgresLocks(postgres.url, sleep).hold("a"):
                raise AssertionError("there can be no lock")
        with capture_logs() as logs:
            await finish(holder)
    finally:
        postgres.start()
    assert [line["event"] for line in logs] == ["lock_not_cleared"]


async def test_failures_are_not_kept_for_ever(
    open_locks: Callable[[], PostgresLocks], postgres_url: PostgresUrl
) -> None:
    engine = open_single(postgres_url)
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO flight_failures VALUES ('long ago', 'x', 1)"))
        await finish(Holder(open_locks(), failure="now"))
        left = connection.execute(text("SELECT failure FROM flight_failures")).scalars().all()
    assert left == ["now"]


_HOLDER = """
import asyncio
import sys

from gateway.oci.postgres_url import PostgresUrl
from gateway.store.locks_postgres import PostgresLocks

async def main(host, port, password, database):
    url = PostgresUrl(database, host, int(port), "postgres", password)
    async with PostgresLocks(url).hold("a"):
        print("held", flush=True)
        await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_holder_that_is_killed_makes_way_and_leaves_no_failure(
    open_locks: Callable[[], PostgresLocks], postgres_url: PostgresUrl, sleep: Sleep
) -> None:
    url = postgres_url
    place = [str(url.host), str(url.port), str(url.password), url.database]
    other = subprocess.Popen([sys.executable, "-c", _HOLDER, *place], stdout=subprocess.PIPE)  # noqa: ASYNC220
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    waiting = Holder(open_locks())
    await have_waited(sleep, waiting)
    other.kill()
    other.communicate()
    await finish(waiting)
    assert waiting.found is None
