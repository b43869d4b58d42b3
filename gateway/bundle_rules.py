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
        saved = _text(self._newest())
        difference = unified(self._readings.masked(saved), self._readings.masked(text), "in force", "bundle")
        return RulesBrought(difference)

    def apply(self, text: str, author: str, comment: str) -> RulesBrought:
        """Have them in force, if they can be used here; what is wrong with them is told as a ``failure``."""
        looked = self.look(text)
        if not looked.difference:
            return looked
        try:
            return RulesBrought(looked.difference, self._save(text, author, comment))
        except (OciError, RulesError, StorageFailed, Outdated) as error:
            return RulesBrought(looked.difference, failure=str(error))

    def _save(self, text: str, author: str, comment: str) -> int:
        if self._desk.origins is not None:
            raise OciError(Situation.DENIED, _IN_FILE)
        newest = self._newest()
        number = 0 if newest is None else newest.head.number
        whole = self._readings.put_back(text, _text(newest))
        rule_set = self._readings.rule_set(whole)
        before = self._readings.saved(_text(newest))
        guarded = list(changed_guards(before, rule_set, rule_set.logins, may_see_credentials))
        if guarded:
            raise OciError(
                Situation.DENIED,
                "credentials, and what says where they go, are changed in the rules file alone; "
                f"the bundle's rules change {', '.join(guarded[:5])}",
            )
        draft = Draft(RevisionOrigin.IMPORT, author, whole.encode(), comment, number or None)
        return self._desk.engines.write(queries.add, draft, self._now(), number).head.number

    def _newest(self) -> Revision | None:
        return self._desk.engines.read(queries.newest, self._desk.origins)


def _text(revision: Revision | None) -> str:
    return "" if revision is None else revision.content.decode()
