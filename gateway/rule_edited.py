"""What the editing of rules gives: texts, what is wrong with them, what they would change."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.explained import Explanation
from gateway.oci.errors import OciError
from gateway.rules.problems import Problem
from gateway.store.revisions import RevisionHead


@dataclass(frozen=True, slots=True)
class RulesText:
    """A revision's text, its credentials masked; ``number`` 0 and no ``head`` where there is none yet.

    ``trouble`` is what is wrong with newer rules that therefore are not in force.
    """

    number: int
    content: str
    head: RevisionHead | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with a text, and what is odd; ``rule_count`` is 0 where it cannot be used."""

    problems: Sequence[Problem] = ()
    warnings: Sequence[Problem] = ()
    rule_count: int = 0


@dataclass(frozen=True, slots=True)
class RuleShown:
    """A rule as it is written; ``number`` and ``line`` count from 1, ``yaml`` has the comments above too.

    ``key`` is what its hits are counted by.
    """

    number: int
    name: str
    host: str
    repository: str
    rewrite: Sequence[str]
    is_enabled: bool
    is_denied: bool
    line: int
    yaml: str
    key: str


@dataclass(frozen=True, slots=True)
class RulePage:
    """Some of the rules that were looked for; ``total`` is how many there are of those.

    ``why_not_editable``: single ones cannot be changed, the text as a whole can.
    """

    rules: Sequence[RuleShown]
    total: int
    why_not_editable: str | None = None


@dataclass(frozen=True, slots=True)
class Rerouted:
    """A name that leads elsewhere, or is shown otherwise, by the edited rules."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Impact:
    """``looked_at`` is how many names were compared; not ``is_complete`` where time or room ran out."""

    changed: Sequence[Rerouted]
    looked_at: int
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """What a pull of a reference would do by the saved rules, and by the edited ones.

    ``error`` where it is no reference. ``edited`` is None where only the saved ones were asked about.
    """

    reference: str
    saved: Explanation | None = None
    edited: Explanation | None = None
    is_same: bool = True
    error: OciError | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """An edited text joined with the newest revision, ``newest``; each conflict is between marks in it."""

    content: str
    conflicts: int
    newest: int
