"""Which rules are in force: what was good stays, whatever becomes of the file; and every change is kept."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from gateway.oci.digest import Digest
from gateway.oci.postgres_url import PostgresUrl
from gateway.rule_revisions import InForce, RulesFileError
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet
from gateway.rules.problems import RulesError
from gateway.rules.tree import MAX_SIZE_BYTES
from gateway.settings_values import RulesEditedIn
from gateway.store.revisions import RevisionOrigin
from tests.rule_house import Book, Place, forbid_reading, host_of, open_place, rules_to

pytestmark = pytest.mark.slow  # real files, sockets and databases

A, B, C = (rules_to(f"{name}.example.com") for name in "abc")
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
SECRET = "GATEWAY_SECRET_NEXUS"
WITH_SECRET = f"{B}upstreams: {{b.example.com: {{token_env: {SECRET}}}}}\n"

Ruin = Callable[[Path], None]


def rewritten(content: str | bytes) -> Ruin:
    written = content.encode() if isinstance(content, str) else content
    return lambda path: (path.write_bytes(written), None)[1]


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replaced_by_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def linked_to_endless_bytes(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def linked_in_a_circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


BAD = {
    "a mistake": (rewritten("version: 1\nrulez: []\n"), r"rules\.yaml:2:1: rulez"),
    "empty": (rewritten(""), "rules.yaml:1:1: version"),
    "two documents": (rewritten(f"{A}---\n{B}"), "a second document"),
    "larger than 10 MB": (rewritten(A.encode() + b"#" * MAX_SIZE_BYTES), "larger than"),
    "a YAML bomb": (rewritten(f"version: 1\n{BOMB}"), "more than"),
    "no text": (rewritten(b"\xff\xfe\0"), "not UTF-8"),
    "a test of its own fails": (
        rewritten(f"{B}tests: [{{ask: argo/x, target: a.example.com/x}}]"),
        "b.example.com/x",
    ),
    "a secret that is not there": (rewritten(WITH_SECRET), SECRET),
    "a folder": (replaced_by_a_folder, "Is a directory"),
    "a pipe": (replaced_by_a_pipe, "no regular file"),
    "endless": (linked_to_endless_bytes, "no regular file"),
    "a link to itself": (linked_in_a_circle, "symbolic links"),
    "vanished": (Path.unlink, "there is no rules file"),
}
bad = pytest.mark.parametrize(("ruin", "told"), BAD.values(), ids=BAD)


@pytest.fixture
def place(tmp_path: Path, database: PostgresUrl | None) -> Iterator[Place]:
    opened = open_place(tmp_path, database)
    yield opened
    opened.engines.dispose()


@pytest.fixture
def book(place: Place) -> Book:
    return place.book


def test_a_first_start_takes_the_file_in(place: Place, book: Book) -> None:
    in_force = place.start()
    assert (in_force.revision, in_force.trouble, host_of(in_force)) == (1, None, "a.example.com")
    assert in_force.file == Digest.of(A.encode())
    assert (book.texts(), book.origins()) == ([A], ["file"])


def test_a_first_start_without_a_file_at_the_default_place_has_no_rules(place: Place, book: Book) -> None:
    place.path.unlink()
    place.is_named = False
    in_force = place.start()
    assert (in_force.rule_set, in_force.revision, in_force.trouble) == (RuleSet(), 0, None)
    assert place.desk().in_force() == in_force
    assert book.texts() == []


@bad
def test_a_bad_file_stops_a_first_start(place: Place, book: Book, ruin: Ruin, told: str) -> None:
    ruin(place.path)
    for look in (place.start, place.desk().in_force):
        with pytest.raises((RulesError, RulesFileError), match=told):
            look()
    assert book.texts() == []


@bad
def test_at_a_later_start_a_bad_file_keeps_the_last_good_rules_and_is_told(
    place: Place, book: Book, ruin: Ruin, told: str
) -> None:
    place.start()
    ruin(place.path)
    with pytest.raises((RulesError, RulesFileError), match=told) as caught:
        place.desk().take_in(place.desk().read_file() or b"")
    for in_force in (place.start(), place.desk().in_force()):
        assert (in_force.revision, in_force.trouble) == (1, str(caught.value))
        assert host_of(in_force) == "a.example.com"
        assert in_force.file is None
    assert book.texts() == [A]


def test_where_a_new_file_cannot_be_written_down_the_last_good_rules_start(place: Place, book: Book) -> None:
    place.start()
    place.path.write_text(B)
    place.engines.writer.dispose()
    place.engines = replace(place.engines, writer=create_engine("sqlite:////no/such/folder/catalog"))
    in_force = place.start()
    assert (in_force.revision, host_of(in_force), in_force.file) == (1, "a.example.com", None)
    assert in_force.trouble is not None
    assert in_force.trouble.endswith("rules.yaml is not taken in: the catalog cannot be written")
    assert book.texts() == [A]


def test_at_a_later_start_a_file_that_may_not_be_read_keeps_the_last_good_rules(place: Place) -> None:
    place.start()
    forbid_reading(place.path)
    in_force = place.start()
    assert (in_force.revision, host_of(in_force)) == (1, "a.example.com")
    assert "Permission denied" in str(in_force.trouble)


def test_wherever_a_file_is_cut_off_there_are_rules(place: Place, book: Book) -> None:
    """Each beginning of it is bad, and told; or it is good, and then it is what it says."""
    place.start()
    whole = f'version: 1\n{B.removeprefix("version: 1")}upstreams:\n  "ü.example": {{deny: "no"}}\n'.encode()
    for end in range(len(whole)):
        place.path.write_bytes(whole[:end])
        in_force = place.desk().in_force()
        if in_force.trouble is None:
            meant = load_rules(whole[:end])
            assert (host_of(in_force), in_force.rule_set.upstreams) == (
                host_of(InForce(meant)),
                meant.upstreams,
            )
        else:
            assert (in_force.revision, host_of(in_force)) == (1, "a.example.com")
    assert book.texts() == [A]


def test_without_its_file_at_the_default_place_the_newest_revision_goes_on(place: Place, book: Book) -> None:
    place.is_named = False
    place.start()
    place.path.unlink()
    in_force = place.start()
    assert (in_force.revision, in_force.trouble, host_of(in_force)) == (1, None, "a.example.com")
    assert book.texts() == [A]


def test_a_file_with_the_same_bytes_is_no_change_touched_or_renamed_or_neither(
    place: Place, book: Book
) -> None:
    place.start()
    assert place.start().revision == 1
    os.utime(place.path)
    assert place.start().revision == 1
    copy = place.path.with_name("copy")
    copy.write_text(A)
    copy.rename(place.path)
    assert place.start().revision == 1
    assert book.texts() == [A]


def test_a_file_that_changed_while_nobody_ran_is_taken_in_at_the_start(place: Place, book: Book) -> None:
    place.start()
    for number, text, host in ((2, B, "b.example.com"), (3, A, "a.example.com")):
        place.path.write_text(text)
        pending = place.desk().in_force()
        assert (pending.revision, pending.trouble, host_of(pending)) == (0, None, host)
        started = place.start()
        assert (started.revision, started.trouble, host_of(started)) == (number, None, host)
    assert book.texts() == [A, B, A]


@pytest.mark.parametrize("origin", [RevisionOrigin.ADMIN, RevisionOrigin.ROLLBACK, RevisionOrigin.IMPORT])
def test_a_newer_revision_wins_over_a_file_until_that_changes(
    place: Place, book: Book, origin: RevisionOrigin
) -> None:
    place.start()
    book.add(origin, B)
    for in_force in (place.start(), place.desk().in_force()):
        assert (in_force.revision, host_of(in_force)) == (2, "b.example.com")
    place.path.write_text(C)
    assert (place.start().revision, host_of(place.start())) == (3, "c.example.com")
    assert book.origins() == ["file", origin.value, "file"]


def test_where_rules_are_edited_in_the_file_only_files_and_rollbacks_count(place: Place, book: Book) -> None:
    place.edited_in = RulesEditedIn.FILE
    place.start()
    book.add(RevisionOrigin.ADMIN, B)
    assert (place.start().revision, host_of(place.start())) == (1, "a.example.com")
    book.add(RevisionOrigin.IMPORT, B)
    assert place.desk().in_force().revision == 1
    assert place.desk().newest_number() == 1
    book.add(RevisionOrigin.ROLLBACK, C)
    assert (place.start().revision, host_of(place.start())) == (4, "c.example.com")
    place.path.write_text("version: 2\n")
    assert host_of(place.start()) == "c.example.com"


def test_the_last_good_rules_are_found_behind_many_that_do_not_count(place: Place, book: Book) -> None:
    place.start()
    for number in range(150):
        book.add(RevisionOrigin.ADMIN, f"{B}# {number}\n")
    place.edited_in = RulesEditedIn.FILE
    place.path.write_text("version: 2\n")
    in_force = place.start()
    assert (in_force.revision, host_of(in_force)) == (1, "a.example.com")
    assert in_force.trouble is not None


def test_where_rules_are_edited_by_the_admin_a_file_only_seeds(place: Place, book: Book) -> None:
    place.edited_in = RulesEditedIn.ADMIN
    assert host_of(place.start()) == "a.example.com"
    for ruin in (rewritten(B), rewritten("version: 2\n"), Path.unlink):
        ruin(place.path)
        for in_force in (place.start(), place.desk().in_force()):
            assert (in_force.revision, in_force.trouble, host_of(in_force)) == (1, None, "a.example.com")
    assert place.desk().take_in(B.encode()) is None
    book.add(RevisionOrigin.ADMIN, B)
    assert host_of(place.start()) == "b.example.com"
    assert book.texts() == [A, B]


def test_where_rules_are_edited_by_the_admin_a_bad_seed_stops_the_first_start(place: Place) -> None:
    place.edited_in = RulesEditedIn.ADMIN
    place.path.write_text("version: 2\n")
    with pytest.raises(RulesError, match=r"rules\.yaml:1:10"):
        place.start()


def test_a_revision_whose_secret_is_gone_gives_way_to_the_last_good_one(place: Place, book: Book) -> None:
    place.start()
    place.environment[SECRET] = "s3cr3t"
    place.path.write_text(WITH_SECRET)
    assert host_of(place.start()) == "b.example.com"
    del place.environment[SECRET]
    for in_force in (place.start(), place.desk().in_force()):
        assert (in_force.revision, host_of(in_force)) == (1, "a.example.com")
        assert f"the environment variable {SECRET} is not set" in str(in_force.trouble)
        assert "revision 2:3:" in str(in_force.trouble)
    place.environment[SECRET] = "another"
    assert (place.start().revision, place.start().trouble) == (2, None)
    assert book.texts() == [A, WITH_SECRET]


def test_where_no_revision_can_be_used_the_start_says_why(place: Place) -> None:
    place.environment[SECRET] = "s3cr3t"
    place.path.write_text(WITH_SECRET)
    place.start()
    place.environment.clear()
    with pytest.raises(RulesError, match=SECRET):
        place.start()


def test_commands_write_nothing(place: Place, book: Book) -> None:
    assert host_of(place.desk().in_force()) == "a.example.com"
    assert book.texts() == []


DEPENDENCIES = {
    "defaults": ("defaults: {rewrite_dependencies: true}\n", r"defaults\.rewrite_dependencies"),
    "an upstream": (
        "upstreams: {a.example.com: {rewrite_dependencies: true}}\n",
        r'upstreams\."a\.example\.com"',
    ),
    "a rule": ('rules: [{repository: "x/**", rewrite_dependencies: true}]\n', r"rules\[1\]"),
}


@pytest.mark.parametrize(("text", "told"), DEPENDENCIES.values(), ids=DEPENDENCIES)
def test_rewritten_dependencies_need_a_name_of_our_own(place: Place, text: str, told: str) -> None:
    place.path.write_text(f"version: 1\n{text}")
    with pytest.raises(RulesError, match=rf"{told}.*nobody knows this gateway's own name") as caught:
        place.start()
    assert len(caught.value.problems) == 1
    place.own_host = "charts.corp.example"
    assert place.start().rule_set.own_host == "charts.corp.example"


def test_a_rule_may_undo_rewritten_dependencies_where_we_have_no_name(place: Place) -> None:
    place.path.write_text('version: 1\nrules: [{repository: "x/**", rewrite_dependencies: false}]\n')
    assert place.start().revision == 1


def test_what_was_taken_in_is_not_parsed_anew_as_a_revision(place: Place) -> None:
    place.path.write_text(A)
    desk = place.desk()
    read = desk.reader.read(A.encode(), "the file")
    assert desk.start().rule_set.rules is read.rules
