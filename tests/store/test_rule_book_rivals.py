"""The rule book in many hands: those who write at once are counted one after the other."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from gateway.oci.postgres_url import PostgresUrl
from gateway.store import rule_book_queries as queries
from gateway.store.engine import Engines, open_sqlite
from gateway.store.postgres import open_postgres
from gateway.store.revisions import Draft, Outdated, Revision, RevisionOrigin

pytestmark = pytest.mark.slow  # threads, each with connections of its own

_RIVALS = 6
_TIMES = 10

T = TypeVar("T")


@pytest.fixture
def rivals(database: PostgresUrl | None, catalog_path: Path) -> Iterator[Sequence[Engines]]:
    """What each of several processes would open."""
    opened = [
        open_sqlite(catalog_path, synchronous="FULL") if database is None else open_postgres(database)
        for _ in range(_RIVALS)
    ]
    yield opened
    for engines in opened:
        engines.dispose()


def at_once(rivals: Sequence[Engines], act: Callable[[int, Engines], T]) -> list[T]:
    """What each of them gets who act at one moment."""
    start = threading.Barrier(len(rivals))

    def run(number: int, engines: Engines) -> T:
        engines.write(queries.newest_number)  # connected
        start.wait(10)
        return act(number, engines)

    with ThreadPoolExecutor(len(rivals)) as threads:
        return list(threads.map(run, range(len(rivals)), rivals))


def draft(origin: RevisionOrigin, content: str) -> Draft:
    return Draft(origin, "ada", content.encode())


def test_of_many_who_add_at_once_each_gets_a_number_and_no_number_is_left_out(
    rivals: Sequence[Engines],
) -> None:
    def add(rival: int, engines: Engines) -> list[Revision]:
        drafts = [draft(RevisionOrigin.ADMIN, f"{rival} {time}") for time in range(_TIMES)]
        return [engines.write(queries.add, one, float(time)) for time, one in enumerate(drafts)]

    made = {one.head.number: one for several in at_once(rivals, add) for one in several}
    assert sorted(made) == list(range(1, _RIVALS * _TIMES + 1))
    assert rivals[0].read(queries.newest_number) == _RIVALS * _TIMES
    for number, revision in made.items():
        assert rivals[0].read(queries.find, number) == revision


def test_of_many_who_save_the_same_revision_edited_one_is_first_and_the_others_are_told(
    rivals: Sequence[Engines],
) -> None:
    def save(rival: int, engines: Engines) -> int:
        try:
            edit = draft(RevisionOrigin.ADMIN, f"{rival}")
            return engines.write(queries.add, edit, 1000.0, 0).head.number
        except Outdated as outdated:
            return -outdated.newest

    assert sorted(at_once(rivals, save)) == [-1] * (_RIVALS - 1) + [1]


def test_replicas_that_start_at_once_take_their_file_in_once(rivals: Sequence[Engines]) -> None:
    def take_in(_rival: int, engines: Engines) -> Revision | None:
        return engines.write(queries.take_in_file, draft(RevisionOrigin.FILE, "version: 1"), 1000.0)

    made = [one for one in at_once(rivals, take_in) if one is not None]
    assert [one.head.number for one in made] == [1]
    assert rivals[0].read(queries.newest_number) == 1


def test_of_files_that_seed_at_once_one_is_the_first_revision(rivals: Sequence[Engines]) -> None:
    def seed(rival: int, engines: Engines) -> Revision | None:
        return engines.write(queries.seed, draft(RevisionOrigin.FILE, f"{rival}"), 1000.0)

    made = [one for one in at_once(rivals, seed) if one is not None]
    assert made == [rivals[0].read(queries.newest)]


def test_who_reads_waits_for_nobody_who_writes_and_sees_what_is_whole(rivals: Sequence[Engines]) -> None:
    with rivals[0].writing() as connection:
        made = queries.add(connection, draft(RevisionOrigin.ADMIN, "on its way"), 1000.0)
        assert rivals[1].read(queries.newest_number) == 0
        assert rivals[1].read(queries.history, None, 50) == []
    assert rivals[1].read(queries.newest) == made
