"""The page of access: who I am, who may sign in, and what was done."""

from starlette.responses import Response

from gateway.access.roles import Role
from gateway.audit import AuditDesk
from gateway.oci.errors import OciError, Situation
from gateway.sign_in import LINK_NAME, MadeToken, TokenDesk
from gateway.web.admin.access_api import next_cursor
from gateway.web.admin.operations import number_of
from gateway.web.admin.pages import Drawer, Page, Visit, redirect

_ENTRIES = 50
_DAY_SECONDS = 86400.0
_DAYS = {"30": 30, "90": 90, "365": 365, "": None}


class AccessPages:
    """Draws them, and does what their forms say."""

    def __init__(self, tokens: TokenDesk, audit: AuditDesk, drawer: Drawer) -> None:
        self._tokens = tokens
        self._audit = audit
        self._drawer = drawer

    async def show(self, visit: Visit) -> Response:
        return await self._draw(visit)

    async def make(self, visit: Visit) -> Response:
        """Shows the secret in the answer, and nowhere else: no address leads to it."""
        name, days = visit.form.get("name", "").strip(), visit.form.get("days", "")
        if days not in _DAYS or visit.form.get("role") not in set(Role):
            raise OciError(
                Situation.BODY_MALFORMED, "this form is not as the page has it: load the page again"
            )
        lasts = _DAYS[days]
        try:
            made = await self._tokens.make(
                name,
                Role(visit.form["role"]),
                visit.asker.name,
                expires_in_seconds=None if lasts is None else lasts * _DAY_SECONDS,
            )
        except OciError as error:
            return await self._draw(visit, error=error)
        return await self._draw(visit, made=made)

    async def revoke(self, visit: Visit) -> Response:
        token = await self._tokens.revoke(visit.form.get("id", ""), visit.asker.name)
        return redirect("/admin/access", revoked=token.name)

    async def _draw(
        self, visit: Visit, *, made: MadeToken | None = None, error: OciError | None = None
    ) -> Response:
        entries = await self._audit.entries(number_of(visit.query("after")), _ENTRIES + 1)
        return self._drawer.page(
            "access.html",
            visit,
            200 if error is None else error.status,
            tokens=await self._tokens.list_all(),
            made=made,
            message="" if error is None else error.message,
            revoked=visit.query("revoked"),
            is_new_here=visit.asker.name == LINK_NAME,
            entries=entries[:_ENTRIES],
            next=next_cursor(entries, _ENTRIES),
            is_first=not visit.query("after"),
        )


def pages(tokens: TokenDesk, audit: AuditDesk, drawer: Drawer) -> list[Page]:
    access = AccessPages(tokens, audit, drawer)
    return [
        Page("/access", access.show),
        Page("/access/tokens", access.make, "POST", Role.EDITOR),
        Page("/access/revoke", access.revoke, "POST", Role.EDITOR),
    ]
