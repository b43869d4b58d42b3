"""Purging: what a reference leads to is forgotten here, and the next pull fetches it anew."""

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.location import Location
from gateway.oci.target import Target
from gateway.pins import reference_of
from gateway.rules.route import Routing, Wanted
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.catalog import Catalog
from gateway.store.disk import in_thread
from gateway.store.eviction import Standing
from gateway.store.purge_rows import Doom, Purge, PurgeBook

log = structlog.get_logger(__name__)

_BATCH: Final = 200


class Purger:
    """Forgets at every target of a name. ``now`` gives seconds since the epoch, as the disk has them."""

    def __init__(
        self,
        book: PurgeBook,
        catalog: Catalog,
        blobs: DirectoryBlobs,
        route_of: Callable[[Wanted], Routing],
        now: Callable[[], float],
    ) -> None:
        self._book = book
        self._catalog = catalog
        self._blobs = blobs
        self._route_of = route_of
        self._now = now

    async def foretell(self, doom: Doom) -> Purge:
        """What ``purge`` would forget; pins that are in the way are told, and no error."""
        return await self._book.foretell(doom)

    async def purge(self, doom: Doom) -> Purge:
        """Forget it, and set aside what nothing names then: garbage collection removes it an hour later.

        Raise OciError CONFLICT where a pin is in the way. A pull that runs beside it ends before, and what it
        kept goes too, or after it, and what it keeps stays.
        """
        began_at = self._now()
        done = await self._book.purge(doom)
        if done.is_refused:
            raise _pinned(done)
        await self._set_aside([digest for digest, _ in done.blobs], began_at)
        targets = ", ".join(map(str, doom.targets))
        log.info("purged", targets=targets, reference=doom.reference or "", manifests=len(done.manifests))
        return done

    async def doom(
        self,
        location: Location,
        target: Target | None = None,
        *,
        is_whole: bool = False,
        unpins: bool = False,
    ) -> Doom:
        """What a location means: at ``target``, or at every one that its name leads to, or once led to.

        Raise OciError where it leads nowhere, or says no version and not all of it is meant.
        """
        reference = None if is_whole and location.reference is None else reference_of(location)
        targets = [target] if target is not None else await self._targets(location)
        return Doom(targets, reference, unpins)

    async def _targets(self, location: Location) -> Sequence[Target]:
        try:
            return [route.target for route in self._route_of(Wanted(location.name)).routes]
        except OciError:
            known = await self._book.targets_of(location.name.name)
            if not known:
                raise
            return known

    async def _set_aside(self, digests: Sequence[Digest], unused_since: float) -> None:
        """What somebody names again by then is put back: to ask for its size is to want it."""
        try:
            await in_thread(self._set_all_aside, digests, unused_since)
        except OSError as error:
            log.warning("blobs_not_set_aside", reason=str(error), means="they go when files are swept")
            return
        for start in range(0, len(digests), _BATCH):
            standings = await self._catalog.standings(digests[start : start + _BATCH])
            for digest, standing in standings.items():
                if standing is not Standing.UNNAMED:
                    await self._blobs.size(digest)

    def _set_all_aside(self, digests: Sequence[Digest], unused_since: float) -> None:
        for digest in digests:
            self._blobs.set_aside(digest, unused_since)


def _pinned(purge: Purge) -> OciError:
    names = sorted(
        {f"{pin.name}{'@' if ':' in pin.reference else ':'}{pin.reference}" for pin in purge.pinned}
    )
    told = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return OciError(Situation.CONFLICT, f"nothing was purged: {told} is pinned; unpin it first, or with it")
