"""Damage to a catalog in use is noticed: by what SQLite says of it, and by looking at its file."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.store.blobs import StorageFailed
from gateway.store.damage import CatalogWatch, CheckUnfinished, find_damage, is_damage
from gateway.store.engine import open_sqlite
from gateway.store.schema import migrate_sqlite
from tests.store.damaging import cut_in_half, delete, make_it_text, note, replace_it_by_text

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # real files


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    catalog = tmp_path / "catalog.sqlite3"
    migrate_sqlite(catalog)
    return catalog


class Looks:
    """A sleep that lets a test act between two looks."""

    def __init__(self, *acts: Callable[[], object]) -> None:
        self._acts = iter(acts)

    async def __call__(self, _seconds: float) -> None:
        next(self._acts, lambda: None)()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (delete, "its file is gone"),
        (replace_it_by_text, "its file was replaced"),
        (cut_in_half, "its file was cut short"),
    ],
)
async def test_a_file_that_is_no_more_what_it_was_is_noticed(
    catalog: Path, harm: Callable[[Path], None], told: str
) -> None:
    looks = Looks(lambda: None, lambda: harm(catalog))
    assert await CatalogWatch(catalog, looks).damaged() == told


async def test_a_file_that_grows_or_cannot_be_looked_at_is_no_damage(catalog: Path) -> None:
    asked: list[str] = []

    def hide() -> None:
        catalog.rename(catalog.with_name("elsewhere"))
        catalog.symlink_to(catalog.name)  # too many levels: an error, and not «gone»

    def show() -> None:
        catalog.unlink()
        catalog.with_name("elsewhere").rename(catalog)
        asked.append("shown")

    watch = CatalogWatch(
        catalog, Looks(lambda: note(catalog, "x" * 9999), hide, show, lambda: watch.note("enough"))
    )
    assert await watch.damaged() == "enough"
    assert asked


async def test_where_there_is_no_file_nothing_is_noticed() -> None:
    task = asyncio.create_task(CatalogWatch(None).damaged())
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()


async def test_what_sqlite_says_while_it_reads_or_writes_is_noticed(catalog: Path) -> None:
    watch = CatalogWatch(catalog)
    engines = open_sqlite(catalog)
    watch.follow(engines.reader, engines.writer)
    with pytest.raises(StorageFailed):
        await engines.ask(lambda connection: connection.execute(text("SELECT * FROM absent")))
    assert watch.damage is None
    engines.dispose()
    make_it_text(catalog)
    with pytest.raises(StorageFailed):
        await engines.ask(lambda connection: connection.execute(text("SELECT * FROM tags")))
    assert await watch.damaged() == "file is not a database"
    engines.dispose()


@pytest.mark.parametrize(
    ("code", "is_one"),
    [
        (sqlite3.SQLITE_CORRUPT, True),
        (sqlite3.SQLITE_CORRUPT_INDEX, True),
        (sqlite3.SQLITE_NOTADB, True),
        (sqlite3.SQLITE_IOERR_SHORT_READ, True),
        (sqlite3.SQLITE_READONLY_DBMOVED, True),
        (sqlite3.SQLITE_IOERR_READ, False),
        (sqlite3.SQLITE_IOERR, False),
        (sqlite3.SQLITE_READONLY, False),
        (sqlite3.SQLITE_FULL, False),
        (sqlite3.SQLITE_BUSY, False),
        (sqlite3.SQLITE_CANTOPEN, False),
        (sqlite3.SQLITE_ERROR, False),
    ],
)
def test_only_what_waiting_does_not_mend_is_damage(code: int, is_one: bool) -> None:
    error = sqlite3.DatabaseError("it failed")
    error.sqlite_errorcode = code
    assert is_damage(error) == is_one


def test_other_errors_are_no_damage() -> None:
    assert not is_damage(None)
    assert not is_damage(ValueError())
    assert not is_damage(sqlite3.OperationalError("Could not decode to UTF-8 column"))


def test_a_check_that_takes_too_long_is_given_up(catalog: Path) -> None:
    assert find_damage(catalog, "quick_check", 60.0) is None
    with sqlite3.connect(catalog) as connection:
        names = ((f"{number}" + "x" * 1000,) for number in range(5_000))
        connection.executemany("INSERT INTO private_targets VALUES (?, 0)", names)
    connection.close()
    with pytest.raises(CheckUnfinished):
        find_damage(catalog, "integrity_check", 0.0)


def test_what_cannot_be_opened_is_an_error_and_no_damage(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        find_damage(tmp_path / "absent", "quick_check", 60.0)
    os.mkdir(tmp_path / "folder")
    with pytest.raises(sqlite3.OperationalError):
        find_damage(tmp_path / "folder", "quick_check", 60.0)
