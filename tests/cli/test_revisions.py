"""``gateway rules show``, ``history``, ``rollback``: on the data directory, without a server's secrets."""

import io
import json
import os
import pwd
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from gateway.app import rule_desk
from gateway.cli import group
from gateway.cli.revisions import NoRevisionYet, RevisionError, history_table, roll_back
from gateway.rule_revisions import RuleDesk
from gateway.rules.problems import RulesError
from gateway.settings import SETTINGS, Settings
from gateway.settings_values import RulesEditedIn
from gateway.store import rule_book_queries as queries
from gateway.store.data_dir import DataDir
from gateway.store.revisions import Draft, RevisionOrigin

pytestmark = pytest.mark.slow  # many cases: left out of the quick tests

FIRST = b"version: 1\n"
SECOND = b"version: 1\nrules:\n- {repository: 'a/*', rewrite: one.example.test/$1}\n"
SECRET = b"version: 1\nupstreams: {one.example.test: {token_env: GATEWAY_SECRET_ABSENT}}\n"


def run(*arguments: str, **environment: str) -> Result:
    cleared = {row.variable: None for row in SETTINGS}
    return CliRunner().invoke(group, ["rules", *arguments], env={**cleared, **environment})


@contextmanager
def desk_at(settings: Settings) -> Iterator[RuleDesk]:
    """The desk of a server on the data directory."""
    with closing(DataDir(settings.data_dir)) as data_dir:
        data_dir.prepare()
        desk = rule_desk(settings, data_dir)
        try:
            yield desk
        finally:
            desk.engines.dispose()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", rules=tmp_path / "rules.yaml")


@pytest.fixture
def at(settings: Settings) -> tuple[str, ...]:
    """Flags that lead to a data directory with three revisions: of a file, an administrator's, of a file."""
    drafts = (
        Draft(RevisionOrigin.FILE, "file rules.yaml", FIRST),
        Draft(RevisionOrigin.ADMIN, "anna\x1b[31m\tb", SECOND, "short [names]\nfor all", 1),
        Draft(RevisionOrigin.FILE, "file rules.yaml", SECRET),
    )
    with desk_at(settings) as desk:
        for number, draft in enumerate(drafts):
            desk.engines.write(queries.add, draft, 1_795_400_000.0 + number)
    return ("--data-dir", str(settings.data_dir), "--rules", str(settings.rules))


def test_show_prints_the_rules_in_force_byte_for_byte_without_the_secrets_they_name(
    at: tuple[str, ...],
) -> None:
    result = run("show", *at)
    assert (result.exit_code, result.stdout_bytes) == (0, SECRET)
    assert run("show", "2", *at).stdout_bytes == SECOND


def test_the_rules_in_force_are_the_newest_of_those_who_may_edit(
    at: tuple[str, ...], settings: Settings
) -> None:
    with desk_at(settings) as desk:
        desk.engines.write(queries.add, Draft(RevisionOrigin.ADMIN, "anna", SECOND), 1_795_400_009.0)
    assert run("show", *at).stdout_bytes == SECOND
    assert run("show", *at, "--rules-edited-in", "file").stdout_bytes == SECRET
    told = json.loads(run("history", "--json", *at, "--rules-edited-in", "file").stdout)
    assert [(one["number"], one["is_in_force"]) for one in told] == [
        (4, False),
        (3, True),
        (2, False),
        (1, False),
    ]


def test_a_difference_is_told_against_the_revision_before(at: tuple[str, ...]) -> None:
    assert run("show", "2", "--diff", *at).stdout.splitlines() == [
        "--- revision 1",
        "+++ revision 2",
        "@@ -1 +1,3 @@",
        " version: 1",
        "+rules:",
        "+- {repository: 'a/*', rewrite: one.example.test/$1}",
    ]
    assert run("show", "1", "--diff", *at).stdout.splitlines()[-1] == "+version: 1"


def test_no_difference_is_said_in_words(at: tuple[str, ...], settings: Settings) -> None:
    with desk_at(settings) as desk:
        desk.engines.write(queries.add, Draft(RevisionOrigin.IMPORT, "anna", SECRET), 1_795_400_009.0)
    assert run("show", "--diff", *at).stdout == "nothing: it says what the one before says\n"


def test_show_as_json_has_all_that_is_known_of_a_revision(at: tuple[str, ...]) -> None:
    told = json.loads(run("show", "2", "--json", "--diff", *at).stdout)
    assert told["content"] == SECOND.decode()
    assert told["diff"][:2] == ["--- revision 1", "+++ revision 2"]
    assert (told["origin"], told["based_on"], told["is_in_force"]) == ("admin", 1, False)
    assert told["made_at"] == "2026-11-23T02:13:21+00:00"
    assert "diff" not in json.loads(run("show", "2", "--json", *at).stdout)


def test_history_is_a_line_each_newest_first(at: tuple[str, ...]) -> None:
    lines = [line.split("\t") for line in run("history", *at).stdout.splitlines()]
    assert lines == [
        ["3", "in force", "file", "file rules.yaml", "2026-11-23T02:13:22+00:00", str(len(SECRET)), ""],
        [
            "2",
            "",
            "admin",
            "anna [31m b",
            "2026-11-23T02:13:21+00:00",
            str(len(SECOND)),
            "short [names] for all",
        ],
        ["1", "", "file", "file rules.yaml", "2026-11-23T02:13:20+00:00", str(len(FIRST)), ""],
    ]
    assert len(run("history", "--limit", "2", *at).stdout.splitlines()) == 2


def test_on_a_terminal_history_is_a_table_to_the_minute(at: tuple[str, ...], settings: Settings) -> None:
    with desk_at(settings) as desk:
        heads = desk.engines.read(queries.history, None, 10)
    screen = io.StringIO()
    Console(file=screen, width=100).print(history_table(heads, 3))
    _, newest, second, _ = screen.getvalue().splitlines()
    shown = " ".join(newest.split())
    assert shown == f"3 in force file file rules.yaml 2026-11-23 02:13 {len(SECRET)} bytes"
    assert second.rstrip().endswith("short [names] for all")


@pytest.mark.parametrize("arguments", [("show",), ("show", "1"), ("rollback", "1")])
def test_where_there_is_no_data_directory_none_is_made(arguments: tuple[str, ...], tmp_path: Path) -> None:
    place = tmp_path / "data"
    result = run(*arguments, "--data-dir", str(place))
    assert isinstance(result.exception, NoRevisionYet)
    assert not place.exists()


def test_the_history_of_nothing_is_empty_and_makes_nothing(tmp_path: Path) -> None:
    place = tmp_path / "data"
    result = run("history", "--data-dir", str(place))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no revision of the rules yet" in result.stderr
    assert run("history", "--json", "--data-dir", str(place)).stdout == "[]\n"
    assert not place.exists()


def test_a_prepared_directory_without_revisions_has_none_yet(settings: Settings) -> None:
    with desk_at(settings):
        pass
    result = run("show", "--data-dir", str(settings.data_dir))
    assert isinstance(result.exception, NoRevisionYet)


def test_a_revision_that_is_not_there_is_told_with_the_newest(at: tuple[str, ...]) -> None:
    result = run("show", "9", *at)
    assert isinstance(result.exception, RevisionError)
    assert str(result.exception) == "there is no revision 9: the newest is 3"


def test_a_catalog_of_an_earlier_version_says_how_it_is_mended(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite3").touch()
    result = run("show", "--data-dir", str(tmp_path))
    assert isinstance(result.exception, RevisionError)
    assert "`gateway migrate` mends that" in str(result.exception)


@pytest.mark.parametrize(
    "arguments",
    [("show", "0"), ("show", "one"), ("rollback",), ("rollback", "-1"), ("history", "--limit", "0"), ()],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.usefixtures("at")
def test_a_rollback_is_a_revision_of_who_runs_it_and_is_in_force(settings: Settings) -> None:
    with desk_at(settings) as desk:
        made = roll_back(desk, 2, 3)
        assert (made.number, made.origin, made.based_on) == (4, RevisionOrigin.ROLLBACK, 2)
        assert (made.author, made.comment) == (pwd.getpwuid(os.getuid()).pw_name, "back to revision 2")
        assert desk.in_force().revision == 4
        again = roll_back(desk, 2, 4)
        assert again == made


@pytest.mark.usefixtures("at")
@pytest.mark.parametrize("edited_in", list(RulesEditedIn))
def test_a_rollback_counts_wherever_rules_are_edited(edited_in: RulesEditedIn, settings: Settings) -> None:
    changed = Settings(data_dir=settings.data_dir, rules=settings.rules, rules_edited_in=edited_in)
    with desk_at(changed) as desk:
        assert roll_back(desk, 1, 3).number == 4
        assert desk.newest_number() == 4


@pytest.mark.usefixtures("at")
def test_a_rollback_to_what_cannot_be_used_here_is_refused(settings: Settings) -> None:
    with desk_at(settings) as desk:
        roll_back(desk, 1, 3)
        with pytest.raises(RulesError, match="GATEWAY_SECRET_ABSENT is not set"):
            roll_back(desk, 3, 4)
        assert desk.newest_number() == 4


@pytest.mark.usefixtures("at")
def test_who_was_not_quick_enough_is_told_what_to_look_at(settings: Settings) -> None:
    with desk_at(settings) as desk:
        with pytest.raises(RevisionError, match=r"revision 3 was made meanwhile: .*rules show 3 --diff"):
            roll_back(desk, 1, 2)
        assert desk.newest_number() == 3
