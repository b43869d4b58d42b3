"""The names that clients ask for, noted once each: ``_catalog`` lists all that share a copy."""

from collections.abc import Callable
from typing import Final

import structlog
from cachetools import LRUCache

from gateway.rules.route import Route
from gateway.store.blobs import StorageFailed
from gateway.store.catalog import Catalog

log = structlog.get_logger(__name__)

_REMEMBERED: Final = 50_000


class AskedNames:
    """``now`` gives seconds since the epoch."""

    def __init__(self, catalog: Catalog, now: Callable[[], float]) -> None:
        self._catalog = catalog
        self._now = now
        self._noted: LRUCache[tuple[str, str], None] = LRUCache(_REMEMBERED)

    async def note(self, route: Route) -> None:
        """Note that something was pulled by this name; what cannot be noted just now is, the next time."""
        key = (route.name.name, route.cache_key[0])
        if key in self._noted:
            return
        try:
            await self._catalog.note_name(route.name.name, route.target, self._now())
        except StorageFailed as error:
            log.debug("name_not_noted", name=str(route.name), reason=str(error))
        else:
            self._noted[key] = None
