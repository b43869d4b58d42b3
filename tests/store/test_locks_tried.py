"""A lock that is tried: had at once, or somebody else has it; both kinds of locks."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.oci.postgres_url import PostgresUrl
from gateway.store.locks import FileLocks
from gateway.store.locks_postgres import PostgresLocks

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # each on both databases

Locks = FileLocks | PostgresLocks


@pytest.fixture
def two(database: PostgresUrl | None, tmp_path: Path) -> Iterator[tuple[Locks, Locks]]:
    """As two processes have them."""
    if database is None:
        yield FileLocks(tmp_path / "locks"), FileLocks(tmp_path / "locks")
        return
    first, second = PostgresLocks(database), PostgresLocks(database)
    yield first, second
    first.close()
    second.close()


async def test_one_has_it_and_the_others_are_told_so_at_once(two: tuple[Locks, Locks]) -> None:
    first, second = two
    async with first.try_hold("a") as is_mine:
        assert is_mine
        for other in two:
            async with other.try_hold("a") as is_theirs:
                assert not is_theirs
        async with second.try_hold("b") as is_another:
            assert is_another
    async with second.try_hold("a") as is_mine:
        assert is_mine


async def test_who_waits_for_it_has_it_next(two: tuple[Locks, Locks]) -> None:
    first, second = two
    had = asyncio.Event()

    async def wait() -> None:
        async with second.hold("a"):
            had.set()

    async with first.try_hold("a") as is_mine:
        assert is_mine
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        assert not had.is_set()
    await asyncio.wait_for(waiting, 30)
    async with first.try_hold("a") as is_mine:
        assert is_mine
