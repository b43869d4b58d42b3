"""Helm indexes as they were last good: the file among the blobs, what we know of it in the catalog."""

import structlog
from sqlalchemy import ColumnElement, Connection, or_, select, update

from gateway.helm.shelved import ShelvedIndex
from gateway.oci.digest import Digest
from gateway.store.blobs import BlobStore, StorageFailed, keep_bytes, read_whole
from gateway.store.engine import Engines
from gateway.store.tables import helm_indexes
from gateway.store.unwritten import Unwritten
from gateway.store.upsert import insert_or_update

log = structlog.get_logger(__name__)


class IndexShelf:
    """Holds one index for each URL; what it replaces is forgotten, unless another URL has the same bytes."""

    def __init__(self, engines: Engines | Unwritten, blobs: BlobStore) -> None:
        self._engines = engines
        self._blobs = blobs

    async def find(self, url: str) -> ShelvedIndex | None:
        return await self._engines.ask(_find, url)

    async def read(self, digest: Digest) -> bytes | None:
        """None also for what the disk does not give: it is fetched again."""
        try:
            return await read_whole(self._blobs, digest)
        except StorageFailed as error:
            log.warning("index_unreadable", digest=str(digest), reason=str(error))
            return None

    async def keep(self, shelved: ShelvedIndex, content: bytes) -> None:
        """Make ``content`` the index of its URL: the bytes first, then the row that names them."""
        before = await self.find(shelved.url)
        await keep_bytes(self._blobs, content)
        await self._engines.tell(_keep, shelved)
        if before is not None and before.digest != shelved.digest:
            await self._forget(before)

    async def keep_normalised(self, digest: Digest, normalised: bytes) -> Digest:
        """Keep the normal form of the index whose bytes have ``digest``; return the form's own digest."""
        kept = await keep_bytes(self._blobs, normalised)
        await self._set(helm_indexes.c.digest == str(digest), normalised_digest=str(kept))
        return kept

    async def confirm(self, url: str, confirmed_at: float) -> None:
        await self._set(helm_indexes.c.url == url, confirmed_at=confirmed_at)

    async def note_forced(self, url: str, forced_at: float) -> None:
        await self._set(helm_indexes.c.url == url, forced_at=forced_at)

    async def _set(self, which: ColumnElement[bool], **values: str | float) -> None:
        await self._engines.tell(_update, which, values)

    async def _forget(self, before: ShelvedIndex) -> None:
        for digest in (before.digest, before.normalised_digest):
            if digest is not None and not await self._engines.ask(_is_shelved, digest):
                await self._blobs.delete(digest)


def _find(connection: Connection, url: str) -> ShelvedIndex | None:
    row = connection.execute(select(helm_indexes).where(helm_indexes.c.url == url)).first()
    if row is None:
        return None
    return ShelvedIndex(
        url=row.url,
        digest=Digest.parse(row.digest),
        normalised_digest=None if row.normalised_digest is None else Digest.parse(row.normalised_digest),
        etag=row.etag,
        last_modified=row.last_modified,
        confirmed_at=row.confirmed_at,
        forced_at=row.forced_at,
    )


def _is_shelved(connection: Connection, digest: Digest) -> bool:
    held = or_(helm_indexes.c.digest == str(digest), helm_indexes.c.normalised_digest == str(digest))
    return connection.execute(select(helm_indexes.c.url).where(held)).first() is not None


def _keep(connection: Connection, shelved: ShelvedIndex) -> None:
    normalised_digest = shelved.normalised_digest
    values = {
        "url": shelved.url,
        "digest": str(shelved.digest),
        "normalised_digest": None if normalised_digest is None else str(normalised_digest),
        "etag": shelved.etag,
        "last_modified": shelved.last_modified,
        "confirmed_at": shelved.confirmed_at,
        "forced_at": shelved.forced_at,
    }
    insert_or_update(connection, helm_indexes, values)


def _update(connection: Connection, which: ColumnElement[bool], values: dict[str, str | float]) -> None:
    connection.execute(update(helm_indexes).where(which).values(**values))
