"""Events as pages: what happened that people should know of, newest first."""

from dataclasses import dataclass

from starlette.responses import Response

from gateway.activity import ActivityDesk
from gateway.event_tap import Severity
from gateway.web.admin.pages import Drawer, Page, Visit, with_query

_SHOWN = 50
_SEVERITIES = (Severity.ERROR, Severity.WARNING, Severity.INFO)
_LARGEST = 2**31 - 1  # a number of an event


@dataclass(frozen=True, slots=True)
class EventPages:
    activity: ActivityDesk
    drawer: Drawer

    def pages(self) -> list[Page]:
        return [Page("/events", self._list)]

    async def _list(self, visit: Visit) -> Response:
        kind, severity, before = visit.query("kind"), visit.query("severity"), _number(visit.query("before"))
        severity = severity if severity in _SEVERITIES else ""
        events = await self.activity.events(kind=kind, severity=severity, before=before, limit=_SHOWN + 1)
        shown, here = events[:_SHOWN], with_query("/admin/events", kind=kind, severity=severity)
        has_more = len(events) > _SHOWN
        return self.drawer.page(
            "events.html",
            visit,
            events=shown,
            kinds=await self.activity.event_kinds(),
            kind=kind,
            severity=severity,
            severities=_SEVERITIES,
            first=here if before is not None else "",
            next=with_query("/admin/events", kind=kind, severity=severity, before=shown[-1].number)
            if has_more
            else "",
        )


def _number(text: str) -> int | None:
    """None where it is no number of an event: the list then begins with the newest."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= 10
    return min(int(text), _LARGEST) if is_number else None
