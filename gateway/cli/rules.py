"""``gateway rules``: check a rules file; look at the revisions of the rules, and go back to one."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click

from gateway.app import rule_reader
from gateway.cli import revisions
from gateway.cli.options import as_json, with_settings
from gateway.logs import configure_logs
from gateway.rule_revisions import RuleReader
from gateway.rules.load import load_rules
from gateway.rules.model import RuleSet
from gateway.rules.problems import MAX_PROBLEMS, Problem, RulesError
from gateway.rules.tree import MAX_SIZE_BYTES
from gateway.rules.warnings import warn
from gateway.settings import Settings
from gateway.settings_values import LogLevel
from gateway.sources.credentials import Secrets

_STDIN: Final = "-"


class FileUnreadable(Exception):
    """The file that should be checked cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """What came out; ``rule_set`` is None where there are errors."""

    file: str
    rule_set: RuleSet | None
    errors: Sequence[Problem] = ()
    warnings: Sequence[Problem] = ()


@click.group("rules")
def command() -> None:
    """Check a rules file; look at the revisions of the rules, and go back to one."""


for verb in (revisions.show, revisions.history, revisions.rollback):
    command.add_command(verb)


@command.command("check")
@click.argument("file", metavar="[FILE]", required=False)
@click.option(
    "--secrets",
    "is_looked_up",
    is_flag=True,
    help="look up what the file names too, as a server here would: secrets, certificates, PUBLIC_URL",
)
@as_json
@with_settings
def check(settings: Settings, file: str | None, is_looked_up: bool, is_json: bool) -> None:
    """Tell every mistake in a rules file.

    Its tests are run too. FILE is the setting RULES where it is not named, and may be - for standard input.
    Exit code 1 where there is a mistake, 0 where there are warnings at the most. Nobody is asked, and nothing
    is changed.
    """
    place = str(settings.rules) if file is None else file
    name = "stdin" if place == _STDIN else click.format_filename(place)
    content = _read(place, name)
    reader = _reader(settings) if is_looked_up else None
    checked = _checked(content, name, reader)
    click.echo(json.dumps(_facts(checked), indent=2) if is_json else "\n".join(_lines(checked)))
    if reader is None and checked.rule_set is not None and _names_something(checked.rule_set):
        click.echo("not looked up: what the file names outside, and PUBLIC_URL (--secrets does)", err=True)
    if checked.errors:
        sys.exit(1)


def _read(file: str, name: str) -> bytes:
    """As much as is told apart from what is too much."""
    limit = MAX_SIZE_BYTES + 1
    try:
        if file == _STDIN:
            return sys.stdin.buffer.read(limit)
        with Path(file).open("rb") as stream:
            return stream.read(limit)
    except OSError as error:
        raise FileUnreadable(f"{name} cannot be read: {error.strerror}") from error


def _reader(settings: Settings) -> RuleReader:
    configure_logs(LogLevel.ERROR, settings.log_format)
    return rule_reader(settings)


def _checked(content: bytes, name: str, reader: RuleReader | None) -> _Checked:
    try:
        rule_set = load_rules(content, name) if reader is None else reader.read(content, name)
    except RulesError as error:
        return _Checked(name, None, error.problems)
    return _Checked(name, rule_set, warnings=warn(rule_set, name))


def _lines(checked: _Checked) -> Iterator[str]:
    yield from map(str, checked.errors)
    yield from (str(_marked(problem)) for problem in checked.warnings)
    yield ", ".join(_sums(checked))


def _marked(problem: Problem) -> Problem:
    return replace(problem, key_path=f"warning: {problem.key_path}".removesuffix(": "))


def _sums(checked: _Checked) -> Iterator[str]:
    rules = checked.rule_set
    if rules is None:
        yield _counted(len(checked.errors), "error")
        if len(checked.errors) >= MAX_PROBLEMS:
            yield "and perhaps more: it was not read further"
        return
    yield _counted(len(rules.rules), "rule")
    yield _counted(len(rules.upstreams), "upstream")
    if rules.sync:
        yield _counted(len(rules.sync), "sync list")
    yield f"{_counted(len(rules.tests), 'test')}{' passed' if rules.tests else ''}"
    if checked.warnings:
        yield _counted(len(checked.warnings), "warning")


def _names_something(rules: RuleSet) -> bool:
    """Whether a server needs more than the file to obey it."""
    return any(True for _ in RuleReader(Secrets(), None).complaints(rules))


def _counted(count: int, word: str) -> str:
    return f"{count or 'no'} {word}{'' if count == 1 else 's'}"


def _facts(checked: _Checked) -> dict[str, object]:
    rules = checked.rule_set
    return {
        "file": checked.file,
        "errors": [_problem(problem) for problem in checked.errors],
        "warnings": [_problem(problem) for problem in checked.warnings],
        "rules": None if rules is None else len(rules.rules),
        "upstreams": None if rules is None else len(rules.upstreams),
        "sync_lists": None if rules is None else len(rules.sync),
        "tests": None if rules is None else len(rules.tests),
    }


def _problem(problem: Problem) -> dict[str, object]:
    return {
        "line": problem.line,
        "column": problem.column,
        "key": problem.key_path,
        "message": problem.message,
        "hint": problem.hint,
    }
