"""Texts of rules, read while somebody edits: what was read a moment ago is at hand. For threads."""

import gc
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final, Generic, TypeVar

from cachetools import LRUCache

from gateway.rule_edited import Checked, RulePage, RuleShown
from gateway.rule_revisions import RuleReader
from gateway.rules.edits import Change, edited
from gateway.rules.layout import NotEditable, read_layout
from gateway.rules.listing import RuleRow, list_rules
from gateway.rules.load import load_rules
from gateway.rules.masking import NothingBehindMask, masked, unmasked
from gateway.rules.model import Rule, RuleSet
from gateway.rules.problems import Fault, Problem, RulesError
from gateway.rules.tree import TreeError
from gateway.rules.warnings import warn

FILE: Final = "rules.yaml"
_TEXTS: Final = 4  # ten thousand rules take some 60 MB each

T = TypeVar("T")


class Remembered(Generic[T]):
    """What is made of a text, with the last few at hand; one thread at a time makes.

    Meanwhile no garbage is looked for: among so many new things that stay it is most of the work, and the
    event loop waits for it.
    """

    def __init__(self, make: Callable[[str], T]) -> None:
        self._make = make
        self._known: LRUCache[str, T] = LRUCache(_TEXTS)
        self._lock = Lock()

    def of(self, text: str) -> T:
        with self._lock:
            found = self._known.get(text)
            if found is None:
                with uncollected():
                    found = self._known[text] = self._make(text)
            return found

    def put(self, text: str, made: T) -> None:
        with self._lock:
            self._known[text] = made


@contextmanager
def uncollected() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass(frozen=True, slots=True)
class Reading:
    """``rule_set`` is None where there are problems."""

    rule_set: RuleSet | None = None
    problems: Sequence[Problem] = ()


class Readings:
    """``reader`` has at hand what rules name outside."""

    def __init__(self, reader: RuleReader) -> None:
        self._reader = reader
        self._read = Remembered(_read)
        self._warnings: Remembered[Sequence[Problem]] = Remembered(self._warn)
        self._masked = Remembered(masked)
        self._layouts = Remembered(read_layout)
        self._listed = Remembered(lambda text: list_rules(self._layouts.of(text)))

    def masked(self, text: str) -> str:
        return self._masked.of(text).text

    def put_back(self, content: str, saved: str) -> str:
        """What somebody edited, with what is saved behind its masks, and its line breaks as before.

        Raise RulesError where nothing is behind one, or it is no YAML.
        """
        if "\r\n" in saved and "\r" not in content:  # forms lose them
            content = content.replace("\n", "\r\n")
        known = self._masked.of(saved)
        if content == known.text:
            return saved
        try:
            with uncollected():
                text, again = unmasked(content, known.behind)
        except TreeError as error:
            raise RulesError([yaml_problem(error)]) from error
        except NothingBehindMask as error:
            message = "nothing is saved here: credentials are written in the rules file"
            line, column = error.place.line, error.place.column
            raise RulesError([Problem(FILE, line, column, error.key_path, message)]) from error
        if again is not None:
            self._masked.put(text, again)
        return text

    def read(self, text: str) -> Reading:
        """As a server here would; what is named outside is looked up each time."""
        found = self._read.of(text)
        if found.rule_set is None:
            return found
        if any(True for _ in self._reader.complaints(found.rule_set)):
            return self._with_complaints(text)
        known = self._reader.nothing()
        return Reading(replace(found.rule_set, logins=known.logins, own_host=known.own_host))

    def rule_set(self, text: str) -> RuleSet:
        """Raise RulesError."""
        reading = self.read(text)
        if reading.rule_set is None:
            raise RulesError(reading.problems)
        return reading.rule_set

    def saved(self, text: str) -> RuleSet:
        """The rules of a revision, also where something that they name is missing by now."""
        known = self._reader.nothing()
        rule_set = (self._read.of(text).rule_set if text else None) or known
        return replace(rule_set, logins=known.logins, own_host=known.own_host)

    def check(self, text: str) -> Checked:
        reading = self.read(text)
        if reading.rule_set is None:
            return Checked(reading.problems)
        return Checked(warnings=self._warnings.of(text), rule_count=len(reading.rule_set.rules))

    def changed(self, text: str, change: Change) -> str:
        """Raise what ``edited`` raises, and TreeError for what is no YAML."""
        with uncollected():
            after = edited(self._layouts.of(text), change)
        self._layouts.put(after.whole, after)
        return after.whole

    def page(self, text: str, words: Sequence[str], after: int, limit: int) -> RulePage:
        """Raise TreeError for what is no YAML."""
        try:
            listing = self._listed.of(text)
        except NotEditable as error:
            rules = (self._read.of(text).rule_set or RuleSet()).rules
            found = _found([_row(number, rule) for number, rule in enumerate(rules, start=1)], words)
            rows = _after(found, after)[:limit]
            return RulePage([_shown(row, "") for row in rows], len(found), str(error))
        found = _found(listing.rows, words)
        shown = [_shown(row, listing.yaml(row.number)) for row in _after(found, after)[:limit]]
        return RulePage(shown, len(found))

    def _with_complaints(self, text: str) -> Reading:
        """Read again, to say where they stand."""
        try:
            return Reading(self._reader.read(text.encode(), FILE))
        except RulesError as error:
            return Reading(problems=error.problems)

    def _warn(self, text: str) -> Sequence[Problem]:
        rule_set = self._read.of(text).rule_set
        return () if rule_set is None else warn(rule_set, FILE)


def _read(text: str) -> Reading:
    try:
        return Reading(load_rules(text, FILE))
    except RulesError as error:
        return Reading(problems=error.problems)


def yaml_problem(error: TreeError) -> Problem:
    return Problem(FILE, error.place.line, error.place.column, "", error.message, error.hint)


def fault_problem(fault: Fault) -> Problem:
    return Problem(FILE, fault.place.line, fault.place.column, "", fault.message, fault.hint)


def _found(rows: Sequence[RuleRow], words: Sequence[str]) -> Sequence[RuleRow]:
    return [row for row in rows if row.has(words)] if words else rows


def _after(rows: Sequence[RuleRow], number: int) -> Sequence[RuleRow]:
    return rows[bisect_right(rows, number, key=lambda row: row.number) :]


def _shown(row: RuleRow, yaml: str) -> RuleShown:
    return RuleShown(
        number=row.number,
        name=row.name,
        host=row.host,
        repository=row.repository,
        rewrite=row.rewrite,
        is_enabled=row.is_enabled,
        is_denied=row.is_denied,
        line=row.line,
        yaml=yaml,
        key=row.key,
    )


def _row(number: int, rule: Rule) -> RuleRow:
    host, repository = rule.look.host, rule.look.repository
    return RuleRow(
        number=number,
        line=rule.place.line,
        name=rule.name,
        host="" if host is None else host.text,
        repository="" if repository is None else repository.text,
        rewrite=[rewrite.text for rewrite in rule.rewrites],
        is_enabled=rule.is_enabled,
        is_denied=rule.deny is not None,
    )
