"""What the admin API takes and gives of the rules, as types."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from gateway.oci.errors import OciError
from gateway.rule_edited import Checked, Compared, Impact, RuleShown, RulesText
from gateway.rules.problems import Problem
from gateway.store.activity_rows import RuleHits
from gateway.store.revisions import RevisionHead
from gateway.web.admin.explanation_facts import ExplanationFacts, explanation_facts
from gateway.web.admin.operations import NumberCursor
from gateway.web.admin.pages import iso_time

Limit = Annotated[int, msgspec.Meta(ge=1, le=200)]
Number = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Words = Annotated[str, msgspec.Meta(max_length=500)]
Host = Annotated[str, msgspec.Meta(max_length=253)]
Reference = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class RevisionFacts(msgspec.Struct, frozen=True):
    """``based_on`` is the revision that was edited, or gone back to."""

    number: int
    origin: str
    author: str
    made_at: str
    size_bytes: int
    digest: str
    comment: str
    based_on: int | None


class RulesFacts(msgspec.Struct, frozen=True):
    """The rules in force; number 0 and no revision where there are none yet. Credentials are masked.

    ``trouble`` is what is wrong with newer rules.
    """

    number: int
    content: str
    revision: RevisionFacts | None
    is_read_only: bool
    trouble: str | None


class RevisionText(msgspec.Struct, frozen=True):
    revision: RevisionFacts
    content: str


class ProblemFacts(msgspec.Struct, frozen=True):
    """Line and column count from 1."""

    line: int
    column: int
    key: str
    message: str
    hint: str | None


class CheckedFacts(msgspec.Struct, frozen=True):
    """``rules`` is how many rules there are, 0 where there is a problem."""

    problems: Sequence[ProblemFacts]
    warnings: Sequence[ProblemFacts]
    rules: int


class RuleFacts(msgspec.Struct, frozen=True):
    """A rule as it is written; ``hits`` counts what it decided, moved or not."""

    number: int
    name: str
    host: str
    repository: str
    rewrite: Sequence[str]
    is_enabled: bool
    is_denied: bool
    line: int
    yaml: str
    hits: int
    last_hit_at: str | None


class RuleList(msgspec.Struct, frozen=True):
    """``total`` counts all that were looked for; ``next`` is the ``after`` of what follows.

    ``why_not_editable``: single rules cannot be changed in this text, all of it can.
    """

    number: int
    rules: Sequence[RuleFacts]
    total: int
    next: str | None
    why_not_editable: str | None


class ReroutedFacts(msgspec.Struct, frozen=True):
    name: str
    before: str
    after: str


class ImpactFacts(msgspec.Struct, frozen=True):
    """Names that lead elsewhere; not ``is_complete`` where time or room ran out."""

    changed: Sequence[ReroutedFacts]
    looked_at: int
    is_complete: bool


class Refused(msgspec.Struct, frozen=True):
    code: str
    message: str


class ComparedFacts(msgspec.Struct, frozen=True):
    """What a pull would do by the saved rules and by the edited ones; ``error`` where it is no reference."""

    reference: str
    is_same: bool
    saved: ExplanationFacts | None
    edited: ExplanationFacts | None
    error: Refused | None


class DryRun(msgspec.Struct, frozen=True):
    results: Sequence[ComparedFacts]


class Difference(msgspec.Struct, frozen=True):
    """A unified diff; empty where both say the same."""

    older: int
    newer: int
    diff: str


class RevisionList(msgspec.Struct, frozen=True):
    revisions: Sequence[RevisionFacts]
    next: str | None


class ListAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    query: Words = ""
    limit: Limit = 50
    after: NumberCursor = ""


class PageAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit: Limit = 50
    after: NumberCursor = ""


class AgainstAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``against``: the revision that it is compared with; 0 is nothing, without it the one before."""

    against: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] | None = None


class ExplainAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``host`` is the host that a client asks under, where rules look at it."""

    reference: Reference
    host: Host = ""


class RulesWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    content: str
    comment: Words = ""


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    content: str


class DryRunWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    content: str
    references: Annotated[list[Reference], msgspec.Meta(min_length=1, max_length=50)]
    host: Host = ""


class RuleWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``position`` is the number that it will have; without it, it is the last."""

    yaml: str
    position: Number | None = None
    comment: Words = ""


class RuleChanged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    yaml: str
    comment: Words = ""


class RuleSwitched(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    is_enabled: bool
    comment: Words = ""


class RuleMoved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``to`` is the number that it will have."""

    to: Number
    comment: Words = ""


def revision_facts(head: RevisionHead) -> RevisionFacts:
    return RevisionFacts(
        number=head.number,
        origin=head.origin.value,
        author=head.author,
        made_at=iso_time(head.made_at),
        size_bytes=head.size_bytes,
        digest=str(head.digest),
        comment=head.comment,
        based_on=head.based_on,
    )


def rules_facts(text: RulesText, *, is_read_only: bool) -> RulesFacts:
    revision = None if text.head is None else revision_facts(text.head)
    return RulesFacts(text.number, text.content, revision, is_read_only, text.trouble)


def rule_facts(rule: RuleShown, hits: RuleHits | None) -> RuleFacts:
    return RuleFacts(
        number=rule.number,
        name=rule.name,
        host=rule.host,
        repository=rule.repository,
        rewrite=rule.rewrite,
        is_enabled=rule.is_enabled,
        is_denied=rule.is_denied,
        line=rule.line,
        yaml=rule.yaml,
        hits=0 if hits is None else hits.hits,
        last_hit_at=None if hits is None else iso_time(hits.last_at),
    )


def checked_facts(checked: Checked) -> CheckedFacts:
    problems, warnings = (list(map(_problem, some)) for some in (checked.problems, checked.warnings))
    return CheckedFacts(problems, warnings, checked.rule_count)


def impact_facts(impact: Impact) -> ImpactFacts:
    changed = [ReroutedFacts(one.name, one.before, one.after) for one in impact.changed]
    return ImpactFacts(changed, impact.looked_at, impact.is_complete)


def compared_facts(compared: Compared) -> ComparedFacts:
    return ComparedFacts(
        reference=compared.reference,
        is_same=compared.is_same,
        saved=None if compared.saved is None else explanation_facts(compared.saved),
        edited=None if compared.edited is None else explanation_facts(compared.edited),
        error=_refused(compared.error),
    )


def _refused(error: OciError | None) -> Refused | None:
    return None if error is None else Refused(error.code.value, error.message)


def _problem(problem: Problem) -> ProblemFacts:
    return ProblemFacts(problem.line, problem.column, problem.key_path, problem.message, problem.hint)
