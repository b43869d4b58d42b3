"""The data directory: who may be in it at once, who prepares it, how long anyone waits."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.oci.postgres_url import PostgresUrl
from gateway.store.data_dir import DataDir, DataDirError
from gateway.store.generation import MappedGeneration
from gateway.store.generation_notified import NotifiedGeneration
from gateway.store.instance import instance_id
from gateway.store.locks import FileLocks
from gateway.store.locks_postgres import PostgresLocks
from tests.postgres import Cluster
from tests.store.damaging import noted
from tests.store.test_engine import pragma
from tests.store.test_schema import ALL

pytestmark = pytest.mark.slow  # real files, sockets and processes

_HOLDER = """
import fcntl
import sys

lock = open(sys.argv[1] + "/lock", "a")
fcntl.flock(lock, getattr(fcntl, sys.argv[2]))
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_another_process(root: Path, kind: str) -> Iterator["subprocess.Popen[bytes]"]:
    root.mkdir(exist_ok=True)
    command = [sys.executable, "-c", _HOLDER, str(root), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        yield holder
        holder.kill()


def never(_seconds: float) -> None:
    raise AssertionError("nobody has to wait here")


def test_workers_that_begin_after_a_repair_know_nothing_of_what_was_met_before_it(tmp_path: Path) -> None:
    """Else each would end at once, and the next repair begin."""
    data_dir = DataDir(tmp_path)
    data_dir.prepare(never)
    data_dir.watch.note("met where the rules were read")
    data_dir.mend()
    assert data_dir.watch.damage is None
    data_dir.close()


def test_the_first_one_in_sweeps_and_migrates(tmp_path: Path) -> None:
    orphan = tmp_path / "blobs" / "partial" / "orphan"
    orphan.parent.mkdir(parents=True)
    orphan.touch()
    data_dir = DataDir(tmp_path)
    assert list(data_dir.prepare(never)) == ALL
    assert data_dir.catalog.is_file()
    assert not orphan.exists()
    data_dir.close()


def test_whoever_comes_beside_it_joins_at_once_and_touches_nothing(tmp_path: Path) -> None:
    first, second = DataDir(tmp_path), DataDir(tmp_path)
    first.prepare(never)
    orphan = tmp_path / "blobs" / "partial" / "may-be-someone's"
    orphan.touch()
    assert list(second.prepare(never)) == []
    assert orphan.exists()
    first.close()
    second.close()


def test_a_data_directory_is_made_for_ourselves_only(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "a" / "b")
    data_dir.close()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "b" / "lock").stat().st_mode & 0o777 == 0o600


def test_a_catalog_elsewhere_is_the_one_that_is_migrated(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "data", tmp_path / "elsewhere.sqlite3")
    data_dir.prepare(never)
    assert (tmp_path / "elsewhere.sqlite3").is_file()
    data_dir.close()


def test_beside_another_process_nothing_is_swept_or_migrated(tmp_path: Path) -> None:
    first = DataDir(tmp_path)
    first.prepare(never)
    first.close()
    orphan = tmp_path / "blobs" / "partial" / "may-be-someone's"
    orphan.touch()
    with held_by_another_process(tmp_path, "LOCK_SH"):
        data_dir = DataDir(tmp_path)
        assert list(data_dir.prepare(never)) == []
        data_dir.close()
    assert orphan.exists()


def test_a_catalog_that_has_to_be_migrated_waits_for_the_end_of_whoever_uses_it(tmp_path: Path) -> None:
    waits: list[float] = []
    with held_by_another_process(tmp_path, "LOCK_SH") as holder:
        data_dir = DataDir(tmp_path)
        with pytest.raises(DataDirError, match=f"another process uses {tmp_path}: stop it"):
            data_dir.prepare(waits.append)
        assert not data_dir.catalog.exists()
        holder.kill()
        holder.wait()
        assert list(data_dir.prepare(never)) == ALL
        data_dir.close()
    assert sum(waits) == pytest.approx(300, abs=0.2)


def test_one_that_prepares_is_waited_for(tmp_path: Path) -> None:
    waits: list[float] = []
    with held_by_another_process(tmp_path, "LOCK_EX") as holder:

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                holder.kill()
                holder.wait()

        data_dir = DataDir(tmp_path)
        assert list(data_dir.prepare(sleep)) == ALL  # it was killed: the work is ours
        data_dir.close()
    assert len(waits) == 3


def test_waiting_has_an_end_and_says_for_what(tmp_path: Path) -> None:
    waits: list[float] = []
    with held_by_another_process(tmp_path, "LOCK_EX"):
        data_dir = DataDir(tmp_path)
        with pytest.raises(DataDirError, match=f"{tmp_path} has been locked by another process for 300 s"):
            data_dir.prepare(waits.append)
        data_dir.close()
    assert sum(waits) == pytest.approx(300, abs=0.2)


def test_those_inside_keep_whoever_would_be_alone_out(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    data_dir.prepare(never)
    alone = "import fcntl, sys; fcntl.flock(open(sys.argv[1] + '/lock'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    command = [sys.executable, "-c", alone, str(tmp_path)]
    assert b"BlockingIOError" in subprocess.run(command, capture_output=True, check=False).stderr
    data_dir.close()
    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.parametrize("in_the_way", ["", "lock/x", "blobs", "blobs/partial", "generation/x"])
def test_a_directory_that_cannot_be_used_is_a_clean_error(tmp_path: Path, in_the_way: str) -> None:
    root = tmp_path / "data"
    obstacle = root / in_the_way
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    obstacle.touch()
    with pytest.raises(DataDirError, match=r"cannot be used: \w+"):
        DataDir(root).prepare(never)


@pytest.mark.slow
def test_a_catalog_on_a_server_is_migrated_there_and_the_directory_is_locked_and_swept_all_the_same(
    tmp_path: Path, postgres: Cluster
) -> None:
    url = postgres.create("template0")
    orphan = tmp_path / "blobs" / "partial" / "orphan"
    orphan.parent.mkdir(parents=True)
    orphan.touch()
    first, second = DataDir(tmp_path, url), DataDir(tmp_path, url)
    assert list(first.prepare(never)) == ALL
    assert list(second.prepare(never)) == []
    assert first.database == str(url)
    assert not first.catalog.exists()
    assert not orphan.exists()
    first.close()
    second.close()
    postgres.drop(url)


@pytest.mark.slow
def test_what_is_opened_is_of_the_kind_that_the_database_has(
    tmp_path: Path, postgres_url: PostgresUrl
) -> None:
    here, there = DataDir(tmp_path / "a"), DataDir(tmp_path / "b", postgres_url)
    assert isinstance(here.open_locks(), FileLocks)
    assert isinstance(there.open_locks(), PostgresLocks)
    assert isinstance(here.open_generation(), MappedGeneration)
    generation = there.open_generation()
    assert isinstance(generation, NotifiedGeneration)
    for opened in (here.open_engines(), here.open_rule_engines()):
        assert opened.reader.dialect.name == "sqlite"
    for opened in (there.open_engines(), there.open_rule_engines()):
        assert opened.reader.dialect.name == "postgresql"
    generation.close()
    here.close()
    there.close()


def test_a_directory_that_was_copied_while_it_was_used_is_one_of_its_own(tmp_path: Path) -> None:
    first = DataDir(tmp_path / "first")
    first.prepare(never)
    engines = first.open_engines()
    with engines.writing() as connection:
        connection.exec_driver_sql("INSERT INTO private_targets VALUES ('a target', 0)")
    own_id = instance_id(first.instance)
    shutil.copytree(first.root, tmp_path / "second")
    second = DataDir(tmp_path / "second")
    assert list(second.prepare(never)) == []
    assert noted(second.catalog) == {"a target"}
    assert instance_id(second.instance) != own_id
    engines.dispose()
    first.close()
    second.close()


@pytest.mark.parametrize("content", [b"", b"123", b"\xff" * 4096])
def test_a_generation_file_of_any_content_counts_on(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "generation").write_bytes(content)
    data_dir = DataDir(tmp_path)
    data_dir.prepare(never)
    generation = data_dir.open_generation()
    before = generation.current()
    generation.advance()
    assert generation.current() != before
    generation.close()
    data_dir.close()


def test_what_no_power_cut_may_take_back_is_synced_as_it_is_written(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    data_dir.prepare(never)
    engines = data_dir.open_rule_engines()
    assert (pragma(engines.writer, "synchronous"), pragma(engines.reader, "synchronous")) == (2, 2)
    engines.dispose()
    data_dir.close()
