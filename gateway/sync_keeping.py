"""What a mirror list keeps: marked as it comes, and forgotten once the list means it no more."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog
from anyio import to_thread

from gateway.oci.digest import Digest
from gateway.oci.errors import OciError
from gateway.oci.location import Location
from gateway.oci.manifest import parse_manifest
from gateway.oci.target import Target
from gateway.purge import Purger
from gateway.rules.sync_lists import SyncList
from gateway.rules.visibility import digest_of_fallback_tag
from gateway.store.blobs import StorageFailed
from gateway.store.catalog import Catalog
from gateway.store.purge_rows import Doom, Purge
from gateway.store.retention import Retention, RetentionBook, keeper_of_list
from gateway.sync_plan import Doubts, removals

log = structlog.get_logger(__name__)

_MARK_SECONDS: Final = 1.0


class Keeping:
    """Of one list, for one run. ``now`` gives seconds since the epoch."""

    def __init__(
        self,
        wanted: SyncList,
        book: RetentionBook,
        catalog: Catalog,
        purger: Purger,
        now: Callable[[], float],
    ) -> None:
        self._wanted = wanted
        self._keeper = keeper_of_list(wanted.name)
        self._book = book
        self._catalog = catalog
        self._purger = purger
        self._now = now
        self._known: set[tuple[Target, str]] = set()
        self._unmarked: list[Retention] = []

    def keep(self, location: Location, targets: Sequence[Target]) -> None:
        """Have it marked soon, wherever it is held."""
        reference = str(location.reference)
        for target in targets:
            if (target, reference) not in self._known:
                self._known.add((target, reference))
                self._unmarked.append(Retention(target, reference, location.name.name))

    @asynccontextmanager
    async def marking(self, sleep: Callable[[float], Awaitable[None]]) -> AsyncIterator[None]:
        """Mark what comes every second, and the rest as the block ends, however it does."""
        self._known = {(one.target, one.reference) for one in await self._book.of(self._keeper)}

        async def go_on() -> None:
            while True:
                await sleep(_MARK_SECONDS)
                try:
                    await self._mark()
                except StorageFailed as error:  # tried again, and told at the end
                    log.warning("sync_not_marked", list=self._wanted.name, reason=str(error))

        marking = asyncio.create_task(go_on())
        try:
            yield
        finally:
            marking.cancel()
            await asyncio.gather(marking, return_exceptions=True)
            await self._mark()

    async def kept(self) -> Sequence[Retention]:
        return await self._book.of(self._keeper)

    async def going(
        self, kept: Sequence[Retention], meant: Collection[tuple[str, str]], doubts: Doubts
    ) -> Sequence[Retention]:
        """What is to be forgotten; signatures go with what they sign, and are not among it."""
        left = [one for one in kept if (one.name, one.reference) not in meant]
        plain = [one for one in left if await self._signed(one) is None]
        return await to_thread.run_sync(removals, self._wanted, plain, meant, doubts)

    async def forget(self, going: Sequence[Retention]) -> int:
        """Forget these, and signatures of what is not held any more; what others keep stays. Return how many.

        What a run was told to keep meanwhile stays too.
        """
        gone = {(one.target, one.reference) for one in going}
        kept = [one for one in await self.kept() if (one.target, one.reference) not in gone]
        signatures = [one for one in kept if await self._signed(one) is not None]
        staying = {(one.target, one.reference) for one in kept} - {
            (one.target, one.reference) for one in signatures
        }
        for one in going:
            await self._forget(one, staying)
        loose = [one for one in signatures if await self._signs_nothing(one)]
        for one in loose:
            await self._forget(one, staying)
        return len(going) + len(loose)

    async def _mark(self) -> None:
        marked, self._unmarked = self._unmarked, []
        if not marked:
            return
        try:
            await self._book.retain(self._keeper, marked, self._now())
        except BaseException:
            self._unmarked = [*marked, *self._unmarked]
            raise

    async def _forget(self, one: Retention, staying: Collection[tuple[Target, str]]) -> None:
        doom = Doom([one.target], one.reference)
        if not await self._book.is_wanted_by_others(self._keeper, one):
            told = await self._purger.foretell(doom)
            if not told.is_refused and not await self._takes_along(one, told, staying):
                try:
                    await self._purger.purge(doom)
                except OciError as error:  # pinned this very moment
                    log.info("sync_kept", list=self._wanted.name, reason=error.message)
        await self._book.release(self._keeper, [one])

    async def _takes_along(
        self, one: Retention, told: Purge, staying: Collection[tuple[Target, str]]
    ) -> bool:
        """Whether something that somebody wants kept would go with it: another spelling, a shared part."""
        others = {(tag.target, tag.tag) for tag in told.tags}
        others |= {(one.target, str(digest)) for digest in told.manifests}
        others -= {(one.target, one.reference)}
        if not others.isdisjoint(staying):
            return True
        for target, reference in sorted(others):
            if await self._book.is_wanted_by_others(self._keeper, Retention(target, reference, one.name)):
                return True
        return False

    async def _signs_nothing(self, one: Retention) -> bool:
        subject = await self._signed(one)
        return subject is not None and await self._catalog.find_manifest(one.target, subject) is None

    async def _signed(self, one: Retention) -> Digest | None:
        """What a signature, or whatever else refers to something, refers to; None for what does not."""
        if ":" not in one.reference:
            return digest_of_fallback_tag(one.reference)
        manifest = await self._catalog.find_manifest(one.target, Digest.parse(one.reference))
        if manifest is None:
            return None
        subject = parse_manifest(manifest.content, manifest.media_type).subject
        return None if subject is None else subject.digest
