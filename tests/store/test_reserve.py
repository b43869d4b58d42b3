"""Room kept free for the catalog: made where there is plenty, given up once, made again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.store.engine import Engines, open_sqlite
from gateway.store.reserve import RESERVE_BYTES, Reserve
from gateway.store.schema import migrate_sqlite

pytestmark = pytest.mark.slow  # real files, and a catalog

GIB = 1 << 30


class Disk:
    """So much is free; of the whole it is a hundredth."""

    def __init__(self, free_bytes: int) -> None:
        self.free_bytes = free_bytes
        self.total_bytes = 100 * GIB

    def usage(self, _folder: Path) -> tuple[int, int]:
        return self.free_bytes, self.total_bytes


def test_it_is_made_where_three_of_it_have_room_and_really_taken(tmp_path: Path) -> None:
    disk = Disk(3 * RESERVE_BYTES)
    reserve = Reserve(tmp_path / "reserve", usage=disk.usage)
    assert reserve.make()
    status = (tmp_path / "reserve").stat()
    assert status.st_size == RESERVE_BYTES
    assert status.st_blocks * 512 >= RESERVE_BYTES
    assert [path.name for path in tmp_path.iterdir()] == ["reserve"]


def test_it_is_not_made_where_there_is_less_and_then_blobs_are_written_as_ever(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", usage=Disk(3 * RESERVE_BYTES - 1).usage)
    assert not reserve.make()
    assert reserve.leaves_room()
    reserve.give_up()
    assert reserve.leaves_room()


def test_on_a_small_disk_it_is_a_twentieth(tmp_path: Path) -> None:
    disk = Disk(GIB)
    disk.total_bytes = 20_000_000
    assert Reserve(tmp_path / "reserve", usage=disk.usage).make()
    assert (tmp_path / "reserve").stat().st_size == 1_000_000


def test_given_up_it_leaves_no_room_for_blobs_until_it_could_be_made_again(tmp_path: Path) -> None:
    disk = Disk(GIB)
    reserve, other = (Reserve(tmp_path / "reserve", 4096, usage=disk.usage) for _ in range(2))
    assert reserve.make()
    disk.free_bytes = 0
    reserve.give_up()
    assert (tmp_path / "reserve").stat().st_blocks == 0
    assert not other.leaves_room()  # another process sees it too
    assert not reserve.make()
    disk.free_bytes = 3 * 4096
    assert other.leaves_room()
    assert reserve.make()
    assert (tmp_path / "reserve").stat().st_size == 4096


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    """Of a catalog that may not grow beyond what it has."""
    migrate_sqlite(tmp_path / "catalog.sqlite3")
    engines = open_sqlite(tmp_path / "catalog.sqlite3")
    with engines.writing() as connection:
        connection.execute(text("PRAGMA max_page_count = 1"))
    yield engines
    engines.dispose()


_BLOB = text("INSERT INTO blobs (digest, size_bytes, kept_at) VALUES (:digest, 1, 1)")
_ROWS = [{"digest": f"sha256:{number:064}"} for number in range(10_000)]


def test_a_row_that_finds_no_room_is_written_once_room_was_made(engines: Engines) -> None:
    made: list[str] = []

    def make_room() -> None:
        made.append("room")
        with engines.writer.connect() as connection:
            connection.execute(text("PRAGMA max_page_count = 1000000"))

    relieved = Engines(engines.reader, engines.writer, make_room=make_room)
    relieved.write(lambda connection: connection.execute(_BLOB, _ROWS))
    assert made == ["room"]
    assert relieved.read(
        lambda connection: connection.execute(text("SELECT count(*) FROM blobs")).scalar()
    ) == len(_ROWS)
