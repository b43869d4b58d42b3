"""The rules that a bundle brings: shown beside those in force, and applied only when that is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.oci.errors import OciError, Situation
from gateway.rule_readings import Readings
from gateway.rule_revisions import RuleDesk
from gateway.rules.guarding import changed_guards
from gateway.rules.merging import unified
from gateway.rules.problems import RulesError
from gateway.sources.realms import may_see_credentials
from gateway.store import rule_book_queries as queries
from gateway.store.blobs import StorageFailed
from gateway.store.revisions import Draft, Outdated, Revision, RevisionOrigin

_IN_FILE: Final = (
    "the rules are edited in the file alone (setting RULES_EDITED_IN): write into it what you want of these"
)


@dataclass(frozen=True, slots=True)
class RulesBrought:
    """``difference`` from those in force, empty where there is none, without credentials.

    ``revision`` is the one that was made of them, ``failure`` why none was, where one was asked for.
    """

    difference: str
    revision: int | None = None
    failure: str | None = None


class RulesImport:
    """``now`` gives seconds since the epoch. Everything here waits: for threads."""

    def __init__(self, desk: RuleDesk, now: Callable[[], float]) -> None:
        self._desk = desk
        self._now = now
        self._readings = Readings(desk.reader)

    def look(self, text: str) -> RulesBrought:
        saved = self._saved()
        difference = unified(self._readings.masked(saved), self._readings.masked(text), "in force", "bundle")
        return RulesBrought(difference)

    def foretell(self, text: str) -> RulesBrought:
        """What ``apply`` would say, but for the revision."""
        looked = self.look(text)
        try:
            if looked.difference:
                self._checked(text)
        except (OciError, RulesError, StorageFailed) as error:
            return RulesBrought(looked.difference, failure=str(error))
        return looked

    def apply(self, text: str, author: str, comment: str) -> RulesBrought:
        """Have them in force, if they can be used here; what is wrong with them is told as a ``failure``.

        A file that no server has taken in yet is taken in before: later it would be in force over these.
        """
        looked = self.look(text)
        if not looked.difference:
            return looked
        try:
            waiting = None if self._desk.origins is not None else self._desk.waiting()
            if waiting is not None:
                self._desk.take_in(waiting)
            return RulesBrought(looked.difference, self._save(text, author, comment))
        except (OciError, RulesError, StorageFailed, Outdated) as error:
            return RulesBrought(looked.difference, failure=str(error))

    def _save(self, text: str, author: str, comment: str) -> int:
        whole, number = self._checked(text)
        draft = Draft(RevisionOrigin.IMPORT, author, whole.encode(), comment, number or None)
        return self._desk.engines.write(queries.add, draft, self._now(), number).head.number

    def _checked(self, text: str) -> tuple[str, int]:
        """The text with our credentials, and the revision that it is to follow; raise what refuses it."""
        if self._desk.origins is not None:
            raise OciError(Situation.DENIED, _IN_FILE)
        newest = self._newest()
        number = 0 if newest is None else newest.head.number
        saved = self._saved()
        whole = self._readings.put_back(text, saved)
        rule_set = self._readings.rule_set(whole)
        before = self._readings.saved(saved)
        guarded = list(changed_guards(before, rule_set, rule_set.logins, may_see_credentials))
        if guarded:
            raise OciError(
                Situation.DENIED,
                "credentials, and what says where they go, are changed in the rules file alone; "
                f"the bundle's rules change {', '.join(guarded[:5])}",
            )
        return whole, number

    def _saved(self) -> str:
        """What is in force, or will be with the next server."""
        waiting = self._desk.waiting()
        return _text(self._newest()) if waiting is None else waiting.decode()

    def _newest(self) -> Revision | None:
        return self._desk.engines.read(queries.newest, self._desk.origins)


def _text(revision: Revision | None) -> str:
    return "" if revision is None else revision.content.decode()
