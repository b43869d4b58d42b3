"""Rows that a catalog refuses: seen at once, written in order later, and bounded."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from gateway.oci.digest import Digest
from gateway.store import catalog_reads as reads
from gateway.store import catalog_writes as writes
from gateway.store.blobs import StorageFailed
from gateway.store.conditions import Condition, Conditions
from gateway.store.engine import Engines
from gateway.store.notice import Notice
from gateway.store.unwritten import MEMORY_BYTES, Unwritten
from tests.pull_house import until
from tests.store.samples import NAME, TARGET, Sample, sample

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # real catalogs

HELD, NEW = sample("1.0.0"), sample("2.0.0", kept_at=2000.0)


class House:
    """A catalog that holds one chart, and pauses between two attempts that a test ends."""

    def __init__(self, engines: Engines, notice: Notice | None = None) -> None:
        self.engines = engines
        self.conditions = Conditions(lambda: 0.0)
        self.pauses: asyncio.Queue[asyncio.Event] = asyncio.Queue()
        self.rows = Unwritten(engines, self.conditions, notice, self._sleep)

    async def keep(self, pull: Sample) -> None:
        await self.rows.tell(writes.keep, NAME, pull.row, pull.kept, None)

    async def tags(self) -> list[str]:
        return [row.tag for row in await self.rows.ask(reads.find_versions, TARGET, "plain")]

    def refuse(self, word: str = "ON") -> None:
        with closing(self.engines.writer.raw_connection()) as connection:
            connection.cursor().execute(f"PRAGMA query_only={word}")

    async def recover(self) -> None:
        self.refuse("OFF")
        (await self.pauses.get()).set()
        await until(self._is_over)

    async def _is_over(self) -> bool:
        await asyncio.sleep(0)
        return not self.conditions.told()

    async def _sleep(self, _seconds: float) -> None:
        pause = asyncio.Event()
        self.pauses.put_nowait(pause)
        await pause.wait()


@pytest.fixture
async def at(sqlite_engines: Engines) -> House:
    house = House(sqlite_engines)
    await house.keep(HELD)
    return house


async def test_what_is_refused_is_seen_beside_what_is_held_and_written_later(at: House) -> None:
    at.refuse()
    await at.keep(NEW)
    assert Condition.CATALOG_UNWRITABLE in at.conditions.told()
    assert await at.tags() == ["2.0.0", "1.0.0"]
    assert await at.rows.ask(reads.find_manifest, TARGET, NEW.digest) == NEW.kept.manifest
    assert await at.rows.ask(reads.find_manifest, TARGET, HELD.digest) == HELD.kept.manifest
    assert await at.rows.ask(reads.find_manifest, TARGET, Digest.of(b"nobody's")) is None
    assert (await at.rows.ask(reads.find_named, TARGET, NEW.layer))[0].manifest == NEW.digest
    assert await at.rows.ask(reads.find_right, TARGET, NEW.layer) is not None
    assert await at.rows.ask_written(reads.find_manifest, TARGET, NEW.digest) is None
    await at.recover()
    assert await at.rows.ask_written(reads.find_manifest, TARGET, NEW.digest) == NEW.kept.manifest
    assert await at.tags() == ["2.0.0", "1.0.0"]


async def test_of_one_tag_the_newer_row_is_seen(at: House) -> None:
    at.refuse()
    other = sample("1.0.0", content=b"other")
    await at.rows.tell(writes.keep, NAME, other.row, other.kept, HELD.digest)
    assert [row.digest for row in await at.rows.ask(reads.find_tags, TARGET, "plain", "1.0.0")] == [
        other.digest
    ]
    await at.recover()
    assert [row.digest for row in await at.rows.ask(reads.find_tags, TARGET, "plain", "1.0.0")] == [
        other.digest
    ]


async def test_a_second_trouble_begins_with_an_empty_memory(at: House) -> None:
    at.refuse()
    await at.keep(NEW)
    await at.recover()
    await at.rows.tell(writes.drop_tag, TARGET, "plain", "2.0.0")
    at.refuse()
    await at.keep(sample("3.0.0", kept_at=3000.0))
    assert await at.tags() == ["3.0.0", "1.0.0"]
    await at.recover()


async def test_a_row_that_is_wrong_itself_is_refused_and_holds_up_nobody(at: House) -> None:
    def wrong(connection: Connection) -> None:
        connection.execute(text("INSERT INTO tags (target) VALUES ('a')"))

    with pytest.raises(StorageFailed):
        await at.rows.tell(wrong)
    assert not at.conditions.told()


async def test_memory_is_bounded(at: House) -> None:
    at.refuse()
    content = b"x" * (4 << 20)

    async def fill() -> None:
        for number in range(2 * MEMORY_BYTES // len(content)):
            await at.rows.tell(_keep_manifest, f"sha256:{number}", content)

    with pytest.raises(StorageFailed):
        await fill()
    await at.recover()


async def test_what_waits_is_bounded_by_what_it_keeps_in_memory(at: House) -> None:
    """Many rows may share one place in the memory's catalog, and bring each their own copy."""

    def write(engines: Engines) -> None:
        """Nothing."""

    at.refuse()
    await at.keep(NEW)
    await at.rows.run(write, 63 << 20)
    with pytest.raises(StorageFailed):
        await at.rows.run(write, 2 << 20)
    await at.recover()
    at.refuse()
    await at.keep(sample("3.0.0", kept_at=3000.0))
    await at.rows.run(write, 63 << 20)


async def test_one_that_can_never_be_written_keeps_no_other_from_it(at: House) -> None:
    def wrong(_connection: Connection) -> None:
        raise ValueError

    at.refuse()
    await at.keep(sample("3.0.0", kept_at=3000.0))
    with pytest.raises(ValueError):  # noqa: PT011 (any)
        await at.rows.tell(wrong)
    await at.keep(NEW)
    await at.recover()
    assert await at.rows.ask_written(reads.find_manifest, TARGET, NEW.digest) == NEW.kept.manifest


def _keep_manifest(connection: Connection, digest: str, content: bytes) -> None:
    row = {"digest": digest, "content": content}
    connection.execute(
        text("INSERT INTO manifests VALUES (:digest, 'a', :content, NULL, NULL, '{}', 1.0)"), row
    )


async def test_at_the_end_what_waits_is_written(at: House) -> None:
    at.refuse()
    await at.keep(NEW)
    at.refuse("OFF")
    await at.rows.close()
    assert await at.rows.ask_written(reads.find_manifest, TARGET, NEW.digest) is not None


async def test_reads_do_not_wait_for_who_writes(at: House, catalog_path: Path) -> None:
    """Nobody lets go of the lock before all is read."""
    async with locked(catalog_path):
        assert await at.tags() == ["1.0.0"]
        assert await at.rows.ask(reads.find_manifest, TARGET, HELD.digest) is not None


async def test_where_another_worker_has_rows_that_wait_that_is_known(
    sqlite_engines: Engines, tmp_path: Path
) -> None:
    seconds = 1000.0
    here, there = (House(sqlite_engines, Notice(tmp_path / "unwritten", lambda: seconds)) for _ in range(2))
    seen = [there.rows.is_all_seen]
    here.refuse()
    await here.keep(NEW)
    seen.append(there.rows.is_all_seen)
    await here.recover()
    for passed in (7, -10_000):
        seconds += passed
        seen.append(there.rows.is_all_seen)
    assert seen == [True, False, True, True]


@asynccontextmanager
async def locked(catalog: Path) -> AsyncIterator[None]:
    connection = sqlite3.connect(catalog, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        connection.close()
