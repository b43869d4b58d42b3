"""The mirror page: mirror lists, references that are pulled now, and the jobs of these and of all else."""

from starlette.responses import Response

from gateway.access.roles import Role
from gateway.actions import Actions
from gateway.oci.errors import OciError, Situation
from gateway.pull_whole import parse_list
from gateway.store.job_book import Job
from gateway.sync_desk import SyncDesk
from gateway.web.admin.notices import back_to
from gateway.web.admin.pages import Drawer, Page, Visit, redirect, with_query

_HERE = "/admin/mirror"
_SHOWN = 30
_LIST_BYTES = 256 * 1024
_EXAMPLE = """\
sync:
  - name: platform
    every: 6h
    charts:
      - repository: argoproj.github.io/argo-helm/argo-cd
        versions: ">= 7"
        newest: 3
        images: true
    images:
      - repository: docker.io/library/nginx
        tags: ["1.27.*"]
        platforms: [linux/amd64]
"""


def pages(actions: Actions, sync: SyncDesk, drawer: Drawer) -> list[Page]:
    mirror = _Mirror(actions, sync, drawer)
    return [
        Page("/mirror", mirror.show),
        Page("/mirror", mirror.pull, method="POST", role=Role.EDITOR, max_form_bytes=_LIST_BYTES),
        Page("/mirror/jobs/{number}/cancel", mirror.cancel, method="POST", role=Role.EDITOR),
    ]


class _Mirror:
    def __init__(self, actions: Actions, sync: SyncDesk, drawer: Drawer) -> None:
        self._actions = actions
        self._sync = sync
        self._drawer = drawer

    async def show(self, visit: Visit) -> Response:
        return await self._page(visit, {"references": "", "platforms": "", "trouble": ""})

    async def pull(self, visit: Visit) -> Response:
        """What cannot be read is shown again, with what is wrong; so is a list that lost its session."""
        form = {name: visit.form.get(name, "") for name in ("references", "platforms")}
        if visit.form.get("resumed"):
            return await self._page(visit, {**form, "trouble": ""})
        try:
            locations = parse_list(form["references"], self._actions.own_hosts)
            platforms = frozenset(form["platforms"].replace(",", " ").split())
            await self._actions.pull(locations, platforms, visit.asker.name)
        except OciError as error:
            if error.situation not in (Situation.BODY_MALFORMED, Situation.RATE_LIMITED):
                raise
            return await self._page(visit, {**form, "trouble": error.message}, error.status)
        return redirect(back_to("", _HERE, "pulling"))

    async def cancel(self, visit: Visit) -> Response:
        number = visit.request.path_params["number"]
        if not number.isdecimal() or len(number) > 9:
            raise OciError(Situation.RESOURCE_NOT_KNOWN, "there is no such job")
        job = await self._actions.jobs.find(int(number))
        is_ended = await self._actions.jobs.cancel(job.number)
        return redirect(
            back_to(visit.form.get("back", ""), _HERE, "cancelled" if is_ended else "not-cancelled")
        )

    async def _page(self, visit: Visit, form: dict[str, str], code: int = 200) -> Response:
        before = visit.query("before")
        after = int(before) if before.isdecimal() and len(before) <= 9 else None
        alive = await self._alive() if after is None else []
        found = await self._actions.jobs.list("", after, _SHOWN)
        over = [job for job in found if job.state.is_over]
        next_url = with_query(_HERE, before=found[-1].number) if len(found) == _SHOWN else ""
        return self._drawer.page(
            "mirror.html",
            visit,
            code,
            lists=await self._sync.lists(),
            example=_EXAMPLE,
            alive=alive,
            over=[(job, *job.message.partition("\n")[::2]) for job in over],
            form=form,
            next_url=next_url,
            first_url=_HERE if after is not None else "",
        )

    async def _alive(self) -> list[Job]:
        """Those that run before those that wait, each the oldest first."""
        running = await self._actions.jobs.list("running", None, 100)
        queued = await self._actions.jobs.list("queued", None, 200)
        return [*sorted(running, key=lambda job: job.number), *sorted(queued, key=lambda job: job.number)]
