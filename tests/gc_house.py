"""A puller and the collector of its garbage, and files as old as a test wants them."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from gateway.collected import Order, Report
from gateway.gc import Collector, Place
from gateway.held_upstream import HeldUpstream
from gateway.oci.digest import Digest
from gateway.oci.target import Target
from gateway.rules.model import SourceName
from gateway.rules.route import Route
from gateway.store.blobs_directory import DirectoryBlobs
from gateway.store.engine import open_sqlite
from gateway.store.pins import Pin, PinBook
from gateway.store.postgres import open_postgres
from tests.ruled_puller import Ruled

DAY = 24 * 3600.0
NOW = Order(quota_bytes=1, grace_seconds=0, wait_seconds=0)  # everything that may go, and at once


async def anywhere(_route: Route, _origin: str) -> bool:
    return True


def collector_of(at: Ruled, *, offline: str = "", now: Callable[[], float] = time.time) -> Collector:
    sources = {SourceName.HELM: at.upstreams}
    catalog = at.folder / "catalog.sqlite3" if at.database is None else None
    return Collector(
        place=Place(root=at.folder, blobs=at.folder / "blobs", catalog=catalog, database="the catalog"),
        blobs=at.blobs,
        catalog=at.catalog,
        upstream=HeldUpstream(at.catalog, at.blobs, sources, lambda: at.rule_set, anywhere),
        is_offline=lambda: bool(offline),
        now=now,
    )


async def collect(at: Ruled, order: Order = NOW, *, offline: str = "") -> Report:
    return await collector_of(at, offline=offline).collect(order)


def make_older(path: Path, seconds: float) -> None:
    """As if it had been written, and last been used, so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def make_all_older(blobs: Path, seconds: float = 2 * DAY) -> None:
    for path in blobs.rglob("*"):
        if path.is_file():
            make_older(path, seconds)


def evicted(report: Report) -> list[Digest]:
    return [blob.digest for blob in report.evicted]


def swept(report: Report) -> list[Digest]:
    return [blob.digest for blob in report.swept]


async def held(blobs: DirectoryBlobs) -> set[Digest]:
    """What lies in its place."""
    return {blob.digest for blob in blobs.scan()}


def quota_that_leaves(at: Ruled, excess_bytes: int) -> int:
    """A quota that is exceeded by so much just now."""
    files = [path for path in (at.folder / "blobs").rglob("*") if path.is_file()]
    catalog = list(at.folder.glob("catalog.sqlite3*")) if at.database is None else []
    return sum(path.stat().st_size for path in [*files, *catalog]) - excess_bytes


async def pin(at: Ruled, target: str, reference: str) -> None:
    where = at.folder / "catalog.sqlite3"
    engines = open_sqlite(where, synchronous="FULL") if at.database is None else open_postgres(at.database)
    try:
        await PinBook(engines).make(Pin(Target.parse(target), reference, target, 0.0))
    finally:
        await engines.close()
