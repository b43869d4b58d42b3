"""A catalog that is lost at boot: moved aside, replaced by the newest good copy, and told."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.oci.postgres_url import PostgresUrl
from gateway.store.conditions import Conditions
from gateway.store.data_dir import DataDir, DataDirError
from gateway.store.recovery import restored, show_restored
from gateway.store.schema import SchemaError
from tests.store.damaging import AS_OF_0003, LOSSES, delete, make_it_text, note, noted, overwrite_second_page
from tests.store.test_data_dir import held_by_another_process
from tests.store.tracing import require_strace

pytestmark = pytest.mark.slow  # real files and processes

_BOOT = """
import sys
from pathlib import Path

from gateway.store.data_dir import DataDir

DataDir(Path(sys.argv[1])).prepare()
"""


def boot(root: Path) -> None:
    data_dir = DataDir(root)
    data_dir.prepare()
    data_dir.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data directory with a blob, a catalog of today, and copies of yesterday and of the day before."""
    root = tmp_path / "data"
    boot(root)
    blob = root / "blobs" / "sha256" / "ab" / "ab12"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"a blob")
    catalog = root / "catalog.sqlite3"
    (root / "backups").mkdir()
    for name, number in (("the day before", 2), ("yesterday", 1), ("today", None)):
        note(catalog, name)
        if number is not None:
            shutil.copy(catalog, root / "backups" / f"catalog-{number}.sqlite3")
    return root


@pytest.mark.parametrize("harm", LOSSES.values(), ids=LOSSES)
def test_what_is_no_catalog_any_more_is_moved_aside_and_the_newest_copy_put_in_its_place(
    root: Path, harm: Callable[[Path], None]
) -> None:
    catalog = root / "catalog.sqlite3"
    harm(catalog)
    harmed = catalog.lstat().st_ino if os.path.lexists(catalog) else None
    boot(root)
    assert noted(catalog) == {"the day before", "yesterday"}
    assert (root / "blobs" / "sha256" / "ab" / "ab12").read_bytes() == b"a blob"
    told = restored(root / "restored")
    assert told is not None
    assert told.copy == "catalog-1.sqlite3"
    moved = [path.lstat().st_ino for path in root.glob("damaged/*/catalog.sqlite?")]
    assert moved == ([] if harmed is None else [harmed])
    assert sorted(copy.name for copy in (root / "backups").iterdir()) == [
        "catalog-1.sqlite3",
        "catalog-2.sqlite3",
    ]


def test_a_sound_catalog_stays_and_nothing_is_told(root: Path) -> None:
    boot(root)
    assert noted(root / "catalog.sqlite3") == {"the day before", "yesterday", "today"}
    assert restored(root / "restored") is None
    assert not (root / "damaged").exists()


def test_a_bad_copy_is_passed_over(root: Path) -> None:
    overwrite_second_page(root / "backups" / "catalog-1.sqlite3")
    delete(root / "catalog.sqlite3")
    boot(root)
    assert noted(root / "catalog.sqlite3") == {"the day before"}


def test_a_copy_that_a_newer_gateway_made_is_passed_over(root: Path) -> None:
    with closing(sqlite3.connect(root / "backups" / "catalog-1.sqlite3")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    delete(root / "catalog.sqlite3")
    boot(root)
    assert noted(root / "catalog.sqlite3") == {"the day before"}


def test_without_a_good_copy_the_catalog_begins_empty_beside_its_blobs(root: Path) -> None:
    for copy in (root / "backups").iterdir():
        make_it_text(copy)
    overwrite_second_page(root / "catalog.sqlite3")
    boot(root)
    assert noted(root / "catalog.sqlite3") == set()
    assert (root / "blobs" / "sha256" / "ab" / "ab12").exists()
    told = restored(root / "restored")
    assert told is not None
    assert (told.copy, told.copied_at) == (None, None)


@pytest.mark.parametrize("is_there", [True, False])
def test_one_that_was_met_gone_is_made_anew_though_nothing_is_left_that_speaks_of_it(
    tmp_path: Path, is_there: bool
) -> None:
    data_dir = DataDir(tmp_path / "data")
    data_dir.prepare()
    delete(data_dir.catalog)
    if is_there:  # whoever opens one that is gone makes an empty one
        data_dir.catalog.touch()
    data_dir.mend()
    data_dir.close()
    assert noted(data_dir.catalog) == set()


def test_a_copy_of_an_older_schema_is_migrated_before_it_is_put_in_place(root: Path) -> None:
    with closing(sqlite3.connect(root / "backups" / "catalog-1.sqlite3")) as connection, connection:
        connection.executescript(AS_OF_0003)
    delete(root / "catalog.sqlite3")
    boot(root)
    with closing(sqlite3.connect(root / "catalog.sqlite3")) as connection:
        assert connection.execute("SELECT * FROM pins").fetchall() == []
    assert noted(root / "catalog.sqlite3") == {"the day before", "yesterday"}


@pytest.mark.parametrize("content", [b"", b"garbage" * 9999])
def test_what_was_written_ahead_and_is_no_more_is_lost_alone(root: Path, content: bytes) -> None:
    (root / "catalog.sqlite3-wal").write_bytes(content)
    boot(root)
    assert noted(root / "catalog.sqlite3") == {"the day before", "yesterday", "today"}


def test_what_the_lost_one_wrote_ahead_goes_with_it(root: Path) -> None:
    """It would be read as if it belonged to the copy."""
    catalog = root / "catalog.sqlite3"
    writer = sqlite3.connect(catalog)
    writer.execute("SELECT * FROM pins").fetchall()  # else the last one to close would clear it away
    note(catalog, "later")
    shutil.copy(f"{catalog}-wal", root / "kept")
    writer.close()
    (root / "kept").rename(f"{catalog}-wal")
    delete(catalog)
    boot(root)
    assert noted(catalog) == {"the day before", "yesterday"}
    assert [path.name for path in root.glob("damaged/*/*")] == ["catalog.sqlite3-wal"]


def test_only_the_last_few_that_were_moved_aside_are_kept(root: Path) -> None:
    for _ in range(5):
        overwrite_second_page(root / "catalog.sqlite3")
        boot(root)
    assert len(list((root / "damaged").iterdir())) == 3


def test_a_file_that_somebody_named_and_that_never_was_a_catalog_is_left_alone(tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    make_it_text(letter)
    (tmp_path / "folder").mkdir()
    for named in (letter, tmp_path / "folder"):
        data_dir = DataDir(tmp_path / "data", named)
        with pytest.raises(SchemaError, match="cannot be used"):
            data_dir.prepare()
        data_dir.close()
    assert letter.read_text().startswith("a letter home")
    assert (tmp_path / "folder").is_dir()


def test_a_catalog_elsewhere_is_replaced_there(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "charts.db"
    (elsewhere.parent / "backups").mkdir(parents=True)
    shutil.copy(root / "catalog.sqlite3", elsewhere.parent / "backups" / "charts-1.db")
    make_it_text(elsewhere)
    data_dir = DataDir(root, elsewhere)
    data_dir.prepare()
    data_dir.close()
    assert noted(elsewhere) == {"the day before", "yesterday", "today"}
    assert len(list(elsewhere.parent.glob("damaged/*/charts.db"))) == 1


def test_a_place_that_cannot_take_the_copy_is_told(root: Path, tmp_path: Path) -> None:
    data_dir = DataDir(root, tmp_path / "absent" / "catalog.sqlite3")
    with pytest.raises((DataDirError, SchemaError), match="absent"):
        data_dir.prepare()
    data_dir.close()


def test_what_is_restored_is_shown_for_a_day(tmp_path: Path) -> None:
    place = tmp_path / "restored"
    conditions = Conditions(lambda: 0.0)
    assert show_restored(place, conditions, 1000.0) is None
    place.write_text(json.dumps({"at": 1000.0, "reason": "it is gone"}))
    assert show_restored(place, conditions, 1000.0 + 86_400) is None
    assert show_restored(place, conditions, 999.0) is None
    assert conditions.told() == {}
    assert show_restored(place, conditions, 1000.0 + 3600) == 23 * 3600
    assert list(conditions.told()) == ["catalog_restored"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"when": 1}', "{", "\0", "[" * 100_000, '{"at": "x"}'])
def test_a_note_that_cannot_be_read_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "restored").write_text(content)
    assert restored(tmp_path / "restored") is None


@pytest.mark.parametrize("call", ["rename", "fsync", "pwrite64", "unlink", "mkdir"])
def test_kill_9_at_any_step_leaves_the_rest_to_the_next_start(root: Path, call: str) -> None:
    require_strace()
    overwrite_second_page(root / "catalog.sqlite3")
    number = 0
    while True:
        number = number + 1 if call in ("rename", "fsync") else max(2 * number, 1)
        copied = root.parent / f"{call}-{number}"
        shutil.copytree(root, copied)
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject]
        ended = subprocess.run([*strace, sys.executable, "-c", _BOOT, str(copied)], check=False, timeout=60)
        boot(copied)
        assert noted(copied / "catalog.sqlite3") == {"the day before", "yesterday"}
        assert not list(copied.glob("*partial*"))
        if ended.returncode == 0:
            break
        assert ended.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert number > 1


def test_beside_another_process_a_damaged_catalog_is_told_with_who_replaces_it(root: Path) -> None:
    make_it_text(root / "catalog.sqlite3")
    with held_by_another_process(root, "LOCK_SH"):
        data_dir = DataDir(root)
        with pytest.raises(SchemaError, match="replaced by its newest copy where `gateway serve` runs"):
            data_dir.prepare()
        data_dir.close()
    assert not (root / "damaged").exists()


def test_where_workers_met_damage_it_is_looked_for_more_thoroughly(root: Path) -> None:
    catalog = root / "catalog.sqlite3"
    data_dir = DataDir(root)
    data_dir.prepare()
    data_dir.mend()
    assert "today" in noted(catalog)
    with closing(sqlite3.connect(catalog)) as connection, connection:
        connection.execute("INSERT INTO repositories VALUES ('name', 'target', 0)")
        connection.execute("PRAGMA writable_schema=ON")
        index = "CREATE INDEX ix_repositories_target ON repositories (name)"  # which it is not
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'ix_repositories_target'", (index,))
    boot(root)
    assert restored(root / "restored") is None
    data_dir.mend()
    data_dir.close()
    assert noted(catalog) == {"the day before", "yesterday"}


def test_of_two_that_start_at_once_one_replaces_it_and_both_start(root: Path) -> None:
    overwrite_second_page(root / "catalog.sqlite3")
    command = [sys.executable, "-c", _BOOT, str(root)]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert noted(root / "catalog.sqlite3") == {"the day before", "yesterday"}
    assert len(list((root / "damaged").iterdir())) == 1


def test_a_catalog_on_a_server_is_none_of_this(root: Path, postgres_url: PostgresUrl) -> None:
    make_it_text(root / "catalog.sqlite3")
    data_dir = DataDir(root, postgres_url)
    data_dir.prepare()
    data_dir.mend()
    assert data_dir.open_copies() is None
    data_dir.close()
    assert restored(root / "restored") is None
    assert not (root / "damaged").exists()
