"""A change of the rules that is not saved yet: what forms carry from page to page, and the text it makes."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.oci.errors import OciError, Situation
from gateway.rule_editing import RuleEditor
from gateway.rules.edits import AddRule, Change, MoveRule, RemoveRule, ReplaceRule, SwitchRule
from gateway.web.admin.rule_forms import KEYS, read_fields, read_rule, write_rule
from gateway.web.admin.rule_visits import number_of

_CARRIED: Final = (
    *("kind", "base", "number", "to", "on", "content", "more", *KEYS),
    *("try", "try_host", "comment"),
)


class DraftKind(StrEnum):
    """What is changed: one rule by its form, the text, or one rule by a button."""

    RULE = "rule"
    TEXT = "text"
    MOVE = "move"
    REMOVE = "remove"
    SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class Draft:
    """``fields`` are what a form has of it; ``base`` is the revision that was edited, 0 for none.

    ``number`` is the rule it is about, None for a new one; ``to`` where that shall stand.
    """

    kind: DraftKind
    base: int
    number: int | None
    to: int | None
    fields: Mapping[str, str]

    def text(self, name: str) -> str:
        return self.fields.get(name, "")

    @property
    def title(self) -> str:
        match self.kind:
            case DraftKind.RULE:
                return "Add a rule" if self.number is None else f"Change rule {self.number}"
            case DraftKind.TEXT:
                return "Change the rules"
            case DraftKind.MOVE:
                return f"Move rule {self.number} to position {self.to}"
            case DraftKind.REMOVE:
                return f"Delete rule {self.number}"
            case DraftKind.SWITCH:
                return f"{'Enable' if self.text('on') else 'Disable'} rule {self.number}"

    @property
    def comment(self) -> str:
        """What the history says of it: why somebody did it, else what was done to which rule."""
        written = self.text("comment").strip()
        if written or self.kind is DraftKind.TEXT:
            return written
        return f"{self.title}: {self.text('name')}" if self.text("name") else self.title

    @property
    def edited_at(self) -> str | None:
        """The page where it is edited further; None for what a button says whole."""
        return {DraftKind.RULE: "/admin/rules/edit", DraftKind.TEXT: "/admin/rules/yaml"}.get(self.kind)


def read_draft(fields: Mapping[str, str]) -> Draft:
    """Raise OciError for what no page of ours sends."""
    kind = fields.get("kind", "")
    if kind not in list(DraftKind):
        raise OciError(Situation.QUERY_MALFORMED, "the form does not say what is to be changed")
    draft = Draft(
        DraftKind(kind),
        number_of(fields, "base") or 0,
        number_of(fields, "number"),
        number_of(fields, "to"),
        {name: fields[name] for name in _CARRIED if name in fields},
    )
    is_about_one = draft.kind not in (DraftKind.RULE, DraftKind.TEXT)
    if (is_about_one and draft.number is None) or (draft.kind is DraftKind.MOVE and draft.to is None):
        raise OciError(Situation.QUERY_MALFORMED, "the form does not say which rule, or where it shall stand")
    return draft


async def base_text(editor: RuleEditor, base: int) -> str:
    """The text that a draft is based on."""
    current = await editor.current()
    return current.content if base in (0, current.number) else (await editor.revision(base)).content


async def drafted_text(editor: RuleEditor, draft: Draft) -> str:
    """The whole text as the draft would have it; raise OciError where it cannot be written."""
    if draft.kind is DraftKind.TEXT:
        return draft.text("content")
    before = await base_text(editor, draft.base)
    return await editor.changed(before, _change(draft, await drafted_rule(editor, draft)))


async def drafted_rule(editor: RuleEditor, draft: Draft) -> str:
    """The YAML of the one rule that a form was filled in for; empty for any other draft."""
    if draft.kind is not DraftKind.RULE:
        return ""
    form = read_fields(draft.fields)
    if draft.number is None:
        return write_rule(form)
    before = await base_text(editor, draft.base)
    return write_rule(form, await rule_yaml(editor, before, draft.number))


async def rule_yaml(editor: RuleEditor, content: str, number: int) -> str:
    """The YAML of one rule; raise RESOURCE_NOT_KNOWN where there are fewer."""
    page = await editor.rules(content, after=number - 1, limit=1)
    found = next((rule.yaml for rule in page.rules if rule.number == number), None)
    if found is None:
        raise OciError(Situation.RESOURCE_NOT_KNOWN, f"there is no rule {number}: there are {page.total}")
    return found


async def read_for_form(editor: RuleEditor, content: str, number: int) -> Mapping[str, str]:
    """The fields of a rule, as its form has them."""
    form = read_rule(await rule_yaml(editor, content, number))
    return {**form.values, "more": form.more}


def _change(draft: Draft, rule: str) -> Change:
    number = draft.number or 0
    match draft.kind:
        case DraftKind.MOVE:
            return MoveRule(number, draft.to or 0)
        case DraftKind.REMOVE:
            return RemoveRule(number)
        case DraftKind.SWITCH:
            return SwitchRule(number, bool(draft.text("on")))
    return AddRule(rule, draft.to) if draft.number is None else ReplaceRule(number, rule)
