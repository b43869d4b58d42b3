"""What pulls leave behind, noted once each: the names that were asked for, and what came by credentials."""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from cachetools import LRUCache

from gateway.oci.target import Target
from gateway.rules.model import Access
from gateway.rules.route import Route
from gateway.store.blobs import StorageFailed
from gateway.store.catalog import Catalog

log = structlog.get_logger(__name__)

_REMEMBERED: Final = 50_000


class Notes:
    """What cannot be noted just now is, the next time. ``now`` gives seconds since the epoch."""

    def __init__(self, catalog: Catalog, now: Callable[[], float]) -> None:
        self._catalog = catalog
        self._now = now
        self._names: LRUCache[tuple[str, str], None] = LRUCache(_REMEMBERED)
        self._private: LRUCache[Target, None] = LRUCache(_REMEMBERED)

    async def name(self, route: Route) -> None:
        """Something was pulled by this name: ``_catalog`` lists all that share a copy."""
        key = (route.name.name, route.target.repository.name)
        if key in self._names:
            return
        if await _noted(self._catalog.note_name(route.name.name, route.target, self._now())):
            self._names[key] = None

    async def access(self, route: Route) -> None:
        """Before a pull: what private content a target gets stays private under whatever rules come."""
        if route.access is not Access.PRIVATE or route.target in self._private:
            return
        if await _noted(self._catalog.note_private(route.target, self._now())):
            self._private[route.target] = None


async def _noted(writing: Awaitable[None]) -> bool:
    try:
        await writing
    except StorageFailed as error:
        log.debug("not_noted", reason=str(error))
        return False
    return True
