"""What refers to a manifest: signatures, attestations, whatever is held and whatever upstream lists."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog
from cachetools import LRUCache

from gateway.fetch import Fetcher
from gateway.flights import Flights
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.outcomes import Missing, Outcome
from gateway.parts import Parts
from gateway.refusals import unavailable
from gateway.rules.route import Route, Routing
from gateway.sources.base import Source
from gateway.sources.chain import ask_in_turn

log = structlog.get_logger(__name__)

_REMEMBERED_BYTES: Final = 16 << 20
_DESCRIPTOR_BYTES: Final = 500  # of one without annotations, more or less

_Key = tuple[str, str, str]


class Referrals:
    """Upstream is asked for what is held, and not again for ``fresh_for``."""

    def __init__(self, parts: Parts, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._catalog = parts.catalog
        self._now = parts.now
        self._deadlines = parts.deadlines
        self._admission = parts.admission
        self._asks_nobody = parts.asks_nobody
        self._flights: Flights[Sequence[Descriptor]] = Flights()
        self._listed: LRUCache[_Key, tuple[Sequence[Descriptor], float]] = LRUCache(
            _REMEMBERED_BYTES, getsizeof=lambda listed: _weight(listed[0])
        )

    async def list_all(self, routing: Routing, subject: Digest) -> list[Descriptor]:
        """Those of every target, by digest; where one cannot be asked, and nothing is known, the error."""
        joined: dict[Digest, Descriptor] = {}
        for route in routing.routes:
            for descriptor in await self.list(route, subject):
                joined.setdefault(descriptor.digest, descriptor)
        return [joined[digest] for digest in sorted(joined, key=str)]

    async def list(self, route: Route, subject: Digest) -> list[Descriptor]:
        """Return descriptors by digest, upstream's word before ours; nothing upstream is no error."""
        ours = await self._catalog.find_referrers(route.target, subject)
        source = await self._catalog.find_manifest_source(route.target, subject)
        theirs: Sequence[Descriptor] | None = ()
        if source is not None and not self._asks_nobody(route):
            theirs = await self._upstream(route, subject, source)
        if theirs is None and not ours:  # nobody could answer: that must not read as «nothing refers to it»
            raise unavailable(f"who refers to {subject} cannot be asked just now")
        joined = {descriptor.digest: descriptor for descriptor in (*ours, *(theirs or ()))}
        return [joined[digest] for digest in sorted(joined, key=str)]

    async def drain(self) -> None:
        await self._flights.drain()

    async def _upstream(self, route: Route, subject: Digest, giver: str) -> Sequence[Descriptor] | None:
        """What upstream listed last, anew where that is due; None where nobody could answer yet."""
        key = (*route.cache_key, str(subject))
        listed, asked_at = self._listed.get(key, (None, float("-inf")))
        if 0 <= self._now() - asked_at < route.policy.fresh_for_seconds:
            return listed
        is_troubled = any(source.is_troubled(route) for source in self._givers(route, giver))
        turn = self._admission.turn("referrers", route, str(subject)) if listed is None else None
        try:
            flight = self._flights.launch(key, partial(self._ask, key, route, subject, giver), turn)
            if listed is not None and is_troubled:
                return listed
            async with asyncio.timeout(self._deadlines.stale_seconds):
                return await asyncio.shield(flight)
        except Missing:  # a definite answer
            return listed or ()
        except (TimeoutError, Outcome) as error:
            reason = str(error) or "no answer in time"
            log.warning("referrers_from_cache", target=str(route.target), reason=reason)
            return listed

    async def _ask(self, key: _Key, route: Route, subject: Digest, giver: str) -> Sequence[Descriptor]:
        """The flight; whoever comes later has its answer, also where nobody waited for it."""
        chain = self._givers(route, giver)
        ask = partial(_referrers, route, subject)
        listed = await ask_in_turn(route.target, chain, ask) if chain else ()
        if _weight(listed) <= _REMEMBERED_BYTES:
            self._listed[key] = (listed, self._now())
        return listed

    def _givers(self, route: Route, giver: str) -> Sequence[Source]:
        return [source for source in self._fetcher.chain(route) if source.name == giver]


async def _referrers(route: Route, subject: Digest, source: Source) -> Sequence[Descriptor]:
    return await source.referrers(route, subject)


def _weight(listed: Sequence[Descriptor]) -> int:
    """How much memory a list takes, about, in bytes."""
    annotations = sum(
        len(key) + len(value) for descriptor in listed for key, value in descriptor.annotations.items()
    )
    return _DESCRIPTOR_BYTES * (len(listed) + 1) + 4 * annotations
