"""What is wrong with rules is told while it lasts; gateways that share a catalog follow each other."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.oci.postgres_url import PostgresUrl
from gateway.rule_following import FOLLOW_SECONDS, Follower, Switch, Watcher
from gateway.rule_revisions import InForce, RuleDesk
from gateway.settings_values import RulesEditedIn
from gateway.store.revisions import Revision, RevisionOrigin
from tests.postgres import Cluster
from tests.rule_house import (
    INSTANCE,
    Place,
    becomes,
    forbid_reading,
    host_of,
    is_told,
    is_well,
    leads_to,
    open_place,
    renamed,
    rules_to,
    running,
)
from tests.sources.helm_parts import Clock

pytestmark = [pytest.mark.slow, pytest.mark.anyio]  # real files: each change takes its time

A, B, C = (rules_to(f"{name}.example.com") for name in "abc")
BAD = "version: 1\nrulez: []\n"
SECRET = "GATEWAY_SECRET_NEXUS"
WITH_SECRET = f"{B}upstreams: {{b.example.com: {{token_env: {SECRET}}}}}\n"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    opened = open_place(tmp_path, None)
    yield opened
    opened.engines.dispose()


@pytest.fixture
def on_postgres(tmp_path: Path, postgres_url: PostgresUrl) -> Iterator[Place]:
    opened = open_place(tmp_path, postgres_url)
    yield opened
    opened.engines.dispose()


async def test_a_bad_edit_keeps_the_rules_and_is_told_until_it_is_good_again(place: Place) -> None:
    async with running(place) as switch:
        place.path.write_text(BAD)
        await is_told(switch, "rules.yaml:2:1: rulez")
        assert (switch.in_force.revision, host_of(switch.in_force)) == (1, "a.example.com")
        place.path.write_text("")
        await is_told(switch, "rules.yaml:1:1: version")
        place.path.write_text(A)  # as it was
        await is_well(switch)
        place.path.unlink()
        await is_told(switch, "there is no rules file")
        place.path.write_text(B)
        await leads_to(switch, "b")
        await is_well(switch)
    assert place.book.texts() == [A, B]
    assert place.book.trouble() is None


async def test_what_was_bad_at_the_start_is_told_by_every_worker_at_once(place: Place) -> None:
    place.start()
    place.path.write_text(BAD)
    desk = place.desk()
    in_force = desk.start()
    desk.note_trouble(INSTANCE, in_force.trouble)
    switch = Switch(in_force)
    await Follower(desk, switch, INSTANCE).look()
    assert switch.in_force == in_force
    assert in_force.trouble is not None


async def test_what_was_bad_before_a_restart_is_told_no_more_where_it_is_good(place: Place) -> None:
    async with running(place) as switch:
        place.path.write_text(BAD)
        await is_told(switch, "rulez")
    async with running(place) as switch:
        await is_told(switch, "rulez")
    place.path.write_text(B)
    async with running(place) as switch:
        await becomes(lambda: place.book.trouble() is None)
        await is_well(switch)
        assert host_of(switch.in_force) == "b.example.com"


async def test_a_file_that_may_not_be_read_is_told_until_it_may_be(place: Place) -> None:
    async with running(place) as switch:
        place.path.write_text(B)
        forbid_reading(place.path)
        await is_told(switch, "Permission denied")
        assert host_of(switch.in_force) == "a.example.com"
        place.path.chmod(0o600)
        await leads_to(switch, "b")
        await is_well(switch)


async def test_a_changed_mode_has_the_file_read_again(place: Place) -> None:
    """Nothing but its mode may be what kept it from being read; root can tell by another content."""
    watcher = Watcher(place.desk(), INSTANCE)
    await watcher.look()
    before = place.path.stat()
    place.path.write_text(B.replace("b.", "d."))
    os.utime(place.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    place.path.chmod(0o600)
    await watcher.look()
    assert place.book.texts() == [A, B.replace("b.", "d.")]


async def test_a_bad_file_is_tried_again_for_what_it_names_may_come_later(place: Place) -> None:
    clock = Clock()
    desk = place.desk()
    watcher = Watcher(desk, INSTANCE, desk.start().file, monotonic=clock)
    place.path.write_text(WITH_SECRET)
    await watcher.look()
    assert SECRET in str(place.book.trouble())
    place.environment[SECRET] = "s3cr3t"
    clock.advance(29)
    await watcher.look()
    assert SECRET in str(place.book.trouble())
    clock.advance(1)
    await watcher.look()
    assert (place.book.trouble(), place.book.texts()) == (None, [A, WITH_SECRET])


async def test_a_revision_that_cannot_be_used_here_is_tried_again_and_a_newer_one_at_once(
    place: Place,
) -> None:
    clock = Clock()
    desk = place.desk()
    switch = Switch(desk.start())
    follower = Follower(desk, switch, INSTANCE, clock)
    place.book.add(RevisionOrigin.ADMIN, WITH_SECRET)
    with capture_logs() as logged:
        for _ in range(3):
            await follower.look()
            assert (switch.in_force.revision, host_of(switch.in_force)) == (1, "a.example.com")
            assert SECRET in str(switch.in_force.trouble)
            clock.advance(20)
    assert [line["event"] for line in logged] == ["rules_unusable"]
    place.environment[SECRET] = "s3cr3t"
    clock.advance(30)
    await follower.look()
    assert (switch.in_force.revision, switch.in_force.trouble) == (2, None)
    place.book.add(RevisionOrigin.ADMIN, BAD)
    await follower.look()
    assert (switch.in_force.revision, "rulez" in str(switch.in_force.trouble)) == (2, True)
    place.book.add(RevisionOrigin.ROLLBACK, A)
    await follower.look()
    assert (switch.in_force.revision, switch.in_force.trouble) == (4, None)


async def test_a_fault_of_our_own_ends_neither_watching_nor_following(place: Place) -> None:
    class Faulty(RuleDesk):
        def load(self, revision: Revision) -> InForce:
            if b"b.example.com" in revision.content:
                raise ZeroDivisionError("ours")
            return super().load(revision)

        def take_in(self, content: bytes) -> Revision | None:
            if b"c.example.com" in content:
                raise RecursionError("ours too")
            return super().take_in(content)

    sound = place.desk()
    desk = Faulty(sound.file, sound.reader, sound.engines)
    switch = Switch(desk.start())
    watcher, follower = Watcher(desk, INSTANCE), Follower(desk, switch, INSTANCE)
    place.path.write_text(B)
    await watcher.look()
    await follower.look()
    assert (switch.in_force.revision, "ZeroDivisionError" in str(switch.in_force.trouble)) == (1, True)
    place.path.write_text(C)
    await watcher.look()
    assert "RecursionError" in str(place.book.trouble())
    place.path.write_text(A)
    await watcher.look()
    await follower.look()
    assert (switch.in_force.revision, switch.in_force.trouble) == (3, None)


async def test_a_revision_that_this_version_cannot_read_does_not_end_the_following(place: Place) -> None:
    """As of a newer version beside this one, on the same catalog."""
    async with running(place) as switch:
        place.book.add(RevisionOrigin.ADMIN, B)
        _write(place, "UPDATE rule_revisions SET origin = 'elsewhere' WHERE number = 2")
        with capture_logs() as logged:
            await is_told(switch, "'elsewhere' is not a valid RevisionOrigin")
            await asyncio.sleep(2 * FOLLOW_SECONDS)
        assert [line["event"] for line in logged] == ["rules_not_followed"]
        assert host_of(switch.in_force) == "a.example.com"
        _write(place, "UPDATE rule_revisions SET origin = 'import' WHERE number = 2")
        await leads_to(switch, "b")
        await is_well(switch)


def _write(place: Place, statement: str) -> None:
    place.engines.write(lambda connection: connection.exec_driver_sql(statement))


@pytest.mark.parametrize("origin", [RevisionOrigin.ADMIN, RevisionOrigin.ROLLBACK, RevisionOrigin.IMPORT])
async def test_a_revision_made_elsewhere_is_followed_and_the_file_stays_as_it_is(
    place: Place, origin: RevisionOrigin
) -> None:
    async with running(place) as switch:
        place.book.add(origin, B)
        await leads_to(switch, "b")
        assert place.path.read_text() == A
        renamed(place.path, A)
        place.book.add(origin, C)
        await leads_to(switch, "c")
    assert place.book.texts() == [A, B, C]


@pytest.mark.parametrize(
    ("edited_in", "expected"), [(RulesEditedIn.FILE, "c"), (RulesEditedIn.ADMIN, "b")], ids=str
)
async def test_what_does_not_count_is_not_followed(
    place: Place, edited_in: RulesEditedIn, expected: str
) -> None:
    place.edited_in = edited_in
    async with running(place) as switch:
        place.book.add(RevisionOrigin.ADMIN, B)
        place.path.write_text(C)
        await leads_to(switch, expected)
        place.path.write_text(BAD)
        if edited_in is RulesEditedIn.FILE:
            await is_told(switch, "rulez")
    assert ("c.example.com" in "".join(place.book.texts())) is (edited_in is RulesEditedIn.FILE)
    assert (place.book.trouble() is None) is (edited_in is RulesEditedIn.ADMIN)


async def test_gateways_with_files_of_their_own_take_in_each_what_changes_in_its_own(
    place: Place, tmp_path: Path
) -> None:
    other = replace(place, path=tmp_path / "other.yaml")
    other.path.write_text(B)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(running(place, "a" * 16))
        two = await stack.enter_async_context(running(other, "b" * 16))
        for switch in (one, two):
            await leads_to(switch, "b")
        renamed(place.path, A)  # touched, and as it was
        other.path.write_text(C)
        for switch in (one, two):
            await leads_to(switch, "c")
        other.path.write_text(BAD)
        await is_told(two, "rulez")
        assert one.in_force.trouble is None
        place.path.write_text(C)  # which is known
        place.path.write_text(f"{A}# changed\n")
        for switch in (one, two):
            await leads_to(switch, "a")
    assert place.book.texts() == [A, B, C, f"{A}# changed\n"]


async def test_gateways_with_the_same_file_make_one_revision_of_each_edit(place: Place) -> None:
    async with AsyncExitStack() as stack:
        switches = [await stack.enter_async_context(running(place, f"{n:016x}")) for n in range(3)]
        for text, name in ((B, "b"), (C, "c"), (A, "a")):
            renamed(place.path, text)
            for switch in switches:
                await leads_to(switch, name)
    assert place.book.texts() == [A, B, C, A]


async def test_while_the_catalog_cannot_be_read_the_rules_at_hand_go_on_and_the_log_says_so_once(
    place: Place,
) -> None:
    desk = place.desk()
    switch = Switch(desk.start())
    watcher, follower = Watcher(desk, INSTANCE), Follower(desk, switch, INSTANCE)
    place.path.write_text(B)
    say(place, "ALTER TABLE rule_revisions RENAME TO away")
    with capture_logs() as logged:
        for _ in range(3):
            await watcher.look()
            await follower.look()
    assert (switch.in_force.revision, switch.in_force.trouble) == (1, None)
    assert [line["event"] for line in logged if line["log_level"] != "debug"] == ["rules_not_taken_in"]
    say(place, "ALTER TABLE away RENAME TO rule_revisions")
    await watcher.look()
    await follower.look()
    assert (switch.in_force.revision, host_of(switch.in_force)) == (2, "b.example.com")


async def test_where_the_catalog_is_another_the_rules_at_hand_go_on_until_it_has_some(place: Place) -> None:
    desk = place.desk()
    switch = Switch(desk.start())
    follower = Follower(desk, switch, INSTANCE)
    say(place, "DELETE FROM rule_revisions")
    await follower.look()
    assert host_of(switch.in_force) == "a.example.com"
    for text in (A, B, C):
        place.book.add(RevisionOrigin.ADMIN, text)
    await follower.look()
    assert (switch.in_force.revision, host_of(switch.in_force)) == (3, "c.example.com")


def say(place: Place, statement: str) -> None:
    with place.engines.writing() as connection:
        connection.exec_driver_sql(statement)


async def test_an_edit_made_while_the_database_is_away_is_taken_in_when_it_is_back(
    on_postgres: Place, restarting: Cluster
) -> None:
    place = on_postgres
    async with running(place) as switch:
        restarting.stop()
        place.path.write_text(B)
        with capture_logs() as logged:
            await becomes(lambda: "rules_not_taken_in" in [line["event"] for line in logged])
        assert (switch.in_force.revision, host_of(switch.in_force)) == (1, "a.example.com")
        restarting.start()
        await leads_to(switch, "b", within_seconds=20)
        place.path.write_text(BAD)
        await is_told(switch, "rulez")
    assert place.book.texts() == [A, B]
