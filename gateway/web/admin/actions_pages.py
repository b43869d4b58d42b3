"""Forms that do something with what is held: refresh, purge, pin, pull; each leads back to its page."""

from collections.abc import Mapping
from dataclasses import replace

from starlette.responses import Response

from gateway.access.roles import Role
from gateway.actions import Actions
from gateway.oci.digest import Digest
from gateway.oci.location import Location
from gateway.oci.reference import parse_reference
from gateway.oci.repository import Repository
from gateway.oci.target import Target
from gateway.refresh import Verdict
from gateway.web.admin.notices import back_to
from gateway.web.admin.pages import Drawer, Page, Visit, redirect

_MIRROR = "/admin/mirror"
_STORAGE = "/admin/storage"
_DONE: Mapping[Verdict, str] = {
    Verdict.UNCHANGED: "unchanged",
    Verdict.FOLLOWED: "followed",
    Verdict.FETCHED: "fetched",
    Verdict.LISTED: "refreshing",
    Verdict.DRIFT_KEPT: "drift-kept",
    Verdict.DELETED: "deleted",
    Verdict.ABSENT: "absent",
    Verdict.HIDDEN: "hidden",
    Verdict.FAILED: "not-asked",
}
_SHOWN_TAGS = 100


def pages(actions: Actions, drawer: Drawer) -> list[Page]:
    """Fields of the forms: ``name``, ``reference`` (a tag, a digest or nothing), ``target``, ``back``."""
    forms = _Forms(actions, drawer)
    posts = {
        "/actions/refresh": forms.refresh,
        "/actions/purge": forms.purge,
        "/actions/pin": forms.pin,
        "/actions/unpin": forms.unpin,
        "/actions/pull": forms.pull,
        "/actions/gc": forms.collect_garbage,
        "/actions/scrub": forms.scrub,
    }
    return [Page(path, do, method="POST", role=Role.EDITOR) for path, do in posts.items()]


class _Forms:
    def __init__(self, actions: Actions, drawer: Drawer) -> None:
        self._actions = actions
        self._drawer = drawer

    async def refresh(self, visit: Visit) -> Response:
        """A tag is waited for; all of a name is a job."""
        location = _location(visit)
        if location.reference is None or isinstance(location.reference, Digest):
            await self._actions.refresh(Location(location.name, None), visit.asker.name)
            return _back(visit, "refreshing")
        done = await self._actions.refresh_now(location, visit.asker.name)
        return _back(visit, _DONE[done.verdict])

    async def purge(self, visit: Visit) -> Response:
        """First shows what would be forgotten; does it once the form says ``sure``."""
        location, form = _location(visit), visit.form
        target = Target.parse(form["target"]) if form.get("target") else None
        is_whole = location.reference is None
        doom = await self._actions.purger.doom(
            location, target, is_whole=is_whole, unpins=form.get("unpin") == "yes"
        )
        if form.get("sure") == "yes":
            done = await self._actions.purge(location, doom, visit.asker.name)
            return _back(visit, "purged-nothing" if done.is_empty else "purged")
        told = await self._actions.purger.foretell(replace(doom, unpins=True))
        fields = {name: form.get(name, "") for name in ("name", "reference", "target", "back")}
        back = back_to(form.get("back", ""), _MIRROR)
        return self._drawer.page(
            "purge.html",
            visit,
            location=location,
            told=told,
            shown=told.tags[:_SHOWN_TAGS],
            targets=doom.targets,
            size_bytes=sum(size_bytes for _, size_bytes in told.blobs),
            fields=fields,
            back=back,
        )

    async def pin(self, visit: Visit) -> Response:
        is_new = await self._actions.pin(_location(visit), visit.asker.name)
        return _back(visit, "pinned" if is_new else "pinned-already")

    async def unpin(self, visit: Visit) -> Response:
        is_gone = await self._actions.unpin(_location(visit), visit.asker.name)
        return _back(visit, "unpinned" if is_gone else "not-pinned")

    async def pull(self, visit: Visit) -> Response:
        await self._actions.pull([_location(visit)], frozenset(), visit.asker.name)
        return _back(visit, "pulling")

    async def collect_garbage(self, visit: Visit) -> Response:
        is_dry = visit.form.get("dry_run") == "yes"
        await self._actions.collect_garbage(visit.asker.name, is_dry=is_dry)
        return _back(visit, "collecting", _STORAGE)

    async def scrub(self, visit: Visit) -> Response:
        fetches_missing = visit.form.get("fetch_missing") == "yes"
        await self._actions.scrub(visit.asker.name, fetches_missing=fetches_missing)
        return _back(visit, "scrubbing", _STORAGE)


def _location(visit: Visit) -> Location:
    reference = visit.form.get("reference", "").strip()
    name = Repository.parse(visit.form.get("name", "").strip())
    return Location(name, parse_reference(reference) if reference else None)


def _back(visit: Visit, done: str, default: str = _MIRROR) -> Response:
    return redirect(back_to(visit.form.get("back", ""), default, done))
