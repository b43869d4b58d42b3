"""Bundles as a page: one is made and downloaded, one is sent, checked and taken in."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from gateway.access.roles import Role
from gateway.bundle_desk import BundleDesk, Wanted
from gateway.oci.errors import OciError, Situation
from gateway.pull_whole import parse_list
from gateway.store.import_rows import Fate
from gateway.web.admin.bundles_api import leaving
from gateway.web.admin.pages import Drawer, Page, Visit
from gateway.web.admin.rule_shown import diff_shown
from gateway.web.admin.stream_operations import FileAnswer

_LIST_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BundlePages:
    """``lists`` are the names of mirror lists; under ``is_read_only`` rules come from the file alone."""

    bundles: BundleDesk
    lists: Callable[[], Sequence[str]]
    is_read_only: bool
    own_hosts: Collection[str]
    now: Callable[[], float]
    drawer: Drawer

    def pages(self) -> list[Page]:
        return [
            Page("/bundles", self._show),
            Page(
                "/bundles/export", self._export, method="POST", role=Role.EDITOR, max_form_bytes=_LIST_BYTES
            ),
            Page("/bundles/imports/{number}", self._taken),
        ]

    async def _show(self, visit: Visit) -> Response:
        return await self._page(visit, {"what": "all", "sync": "", "references": "", "compress": ""}, "")

    async def _export(self, visit: Visit) -> Response:
        """The bundle; what cannot be exported is shown again, with what is wrong."""
        form = {name: visit.form.get(name, "") for name in ("what", "sync", "references", "compress")}
        if visit.form.get("resumed"):
            return await self._page(visit, form, "")
        try:
            wanted = self._wanted(form)
            return FileAnswer(await leaving(self.bundles, wanted, visit.asker.name, self.now()))
        except OciError as error:
            return await self._page(visit, form, error.message, error.status)

    def _wanted(self, form: dict[str, str]) -> Wanted:
        locations = parse_list(form["references"], self.own_hosts) if form["what"] == "references" else ()
        return Wanted(
            form["sync"] if form["what"] == "sync" else "", locations, compresses=form["compress"] == "yes"
        )

    async def _page(self, visit: Visit, form: dict[str, str], trouble: str, code: int = 200) -> Response:
        return self.drawer.page(
            "bundles.html",
            visit,
            code,
            form=form,
            trouble=trouble,
            lists=self.lists(),
            has_key=await self.bundles.has_key(),
            is_read_only=self.is_read_only,
            origin=f"{visit.request.url.scheme}://{visit.request.url.netloc}",
        )

    async def _taken(self, visit: Visit) -> Response:
        number = visit.request.path_params["number"]
        if not number.isdecimal() or len(number) > 9:
            raise OciError(Situation.RESOURCE_NOT_KNOWN, "there is no such import")
        report = self.bundles.taken(int(number))
        return self.drawer.page(
            "bundle_taken.html",
            visit,
            number=int(number),
            report=report,
            added=report.tags_that_are(Fate.ADDED),
            replaced=report.tags_that_are(Fate.REPLACED),
            kept=report.tags_that_are(Fate.KEPT),
            unchanged_count=len(report.tags_that_are(Fate.UNCHANGED)),
            rules=diff_shown(report.rules.difference if report.rules else ""),
        )
