"""The Rules pages that change something: the form of a rule, the text, what a change would do, and saving."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette.responses import Response

from gateway.access.roles import Role
from gateway.oci.errors import OciError, Situation
from gateway.rule_edited import Impact
from gateway.rule_editing import RuleEditor
from gateway.rules.tree import MAX_SIZE_BYTES
from gateway.web.admin.pages import Drawer, Page, Visit, redirect
from gateway.web.admin.rule_drafts import (
    Draft,
    DraftKind,
    drafted_rule,
    drafted_text,
    read_draft,
    read_for_form,
)
from gateway.web.admin.rule_shown import (
    DiffShown,
    Flaw,
    Tried,
    diff_shown,
    flaws,
    flaws_told,
    tried,
)
from gateway.web.admin.rule_visits import required_number, why_read_only

_MAX_FORM_BYTES: Final = 3 * MAX_SIZE_BYTES  # a form may write each byte as %XX
_MAX_TRIED: Final = 5
_NO_DIFFERENCE: Final = DiffShown()
_EXAMPLE: Final = {
    "name": "short refs for Argo",
    "repository": "argo/*",
    "rewrite": "argoproj.github.io/argo-helm/$1",
    "try": "argo/argo-cd",
}


def pages(editor: RuleEditor, drawer: Drawer) -> list[Page]:
    edited = _RulesEdited(editor, drawer)
    return [
        Page("/rules/new", edited.new),
        Page("/rules/edit", edited.rule),
        Page("/rules/yaml", edited.text),
        Page("/rules/review", edited.review_of_button, role=Role.EDITOR),
        *(
            Page(path, do, "POST", Role.EDITOR, _MAX_FORM_BYTES)
            for path, do in (
                ("/rules/edit", edited.check_rule),
                ("/rules/yaml", edited.check_text),
                ("/rules/review", edited.review),
                ("/rules/save", edited.save),
            )
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Looked:
    """What there is to say of a draft; ``content`` is None where no text could be made of it."""

    content: str | None
    flaws: Sequence[Flaw] = ()
    warnings: Sequence[Flaw] = ()
    trouble: str | None = None
    rule_count: int = 0
    diff: DiffShown = _NO_DIFFERENCE
    tried: Sequence[Tried] = ()
    impact: Impact | None = None
    yaml: str = ""

    @property
    def is_good(self) -> bool:
        return self.content is not None and not self.flaws and self.trouble is None

    @property
    def by_field(self) -> Mapping[str, Flaw]:
        return {flaw.field: flaw for flaw in self.flaws if flaw.field is not None}


@dataclass(frozen=True, slots=True)
class _RulesEdited:
    editor: RuleEditor
    drawer: Drawer

    async def new(self, visit: Visit) -> Response:
        current = await self.editor.current()
        example = _EXAMPLE if visit.query("example") else {}
        fields = {"kind": DraftKind.RULE.value, "base": str(current.number), **example}
        return await self._form(visit, read_draft(fields))

    async def rule(self, visit: Visit) -> Response:
        number = required_number(visit, "number")
        current = await self.editor.current()
        shown = await read_for_form(self.editor, current.content, number)
        fields = {"kind": DraftKind.RULE.value, "base": str(current.number), "number": str(number), **shown}
        return await self._form(visit, read_draft(fields))

    async def text(self, visit: Visit) -> Response:
        current = await self.editor.current()
        content = current.content or "version: 1\nrules: []\n"
        fields = {"kind": DraftKind.TEXT.value, "base": str(current.number), "content": content}
        return self._text(visit, read_draft(fields), None)

    async def check_rule(self, visit: Visit) -> Response:
        return await self._form(visit, read_draft(visit.form))

    async def check_text(self, visit: Visit) -> Response:
        """Also where a form was filled in, and is gone on with as text."""
        draft = read_draft(visit.form)
        if draft.kind is DraftKind.TEXT:
            return self._text(visit, draft, await self._look(draft, has_impact="live" not in visit.form))
        try:
            content = await drafted_text(self.editor, draft)
        except OciError as error:
            return await self._form(visit, draft, error)
        fields = {**_beside(draft), "kind": DraftKind.TEXT.value, "content": content}
        return self._text(visit, read_draft(fields), None)

    async def review_of_button(self, visit: Visit) -> Response:
        """What a button of the list would do: nothing is done by asking."""
        draft = read_draft(visit.request.query_params)
        if draft.edited_at is not None:
            raise OciError(Situation.QUERY_MALFORMED, "what was written in a form comes by a form")
        return await self._review(visit, draft)

    async def review(self, visit: Visit) -> Response:
        return await self._review(visit, read_draft(visit.form))

    async def save(self, visit: Visit) -> Response:
        """The one way in which a page changes the rules."""
        draft = read_draft(visit.form)
        if "resumed" in visit.form:
            remark = "You had been signed out: nothing is saved yet. Look at it again, then save."
            return await self._review(visit, draft, remark=remark)
        try:
            content = await drafted_text(self.editor, draft)
            head = await self.editor.save(
                content, expected=draft.base, author=visit.asker.name, comment=draft.comment
            )
        except OciError as error:
            if error.situation is Situation.OUTDATED:
                return await self._merge(visit, draft)
            return await self._review(visit, draft, error)
        tried_first = next(iter(_references(draft)), "")
        return redirect(
            "/admin/rules", saved=str(head.number), **{"try": tried_first, "try_host": draft.text("try_host")}
        )

    async def _form(self, visit: Visit, draft: Draft, error: OciError | None = None) -> Response:
        is_filled = visit.request.method == "POST" or (draft.number is None and draft.text("name"))
        looked = await self._look(draft, has_impact="live" not in visit.form) if is_filled else None
        if error is not None and looked is not None:
            looked = replace(looked, trouble=error.message)
        return self.drawer.page(
            "rules_form.html",
            visit,
            422 if error is not None else 200,
            draft=draft,
            looked=looked,
            read_only=why_read_only(self.editor, visit),
        )

    def _text(self, visit: Visit, draft: Draft, looked: _Looked | None, code: int = 200) -> Response:
        read_only = why_read_only(self.editor, visit)
        return self.drawer.page(
            "rules_yaml.html", visit, code, draft=draft, looked=looked, read_only=read_only
        )

    async def _review(
        self, visit: Visit, draft: Draft, error: OciError | None = None, remark: str | None = None
    ) -> Response:
        looked = await self._look(draft)
        if error is not None and not looked.flaws:
            looked = replace(looked, flaws=flaws_told(error, looked.content or ""), trouble=error.message)
        code = 200 if looked.is_good else 422
        if not looked.is_good and draft.kind is DraftKind.TEXT:
            return self._text(visit, draft, looked, code)
        if not looked.is_good and draft.kind is DraftKind.RULE:
            return self.drawer.page(
                "rules_form.html", visit, code, draft=draft, looked=looked, read_only=None
            )
        return self.drawer.page("rules_review.html", visit, code, draft=draft, looked=looked, remark=remark)

    async def _merge(self, visit: Visit, draft: Draft) -> Response:
        """412: what they changed, what was changed here, and both in one text."""
        mine = await drafted_text(self.editor, draft)
        merged = await self.editor.merge(draft.base, mine)
        fields = {**_beside(draft), "kind": DraftKind.TEXT.value, "content": merged.content}
        return self.drawer.page(
            "rules_merge.html",
            visit,
            412,
            draft=read_draft({**fields, "base": str(merged.newest)}),
            base=draft.base,
            newest=(await self.editor.revision(merged.newest)).head,
            conflicts=merged.conflicts,
            theirs=diff_shown(await self.editor.difference(draft.base, merged.newest)).lines,
            mine=diff_shown(await self.editor.difference(draft.base, mine)).lines,
        )

    async def _look(self, draft: Draft, *, has_impact: bool = True) -> _Looked:
        try:
            content = await drafted_text(self.editor, draft)
        except OciError as error:
            of_rule = flaws_told(error, await drafted_rule(self.editor, draft))
            return _Looked(None, of_rule, trouble=None if of_rule else error.message)
        checked = await self.editor.check(content)
        looked = _Looked(
            content,
            flaws(checked.problems, content),
            flaws(checked.warnings, content),
            rule_count=checked.rule_count,
            diff=diff_shown(await self.editor.difference(draft.base, content)),
        )
        if not looked.is_good:
            return looked
        return replace(
            looked,
            tried=await self._tried(draft, content),
            impact=await self.editor.impact(content) if has_impact else None,
        )

    async def _tried(self, draft: Draft, content: str) -> Sequence[Tried]:
        references = _references(draft)
        if not references:
            return ()
        return tried(await self.editor.dry_run(content, references, draft.text("try_host").strip()))


def _references(draft: Draft) -> Sequence[str]:
    """What shall be tried."""
    return [line.strip() for line in draft.text("try").splitlines() if line.strip()][:_MAX_TRIED]


def _beside(draft: Draft) -> Mapping[str, str]:
    """What a draft carries beside the change itself."""
    kept = {name: draft.text(name) for name in ("try", "try_host", "comment")}
    return {**kept, "base": str(draft.base)}
