"""What charts need, as it was read out of them once: by their manifests, and gone with these."""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Final

import structlog
from sqlalchemy import Connection, select

from gateway.oci.digest import Digest
from gateway.store.blobs import StorageFailed
from gateway.store.engine import Engines
from gateway.store.tables import chart_needs, manifests
from gateway.store.upsert import insert_or_update

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 200


class NeedsBook:
    """``form`` is how charts are read: what was read in another one is not found.

    What the database does not take or give is read again.
    """

    def __init__(self, engines: Engines, form: int) -> None:
        self._engines = engines
        self._form = form

    async def of(self, wanted: Collection[Digest]) -> dict[Digest, str]:
        texts: Iterator[str] = iter(map(str, wanted))
        found: dict[Digest, str] = {}
        while batch := list(islice(texts, _AT_ONCE)):
            try:
                found |= await self._engines.ask(_of, self._form, batch)
            except StorageFailed as error:
                log.debug("needs_not_known", reason=str(error))
                break
        return found

    async def keep(self, manifest: Digest, needs: str) -> None:
        try:
            await self._engines.tell(_keep, self._form, str(manifest), needs)
        except StorageFailed as error:
            log.debug("needs_not_kept", reason=str(error))


def _of(connection: Connection, form: int, wanted: Sequence[str]) -> dict[Digest, str]:
    of_these = (chart_needs.c.form == form) & chart_needs.c.manifest.in_(wanted)
    rows = connection.execute(select(chart_needs.c.manifest, chart_needs.c.needs).where(of_these))
    return {Digest.parse(row.manifest): row.needs for row in rows}


def _keep(connection: Connection, form: int, manifest: str, needs: str) -> None:
    """Where the manifest is held still: it may wait to be written, or be evicted by now."""
    if connection.execute(select(manifests.c.digest).where(manifests.c.digest == manifest)).first():
        insert_or_update(connection, chart_needs, {"manifest": manifest, "form": form, "needs": needs})
