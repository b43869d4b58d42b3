"""Locks by key: one holder, its failure told to those who waited, nothing left behind."""

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.store.locks import FileLocks
from tests.store.lock_holder import Holder
from tests.store.open_files import open_below, the_file_in, until_open

pytestmark = pytest.mark.anyio


async def at_once(_seconds: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "locks"


@pytest.fixture
def open_locks(folder: Path) -> Callable[[], FileLocks]:
    return lambda: FileLocks(folder, at_once)


def replace_by_file(folder: Path) -> None:
    the_file_in(folder).unlink()
    folder.rmdir()
    folder.write_bytes(b"")


async def waiting(folder: Path, *holders: Holder) -> None:
    await until_open(folder, len(holders) + 1)
    assert not any(holder.holds.is_set() for holder in holders)


async def finish(*holders: Holder) -> None:
    for holder in holders:
        holder.end.set()
    await asyncio.gather(*(holder.task for holder in holders))


async def test_one_at_a_time_holds_a_key(open_locks: Callable[[], FileLocks], folder: Path) -> None:
    first = Holder(open_locks())
    await first.holds.wait()
    second = Holder(open_locks())
    await waiting(folder, second)
    await finish(first, second)
    assert (first.found, second.found) == (None, None)
    assert second.holds.is_set()


async def test_keys_do_not_wait_for_each_other(open_locks: Callable[[], FileLocks]) -> None:
    first, second = Holder(open_locks(), "a"), Holder(open_locks(), "b")
    await first.holds.wait()
    await second.holds.wait()
    await finish(first, second)


async def test_a_failure_is_told_to_all_who_waited_and_to_nobody_later(
    open_locks: Callable[[], FileLocks], folder: Path
) -> None:
    first = Holder(open_locks(), failure="down")
    await first.holds.wait()
    others = [Holder(open_locks()) for _ in range(3)]
    await waiting(folder, *others)
    await finish(first, *others)
    assert [other.found for other in others] == ["down"] * 3
    later = Holder(open_locks())
    await finish(later)
    assert later.found is None


async def test_nothing_is_left_behind(open_locks: Callable[[], FileLocks], folder: Path) -> None:
    await finish(Holder(open_locks()), Holder(open_locks(), failure="down"), Holder(open_locks()))
    assert os.listdir(folder) == []
    assert open_below(folder) == 0


async def test_a_waiter_that_is_cancelled_leaves_nothing(
    open_locks: Callable[[], FileLocks], folder: Path
) -> None:
    first = Holder(open_locks())
    await first.holds.wait()
    for turns in range(12):  # however far it has come
        waiter = Holder(open_locks())
        for _ in range(turns):
            await asyncio.sleep(0)
        waiter.task.cancel()
        await asyncio.gather(waiter.task, return_exceptions=True)
    assert open_below(folder) == 1
    await finish(first)
    assert (os.listdir(folder), open_below(folder)) == ([], 0)


async def test_a_holder_that_is_cancelled_lets_go_without_a_failure(
    open_locks: Callable[[], FileLocks], folder: Path
) -> None:
    first = Holder(open_locks(), failure="never said")
    await first.holds.wait()
    second = Holder(open_locks())
    await waiting(folder, second)
    first.task.cancel()
    await finish(second)
    assert second.found is None


async def test_what_a_killed_holder_left_is_taken_over_whatever_it_says(
    open_locks: Callable[[], FileLocks], folder: Path
) -> None:
    first = Holder(open_locks())
    await first.holds.wait()
    path = the_file_in(folder)
    await finish(first)
    path.write_text("half a failure")
    second = Holder(open_locks())
    await finish(second)
    assert second.found is None
    assert os.listdir(folder) == []


async def test_sweeping_removes_what_nobody_holds(open_locks: Callable[[], FileLocks], folder: Path) -> None:
    first = Holder(open_locks())
    await first.holds.wait()
    (folder / "left-behind").write_bytes(b"")
    (folder / "odd").mkdir()
    assert open_locks().sweep() == 1
    assert len(os.listdir(folder)) == 2
    await finish(first)


async def test_nobody_else_on_the_machine_may_look(open_locks: Callable[[], FileLocks], folder: Path) -> None:
    first = Holder(open_locks())
    await first.holds.wait()
    path = the_file_in(folder)
    assert [stat.S_IMODE(one.stat().st_mode) for one in (folder, path)] == [0o700, 0o600]
    await finish(first)


async def test_the_key_stands_in_no_name(open_locks: Callable[[], FileLocks], folder: Path) -> None:
    first = Holder(open_locks(), "../../etc/passwd")
    await first.holds.wait()
    path = the_file_in(folder)
    assert path.name.isalnum()
    assert len(path.name) == 64
    await finish(first)


@pytest.mark.parametrize("kind", ["symlink", "no folder"])
async def test_where_there_can_be_no_lock_it_is_an_oserror(
    open_locks: Callable[[], FileLocks], folder: Path, kind: str
) -> None:
    locks = open_locks()
    first = Holder(locks)
    await first.holds.wait()
    path = the_file_in(folder)
    await finish(first)
    if kind == "symlink":
        path.symlink_to(folder.parent / "elsewhere")
    else:
        os.rmdir(folder)
    with pytest.raises(OSError, match=r"symbolic|No such"):
        await Holder(locks).task
    assert not (folder.parent / "elsewhere").exists()


async def test_trouble_on_letting_go_is_a_warning_and_the_lock_is_free(
    open_locks: Callable[[], FileLocks], folder: Path
) -> None:
    first = Holder(open_locks(), failure="down")
    await first.holds.wait()
    replace_by_file(folder)
    with capture_logs() as logs:
        await finish(first)
    assert [line["event"] for line in logs] == ["lock_not_cleared"]
    assert open_below(folder) == 0


async def test_pauses_grow_to_a_twentieth_of_a_second(folder: Path) -> None:
    pauses: list[float] = []
    first = Holder(FileLocks(folder, at_once))
    await first.holds.wait()

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 6:
            await finish(first)

    second = Holder(FileLocks(folder, note))
    await second.holds.wait()
    await finish(second)
    assert pauses == [0.005, 0.01, 0.02, 0.04, 0.05, 0.05]
