"""The admin API of the rules: the text, single rules, revisions, and what all that would do."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final, Protocol, TypeVar

import msgspec

from gateway.access.roles import Role
from gateway.oci.errors import OciError, Situation
from gateway.rule_editing import RuleEditor
from gateway.rules.edits import AddRule, Change, MoveRule, RemoveRule, ReplaceRule, SwitchRule
from gateway.rules.tree import MAX_SIZE_BYTES
from gateway.store.activity_rows import RuleHits
from gateway.store.revisions import RevisionHead
from gateway.web.admin.explanation_facts import ExplanationFacts, explanation_facts
from gateway.web.admin.operations import Call, Endpoint, Nothing, Operation, Reply, number_of
from gateway.web.admin.rules_facts import (
    AgainstAsked,
    CheckedFacts,
    Difference,
    DryRun,
    DryRunWanted,
    ExplainAsked,
    ImpactFacts,
    ListAsked,
    PageAsked,
    RevisionFacts,
    RevisionList,
    RevisionText,
    RuleChanged,
    RuleList,
    RuleMoved,
    RulesFacts,
    RulesWanted,
    RuleSwitched,
    RuleWanted,
    Text,
    checked_facts,
    compared_facts,
    impact_facts,
    revision_facts,
    rule_facts,
    rules_facts,
)

_TAG: Final = "rules"
_ETAG: Final = re.compile(r'"([0-9]{1,9})"', re.ASCII)
_TEXT_BYTES: Final = 2 * MAX_SIZE_BYTES  # in JSON every line break, and more, takes two
_OUTDATED_ETAG: Final = -1


Body = TypeVar("Body", bound=msgspec.Struct)
Value = TypeVar("Value")


class Hits(Protocol):
    """By rule key, how often each rule decided."""

    def rule_hits(self, keys: Sequence[str]) -> Awaitable[Mapping[str, RuleHits]]: ...


class RulesApi:
    """Answers each operation."""

    def __init__(self, editor: RuleEditor, hits: Hits) -> None:
        self._editor = editor
        self._hits = hits

    async def read_rules(self, _call: Call[Nothing, Nothing]) -> Reply[RulesFacts]:
        current = await self._editor.current()
        return Reply(rules_facts(current, is_read_only=self._editor.is_read_only), _tagged(current.number))

    async def list_rules(self, call: Call[ListAsked, Nothing]) -> Reply[RuleList]:
        current, limit = await self._editor.current(), call.query.limit
        page = await self._editor.rules(
            current.content, query=call.query.query, after=number_of(call.query.after) or 0, limit=limit + 1
        )
        shown = page.rules[:limit]
        hits = await self._hits.rule_hits([rule.key for rule in shown])
        following = str(shown[-1].number) if len(page.rules) > limit else None
        told = [rule_facts(rule, hits.get(rule.key)) for rule in shown]
        value = RuleList(current.number, told, page.total, following, page.why_not_editable)
        return Reply(value, _tagged(current.number))

    async def replace_rules(self, call: Call[Nothing, RulesWanted]) -> Reply[RevisionFacts]:
        expected, author = _expected(call.if_match), call.asker.name
        head = await self._editor.save(
            call.body.content, expected=expected, author=author, comment=call.body.comment
        )
        return _made(head)

    async def validate_rules(self, call: Call[Nothing, Text]) -> Reply[CheckedFacts]:
        return Reply(checked_facts(await self._editor.check(call.body.content)))

    async def try_rules(self, call: Call[Nothing, DryRunWanted]) -> Reply[DryRun]:
        body = call.body
        found = await self._editor.dry_run(body.content, body.references, body.host)
        return Reply(DryRun([compared_facts(one) for one in found]))

    async def foresee_rules(self, call: Call[Nothing, Text]) -> Reply[ImpactFacts]:
        return Reply(impact_facts(await self._editor.impact(call.body.content)))

    async def add_rule(self, call: Call[Nothing, RuleWanted]) -> Reply[RevisionFacts]:
        return await self._apply(call, AddRule(call.body.yaml, call.body.position), call.body.comment)

    async def replace_rule(self, call: Call[Nothing, RuleChanged]) -> Reply[RevisionFacts]:
        change = ReplaceRule(call.number("number"), call.body.yaml)
        return await self._apply(call, change, call.body.comment)

    async def switch_rule(self, call: Call[Nothing, RuleSwitched]) -> Reply[RevisionFacts]:
        change = SwitchRule(call.number("number"), call.body.is_enabled)
        return await self._apply(call, change, call.body.comment)

    async def move_rule(self, call: Call[Nothing, RuleMoved]) -> Reply[RevisionFacts]:
        return await self._apply(call, MoveRule(call.number("number"), call.body.to), call.body.comment)

    async def remove_rule(self, call: Call[Nothing, Nothing]) -> Reply[RevisionFacts]:
        return await self._apply(call, RemoveRule(call.number("number")))

    async def list_revisions(self, call: Call[PageAsked, Nothing]) -> Reply[RevisionList]:
        limit = call.query.limit
        heads = await self._editor.revisions(number_of(call.query.after), limit + 1)
        following = str(heads[limit - 1].number) if len(heads) > limit else None
        return Reply(RevisionList([revision_facts(head) for head in heads[:limit]], following))

    async def read_revision(self, call: Call[Nothing, Nothing]) -> Reply[RevisionText]:
        found = await self._editor.revision(call.number("number"))
        if found.head is None:
            raise OciError(Situation.RESOURCE_NOT_KNOWN, "there is no revision 0")
        return Reply(RevisionText(revision_facts(found.head), found.content))

    async def compare_revision(self, call: Call[AgainstAsked, Nothing]) -> Reply[Difference]:
        newer, against = call.number("number"), call.query.against
        older = max(newer - 1, 0) if against is None else against
        return Reply(Difference(older, newer, await self._editor.difference(older, newer)))

    async def roll_back_rules(self, call: Call[Nothing, Nothing]) -> Reply[RevisionFacts]:
        expected, author = _expected(call.if_match), call.asker.name
        return _made(await self._editor.roll_back(call.number("number"), expected=expected, author=author))

    async def explain_reference(self, call: Call[ExplainAsked, Nothing]) -> Reply[ExplanationFacts]:
        (found,) = await self._editor.dry_run(None, [call.query.reference], call.query.host)
        if found.saved is None:
            raise found.error or OciError(Situation.QUERY_MALFORMED, "no reference is asked about")
        return Reply(explanation_facts(found.saved))

    async def _apply(
        self, call: Call[Nothing, Body], change: Change, comment: str = ""
    ) -> Reply[RevisionFacts]:
        expected, author = _expected(call.if_match), call.asker.name
        return _made(await self._editor.apply(change, expected=expected, author=author, comment=comment))


def _expected(if_match: str | None) -> int:
    """The revision that a change is based on, as an ETag says it."""
    if if_match is None:
        message = "a change of the rules says what it is based on: If-Match, with the ETag of the rules"
        raise OciError(Situation.CONDITION_MISSING, message)
    found = _ETAG.fullmatch(if_match.strip())
    return _OUTDATED_ETAG if found is None else int(found[1])


def _tagged(number: int) -> Mapping[str, str]:
    return {"ETag": f'"{number}"'}


def _made(head: RevisionHead) -> Reply[RevisionFacts]:
    return Reply(revision_facts(head), _tagged(head.number))


_TEXT_REFUSALS: Final = (Situation.RULES_INVALID, Situation.RESOURCE_NOT_KNOWN, Situation.CONFLICT)
_CHANGE_REFUSALS: Final = (*_TEXT_REFUSALS, Situation.OUTDATED, Situation.CONDITION_MISSING)


def operations(editor: RuleEditor, hits: Hits) -> list[Endpoint]:
    api = RulesApi(editor, hits)
    return [*_of_text(api), *_of_single_rules(api), *_of_revisions(api)]


def _of_text(api: RulesApi) -> list[Endpoint]:
    return [
        Operation("GET", "/rules", _TAG, "The rules in force", api.read_rules, Nothing, Nothing, RulesFacts),
        _change("PUT", "/rules", "Replace the rules", api.replace_rules, RulesWanted),
        Operation(
            "GET",
            "/rules/list",
            _TAG,
            "Single rules, with their hits",
            api.list_rules,
            ListAsked,
            Nothing,
            RuleList,
        ),
        _question("/rules/validate", "What is wrong with a text", api.validate_rules, Text, CheckedFacts),
        _question("/rules/dry-run", "What pulls would do by a text", api.try_rules, DryRunWanted, DryRun),
        _question("/rules/impact", "Names that would lead elsewhere", api.foresee_rules, Text, ImpactFacts),
        Operation(
            "GET",
            "/explain",
            _TAG,
            "What a pull would do",
            api.explain_reference,
            ExplainAsked,
            Nothing,
            ExplanationFacts,
            refusals=(Situation.NAME_BREAKS_GRAMMAR, Situation.MANIFEST_NOT_KNOWN),
        ),
    ]


def _of_single_rules(api: RulesApi) -> list[Endpoint]:
    one = "/rules/items/{number}"
    return [
        _change("POST", "/rules/items", "Add a rule", api.add_rule, RuleWanted, status=HTTPStatus.CREATED),
        _change("PUT", one, "Replace a rule", api.replace_rule, RuleChanged),
        _change("PATCH", one, "Enable or disable a rule", api.switch_rule, RuleSwitched),
        _change("POST", f"{one}/move", "Move a rule", api.move_rule, RuleMoved),
        _change("DELETE", one, "Remove a rule", api.remove_rule, Nothing),
    ]


def _of_revisions(api: RulesApi) -> list[Endpoint]:
    one = "/revisions/{number}"
    unknown = (Situation.RESOURCE_NOT_KNOWN,)
    return [
        Operation(
            "GET",
            "/revisions",
            _TAG,
            "Who changed the rules",
            api.list_revisions,
            PageAsked,
            Nothing,
            RevisionList,
        ),
        Operation(
            "GET",
            one,
            _TAG,
            "A revision",
            api.read_revision,
            Nothing,
            Nothing,
            RevisionText,
            refusals=unknown,
        ),
        Operation(
            "GET",
            f"{one}/diff",
            _TAG,
            "What a revision changed",
            api.compare_revision,
            AgainstAsked,
            Nothing,
            Difference,
            refusals=unknown,
        ),
        _change("POST", f"{one}/rollback", "Go back to a revision", api.roll_back_rules, Nothing),
    ]


def _change(
    method: str,
    path: str,
    summary: str,
    do: Callable[[Call[Nothing, Body]], Awaitable[Reply[RevisionFacts]]],
    body: type[Body],
    *,
    status: HTTPStatus = HTTPStatus.OK,
) -> Endpoint:
    """It makes a revision, of the one that If-Match names."""
    return Operation(
        method,
        path,
        _TAG,
        summary,
        do,
        Nothing,
        body,
        RevisionFacts,
        role=Role.EDITOR,
        status=status,
        refusals=_CHANGE_REFUSALS,
        takes_if_match=True,
        max_body_bytes=_TEXT_BYTES,
    )


def _question(
    path: str,
    summary: str,
    do: Callable[[Call[Nothing, Body]], Awaitable[Reply[Value]]],
    body: type[Body],
    value: type[Value],
) -> Endpoint:
    """It changes nothing; of a text that is not saved it is an editor's all the same."""
    return Operation(
        "POST",
        path,
        _TAG,
        summary,
        do,
        Nothing,
        body,
        value,
        role=Role.EDITOR,
        refusals=(Situation.RULES_INVALID,),
        max_body_bytes=_TEXT_BYTES,
    )
