"""Going back to the rules of a former revision: what that would change, then the button."""

from dataclasses import dataclass

from starlette.responses import Response

from gateway.access.roles import Role
from gateway.oci.errors import OciError, Situation
from gateway.rule_editing import RuleEditor
from gateway.web.admin.pages import Drawer, Page, Visit, redirect
from gateway.web.admin.rule_shown import diff_shown, flaws
from gateway.web.admin.rule_visits import number_of, required_number

_RESUMED = "You had been signed out: nothing is changed yet. Look at it again, then roll back."


def pages(editor: RuleEditor, drawer: Drawer) -> list[Page]:
    shown = _RollBack(editor, drawer)
    return [
        Page("/rules/rollback", shown.ask, role=Role.EDITOR),
        Page("/rules/rollback", shown.do, "POST", Role.EDITOR),
    ]


@dataclass(frozen=True, slots=True)
class _RollBack:
    editor: RuleEditor
    drawer: Drawer

    async def ask(self, visit: Visit) -> Response:
        return await self._page(visit, required_number(visit, "number"))

    async def do(self, visit: Visit) -> Response:
        number, expected = number_of(visit.form, "number"), number_of(visit.form, "expected")
        if number is None or expected is None:
            raise OciError(Situation.QUERY_MALFORMED, "the form does not say which revision")
        if "resumed" in visit.form:
            return await self._page(visit, number, remark=_RESUMED)
        try:
            head = await self.editor.roll_back(number, expected=expected, author=visit.asker.name)
        except OciError as error:
            return await self._page(visit, number, error.status, trouble=error.message)
        return redirect("/admin/rules", saved=str(head.number))

    async def _page(
        self, visit: Visit, number: int, code: int = 200, *, trouble: str = "", remark: str = ""
    ) -> Response:
        found = await self.editor.revision(number)
        current = await self.editor.current()
        problems = (await self.editor.check(number)).problems
        diff = diff_shown(await self.editor.difference(current.number, number))
        return self.drawer.page(
            "rules_roll_back.html",
            visit,
            code,
            found=found,
            current=current,
            flaws=flaws(problems, found.content),
            impact=None if problems else await self.editor.impact(number),
            lines=diff.lines,
            cut=diff.cut,
            trouble=trouble,
            remark=remark,
        )
