"""A puller, and what makes bundles of what it holds; and another house, where these are taken in."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.bundle_export import Exported, Exporter, ExportOptions
from gateway.bundle_selection import Selected, Selector
from gateway.bundle_tar import Earlier
from gateway.oci.location import parse_location
from gateway.oci.target import Target
from gateway.store.blob_places import Places
from gateway.store.bundle_rows import BundleRows
from gateway.store.engine import Engines, open_sqlite
from gateway.store.postgres import open_postgres
from gateway.store.retention import Retention, RetentionBook, keeper_of_list
from tests.ruled_puller import Ruled

RULES = (
    b"version: 1\nupstreams:\n  a.example: {password_env: GATEWAY_SECRET_A, username_env: GATEWAY_SECRET_B}\n"
)


class Gathering:
    """A sink in memory."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, content: memoryview) -> None:
        self.content += content


@dataclass(frozen=True, slots=True)
class Made:
    """A bundle, and what was told of it."""

    exported: Exported
    content: bytes


@dataclass(frozen=True, slots=True)
class ExportHouse:
    at: Ruled
    engines: Engines
    selector: Selector
    exporter: Exporter

    async def of(self, *references: str, skips: str = "") -> Selected:
        locations = [parse_location(one, ()) for one in references]
        return await self.selector.of(locations, skips_unheld=bool(skips))

    async def made(self, selected: Selected, *earlier: Earlier, compressed: str = "") -> Made:
        sink = Gathering()
        options = ExportOptions(bool(compressed), earlier)
        exported = await self.exporter.export(selected, sink, options)
        return Made(exported, bytes(sink.content))

    async def retain(self, list_name: str, target: str, references: Sequence[str]) -> None:
        wanted = [Retention(Target.parse(target), one, target) for one in references]
        await self.selector.retained.retain(keeper_of_list(list_name), wanted, 0.0)


@asynccontextmanager
async def export_house(at: Ruled) -> AsyncIterator[ExportHouse]:
    catalog = at.folder / "catalog.sqlite3"
    engines = open_sqlite(catalog) if at.database is None else open_postgres(at.database)
    places, rows = Places(at.folder / "blobs"), BundleRows(engines)
    selector = Selector(rows=rows, retained=RetentionBook(engines), places=places, puller=at.puller)
    exporter = Exporter(rows=rows, open_blob=places.open, rules=lambda: RULES, version="1.0")
    try:
        yield ExportHouse(at, engines, selector, exporter)
    finally:
        await engines.close()
