"""Copies of the catalog: whole, sound, of one moment; made beside writers, and never half."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gateway.store.backups import CatalogCopies
from gateway.store.damage import CatalogWatch
from gateway.store.schema import migrate_sqlite
from tests.conftest import missing
from tests.store.damaging import note, noted, overwrite_second_page
from tests.store.tracing import require_strace

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # real files and processes

_COPY = """
import asyncio
import sys
from pathlib import Path

from gateway.store.backups import CatalogCopies
from gateway.store.damage import CatalogWatch

catalog = Path(sys.argv[1])
sys.exit(not asyncio.run(CatalogCopies(catalog, CatalogWatch(None)).make()))
"""


_HOLDER = """
import fcntl
import sys

lock = open(sys.argv[1], "a")
fcntl.flock(lock, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    catalog = tmp_path / "data" / "catalog.sqlite3"
    catalog.parent.mkdir()
    migrate_sqlite(catalog)
    note(catalog, "first")
    return catalog


@pytest.fixture
def watch(catalog: Path) -> CatalogWatch:
    return CatalogWatch(catalog)


@pytest.fixture
def copies(catalog: Path, watch: CatalogWatch) -> CatalogCopies:
    return CatalogCopies(catalog, watch)


def held(catalog: Path) -> dict[str, set[str]]:
    """What each file in the folder of copies knows."""
    return {path.name: noted(path) for path in (catalog.parent / "backups").glob("catalog*")}


async def test_the_last_two_are_kept(catalog: Path, copies: CatalogCopies) -> None:
    for name in ("second", "third", "fourth"):
        note(catalog, name)
        assert await copies.make()
    assert held(catalog) == {
        "catalog-1.sqlite3": {"first", "second", "third", "fourth"},
        "catalog-2.sqlite3": {"first", "second", "third"},
    }


async def test_where_nothing_was_written_nothing_is_copied(catalog: Path, copies: CatalogCopies) -> None:
    assert await copies.keep_up()
    assert not await copies.keep_up()
    note(catalog, "second")
    assert await copies.keep_up()
    assert held(catalog)["catalog-2.sqlite3"] == {"first"}


async def test_a_writer_does_not_wait_and_a_copy_is_of_one_moment(catalog: Path, watch: CatalogWatch) -> None:
    with closing(sqlite3.connect(catalog)) as connection, connection:
        names = ((f"{number}" + "x" * 2000,) for number in range(4000))
        connection.executemany("INSERT INTO private_targets VALUES (?, 0)", names)
    steps: list[float] = []

    def write_meanwhile(seconds: float) -> None:
        steps.append(seconds)
        with closing(sqlite3.connect(catalog, timeout=0)) as connection, connection:
            connection.execute("INSERT INTO private_targets VALUES (?, 0)", (f"step {len(steps)}",))

    assert await CatalogCopies(catalog, watch, write_meanwhile).make()
    assert len(steps) > 2
    assert not any(name.startswith("step") for name in held(catalog)["catalog-1.sqlite3"])


def test_while_another_process_copies_nothing_is_done(catalog: Path, copies: CatalogCopies) -> None:
    (catalog.parent / "backups").mkdir()
    command = [sys.executable, "-c", _HOLDER, str(catalog.parent / "backups" / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        assert not asyncio.run(copies.make())
        process.kill()
    assert held(catalog) == {}
    assert asyncio.run(copies.keep_up())


async def test_a_damaged_catalog_replaces_no_copy_and_is_told(
    catalog: Path, watch: CatalogWatch, copies: CatalogCopies
) -> None:
    assert await copies.make()
    overwrite_second_page(catalog)
    assert not await copies.make()
    assert held(catalog) == {"catalog-1.sqlite3": {"first"}}
    assert watch.damage is not None


def test_a_catalog_that_is_gone_is_not_copied(catalog: Path, copies: CatalogCopies) -> None:
    catalog.unlink()
    assert not asyncio.run(copies.keep_up())
    assert not catalog.exists()


async def test_on_a_full_disk_the_old_copies_stay_and_nothing_is_left(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "72m") as disk:
        catalog = disk / "catalog.sqlite3"
        migrate_sqlite(catalog)
        note(catalog, "first")
        copies = CatalogCopies(catalog, CatalogWatch(catalog))
        assert await copies.make()
        with (disk / "filling").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 8 << 20)
        note(catalog, "second")
        assert not await copies.make()
        assert held(catalog) == {"catalog-1.sqlite3": {"first"}}
        (disk / "filling").unlink()
        assert await copies.make()


@pytest.mark.parametrize("call", ["rename", "fsync", "unlink", "pwrite64", "openat"])
def test_kill_9_at_any_step_loses_no_copy(catalog: Path, call: str) -> None:
    require_strace()
    asyncio.run(CatalogCopies(catalog, CatalogWatch(None)).make())
    note(catalog, "second")
    number = 0
    while True:
        number = number + 1 if call in ("rename", "fsync") else max(2 * number, 1)
        copied = catalog.parent.with_name(f"{call}-{number}") / catalog.name
        shutil.copytree(catalog.parent, copied.parent)
        strace = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            f"inject={call}:signal=SIGKILL:when={number}",
        ]
        code = subprocess.run(
            [*strace, sys.executable, "-c", _COPY, str(copied)], check=False, timeout=60
        ).returncode
        (copied.parent / "backups" / "catalog-partial.sqlite3").unlink(missing_ok=True)
        assert {"first"} in held(copied).values()
        assert all(known in ({"first"}, {"first", "second"}) for known in held(copied).values())
        assert asyncio.run(CatalogCopies(copied, CatalogWatch(None)).make())
        assert held(copied)["catalog-1.sqlite3"] == {"first", "second"}
        if code == 0:
            break
        assert code in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert number > 1


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "gateway-test", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        missing("no small disk may be mounted here: it needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
