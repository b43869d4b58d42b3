"""What forgets in a house of pulls, and what a house must hold however it came there."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import Connection, exists, select

from gateway.oci.digest import Digest
from gateway.oci.location import parse_location
from gateway.purge import Purger
from gateway.rules.route import route
from gateway.store.engine import Engines, open_sqlite
from gateway.store.postgres import open_postgres
from gateway.store.purge_rows import Purge, PurgeBook
from gateway.store.tables import blobs, manifest_edges, manifests, rights, tags
from tests.ruled_puller import Ruled


@asynccontextmanager
async def written_for_good(at: Ruled) -> AsyncIterator[Engines]:
    """Engines as the rules are written by."""
    where = at.folder / "catalog.sqlite3"
    engines = open_sqlite(where, synchronous="FULL") if at.database is None else open_postgres(at.database)
    try:
        yield engines
    finally:
        await engines.close()


@asynccontextmanager
async def purging(at: Ruled) -> AsyncIterator[Purger]:
    async with written_for_good(at) as engines:
        book = PurgeBook(engines, at.catalog.generation)
        yield Purger(book, at.catalog, at.blobs, lambda wanted: route(at.rule_set, wanted), time.time)


async def purge(at: Ruled, text: str, *, whole: str = "", unpins: str = "") -> Purge:
    location = parse_location(text, ())
    async with purging(at) as purger:
        doom = await purger.doom(location, is_whole=bool(whole), unpins=bool(unpins))
        return await purger.purge(doom)


async def what_is_half(at: Ruled) -> list[str]:
    """Rows that miss what they need, and blobs whose bytes are nowhere."""
    async with written_for_good(at) as engines:
        found = await engines.ask(_half)
        kept = await engines.ask(_kept_blobs)
    lost = [f"no bytes of {digest}" for digest in kept if await at.blobs.size(Digest.parse(digest)) is None]
    return [*found, *lost]


def _half(connection: Connection) -> list[str]:
    naming = manifest_edges.alias("naming")
    of_it = rights.alias("of_it")
    is_manifest = exists().where(manifests.c.digest == rights.c.digest)
    is_named = exists().where(
        naming.c.digest == rights.c.digest,
        of_it.c.digest == naming.c.manifest,
        of_it.c.target == rights.c.target,
    )
    is_right = exists().where(rights.c.target == tags.c.target, rights.c.digest == tags.c.digest)
    is_held = exists().where(rights.c.digest == manifests.c.digest)
    has_right = exists().where(rights.c.digest == blobs.c.digest)
    loose = connection.execute(select(rights.c.digest).where(~is_manifest, ~is_named)).scalars()
    unheld = connection.execute(select(tags.c.tag).where(~is_right)).scalars()
    nobodys = connection.execute(select(manifests.c.digest).where(~is_held)).scalars()
    left = connection.execute(select(blobs.c.digest).where(~has_right)).scalars()
    return [
        *(f"a right to {digest}, which nothing names" for digest in loose),
        *(f"a tag {tag} without its manifest" for tag in unheld),
        *(f"nobody's manifest {digest}" for digest in nobodys),
        *(f"nobody's blob {digest}" for digest in left),
    ]


def _kept_blobs(connection: Connection) -> list[str]:
    return list(connection.execute(select(blobs.c.digest)).scalars())
