"""The settings as a page: what is in force, and whether somebody set it; secrets are never shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from gateway.activity_seen import SettingShown
from gateway.web.admin.pages import Drawer, Page, Visit


@dataclass(frozen=True, slots=True)
class SettingsPage:
    settings: Sequence[SettingShown]
    drawer: Drawer

    def pages(self) -> list[Page]:
        return [Page("/settings", self._list)]

    async def _list(self, visit: Visit) -> Response:
        return self.drawer.page("settings.html", visit, settings=self.settings)
