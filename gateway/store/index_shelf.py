"""Helm indexes as they were last good: the file among the blobs, what we know of it in the catalog."""

from anyio import to_thread
from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from gateway.helm.shelved import ShelvedIndex
from gateway.oci.digest import Digest
from gateway.store.blobs import BlobStore, keep_bytes, read_whole
from gateway.store.engine import Engines
from gateway.store.tables import helm_indexes


class IndexShelf:
    """Holds one index for each URL; what it replaces is forgotten, unless another URL has the same bytes."""

    def __init__(self, engines: Engines, blobs: BlobStore) -> None:
        self._engines = engines
        self._blobs = blobs

    async def find(self, url: str) -> ShelvedIndex | None:
        return await to_thread.run_sync(self._find, url)

    async def read(self, digest: Digest) -> bytes | None:
        return await read_whole(self._blobs, digest)

    async def keep(self, shelved: ShelvedIndex, content: bytes) -> None:
        """Make ``content`` the index of its URL: the bytes first, then the row that names them."""
        before = await self.find(shelved.url)
        await keep_bytes(self._blobs, content)
        await to_thread.run_sync(self._upsert, shelved)
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
        await to_thread.run_sync(self._update, which, values)

    async def _forget(self, before: ShelvedIndex) -> None:
        for digest in (before.digest, before.normalised_digest):
            if digest is not None and not await to_thread.run_sync(self._is_shelved, digest):
                await self._blobs.delete(digest)

    def _find(self, url: str) -> ShelvedIndex | None:
        with self._engines.reading() as connection:
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

    def _is_shelved(self, digest: Digest) -> bool:
        held = or_(helm_indexes.c.digest == str(digest), helm_indexes.c.normalised_digest == str(digest))
        with self._engines.reading() as connection:
            return connection.execute(select(helm_indexes.c.url).where(held)).first() is not None

    def _upsert(self, shelved: ShelvedIndex) -> None:
        values = {
            "digest": str(shelved.digest),
            "normalised_digest": None
            if shelved.normalised_digest is None
            else str(shelved.normalised_digest),
            "etag": shelved.etag,
            "last_modified": shelved.last_modified,
            "confirmed_at": shelved.confirmed_at,
            "forced_at": shelved.forced_at,
        }
        statement = upsert(helm_indexes).values(url=shelved.url, **values)
        with self._engines.writing() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["url"], set_=values))

    def _update(self, which: ColumnElement[bool], values: dict[str, str | float]) -> None:
        with self._engines.writing() as connection:
            connection.execute(update(helm_indexes).where(which).values(**values))
