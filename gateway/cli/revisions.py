"""``gateway rules show``, ``history``, ``rollback``: the revisions of the rules, also beside a server."""

import difflib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from gateway.app import rule_desk
from gateway.cli.operator import operator
from gateway.cli.options import as_json, leaving_no_folder, with_settings
from gateway.cli.shown import iso_time, minute
from gateway.logs import configure_logs
from gateway.rule_revisions import RuleDesk, RulesFileError
from gateway.settings import Settings
from gateway.settings_values import LogLevel
from gateway.store import rule_book_queries as queries
from gateway.store.data_dir import DataDir
from gateway.store.revisions import Draft, Outdated, Revision, RevisionHead, RevisionOrigin
from gateway.store.schema import is_current


class RevisionError(Exception):
    """There is no such revision, or it cannot be looked at; the message says what to do."""


class NoRevisionYet(RevisionError):
    """Nobody made any."""

    def __init__(self) -> None:
        super().__init__(
            "there is no revision of the rules yet: `gateway serve` makes the first one of the rules file"
        )


@click.command("show")
@click.argument("number", metavar="[N]", type=click.IntRange(min=1), required=False)
@click.option("--diff", "is_diff", is_flag=True, help="what it changed, against the revision before it")
@as_json
@with_settings
def show(settings: Settings, number: int | None, is_diff: bool, is_json: bool) -> None:
    """Print the rules in force, or those of revision N."""
    with _looked_at(settings) as desk:
        revision = _revision(desk, number)
        before = desk.find(revision.head.number - 1)
        newest = desk.newest_number()
    if is_json:
        told = {**_facts(revision.head, newest), "content": revision.content.decode()}
        if is_diff:
            told["diff"] = list(difference(before, revision))
        click.echo(json.dumps(told, indent=2))
    elif is_diff:
        click.echo("\n".join(difference(before, revision)) or "nothing: it says what the one before says")
    else:
        click.echo(revision.content, nl=False)


@click.command("history")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, help="how many, newest first  [20]")
@as_json
@with_settings
def history(settings: Settings, limit: int, is_json: bool) -> None:
    """List who changed the rules, and when."""
    heads: Sequence[RevisionHead] = ()
    newest = 0
    with suppress(NoRevisionYet), _looked_at(settings) as desk:
        heads, newest = desk.engines.read(queries.history, None, limit), desk.newest_number()
    if is_json:
        click.echo(json.dumps([_facts(head, newest) for head in heads], indent=2))
    elif not heads:
        click.echo(NoRevisionYet(), err=True)
    elif Console().is_terminal:
        Console().print(history_table(heads, newest))
    else:
        for head in heads:
            click.echo("\t".join(_cells(head, newest)))


@click.command("rollback")
@click.argument("number", metavar="N", type=click.IntRange(min=1))
@as_json
@with_settings
def rollback(settings: Settings, number: int, is_json: bool) -> None:
    """Put the rules of revision N in force again.

    They become a new revision, once they are found to be good here. A server on this data directory follows
    within two seconds. The rules file stays as it is.
    """
    configure_logs(LogLevel.ERROR, settings.log_format)
    with _looked_at(settings) as desk:
        _revision(desk, number)
    with _opened(settings) as desk:
        newest = desk.engines.read(queries.newest_number, None)
        made = roll_back(desk, number, newest)
        note = _note_on_file(desk)
    if is_json:
        click.echo(json.dumps(_facts(made, made.number), indent=2))
    else:
        state = "is in force" if made.number > newest else "is in force already"
        click.echo(f"revision {made.number} {state}, with the rules of revision {number}")
    if note is not None:
        click.echo(note, err=True)


def roll_back(desk: RuleDesk, number: int, newest: int) -> RevisionHead:
    """Have the content of a revision in force; return the head of the one that is.

    ``newest`` is the last revision that was seen. Raise RulesError where the rules cannot be used here and
    now, RevisionError where there is no such revision or somebody was quicker.
    """
    wanted = _revision(desk, number)
    desk.load(wanted)
    present = desk.engines.read(queries.newest, desk.origins)
    if present is not None and present.content == wanted.content:
        return present.head
    draft = Draft(RevisionOrigin.ROLLBACK, operator(), wanted.content, f"back to revision {number}", number)
    try:
        return desk.engines.write(queries.add, draft, time.time(), newest).head
    except Outdated as error:
        raise RevisionError(
            f"revision {error.newest} was made meanwhile: look at it by "
            f"`gateway rules show {error.newest} --diff`, then roll back again"
        ) from error


def difference(before: Revision | None, after: Revision) -> Iterator[str]:
    """What changed, in the lines of a unified diff."""
    old, new = ([] if one is None else one.content.decode().splitlines() for one in (before, after))
    number = after.head.number
    return difflib.unified_diff(old, new, f"revision {number - 1}", f"revision {number}", lineterm="")


def history_table(heads: Sequence[RevisionHead], newest: int) -> Table:
    """For people: times to the minute, in UTC."""
    table = Table("revision", "", "of", "author", "made (UTC)", "size", "comment", box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = column.header not in ("author", "comment")
        column.overflow = "fold"
    for head in heads:
        number, state, origin, author, _made, _size, comment = _cells(head, newest)
        made = minute(head.made_at)
        table.add_row(number, state, origin, _plain(author), made, decimal(head.size_bytes), _plain(comment))
    return table


def _plain(text: str) -> str:
    """Without a meaning for the table."""
    return text.replace("[", "\\[")


def _cells(head: RevisionHead, newest: int) -> Sequence[str]:
    return (
        str(head.number),
        "in force" if head.number == newest else "",
        head.origin.value,
        _printable(head.author),
        iso_time(head.made_at),
        str(head.size_bytes),
        _printable(head.comment),
    )


def _printable(text: str) -> str:
    """Others wrote it: no line of its own, and nothing that a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)


def _facts(head: RevisionHead, newest: int) -> dict[str, object]:
    return {
        "number": head.number,
        "is_in_force": head.number == newest,
        "origin": head.origin.value,
        "author": head.author,
        "made_at": iso_time(head.made_at),
        "size_bytes": head.size_bytes,
        "digest": str(head.digest),
        "comment": head.comment,
        "based_on": head.based_on,
    }


def _revision(desk: RuleDesk, number: int | None) -> Revision:
    """That of a number, or the one in force."""
    if number is None:
        found = desk.engines.read(queries.newest, desk.origins)
        if found is None:
            raise NoRevisionYet
        return found
    found = desk.find(number)
    if found is None:
        newest = desk.engines.read(queries.newest_number, None)
        raise RevisionError(f"there is no revision {number}: the newest is {newest}")
    return found


def _note_on_file(desk: RuleDesk) -> str | None:
    """What the rules file says to it."""
    if desk.is_seeded_by_file:
        return None
    try:
        content = desk.file.read()
    except RulesFileError:
        return None
    taken_in = desk.engines.read(queries.newest, {RevisionOrigin.FILE})
    if content is None or taken_in is None:
        return None
    if content == taken_in.content:
        return f"the file {desk.file.path} stays as it is; once it changes, what it says is in force again"
    return f"the file {desk.file.path} has changed since: once a server takes it in, that is in force"


@contextmanager
def _looked_at(settings: Settings) -> Iterator[RuleDesk]:
    """The revisions as they lie there: nothing is made or migrated, and no secret is needed."""
    with leaving_no_folder(settings) as found:
        data_dir = DataDir(found.data_dir, found.database_url)
        try:
            _require_catalog(data_dir)
            with _desk(settings, data_dir) as desk:
                yield desk
        finally:
            data_dir.close()


def _require_catalog(data_dir: DataDir) -> None:
    if data_dir.server is not None or is_current(data_dir.catalog):
        return
    if data_dir.catalog.exists():
        raise RevisionError(f"{data_dir.catalog} is of an earlier version: `gateway migrate` mends that")
    raise NoRevisionYet


@contextmanager
def _opened(settings: Settings) -> Iterator[RuleDesk]:
    """The same with all that a server has, to make a revision."""
    data_dir = DataDir(settings.data_dir, settings.database_url)
    try:
        data_dir.prepare()
        with _desk(settings, data_dir) as desk:
            yield desk
    finally:
        data_dir.close()


@contextmanager
def _desk(settings: Settings, data_dir: DataDir) -> Iterator[RuleDesk]:
    desk = rule_desk(settings, data_dir)
    try:
        yield desk
    finally:
        desk.engines.dispose()
