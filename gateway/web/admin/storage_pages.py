"""The storage as a page: what takes how much, what is pinned."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from gateway.activity import ActivityDesk
from gateway.store.pins import Pin
from gateway.web.admin.pages import Drawer, Page, Visit

_PINS = 100


@dataclass(frozen=True, slots=True)
class StoragePages:
    """``pins`` lists what is pinned."""

    activity: ActivityDesk
    pins: Callable[[], Awaitable[Sequence[Pin]]]
    drawer: Drawer

    def pages(self) -> list[Page]:
        return [Page("/storage", self._show)]

    async def _show(self, visit: Visit) -> Response:
        pins = sorted(await self.pins(), key=lambda one: (one.name, one.reference))
        return self.drawer.page(
            "storage.html",
            visit,
            storage=await self.activity.storage(),
            pins=pins[:_PINS],
            pins_left_off=len(pins) - len(pins[:_PINS]),
        )
