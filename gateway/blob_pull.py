"""Blobs for clients: from the store by right, else from the source of a manifest that names them."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog
from anyio import to_thread

from gateway.fetch import Fetcher
from gateway.flights import Flights
from gateway.oci.descriptor import Descriptor
from gateway.oci.digest import Digest
from gateway.oci.errors import OciError, Situation
from gateway.oci.outcomes import Corrupt, Missing, Outcome, Unavailable
from gateway.parts import Parts
from gateway.passing import GoingOn, PassThrough, Prefix
from gateway.pulled import Cache, PulledBlob
from gateway.refusals import refusal, unavailable
from gateway.rules.route import Route
from gateway.sources.base import Source
from gateway.sources.chain import ask_in_turn
from gateway.store.blobs import (
    WITHHELD_BYTES,
    BlobGone,
    BlobWriter,
    DigestMismatch,
    OpenBlob,
    StorageFailed,
    TooLarge,
    TransferBroken,
)
from gateway.store.rows import NamedBlob, Right
from gateway.transfer import Transfer

log = structlog.get_logger(__name__)

_LOOK_SECONDS: Final = 0.1  # so often, whether another process is already getting the blob
_FLIGHT_SECONDS: Final = 24 * 3600.0  # the pace that upstream must keep ends a transfer, not the clock


class BlobPuller:
    """A right (target, digest) exists only after the target's own source delivered or confirmed the blob."""

    def __init__(self, parts: Parts, fetcher: Fetcher) -> None:
        self._is_open = parts.is_open
        self._fetcher = fetcher
        self._catalog = parts.catalog
        self._blobs = parts.blobs
        self._memory = parts.memory
        self._deadlines = parts.deadlines
        self._admission = parts.admission
        self._now = parts.now
        self._max_blob_bytes = parts.max_blob_bytes
        self._asks_nobody = parts.asks_nobody
        self._flights: Flights[None] = Flights("blob", parts.locks, _FLIGHT_SECONDS)
        self._transfers: dict[tuple[str, str], Transfer] = {}
        self._passing: set[asyncio.Task[None]] = set()

    async def describe(self, route: Route, digest: Digest) -> Descriptor:
        """What a manifest of this repository says of a blob; nobody is dialled."""
        return (await self._named(route, digest))[0].descriptor

    async def open(self, route: Route, digest: Digest) -> PulledBlob:
        """Return a blob, open for reading; the caller closes it. Raise OciError."""
        right = await self._right(route, digest)
        if right is not None:
            opened = await self._open(route, digest, right.size_bytes)
            if opened is not None:
                return PulledBlob(self._going_on(route, digest, opened), Cache.HIT, right.source)
            log.info("blob_not_here", target=str(route.target), digest=str(digest))
        named = await self._named(route, digest)
        if self._asks_nobody(route):
            raise OciError(Situation.BLOB_NOT_KNOWN, f"offline, and {digest} of {route.name} is not held")
        return await self._fetch(route, named)

    async def drain(self) -> None:
        await self._flights.drain()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _right(self, route: Route, digest: Digest) -> Right | None:
        right = self._memory.find_right(route.target, digest)
        if right is None:
            generation = self._memory.generation()
            right = await self._catalog.find_right(route.target, digest)
            if right is not None:
                self._memory.keep_right(route.target, digest, right, generation)
        return right

    async def _named(self, route: Route, digest: Digest) -> Sequence[NamedBlob]:
        named = await self._catalog.find_named(route.target, digest)
        if not named and not self._catalog.is_all_seen:
            raise unavailable(f"rows wait to be written, and {digest} may be among them: ask again")
        if not named:
            raise OciError(
                Situation.BLOB_NOT_KNOWN, f"{route.name} has no blob {digest} that was pulled through here"
            )
        return named

    async def _open(self, route: Route, digest: Digest, size_bytes: int) -> OpenBlob | None:
        """What has another size than was kept is as good as gone; so is, while upstream may be asked, what
        the disk does not give.
        """
        try:
            opened = await self._blobs.open(digest)
            if opened is None or opened.size == size_bytes:
                return opened
            opened.close()
            await self._blobs.delete(digest)
        except StorageFailed as error:
            if self._asks_nobody(route):
                raise unavailable(f"{digest} cannot be read: {error}") from error
            log.warning("blob_unreadable", digest=str(digest), reason=str(error))
        return None

    async def _holds(self, descriptor: Descriptor) -> bool:
        """Whether a blob is there, whole, and can be read."""
        try:
            opened = await self._blobs.open(descriptor.digest)
        except StorageFailed:
            return False
        if opened is None:
            return False
        opened.close()
        return opened.size == descriptor.size

    async def _fetch(self, route: Route, named: Sequence[NamedBlob]) -> PulledBlob:
        """Join the transfer of a blob, or begin it, and return it as soon as upstream answers."""
        descriptor = named[0].descriptor
        key = (str(route.target), str(descriptor.digest))
        await self._until_joinable(key)
        cache = Cache.JOINED if self._flights.is_running(key) else Cache.MISS
        try:
            transfer, flight = self._launch(route, named, key)
            async with self._deadlines.patience(str(descriptor.digest)):
                blob = await self._first_of(route, named, transfer, flight)
        except Outcome as error:
            raise refusal(error, Situation.BLOB_NOT_KNOWN) from error
        return PulledBlob(self._going_on(route, descriptor.digest, blob), cache, named[0].source)

    def _launch(
        self, route: Route, named: Sequence[NamedBlob], key: tuple[str, str]
    ) -> tuple[Transfer, asyncio.Task[None]]:
        """Raise Unavailable where no more may begin."""
        descriptor = named[0].descriptor
        turn = self._admission.turn("blob", route, str(descriptor.digest))
        if self._flights.is_running(key):
            transfer = self._transfers[key]
        else:
            transfer = Transfer(self._blobs, descriptor.digest, descriptor.size)
        flight = self._flights.launch(key, partial(self._transfer, route, named, transfer), turn)
        self._transfers[key] = transfer
        flight.add_done_callback(lambda _done: self._forget(key, transfer))
        return transfer, flight

    async def _until_joinable(self, key: tuple[str, str]) -> None:
        """A transfer that has failed is joined no more, though its flight may still be landing."""
        transfer = self._transfers.get(key)
        if transfer is not None and transfer.has_failed:
            await self._flights.settle(key)

    async def _first_of(
        self, route: Route, named: Sequence[NamedBlob], transfer: Transfer, flight: asyncio.Task[None]
    ) -> OpenBlob:
        """Our own transfer, once it has begun, or what another process is receiving just now."""
        while not transfer.decided.done() and not flight.done():
            waiting_for = (transfer.decided, flight)
            await asyncio.wait(waiting_for, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not transfer.decided.done() and not flight.done() and not transfer.is_ours:
                followed = await self._follow(route, named[0].descriptor)
                if followed is not None:
                    return followed
        if not transfer.has_begun:
            await asyncio.shield(flight)  # which has failed, or is just about to
        return transfer.open()

    def _forget(self, key: tuple[str, str], transfer: Transfer) -> None:
        if self._transfers.get(key) is transfer:
            del self._transfers[key]

    async def _follow(self, route: Route, descriptor: Descriptor) -> OpenBlob | None:
        """What another process receives for the same target, which it alone may earn the right for."""
        if descriptor.size <= WITHHELD_BYTES:  # nothing is to be had before the whole
            return None
        return await self._blobs.follow(descriptor.digest, descriptor.size, str(route.target))

    def _origins(self, route: Route, named: Sequence[NamedBlob]) -> list[Source]:
        """The sources that gave a manifest which names the blob, as far as the route still asks them."""
        givers = {one.source for one in named}
        return [source for source in self._fetcher.chain(route) if source.name in givers]

    async def _transfer(self, route: Route, named: Sequence[NamedBlob], transfer: Transfer) -> None:
        """The flight. It looks again: another process may have kept the blob since its client looked."""
        descriptor = named[0].descriptor
        transfer.is_ours = True
        try:
            if not await self._is_kept(route, descriptor):
                await self._transfer_from_anyone(route, named, transfer)
            if not transfer.is_passed_on:
                transfer.keep()
        except BaseException as error:
            transfer.fail(error)
            raise

    async def _is_kept(self, route: Route, descriptor: Descriptor) -> bool:
        right = await self._catalog.find_right(route.target, descriptor.digest)
        return right is not None and await self._holds(descriptor)

    async def _transfer_from_anyone(
        self, route: Route, named: Sequence[NamedBlob], transfer: Transfer
    ) -> None:
        """From the source of a manifest that names it; where that is gone, by way of the manifest, once."""
        descriptor = named[0].descriptor
        if descriptor.size > self._max_blob_bytes:
            raise Corrupt(
                f"{descriptor.digest} has {descriptor.size} bytes, more than is fetched", "too_large"
            )
        try:
            ask = partial(self._transfer_from, route, descriptor, transfer)
            await ask_in_turn(route.target, self._origins(route, named), ask)
        except (Missing, Unavailable) as error:
            if not await self._refetched(route, descriptor.digest, error):
                raise

    async def _refetched(self, route: Route, digest: Digest, failure: Outcome) -> bool:
        """An outage stays one, whatever the manifest says by now."""
        try:
            return await self._fetcher.refetch(route, digest)
        except Outcome:
            if isinstance(failure, Unavailable):
                return False
            raise

    async def _transfer_from(
        self, route: Route, descriptor: Descriptor, transfer: Transfer, source: Source
    ) -> None:
        if not await self._is_confirmed(route, descriptor, source):
            await self._receive(route, descriptor, transfer, source)
        if transfer.is_passed_on:
            return
        try:
            await self._catalog.keep_blob(
                route.target,
                route.variant.value,
                descriptor.digest,
                descriptor.size,
                source.name.value,
                self._now(),
            )
        except StorageFailed as error:  # those who wait get it all the same
            log.warning("blob_not_noted", digest=str(descriptor.digest), reason=str(error))

    async def _is_confirmed(self, route: Route, descriptor: Descriptor, source: Source) -> bool:
        """Whether the bytes are here, everybody may have them, and this source says that it has them too.

        Of what is private its word alone would do for whoever knows a digest: that it has to deliver.
        """
        if not await self._holds(descriptor):
            return False
        owners = await self._catalog.find_owners(descriptor.digest)
        is_open = any(self._is_open(route.rules, owner) for owner in owners)
        return is_open and await source.has_blob(route, descriptor)

    async def _receive(
        self, route: Route, descriptor: Descriptor, transfer: Transfer, source: Source
    ) -> None:
        """What the store cannot take to the end goes on to each reader by itself."""
        writer: BlobWriter | None = None
        try:
            async with (
                source.blob(route, descriptor) as pieces,  # first: what others find, they may follow
                self._blobs.create(descriptor.digest, descriptor.size, str(route.target)) as writer,
            ):
                await transfer.write(writer, pieces)
        except StorageFailed as error:
            log.warning("blob_not_kept", digest=str(descriptor.digest), reason=str(error))
            prefix = None if writer is None else await to_thread.run_sync(_written, writer)
            transfer.pass_on(partial(self._pass_through, route, descriptor, source, prefix))
        except (Missing, Unavailable) as error:
            if transfer.has_begun:  # another source would go on where this one's bytes were read
                raise TransferBroken(error.message) from error
            raise
        except (DigestMismatch, TooLarge) as error:
            log.warning("blob_refused", target=str(route.target), digest=str(descriptor.digest))
            raise Corrupt(
                f"{source.name} sent other bytes than {descriptor.digest}", "digest_mismatch"
            ) from error

    def _going_on(self, route: Route, digest: Digest, opened: OpenBlob) -> OpenBlob:
        """What was only in memory makes way for what is newer: upstream has the rest for slow readers."""
        return GoingOn(opened, partial(self._again, route, digest))

    async def _again(self, route: Route, digest: Digest) -> OpenBlob:
        named = await self._catalog.find_named(route.target, digest)
        origins = [] if self._asks_nobody(route) else self._origins(route, named)
        if not origins:
            raise BlobGone(f"{digest} was held in memory, and nobody is left who has it")
        return self._pass_through(route, named[0].descriptor, origins[0], None)

    def _pass_through(
        self, route: Route, descriptor: Descriptor, source: Source, prefix: Prefix | None
    ) -> PassThrough:
        passing = PassThrough(partial(source.blob, route, descriptor), descriptor, prefix)
        self._passing.add(passing.task)
        passing.task.add_done_callback(self._passing.discard)
        return passing


def _written(writer: BlobWriter) -> Prefix:
    """What has come so far, which readers may have got. It is hashed here as far as it was not yet."""
    return Prefix(writer.size, writer.digest)
