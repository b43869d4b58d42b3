"""Blobs that lie unused are set aside and removed; what is damaged is put into quarantine."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.oci.digest import Digest
from gateway.store.blobs import StoredBlob, keep_bytes, read_whole
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.conditions import Conditions
from tests.rot import EVERY_WAY, flip, link_to_passwd, make_fifo, make_folder, place_of
from tests.sources.helm_parts import Clock

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # many small tests, seconds together

CONTENT = b"wanted"
WANTED = Digest.of(CONTENT)
HOUR = 3600.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def conditions(clock: Clock) -> Conditions:
    return Conditions(clock)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(root: Path, clock: Clock, conditions: Conditions) -> DirectoryBlobs:
    return DirectoryBlobs(root, wall=clock, conditions=conditions)


async def _keep(blobs: DirectoryBlobs, root: Path, clock: Clock, content: bytes = CONTENT) -> Path:
    """Keep a blob, as if it were done now by ``clock``."""
    place = place_of(root, await keep_bytes(blobs, content))
    os.utime(place, (clock.seconds, clock.seconds))
    return place


async def _pace(_count: int) -> None:
    """As fast as it goes."""


async def test_a_scan_tells_size_birth_and_last_use_to_the_hour(
    blobs: DirectoryBlobs, root: Path, clock: Clock
) -> None:
    await _keep(blobs, root, clock)
    born = clock.seconds
    assert list(blobs.scan()) == [StoredBlob(WANTED, len(CONTENT), born, born)]
    clock.advance(HOUR)
    assert await read_whole(blobs, WANTED) == CONTENT
    assert list(blobs.scan()) == [StoredBlob(WANTED, len(CONTENT), born, born)]
    clock.advance(1)
    assert await read_whole(blobs, WANTED) == CONTENT
    assert list(blobs.scan()) == [StoredBlob(WANTED, len(CONTENT), born + HOUR + 1, born)]


async def test_a_last_use_in_the_future_is_put_right_by_the_next(
    blobs: DirectoryBlobs, root: Path, clock: Clock
) -> None:
    """As after a clock that was wrong for a while."""
    await _keep(blobs, root, clock)
    clock.advance(-2 * HOUR)
    assert await read_whole(blobs, WANTED) == CONTENT
    assert place_of(root, WANTED).stat().st_atime == clock.seconds


async def test_hashing_is_no_use_and_tells_right_from_gone(
    blobs: DirectoryBlobs, root: Path, clock: Clock
) -> None:
    place = await _keep(blobs, root, clock)
    os.utime(place, (1, 1))
    assert await blobs.verify(WANTED, _pace) is True
    assert place.stat().st_atime == 1
    assert await blobs.verify(Digest.of(b"never kept"), _pace) is None


async def test_what_was_not_used_is_set_aside_and_removed(
    blobs: DirectoryBlobs, root: Path, clock: Clock
) -> None:
    place = await _keep(blobs, root, clock)
    clock.advance(HOUR)
    assert not blobs.set_aside(WANTED, unused_since=clock.seconds - HOUR - 1)
    assert blobs.set_aside(WANTED, unused_since=clock.seconds)
    assert not place.exists()
    assert list(blobs.scan()) == []
    assert list(blobs.dying()) == [StoredBlob(WANTED, len(CONTENT), clock.seconds, clock.seconds)]
    assert not blobs.set_aside(WANTED, unused_since=clock.seconds), "it is no longer there"
    assert blobs.remove_dying(WANTED) == len(CONTENT)
    assert blobs.remove_dying(WANTED) == 0
    assert list(blobs.dying()) == []
    assert await blobs.open(WANTED) is None


@pytest.mark.parametrize("how", ["read", "size", "kept"])
async def test_who_wants_what_was_set_aside_puts_it_back(
    blobs: DirectoryBlobs, root: Path, clock: Clock, how: str
) -> None:
    await _keep(blobs, root, clock)
    clock.advance(2 * HOUR)
    assert blobs.set_aside(WANTED, unused_since=clock.seconds)
    clock.advance(HOUR)
    match how:
        case "read":
            assert await read_whole(blobs, WANTED) == CONTENT
        case "size":
            assert await blobs.size(WANTED) == len(CONTENT)
        case _:
            await _keep(blobs, root, clock)
    (stored,) = blobs.scan()
    assert (stored.digest, stored.used_at) == (WANTED, clock.seconds)
    assert blobs.remove_dying(WANTED) in (0, len(CONTENT))
    assert await read_whole(blobs, WANTED) == CONTENT


async def test_who_has_a_blob_open_reads_on_when_it_is_removed(
    blobs: DirectoryBlobs, root: Path, clock: Clock
) -> None:
    await _keep(blobs, root, clock)
    opened = await blobs.open(WANTED)
    assert opened is not None
    assert blobs.set_aside(WANTED, unused_since=clock.seconds)
    assert blobs.remove_dying(WANTED)
    assert await opened.read(0, 100) == CONTENT
    opened.close()


async def test_what_is_forgotten_is_not_put_back(blobs: DirectoryBlobs, root: Path, clock: Clock) -> None:
    await _keep(blobs, root, clock)
    assert blobs.set_aside(WANTED, unused_since=clock.seconds)
    await blobs.delete(WANTED)
    assert await blobs.size(WANTED) is None


@pytest.mark.parametrize("odd", [link_to_passwd, make_fifo, make_folder])
async def test_what_is_no_file_is_never_scanned_set_aside_or_followed(
    blobs: DirectoryBlobs, root: Path, clock: Clock, odd: Callable[[Path], None]
) -> None:
    odd(await _keep(blobs, root, clock))
    assert list(blobs.scan()) == []
    assert list(blobs.odd()) == [WANTED]
    assert not blobs.set_aside(WANTED, unused_since=2e9)


@pytest.mark.parametrize("ask", ["open", "size", "verify", "keep"])
@pytest.mark.parametrize("odd", [link_to_passwd, make_fifo, make_folder])
async def test_what_is_no_file_gives_way_to_whoever_comes(
    blobs: DirectoryBlobs, root: Path, clock: Clock, odd: Callable[[Path], None], ask: str
) -> None:
    place = await _keep(blobs, root, clock)
    odd(place)
    match ask:
        case "open":
            assert await blobs.open(WANTED) is None
        case "size":
            assert await blobs.size(WANTED) is None
        case "verify":
            assert await blobs.verify(WANTED, _pace) is False
        case _:
            await keep_bytes(blobs, CONTENT)
            assert place.read_bytes() == CONTENT
            return
    (quarantined,) = (root / "quarantine").iterdir()
    assert list(place.parent.iterdir()) == []
    assert quarantined.name == f"sha256-{WANTED.hex}"


@pytest.mark.parametrize("damage", EVERY_WAY)
async def test_what_is_damaged_is_told_as_long_as_it_is_not_back(
    blobs: DirectoryBlobs,
    root: Path,
    clock: Clock,
    conditions: Conditions,
    damage: Callable[[Path], None],
) -> None:
    damage(await _keep(blobs, root, clock))
    assert await read_whole(blobs, WANTED) is None
    assert list(conditions.told()) == ["blobs_corrupt"]
    await keep_bytes(blobs, CONTENT)
    assert conditions.told() == {}
    assert await read_whole(blobs, WANTED) == CONTENT


async def test_what_was_damaged_twice_is_in_quarantine_whatever_it_was(
    blobs: DirectoryBlobs, root: Path, clock: Clock
) -> None:
    for damage, count in ((flip, 1), (link_to_passwd, 1), (make_folder, 2), (flip, 2), (make_folder, 3)):
        damage(await _keep(blobs, root, clock))
        clock.advance(1)
        assert await read_whole(blobs, WANTED) is None
        assert len(list((root / "quarantine").iterdir())) == count
    blobs.empty_quarantine(before=0)
    assert len(list((root / "quarantine").iterdir())) == 3
    blobs.empty_quarantine(before=2e10)
    assert list((root / "quarantine").iterdir()) == []


async def test_folders_that_an_operator_removed_are_made_again(
    blobs: DirectoryBlobs, root: Path, clock: Clock
) -> None:
    flip(await _keep(blobs, root, clock))
    for name in ("quarantine", "dying"):
        (root / name).rmdir()
    assert await read_whole(blobs, WANTED) is None
    await _keep(blobs, root, clock)
    assert blobs.set_aside(WANTED, unused_since=clock.seconds)


async def test_a_good_blob_that_took_the_place_of_a_bad_one_stays(
    blobs: DirectoryBlobs, root: Path, clock: Clock
) -> None:
    """Another process may have fetched it while this one was hashing."""
    place = await _keep(blobs, root, clock)
    flip(place)

    async def replaced(_count: int) -> None:
        place.unlink()
        await keep_bytes(DirectoryBlobs(root), CONTENT)

    assert await blobs.verify(WANTED, replaced) is False
    assert await read_whole(blobs, WANTED) == CONTENT
    assert list((root / "quarantine").iterdir()) == []


async def test_names_that_no_blob_has_are_passed_over(blobs: DirectoryBlobs, root: Path) -> None:
    shard = root / "sha256" / "ab"
    shard.mkdir(parents=True)
    (shard / ".nfs0001").touch()
    (shard / WANTED.hex).touch()  # a digest, in another's folder
    (root / "lost+found").mkdir()
    (root / "dying" / "README").touch()
    (root / "sha256" / "file").touch()
    assert (list(blobs.scan()), list(blobs.odd()), list(blobs.dying())) == ([], [], [])


async def test_times_of_a_clock_that_was_ahead_keep_nothing_for_ever(
    blobs: DirectoryBlobs, root: Path, clock: Clock
) -> None:
    place = await _keep(blobs, root, clock)
    ahead = clock.seconds + 10 * 365 * 24 * HOUR
    os.utime(place, (ahead, ahead))
    assert [blob.used_at for blob in blobs.scan()] == [0.0]
    assert not blobs.set_aside(WANTED, clock.seconds - 24 * HOUR)  # its time begins now
    assert [blob.used_at for blob in blobs.scan()] == [clock.seconds]
    clock.advance(25 * HOUR)
    assert blobs.set_aside(WANTED, clock.seconds - 24 * HOUR)
    os.utime(root / "dying" / f"sha256-{WANTED.hex}", (ahead, ahead))
    assert [blob.kept_at for blob in blobs.dying()] == [0.0]


@pytest.mark.parametrize("harm", [make_folder, make_fifo, link_to_passwd])
async def test_what_is_no_file_is_not_dying(
    blobs: DirectoryBlobs, root: Path, harm: Callable[[Path], None]
) -> None:
    aside = root / "dying" / f"sha256-{WANTED.hex}"
    aside.touch()
    harm(aside)
    assert list(blobs.dying()) == []
