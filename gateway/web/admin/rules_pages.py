"""The Rules pages that are looked at: the list with what a name comes to, and the history."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.responses import Response

from gateway.explained import Explanation
from gateway.rule_edited import Compared
from gateway.rule_editing import RuleEditor
from gateway.web.admin import rule_edit_pages, rule_roll_back_pages
from gateway.web.admin.catalog_commands import Front, helm_pull
from gateway.web.admin.pages import Drawer, Page, Visit, with_query
from gateway.web.admin.rule_shown import MAX_TEXT, diff_shown, tried
from gateway.web.admin.rule_visits import number_in, required_number, why_read_only

_RULES_A_PAGE: Final = 50
_REVISIONS_A_PAGE: Final = 50


class Hits(Protocol):
    """How often a rule decided, and when last, in seconds since the epoch."""

    @property
    def hits(self) -> int: ...

    @property
    def last_at(self) -> float: ...


HitsOf = Callable[[Sequence[str]], Awaitable[Mapping[str, Hits]]]


def pages(editor: RuleEditor, drawer: Drawer, hits_of: HitsOf, front: Front) -> list[Page]:
    """``hits_of`` tells of rules by their keys; one that never decided may be left out."""
    shown = _RulesShown(editor, drawer, hits_of, front)
    return [
        Page("/rules", shown.listed),
        Page("/rules/history", shown.history),
        Page("/rules/revision", shown.revision),
        Page("/rules/diff", shown.difference),
        *rule_edit_pages.pages(editor, drawer),
        *rule_roll_back_pages.pages(editor, drawer),
    ]


@dataclass(frozen=True, slots=True)
class _RulesShown:
    editor: RuleEditor
    drawer: Drawer
    hits_of: HitsOf
    front: Front

    async def listed(self, visit: Visit) -> Response:
        current = await self.editor.current()
        query, after = visit.query("q"), number_in(visit, "after") or 0
        page = await self.editor.rules(query=query, after=after, limit=_RULES_A_PAGE + 1)
        rules = page.rules[:_RULES_A_PAGE]
        is_more = len(page.rules) > len(rules)
        read_only = why_read_only(self.editor, visit)
        compared = await self._compared(visit)
        return self.drawer.page(
            "rules.html",
            visit,
            current=current,
            rules=rules,
            total=page.total,
            hits=await self.hits_of([rule.key for rule in rules]),
            query=query,
            next=with_query("/admin/rules", q=query, after=rules[-1].number) if is_more else "",
            first=with_query("/admin/rules", q=query) if after else "",
            tried=None if compared is None else tried([compared])[0],
            pull=None if compared is None else self._pull(compared.saved),
            saved=number_in(visit, "saved"),
            read_only=read_only,
            why_not_editable=page.why_not_editable,
            is_editable=read_only is None and page.why_not_editable is None,
        )

    async def _compared(self, visit: Visit) -> Compared | None:
        reference = visit.query("try").strip()
        if not reference:
            return None
        (compared,) = await self.editor.dry_run(None, [reference], visit.query("try_host").strip())
        return compared

    def _pull(self, explanation: Explanation | None) -> str | None:
        """The command that does what was tried; None where it leads nowhere, or a host was named."""
        if explanation is None or not explanation.targets or explanation.host:
            return None
        return helm_pull(explanation.asked, self.front)

    async def history(self, visit: Visit) -> Response:
        before = number_in(visit, "before")
        heads = await self.editor.revisions(before, _REVISIONS_A_PAGE + 1)
        shown = heads[:_REVISIONS_A_PAGE]
        is_more = len(heads) > len(shown)
        return self.drawer.page(
            "rules_history.html",
            visit,
            heads=shown,
            current=(await self.editor.current()).number,
            next=with_query("/admin/rules/history", before=shown[-1].number) if is_more else "",
            first="/admin/rules/history" if before else "",
        )

    async def revision(self, visit: Visit) -> Response:
        found = await self.editor.revision(required_number(visit, "number"))
        return self.drawer.page(
            "rules_revision.html",
            visit,
            found=found,
            text=found.content[:MAX_TEXT],
            is_cut=len(found.content) > MAX_TEXT,
            current=(await self.editor.current()).number,
        )

    async def difference(self, visit: Visit) -> Response:
        older, newer = sorted((required_number(visit, "older"), required_number(visit, "newer")))
        diff = diff_shown(await self.editor.difference(older, newer))
        return self.drawer.page(
            "rules_diff.html",
            visit,
            older=older,
            newer=newer,
            lines=diff.lines,
            cut=diff.cut,
        )
