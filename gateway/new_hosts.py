"""Hosts that were never asked before: so many at once for each client, and then one a second."""

import math
from collections.abc import Callable
from typing import Final, Protocol

from cachetools import LRUCache, TTLCache

from gateway.oci.outcomes import Unavailable
from gateway.rules.route import Route
from gateway.store.blobs import StorageFailed

AT_ONCE: Final = 20
EVERY_SECONDS: Final = 1.0

_OPENED: Final = 10_000
_CLIENTS: Final = 10_000  # counted each for itself; who comes beyond that, together
_OTHERS: Final = ""


class HeldHosts(Protocol):
    """What the catalog tells of hosts."""

    async def holds_of(self, host: str) -> bool:
        """Whether anything is held of a target on this host; raise StorageFailed."""


class NewHosts:
    """A name says where a stranger wants us to knock: without this, we would knock at every door for it.

    Not new is what the rules name, what something is held of, and what was asked of late for anybody.
    ``now`` counts seconds, and never back.
    """

    def __init__(self, held: HeldHosts | None, now: Callable[[], float], longest_seconds: float) -> None:
        self._held = held
        self._now = now
        self._longest_seconds = longest_seconds
        self._opened_at: LRUCache[str, float] = LRUCache(_OPENED)  # or will be
        self._spent_until: TTLCache[str, float] = TTLCache(
            _CLIENTS, AT_ONCE * EVERY_SECONDS + longest_seconds, timer=now
        )

    def is_open(self, route: Route) -> bool:
        """Whether it may be asked at once."""
        if route.upstream is not None or route.target.host in route.rules.rules.hosts:
            return True
        return self._opened_at.get(route.target.host, math.inf) <= self._now()

    async def look(self, route: Route) -> None:
        """Find out whether something is held of it; a catalog that does not answer makes no host known."""
        host = route.target.host
        if self._held is None or host in self._opened_at:
            return
        try:
            if await self._held.holds_of(host):
                self._opened_at[host] = self._now()
        except StorageFailed:
            return

    def wait_seconds(self, route: Route, client: str) -> float:
        """How long this client waits for its turn at the host; raise Unavailable where that is too long."""
        now, host = self._now(), route.target.host
        opens_at = self._opened_at.get(host, math.inf)
        if opens_at > now:
            account = self._account(client)
            spent_until = max(self._spent_until.get(account, now), now) + EVERY_SECONDS
            mine_at = max(now, spent_until - AT_ONCE * EVERY_SECONDS)
            if mine_at < opens_at and mine_at - now < self._longest_seconds:
                self._spent_until[account] = spent_until
                self._opened_at[host] = opens_at = mine_at
        if opens_at == math.inf:
            message = f"this client named so many hosts that {host}, which was not asked before, has to wait"
            raise Unavailable(message, math.ceil(self._longest_seconds), is_rate_limited=True)
        return max(opens_at - now, 0.0)

    def _account(self, client: str) -> str:
        self._spent_until.expire()
        is_known = client in self._spent_until or len(self._spent_until) < _CLIENTS - 1
        return client if is_known else _OTHERS
