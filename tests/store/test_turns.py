"""A database that does not answer takes its own threads, and no others'."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from gateway.oci.digest import Digest
from gateway.store.blobs import StorageFailed, keep_bytes, read_whole
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.engine import CONNECTIONS, Engines
from gateway.store.turns import Turns

pytestmark = pytest.mark.anyio


class Hanging:
    """A call that does not come back until it is let go; counts those that were begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.has_begun = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, *_arguments: object) -> str:
        self.begun += 1
        self.has_begun.set()
        self.let_go.wait(10)
        return "late"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.let_go.set()


async def test_blobs_are_read_and_written_while_forty_calls_of_the_catalog_hang(
    sqlite_engines: Engines, hanging: Hanging, tmp_path: Path
) -> None:
    blobs = DirectoryBlobs(tmp_path / "blobs")
    asked = [asyncio.create_task(sqlite_engines.ask(hanging)) for _ in range(40)]
    told = [asyncio.create_task(sqlite_engines.tell(hanging)) for _ in range(40)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert await keep_bytes(blobs, b"content") == Digest.of(b"content")
        assert await read_whole(blobs, Digest.of(b"content")) == b"content"
    assert hanging.begun <= 2 * CONNECTIONS
    hanging.let_go.set()
    assert set(await asyncio.gather(*asked, *told)) == {"late"}


async def test_who_writes_holds_up_nobody_who_reads(sqlite_engines: Engines, hanging: Hanging) -> None:
    told = [asyncio.create_task(sqlite_engines.tell(hanging)) for _ in range(40)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert await sqlite_engines.ask(one) == 1
    hanging.let_go.set()
    await asyncio.gather(*told)


async def test_no_answer_in_time_is_a_failure_of_storage_for_all_who_wait(hanging: Hanging) -> None:
    turns = Turns(1, answer_seconds=0.01)
    results = await asyncio.gather(*(turns.run(hanging) for _ in range(10)), return_exceptions=True)
    assert [type(result) for result in results] == [StorageFailed] * 10
    assert {str(result) for result in results} == {"the catalog does not answer"}
    assert hanging.begun == 1


async def test_a_turn_is_free_once_its_thread_is_back_and_not_before(hanging: Hanging) -> None:
    turns = Turns(1)
    left = asyncio.create_task(turns.run(hanging))
    assert await asyncio.to_thread(hanging.has_begun.wait, 5)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    waiting = asyncio.create_task(turns.run(len, "four"))
    gone = asyncio.create_task(turns.run(len, "nobody waits for this one"))
    await asyncio.sleep(0)
    assert not waiting.done()
    gone.cancel()
    hanging.let_go.set()
    async with asyncio.timeout(5):
        assert await waiting == 4
        assert await turns.run(len, "free again") == 10


async def test_what_a_call_raises_is_raised_and_gives_its_turn_back() -> None:
    turns = Turns(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            await turns.run(int, "no number")


def one(connection: Connection) -> int:
    number: int = connection.exec_driver_sql("SELECT 1").scalar_one()
    return number
