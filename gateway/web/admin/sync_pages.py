"""Mirror lists as forms and a page: a run is begun, what it would do is shown before."""

from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from gateway.access.roles import Role
from gateway.jobs import JobKind
from gateway.sync_desk import SyncDesk
from gateway.web.admin.notices import back_to
from gateway.web.admin.pages import Drawer, Page, Visit, redirect

_MIRROR: Final = "/admin/mirror"
_PLAN: Final = "/admin/mirror/plan"
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class SyncPages:
    """The lists themselves stand on the mirror page."""

    sync: SyncDesk
    drawer: Drawer

    def pages(self) -> list[Page]:
        return [
            Page("/mirror/sync", self._run, method="POST", role=Role.EDITOR),
            Page("/mirror/plan", self._begin_plan, method="POST", role=Role.EDITOR),
            Page("/mirror/plan", self._show_plan),
        ]

    async def _run(self, visit: Visit) -> Response:
        """One list, or all where none is named."""
        name = visit.form.get("name", "")
        await self.sync.run([name] if name else [], visit.asker.name)
        return redirect(back_to("", _MIRROR, "syncing"))

    async def _begin_plan(self, visit: Visit) -> Response:
        name = visit.form.get("name", "")
        await self.sync.plan(name, visit.asker.name)
        return redirect(_PLAN, name=name)

    async def _show_plan(self, visit: Visit) -> Response:
        name = visit.query("name")
        planned = self.sync.planned(name)
        plan = None if planned is None else planned.plan
        fetched = [] if plan is None else plan.fetched
        return self.drawer.page(
            "sync_plan.html",
            visit,
            name=name,
            plan=plan,
            made_at=None if planned is None else planned.made_at,
            job=await self.sync.job(JobKind.PLAN, name),
            fetched=fetched[:_SHOWN],
            fetched_count=len(fetched),
            removals=[] if plan is None else plan.removals[:_SHOWN],
        )
