"""Rules that change while it runs: edits of every kind are taken in whole, and followed in two seconds."""

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.rule_following import Watcher
from gateway.rule_revisions import InForce, RuleDesk
from gateway.rules.model import RuleSet
from tests.rule_house import (
    INSTANCE,
    Place,
    host_of,
    is_told,
    is_well,
    leads_to,
    open_place,
    renamed,
    rules_to,
    running,
)

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # real files: each change takes its time

A, B, C = (rules_to(f"{name}.example.com") for name in "abc")
BAD = "version: 1\nrulez: []\n"
SECRET = "GATEWAY_SECRET_NEXUS"
WITH_SECRET = f"{B}upstreams: {{b.example.com: {{token_env: {SECRET}}}}}\n"

Edit = Callable[[Path, str], None]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    opened = open_place(tmp_path, None)
    yield opened
    opened.engines.dispose()


def written_in_place(path: Path, text: str) -> None:
    with path.open("r+") as file:
        file.write(text)
        file.truncate()


def removed_and_written(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def moved_away_and_written(path: Path, text: str) -> None:
    path.rename(path.with_name("rules.yaml~"))
    path.write_text(text)


def linked_elsewhere(path: Path, text: str) -> None:
    elsewhere = path.parent.with_name("elsewhere")
    elsewhere.mkdir()
    (elsewhere / "rules.txt").write_text(text)
    path.unlink()
    path.symlink_to(elsewhere / "rules.txt")


def with_its_folder_replaced(path: Path, text: str) -> None:
    new = path.parent.with_name("new")
    new.mkdir()
    (new / path.name).write_text(text)
    path.parent.rename(path.parent.with_name("old"))
    new.rename(path.parent)


EDITS: list[Edit] = [
    Path.write_text,  # type: ignore[list-item]
    renamed,
    written_in_place,
    removed_and_written,
    moved_away_and_written,
    linked_elsewhere,
    with_its_folder_replaced,
]


@pytest.mark.parametrize("edit", EDITS)
async def test_an_edit_is_followed_within_two_seconds(place: Place, edit: Edit) -> None:
    async with running(place) as switch:
        edit(place.path, B)
        await leads_to(switch, "b")
        place.path.write_text(C)
        await leads_to(switch, "c")
    assert place.book.texts() == [A, B, C]


LINES = [
    "version: 1\n",
    "rules:\n",
    *(f'- {{repository: "r{number}/*", deny: "no"}}\n' for number in range(8)),
    '- {repository: "argo/*", rewrite: b.example.com/$1}\n',
]


@pytest.mark.parametrize("pieces", [LINES, ["", "".join(LINES)]], ids=["by lines", "emptied first"])
async def test_a_file_that_is_written_bit_by_bit_is_taken_in_whole(place: Place, pieces: list[str]) -> None:
    """All that is there after each of the lines would do as rules."""
    async with running(place) as switch:
        with place.path.open("w") as file:
            for piece in pieces:
                file.write(piece)
                file.flush()
                await asyncio.sleep(0.15)  # less than a file has to be still
        await leads_to(switch, "b")
    assert place.book.texts() == [A, "".join(LINES)]


async def test_a_file_that_is_written_to_while_it_is_read_is_not_taken_in_by_half(place: Place) -> None:
    """The writer comes after the file was found still, and is not done when it has been read."""

    class Disturbed(RuleDesk):
        def read_file(self) -> bytes | None:
            if not place.path.read_text().endswith("# whole\n"):
                place.path.write_text(B)
                content = super().read_file()
                place.path.write_text(f"{C}# whole\n")
                return content
            return super().read_file()

    desk = place.desk()
    in_force = desk.start()
    disturbed = Disturbed(desk.file, desk.reader, desk.engines)
    watcher = Watcher(disturbed, INSTANCE, in_force.file)
    await watcher.look()
    await watcher.look()
    assert place.book.texts() == [A, f"{C}# whole\n"]


@pytest.mark.parametrize("is_seen", [True, False])
async def test_a_file_with_the_same_bytes_is_no_change_touched_or_replaced(
    place: Place, is_seen: bool
) -> None:
    in_force = place.start()
    watcher = Watcher(place.desk(), INSTANCE, in_force.file if is_seen else None)
    await watcher.look()
    os.utime(place.path)
    await watcher.look()
    renamed(place.path, A)
    await watcher.look()
    assert (place.book.texts(), place.book.trouble()) == ([A], None)


async def test_what_the_file_is_a_link_to_may_be_edited_there(place: Place, tmp_path: Path) -> None:
    real = tmp_path / "real" / "other-name"
    real.parent.mkdir()
    place.path.rename(real)
    place.path.symlink_to(real)
    async with running(place) as switch:
        real.write_text(B)
        await leads_to(switch, "b")
        renamed(real, C)
        await leads_to(switch, "c")


async def test_a_link_on_the_way_may_be_turned(place: Place) -> None:
    """As by those who keep each release in a folder, and a link to the one in use."""
    folder = place.path.parent
    for name, text in (("release-1", A), ("release-2", B)):
        (folder / name).mkdir()
        (folder / name / "rules.yaml").write_text(text)
    (folder / "current").symlink_to("release-1")
    place.path.unlink()
    place.path.symlink_to("current/rules.yaml")
    async with running(place) as switch:
        (folder / "next").symlink_to("release-2")
        (folder / "next").rename(folder / "current")
        await leads_to(switch, "b")
        (folder / "release-2" / "rules.yaml").write_text(C)
        await leads_to(switch, "c")


class ConfigMap:
    """A folder as Kubernetes mounts it: the file is a link through ``..data``, which is turned at once."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        self.count = 0
        self.update(text)
        (folder / "rules.yaml").symlink_to("..data/rules.yaml")

    def update(self, text: str) -> None:
        old = self.folder / f"..2026_{self.count}"
        self.count += 1
        new = self.folder / f"..2026_{self.count}"
        new.mkdir()
        (new / "rules.yaml").write_text(text)
        (self.folder / "..data_tmp").symlink_to(new.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")
        if old.exists():
            shutil.rmtree(old)


async def test_a_config_map_is_followed_each_time_it_is_updated(place: Place, tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    mounted = ConfigMap(tmp_path / "mounted", A)
    async with running(replace(place, path=mounted.folder / "rules.yaml")) as switch:
        for text, name in ((B, "b"), (C, "c"), (A, "a")):
            mounted.update(text)
            await leads_to(switch, name)
    assert place.book.texts() == [A, B, C, A]


async def test_a_file_whose_folder_is_missing_is_taken_in_once_it_is_there(
    place: Place, tmp_path: Path
) -> None:
    late = replace(place, path=tmp_path / "late" / "etc" / "rules.yaml", is_named=False)
    async with running(late) as switch:
        assert switch.in_force == InForce(RuleSet())
        late.path.parent.mkdir(parents=True)
        late.path.write_text(B)
        await leads_to(switch, "b")
        shutil.rmtree(late.path.parent)
        await is_told(switch, "is gone: the rules taken from it stay")
        assert host_of(switch.in_force) == "b.example.com"
        late.path.parent.mkdir()
        late.path.write_text(C)
        await leads_to(switch, "c")
        await is_well(switch)


async def test_in_a_folder_where_everything_changes_all_the_time_an_edit_is_followed(place: Place) -> None:
    is_over = threading.Event()

    def bustle() -> None:
        number = 0
        while not is_over.wait(0.001):
            number += 1
            beside = place.path.with_name(f"beside-{number % 50}")
            beside.write_text(str(number))

    thread = threading.Thread(target=bustle)
    thread.start()
    try:
        async with running(place) as switch:
            for text, name in ((B, "b"), (C, "c")):
                renamed(place.path, text)
                await leads_to(switch, name)
    finally:
        is_over.set()
        thread.join()
    assert place.book.texts() == [A, B, C]


async def test_an_edit_that_no_event_tells_of_is_followed(place: Place, tmp_path: Path) -> None:
    """As from another machine: the folder hears nothing of what comes in by another name of the file."""
    other_name = tmp_path / "other-name"
    os.link(place.path, other_name)
    async with running(place) as switch:
        await is_well(switch)
        other_name.write_text(B)
        await leads_to(switch, "b")
